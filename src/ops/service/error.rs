//! Why a service can't be installed or removed.

use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

/// Why a service can't be installed or removed.
#[derive(Debug, Error, Diagnostic)]
pub enum ServiceError {
    /// Something else starts what runs here.
    #[error("systemd does not run this machine")]
    #[diagnostic(
        code(goatbuild::service::no_systemd),
        help(
            "have whatever does run this at boot, as the user whose models they are; with cron, a line of `crontab -e`:\n  @reboot {command}"
        )
    )]
    NoSystemd {
        /// What to run at boot.
        command: String,
    },
    /// All models are elsewhere, or there are none.
    #[error("no model of this project is served on this machine")]
    #[diagnostic(
        code(goatbuild::usage::nothing_here),
        help("what is served elsewhere needs nothing of this machine to go on")
    )]
    NothingHere,
    /// A unit of this name is somebody else's.
    #[error("{} is there, and was not made by goatbuild", file.display())]
    #[diagnostic(
        code(goatbuild::service::taken),
        help("nothing was changed; move it away, and run this again")
    )]
    Taken {
        /// The file.
        file: PathBuf,
    },
    /// Another directory's service serves the same models.
    #[error("{name} already serves {owner}, from another directory")]
    #[diagnostic(
        code(goatbuild::service::other_directory),
        help(
            "two would replace each other's models at every boot. `goatbuild service uninstall` there, or remove {}; nothing was changed", file.display()
        )
    )]
    Other {
        /// The other service.
        name: String,
        /// The project and environment.
        owner: String,
        /// Its file.
        file: PathBuf,
    },
    /// A unit can't name it.
    #[error("{} can't be written into a unit: {why}", path.display())]
    #[diagnostic(code(goatbuild::service::unspeakable), help("give it another name"))]
    Unspeakable {
        /// What it is.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// Nobody knows where units are.
    #[error("neither XDG_CONFIG_HOME nor HOME is set")]
    #[diagnostic(
        code(goatbuild::service::no_home),
        help("units are in .config/systemd/user of the user's home: set HOME")
    )]
    NoHome,
    /// A file can't be read or written.
    #[error("{} can't be used: {source}", path.display())]
    #[diagnostic(code(goatbuild::service::file), help("check the permissions"))]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
