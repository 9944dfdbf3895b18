//! Why a gateway file is not read or not written.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use miette::{Diagnostic, NamedSource, SourceSpan};
use thiserror::Error;

use super::Detour;

/// The text that a diagnostic points into, with secrets starred out.
pub type Source = Arc<NamedSource<String>>;

/// Why a gateway file is not read or not written; the file is as it was.
#[derive(Debug, Error, Diagnostic)]
pub enum GatewayError {
    /// The file is not YAML, or has several documents, which `PyYAML` would refuse too.
    #[error("{path}:{line}:{column} is not valid YAML: {reason}")]
    #[diagnostic(code(goatbuild::gateway::syntax), help("correct the file; it was left as it is"))]
    Syntax {
        /// The file, as it was named.
        path: String,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What the parser says.
        reason: String,
        /// The file's text.
        #[source_code]
        source_code: Source,
        /// Where the parser stopped.
        #[label("here")]
        span: SourceSpan,
    },
    /// The file is read by `LiteLLM`'s lenient parser, but is not YAML by the book.
    #[error("{path}:{line}:{column} is not strictly YAML: {reason}")]
    #[diagnostic(
        code(goatbuild::gateway::strict),
        help(
            "LiteLLM reads it, but positions are not certain here: indent what stands in brackets or quotes deeper than its key, use blanks instead of tabs, then run again"
        )
    )]
    Strict {
        /// The file, as it was named.
        path: String,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What the parser says.
        reason: String,
        /// The file's text.
        #[source_code]
        source_code: Source,
        /// Where the parser stopped.
        #[label("here")]
        span: SourceSpan,
    },
    /// A mapping has a key twice. `PyYAML` takes the last of them and says nothing, so that what stands
    /// under the others counts for nothing.
    #[error("{path}:{line}: `{key}` is there for the second time")]
    #[diagnostic(
        code(goatbuild::gateway::duplicate_key),
        help("LiteLLM takes what stands last, and nothing of what stands first: keep one of them")
    )]
    Duplicate {
        /// The file, as it was named.
        path: String,
        /// Of the second, counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// The file's text.
        #[source_code]
        source_code: Source,
        /// Where it stands first.
        #[label("first here")]
        first: SourceSpan,
        /// Where it stands again.
        #[label("and again here")]
        again: SourceSpan,
    },
    /// The YAML is valid, but not what `LiteLLM` reads.
    #[error("{path}:{line}: expected {expected}")]
    #[diagnostic(code(goatbuild::gateway::shape), help("correct the file; it was left as it is"))]
    Shape {
        /// The file, as it was named.
        path: String,
        /// Counted from 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
        /// The file's text.
        #[source_code]
        source_code: Source,
        /// What stands there.
        #[label("not {expected}")]
        span: SourceSpan,
    },
    /// The place has a form that cannot be edited without touching what is not ours.
    #[error("{path}:{line} cannot be edited: {reason}")]
    #[diagnostic(
        code(goatbuild::gateway::layout),
        help("write this place out in plain YAML (no alias, no merged mapping), then run again")
    )]
    Layout {
        /// The file, as it was named.
        path: String,
        /// Counted from 1.
        line: usize,
        /// What stands in the way.
        reason: &'static str,
        /// The file's text.
        #[source_code]
        source_code: Source,
        /// The place.
        #[label("{reason}")]
        span: SourceSpan,
    },
    /// Somebody else's entry has the alias: requests would be split between the two.
    #[error("the alias `{alias}` is taken: {places}")]
    #[diagnostic(code(goatbuild::gateway::conflict), help("{help}"))]
    Conflict {
        /// The alias wanted.
        alias: String,
        /// Where, and whose.
        places: String,
        /// What resolves it.
        help: &'static str,
    },
    /// An alias map leads requests elsewhere: the entry would get none.
    #[error(
        "requests for `{alias}` go to `{}`: {}:{}, {}",
        detour.target, detour.path, detour.line, detour.map
    )]
    #[diagnostic(
        code(goatbuild::gateway::alias_map),
        help(
            "LiteLLM looks there before `model_list`: take the alias out of it, or choose another"
        )
    )]
    Detour {
        /// The alias wanted.
        alias: String,
        /// Where it leads, and what says so.
        detour: Detour,
    },
    /// The edit would have changed something that is not ours. Nothing was written.
    #[error("editing {path} would change more than goatbuild's own entries: {reason}")]
    #[diagnostic(
        code(goatbuild::gateway::damage),
        help(
            "nothing was written; please make this entry by hand as `goatbuild gateway render` shows it"
        )
    )]
    Damage {
        /// The file, as it was named.
        path: String,
        /// What differs.
        reason: String,
    },
    /// A marked block of the mirror has no end.
    #[error("{path}:{line}: `{begin}` has no `# goatbuild:end`")]
    #[diagnostic(
        code(goatbuild::gateway::mirror),
        help("add the line `# goatbuild:end` after the block, or delete the block")
    )]
    Unclosed {
        /// The mirror, as it was named.
        path: String,
        /// Counted from 1.
        line: usize,
        /// The block's first line.
        begin: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    #[diagnostic(code(goatbuild::gateway::read))]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        error: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    #[diagnostic(code(goatbuild::gateway::write))]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        error: io::Error,
    },
    /// Somebody changed the file between reading and writing it.
    #[error("{path} changed while it was being edited")]
    #[diagnostic(
        code(goatbuild::gateway::moved),
        help("nothing was written; run again to edit the file as it is now")
    )]
    Moved {
        /// The file.
        path: PathBuf,
    },
}

impl GatewayError {
    /// The same refusal, of a text that the second parser accepts.
    pub(super) fn strict(self) -> Self {
        match self {
            Self::Syntax { path, line, column, reason, source_code, span } => {
                Self::Strict { path, line, column, reason, source_code, span }
            }
            other => other,
        }
    }
}

/// Why the gateway could not be told.
#[derive(Debug, Error, Diagnostic)]
pub enum ReloadError {
    /// The command ended with an error.
    #[error("the gateway's reload command failed ({status}): {command}\n{output}")]
    #[diagnostic(
        code(goatbuild::gateway::reload),
        help("the entries are in the file; the next apply runs the command again")
    )]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it said.
        output: String,
    },
    /// The mark that a reload is due can't be kept.
    #[error("{} can't be written: {source}", path.display())]
    #[diagnostic(code(goatbuild::gateway::mark))]
    Mark {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A text that diagnostics can be raised about.
#[derive(Debug, Clone, Copy)]
pub(super) struct NamedText<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

impl NamedText<'_> {
    pub(super) fn source(self) -> Source {
        Arc::new(NamedSource::new(self.name, starred(self.text)))
    }

    /// The line of a byte, counted from 1.
    pub(super) fn line(self, at: usize) -> usize {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        before.split(|byte| *byte == b'\n').count()
    }

    pub(super) fn syntax(self, at: usize, reason: String) -> GatewayError {
        let at = at.min(self.text.len());
        let begin = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        GatewayError::Syntax {
            path: self.name.to_owned(),
            line: self.line(at),
            column: 1 + self.text[begin..at].chars().count(),
            reason,
            source_code: self.source(),
            span: (at, 0).into(),
        }
    }

    pub(super) fn shape(self, range: Range<usize>, expected: &'static str) -> GatewayError {
        GatewayError::Shape {
            path: self.name.to_owned(),
            line: self.line(range.start),
            expected,
            source_code: self.source(),
            span: first_line(self.text, range).into(),
        }
    }

    /// For a key's two places.
    pub(super) fn repeated(self, [first, again]: &[Range<usize>; 2]) -> GatewayError {
        GatewayError::Duplicate {
            path: self.name.to_owned(),
            line: self.line(again.start),
            key: self.text[again.clone()].to_owned(),
            source_code: self.source(),
            first: first.clone().into(),
            again: again.clone().into(),
        }
    }

    pub(super) fn layout(self, range: Range<usize>, reason: &'static str) -> GatewayError {
        GatewayError::Layout {
            path: self.name.to_owned(),
            line: self.line(range.start),
            reason,
            source_code: self.source(),
            span: first_line(self.text, range).into(),
        }
    }

    pub(super) fn damage(self, reason: &dyn std::fmt::Display) -> GatewayError {
        GatewayError::Damage { path: self.name.to_owned(), reason: reason.to_string() }
    }
}

fn first_line(text: &str, range: Range<usize>) -> Range<usize> {
    let end = text[range.clone()].find(['\r', '\n']).map_or(range.end, |at| range.start + at);
    range.start..end
}

/// Stars out what follows a key that sounds secret, byte for byte, so that spans stay right.
///
/// A diagnostic may end up in the log of a public CI job.
fn starred(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let lower = line.to_ascii_lowercase();
        let secret = ["key", "token", "secret", "password", "authorization"]
            .iter()
            .filter_map(|word| lower.find(word))
            .min()
            .and_then(|word| line[word..].find(':').map(|colon| word + colon + 1));
        match secret {
            Some(value) if !line[value..].trim_start().starts_with("os.environ/") => {
                out.push_str(&line[..value]);
                for character in line[value..].chars() {
                    if character.is_whitespace() {
                        out.push(character);
                    } else {
                        out.extend(std::iter::repeat_n('*', character.len_utf8()));
                    }
                }
            }
            _ => out.push_str(line),
        }
    }
    out
}
