//! `goatbuild service`: install, uninstall, status, and what the unit runs.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global, apply};
use crate::exec::Interrupt;
use crate::ops::service::{self, Installed};
use crate::runtime::Check;
use crate::ui::{self, Mode};

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Write a systemd user unit that serves what is locked from boot to shutdown
    Install(InstallArgs),
    /// Remove that unit; what is served goes on
    Uninstall,
    /// Tell whether the unit is there, starts at boot, and runs
    Status,
    /// What the unit runs at boot: apply what is locked of the models on this machine, asking nothing
    Start,
    /// What the unit runs at shutdown: stop the models on this machine; the next apply starts them again
    Stop,
}

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// Print the unit, and write nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Also start again what ended meanwhile, looking every so many minutes
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..))]
    every: Option<u32>,
}

pub(crate) async fn run(
    global: &Global,
    command: &ServiceCommand,
    interrupt: &Interrupt,
) -> Result<Exit, Report> {
    let (site, terminal) = (global.site()?, Terminal::default());
    match command {
        ServiceCommand::Install(InstallArgs { dry_run, every }) => {
            let installed = service::install(&site, &terminal, *every, *dry_run)?;
            if *dry_run {
                for (path, text) in &installed.files {
                    ui::print_text(&format!("# {}\n{text}", path.display()));
                }
            } else {
                ui::print_text(&told(&installed));
            }
        }
        ServiceCommand::Uninstall => {
            let (name, removed) = service::uninstall(&site, &terminal)?;
            for path in &removed {
                ui::print_line(&format!("removed {}", path.display()));
            }
            if removed.is_empty() {
                ui::note(&format!("there is no {name}.service"));
            } else {
                let mut text = String::from(
                    "what is served goes on; next:\n  \
                     goatbuild service stop            only if it should not\n",
                );
                text += &stops(&removed);
                text += "  systemctl --user daemon-reload    has systemd forget it\n";
                ui::print_text(&text);
            }
        }
        ServiceCommand::Status => {
            let checks = service::status(&site).await?;
            checks.iter().for_each(ui::print_check);
            if checks.iter().any(Check::is_wrong) {
                return Ok(Exit::Failed);
            }
        }
        ServiceCommand::Start => match service::start(&site, &terminal, interrupt).await? {
            Some(applied) => return Ok(apply::report(applied, Mode::of(false))),
            None => ui::note("no model of this project is served on this machine"),
        },
        ServiceCommand::Stop => service::stop(&site, &terminal).await?,
    }
    Ok(Exit::Done)
}

/// What was written, what it does, and what to do next.
fn told(installed: &Installed) -> String {
    let Installed { name, files, removed, user, models, lingers } = installed;
    let mut text = String::new();
    for (path, _) in files {
        text = text + "wrote " + &path.display().to_string() + "\n";
    }
    for path in removed {
        text = text + "removed " + &path.display().to_string() + "\n";
    }
    text = text + "serves " + &models.join(", ") + " as " + user + "; next:\n";
    text += &stops(removed);
    text += "  systemctl --user daemon-reload\n";
    text = text + "  systemctl --user start " + name + "\n";
    for timer in files.iter().filter_map(|(path, _)| timer_of(path)) {
        text = text + "  systemctl --user start " + &timer + "\n";
    }
    if !lingers {
        let linger = format!("loginctl enable-linger {user}");
        text = text + "  " + &linger + "    at boot, and not only once " + user + " logs in\n";
    }
    text
}

/// What ends the timers among files that were removed: systemd goes on with them until it is told.
fn stops(removed: &[PathBuf]) -> String {
    let mut text = String::new();
    for timer in removed.iter().filter_map(|path| timer_of(path)) {
        text = text + "  systemctl --user stop " + &timer + "\n";
    }
    text
}

/// The name of a timer's file.
fn timer_of(path: &Path) -> Option<String> {
    let is_timer = path.extension().is_some_and(|extension| extension == "timer");
    is_timer.then(|| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
}
