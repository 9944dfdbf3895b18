//! Resolving an image's requirements, through uv, into one wheel per package.

mod failure;
mod isolation;
mod newest;
mod question;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr as _;

use pep508_rs::{Requirement, VerbatimUrl};

use self::failure::failure;
pub use self::isolation::isolate;
use self::question::{Answer, Question};
use super::PythonError;
use super::uv::Uv;
use crate::fetch::{Fetcher, without_credentials};
use crate::leftovers::Scratch;
use crate::lock::pylock::{
    LockedWheel, Pylock, PythonRequest, filename_in, normalised, validate_requirement,
};

/// Which pins of the previous lock are let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upgrade {
    /// None: only what the request forces changes.
    None,
    /// All: as if there were no previous lock.
    All,
    /// Those of these packages.
    Packages(Vec<String>),
}

/// What came of a request.
#[derive(Debug)]
pub struct Resolved {
    /// One wheel per package.
    pub lock: Pylock,
    /// What whoever wrote the requirements should know of it, a sentence each.
    pub warnings: Vec<String>,
}

/// Resolves a request to exactly one wheel per package, `pip` among them.
///
/// `previous` is the text of the lock so far: its versions are kept where they can be. `work` is a
/// directory for scratch files. uv's cache, configuration and index variables are the user's;
/// pip's index variables count where uv's are not set. Local directories of wheels do not: a lock
/// that names them would hold on one machine only.
pub async fn resolve(
    uv: &Uv,
    fetcher: &Fetcher,
    request: &PythonRequest,
    previous: Option<&str>,
    upgrade: &Upgrade,
    work: &Path,
) -> Result<Resolved, PythonError> {
    check(request)?;
    let before = match previous {
        Some(previous) if *upgrade != Upgrade::All => versions(&Pylock::parse(previous)?),
        Some(previous) => Pylock::parse(previous).map(|_| BTreeMap::new())?,
        None => BTreeMap::new(),
    };
    tokio::fs::create_dir_all(work).await.map_err(PythonError::io(work))?;
    let scratch = Scratch::make(work, "resolve-").map_err(PythonError::io(work))?;
    let scratch_path = scratch.path().canonicalize().map_err(PythonError::io(scratch.path()))?;
    let (scratch, is_offline) = (scratch_path.as_path(), fetcher.is_offline());
    let question = Question { uv, request, previous, upgrade, is_offline, scratch };
    let (text, words) = answer(&question, fetcher).await?;
    let mut lock = Pylock::parse(&text)?;
    for package in &mut lock.packages {
        for wheel in package.wheels.iter_mut().chain(&mut package.archive) {
            wheel.url = wheel.url.take().map(|url| without_credentials(&url));
        }
    }
    let mut wheels = lock.choose(&request.runtime)?;
    name_scripts(&mut wheels, request, previous, upgrade)?;
    let mut warnings = words::warnings(&words);
    warnings.extend(undated(&words, request));
    warnings.extend(unneeded(request, &lock));
    warnings.extend(newest::doubts(fetcher, request, &wheels, &before).await);
    Ok(Resolved { lock: Pylock::of(&wheels, request), warnings })
}

/// Has pip's wheel get the script that installers name after the Python: `pip3.11`. One that was locked
/// without it stays as it was until it moves, or is asked to.
fn name_scripts(
    wheels: &mut [LockedWheel],
    request: &PythonRequest,
    previous: Option<&str>,
    upgrade: &Upgrade,
) -> Result<(), PythonError> {
    let Some(pip) = wheels.iter_mut().find(|wheel| wheel.name == "pip") else { return Ok(()) };
    let is_renewed = match upgrade {
        Upgrade::None => false,
        Upgrade::All => true,
        Upgrade::Packages(names) => names.iter().any(|name| name == "pip"),
    };
    if let (Some(previous), false) = (previous, is_renewed) {
        let locked = Pylock::parse(previous)?.choose(&request.runtime).unwrap_or_default();
        let same = locked.iter().find(|it| it.name == pip.name && it.sha256 == pip.sha256);
        if same.is_some_and(|it| it.scripts.is_empty()) {
            return Ok(());
        }
    }
    pip.scripts = vec![format!("pip{}", request.runtime.python)];
    Ok(())
}

/// Refuses what uv isn't asked.
fn check(request: &PythonRequest) -> Result<(), PythonError> {
    for requirement in request.requirements.iter().chain(&request.overrides) {
        validate_requirement(requirement).map_err(|reason| PythonError::Requirement {
            image: request.image.clone(),
            requirement: requirement.clone(),
            reason,
        })?;
    }
    let overridden = request.overrides.iter().filter_map(|it| name_of(it));
    for package in overridden {
        if let Some(index) = request.sources.index_of(&package) {
            let (image, index) = (request.image.clone(), index.to_owned());
            return Err(PythonError::OverriddenIndex { image, package, index });
        }
    }
    Ok(())
}

/// uv's lock, and what it said.
///
/// uv takes the index of a package from where it is required by name, and from nowhere else. So what
/// only others require is required as well, once it turns up in an answer, or in why there is none.
async fn answer(
    question: &Question<'_>,
    fetcher: &Fetcher,
) -> Result<(String, String), PythonError> {
    let request = question.request;
    let required: BTreeSet<String> =
        request.requirements.iter().filter_map(|it| name_of(it)).collect();
    let listed = request.sources.indexes.iter().flat_map(|index| &index.packages);
    let mut others: BTreeSet<&str> =
        listed.map(String::as_str).filter(|it| !required.contains(*it) && *it != "pip").collect();
    let mut added = BTreeSet::new();
    loop {
        let Answer { lock, words } = question.ask(&added).await?;
        let turned_up: BTreeSet<&str> = match &lock {
            Some(text) => {
                let packages: BTreeSet<String> =
                    versions(&Pylock::parse(text)?).into_keys().collect();
                others.iter().copied().filter(|it| packages.contains(*it)).collect()
            }
            None => others.iter().copied().filter(|it| names(&words, it)).collect(),
        };
        if turned_up.is_empty() {
            return match lock {
                Some(text) => Ok((text, words)),
                None => Err(failure(words, fetcher, request).await),
            };
        }
        others.retain(|it| !turned_up.contains(it));
        added.extend(turned_up);
    }
}

/// Whether uv's words are about a package.
fn names(words: &str, package: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    words.split(|letter| !is_part(letter)).any(|word| normalised(word) == package)
}

/// The name that a requirement is about.
fn name_of(requirement: &str) -> Option<String> {
    let read = Requirement::<VerbatimUrl>::from_str(requirement).ok()?;
    Some(normalised(read.name.as_ref()))
}

fn versions(lock: &Pylock) -> BTreeMap<String, String> {
    let packages = lock.packages.iter();
    packages.map(|it| (normalised(&it.name), it.version.clone().unwrap_or_default())).collect()
}

/// Says that files were left out of which nobody knows the time.
fn undated(words: &str, request: &PythonRequest) -> Option<String> {
    let files = words::without_time(words);
    let (first, as_of) = (files.first()?, request.sources.as_of.as_deref()?);
    let others = match files.len() - 1 {
        0 => String::new(),
        others => format!(" and of {others} more"),
    };
    Some(format!(
        "as of {as_of}, files count only where the index says when they were uploaded, which it does \
         not of {}{others}",
        filename_in(first)
    ))
}

/// Says that nothing needs what an index is named for, which may be a name misspelt.
fn unneeded(request: &PythonRequest, lock: &Pylock) -> Vec<String> {
    let locked = versions(lock);
    let listed = request
        .sources
        .indexes
        .iter()
        .flat_map(|it| it.packages.iter().map(move |name| (it, name)));
    let unneeded = listed.filter(|(_, name)| !locked.contains_key(*name));
    unneeded
        .map(|(index, name)| {
            let near = crate::spec::nearest(name, locked.keys());
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            format!("nothing needs {name}, which `index` says is from {}{near}", index.url)
        })
        .collect()
}
