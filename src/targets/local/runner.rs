//! What runs images on this machine: Docker, Podman, or the embedded runtime.

use std::fmt;

use super::LocalError;
use crate::container::{ContainerEngine, ContainerError, Engine, Network};
use crate::targets::local::LocalRuntime;

/// What runs images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Runner {
    /// This program, with Linux namespaces.
    Embedded,
    /// Docker or Podman.
    Engine(Engine),
}

/// What was chosen, and why not what comes before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) runner: Runner,
    /// Who can't be used.
    refused: Vec<Refusal>,
}

/// Why one of the two can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    brief: String,
    whole: String,
}

impl Chosen {
    /// The same as it says of itself, with all that was said by those that can't be used.
    pub(super) fn at_length(&self) -> String {
        self.with(|refusal| &refusal.whole, "; ")
    }

    fn with(&self, words: impl Fn(&Refusal) -> &str, between: &str) -> String {
        let mut text = match &self.runner {
            Runner::Embedded => "the embedded runtime".to_owned(),
            Runner::Engine(engine) => {
                let published = match engine.network {
                    Network::Host => "",
                    Network::Published => ", ports published here",
                };
                format!("{} {}{published}", engine.kind, engine.version)
            }
        };
        if !self.refused.is_empty() {
            let refused: Vec<&str> = self.refused.iter().map(words).collect();
            text = format!("{text} ({})", refused.join(between));
        }
        text
    }
}

impl From<ContainerError> for Refusal {
    fn from(error: ContainerError) -> Self {
        let brief = match &error {
            ContainerError::Missing { kind } => format!("no {kind}"),
            ContainerError::Unreachable { kind, .. } => format!("{kind} does not answer"),
            other => other.to_string(),
        };
        Self { brief, whole: error.to_string() }
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.with(|refusal| &refusal.brief, ", "))
    }
}

/// Asks what the setting allows, in order of preference, and takes the first that can serve.
///
/// `system` is this machine's, as Rust calls it: only Linux has the embedded runtime.
pub(super) async fn choose<Asked>(
    wish: LocalRuntime,
    system: &str,
    ask: impl Fn(ContainerEngine) -> Asked,
) -> Result<Chosen, LocalError>
where
    Asked: Future<Output = Result<Engine, ContainerError>>,
{
    let engines: &[ContainerEngine] = match wish {
        LocalRuntime::Auto => &[ContainerEngine::Docker, ContainerEngine::Podman],
        LocalRuntime::Docker => &[ContainerEngine::Docker],
        LocalRuntime::Podman => &[ContainerEngine::Podman],
        LocalRuntime::Embedded => &[],
    };
    let mut refused = Vec::new();
    for kind in engines {
        match ask(*kind).await {
            Ok(engine) => return Ok(Chosen { runner: Runner::Engine(engine), refused }),
            Err(error) if wish != LocalRuntime::Auto => {
                let help = miette::Diagnostic::help(&error).map(|help| help.to_string());
                return Err(LocalError::Wished { reason: error.to_string(), help });
            }
            Err(error) => refused.push(error.into()),
        }
    }
    if system == "linux" {
        return Ok(Chosen { runner: Runner::Embedded, refused });
    }
    let refused = match wish {
        LocalRuntime::Embedded => {
            "the embedded runtime, which `[target.local] runtime` asks for, needs Linux".to_owned()
        }
        _ => refused.iter().map(|refusal| &*refusal.whole).collect::<Vec<_>>().join("; "),
    };
    Err(LocalError::NeedsEngine { system: name(system), refused })
}

/// A system's name as its makers write it.
fn name(system: &str) -> String {
    if system == "macos" { "macOS".to_owned() } else { system.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(kind: ContainerEngine) -> Engine {
        Engine { kind, version: "1.2".to_owned(), network: Network::Host, rootful: true }
    }

    /// What is chosen, in words, when only these answer.
    fn chosen(
        wish: LocalRuntime,
        system: &str,
        answering: &[ContainerEngine],
    ) -> Result<String, String> {
        let asked = |kind| {
            let answers = answering.contains(&kind);
            let answer =
                if answers { Ok(engine(kind)) } else { Err(ContainerError::Missing { kind }) };
            std::future::ready(answer)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let chosen = runtime.block_on(choose(wish, system, asked));
        chosen.map(|chosen| chosen.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_chosen_depends_on_the_system_on_what_answers_and_on_the_setting() {
        use ContainerEngine::{Docker, Podman};
        use LocalRuntime::{Auto, Embedded};
        let docker = || Ok("Docker 1.2".to_owned());
        let podman = || Ok("Podman 1.2".to_owned());
        let neither = "Docker is not installed; Podman is not installed";
        let needs = |why: &str| Err(format!("serving on macOS needs Docker or Podman: {why}"));
        for (wish, system, answering, expected) in [
            (Auto, "linux", &[Docker, Podman][..], docker()),
            (Auto, "linux", &[Podman], Ok("Podman 1.2 (no Docker)".to_owned())),
            (Auto, "linux", &[], Ok("the embedded runtime (no Docker, no Podman)".to_owned())),
            (Auto, "macos", &[Docker], docker()),
            (Auto, "macos", &[Podman], Ok("Podman 1.2 (no Docker)".to_owned())),
            (Auto, "macos", &[], needs(neither)),
            (LocalRuntime::Docker, "linux", &[Docker, Podman], docker()),
            (LocalRuntime::Podman, "linux", &[Docker, Podman], podman()),
            (LocalRuntime::Podman, "macos", &[Docker, Podman], podman()),
            (Embedded, "linux", &[Docker, Podman], Ok("the embedded runtime".to_owned())),
            (
                Embedded,
                "macos",
                &[Docker, Podman],
                needs("the embedded runtime, which `[target.local] runtime` asks for, needs Linux"),
            ),
            (
                LocalRuntime::Docker,
                "linux",
                &[Podman],
                Err("`[target.local] runtime` can't be had: Docker is not installed".to_owned()),
            ),
        ] {
            let found = chosen(wish, system, answering);
            assert_eq!(found, expected, "{wish:?} on {system} with {answering:?}");
        }
    }
}
