//! Puts a project together out of what its files were read to.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::environment::conflicts;
use super::left_out::{FileMistakes, leave_out};
use super::local::unseen;
use super::model::{Image, Model, Project, State};
use super::name::{EnvironmentName, ModelName};
use super::problem::{Problem, SpecError, SpecErrors};
use super::project_file::Settings;
use super::read::Shared;
use super::secret_table::unused;
use super::source::Place;
use super::target::Whole;
use super::unique::clashes;

/// Puts together what was read; fails with `errors`, the mistakes that were found on the way, and
/// with those that show only now.
pub(super) fn assemble(
    mut shared: Shared<'_>,
    models: Vec<Model>,
    images: Vec<Image>,
    mut errors: Vec<SpecError>,
) -> Result<Project, SpecErrors> {
    shared.errors.append(&mut errors);
    let (project, mistakes) =
        assemble_part(shared, models, images, &FileMistakes::default(), false)?;
    mistakes.map_or(Ok(project), Err)
}

/// Puts together what was read well, and gives all mistakes beside it.
///
/// Fails when there is no telling one from the other: with any mistake in `goatbuild.toml`, unless
/// that is tolerated, and without a project's id.
pub fn assemble_part(
    mut shared: Shared<'_>,
    models: Vec<Model>,
    images: Vec<Image>,
    wrong: &FileMistakes,
    tolerant: bool,
) -> Result<(Project, Option<SpecErrors>), SpecErrors> {
    let mut errors = std::mem::take(&mut shared.errors);
    let mut images_by_name =
        by_name(images, "image", |image| (&image.name, &image.file.place), &mut errors);
    let models = models.into_iter().map(Arc::new).collect();
    let mut models_by_name: BTreeMap<ModelName, Arc<Model>> =
        by_name(models, "model", |model| (&model.name, &model.file.place), &mut errors);
    errors.extend(clashes(models_by_name.values(), &shared.settings.app_prefix));
    for target in shared.kinds.targets.iter() {
        let Some(settings) = shared.settings.targets.of(target) else { continue };
        let (file, environment) = (&shared.file, shared.environment.as_ref());
        let (models, images) = (&models_by_name, &images_by_name);
        let secrets = &shared.settings.secrets;
        let whole = Whole { file, environment, settings, models, images, secrets };
        errors.extend(target.check(&whole));
    }
    errors.extend(unseen(&models_by_name, &images_by_name, &shared.settings.targets));
    errors.extend(conflicts(
        &shared.file,
        shared.environment.as_ref().map(EnvironmentName::as_str),
        &shared.settings.volumes,
        &models_by_name,
        &images_by_name,
    ));
    let environment = shared.environment.as_ref().map(EnvironmentName::as_str);
    let taken = models_by_name.values().flat_map(|model| model.secret_env.values());
    let named = shared.settings.named_secrets.iter();
    let used = named.chain(taken.map(|taken| &taken.value)).map(String::as_str);
    let secrets = &shared.settings.secrets;
    let whole = wrong.errors().next().is_none() && errors.is_empty();
    let fields = shared.kinds.targets.iter().filter_map(|it| Some((it, it.secrets().last()?)));
    let fields: Vec<String> =
        fields.map(|(it, field)| format!("[target.{it}], as `{field}`")).collect();
    errors.extend(unused(&shared.file, environment, secrets, &used, &fields, whole));
    let mut left_out = wrong.left_out();
    let elsewhere = leave_out(&mut models_by_name, &mut images_by_name, &mut left_out, &errors);
    let is_broken = !elsewhere.is_empty() && !tolerant;
    errors.extend(wrong.errors().cloned());
    let mistakes = SpecErrors::collect(errors).err();
    let Settings { id, app_prefix, targets, volumes, gpus, secrets, plain_http, gateway, .. } =
        shared.settings;
    let (id, mistakes) = match (id, mistakes) {
        (Some(id), mistakes) if !is_broken => (id, mistakes),
        (_, Some(mistakes)) => return Err(mistakes),
        (_, None) => panic!("BUG: a project without id and without mistakes"),
    };
    let (models, absent) =
        models_by_name.into_iter().partition(|(_, model)| model.state == State::Present);
    let project = Project {
        id,
        app_prefix,
        environment: shared.environment,
        environments: shared.environments,
        targets,
        engines: shared.kinds.engines,
        target_types: shared.kinds.targets,
        volumes,
        gpus,
        secrets,
        plain_http,
        gateway,
        models,
        absent,
        images: images_by_name,
        left_out,
    };
    Ok((project, mistakes))
}

fn by_name<N: Ord + Clone + std::fmt::Display, T>(
    things: Vec<T>,
    kind: &'static str,
    describe: fn(&T) -> (&N, &Place),
    errors: &mut Vec<SpecError>,
) -> BTreeMap<N, T> {
    let mut map: BTreeMap<N, T> = BTreeMap::new();
    for thing in things {
        let (name, place) = describe(&thing);
        if let Some(first) = map.get(name) {
            let problem = Problem::DuplicateName { kind, name: name.to_string() };
            let error = SpecError::new(problem, place.clone());
            errors.push(error.with_first(describe(first).1.clone()));
        } else {
            map.insert(name.clone(), thing);
        }
    }
    map
}
