//! What no two models of a project may have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::Model;
use super::problem::{Problem, SpecError};
use super::source::Place;

/// Names every second model that has what another one has.
pub(super) fn clashes<'a>(
    models: impl Iterator<Item = &'a Arc<Model>>,
    app_prefix: &str,
) -> Vec<SpecError> {
    let mut errors = Vec::new();
    let mut aliases: BTreeMap<String, &Place> = BTreeMap::new();
    let mut claimed: BTreeMap<Problem, Place> = BTreeMap::new();
    for model in models {
        // Where there is no gateway, nobody has an alias.
        if let Some(entry) = &model.gateway {
            let own = (entry.alias.value.clone(), &entry.alias.place, None);
            let adapters = model.adapters.iter().map(|adapter| {
                (entry.adapter_alias(&adapter.value), &adapter.place, Some(adapter.value.clone()))
            });
            for (alias, place, adapter) in std::iter::once(own).chain(adapters) {
                let Some(first) = aliases.get(&alias) else {
                    aliases.insert(alias, place);
                    continue;
                };
                let problem = match adapter {
                    Some(adapter) => Problem::DuplicateAdapter { adapter, alias },
                    None => Problem::DuplicateAlias { alias },
                };
                let error = SpecError::new(problem, place.clone());
                errors.push(error.with_first((*first).clone()));
            }
        }
        for (problem, place) in model.target.claims(model, app_prefix) {
            if let Some(first) = claimed.get(&problem) {
                errors.push(SpecError::new(problem, place).with_first(first.clone()));
            } else {
                claimed.insert(problem, place);
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use crate::spec::{EnvironmentName, Project, SourceFile, Sources, SpecErrors, read};

    /// Models with these adapters, in a project with a gateway.
    fn project(adapters: &[(&str, &str)], environment: bool) -> Result<Project, SpecErrors> {
        let file = |path: String, text: String| SourceFile { path: path.into(), text: text.into() };
        let project = "project.id = \"a\"\ngateway.litellm.config = \"l.yaml\"\n\
                       environment.staging.gateway.alias-suffix = \"-staging\"\n";
        let image = "base = { debian = \"bookworm\" }\nrequirements = [\"vllm==0.13.0\"]\n";
        let specs = adapters.iter().map(|(model, adapter)| {
            let text = format!(
                "image = \"one\"\nmodel.source = \"path:m\"\n\
                 [engine]\nenable-lora = true\nlora-modules = [\"{adapter}=/opt/{adapter}\"]\n"
            );
            file(format!("specs/{model}.toml"), text)
        });
        let sources = Sources {
            project: file("goatbuild.toml".to_owned(), project.to_owned()),
            specs: specs.collect(),
            images: vec![file("images/one.toml".to_owned(), image.to_owned())],
            mistakes: Vec::new(),
            kinds: crate::project::kinds(),
        };
        let staging = EnvironmentName::new("staging").unwrap();
        read(&sources, environment.then_some(&staging))
    }

    #[test]
    fn adapters_of_an_environment_have_aliases_of_their_own() {
        for (environment, alias) in [(false, "sql"), (true, "sql-staging")] {
            let project = project(&[("m", "sql")], environment).unwrap();
            let model = &project.models["m"];
            let entry = model.gateway.as_ref().unwrap();
            assert_eq!(entry.adapter_alias(&model.adapters[0].value), alias);
            assert_eq!(model.adapters[0].value, "sql", "the server knows it by its name");
        }
    }

    #[test]
    fn an_adapter_whose_alias_is_taken_is_to_be_renamed() {
        for adapters in [[("m", "sql"), ("n", "sql")], [("m", "a"), ("n", "m-local")]] {
            let told = format!("{:?}", project(&adapters, false).unwrap_err());
            assert!(told.contains("DuplicateAdapter"), "{told}");
        }
    }
}
