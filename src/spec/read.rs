//! Reads all files of a project.

use std::collections::BTreeSet;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;

use super::assemble::assemble;
use super::context::{Context, Layer, Rank, Spot};
use super::effective::{Effective, Origin};
use super::kinds::Kinds;
use super::model::{Image, Model, Project, Sources};
use super::name::{EnvironmentName, ImageName, ModelName};
use super::parse::{collect_paths, file_name, parse, parse_what_can_be, stem};
use super::problem::{Problem, SpecError, SpecErrors, nearest};
use super::project_file::{Settings, settings};
use super::source::{Place, SourceFile};
use super::table::Table;
use super::target::{TargetType, TargetTypes};
use super::{image_file, model_file, value};

/// Reads a project for `environment`; fails with every mistake in every file.
pub fn read(
    sources: &Sources,
    environment: Option<&EnvironmentName>,
) -> Result<Project, SpecErrors> {
    let mut shared = Shared::new(sources, environment);
    let mut errors = std::mem::take(&mut shared.errors);
    let mut keep = |mistakes: Vec<SpecError>| errors.extend(mistakes);
    let models: Vec<_> = sources
        .specs
        .iter()
        .filter_map(|file| read_model(file, &shared).map_err(&mut keep).ok())
        .collect();
    let images: Vec<_> = sources
        .images
        .iter()
        .filter_map(|file| read_image(file, &sources.kinds.targets).map_err(&mut keep).ok())
        .collect();
    assemble(shared, models, images, errors)
}

/// What all specs share: the project's own file, read once.
#[derive(Debug)]
pub struct Shared<'a> {
    pub(super) file: Arc<SourceFile>,
    /// Nothing when the file isn't TOML.
    tree: Option<Spanned<DeTable<'a>>>,
    pub(super) kinds: Kinds,
    pub(super) environment: Option<EnvironmentName>,
    pub(super) environments: Vec<EnvironmentName>,
    pub(super) settings: Settings,
    default_paths: BTreeSet<String>,
    images: BTreeSet<&'a str>,
    pub(super) errors: Vec<SpecError>,
}

impl<'a> Shared<'a> {
    /// Reads `goatbuild.toml`; its mistakes come out of [`assemble_part`](super::assemble_part).
    pub fn new(sources: &'a Sources, environment: Option<&EnvironmentName>) -> Self {
        Self::with(sources, environment, parse)
    }

    /// The same for who makes do with what can be told of a file that isn't TOML.
    pub fn tolerant(sources: &'a Sources, environment: Option<&EnvironmentName>) -> Self {
        Self::with(sources, environment, parse_what_can_be)
    }

    fn with(
        sources: &'a Sources,
        environment: Option<&EnvironmentName>,
        parse: fn(&'a SourceFile, &Arc<SourceFile>, &Context) -> Option<Spanned<DeTable<'a>>>,
    ) -> Self {
        let source = &sources.project;
        let file = Arc::new(source.clone());
        let context = Context::default();
        let tree = parse(source, &file, &context);
        let empty = DeTable::new();
        let table = tree.as_ref().map_or(&empty, Spanned::get_ref);
        let settings = project_file(table, &file, &context, &sources.kinds, environment);
        let mut default_paths = BTreeSet::new();
        if let Some(defaults) = table.get("defaults").and_then(|found| found.get_ref().as_table()) {
            collect_paths(defaults, "", &mut default_paths);
        }
        let environments = named_environments(table);
        let (mut errors, _) = context.finish();
        if tree.is_none() {
            errors.retain(|error| matches!(error.problem, Problem::Syntax { .. }));
        }
        errors.extend(sources.mistakes_of(source));
        let environment = environment.cloned();
        let images = sources.images.iter().filter_map(stem).collect();
        let mut shared = Self {
            file,
            tree,
            kinds: sources.kinds.clone(),
            environment,
            environments,
            settings,
            default_paths,
            images,
            errors,
        };
        let mut mistakes = shared.check_defaults();
        shared.errors.append(&mut mistakes);
        let mut mistakes = shared.check_overrides(sources);
        shared.errors.append(&mut mistakes);
        shared
    }

    /// Says whether an image's file exists, be it without mistakes or not.
    pub(super) fn has_image(&self, name: &str) -> bool {
        self.images.contains(name)
    }

    pub(super) fn image_names(&self) -> impl Iterator<Item = &str> {
        self.images.iter().copied()
    }

    /// What a spec may say of its image.
    pub(super) fn image_example(&self) -> String {
        let name = self.kinds.engines.default_one().name();
        format!("image = {}, for images/{name}.toml", value::quoted(name))
    }

    /// Whether a model can be served there, as far as the project's file can be read.
    pub(super) fn has_target(&self, target: &dyn TargetType) -> bool {
        self.settings.targets.of(target).is_some() || self.tree.is_none()
    }

    /// What aliases end in, when the project has a gateway.
    pub(super) fn alias_suffix(&self) -> Option<&str> {
        self.settings.gateway.as_ref().map(|gateway| gateway.alias_suffix.as_str())
    }

    pub(super) fn has_gpu(&self, name: &str) -> bool {
        self.settings.gpus.contains_key(name) || self.tree.is_none()
    }

    pub(super) fn gpu_names(&self) -> impl Iterator<Item = &str> {
        self.settings.gpus.keys().map(String::as_str)
    }

    /// Every field and table in `[defaults]`, as whole paths.
    pub(super) fn default_paths(&self) -> &BTreeSet<String> {
        &self.default_paths
    }

    /// The table at `path`, if it is one.
    fn layer(&self, path: &[&str], rank: Rank) -> Option<Layer<'_>> {
        let mut table: &DeTable<'_> = self.tree.as_ref()?.get_ref();
        for key in path {
            table = table.get(*key)?.get_ref().as_table()?;
        }
        Some(Layer { table, file: &self.file, rank })
    }

    /// The chosen environment's overrides for one model.
    fn overrides(&self, model: &str) -> Option<Layer<'_>> {
        let environment = self.environment.as_ref()?.as_str();
        self.layer(&["environment", environment, "model", model], Rank::Environment)
    }

    /// Reads `[defaults]` as if it were a spec, so that its mistakes show without any spec.
    fn check_defaults(&self) -> Vec<SpecError> {
        let Some(layer) = self.layer(&["defaults"], Rank::Defaults) else { return Vec::new() };
        let context = Context::default();
        let spot = Spot { file: &self.file, span: 0..0 };
        model_file::model(Table::new(&context, "", vec![layer], spot), None, self);
        let (mut errors, _) = context.finish();
        errors.retain(|error| !matches!(error.problem, Problem::MissingField { .. }));
        errors
    }

    /// Reports overrides of models that don't exist.
    fn check_overrides(&self, sources: &Sources) -> Vec<SpecError> {
        let mut errors = Vec::new();
        let Some(environments) = self.layer(&["environment"], Rank::Own) else { return errors };
        let stems: BTreeSet<&str> = sources.specs.iter().filter_map(stem).collect();
        let models = environments.table.values().filter_map(|environment| {
            environment.get_ref().as_table()?.get("model")?.get_ref().as_table()
        });
        for key in models.flat_map(DeTable::keys) {
            let name: &str = key.get_ref();
            if stems.contains(name) {
                continue;
            }
            let problem = Problem::DanglingName {
                kind: "model",
                name: name.to_owned(),
                nearest: nearest(name, stems.iter().copied()).map(str::to_owned),
                make: format!("write specs/{name}.toml"),
            };
            errors.push(SpecError::new(problem, Place::new(Arc::clone(&self.file), key.span())));
        }
        errors
    }
}

/// Reads one spec. Specs can be read in parallel.
pub fn read_model(source: &SourceFile, shared: &Shared<'_>) -> Result<Model, Vec<SpecError>> {
    let context = Context::default();
    let model = model_with(source, shared, &context);
    let (mut errors, _) = context.finish();
    if shared.tree.is_none() {
        // What is missing may be in the defaults that can't be read.
        errors.retain(|error| !matches!(error.problem, Problem::MissingField { .. }));
    }
    model.filter(|_| errors.is_empty()).ok_or(errors)
}

fn model_with(source: &SourceFile, shared: &Shared<'_>, context: &Context) -> Option<Model> {
    let file = Arc::new(source.clone());
    let name = file_name(&file, "a model", ModelName::new, context);
    let tree = parse(source, &file, context)?;
    let own = Layer { table: tree.get_ref(), file: &file, rank: Rank::Own };
    let stem = name.as_ref().map_or("", ModelName::as_str);
    let layers = [shared.overrides(stem), Some(own), shared.layer(&["defaults"], Rank::Defaults)];
    let layers = layers.into_iter().flatten().collect();
    let root = Table::new(context, "", layers, Spot { file: &file, span: 0..0 });
    model_file::model(root, name, shared)
}

/// Reads one image. Images can be read in parallel.
pub fn read_image(source: &SourceFile, types: &TargetTypes) -> Result<Image, Vec<SpecError>> {
    let context = Context::default();
    let image = image_with(source, types, "", &context);
    let (errors, _) = context.finish();
    image.filter(|_| errors.is_empty()).ok_or(errors)
}

fn image_with(
    source: &SourceFile,
    types: &TargetTypes,
    path: &str,
    context: &Context,
) -> Option<Image> {
    let file = Arc::new(source.clone());
    let name = file_name(&file, "an image", ImageName::new, context);
    let tree = parse(source, &file, context)?;
    let own = Layer { table: tree.get_ref(), file: &file, rank: Rank::Own };
    let root = Table::new(context, path, vec![own], Spot { file: &file, span: 0..0 });
    image_file::image(root, name, &file, types)
}

/// Every value that counts for `model` and its image, in the order in which they are read.
///
/// `None` when the project has no such model.
pub fn effective(
    sources: &Sources,
    environment: Option<&EnvironmentName>,
    model: &ModelName,
) -> Result<Option<Vec<Effective>>, SpecErrors> {
    let Some(spec) = sources.specs.iter().find(|file| stem(file) == Some(model.as_str())) else {
        return Ok(None);
    };
    let shared = Shared::new(sources, environment);
    SpecErrors::collect(shared.errors.clone())?;
    SpecErrors::collect(sources.mistakes_of(spec))?;
    let context = Context::traced();
    let read = model_with(spec, &shared, &context);
    let (errors, mut values) = context.finish();
    SpecErrors::collect(errors)?;
    if let Some(model) = &read {
        values.append(&mut of_project(&shared, model));
    }
    let image = read.map(|model| model.image.value);
    let file =
        sources.images.iter().find(|file| stem(file) == image.as_ref().map(ImageName::as_str));
    if let Some(file) = file {
        SpecErrors::collect(sources.mistakes_of(file))?;
        let context = Context::traced();
        image_with(file, &sources.kinds.targets, "image:", &context);
        let (errors, mut image_values) = context.finish();
        SpecErrors::collect(errors)?;
        values.append(&mut image_values);
    }
    Ok(Some(values))
}

/// What `goatbuild.toml` decides of a model: its app, its target, its GPU's price, the volumes.
fn of_project(shared: &Shared<'_>, model: &Model) -> Vec<Effective> {
    let Some(tree) = &shared.tree else { return Vec::new() };
    let context = Context::traced();
    let own = Layer { table: tree.get_ref(), file: &shared.file, rank: Rank::Own };
    let mut root = Table::new(&context, "", vec![own], Spot { file: &shared.file, span: 0..0 });
    let mut environments = root.table("environment");
    let chosen = shared.environment.as_ref().map(EnvironmentName::as_str);
    let name = environments.other_keys().into_iter().find(|name| Some(name.value) == chosen);
    let mut environment = name.map(|name| environments.table(name.value));
    let settings = settings(&mut root, &shared.kinds, environment.as_mut());
    let (_, values) = context.finish();
    let gpu = model.hardware.as_ref().map(|hardware| hardware.gpu.as_str());
    let mut wanted = vec![format!("target.{}.", model.target), "volumes.".to_owned()];
    wanted.extend(gpu.map(|gpu| format!("gpu.{}.", value::key_text(gpu))));
    let mut kept = Vec::new();
    if model.target.has_apps() {
        let prefix = values.iter().find(|value| value.field == "project.app-prefix");
        kept.extend(prefix.map(|prefix| Effective {
            field: "project:app".to_owned(),
            value: value::quoted(&format!("{}{}", settings.app_prefix, model.name)),
            origin: prefix.origin.clone(),
        }));
    }
    let of_model = |value: &Effective| wanted.iter().any(|start| value.field.starts_with(start));
    kept.extend(
        values
            .into_iter()
            .filter(of_model)
            .map(|value| Effective { field: format!("project:{}", value.field), ..value }),
    );
    if let Some((name, gpu)) = gpu.and_then(|name| Some((name, settings.gpus.get(name)?))) {
        for (key, number) in [("vram-gib", gpu.vram_gib), ("usd-per-hour", gpu.usd_per_hour)] {
            let field = format!("project:gpu.{}.{key}", value::key_text(name));
            if !kept.iter().any(|value| value.field == field) {
                let value = number.to_string();
                kept.push(Effective { field, value, origin: Origin::BuiltIn });
            }
        }
    }
    kept
}

/// The environments that `goatbuild.toml` has; none when it can't be read.
pub fn environments(sources: &Sources) -> Option<Vec<EnvironmentName>> {
    let tree = DeTable::parse(&sources.project.text).ok()?;
    Some(named_environments(tree.get_ref()))
}

fn named_environments(project: &DeTable<'_>) -> Vec<EnvironmentName> {
    let named = project.get("environment").and_then(|found| found.get_ref().as_table());
    let keys = named.into_iter().flat_map(|named| named.keys());
    keys.filter_map(|name| name.get_ref().parse().ok()).collect()
}

/// Reads the project's file once per environment, and keeps what the chosen one says.
fn project_file(
    tree: &DeTable<'_>,
    file: &Arc<SourceFile>,
    context: &Context,
    kinds: &Kinds,
    chosen: Option<&EnvironmentName>,
) -> Settings {
    let own = Layer { table: tree, file, rank: Rank::Own };
    let spot = Spot { file, span: 0..0 };
    let mut root = Table::new(context, "", vec![own], spot);
    let mut kept = settings(&mut root, kinds, None);
    let _ = root.table("defaults");
    let mut environments = root.table("environment");
    let names = environments.other_keys();
    for name in &names {
        let mut environment = environments.table(name.value);
        let settings = settings(&mut root, kinds, Some(&mut environment));
        let mut models = environment.table("model");
        for model in models.other_keys() {
            // Says so when it is no table.
            let _ = models.table(model.value);
        }
        environment.finish();
        if chosen.is_some_and(|chosen| chosen.as_str() == name.value) {
            kept = settings;
        }
    }
    if let Some(chosen) = chosen
        && !names.iter().any(|name| name.value == chosen.as_str())
    {
        let problem = Problem::DanglingName {
            kind: "environment",
            name: chosen.to_string(),
            nearest: nearest(chosen.as_str(), names.iter().map(|name| name.value))
                .map(str::to_owned),
            make: format!("add [environment.{chosen}] to goatbuild.toml"),
        };
        context.report(problem, &environments.spot);
    }
    root.finish();
    kept
}
