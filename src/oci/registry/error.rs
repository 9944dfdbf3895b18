//! Why an image could not be taken from where it is, or brought to where it should be.

use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use crate::digest::Digest;
use crate::event::Cancelled;
use crate::fetch::{FetchError, until};
use crate::oci::OciError;

/// Why an image could not be taken from where it is, or brought to where it should be.
#[derive(Debug, Error, Diagnostic)]
pub enum RegistryError {
    /// 401: no credentials, or wrong ones.
    #[error("{registry} {} for {repository} (HTTP 401)", if *known { "refuses the credentials" } else { "wants credentials" })]
    #[diagnostic(
        code(goatbuild::registry::unauthorized),
        help(
            "run `docker login {registry}`, and check that the repository exists: some registries answer 401 for those that don't"
        )
    )]
    Unauthorized {
        /// The registry.
        registry: String,
        /// The repository.
        repository: String,
        /// Whether credentials were found and sent.
        known: bool,
    },
    /// 403: the account may not do this.
    #[error("{registry} does not allow this account to {deed} {repository} (HTTP 403)")]
    #[diagnostic(
        code(goatbuild::registry::denied),
        help("ask its owner for access, or run `docker login {registry}` with another account")
    )]
    Denied {
        /// The registry.
        registry: String,
        /// The repository.
        repository: String,
        /// `pull from` or `push to`.
        deed: &'static str,
    },
    /// 405: it takes nothing, from nobody.
    #[error("{registry} takes no images: {repository} can't be pushed there (HTTP 405)")]
    #[diagnostic(
        code(goatbuild::registry::read_only),
        help(
            "it is read-only, for maintenance or because it mirrors another one: name one that takes images, or ask its owner"
        )
    )]
    ReadOnly {
        /// The registry.
        registry: String,
        /// The repository.
        repository: String,
    },
    /// 404: no such repository, tag or blob.
    #[error("{registry} has no {repository}{name}")]
    #[diagnostic(
        code(goatbuild::registry::not_found),
        help("check repository and tag; what is pinned by digest may have been deleted there")
    )]
    NotFound {
        /// The registry.
        registry: String,
        /// The repository.
        repository: String,
        /// `:tag` or `@digest`.
        name: String,
    },
    /// Another error of the server, also after retries.
    #[error("{registry} answered HTTP {status} {attempts} time(s) when asked for {what}{}", until(after.as_ref()))]
    #[diagnostic(
        code(goatbuild::registry::status),
        help(
            "{}; what has arrived is kept",
            match *status {
                429 => "it limits how much may be asked for: wait, or log in with `docker login`",
                408 | 500.. => "it may be overloaded or down: run the command again later",
                _ => "it refuses that, and would again: is it a registry, and does it offer this?",
            }
        )
    )]
    Status {
        /// The registry.
        registry: String,
        /// The last answer.
        status: u16,
        /// How often it was asked.
        attempts: u32,
        /// What was asked for.
        what: String,
        /// When it would answer again, if that is later than anybody waits for.
        after: Option<Duration>,
    },
    /// One address leads to the next without an end.
    #[error("{registry} leads from one address to the next without an end when asked for {what}")]
    #[diagnostic(
        code(goatbuild::registry::redirects),
        help("the registry or a proxy before it is set up wrongly; check HTTPS_PROXY")
    )]
    Redirects {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
    },
    /// The connection failed, also after retries.
    #[error("{registry} could not be reached, tried {attempts} time(s): {reason}")]
    #[diagnostic(
        code(goatbuild::registry::network),
        help(
            "check the network, proxy and certificate settings (HTTPS_PROXY, SSL_CERT_FILE); a registry without TLS has to be listed in `[registries] plain-http` of goatbuild.toml"
        )
    )]
    Network {
        /// The registry.
        registry: String,
        /// The innermost cause.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The registry asks for credentials in a way that is not known.
    #[error("{registry} wants to be logged in to in an unknown way: {reason}")]
    #[diagnostic(code(goatbuild::registry::challenge), help("is this a registry?"))]
    Challenge {
        /// The registry.
        registry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file with Docker's credentials can't be used.
    #[error("{} can't be used: {reason}", path.display())]
    #[diagnostic(code(goatbuild::registry::config), help("repair it, or run `docker login` again"))]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A credential helper failed. What it printed is not shown: it may be a secret.
    #[error("the credential helper {helper} failed for {registry}: {reason}")]
    #[diagnostic(
        code(goatbuild::registry::helper),
        help("try it by hand: `echo {registry} | {helper} get`")
    )]
    Helper {
        /// The program.
        helper: String,
        /// The registry.
        registry: String,
        /// How it failed.
        reason: String,
    },
    /// There is no image for the wanted processor.
    #[error("{reference} is an image for another architecture: it has {}, not {wanted}", there.join(", "))]
    #[diagnostic(
        code(goatbuild::registry::platform),
        help("choose another base, or another `platform`")
    )]
    Platform {
        /// The image.
        reference: String,
        /// The platform that was asked for.
        wanted: String,
        /// The platforms that there are.
        there: Vec<String>,
    },
    /// It is something else than an image.
    #[error("{reference} is no image that can be a base: {reason}")]
    #[diagnostic(code(goatbuild::registry::kind), help("choose another base"))]
    Kind {
        /// What was asked for.
        reference: String,
        /// What it is instead.
        reason: String,
    },
    /// A layer that only its maker may hand out.
    #[error("{reference} has the foreign layer {digest}, which its registry does not hold")]
    #[diagnostic(
        code(goatbuild::registry::foreign_layer),
        help("such layers belong to Windows images: choose another base")
    )]
    ForeignLayer {
        /// The image.
        reference: String,
        /// The layer.
        digest: String,
    },
    /// What came is not what its digest says.
    #[error("{what} has the wrong digest: expected {expected}, found {found}")]
    #[diagnostic(
        code(goatbuild::registry::digest),
        help("nothing was kept; the registry, or something in between, is broken")
    )]
    Digest {
        /// What was asked for.
        what: String,
        /// As named.
        expected: Digest,
        /// As received.
        found: String,
    },
    /// It doesn't take blobs as a registry should.
    #[error("{registry} can't be pushed to: {reason}")]
    #[diagnostic(
        code(goatbuild::registry::upload),
        help("is this a registry? a proxy in front of it may not tell it its own address")
    )]
    Upload {
        /// The registry.
        registry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no layout on disk.
    #[error("{} is no OCI layout", path.display())]
    #[diagnostic(
        code(goatbuild::registry::no_layout),
        help("make one: `skopeo copy docker://IMAGE:TAG oci:DIRECTORY:TAG`")
    )]
    NoLayout {
        /// Where it should be.
        path: PathBuf,
    },
    /// The layout has no image of that name.
    #[error("{} has no {}", path.display(), name.as_ref().map_or_else(|| "single image".to_owned(), |name| format!("image `{name}`")))]
    #[diagnostic(
        code(goatbuild::registry::no_such_image),
        help("{}", if there.is_empty() { "it is empty".to_owned() } else { format!("there are: {}; write one after `:`", there.join(", ")) })
    )]
    NoSuchImage {
        /// The layout.
        path: PathBuf,
        /// The tag or digest, if one was asked for.
        name: Option<String>,
        /// The tags that there are.
        there: Vec<String>,
    },
    /// A layout's own documents name a blob that it lacks.
    #[error("{} lacks {digest}, which its image needs", path.display())]
    #[diagnostic(
        code(goatbuild::registry::incomplete),
        help("copy the image there again: `skopeo copy docker://IMAGE:TAG oci:DIRECTORY:TAG`")
    )]
    Incomplete {
        /// The layout.
        path: PathBuf,
        /// The blob.
        digest: Digest,
    },
    /// It is needed and the network is forbidden.
    #[error("{reference} is needed, but --offline forbids the network")]
    #[diagnostic(code(goatbuild::registry::offline), help("run once without --offline"))]
    Offline {
        /// What was needed.
        reference: String,
    },
    /// A file could not be fetched.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fetch(#[from] FetchError),
    /// The image store could not do something.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Oci(#[from] OciError),
    /// The work was asked to stop.
    #[error("interrupted")]
    #[diagnostic(code(goatbuild::interrupted))]
    Cancelled(#[from] Cancelled),
}
