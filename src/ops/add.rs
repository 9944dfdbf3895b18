//! Writing the spec of a model that is new to a project.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::open::{Files, Site};
use super::{Frontend, Work};
use crate::engine::{Engine, Engines};
use crate::hub::HubError;
use crate::lock::LockedRepository;
use crate::project::ProjectError;
use crate::spec::{
    HubSource, Image, ImageName, ModelName, Problem, Shared, SourceFile, Sources, SpecError,
    TargetType, TargetTypes, unknown,
};
use crate::words::{bytes, count};
use crate::workspace::Workspace;
use crate::{project, spec, workspace};

/// What is known of the model.
#[derive(Debug)]
pub struct Addition {
    /// The weights, as a spec names them.
    pub source: String,
    /// Its name; made of the source's without one.
    pub name: Option<String>,
    /// The image to serve it with; the project's only one without it.
    pub image: Option<String>,
    /// Where to serve it; where the project's other models are served without one.
    pub target: Option<&'static dyn TargetType>,
    /// The GPUs to serve it on, with their count after a colon.
    pub gpu: Option<String>,
    /// A commit, branch or tag.
    pub revision: Option<String>,
}

/// Why no spec is written.
#[derive(Debug, Error, Diagnostic)]
enum AddError {
    #[error("specs/{name}.toml is there already")]
    #[diagnostic(
        code(goatbuild::usage::exists),
        help("nothing was written; choose another name with `--as NAME`")
    )]
    Exists { name: String },
    #[error("`{name}` can't be the name of a model")]
    #[diagnostic(code(goatbuild::usage::model_name), help("use {expected}: `--as NAME`"))]
    Name { name: String, expected: &'static str },
    #[error("`{source_text}` is no source of weights")]
    #[diagnostic(
        code(goatbuild::usage::source),
        help("write it as hf:organisation/name, or as path:directory for one in the project")
    )]
    Source { source_text: String },
    #[error("{path} {what}")]
    #[diagnostic(
        code(goatbuild::usage::no_weights),
        help(
            "nothing was written; put the model's files into that directory of the project first"
        )
    )]
    NoWeights { path: String, what: &'static str },
    #[error("a model on {title} needs a GPU")]
    #[diagnostic(
        code(goatbuild::usage::gpu),
        help("say which: `--gpu H100`, or `--gpu H100:4`; `--target {here}` serves it here")
    )]
    NeedsGpu { title: String, here: String },
    #[error("the project has {count} images")]
    #[diagnostic(code(goatbuild::usage::which_image), help("{help}"))]
    Image { count: usize, help: String },
    #[error("`{gpu}` is no GPU with a count")]
    #[diagnostic(code(goatbuild::usage::gpu), help("write it like H100 or H100:4"))]
    Gpu { gpu: String },
}

/// Writes a spec for a model; gives the model's name and the file.
pub async fn add(
    site: &Site,
    frontend: &dyn Frontend,
    addition: &Addition,
) -> Result<(ModelName, PathBuf), Report> {
    let files = site.files()?;
    let name = name(addition)?;
    let path = format!("specs/{name}.toml");
    if files.root.join(&path).symlink_metadata().is_ok() {
        return Err(AddError::Exists { name: name.to_string() }.into());
    }
    check_source(&files.root, &addition.source)?;
    let target = target(frontend, addition, &files);
    // The specs that are there may have mistakes of their own: only what is new is looked at.
    let mut sources = Sources { specs: Vec::new(), ..files.sources };
    let image = image(&sources, addition.image.as_deref())?;
    let engine = engine_of(&image, sources.kinds.engines);
    let has_schemas = files.root.join(project::SCHEMAS).is_dir();
    let mut text = spec_text(addition, &image, engine, target, has_schemas, None)?;
    sources.specs.push(SourceFile { path: path.clone().into(), text: text.as_str().into() });
    let project = project::read(&sources, files.environment.as_ref())
        .map_err(|error| needs_gpu(error, &sources.kinds.targets))?;
    let source = project.models.values().find_map(|model| model.source.hub()).cloned();
    if let Some(source) = source {
        let workspace = Workspace::open(files.root.clone(), project, site.settings.clone())?;
        if let Some(found) = ask(&workspace, frontend, &source).await? {
            text = spec_text(addition, &image, engine, target, has_schemas, Some(&found.commit))?;
            keep(&workspace, frontend, &source, addition.revision.is_none(), found)?;
        }
    }
    workspace::write(&files.root.join(&path), text.as_bytes())?;
    let shown = match &site.directory {
        Some(directory) => directory.join(&path),
        None => path.into(),
    };
    Ok((name, shown))
}

/// Fails on a source that can't be one, and on a directory without weights.
fn check_source(root: &Path, source: &str) -> Result<(), AddError> {
    if !spec::is_source(source) {
        return Err(AddError::Source { source_text: source.to_owned() });
    }
    let Some(path) = source.strip_prefix("path:") else { return Ok(()) };
    let what = match std::fs::read_dir(root.join(path)).map(Iterator::count) {
        Ok(0) => "has no files",
        Ok(_) => return Ok(()),
        Err(_) => "is no directory of the project",
    };
    Err(AddError::NoWeights { path: path.to_owned(), what })
}

/// The target that was asked for, or that of the other models; none where the spec need not say it.
fn target(
    frontend: &dyn Frontend,
    addition: &Addition,
    files: &Files,
) -> Option<&'static dyn TargetType> {
    if let Some(asked) = addition.target {
        return Some(asked);
    }
    let shared = Shared::new(&files.sources, files.environment.as_ref());
    let others = files.sources.specs.iter().filter_map(|file| spec::read_model(file, &shared).ok());
    let used: BTreeSet<&'static dyn TargetType> = others.map(|model| model.target).collect();
    let default = files.sources.kinds.targets.default_one();
    let other = *used.iter().find(|it| **it != default)?;
    let (target, why, other) = match used.len() {
        1 => (other, ", like the project's other models", default),
        _ => (default, "", other),
    };
    frontend.note(&format!("served by `{target}`{why}; `--target {other}` says otherwise"));
    Some(target)
}

/// The flag to give, where the spec would lack hardware.
fn needs_gpu(error: ProjectError, types: &TargetTypes) -> Report {
    let lacks = |error: &SpecError| matches!(&error.problem, Problem::MissingField { field, .. } if field == "hardware.gpu");
    match &error {
        ProjectError::Spec(errors) if errors.errors().iter().all(lacks) => {
            let here = types.iter().filter(|it| it.is_here()).map(TargetType::name).collect();
            AddError::NeedsGpu { title: types.titles(TargetType::allots_gpus), here }.into()
        }
        _ => error.into(),
    }
}

/// Asks the hub what a source stands for; nothing, and says so, when no hub can be asked.
async fn ask(
    workspace: &Workspace,
    frontend: &dyn Frontend,
    source: &HubSource,
) -> Result<Option<LockedRepository>, Report> {
    let later = "which commit that is, `goatbuild lock` finds out";
    if workspace.settings.offline {
        frontend.note(&format!("hf:{source}: not asked for, with --offline; {later}"));
        return Ok(None);
    }
    let hub = workspace.network.hub()?.hasty();
    let answer = frontend.showing(Work::Prepares, async |reporter| {
        reporter.message(format!("asking the hub for {}", source.repository));
        hub.telling(reporter).listing(&source.repository, &source.revision).await
    });
    match answer.await {
        Ok((found, lacking)) => {
            if let Some(error) = lacking {
                let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
                frontend.note(&format!("hf:{source}: its config.json was not read: {error}{help}"));
            }
            Ok(Some(found))
        }
        Err(HubError::Network { url, reason, .. }) => {
            frontend.note(&format!("hf:{source}: {url} can't be reached ({reason}); {later}"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Has the lock keep what the hub said: of the commit itself where the spec is going to name that.
fn keep(
    workspace: &Workspace,
    frontend: &dyn Frontend,
    source: &HubSource,
    pins: bool,
    found: LockedRepository,
) -> Result<(), Report> {
    let (commit, files) = (&found.commit[..8], count(found.files.len(), "file"));
    let size = bytes(found.files.iter().map(|file| file.size).sum());
    let verb = if pins || source.pinned().is_some() { "pinned at" } else { "is" };
    frontend.note(&format!("hf:{source} {verb} {commit}: {files}, {size}"));
    if !workspace.settings.locked {
        let revision = if pins { found.commit.clone() } else { source.revision.clone() };
        let source = HubSource { revision, ..source.clone() };
        workspace.lock.change(|lock| drop(lock.hub.insert(source.to_string(), found)))?;
    }
    Ok(())
}

/// The name that was asked for, or the last part of the source as far as a name can hold it.
fn name(addition: &Addition) -> Result<ModelName, AddError> {
    let source = addition.source.split_once(':').map_or(&*addition.source, |(_, rest)| rest);
    let last = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_lowercase();
    let made = last.replace('_', "-");
    let name = addition.name.as_ref().unwrap_or(&made);
    ModelName::new(name)
        .map_err(|error| AddError::Name { name: name.clone(), expected: error.expected })
}

/// The image that was asked for, or the only one.
fn image(sources: &Sources, asked: Option<&str>) -> Result<Image, Report> {
    let names: Vec<&str> = sources
        .images
        .iter()
        .filter_map(|file| Path::new(&file.path).file_stem()?.to_str())
        .collect();
    let name = match (asked, &*names) {
        (Some(asked), _) => asked,
        (None, [only]) => only,
        (None, several) => {
            let help = if several.is_empty() {
                "write images/NAME.toml first".to_owned()
            } else {
                format!("say which one: `--image {}`", several.join("` or `--image "))
            };
            return Err(AddError::Image { count: several.len(), help }.into());
        }
    };
    let file = sources.images.iter().zip(&names).find(|(_, known)| **known == name);
    let (file, _) = file.ok_or_else(|| unknown("image", name, names.iter().copied()))?;
    match spec::read_image(file, &sources.kinds.targets) {
        Ok(image) => Ok(image),
        Err(errors) => {
            spec::SpecErrors::collect(errors)?;
            panic!("BUG: an image with neither mistakes nor content")
        }
    }
}

/// The spec; `commit` is what the hub says that its source stands for.
fn spec_text(
    addition: &Addition,
    image: &Image,
    engine: &dyn Engine,
    target: Option<&'static dyn TargetType>,
    has_schemas: bool,
    commit: Option<&str>,
) -> Result<String, AddError> {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut text = String::new();
    if has_schemas {
        let _ = writeln!(text, "#:schema ../{}/spec.schema.json\n", project::SCHEMAS);
    }
    let _ = writeln!(text, "image = {}", quoted(ImageName::as_str(&image.name)));
    if let Some(target) = target {
        let _ = writeln!(text, "target = \"{target}\"");
    }
    text.push('\n');
    let _ = writeln!(text, "[model]\nsource = {}", quoted(&addition.source));
    match (&addition.revision, commit) {
        (Some(revision), _) => {
            let _ = writeln!(text, "revision = {}", quoted(revision));
        }
        (None, Some(commit)) => {
            let _ = writeln!(text, "revision = {}   # `main` when this was added", quoted(commit));
        }
        (None, None) if addition.source.starts_with("hf:") => {
            text.push_str(
                "# The hub's default branch, at the commit that `goatbuild lock` finds and keeps.\n\
                 # revision = \"…\"\n",
            );
        }
        (None, None) => {}
    }
    if let Some(gpu) = &addition.gpu {
        let wrong = || AddError::Gpu { gpu: gpu.clone() };
        let (name, count) = match gpu.split_once(':') {
            Some((name, count)) => (name, count.parse::<u32>().map_err(|_| wrong())?),
            None => (gpu.as_str(), 1),
        };
        let _ = writeln!(text, "\n[hardware]\ngpu = {}\ncount = {count}", quoted(name));
    }
    let _ = writeln!(text, "\n[engine]\nname = {}", quoted(engine.name()));
    if let Some(flag) = engine.example_flag() {
        let (flag, title) = (format!("# {flag}"), engine.title());
        let _ = writeln!(text, "{flag:<32}# {title}'s own flags, by their own names");
    }
    Ok(text)
}

/// The engine whose package the image asks for.
fn engine_of(image: &Image, engines: Engines) -> &'static dyn Engine {
    let asks = |package: &str| {
        image
            .requirements
            .iter()
            .any(|requirement| requirement.value.trim_start().starts_with(package))
    };
    // Where nothing says another, the default one may come with the base.
    let others = engines.iter().skip(1);
    let asked = others.into_iter().find(|engine| engine.package().is_some_and(asks));
    asked.unwrap_or_else(|| engines.default_one())
}
