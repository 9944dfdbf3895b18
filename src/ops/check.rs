//! Whether specs, lock and gateway file are in order, and whether this machine can serve.

use miette::Report;

use super::open::{self, Site};
use super::{Frontend, Work, gateway};
use crate::locking::{self, LockOptions};
use crate::plan::Warning;
use crate::runtime::Check;
use crate::words::{bytes, count, not_locked};

/// One thing that a check finds.
#[derive(Debug)]
pub enum Finding {
    /// Whether something is in order.
    Checked(Check),
    /// What will run, and perhaps not as it was meant.
    Warned(Vec<Warning>),
}

/// Checks everything, as far as that can go; `tell` hears of each finding at once. Says whether all
/// is in order.
pub async fn check(
    site: &Site,
    frontend: &dyn Frontend,
    tell: &dyn Fn(Finding),
) -> Result<bool, Report> {
    let workspace = open::whole(site)?;
    open::tell_forgetful(&workspace, frontend);
    let mut fine = true;
    let mut found = |check: Check| {
        fine &= !check.is_wrong();
        tell(Finding::Checked(check));
    };
    let passed = |name, detail| Check { name, ok: Some(true), detail, help: None };
    let project = &workspace.project;
    let [models, images] =
        [count(project.models.len(), "model"), count(project.images.len(), "image")];
    found(passed("specs", format!("{models}, {images}")));
    // What a hub would have to tell keeps no image from having an engine.
    let options = LockOptions { locked: true, lenient: true, ..LockOptions::default() };
    let settled = frontend.showing(Work::Prepares, async |reporter| {
        locking::settle(&workspace, &options, reporter).await
    });
    let is_settled = match settled.await {
        Ok(_) => {
            let open = locking::unlocked(&workspace);
            let told = || format!("{} ({})", not_locked(open.len()), open.join(", "));
            match open.is_empty() {
                true => found(passed("lock", "answers all images".to_owned())),
                false if workspace.settings.locked => {
                    found(Check { name: "lock", ok: Some(false), detail: told(), help: None });
                }
                false => frontend.note(&format!("lock: {}", told())),
            }
            true
        }
        Err(error) if workspace.settings.locked => {
            let help = error.help().map(|help| help.to_string());
            found(Check { name: "lock", ok: Some(false), detail: error.to_string(), help });
            false
        }
        Err(error) => {
            frontend.note(&format!("lock: {error}; the next plan or apply settles it"));
            false
        }
    };
    if is_settled {
        let warnings = workspace.check_engines(&[])?;
        found(passed("engines", "take what the specs say".to_owned()));
        tell(Finding::Warned(warnings));
    }
    for target in workspace.targets.all() {
        target.survey().await?.into_iter().for_each(&mut found);
    }
    if let Some(gateway) = workspace.gateway.as_deref() {
        gateway::problems(gateway)?.into_iter().for_each(&mut found);
    }
    Ok(fine)
}

/// Reads every byte of the weights that this environment has on this machine; `tell` hears of each model. What
/// is damaged is taken away, so that the next apply brings it again. Says whether all is in order.
pub async fn weights(
    site: &Site,
    frontend: &dyn Frontend,
    tell: &dyn Fn(Finding),
) -> Result<bool, Report> {
    let workspace = open::whole(site)?;
    // Nobody may bring what is read here, or start a server with it.
    let _lock = open::lock(&workspace, site, frontend, "check").await?;
    let mut models = Vec::new();
    for target in workspace.targets.all() {
        let read = frontend
            .showing(Work::Transfers, async |reporter| target.read_weights(reporter).await)
            .await?;
        match read {
            Some(read) => models.extend(read),
            None => frontend.note(&format!("weights at {} are not read", target.name())),
        }
    }
    if models.is_empty() {
        frontend.note("no weights are on this machine, in this environment");
    }
    let mut fine = true;
    for model in models {
        let commit = &model.commit[..model.commit.len().min(8)];
        let (files, bytes) = (count(model.files, "file"), bytes(model.bytes));
        let what = format!("{}@{commit}: {files}, {bytes}", model.repository);
        let lapses = [("damaged, and taken away", model.damaged), ("missing", model.missing)];
        let lapses = lapses.into_iter().filter(|(_, files)| !files.is_empty());
        let lapses: Vec<String> =
            lapses.map(|(how, files)| format!("{} {how}", files.join(", "))).collect();
        fine &= lapses.is_empty();
        let check = if lapses.is_empty() {
            Check { name: "weights", ok: Some(true), detail: what, help: None }
        } else {
            let help = "`goatbuild apply` fetches or copies just that again; check the disk";
            let detail = format!("{what}; {}", lapses.join("; "));
            Check { name: "weights", ok: Some(false), detail, help: Some(help.to_owned()) }
        };
        tell(Finding::Checked(check));
    }
    Ok(fine)
}
