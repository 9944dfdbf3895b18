//! `goatbuild check`.

use miette::Report;

use super::{Exit, Global, gateway, session};
use crate::locking::{self, LockOptions};
use crate::runtime;
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
        Ok(_) => {
            ui::checked(true, "lock", "answers all images", None);
            let warnings = workspace.check_engines()?;
            ui::checked(true, "engines", "take what the specs say", None);
            ui::print_warnings(&warnings);
        }
        Err(error) => {
            let strict = session::is_locked(global);
            fine &= !strict;
            let help = error.help().map(|help| help.to_string());
            if strict {
                ui::checked(false, "lock", &error.to_string(), help.as_deref());
            } else {
                ui::note(&format!("lock: {error}; the next plan or apply settles it"));
            }
        }
    }
    let scratch = workspace.settings.state.join(project.id.as_str());
    std::fs::create_dir_all(&scratch)
        .map_err(|source| crate::store::StoreError::Write { path: scratch.clone(), source })?;
    for check in runtime::check(&scratch, &workspace.settings.program).checks {
        fine &= check.ok;
        ui::checked(check.ok, check.name, &check.detail, check.help.as_deref());
    }
    if let Some(gateway) = &workspace.gateway {
        fine &= gateway::report(gateway)?;
    }
    Ok(if fine { Exit::Done } else { Exit::Failed })
}
