//! Why a server did not answer as it should, and whose fault that is.

use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

/// Why a server did not answer as it should.
#[derive(Debug, Error, Diagnostic)]
pub enum ApiError {
    /// No answer came.
    #[error("{url} could not be reached: {reason}")]
    #[diagnostic(
        code(goatbuild::smoke::unreachable),
        help("`goatbuild logs {model}` shows what the server says")
    )]
    Unreachable {
        /// What was asked.
        url: String,
        /// The model.
        model: String,
        /// Whether somebody was there: no answer came all the same.
        reached: bool,
        /// The cause.
        reason: String,
    },
    /// Somebody was there, and took too long.
    #[error("{url} gave no whole answer within {} s", within.as_secs())]
    #[diagnostic(
        code(goatbuild::smoke::late),
        help(
            "`goatbuild logs {model}` shows what the server says. `[serve] timeout` says how long an answer may take, up to ten minutes in a smoke test; for `goatbuild test`, --timeout does"
        )
    )]
    Late {
        /// What was asked.
        url: String,
        /// The model.
        model: String,
        /// How long it had.
        within: Duration,
    },
    /// An answer came that says no.
    #[error("{url} answered HTTP {status}: {body}")]
    #[diagnostic(
        code(goatbuild::smoke::refused),
        help("`goatbuild logs {model}` shows what the server says")
    )]
    Refused {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// The model.
        model: String,
        /// The start of the body.
        body: String,
    },
    /// The server knows who asks, and does not answer them.
    #[error("{url} answered HTTP {status}: not with the value of {variables}")]
    #[diagnostic(
        code(goatbuild::smoke::denied),
        help(
            "is that the key or token which is valid there now? Modal's dashboard lists the proxy tokens of a workspace. A key, with `auth = \"api-key\"`, is taken out of its secret as a server starts: count its `generation` up in goatbuild.toml's [secrets] after a change"
        )
    )]
    Denied {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// Whose values were sent.
        variables: String,
    },
    /// An answer that doesn't end.
    #[error("{url} answered with more than {} MiB", limit >> 20)]
    #[diagnostic(
        code(goatbuild::smoke::too_large),
        help("does the server speak the OpenAI API? `goatbuild logs {model}` shows what it says")
    )]
    TooLarge {
        /// What was asked.
        url: String,
        /// The model.
        model: String,
        /// The most bytes that are read.
        limit: usize,
    },
    /// What answers is what was to be replaced.
    #[error("an older version of {model} still answers, {} s after it was replaced", waited.as_secs())]
    #[diagnostic(
        code(goatbuild::smoke::older),
        help(
            "it may be at work for somebody still, or the new version doesn't come up: `goatbuild logs {model}` shows what it says. Modal's `modal container stop` ends an older one at once"
        )
    )]
    Older {
        /// The model.
        model: String,
        /// How long it was asked.
        waited: Duration,
    },
    /// Whatever was started for it ended again.
    #[error("{count} starts of {model} failed, the last: {how}{}", said(words))]
    #[diagnostic(
        code(goatbuild::smoke::starts),
        help("`goatbuild logs {model}` shows what they said")
    )]
    Starts {
        /// The model.
        model: String,
        /// How many.
        count: usize,
        /// How the last one ended.
        how: String,
        /// What that had said last.
        words: Vec<String>,
    },
    /// An answer came that isn't what the API says.
    #[error("{url} answered something else than {expected}: {body}")]
    #[diagnostic(
        code(goatbuild::smoke::unexpected),
        help("does the server speak the OpenAI API? `goatbuild logs {model}` shows what it says")
    )]
    Unexpected {
        /// What was asked.
        url: String,
        /// What should have come.
        expected: &'static str,
        /// The model.
        model: String,
        /// The start of the body.
        body: String,
    },
}

impl ApiError {
    /// Whether the server may be at fault, and neither the way there nor who asks.
    pub fn is_of_the_server(&self) -> bool {
        /// Somebody on the way, or the server, has too much to do.
        const TOO_MANY: u16 = 429;
        /// A proxy on this side wants to know who asks.
        const PROXY: u16 = 407;
        match self {
            Self::Unreachable { reached, .. } => *reached,
            Self::Refused { status, .. } => !matches!(*status, TOO_MANY | PROXY),
            Self::Unexpected { .. }
            | Self::TooLarge { .. }
            | Self::Starts { .. }
            | Self::Late { .. } => true,
            Self::Denied { .. } | Self::Older { .. } => false,
        }
    }

    /// Whether nobody may be up yet: no connection, or somebody on the way who finds nobody, or has
    /// waited for long enough (408: Modal's proxy, where it had sent the request on).
    pub fn is_of_a_start(&self) -> bool {
        match self {
            Self::Unreachable { reached, .. } => !reached,
            Self::Refused { status, .. } => matches!(status, 408 | 502..=504),
            _ => false,
        }
    }

    /// Whether somebody says that they can't, and may be able to in a while.
    pub fn is_of_the_moment(&self) -> bool {
        matches!(self, Self::Refused { status: 500..=599, .. })
    }

    /// Whether a server says that it has no model of this name.
    pub fn has_no_model(&self, name: &str) -> bool {
        matches!(self, Self::Refused { status: 404, body, .. } if body.contains(name))
    }
}

/// The last lines that somebody said, for the end of a message.
fn said(words: &[String]) -> String {
    /// How many.
    const LAST: usize = 3;
    match &words[words.len().saturating_sub(LAST)..] {
        [] => String::new(),
        last => format!(" (it said last: {})", last.join(" / ")),
    }
}
