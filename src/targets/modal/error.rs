//! What goes wrong at Modal.

use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::step::{StepError, StepId};

/// Why something could not be done at Modal.
#[derive(Debug, Error, Diagnostic)]
pub enum ModalError {
    /// Nobody has said who the user is there.
    #[error("there are no credentials for Modal: {}", what.join(", "))]
    #[diagnostic(
        code(goatbuild::modal::no_credentials),
        help(
            "`modal token new` makes them ({LOGIN}), or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET. Nothing was locked, built or deployed; `goatbuild plan` works without"
        )
    )]
    NoCredentials {
        /// What was asked for.
        what: Vec<String>,
    },
    /// Modal does not know the credentials.
    #[error("Modal refused the credentials: {message}")]
    #[diagnostic(
        code(goatbuild::modal::token),
        help(
            "are MODAL_TOKEN_ID, MODAL_TOKEN_SECRET or ~/.modal.toml (MODAL_PROFILE) those of a token that still exists?"
        )
    )]
    Token {
        /// What Modal said.
        message: String,
    },
    /// The network is needed but `--offline` forbids it.
    #[error("Modal is not asked anything, with --offline")]
    #[diagnostic(code(goatbuild::modal::offline), help("run it without --offline"))]
    Offline,
    /// Modal did not answer.
    #[error("Modal could not be reached: {message}")]
    #[diagnostic(
        code(goatbuild::modal::unreachable),
        help(
            "check the network and proxy settings; status.modal.com tells whether Modal itself is down. Run the command again: what is done is not done twice"
        )
    )]
    Unreachable {
        /// What the client said.
        message: String,
    },
    /// Something that has to exist there does not.
    #[error("Modal has no {what}")]
    #[diagnostic(
        code(goatbuild::modal::missing),
        help(
            "secrets are made with `modal secret create`, environments with `modal environment create`; names are those of goatbuild.toml's [target.modal]"
        )
    )]
    Missing {
        /// What Modal said is missing.
        what: String,
    },
    /// The credentials are for another workspace than the project says.
    #[error("the credentials are for the workspace {found}, and the project is for {wanted}")]
    #[diagnostic(
        code(goatbuild::modal::workspace),
        help(
            "choose the right profile (MODAL_PROFILE), or correct `workspace` in goatbuild.toml's [target.modal]. Nothing was changed there"
        )
    )]
    Workspace {
        /// Whose the credentials are.
        found: String,
        /// What the project says.
        wanted: String,
    },
    /// What is deployed changed between the plan and the deployment.
    #[error("{app} was deployed by somebody else since the plan: {message}")]
    #[diagnostic(
        code(goatbuild::modal::moved),
        help("nothing was deployed over it. `goatbuild plan` shows what stands now")
    )]
    Moved {
        /// The app.
        app: String,
        /// What stands, and what stood.
        message: String,
    },
    /// A candidate's place is somebody else's.
    #[error("the app {app}, where a candidate would be tried out, is somebody else's: {newest}")]
    #[diagnostic(
        code(goatbuild::modal::candidate_taken),
        help(
            "nothing was deployed. Stop or rename that app, or take `[serve] rollout = \"in-place\"`"
        )
    )]
    CandidateTaken {
        /// The app.
        app: String,
        /// Its newest version.
        newest: String,
    },
    /// Somebody asked that it be left as it is, after the plan or without a look.
    #[error("{model} is {note}")]
    #[diagnostic(code(goatbuild::modal::held), help("nothing was deployed over it"))]
    Held {
        /// The model.
        model: String,
        /// Since when, and how that ends.
        note: String,
    },
    /// Another machine is at work there.
    #[error("another goatbuild changes things at Modal: {holder}")]
    #[diagnostic(
        code(goatbuild::modal::leased),
        help(
            "wait for it, or give this one more time with --lock-timeout SECONDS; the lease of one that died is free after two minutes, or `goatbuild unlock` breaks it"
        )
    )]
    Leased {
        /// Who, in words.
        holder: String,
    },
    /// Modal refused what was asked for.
    #[error("Modal refused {what}: {message}")]
    #[diagnostic(code(goatbuild::modal::refused))]
    Refused {
        /// The step, the app, or what else it was about.
        what: String,
        /// What Modal said.
        message: String,
        /// Where there is more of it.
        #[help]
        help: Option<String>,
    },
    /// Modal doesn't say what it bills.
    #[error("Modal doesn't tell its prices: {message}")]
    #[diagnostic(
        code(goatbuild::modal::no_prices),
        help(
            "the lock has what it had. [gpu] and [target.modal.prices] in goatbuild.toml say what you pay, and win over everything"
        )
    )]
    NoPrices {
        /// What Modal said.
        message: String,
    },
    /// Something was changed, and what stands since can't be told.
    #[error("{app} was changed, and what stands there now could not be read: {message}")]
    #[diagnostic(
        code(goatbuild::modal::unrecorded),
        help("run the command again: it finds what stands. Nothing is done twice")
    )]
    Unrecorded {
        /// The app.
        app: String,
        /// What the client said.
        message: String,
    },
    /// A model's files could not be put into the volume.
    #[error("{repository}: {message}")]
    #[diagnostic(code(goatbuild::modal::weights))]
    Weights {
        /// The repository.
        repository: String,
        /// What the function at Modal said.
        message: String,
        /// What to do about it.
        #[help]
        help: String,
    },
    /// The second start compiled again.
    #[error("{model}: the second start compiled again: {message}")]
    #[diagnostic(code(goatbuild::modal::cold), help("{}", crate::targets::WAY_OUT))]
    Cold {
        /// The model.
        model: String,
        /// How that is known.
        message: String,
    },
    /// The engine did not start.
    #[error("{model}: {message}")]
    #[diagnostic(
        code(goatbuild::modal::warmup),
        help(
            "no receipt was written, so the next apply warms up again. `goatbuild logs warmup:{model}` has the engine's own words; [serve] startup-timeout is how long a start may take"
        )
    )]
    Warmup {
        /// The model.
        model: String,
        /// What the function at Modal said.
        message: String,
    },
    /// A directory of this machine can't be served there.
    #[error("{path}: weights out of a directory can't be served on Modal yet")]
    #[diagnostic(
        code(goatbuild::modal::path),
        help(
            "publish them on a hub, private if need be, and write `source = \"hf:organisation/name\"`"
        )
    )]
    Path {
        /// The directory.
        path: PathBuf,
    },
    /// The client could not be installed or run.
    #[error("Modal's client could not be {verb}: {message}")]
    #[diagnostic(
        code(goatbuild::modal::client),
        help(
            "it is installed from PyPI through uv into cache/tools, and needs Python 3.10 or newer on PATH"
        )
    )]
    Client {
        /// What was tried.
        verb: &'static str,
        /// The end of what it said.
        message: String,
    },
    /// A file of ours could not be written.
    #[error("{} could not be written: {source}", path.display())]
    #[diagnostic(code(goatbuild::modal::write))]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// What is kept at Modal was written by a newer goatbuild.
    #[error("{file} in the volume {volume} is of a newer goatbuild (format {format})")]
    #[diagnostic(code(goatbuild::modal::newer), help("update goatbuild"))]
    Newer {
        /// The file.
        file: String,
        /// The volume.
        volume: String,
        /// Its format.
        format: u32,
    },
}

/// Where all is that the client said of a step; none where it was about something else.
pub(super) fn logs_of(what: &str) -> Option<String> {
    let (kind, _) = what.split_once(':')?;
    let is_a_step = kind.chars().all(|letter| letter.is_ascii_lowercase());
    is_a_step.then(|| format!("`goatbuild logs {what}` has all that the client said"))
}

/// What failed in the deployment of a model, whose log has the rest.
pub(super) fn in_deployment(mut error: StepError, model: &str) -> StepError {
    if let Some(ModalError::Refused { help, .. }) = error.downcast_mut() {
        *help = logs_of(StepId::deploy(model).as_str());
    }
    error
}

/// Where a token is written that the client made.
const LOGIN: &str = "written to ~/.modal.toml";
