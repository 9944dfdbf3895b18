//! Settles the wheels of an image: `images/<image>.pylock.toml`.

use std::path::PathBuf;

use super::{Changes, LockOptions, LockingError, Renew};
use crate::bounded;
use crate::event::Reporter;
use crate::lock::pylock::{LockedWheel, Pylock, PylockError, PythonRequest, Sources, normalised};
use crate::platform::Runtime;
use crate::python::{self, PythonError, Upgrade};
use crate::spec::{Image, ImageName, Located, Problem, SpecError, SpecErrors, nearest};
use crate::step::StepError;
use crate::workspace::{Workspace, packages_of, unreadable, write};

/// Settles an image's wheels; `needed` are requirements beside those in its file. Gives what it asks for.
pub(super) async fn settle(
    workspace: &Workspace,
    image: &Image,
    runtime: Runtime,
    needed: Vec<String>,
    options: &LockOptions,
    reporter: &Reporter,
    changes: &mut Changes,
) -> Result<(PythonRequest, Vec<LockedWheel>), StepError> {
    let requirements = image.requirements.iter().map(|it| it.value.clone());
    let request = PythonRequest {
        image: image.name.to_string(),
        requirements: requirements.chain(needed).collect(),
        overrides: image.overrides.iter().map(|it| it.value.clone()).collect(),
        sources: Sources::of(&image.choosing),
        runtime,
    };
    let file = File { stem: image.name.to_string(), noun: "wheel" };
    let lock = answer(workspace, image, &file, &request, options, reporter, changes).await?;
    let wheels = lock.choose(&runtime)?;
    Ok((request, wheels))
}

/// One of an image's locks of wheels.
pub(super) struct File {
    /// Its name below `images`, without its ending.
    pub(super) stem: String,
    /// What it locks, for people: one of it.
    pub(super) noun: &'static str,
}

/// The lock that answers a request: the one that is there, or else a new one.
pub(super) async fn answer(
    workspace: &Workspace,
    image: &Image,
    file: &File,
    request: &PythonRequest,
    options: &LockOptions,
    reporter: &Reporter,
    changes: &mut Changes,
) -> Result<Pylock, StepError> {
    let found = read(workspace, &file.stem)?;
    let answered = found.as_ref().is_some_and(|(_, lock)| lock.answers(request));
    let upgrade = match &options.upgrade {
        Renew::Nothing => Upgrade::None,
        Renew::Everything => Upgrade::All,
        Renew::Gone { image: of, package } => {
            let ours = of == image.name.as_str()
                && found
                    .as_ref()
                    .is_some_and(|(_, lock)| lock.packages.iter().any(|it| it.name == *package));
            if ours { Upgrade::Packages(vec![package.clone()]) } else { Upgrade::None }
        }
        Renew::Named(names) if names.iter().any(|name| name == image.name.as_str()) => Upgrade::All,
        Renew::Named(names) => {
            let locked = found.as_ref().map(|(_, lock)| lock);
            let has = |name: &&String| {
                locked.is_some_and(|lock| lock.packages.iter().any(|it| it.name == **name))
            };
            let names: Vec<String> = names.iter().filter(has).cloned().collect();
            if names.is_empty() { Upgrade::None } else { Upgrade::Packages(names) }
        }
    };
    Ok(match found {
        Some((_, lock)) if answered && upgrade == Upgrade::None => lock,
        found => {
            if options.locked {
                let what = format!("images/{}.pylock.toml", file.stem);
                return Err(LockingError::Locked { what }.into());
            }
            reporter.message(format!("{}: choosing wheels", image.name));
            let tools = workspace.cache.tools();
            let fetcher = workspace.network.fetcher.telling(reporter);
            let uv = python::ensure_uv(&fetcher, &tools, reporter).await;
            let uv = uv.map_err(|error| match error {
                PythonError::UvOffline { version } => {
                    StepError::from(LockingError::OfflineWheels {
                        image: file.stem.clone(),
                        is_there: found.is_some(),
                        uv: version,
                    })
                }
                other => other.into(),
            })?;
            let before = found.as_ref().map(|(text, _)| text.as_str());
            let work = workspace.cache.temporary();
            let resolved = python::resolve(&uv, &fetcher, request, before, &upgrade, &work).await?;
            let python::Resolved { lock, warnings } = resolved;
            changes.warnings.extend(warnings.iter().map(|it| format!("{}: {it}", request.image)));
            write(&pylock_path(workspace, &file.stem), lock.render().as_bytes())?;
            let versions = |lock: &Pylock| {
                let pinned = lock.packages.iter();
                pinned.map(|it| (it.name.clone(), it.version.clone().unwrap_or_default())).collect()
            };
            let old = found.map(|(_, lock)| versions(&lock)).unwrap_or_default();
            changes.add(&image.name, &old, &versions(&lock), file.noun);
            lock
        }
    })
}

/// Refuses an `overlap` that names what is none of an image's wheels.
pub(super) fn check_winners(image: &Image, wheels: &[&String]) -> Result<(), SpecErrors> {
    let overlap = image.choosing.overlap.iter();
    let unknown = overlap.filter(|it| !wheels.contains(&&it.value.winner));
    let errors = unknown.map(|Located { value, place }| {
        let name = value.winner.clone();
        let nearest = nearest(&name, wheels.iter().copied()).map(str::to_owned);
        let make =
            format!("see images/{}.pylock.toml for the wheels that the image has", image.name);
        SpecError::new(Problem::DanglingName { kind: "wheel", name, nearest, make }, place.clone())
    });
    SpecErrors::collect(errors.collect())
}

fn pylock_path(workspace: &Workspace, stem: &str) -> PathBuf {
    workspace.root.join("images").join(format!("{stem}.pylock.toml"))
}

/// What the file is called that locks what builds a package, without its ending: no image has such a
/// name.
pub(super) fn stem(image: &Image, package: &str) -> String {
    format!("{}.build_{package}", image.name)
}

/// All locks of an image that are there: of its wheels, and of what builds its own packages.
pub(super) fn all(workspace: &Workspace, image: &Image) -> Result<Vec<Pylock>, StepError> {
    // What is wrong with a package is told where it is needed.
    let packages = packages_of(&workspace.root, image).unwrap_or_default();
    let names = packages.iter().map(|package| normalised(&package.name.value));
    let stems = names.map(|name| stem(image, &name));
    let all = std::iter::once(image.name.to_string()).chain(stems);
    let read = all.filter_map(|stem| read(workspace, &stem).transpose());
    read.map(|found| found.map(|(_, lock)| lock)).collect()
}

pub(super) fn read_pylock(
    workspace: &Workspace,
    image: &ImageName,
) -> Result<Option<(String, Pylock)>, StepError> {
    read(workspace, image.as_str())
}

fn read(workspace: &Workspace, stem: &str) -> Result<Option<(String, Pylock)>, StepError> {
    let path = pylock_path(workspace, stem);
    let malformed = |error| LockingError::Pylock { image: stem.to_owned(), error };
    match bounded::read(&path, bounded::LOCK) {
        Ok(bytes) => {
            let not_text = |_| PylockError::Malformed { reason: "it is not UTF-8 text".to_owned() };
            let text = String::from_utf8(bytes).map_err(|error| malformed(not_text(error)))?;
            let lock = Pylock::parse(&text).map_err(malformed)?;
            Ok(Some((text, lock)))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        // Whatever it says is not overwritten.
        Err(source) => Err(unreadable(path, source)),
    }
}
