//! Why a download failed.

use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use crate::event::Cancelled;

/// Why a download failed, after all retries.
#[derive(Debug, Error, Diagnostic)]
pub enum FetchError {
    /// Every source said that the file does not exist (404 or 410).
    #[error("{url} does not exist (HTTP {status})")]
    #[diagnostic(
        code(goatbuild::fetch::gone),
        help("check the address, or the name that it was made of; a mirror may lack the file")
    )]
    Gone {
        /// The last source asked.
        url: String,
        /// 404 or 410.
        status: u16,
    },
    /// The server answered with an error, also after retries.
    #[error("{url} answered HTTP {status} {attempts} time(s){}", until(after.as_ref()))]
    #[diagnostic(
        code(goatbuild::fetch::status),
        help(
            "the server may be overloaded or down; run the command again later, or name another mirror"
        )
    )]
    Status {
        /// What was asked for.
        url: String,
        /// The last answer.
        status: u16,
        /// How often it was asked.
        attempts: u32,
        /// When it would answer again, if that is later than anybody waits for.
        after: Option<Duration>,
    },
    /// One address leads to the next without an end.
    #[error("{url} leads from one address to the next without an end")]
    #[diagnostic(
        code(goatbuild::fetch::redirects),
        help("the server or a proxy before it is set up wrongly; check HTTPS_PROXY")
    )]
    Redirects {
        /// Where it began.
        url: String,
    },
    /// The connection failed, broke or stalled, also after retries.
    #[error("{url} could not be fetched, tried {attempts} time(s): {reason}")]
    #[diagnostic(
        code(goatbuild::fetch::network),
        help(
            "check the network, proxy and certificate settings (HTTPS_PROXY, SSL_CERT_FILE); what was fetched is kept"
        )
    )]
    Network {
        /// What was asked for.
        url: String,
        /// The innermost cause.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The bytes are not the ones that were locked.
    #[error("{url} has the wrong {what}: expected {expected}, found {found}")]
    #[diagnostic(
        code(goatbuild::fetch::mismatch),
        help(
            "the server's file is not the locked one; nothing was kept. If the change is wanted, lock anew with `goatbuild lock --upgrade`"
        )
    )]
    Mismatch {
        /// Where the bytes came from.
        url: String,
        /// `size` or `SHA-256`.
        what: &'static str,
        /// As locked.
        expected: String,
        /// As received.
        found: String,
    },
    /// The body is larger than it may be.
    #[error("{url} is larger than {limit} bytes")]
    #[diagnostic(code(goatbuild::fetch::too_large))]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The network is needed but `--offline` forbids it.
    #[error("{url} is needed, but --offline forbids the network")]
    #[diagnostic(code(goatbuild::fetch::offline), help("run once without --offline"))]
    Offline {
        /// What would have been asked for.
        url: String,
    },
    /// The file could not be written.
    #[error("{} could not be written: {source}", path.display())]
    #[diagnostic(
        code(goatbuild::fetch::write),
        help("is the disk full? what was written so far is kept and resumed")
    )]
    Write {
        /// The destination.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that was fetched can't be read.
    #[error("{} can't be read: {source}", path.display())]
    #[diagnostic(code(goatbuild::fetch::read), help("delete it, and it is fetched again"))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The client could not be set up.
    #[error("the HTTP client could not be set up: {reason}")]
    #[diagnostic(
        code(goatbuild::fetch::client),
        help("check SSL_CERT_FILE and the proxy variables")
    )]
    Client {
        /// What the library said.
        reason: String,
    },
    /// The work was asked to stop.
    #[error("interrupted")]
    #[diagnostic(code(goatbuild::interrupted))]
    Cancelled(#[from] Cancelled),
}

/// The end of a message about a server that wants to be left alone.
pub(crate) fn until(after: Option<&Duration>) -> String {
    after.map(|after| format!("; it answers again in {} s", after.as_secs())).unwrap_or_default()
}
