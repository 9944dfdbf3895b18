//! Settles what the engine in an image takes: read out of its wheel, without fetching it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Changes, LockOptions, LockingError};
use crate::engines::vllm;
use crate::engines::vllm::read::ENTRY_POINTS;
use crate::event::Reporter;
use crate::fetch::FetchError;
use crate::lock::LockedEngine;
use crate::lock::pylock::LockedWheel;
use crate::python::WheelReader;
use crate::spec::Image;
use crate::step::StepError;
use crate::workspace::Workspace;

/// Each round reads what the one before asked for: imports of imports.
const ROUNDS: usize = 32;

/// Reads the engine of an image, unless the lock has it.
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
    let mut models = workspace.project.models.values();
    if !models.any(|model| model.image.value == image.name && vllm::serves(model)) {
        return Ok(());
    }
    let wheels = workspace.parts(&image.name).wheels;
    let Some(wheel) = vllm::wheel(&wheels) else { return Ok(()) };
    let known = |engine: &LockedEngine| engine.reading == vllm::read::READING;
    if workspace.lock(|lock| lock.engines.get(&wheel.filename).is_some_and(known)) || options.locked
    {
        return Ok(());
    }
    reporter
        .message(format!("{}: reading what {} {} takes", image.name, wheel.name, wheel.version));
    match read(workspace, wheel, reporter).await {
        Ok(Some(engine)) => workspace.change_lock(|lock| {
            lock.engines.insert(wheel.filename.clone(), engine);
        }),
        // It may be no vLLM as goatbuild knows it, or a server that gives whole files only: the
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
    wheel: &LockedWheel,
    reporter: &Reporter,
) -> Result<Option<LockedEngine>, FetchError> {
    let here = workspace.root.join("cache/wheels").join(format!("{}.whl", wheel.sha256));
    let fetcher = workspace.fetcher.telling(reporter);
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
        let reading = vllm::read::read(&files, &wheel.name, &wheel.version);
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
            return Ok(Some(reading.engine).filter(|engine| !engine.flags.is_empty()));
        }
        files.extend(reader.texts(&paths).await?);
    }
    Ok(None)
}
