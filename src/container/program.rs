//! Runs the two programs, for a bounded time.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::{ContainerEngine, ContainerError};
use crate::bounded::output::output;

/// How long a question may take.
pub(super) const QUESTION: Duration = Duration::from_secs(15);
/// How long a start or an end may take, beyond what the server itself is given.
pub(super) const DEED: Duration = Duration::from_secs(120);

/// Variables that hold a hub's token.
const TOKENS: [&str; 2] = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"];

/// What a program that ended has said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) done: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Said {
    /// Whether it complains that there is no such container or image.
    pub(super) fn is_missing(&self) -> bool {
        let words = self.stderr.to_lowercase();
        !self.done
            && [
                "no such container",
                "no such object",
                "no such image",
                "not known",
                "no container with",
            ]
            .iter()
            .any(|missing| words.contains(missing))
    }

    /// Whether it complains of an image whose manifest is not there: Podman has its record first, while
    /// another command stores it.
    pub(super) fn is_being_stored(&self) -> bool {
        !self.done && self.stderr.contains("locating item named")
    }

    /// Whether it complains that its daemon or machine is not there.
    fn is_unreachable(&self) -> bool {
        let words = self.stderr.to_lowercase();
        !self.done
            && [
                "cannot connect to",
                "is the docker daemon running",
                "failed to connect to the docker api",
                "permission denied while trying to connect",
                "error during connect",
                "unable to connect to podman",
            ]
            .iter()
            .any(|silence| words.contains(silence))
    }

    /// The error that it stands for.
    pub(super) fn refused(&self, kind: ContainerEngine, deed: &str) -> ContainerError {
        let said = last_words(&self.stderr);
        if self.is_unreachable() {
            return ContainerError::Unreachable { kind, reason: said };
        }
        ContainerError::Refused { kind, deed: deed.to_owned(), said, help: None }
    }
}

/// The last lines that say something.
pub(super) fn last_words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("See 'docker"))
        .filter(|line| !line.contains("--help' for more information"))
        .collect();
    match lines[lines.len().saturating_sub(3)..].join("; ") {
        words if words.is_empty() => "it said nothing".to_owned(),
        words => words,
    }
}

/// The program, ready for arguments, without what is for a hub alone: Podman's monitor keeps its
/// environment for as long as a container runs.
pub(super) fn command(kind: ContainerEngine) -> std::process::Command {
    let mut command = std::process::Command::new(kind.program());
    command.stdin(Stdio::null()).env("DOCKER_CLI_HINTS", "false");
    for token in TOKENS {
        command.env_remove(token);
    }
    command
}

/// The error of a program that can't be started.
pub(super) fn unstarted(kind: ContainerEngine, error: &std::io::Error) -> ContainerError {
    match error.kind() {
        std::io::ErrorKind::NotFound => ContainerError::Missing { kind },
        _ => ContainerError::Unreachable { kind, reason: error.to_string() },
    }
}

/// Runs the program to its end, however that is; it is killed when it takes too long.
pub(super) async fn ask(
    kind: ContainerEngine,
    arguments: &[&str],
    patience: Duration,
) -> Result<Said, ContainerError> {
    ask_with(kind, arguments, &BTreeMap::new(), patience).await
}

/// The same, with variables of its own.
pub(super) async fn ask_with(
    kind: ContainerEngine,
    arguments: &[&str],
    variables: &BTreeMap<String, String>,
    patience: Duration,
) -> Result<Said, ContainerError> {
    let mut command = Command::from(command(kind));
    command.args(arguments).envs(variables).kill_on_drop(true);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match tokio::time::timeout(patience, output(&mut command)).await {
        Ok(Ok(output)) => Ok(Said {
            done: output.status.success(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }),
        Ok(Err(error)) => Err(unstarted(kind, &error)),
        Err(_) => {
            let words = arguments.iter().copied().take_while(|word| !word.starts_with('-'));
            let verb: Vec<&str> = words.take(2).collect();
            Err(ContainerError::Unreachable {
                kind,
                reason: format!(
                    "`{} {}` took longer than {} s",
                    kind.program(),
                    verb.join(" "),
                    patience.as_secs()
                ),
            })
        }
    }
}

/// Runs the program, which has to succeed; gives what it printed.
pub(super) async fn told(
    kind: ContainerEngine,
    deed: &str,
    arguments: &[&str],
    patience: Duration,
) -> Result<String, ContainerError> {
    let said = ask(kind, arguments, patience).await?;
    if said.done { Ok(said.stdout) } else { Err(said.refused(kind, deed)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_get_no_token_of_a_hub() {
        for kind in [ContainerEngine::Docker, ContainerEngine::Podman] {
            let command = command(kind);
            let removed = |token: &&str| command.get_envs().any(|it| it == (token.as_ref(), None));
            assert!(TOKENS.iter().all(removed), "{command:?}");
        }
    }
}
