//! `goatbuild add`.

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::session::unknown;
use super::{Exit, Global, completions, init, session};
use crate::spec::{Image, ImageName, ModelName, SourceFile, Sources};
use crate::{project, spec, ui, workspace};

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The weights: `hf:organisation/name`, or `path:directory` in the project
    source: String,
    /// The model's name; made of the source's without one
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// The image to serve it with; needed when the project has several
    #[arg(long, value_name = "IMAGE", add = ArgValueCandidates::new(completions::images))]
    image: Option<String>,
    /// The GPUs to serve it on, such as H100 or H100:4
    #[arg(long, value_name = "GPU[:COUNT]")]
    gpu: Option<String>,
    /// A commit, branch or tag
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
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
    #[error("the project has {count} images")]
    #[diagnostic(code(goatbuild::usage::which_image), help("{help}"))]
    Image { count: usize, help: String },
    #[error("`{gpu}` is no GPU with a count")]
    #[diagnostic(code(goatbuild::usage::gpu), help("write it like H100 or H100:4"))]
    Gpu { gpu: String },
}

pub(crate) fn run(global: &Global, arguments: &AddArgs) -> Result<Exit, Report> {
    let files = session::files(global)?;
    let name = name(arguments)?;
    let path = format!("specs/{name}.toml");
    if files.root.join(&path).symlink_metadata().is_ok() {
        return Err(AddError::Exists { name: name.to_string() }.into());
    }
    // The specs that are there may have mistakes of their own: only what is new is looked at.
    let mut sources = Sources { specs: Vec::new(), ..files.sources };
    let image = image(&sources, arguments.image.as_deref())?;
    let has_schemas = files.root.join(init::SCHEMAS).is_dir();
    let text = spec_text(arguments, &image, has_schemas)?;
    sources.specs.push(SourceFile { path: path.clone().into(), text: text.as_str().into() });
    project::read(&sources, files.environment.as_ref())?;
    workspace::write(&files.root.join(&path), text.as_bytes())?;
    let shown = match &global.directory {
        Some(directory) => directory.join(&path),
        None => path.into(),
    };
    ui::print_text(&format!(
        "wrote {}; look at its flags, then `goatbuild plan {name}`\n",
        shown.display()
    ));
    Ok(Exit::Done)
}

/// The name that was asked for, or the last part of the source as far as a name can hold it.
fn name(arguments: &AddArgs) -> Result<ModelName, AddError> {
    let source = arguments.source.split_once(':').map_or(&*arguments.source, |(_, rest)| rest);
    let last = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_lowercase();
    let made = last.replace('_', "-");
    let name = arguments.name.as_ref().unwrap_or(&made);
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
    match spec::read_image(file) {
        Ok(image) => Ok(image),
        Err(errors) => {
            spec::SpecErrors::collect(errors)?;
            panic!("BUG: an image with neither mistakes nor content")
        }
    }
}

fn spec_text(arguments: &AddArgs, image: &Image, has_schemas: bool) -> Result<String, AddError> {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut text = String::new();
    if has_schemas {
        let _ = writeln!(text, "#:schema ../{}/spec.schema.json\n", init::SCHEMAS);
    }
    let _ = writeln!(text, "image = {}\n", quoted(ImageName::as_str(&image.name)));
    let _ = writeln!(text, "[model]\nsource = {}", quoted(&arguments.source));
    match &arguments.revision {
        Some(revision) => {
            let _ = writeln!(text, "revision = {}", quoted(revision));
        }
        None if arguments.source.starts_with("hf:") => {
            text.push_str(
                "# The hub's default branch, at the commit that `goatbuild lock` finds and keeps.\n\
                 # revision = \"…\"\n",
            );
        }
        None => {}
    }
    if let Some(gpu) = &arguments.gpu {
        let wrong = || AddError::Gpu { gpu: gpu.clone() };
        let (name, count) = match gpu.split_once(':') {
            Some((name, count)) => (name, count.parse::<u32>().map_err(|_| wrong())?),
            None => (gpu.as_str(), 1),
        };
        let _ = writeln!(text, "\n[hardware]\ngpu = {}\ncount = {count}", quoted(name));
    }
    let engine = engine_of(image);
    let _ = writeln!(text, "\n[engine]\nname = {}", quoted(engine));
    match engine {
        "vllm" => text
            .push_str("# max-model-len = 8192          # vLLM's own flags, by their own names\n"),
        _ => text
            .push_str("# max-tokens = 512              # mlx-lm's own flags, by their own names\n"),
    }
    Ok(text)
}

/// The engine whose package the image asks for.
fn engine_of(image: &Image) -> &'static str {
    let asks = |package: &str| {
        image
            .requirements
            .iter()
            .any(|requirement| requirement.value.trim_start().starts_with(package))
    };
    if asks("mlx-lm") { "mlx-lm" } else { "vllm" }
}
