//! What this machine will not be able to do, or not as it was meant: known before anything is built.

use std::path::Path;

use super::address::{host, is_elsewhere, is_taken, overlap};
use super::devices::Gpus;
use super::environments::environments;
use super::place::has_gpu;
use super::runner::Runner;
use super::server::Running;
use super::state::{Served, State};
use super::{Condition, Local};
use crate::runtime::{self, Check};
use crate::spec::Model;
use crate::targets::Lack;

impl Local {
    /// What keeps a model from being served here.
    pub(super) fn lacks_to_serve(&self, model: &Model) -> Vec<Lack> {
        let lacks = no_port_told(model).into_iter().chain(no_address(model));
        lacks.chain(self.port_taken(model)).collect()
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
        let (host, port) = (host(model), port.or(served.map(|served| served.port))?);
        let is_there = |served: &Served| served.port == port && overlap(served.listens(), host);
        let is_ours = self.seen(|state| {
            state.served.values().any(|served| is_there(served) && self.may_hold(served))
        });
        if is_ours || !is_taken(host, port) {
            return None;
        }
        let (by, help) = match self.holder_of(&is_there) {
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
    fn holder_of(&self, is_there: &dyn Fn(&Served) -> bool) -> Option<(String, String)> {
        let others = environments(&self.places.state).ok()?;
        others.into_iter().filter(|place| *place != self.places.ours).find_map(|place| {
            let state = State::load(&State::file(&place)).ok()?;
            let has = |served: &&Served| match &served.instance {
                Some(Running::Embedded(instance)) => runtime::is_alive(instance),
                _ => true,
            };
            let mut holders = state.served.iter().filter(|(_, served)| is_there(served));
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

/// A server that is to listen where this machine is not.
fn no_address(model: &Model) -> Option<Lack> {
    let host = host(model);
    is_elsewhere(host).then(|| Lack {
        what: format!("this machine has no address {host}"),
        help: "`ip address` lists those that it has; `[serve] host = \"0.0.0.0\"` is all of them"
            .to_owned(),
    })
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
    let gpus = Gpus::of(dev, Path::new("/proc"));
    let numbered = gpus.count;
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
    doubts.extend(gpus.lacking(model));
    doubts.extend(gpus.too_much_memory(model, beside).or_else(|| gpus.all_of_them(model, beside)));
    doubts
}
