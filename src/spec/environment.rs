//! Variables that goatbuild sets itself, which files can't set otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::auth::Auth;
use super::model::{Image, Model, Volume};
use super::name::{ImageName, ModelName, VolumeName};
use super::problem::{Problem, SpecError};
use super::source::{Place, SourceFile};
use crate::engine::{Engine, Engines};

/// What the hub's client takes for yes.
const YES: [&str; 4] = ["1", "on", "yes", "true"];

/// A variable of goatbuild's own; nothing where its value depends on the model.
type Own = BTreeMap<String, Option<String>>;

/// Finds what specs and images set that a server gets from goatbuild.
pub(super) fn conflicts(
    file: &Arc<SourceFile>,
    environment: Option<&str>,
    volumes: &BTreeMap<VolumeName, Volume>,
    models: &BTreeMap<ModelName, Arc<Model>>,
    images: &BTreeMap<ImageName, Image>,
) -> Vec<SpecError> {
    let mut errors = Vec::new();
    let mut told = BTreeSet::new();
    for model in models.values() {
        let own = own(model, volumes);
        for (name, value) in wrong(&model.env, &own) {
            let place = place_in_spec(model, file, environment, name);
            let help = format!("{} {}", set_to(value), "remove it from `env`");
            errors.push(SpecError::new(Problem::OwnVariable { name: name.clone(), help }, place));
        }
        for (name, taken) in &model.secret_env {
            let place = taken.place.clone();
            if let Some(value) = own.get(name) {
                let help = format!("{} remove it from `secret-env`", set_to(value.as_deref()));
                errors
                    .push(SpecError::new(Problem::OwnVariable { name: name.clone(), help }, place));
            } else if model.engine.kind.writes_down(name) {
                errors.push(SpecError::new(written_down(model, name), place));
            }
        }
        let Some(image) = images.get(&model.image.value) else { continue };
        for (name, value) in wrong(&image.env, &own) {
            if told.insert((&image.name, name)) {
                let place = Place::of_field(image.file.place.file(), &["env", name]);
                let place = place.unwrap_or_else(|| image.file.place.clone());
                let help =
                    format!("{} the image's has no effect: remove it from `env`", set_to(value));
                let problem = Problem::OwnVariable { name: name.clone(), help };
                errors.push(SpecError::new(problem, place));
            }
        }
    }
    errors
}

/// The names of all variables that a server of any of these engines may get from goatbuild, but for
/// those that are left to specs.
pub fn own_variables(engines: Engines) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for engine in engines.iter() {
        let mounts = vec![""; engine.caches().len()];
        names.extend(engine.environment(&mounts).into_keys());
        names.extend(engine.all_files().iter().map(|file| file.variable.to_owned()));
    }
    let left = engines.iter().flat_map(Engine::left_to_specs);
    left.for_each(|name| _ = names.remove(*name));
    names
}

/// Everything that a server of a model gets from goatbuild. Where the hub's client keeps its files is
/// not among it: weights are found by path.
fn own(model: &Model, volumes: &BTreeMap<VolumeName, Volume>) -> Own {
    let mount = |volume: &str| {
        let found = volumes.iter().find(|(name, _)| name.as_str() == volume);
        found.map_or("", |(_, volume)| volume.mount.trim_end_matches('/'))
    };
    let engine = model.engine.kind;
    let mounts: Vec<&str> = engine.caches().iter().map(|cache| mount(cache.volume)).collect();
    let mut environment = engine.environment(&mounts);
    if model.serve.snapshot {
        environment.extend(engine.snapshot_environment());
    }
    let mut own: Own = environment.into_iter().map(|(name, it)| (name, Some(it))).collect();
    engine.left_to_specs().iter().for_each(|name| _ = own.remove(*name));
    own.extend(engine.all_files().iter().map(|file| (file.variable.to_owned(), None)));
    own
}

/// Those that are set otherwise, with goatbuild's value.
fn wrong<'e, 'o>(
    env: &'e BTreeMap<String, String>,
    own: &'o Own,
) -> impl Iterator<Item = (&'e String, Option<&'o str>)> + use<'e, 'o> {
    env.iter().filter_map(|(name, value)| {
        let own = own.get(name)?.as_deref();
        let is_yes = |text: &str| YES.contains(&&*text.to_lowercase());
        let is_same = own
            .is_some_and(|own| own == value.trim_end_matches('/') || (own == "1" && is_yes(value)));
        (!is_same).then_some((name, own))
    })
}

/// What is said of a variable whose value the engine keeps where others read it.
fn written_down(model: &Model, name: &str) -> Problem {
    let engine = model.engine.kind;
    let is_key = engine.key_variable() == Some(name);
    let help = match (is_key, model.target.auths().contains(&Auth::ApiKey)) {
        (true, true) => {
            "`[serve] auth = \"api-key\"` asks clients for a key, which is in no such variable"
        }
        (true, false) => "no model there has a key",
        (false, _) => "remove it from `secret-env`: what isn't secret belongs into `env`",
    };
    let title = engine.title();
    Problem::Flag {
        message: format!(
            "{title} writes down or hashes the value of {name}: no secret can be in it"
        ),
        help: help.to_owned(),
    }
}

fn set_to(value: Option<&str>) -> String {
    match value {
        Some(value) => format!("servers get `{value}`;"),
        None => "servers that need it get what is fetched with the weights;".to_owned(),
    }
}

/// Where a spec, an environment's overrides or `[defaults]` set a variable.
fn place_in_spec(
    model: &Model,
    file: &Arc<SourceFile>,
    environment: Option<&str>,
    name: &str,
) -> Place {
    let of_project = |path: &[&str]| Place::of_field(file, path);
    let environment = environment.unwrap_or_default();
    Place::of_field(model.source_file(), &["env", name])
        .or_else(|| {
            of_project(&["environment", environment, "model", model.name.as_str(), "env", name])
        })
        .or_else(|| of_project(&["defaults", "env", name]))
        .unwrap_or_else(|| model.file.place.clone())
}
