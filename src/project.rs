//! Finds a project on disk and reads its files.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::Diagnostic;
use thiserror::Error;

use crate::bounded;
use crate::engine::{FlagProblem, Subject};
use crate::engines;
use crate::gateways;
use crate::spec::{
    self, EnvironmentName, FileMistakes, Image, Kinds, Model, Place, Problem, Project, Shared,
    SourceFile, Sources, SpecError, SpecErrors, Value,
};
use crate::targets;

/// The file that makes a directory a project.
pub const PROJECT_FILE: &str = "goatbuild.toml";

/// Where editors find what to complete and check its files with.
pub const SCHEMAS: &str = ".schemas";

/// Why a project can't be read.
#[derive(Debug, Error, Diagnostic)]
pub enum ProjectError {
    /// There is none here.
    #[error("there is no {PROJECT_FILE} in {} or above it", from.display())]
    #[diagnostic(
        code(goatbuild::spec::no_project),
        help(
            "go to a project's directory, name it with `-C DIR`, or begin one with `goatbuild init`"
        )
    )]
    NotFound {
        /// Where the search began.
        from: PathBuf,
    },
    /// A file can't be read.
    #[error("{} can't be read: {source}", path.display())]
    #[diagnostic(
        code(goatbuild::spec::unreadable),
        help("check that it is there, and its permissions")
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The files say something wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Spec(#[from] SpecErrors),
}

/// The project's directory: `from` or the nearest one above it.
pub fn find(from: &Path) -> Result<PathBuf, ProjectError> {
    let from = std::path::absolute(from)
        .map_err(|source| ProjectError::Unreadable { path: from.to_owned(), source })?;
    from.ancestors()
        .find(|directory| directory.join(PROJECT_FILE).exists())
        .map(Path::to_owned)
        .ok_or(ProjectError::NotFound { from })
}

/// What files may name: all that there is.
pub fn kinds() -> Kinds {
    Kinds {
        engines: engines::built_in(),
        targets: targets::built_in().types(),
        gateways: gateways::built_in(),
    }
}

/// Reads every file of the project at `root`.
pub fn load(root: &Path) -> Result<Sources, ProjectError> {
    let (project, mut mistakes) = text(root, Path::new(PROJECT_FILE))?;
    let images = list(root, "images", |name| !name.ends_with(".pylock.toml"))?;
    let specs = list(root, "specs", |_| true)?;
    let mut kept = |read: (SourceFile, Vec<SpecError>)| {
        mistakes.extend(read.1);
        read.0
    };
    let specs = in_parallel(&specs, |path| text(root, path))?.into_iter().map(&mut kept).collect();
    let images = images.iter().map(|path| text(root, path)).collect::<Result<Vec<_>, _>>()?;
    let images = images.into_iter().map(&mut kept).collect();
    Ok(Sources { project, specs, images, mistakes, kinds: kinds() })
}

/// Reads and checks a project, its engines' flags included.
pub fn read(
    sources: &Sources,
    environment: Option<&EnvironmentName>,
) -> Result<Project, ProjectError> {
    let (project, mistakes) = read_part(sources, Shared::new(sources, environment), false)?;
    Ok(mistakes.map_or(Ok(project), Err)?)
}

/// Reads what has no mistakes, and gives those beside it. Whoever tolerates mistakes in the
/// project's own file gets what can be told of that, too.
pub fn read_part(
    sources: &Sources,
    shared: Shared<'_>,
    tolerant: bool,
) -> Result<(Project, Option<SpecErrors>), ProjectError> {
    let read_model = |file: &SourceFile| {
        found(sources.mistakes_of(file))?;
        let model = spec::read_model(file, &shared)?;
        found(flag_errors(&model, model.engine.kind.check(&model)))?;
        Ok(model)
    };
    let read_image = |file: &SourceFile| {
        found(sources.mistakes_of(file))?;
        spec::read_image(file, &sources.kinds.targets)
    };
    let read: Vec<Result<Model, Vec<SpecError>>> =
        in_parallel(&sources.specs, |file| Ok::<_, ProjectError>(read_model(file)))?;
    let mut wrong = FileMistakes::default();
    let models = keep(&sources.specs, read, &mut wrong.models);
    let read = sources.images.iter().map(read_image).collect();
    let images: Vec<Image> = keep(&sources.images, read, &mut wrong.images);
    Ok(spec::assemble_part(shared, models, images, &wrong, tolerant)?)
}

fn found(mistakes: Vec<SpecError>) -> Result<(), Vec<SpecError>> {
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
}

/// What was read well; the mistakes of the rest go to `wrong`, by their files' names.
fn keep<T>(
    files: &[SourceFile],
    read: Vec<Result<T, Vec<SpecError>>>,
    wrong: &mut Vec<(String, Vec<SpecError>)>,
) -> Vec<T> {
    let name = |file: &SourceFile| {
        file.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    };
    let mut good = Vec::with_capacity(read.len());
    for (file, read) in files.iter().zip(read) {
        match read {
            Ok(read) => good.push(read),
            Err(errors) => wrong.push((name(file), errors)),
        }
    }
    good
}

/// What a model's engine would not take, as mistakes in the spec.
pub fn flag_errors(model: &Model, problems: Vec<FlagProblem>) -> Vec<SpecError> {
    let error = |problem: FlagProblem| {
        let place = place_of(model, &problem.subject);
        let place = place.unwrap_or_else(|| model.file.place.clone());
        SpecError::new(Problem::Flag { message: problem.message, help: problem.help }, place)
    };
    problems.into_iter().map(error).collect()
}

/// Where what a problem is about is written, unless it is the whole model.
fn place_of(model: &Model, subject: &Subject) -> Option<Place> {
    match subject {
        Subject::Model => None,
        Subject::Flag(path) => place_of_flag(model, path),
        Subject::ExtraArg(at) => {
            model.engine.extra_args.get(*at).map(|argument| argument.place.clone())
        }
        Subject::Serve(field) => Place::of_field(model.source_file(), &["serve", field]),
    }
}

/// Where a flag, or a field in a flag's table, is written.
fn place_of_flag(model: &Model, path: &str) -> Option<Place> {
    let mut parts = path.split('.');
    let mut flag = model.engine.flags.get(parts.next()?);
    if flag.is_none() {
        return Place::of_field(model.source_file(), &["engine", path]);
    }
    for part in parts {
        match flag.map(|flag| &flag.value) {
            Some(Value::Table(fields)) if fields.contains_key(part) => flag = fields.get(part),
            _ => break,
        }
    }
    flag.map(|flag| flag.key.clone())
}

fn list(
    root: &Path,
    directory: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<PathBuf>, ProjectError> {
    let path = root.join(directory);
    let unreadable = |source| ProjectError::Unreadable { path: path.clone(), source };
    let entries = match std::fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
        let is_toml = Path::new(&name).extension().is_some_and(|extension| extension == "toml");
        if is_toml && !name.starts_with('.') && wanted(&name) {
            names.push(Path::new(directory).join(name));
        }
    }
    names.sort();
    Ok(names)
}

/// A file's text; a mistake where it is none.
fn text(root: &Path, path: &Path) -> Result<(SourceFile, Vec<SpecError>), ProjectError> {
    let unreadable = |source| ProjectError::Unreadable { path: path.to_owned(), source };
    let mut file = bounded::open(&root.join(path)).map_err(unreadable)?;
    let mut small = [0; 8192];
    let mut have = 0;
    // Nearly every file fits; asking for its size first would take as long as reading it.
    while have < small.len() {
        match file.read(&mut small[have..]) {
            Ok(0) => break,
            Ok(more) => have += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    let large;
    let bytes = if have < small.len() {
        &small[..have]
    } else {
        large = bounded::rest(file, small.to_vec(), bounded::TEXT).map_err(unreadable)?;
        &large[..]
    };
    match str::from_utf8(bytes) {
        Ok(text) => Ok((SourceFile { path: path.to_owned(), text: Arc::from(text) }, Vec::new())),
        Err(error) => {
            let text = Arc::from(String::from_utf8_lossy(bytes));
            let file = SourceFile { path: path.to_owned(), text };
            let at = error.valid_up_to();
            let wrong = at..at + char::REPLACEMENT_CHARACTER.len_utf8();
            let place = Place::new(Arc::new(file.clone()), wrong);
            Ok((file, vec![SpecError::new(Problem::NotText, place)]))
        }
    }
}

/// Below this many files, threads cost more than they give.
const WORTH_THREADS: usize = 64;

/// Maps items on all cores, in order.
fn in_parallel<T: Sync, U: Send, E: Send>(
    items: &[T],
    map: impl Fn(&T) -> Result<U, E> + Sync,
) -> Result<Vec<U>, E> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if items.len() < WORTH_THREADS || cores == 1 {
        return items.iter().map(map).collect();
    }
    let map = &map;
    std::thread::scope(|scope| {
        let parts: Vec<_> = items
            .chunks(items.len().div_ceil(cores))
            .map(|part| scope.spawn(move || part.iter().map(map).collect::<Result<Vec<U>, E>>()))
            .collect();
        let mut all = Vec::with_capacity(items.len());
        for part in parts {
            match part.join() {
                Ok(mapped) => all.extend(mapped?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })
}
