//! What the lock says of the engines, and what they say to the specs.

use std::sync::PoisonError;

use super::Workspace;
use crate::engines::{self, Locked};
use crate::lock::ConfigFacts;
use crate::plan::Warning;
use crate::project::flag_errors;
use crate::spec::{Base, Model, ModelSource, SpecErrors};

impl Workspace {
    /// The engine in a model's image, once locking has settled it.
    pub fn engine_of(&self, model: &Model) -> Locked {
        // An image that its target builds may not be locked by this machine.
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        let wheels = parts.get(&model.image.value).map_or(&[][..], |parts| &parts.wheels);
        let config = self.config_facts(&model.source).unwrap_or_default();
        let image = self.project.image_of(model);
        let mut locked = Locked {
            image_environment: image.env.keys().cloned().collect(),
            architectures: config.architectures,
            model_type: config.model_type,
            ..Locked::default()
        };
        if let Some(wheel) = engines::vllm::wheel(wheels) {
            locked.distribution.clone_from(&wheel.name);
            locked.version.clone_from(&wheel.version);
            locked.taken = self.lock(|lock| lock.engines.get(&wheel.filename).cloned());
        } else {
            // Another base may have brought one.
            let is_bare = matches!(image.base, Base::Debian { .. });
            locked.is_missing = is_bare && parts.contains_key(&model.image.value);
        }
        locked
    }

    /// Refuses what the locked engines would not take; tells what they would take and not mean.
    pub fn check_engines(&self) -> Result<Vec<Warning>, SpecErrors> {
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        for model in self.project.models.values() {
            let engine = engines::engine(model.engine.name);
            let checked = engine.check_locked(model, &self.engine_of(model));
            errors.extend(flag_errors(model, checked.problems));
            warnings.extend(checked.warnings.into_iter().map(|warning| Warning {
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
                let json = std::fs::read(self.root.join(path).join("config.json")).ok()?;
                ConfigFacts::parse(&json)
            }
            ModelSource::Hub(source) => {
                self.lock(|lock| lock.hub.get(&source.to_string())?.config.clone())
            }
        }
    }
}
