//! Why a hub did not give what was asked for.

use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use super::WeightsError;
use crate::event::Cancelled;
use crate::fetch::until;

/// Why a hub did not give what was asked for, after all retries.
#[derive(Debug, Error, Diagnostic)]
pub enum HubError {
    /// The endpoint is no URL.
    #[error("HF_ENDPOINT is not the address of a hub: `{endpoint}`")]
    #[diagnostic(
        code(goatbuild::hub::endpoint),
        help("write it like https://huggingface.co, or unset it")
    )]
    Endpoint {
        /// As it was set, without credentials.
        endpoint: String,
    },
    /// The file with the token can't be read.
    #[error("the token in {} can't be read: {source}", path.display())]
    #[diagnostic(code(goatbuild::hub::token_file), help("check its permissions, or set HF_TOKEN"))]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The hub is needed, and `--offline` or a variable forbids to ask it.
    #[error("{url} is needed, and {by} forbids to ask")]
    #[diagnostic(code(goatbuild::hub::offline), help("run once without {by}"))]
    Offline {
        /// What would have been asked for.
        url: String,
        /// The option or variable.
        by: &'static str,
    },
    /// 401 because of the token that was sent.
    #[error("the hub refuses the token in {source_of_token}")]
    #[diagnostic(
        code(goatbuild::hub::token_refused),
        help("it may have expired or been revoked: make a new one at {endpoint}/settings/tokens")
    )]
    TokenRefused {
        /// A variable or a file.
        source_of_token: String,
        /// The hub.
        endpoint: String,
    },
    /// 401 without a token.
    #[error("{repository} needs a token: it is private, or does not exist")]
    #[diagnostic(
        code(goatbuild::hub::token_missing),
        help("check the name; if it is right, set HF_TOKEN (see {endpoint}/settings/tokens)")
    )]
    TokenMissing {
        /// The repository.
        repository: String,
        /// The hub.
        endpoint: String,
    },
    /// Its owner has to admit each reader, and has not.
    #[error("{repository} is gated: its owner has to admit you first")]
    #[diagnostic(code(goatbuild::hub::gated), help("ask for access at {url}{then}"))]
    Gated {
        /// The repository.
        repository: String,
        /// Where to ask.
        url: String,
        /// What else it takes.
        then: &'static str,
    },
    /// The token may not read it.
    #[error("the hub forbids {repository}: {reason}")]
    #[diagnostic(
        code(goatbuild::hub::forbidden),
        help("see {url}; a fine-grained token needs the permission to read this repository")
    )]
    Forbidden {
        /// The repository.
        repository: String,
        /// What the hub said.
        reason: String,
        /// The repository's page.
        url: String,
    },
    /// Nobody may read it any more, whoever asks.
    #[error("{repository} is disabled: {reason}")]
    #[diagnostic(
        code(goatbuild::hub::disabled),
        help(
            "its owner or the hub has closed it, and no token opens it: see {url} for why, and choose another `model.source`; what is in a volume already stays there"
        )
    )]
    Disabled {
        /// The repository.
        repository: String,
        /// What the hub said.
        reason: String,
        /// The repository's page.
        url: String,
    },
    /// There is no such repository, or none that this reader may know of.
    #[error("there is no model {repository} at {endpoint}")]
    #[diagnostic(
        code(goatbuild::hub::no_repository),
        help(
            "check the spelling of `model.source`; of a private repository, HF_TOKEN has to be a reader's"
        )
    )]
    NoRepository {
        /// The repository.
        repository: String,
        /// The hub.
        endpoint: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{repository} has no revision {revision}")]
    #[diagnostic(
        code(goatbuild::hub::no_revision),
        help("see {url} for the ones it has, and correct `model.revision`")
    )]
    NoRevision {
        /// The repository.
        repository: String,
        /// What was asked for.
        revision: String,
        /// Where its commits are listed.
        url: String,
    },
    /// The commit has no such file.
    #[error("{repository} has no {path} at {commit}")]
    #[diagnostic(
        code(goatbuild::hub::no_file),
        help(
            "the hub's list and its files disagree; try again later, or use the hub itself if this is a mirror"
        )
    )]
    NoFile {
        /// The repository.
        repository: String,
        /// The commit.
        commit: String,
        /// The file.
        path: String,
    },
    /// Too many requests, also after the waits that the hub asked for.
    #[error("the hub wants fewer requests (HTTP 429){}", in_seconds(after.as_ref()))]
    #[diagnostic(
        code(goatbuild::hub::rate_limited),
        help(
            "run the command again later: what was fetched is kept; with HF_TOKEN set, limits are higher"
        )
    )]
    RateLimited {
        /// When it would answer again.
        after: Option<Duration>,
    },
    /// The server is there and does not serve, also after retries.
    #[error("{url} answered HTTP {status}, asked {attempts} time(s){}", until(after.as_ref()))]
    #[diagnostic(
        code(goatbuild::hub::status),
        help(
            "the hub may be overloaded or down; run the command again later: what was fetched is kept"
        )
    )]
    Status {
        /// What was asked for, without its query.
        url: String,
        /// The last answer.
        status: u16,
        /// How often it was asked.
        attempts: u32,
        /// When it would answer again, if that is later than anybody waits for.
        after: Option<Duration>,
    },
    /// The connection failed, broke or stalled, also after retries.
    #[error("{url} could not be fetched, tried {attempts} time(s): {reason}")]
    #[diagnostic(
        code(goatbuild::hub::network),
        help(
            "check the network, proxy and certificate settings (HTTPS_PROXY, SSL_CERT_FILE); what was fetched is kept"
        )
    )]
    Network {
        /// What was asked for, without its query.
        url: String,
        /// The innermost cause.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// One address leads to the next without an end.
    #[error("{url} leads from one address to the next, {limit} times and more")]
    #[diagnostic(
        code(goatbuild::hub::redirects),
        help("the hub or a proxy before it is set up wrongly; check HF_ENDPOINT and HTTPS_PROXY")
    )]
    Redirects {
        /// Where it began.
        url: String,
        /// How many are followed.
        limit: usize,
    },
    /// The answer can't be understood.
    #[error("{url} gave an answer that makes no sense: {reason}")]
    #[diagnostic(
        code(goatbuild::hub::answer),
        help("is HF_ENDPOINT a hub, and no proxy's login page in between?")
    )]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The hub serves something else than it listed under this commit.
    #[error(
        "{path} of {repository} changed under its revision: its {what} was {listed} and is {found}"
    )]
    #[diagnostic(
        code(goatbuild::hub::changed),
        help(
            "a commit's files never change: a mirror may be broken, or history was rewritten. Nothing of it was kept. If the change is wanted, lock anew with `goatbuild lock --upgrade`"
        )
    )]
    Changed {
        /// The repository.
        repository: String,
        /// The file.
        path: String,
        /// `commit`, `size` or `digest`.
        what: &'static str,
        /// As listed.
        listed: String,
        /// As served.
        found: String,
    },
    /// The bytes are not the listed ones.
    #[error("{path} of {repository} arrived damaged: its {what} is {found}, not {listed}")]
    #[diagnostic(
        code(goatbuild::hub::damaged),
        help(
            "nothing of it was kept; run the command again, and if it comes to the same, a proxy or mirror alters the file"
        )
    )]
    Damaged {
        /// The repository.
        repository: String,
        /// The file.
        path: String,
        /// `size`, `SHA-256` or `git blob id`.
        what: &'static str,
        /// As listed.
        listed: String,
        /// As received.
        found: String,
    },
    /// There is not enough room.
    #[error("{} has no room for {needed} more bytes: {available} are free", path.display())]
    #[diagnostic(
        code(goatbuild::hub::disk_full),
        help("make room and run the command again: what was fetched is kept")
    )]
    DiskFull {
        /// The directory.
        path: PathBuf,
        /// Bytes that are still to be written.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// The cache can't be read or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cache(#[from] WeightsError),
    /// The client could not be set up.
    #[error("the HTTP client could not be set up: {reason}")]
    #[diagnostic(code(goatbuild::hub::client), help("check SSL_CERT_FILE and the proxy variables"))]
    Client {
        /// What the library said.
        reason: String,
    },
    /// The work was asked to stop.
    #[error("interrupted")]
    #[diagnostic(code(goatbuild::interrupted))]
    Cancelled(#[from] Cancelled),
}

fn in_seconds(after: Option<&Duration>) -> String {
    after.map_or(String::new(), |after| format!(", and answers again in {} s", after.as_secs()))
}
