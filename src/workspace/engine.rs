//! What the lock says of the engines, and what they say to the specs.

use std::collections::BTreeSet;

use super::Workspace;
use crate::bounded;
use crate::engine::{self, Locked};
use crate::engines::extra_args;
use crate::lock::ConfigFacts;
use crate::plan::Warning;
use crate::project::flag_errors;
use crate::spec::{Api, Auth, Base, HubSource, Image, Model, ModelSource, SpecErrors, is_telling};

impl Workspace {
    /// The engine in a model's image, once locking has settled it.
    pub fn engine_of(&self, model: &Model) -> Locked {
        // An image that its target builds may not be locked by this machine.
        let parts = self.images.find(&model.image.value);
        let wheels = parts.as_ref().map_or(&[][..], |parts| &parts.wheels);
        let config = self.config_facts(&model.source).unwrap_or_default();
        let image = self.project.image_of(model);
        let mut locked = Locked {
            image_environment: image.env.keys().cloned().collect(),
            architectures: config.architectures,
            is_pooled: self.is_pooled(&model.source),
            model_type: config.model_type,
            ..Locked::default()
        };
        let kind = model.engine.kind;
        if let Some(wheel) = wheels.iter().find(|wheel| kind.is_in_wheel(&wheel.name)) {
            locked.distribution.clone_from(&wheel.name);
            locked.version.clone_from(&wheel.version);
            locked.taken = self.lock.read(|lock| lock.engines.get(&wheel.filename).cloned());
        } else if !wheels.iter().any(|wheel| kind.package() == Some(&wheel.name)) {
            // Another base may have brought one.
            let is_bare = matches!(image.base, Base::Debian { .. });
            let is_known = parts.is_some();
            locked.is_missing = is_known && is_bare;
            locked.is_up_to_base = is_known && !is_bare;
        }
        locked
    }

    /// What a model is asked for.
    pub fn api_of(&self, model: &Model) -> Api {
        let found = || model.engine.kind.api(model, &self.engine_of(model));
        model.serve.api.unwrap_or_else(found)
    }

    /// Whether a model's files say how vectors of its tokens become one: where sentence-transformers keeps
    /// that, and vLLM looks for it.
    fn is_pooled(&self, source: &ModelSource) -> bool {
        const POOLING: &str = "1_Pooling/config.json";
        match source {
            ModelSource::Path(path) => self.root.join(path).join(POOLING).is_file(),
            ModelSource::Hub(source) => self.lock.read(|lock| {
                let locked = lock.hub.get(&source.to_string());
                locked.is_some_and(|it| it.files.iter().any(|file| file.path == POOLING))
            }),
        }
    }

    /// Refuses what the locked engines would not take; tells what they would take and not mean, and
    /// what clients would not.
    pub fn check_engines(&self, asked: &[String]) -> Result<Vec<Warning>, SpecErrors> {
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        for model in self.project.models.values() {
            let engine = model.engine.kind;
            let checked = engine.check_locked(model, &self.engine_of(model));
            if super::is_asked(model, asked) {
                errors.extend(flag_errors(model, checked.problems));
            }
            let alias = unknown_alias(model);
            let unlike = model.hub_sources().filter_map(unlike_a_commit);
            let extra = extra_args::warning(model);
            let set = set_otherwise(model);
            let open = written_open(model, self.project.image_of(model));
            let others = alias.into_iter().chain(set).chain(extra).chain(open_to_all(model));
            let others = others.chain(unlike).chain(open);
            warnings.extend(checked.warnings.into_iter().chain(others).map(|warning| Warning {
                model: model.name.to_string(),
                message: warning.message,
                help: warning.help,
            }));
        }
        SpecErrors::collect(errors)?;
        Ok(warnings)
    }

    /// What is known of a model's configuration without its weights.
    fn config_facts(&self, source: &ModelSource) -> Option<ConfigFacts> {
        match source {
            ModelSource::Path(path) => {
                let json = self.root.join(path).join("config.json");
                let json = bounded::read(&json, bounded::TEXT).ok()?;
                ConfigFacts::parse(&json)
            }
            ModelSource::Hub(source) => {
                self.lock.read(|lock| lock.hub.get(&source.to_string())?.config.clone())
            }
        }
    }
}

/// What goatbuild sets, too, and leaves to the spec.
fn set_otherwise(model: &Model) -> Option<engine::Warning> {
    let left = model.engine.kind.left_to_specs().iter();
    let set = left.filter(|name| model.env.contains_key(**name));
    let names = set.copied().collect::<Vec<_>>().join(", ");
    (!names.is_empty()).then(|| engine::Warning {
        message: format!("the spec's {names} counts, and not what goatbuild sets"),
        help: "remove it from `env`, unless that is meant".to_owned(),
    })
}

/// What is likely to be a secret, and stands where everybody who has the project reads it.
fn written_open(model: &Model, image: &Image) -> Option<engine::Warning> {
    let is_open = |(name, value): &(&String, &String)| {
        // Whether something is on, how many, and where a file is, is nobody's secret.
        let is_plain = value.is_empty()
            || value.starts_with(['/', '.', '~'])
            || ["true", "false"].contains(&value.to_lowercase().as_str())
            || value.parse::<f64>().is_ok();
        is_telling(name) && !is_plain
    };
    let all = model.env.iter().chain(&image.env).filter(is_open);
    let names: BTreeSet<&str> = all.map(|(name, _)| name.as_str()).collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    (!names.is_empty()).then(|| engine::Warning {
        message: format!("`env` holds {names} in the open: in git, in images and in deployments"),
        help: "name it in `[secrets]` and take it by `secret-env` instead; `env` of an image is part of its layers' configuration"
            .to_owned(),
    })
}

/// A commit that lost a digit is a branch that nobody has.
fn unlike_a_commit(source: &HubSource) -> Option<engine::Warning> {
    let (revision, digits) = (&source.revision, source.revision.len());
    let is_hex = revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hex && digits >= 7 && source.pinned().is_none()).then(|| engine::Warning {
        message: format!(
            "`{revision}` looks like a commit of {}, but has {digits} hexadecimal digits{}: it is taken for a branch or tag",
            source.repository,
            if digits == 40 { ", not all lower case" } else { " and not 40" },
        ),
        help: "write the whole commit, 40 digits in lower case".to_owned(),
    })
}

/// What anyone asks of a model that nothing protects starts a replica, which is billed.
fn open_to_all(model: &Model) -> Option<engine::Warning> {
    let is_shut = model.target.auths()[0] != Auth::Open;
    let is_open = is_shut && model.serve.auth == Auth::Open;
    is_open.then(|| engine::Warning {
        message: "open to anyone who knows the URL, and each request keeps a billed replica up"
            .to_owned(),
        help: format!(
            "`[serve] auth = \"proxy\"` has {} turn strangers away, `\"api-key\"` the replicas",
            model.target.title()
        ),
    })
}

/// Clients know by its end that a name is one of our models.
fn unknown_alias(model: &Model) -> Option<engine::Warning> {
    let entry = model.gateway.as_ref().filter(|entry| !entry.is_sent_tools())?;
    let (alias, suffix) = (&entry.alias.value, &entry.suffix);
    (!suffix.is_empty()).then(|| engine::Warning {
        message: format!(
            "{alias} doesn't end in `{suffix}`: clients won't send it tools, nor their temperature"
        ),
        help: format!(
            "name it `{alias}{suffix}`, or say in goatbuild.toml what clients go by: `[gateway] alias-suffix = \"\"` when by nothing"
        ),
    })
}
