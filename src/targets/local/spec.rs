//! What `[target.local]` is, and what a spec may say of a model on this machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::address::{HOST, Listening, host, overlap, read};
use super::devices::VARIABLES;
use super::secrets::{KEY, Secrets};
use super::{Local, Mount, Places, state_of};
use crate::spec::{
    Auth, Fields, Located, Model, Own, Place, Problem, Secret, SecretSource, SpecError, TargetType,
    Whole,
};
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

/// `[target.local]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// What runs images.
    pub(super) runtime: LocalRuntime,
    /// The secret that is the key of models with `auth = "api-key"`.
    pub(super) api_key_secret: Option<String>,
    /// The variable that holds it where requests are made by others than goatbuild.
    api_key_variable: Option<String>,
}

impl Settings {
    /// The variable that gateways and people have the key in.
    pub(super) fn variable(&self, secrets: &BTreeMap<String, Secret>) -> String {
        let secret = self.api_key_secret.as_ref().and_then(|name| secrets.get(name));
        let found = secret.and_then(|secret| match &secret.from {
            Some(SecretSource::Env(variable)) => Some(variable.clone()),
            _ => None,
        });
        self.api_key_variable.clone().or(found).unwrap_or_else(|| KEY.to_owned())
    }
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
        let runtime = fields.choice("runtime", &RUNTIMES, about);
        let about = "The secret of [secrets] that is the key of models with `auth = \"api-key\"`.";
        let api_key_secret = fields.text("api-key-secret", about);
        let about = "The variable that holds the key where the gateway runs, and in the lines that show \
                     how to ask a model. Default: the one that the secret is `from`, else \
                     GOATBUILD_API_KEY.";
        let api_key_variable = fields.named_variable("api-key-variable", about);
        Own::new(Settings { runtime, api_key_secret, api_key_variable })
    }

    fn ignores(&self) -> &'static [&'static str] {
        IGNORED
    }

    fn secrets(&self) -> &'static [&'static str] {
        &["api-key-secret"]
    }

    fn auths(&self) -> &'static [Auth] {
        &[Auth::Open, Auth::ApiKey]
    }

    fn lacks(&self, settings: &Own, auth: Auth) -> Option<Problem> {
        let lacks = auth == Auth::ApiKey && settings.get::<Settings>().api_key_secret.is_none();
        lacks.then(|| Problem::MissingField {
            field: "target.local.api-key-secret".to_owned(),
            example: "api-key-secret = \"NAME\", a secret of [secrets], in goatbuild.toml's [target.local]"
                .to_owned(),
        })
    }

    fn serve(&self, fields: &mut Fields<'_, '_, '_>) -> Own {
        let about = "The address that the server listens on, on this machine only: one that other \
                     machines reach wants `auth = \"api-key\"`. Default: \"127.0.0.1\".";
        let text = fields.checked_text("host", about, HOST, |text| {
            read(text).map(|address| address.to_string())
        });
        let place = fields.place("host");
        let host = text.as_deref().and_then(read).zip(place);
        Own::new(Listening { host: host.map(|(value, place)| Located { value, place }) })
    }

    fn check(&self, whole: &Whole<'_>) -> Vec<SpecError> {
        let here: Vec<&Model> =
            whole.models.values().map(|it| &**it).filter(|it| it.target.is_here()).collect();
        let mut errors: Vec<SpecError> = here.iter().filter_map(|model| open_host(model)).collect();
        errors.extend(here.iter().filter_map(|model| keyless(whole, model)));
        errors.extend(here.iter().filter_map(|model| sets_key(whole, model)));
        errors.extend(here.iter().filter_map(|model| told_twice(model)));
        errors.extend(shared_ports(&here));
        let settings = whole.settings.get::<Settings>();
        if here.iter().any(|model| model.serve.auth == Auth::ApiKey) {
            errors.extend(lost_key(whole, settings));
        }
        errors
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
        let settings = project.targets.of(self)?.get::<Settings>();
        let id = project.id.to_string();
        let key = settings.api_key_secret.as_deref();
        let secrets = Secrets::new(&project.secrets, key, root, *variable);
        let asked_in = settings.variable(&project.secrets);
        let wish = settings.runtime;
        let volumes = (model_cache, caches, others);
        Some(Box::new(Local::new(id, wish, places, volumes, secrets, asked_in)))
    }
}

/// A model that anybody may ask, where others reach it.
fn open_host(model: &Model) -> Option<SpecError> {
    let host = model.serve.own.get::<Listening>().host.as_ref()?;
    let is_open = model.serve.auth == Auth::Open && !host.value.is_loopback();
    is_open.then(|| {
        SpecError::new(Problem::OpenHost { host: host.value.to_string() }, host.place.clone())
    })
}

/// A model whose engine asks nobody for a key.
fn keyless(whole: &Whole<'_>, model: &Model) -> Option<SpecError> {
    let engine = model.engine.kind;
    let can = engine.middleware().is_some() || engine.is_written_out();
    if model.serve.auth != Auth::ApiKey || can {
        return None;
    }
    let problem = Problem::Flag {
        message: format!("{} asks nobody for a key", engine.title()),
        // Right wherever that is said: what the defaults say can't be removed from a spec.
        help: "set `serve.auth = \"none\"` for this model, and have it listen on loopback"
            .to_owned(),
    };
    Some(SpecError::new(problem, place_of(whole, model, &["serve", "auth"])))
}

/// A model that sets the variable itself in which servers find the key.
fn sets_key(whole: &Whole<'_>, model: &Model) -> Option<SpecError> {
    let (table, place) = if let Some(taken) = model.secret_env.get(KEY) {
        ("secret-env", taken.place.clone())
    } else if model.env.contains_key(KEY) {
        ("env", place_of(whole, model, &["env", KEY]))
    } else {
        return None;
    };
    let problem = Problem::OwnVariable {
        name: KEY.to_owned(),
        help: format!(
            "with `auth = \"api-key\"` servers get the key in it: remove it from `{table}`"
        ),
    };
    Some(SpecError::new(problem, place))
}

/// Where a field of a model is written that was found: in an environment's overrides, its spec or `[defaults]`.
fn place_of(whole: &Whole<'_>, model: &Model, field: &[&str]) -> Place {
    let environment = whole.environment.map(ToString::to_string).unwrap_or_default();
    let of_project = |table: &[&str]| Place::of_field(whole.file, &[table, field].concat());
    of_project(&["environment", &environment, "model", model.name.as_str()])
        .or_else(|| Place::of_field(model.source_file(), field))
        .or_else(|| of_project(&["defaults"]))
        .unwrap_or_else(|| model.file.place.clone())
}

/// A model whose devices are named, and that is to find others in a variable.
fn told_twice(model: &Model) -> Option<SpecError> {
    let devices = &model.hardware.as_ref()?.devices;
    let name = VARIABLES.into_iter().find(|name| model.env.contains_key(*name))?;
    (!devices.is_empty()).then(|| {
        let problem = Problem::OwnVariable {
            name: name.to_owned(),
            help: "`hardware.devices` says which GPUs it gets: remove it from `env`".to_owned(),
        };
        let place = Place::of_field(model.source_file(), &["env", name]);
        SpecError::new(problem, place.unwrap_or_else(|| model.file.place.clone()))
    })
}

/// Models that would have the same port where both listen.
fn shared_ports(models: &[&Model]) -> Vec<SpecError> {
    let mut errors = Vec::new();
    for (at, model) in models.iter().enumerate() {
        let Some(port) = &model.serve.port else { continue };
        let first = models[..at].iter().find_map(|other| {
            let taken = other.serve.port.as_ref().filter(|it| it.value == port.value)?;
            overlap(host(other), host(model)).then_some(taken)
        });
        if let Some(first) = first {
            let problem = Problem::DuplicatePort { port: port.value };
            let error = SpecError::new(problem, port.place.clone());
            errors.push(error.with_first(first.place.clone()));
        }
    }
    errors
}

/// A key that `[secrets]` does not say where to find.
fn lost_key(whole: &Whole<'_>, settings: &Settings) -> Option<SpecError> {
    let name = settings.api_key_secret.as_ref()?;
    if whole.secrets.get(name).is_some_and(|secret| secret.from.is_some()) {
        return None;
    }
    let problem = Problem::MissingField {
        field: format!("secrets.{name}.from"),
        example: format!(
            "{name} = {{ from = {{ env = \"GOAT_API_KEY\" }} }} in goatbuild.toml's [secrets]: where this machine finds it"
        ),
    };
    let environment = whole.environment.map(ToString::to_string).unwrap_or_default();
    let path = ["environment", &environment, "target", "local", "api-key-secret"];
    let place = Place::of_field(whole.file, &path);
    let place = place.or_else(|| Place::of_field(whole.file, &path[2..]));
    let place = place.unwrap_or_else(|| Place::new(Arc::clone(whole.file), 0..0));
    Some(SpecError::new(problem, place))
}
