//! What `[target.local]` is, and what a spec may say of a model on this machine.

use super::secrets::Secrets;
use super::{Local, Mount, Places, state_of};
use crate::spec::{Auth, Fields, Model, Own, Place, Problem, TargetType};
use crate::targets::{Opening, Opens, Target};

/// This machine, as files speak of it.
#[derive(Debug)]
pub struct LocalType;

/// What runs images on this machine: `[target.local]`, or its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LocalRuntime {
    /// Docker or Podman when there is one, otherwise the embedded runtime.
    #[default]
    Auto,
    /// Docker, or fail.
    Docker,
    /// Podman, or fail.
    Podman,
    /// The embedded runtime on Linux namespaces, or fail.
    Embedded,
}

/// As projects write it.
pub(super) const RUNTIMES: [(&str, LocalRuntime); 4] = [
    ("auto", LocalRuntime::Auto),
    ("docker", LocalRuntime::Docker),
    ("podman", LocalRuntime::Podman),
    ("embedded", LocalRuntime::Embedded),
];

/// What a server on this machine is told nothing of: it is always up, and is one.
pub(super) const IGNORED: &[&str] =
    &["serve.max-inputs", "serve.scaledown-window", "serve.timeout"];

impl TargetType for LocalType {
    fn name(&self) -> &'static str {
        "local"
    }

    fn title(&self) -> &'static str {
        "this machine"
    }

    fn about(&self) -> &'static str {
        "This machine."
    }

    fn is_here(&self) -> bool {
        true
    }

    fn settings(&self, fields: &mut Fields<'_, '_, '_>) -> Own {
        let about = "What runs images: `auto` takes Docker or Podman when there is one, else the \
                     embedded runtime, which needs neither root nor a daemon.";
        Own::new(fields.choice("runtime", &RUNTIMES, about))
    }

    fn ignores(&self) -> &'static [&'static str] {
        IGNORED
    }

    fn auth(&self) -> Result<Auth, &'static str> {
        Err("for a model on this machine, whose port no other machine should reach")
    }

    fn claims(&self, model: &Model, _: &str) -> Vec<(Problem, Place)> {
        let port = model.serve.port.iter();
        port.map(|port| (Problem::DuplicatePort { port: port.value }, port.place.clone())).collect()
    }
}

impl Opens for LocalType {
    fn open(&self, opening: &Opening<'_>) -> Option<Box<dyn Target>> {
        let Opening { project, root, cache, state, program, variable, .. } = opening;
        let mut others: Vec<Mount> =
            project.volumes.iter().map(|(name, it)| Mount::of(name.as_str(), it)).collect();
        let mut mount = |name: &str| {
            let at = others.iter().position(|mount| mount.called == name);
            others.remove(at.unwrap_or_else(|| panic!("BUG: the volume {name} is not built in")))
        };
        let model_cache = mount("model-cache");
        let caches = project.engines.caches().iter().map(|cache| mount(cache.volume)).collect();
        let environment = project.environment.as_ref().map_or("", |name| name.as_str());
        let places = Places {
            cache: cache.clone(),
            state: state.to_path_buf(),
            ours: state_of(state, project.id.as_str(), environment),
            supervisor: program.to_path_buf(),
        };
        let wish = *project.targets.of(self)?.get();
        let id = project.id.to_string();
        let secrets = Secrets::new(&project.secrets, root, *variable);
        Some(Box::new(Local::new(id, wish, places, model_cache, caches, others, secrets)))
    }
}
