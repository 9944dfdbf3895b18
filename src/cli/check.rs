//! `goatbuild check`.

use miette::Report;

use super::{Exit, Global, gateway, session, settings};
use crate::event::Reporter;
use crate::locking::{self, LockOptions};
use crate::ui;

pub(crate) async fn run(global: &Global) -> Result<Exit, Report> {
    let workspace = session::open(global)?;
    let mut fine = true;
    let project = &workspace.project;
    ui::checked(
        true,
        "specs",
        &format!(
            "{}, {}",
            ui::count(project.models.len(), "model"),
            ui::count(project.images.len(), "image")
        ),
        None,
    );
    let options = LockOptions { locked: true, ..LockOptions::default() };
    let (reporter, finish) = ui::preparing();
    let settled = locking::settle(&workspace, &options, &reporter).await;
    finish();
    match settled {
        Ok(_) => ui::checked(true, "lock", "answers all images", None),
        Err(error) => {
            let strict = settings::is_locked(global);
            fine &= !strict;
            let help = error.help().map(|help| help.to_string());
            if strict {
                ui::checked(false, "lock", &error.to_string(), help.as_deref());
            } else {
                ui::note(&format!("lock: {error}; the next plan or apply settles it"));
            }
        }
    }
    // What a hub would have to tell keeps no image from having an engine.
    let lenient = LockOptions { lenient: true, ..options };
    if locking::settle(&workspace, &lenient, &Reporter::silent()).await.is_ok() {
        let warnings = workspace.check_engines(&[])?;
        ui::checked(true, "engines", "take what the specs say", None);
        ui::print_warnings(&warnings);
    }
    for target in workspace.targets.all() {
        for check in target.survey().await? {
            fine &= check.ok;
            ui::checked(check.ok, check.name, &check.detail, check.help.as_deref());
        }
    }
    if let Some(gateway) = &workspace.gateway {
        fine &= gateway::report(gateway)?;
    }
    Ok(if fine { Exit::Done } else { Exit::Failed })
}
