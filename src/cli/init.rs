//! `goatbuild init`.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::{Path, PathBuf};

use clap::Args;
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::{Exit, Global, schema};
use crate::project::{PROJECT_FILE, SCHEMAS};
use crate::{ui, workspace};

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Where to make it; the current directory without one
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    into: Option<PathBuf>,
    /// Without the example: no model and no image
    #[arg(long)]
    empty: bool,
}

/// Something is there already.
#[derive(Debug, Error, Diagnostic)]
#[error("{} is there already", path.display())]
#[diagnostic(
    code(goatbuild::usage::exists),
    help("nothing was written; make the project in another directory, or take that away first")
)]
struct Exists {
    path: PathBuf,
}

const PROJECT: &str = include_str!("template/goatbuild.toml");
const IGNORE: (&str, &[u8]) = ("cache/.gitignore", b"*\n!.gitignore\n");
const SPEC: (&str, &[u8]) = ("specs/tiny-qwen3.toml", include_bytes!("template/spec.toml"));
const IMAGE: &str = include_str!("template/image.toml");

/// The files of the smallest model that says anything.
macro_rules! tiny {
    ($($file:literal),*) => {
        [$((
            concat!("models/tiny-qwen3/", $file),
            include_bytes!(concat!("../../examples/quickstart/tiny-qwen3/", $file)).as_slice(),
        )),*]
    };
}

const MODEL: [(&str, &[u8]); 5] = tiny!(
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json"
);

pub(crate) fn run(global: &Global, arguments: &InitArgs) -> Result<Exit, Report> {
    let root = match (&global.directory, &arguments.into) {
        (Some(from), Some(into)) => from.join(into),
        (Some(only), None) | (None, Some(only)) => only.clone(),
        (None, None) => PathBuf::from("."),
    };
    let project = PROJECT.replace("{id}", &fresh_id(&root));
    let image = IMAGE.replace("{platform}", platform());
    let mut files = vec![(PROJECT_FILE, project.as_bytes()), IGNORE];
    if !arguments.empty {
        files.extend([SPEC, ("images/mlx.toml", image.as_bytes())]);
        files.extend(MODEL);
    }
    let mut targets: Vec<PathBuf> = files.iter().map(|(path, _)| root.join(path)).collect();
    targets.push(root.join(SCHEMAS));
    if let Some(path) = targets.into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(Exists { path }.into());
    }
    // The file that makes it a project comes last: what a kill leaves can be begun anew.
    for (path, bytes) in files.iter().rev() {
        workspace::write(&root.join(path), bytes)?;
    }
    for directory in ["specs", "images"] {
        workspace::make_directory(&root.join(directory))?;
    }
    schema::write(&root.join(SCHEMAS))?;
    ui::print_text(&next(arguments, &root));
    Ok(Exit::Done)
}

fn next(arguments: &InitArgs, root: &Path) -> String {
    let (go, project) = match &arguments.into {
        Some(_) => (
            format!("  cd {}\n", ui::for_shell(&root.display().to_string())),
            root.join(PROJECT_FILE),
        ),
        None => (String::new(), PathBuf::from(PROJECT_FILE)),
    };
    let project = project.display();
    if arguments.empty {
        return format!(
            "made {project}; next, write images/NAME.toml, then:\n{go}  \
             goatbuild add hf:org/name   writes a model's spec\n  \
             goatbuild check             says what is wrong\n"
        );
    }
    format!(
        "made {project}, specs/tiny-qwen3.toml and images/mlx.toml; next:\n{go}  \
         goatbuild check    can this machine serve?\n  \
         goatbuild plan     what would run, and why; locks what is not locked yet\n  \
         goatbuild apply    builds the image, serves the model, tries it out; needs no account\n"
    )
}

/// The directory's name as far as an id can hold it, and six random digits.
pub(super) fn fresh_id(root: &Path) -> String {
    let absolute = std::path::absolute(root).unwrap_or_default();
    let name = absolute.file_name().map(|name| name.to_string_lossy().to_lowercase());
    let letters = name.as_deref().unwrap_or_default().chars();
    let dashed: String =
        letters.map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    let words: Vec<&str> = dashed.split('-').filter(|word| !word.is_empty()).collect();
    let mut name = words.join("-");
    name.truncate(32);
    let name = name.trim_end_matches('-');
    let name = if name.is_empty() { "project" } else { name };
    // Seeded by the system: ids have to differ, not to be secret.
    let random = RandomState::new().build_hasher().finish() & 0xff_ffff;
    format!("{name}-{random:06x}")
}

/// The platform of this machine's processor: what is served here has to run here.
fn platform() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" }
}
