//! Settles what the engines in an image take: read out of its wheel, without fetching it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Changes, LockOptions, LockingError};
use crate::engine::{ENTRY_POINTS, Engine, LockedEngine};
use crate::event::Reporter;
use crate::fetch::FetchError;
use crate::lock::pylock::LockedWheel;
use crate::python::WheelReader;
use crate::spec::Image;
use crate::step::StepError;
use crate::workspace::Workspace;

/// Each round reads what the one before asked for: imports of imports.
const ROUNDS: usize = 32;

/// Reads the engines of an image's models, unless the lock has them.
///
/// A wheel that can't be had is an error that names it, where the network may be used: what follows
/// would go without checks. A plan goes on without a network, and says what it lacks.
pub(super) async fn settle(
    workspace: &Workspace,
    image: &Image,
    options: &LockOptions,
    reporter: &Reporter,
    changes: &mut Changes,
) -> Result<(), StepError> {
    let models = workspace.project.models.values();
    let serving: Vec<&dyn Engine> = models
        .filter(|model| model.image.value == image.name)
        .map(|model| model.engine.kind)
        .collect();
    for wheel in workspace.images.parts(&image.name).wheels {
        if let Some(engine) = serving.iter().find(|engine| engine.is_in_wheel(&wheel.name)) {
            settle_one(workspace, image, *engine, &wheel, options, reporter, changes).await?;
        }
    }
    Ok(())
}

async fn settle_one(
    workspace: &Workspace,
    image: &Image,
    engine: &dyn Engine,
    wheel: &LockedWheel,
    options: &LockOptions,
    reporter: &Reporter,
    changes: &mut Changes,
) -> Result<(), StepError> {
    let known = |locked: &LockedEngine| engine.has_read(locked);
    if workspace.lock.read(|lock| lock.engines.get(&wheel.filename).is_some_and(known))
        || options.locked
    {
        return Ok(());
    }
    reporter
        .message(format!("{}: reading what {} {} takes", image.name, wheel.name, wheel.version));
    match read(workspace, engine, wheel, reporter).await {
        Ok(Some(engine)) => workspace.lock.change(|lock| {
            lock.engines.insert(wheel.filename.clone(), engine);
        }),
        // It may be no engine as goatbuild knows it, or a server that gives whole files only: the
        // check of the specs tells that nothing was checked.
        Ok(None) => Ok(()),
        Err(_) if workspace.settings.offline => Ok(()),
        Err(FetchError::Network { reason, .. }) if options.lenient => {
            changes.warnings.push(format!("{} can't be read: {reason}", wheel.filename));
            Ok(())
        }
        Err(source) => {
            let (image, filename) = (image.name.to_string(), wheel.filename.clone());
            Err(LockingError::EngineWheel { image, filename, source }.into())
        }
    }
}

async fn read(
    workspace: &Workspace,
    engine: &dyn Engine,
    wheel: &LockedWheel,
    reporter: &Reporter,
) -> Result<Option<LockedEngine>, FetchError> {
    let here = workspace.cache.wheels().join(format!("{}.whl", wheel.sha256.hex()));
    let fetcher = workspace.network.fetcher.telling(reporter);
    let Some(mut reader) = WheelReader::open(&fetcher, wheel, &here).await? else {
        return Ok(None);
    };
    let mut files = BTreeMap::new();
    if let Some(points) = reader.entry_points() {
        let texts = reader.texts(std::slice::from_ref(&points)).await?;
        files.extend(texts.into_values().map(|text| (ENTRY_POINTS.to_owned(), text)));
    }
    let mut asked = BTreeSet::new();
    for _ in 0..ROUNDS {
        let reading = engine.read(&files, &wheel.name, &wheel.version);
        let paths: Vec<String> = reading
            .wanted
            .into_iter()
            .filter(|module| asked.insert(module.clone()))
            .filter_map(|module| {
                let path = module.replace('.', "/");
                let candidates = [format!("{path}/__init__.py"), format!("{path}.py")];
                candidates.into_iter().find(|path| reader.has(path))
            })
            .collect();
        if paths.is_empty() {
            return Ok(reading.engine);
        }
        files.extend(reader.texts(&paths).await?);
    }
    Ok(None)
}
