//! What this machine will not be able to do, or not as it was meant: known before anything is built.

use std::collections::BTreeSet;
use std::path::Path;

use super::address::is_taken;
use super::environments::environments;
use super::place::has_gpu;
use super::runner::Runner;
use super::server::Running;
use super::state::{Served, State};
use super::{Condition, Local};
use crate::runtime::{self, Check};
use crate::spec::Model;
use crate::targets::Lack;

/// What says which devices a process sees.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

impl Local {
    /// What keeps a model from being served here.
    pub(super) fn lacks_to_serve(&self, model: &Model) -> Vec<Lack> {
        no_port_told(model).into_iter().chain(self.port_taken(model)).collect()
    }

    /// What runs images here, and what it is warned of: that servers share what is best kept apart.
    pub(super) async fn told_place(&self) -> String {
        let chosen = match self.chosen().await {
            Ok(chosen) => chosen,
            Err(error) => return error.to_string(),
        };
        // Tried out elsewhere than where servers are kept, since whoever plans changes nothing.
        let tried = (chosen.runner == Runner::Embedded).then(tempfile::tempdir);
        let checks = tried.and_then(Result::ok).map_or_else(Vec::new, |scratch| {
            runtime::check(scratch.path(), &self.places.supervisor).checks
        });
        let warned = checks.iter().find(|check| check.ok.is_none());
        match warned {
            Some(Check { name, detail, .. }) => {
                format!("served here by {chosen}; {name}: {detail}")
            }
            None => format!("served here by {chosen}"),
        }
    }

    /// A port that whoever has it does not give up for this model.
    fn port_taken(&self, model: &Model) -> Option<Lack> {
        let served = self.served(model.name.as_str());
        let port = model.serve.port.as_ref().map(|port| port.value);
        let port = port.or(served.map(|served| served.port))?;
        let is_ours = self.seen(|state| {
            state.served.values().any(|served| served.port == port && self.may_hold(served))
        });
        if is_ours || !is_taken(port) {
            return None;
        }
        let (by, help) = match self.holder_of(port) {
            Some((by, frees)) => (by, format!("{frees} frees it")),
            None => {
                ("another program".to_owned(), "stop that program (`ss -ltnp` names it)".to_owned())
            }
        };
        Some(Lack {
            what: format!("port {port} is in use by {by}"),
            help: format!("{help}; or give the model another `[serve] port`; nothing was stopped"),
        })
    }

    /// Whether a server of this environment may hold its port, as far as the last look showed.
    fn may_hold(&self, served: &Served) -> bool {
        match &served.instance {
            Some(Running::Embedded(instance)) => runtime::is_alive(instance),
            Some(Running::Container(container)) => !matches!(
                self.condition_of(&container.id),
                Some(Condition::Ended(_) | Condition::Gone)
            ),
            None => true,
        }
    }

    /// Who among what goatbuild serves on this machine has a port, and what would have them give it up.
    fn holder_of(&self, port: u16) -> Option<(String, String)> {
        let others = environments(&self.places.state).ok()?;
        others.into_iter().filter(|place| *place != self.places.ours).find_map(|place| {
            let state = State::load(&State::file(&place)).ok()?;
            let has = |served: &&Served| match &served.instance {
                Some(Running::Embedded(instance)) => runtime::is_alive(instance),
                _ => true,
            };
            let mut holders = state.served.iter().filter(|(_, served)| served.port == port);
            let (model, _) = holders.find(|(_, served)| has(served))?;
            let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
            let (environment, project) = (name(&place)?, name(place.parent()?)?);
            let chosen = match environment.as_str() {
                "default" => String::new(),
                name => format!(" --env {name}"),
            };
            let of = if project == self.project {
                format!("environment {environment}")
            } else {
                format!("environment {environment} of project {project}")
            };
            Some((
                format!("{model}, which {of} serves"),
                format!("`goatbuild destroy {model}{chosen}` there"),
            ))
        })
    }
}

/// Whether a command line leaves no place for the port: its server listens wherever it likes.
fn leaves_no_port(model: &Model) -> bool {
    let command = model.engine.command.as_ref();
    command.is_some_and(|it| !it.command.iter().any(|word| word.contains("{port}")))
}

/// A server that has its own port, which nobody knows.
fn no_port_told(model: &Model) -> Option<Lack> {
    (model.serve.port.is_none() && leaves_no_port(model)).then(|| Lack {
        what: format!("`command` of {} has no `{{port}}`", model.name),
        help: "write `{port}` where the server is told where to listen; if its port is fixed, state that port in `[serve] port`, and in `command` or `env`".to_owned(),
    })
}

/// A server that has its own port, of which nothing shows that it is the one that is stated.
fn port_in_doubt(model: &Model) -> Option<Lack> {
    let port = model.serve.port.as_ref()?.value.to_string();
    let command = model.engine.command.as_ref()?;
    let mut words = command.command.iter().chain(model.env.values());
    (leaves_no_port(model) && !words.any(|word| word.contains(&port))).then(|| Lack {
        what: format!(
            "`command` of {} has no `{{port}}`, and neither it nor `env` has {port}",
            model.name
        ),
        help: format!("it is asked on port {port}, as `[serve] port` says: does it listen there?"),
    })
}

/// What a model may not find here, beside the others that are served here.
pub(super) fn doubts(model: &Model, beside: &[&Model]) -> Vec<Lack> {
    let mut doubts: Vec<Lack> = port_in_doubt(model).into_iter().collect();
    let Some(hardware) = &model.hardware else { return doubts };
    let dev = Path::new("/dev");
    let numbered = devices(dev);
    if !has_gpu(dev) {
        doubts.push(Lack {
            what: format!("this machine shows no NVIDIA GPU, and the spec asks for {}", hardware.gpu),
            help: "it is started without one: is the driver loaded (`nvidia-smi`)? For a CPU, leave `[hardware]` out".to_owned(),
        });
    } else if numbered > 0 && numbered < hardware.count {
        doubts.push(Lack {
            what: format!(
                "this machine shows {numbered} of the {} GPUs that the spec asks for",
                hardware.count
            ),
            help: "lower `[hardware] count`".to_owned(),
        });
    }
    doubts.extend(too_much_memory(model, beside));
    doubts
}

/// Engines that take a share of each device's memory when they start, and want more than all of it together.
fn too_much_memory(model: &Model, beside: &[&Model]) -> Option<Lack> {
    let share = |model: &Model| {
        let share = model.engine.kind.memory_share(model)?;
        model.hardware.as_ref().map(|_| share)
    };
    share(model)?;
    let visible = |model: &Model| model.env.get(VISIBLE).cloned();
    let mut names = BTreeSet::new();
    let mut sum = 0.0;
    let others = beside.iter().copied().filter(|it| it.name != model.name);
    for it in std::iter::once(model).chain(others).filter(|it| visible(it) == visible(model)) {
        if let Some(share) = share(it) {
            names.insert(it.name.as_str());
            sum += share;
        }
    }
    let names: Vec<&str> = names.into_iter().collect();
    // A share may be written with a rounding of its own.
    (names.len() > 1 && sum > 1.005).then(|| Lack {
        what: format!(
            "{} together want {:.0} % of a GPU's memory",
            names.join(" and "),
            sum * 100.0
        ),
        help: format!("lower their `gpu-memory-utilization`, so that they add up to at most 1, or give each devices of its own: `[env] {VISIBLE}`"),
    })
}

/// How many NVIDIA devices there are; none are numbered where Windows lends them.
fn devices(dev: &Path) -> u32 {
    let is_device = |name: &str| {
        name.strip_prefix("nvidia").is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let entries = std::fs::read_dir(dev).into_iter().flatten().flatten();
    let found = entries.filter(|entry| is_device(&entry.file_name().to_string_lossy())).count();
    u32::try_from(found).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{SourceFile, Sources};

    fn models(specs: &[(&str, &str)]) -> Vec<std::sync::Arc<Model>> {
        let file = |path: String, text: String| SourceFile { path: path.into(), text: text.into() };
        let spec = |(name, text): &(&str, &str)| {
            let text = format!(
                "image = \"i\"\nmodel.source = \"path:m\"\nhardware.gpu = \"H100\"\n{text}"
            );
            file(format!("specs/{name}.toml"), text)
        };
        let sources = Sources {
            project: file("goatbuild.toml".to_owned(), "project.id = \"test-1a2b3c\"\n".to_owned()),
            specs: specs.iter().map(spec).collect(),
            images: vec![file(
                "images/i.toml".to_owned(),
                "base.debian = \"bookworm\"\n".to_owned(),
            )],
            mistakes: Vec::new(),
            kinds: crate::project::kinds(),
        };
        crate::spec::read(&sources, None).unwrap().models.values().cloned().collect()
    }

    /// vLLM takes 0.9 of each device unless it is told otherwise, whatever else is served there:
    /// `gpu_memory_utilization` in its documentation of engine arguments.
    #[test]
    fn shares_of_one_device_are_summed_over_the_models_that_see_it() {
        let told = |specs: &[(&str, &str)]| {
            let models = models(specs);
            let all: Vec<&Model> = models.iter().map(|it| &**it).collect();
            too_much_memory(all[0], &all).map(|lack| lack.what)
        };
        let half = "engine.gpu-memory-utilization = 0.5\n";
        let second = "env.CUDA_VISIBLE_DEVICES = \"1\"\n";
        assert_eq!(
            told(&[("a", ""), ("b", half), ("c", second)]).unwrap(),
            "a and b together want 140 % of a GPU's memory"
        );
        assert_eq!(told(&[("a", half), ("b", half)]), None);
        assert_eq!(told(&[("a", ""), ("b", second)]), None);
        assert_eq!(told(&[("a", ""), ("b", "engine.kv-cache-memory-bytes = 1024\n")]), None);
    }

    /// The nodes that NVIDIA's driver makes on a machine with two GPUs.
    #[test]
    fn devices_are_counted_by_their_nodes() {
        let dev = tempfile::tempdir().expect("a directory");
        for name in ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-modeset", "null"] {
            std::fs::write(dev.path().join(name), "").expect("a file");
        }
        assert_eq!(devices(dev.path()), 2);
    }
}
