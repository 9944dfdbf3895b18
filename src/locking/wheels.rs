//! Settles the wheels of an image: `images/<image>.pylock.toml`.

use std::path::PathBuf;

use super::{Changes, LockOptions, LockingError, Renew};
use crate::bounded;
use crate::event::Reporter;
use crate::lock::pylock::{LockedWheel, Pylock, PylockError, PythonRequest};
use crate::platform::Runtime;
use crate::python::{self, PythonError, Upgrade};
use crate::spec::{Image, ImageName, Located, Problem, SpecError, SpecErrors, nearest};
use crate::step::StepError;
use crate::workspace::{LockedParts, Workspace, unreadable, write};

pub(super) async fn settle(
    workspace: &Workspace,
    image: &Image,
    runtime: Runtime,
    options: &LockOptions,
    reporter: &Reporter,
    changes: &mut Changes,
) -> Result<(), StepError> {
    let request = PythonRequest {
        image: image.name.to_string(),
        requirements: image.requirements.iter().map(|it| it.value.clone()).collect(),
        overrides: image.overrides.iter().map(|it| it.value.clone()).collect(),
        sources: image.choosing.sources(),
        runtime,
    };
    let found = read_pylock(workspace, &image.name)?;
    let answered = found.as_ref().is_some_and(|(_, lock)| lock.answers(&request));
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
    let lock = match found {
        Some((_, lock)) if answered && upgrade == Upgrade::None => lock,
        found => {
            if options.locked {
                let what = format!("images/{}.pylock.toml", image.name);
                return Err(LockingError::Locked { what }.into());
            }
            reporter.message(format!("{}: choosing wheels", image.name));
            let tools = workspace.cache.tools();
            let fetcher = workspace.network.fetcher.telling(reporter);
            let uv = python::ensure_uv(&fetcher, &tools, reporter).await;
            let uv = uv.map_err(|error| match error {
                PythonError::UvOffline { version } => {
                    StepError::from(LockingError::OfflineWheels {
                        image: image.name.to_string(),
                        is_there: found.is_some(),
                        uv: version,
                    })
                }
                other => other.into(),
            })?;
            let before = found.as_ref().map(|(text, _)| text.as_str());
            let work = workspace.cache.temporary();
            let resolved =
                python::resolve(&uv, &fetcher, &request, before, &upgrade, &work).await?;
            let python::Resolved { lock, warnings } = resolved;
            changes.warnings.extend(warnings.iter().map(|it| format!("{}: {it}", image.name)));
            write(&pylock_path(workspace, &image.name), lock.render().as_bytes())?;
            let versions = |lock: &Pylock| {
                let pinned = lock.packages.iter();
                pinned.map(|it| (it.name.clone(), it.version.clone().unwrap_or_default())).collect()
            };
            let old = found.map(|(_, lock)| versions(&lock)).unwrap_or_default();
            changes.add(&image.name, &old, &versions(&lock), "wheel");
            lock
        }
    };
    let wheels = lock.choose(&runtime)?;
    check_winners(image, &wheels)?;
    workspace.images.settle(image.name.clone(), LockedParts { runtime, wheels });
    Ok(())
}

/// Refuses an `overlap` that names a wheel which isn't there.
fn check_winners(image: &Image, wheels: &[LockedWheel]) -> Result<(), SpecErrors> {
    let overlap = image.choosing.overlap.iter();
    let unknown = overlap.filter(|it| !wheels.iter().any(|wheel| wheel.name == it.value.winner));
    let errors = unknown.map(|Located { value, place }| {
        let name = value.winner.clone();
        let nearest = nearest(&name, wheels.iter().map(|it| &it.name)).map(str::to_owned);
        let make =
            format!("see images/{}.pylock.toml for the wheels that the image has", image.name);
        SpecError::new(Problem::DanglingName { kind: "wheel", name, nearest, make }, place.clone())
    });
    SpecErrors::collect(errors.collect())
}

fn pylock_path(workspace: &Workspace, image: &ImageName) -> PathBuf {
    workspace.root.join("images").join(format!("{image}.pylock.toml"))
}

pub(super) fn read_pylock(
    workspace: &Workspace,
    image: &ImageName,
) -> Result<Option<(String, Pylock)>, StepError> {
    let path = pylock_path(workspace, image);
    let malformed = |error| LockingError::Pylock { image: image.to_string(), error };
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
