//! Settles every moving reference: bases and wheels, into the lock.

use std::collections::BTreeMap;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::debian::{self, DebianRequest};
use crate::event::Reporter;
use crate::fetch::hex;
use crate::lock::LockedImage;
use crate::lock::pylock::{Pylock, PylockError, PythonRequest};
use crate::platform::Runtime;
use crate::python::{self, Upgrade};
use crate::spec::{Base, Image, ImageName, Located, nearest};
use crate::step::StepError;
use crate::workspace::{LockedParts, Unsupported, Workspace, unreadable, write};

/// How far locking may go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockOptions {
    /// Refuse instead of resolving anything.
    pub locked: bool,
    /// What to resolve anew although it is locked.
    pub upgrade: Renew,
}

/// What to resolve anew although it is locked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Renew {
    /// Nothing.
    #[default]
    Nothing,
    /// Everything.
    Everything,
    /// The images, and the packages, of these names.
    Named(Vec<String>),
    /// What was withdrawn from where it came from; all other pins are kept.
    Gone {
        /// The image that needs it.
        image: String,
        /// The package.
        package: String,
    },
}

/// Why the lock could not be settled.
#[derive(Debug, Error, Diagnostic)]
pub enum LockingError {
    /// Something is not locked, and must not be.
    #[error("{what} is not locked, or asks for something else than the lock answers")]
    #[diagnostic(
        code(goatbuild::lock::out_of_date),
        help(
            "run `goatbuild lock` without --locked (and without CI=true) and commit goatbuild.lock and images/*.pylock.toml"
        )
    )]
    Locked {
        /// What is missing.
        what: String,
    },
    /// The base has no Python.
    #[error("the base of image {image} has no Python")]
    #[diagnostic(
        code(goatbuild::lock::no_python),
        help("add \"python3\" to `base.packages` in images/{image}.toml")
    )]
    NoPython {
        /// The image.
        image: String,
    },
    /// The base has another Python.
    #[error("image {image} asks for Python {wanted}, and its base has {found}")]
    #[diagnostic(
        code(goatbuild::lock::other_python),
        help(
            "write `python = \"{found}\"`, or leave it out, in images/{image}.toml; or choose another suite"
        )
    )]
    OtherPython {
        /// The image.
        image: String,
        /// As written.
        wanted: String,
        /// As found.
        found: String,
    },
    /// The wheels' lock can't be used.
    #[error("images/{image}.pylock.toml: {error}")]
    #[diagnostic(
        code(goatbuild::lock::pylock_file),
        help(
            "undo the edit or resolve the merge; or delete the file and run `goatbuild lock` to lock it anew"
        )
    )]
    Pylock {
        /// The image.
        image: String,
        /// What is wrong.
        error: PylockError,
    },
    /// `--upgrade NAME` names nothing.
    #[error("there is no image or locked package `{name}` to upgrade{}", hint.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    #[diagnostic(code(goatbuild::usage::upgrade))]
    NoSuchName {
        /// As given.
        name: String,
        /// The nearest name there is.
        hint: Option<String>,
    },
}

/// What locking changed, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// One line per package that is new, gone or has another version.
    pub lines: Vec<String>,
    /// The images that were resolved.
    pub resolved: Vec<String>,
}

/// Settles every image that a model uses.
pub async fn settle(
    workspace: &Workspace,
    options: &LockOptions,
    reporter: &Reporter,
) -> Result<Changes, StepError> {
    let images = &workspace.project.images;
    check_names(workspace, options)?;
    let mut changes = Changes::default();
    for image in images.values() {
        settle_image(workspace, image, options, reporter, &mut changes).await?;
    }
    if !options.locked {
        workspace
            .change_lock(|lock| lock.images.retain(|name, _| images.contains_key(name.as_str())))?;
    }
    Ok(changes)
}

fn check_names(workspace: &Workspace, options: &LockOptions) -> Result<(), StepError> {
    let Renew::Named(names) = &options.upgrade else { return Ok(()) };
    let mut known: Vec<String> = workspace.project.images.keys().map(ToString::to_string).collect();
    for image in workspace.project.images.values() {
        if let Some(lock) = read_pylock(workspace, &image.name)?.map(|(_, lock)| lock) {
            known.extend(lock.packages.into_iter().map(|package| package.name));
        }
    }
    workspace.lock(|lock| {
        let debian = lock.images.values().filter_map(|image| image.debian.as_ref());
        known.extend(debian.flat_map(|debian| debian.packages.iter().map(|it| it.name.clone())));
    });
    for name in names {
        if !known.contains(name) {
            let hint = nearest(name, &known).map(str::to_owned);
            return Err(LockingError::NoSuchName { name: name.clone(), hint }.into());
        }
    }
    Ok(())
}

async fn settle_image(
    workspace: &Workspace,
    image: &Image,
    options: &LockOptions,
    reporter: &Reporter,
    changes: &mut Changes,
) -> Result<(), StepError> {
    let base = settle_base(workspace, image, options, reporter, changes).await?;
    let request = PythonRequest {
        image: image.name.to_string(),
        requirements: image.requirements.iter().map(|it| it.value.clone()).collect(),
        overrides: image.overrides.iter().map(|it| it.value.clone()).collect(),
        runtime: base.runtime,
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
            let tools = workspace.root.join("cache/tools");
            let uv = python::ensure_uv(&workspace.fetcher, &tools, reporter).await?;
            let before = found.as_ref().map(|(text, _)| text.as_str());
            let work = workspace.root.join("cache/tmp");
            let lock =
                python::resolve(&uv, &workspace.fetcher, &request, before, &upgrade, &work).await?;
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
    let wheels = lock.choose(&base.runtime)?;
    workspace.set_parts(image.name.clone(), LockedParts { runtime: base.runtime, wheels });
    Ok(())
}

async fn settle_base(
    workspace: &Workspace,
    image: &Image,
    options: &LockOptions,
    reporter: &Reporter,
    changes: &mut Changes,
) -> Result<LockedImage, StepError> {
    let Base::Debian { suite, packages } = &image.base else {
        return Err(Unsupported::Base { image: image.name.to_string() }.into());
    };
    let request = base_request(image, suite, packages);
    let previous = workspace.lock(|lock| lock.images.get(image.name.as_str()).cloned());
    let renew = match &options.upgrade {
        Renew::Nothing | Renew::Gone { .. } => false,
        Renew::Everything => true,
        Renew::Named(names) => names.iter().any(|name| {
            name == image.name.as_str() || previous.as_ref().is_some_and(|locked| locked.has(name))
        }),
    };
    let gone = matches!(&options.upgrade, Renew::Gone { image: of, package }
        if of == image.name.as_str() && previous.as_ref().is_some_and(|locked| locked.has(package)));
    if let Some(locked) = &previous
        && locked.request == request
        && !renew
        && !gone
    {
        return Ok(locked.clone());
    }
    if options.locked {
        return Err(
            LockingError::Locked { what: format!("the base of image {}", image.name) }.into()
        );
    }
    reporter.message(format!("{}: choosing Debian packages", image.name));
    let wanted = DebianRequest {
        suite: suite.clone(),
        packages: packages.iter().map(|package| package.value.clone()).collect(),
        architecture: image.architecture,
    };
    let old = previous.as_ref().and_then(|locked| locked.debian.as_ref());
    let debian = debian::resolve(
        &workspace.fetcher,
        &workspace.mirrors(),
        &wanted,
        old.filter(|_| !renew),
        reporter,
    )
    .await?;
    let found =
        debian.python.ok_or_else(|| LockingError::NoPython { image: image.name.to_string() })?;
    if let Some(wanted) = image.python
        && wanted != found
    {
        return Err(LockingError::OtherPython {
            image: image.name.to_string(),
            wanted: wanted.to_string(),
            found: found.to_string(),
        }
        .into());
    }
    let versions = |debian: &debian::LockedDebian| -> BTreeMap<String, String> {
        debian.packages.iter().map(|it| (it.name.clone(), it.version.clone())).collect()
    };
    let before = old.map(versions).unwrap_or_default();
    changes.add(&image.name, &before, &versions(&debian), "Debian package");
    let locked = LockedImage {
        request,
        runtime: Runtime { architecture: image.architecture, glibc: debian.glibc, python: found },
        debian: Some(debian),
    };
    workspace.change_lock(|lock| {
        lock.images.insert(image.name.to_string(), locked.clone());
    })?;
    Ok(locked)
}

/// Digest of everything that the answer for a base depends on.
fn base_request(image: &Image, suite: &str, packages: &[Located<String>]) -> String {
    let mut names: Vec<&str> = packages.iter().map(|package| package.value.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let python = image.python.map(|python| python.to_string()).unwrap_or_default();
    let parts = ["debian", suite, image.architecture.name(), &python];
    let mut hasher = blake3::Hasher::new();
    for part in parts.iter().chain(&names) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hex(&hasher.finalize().as_bytes()[..16])
}

fn pylock_path(workspace: &Workspace, image: &ImageName) -> PathBuf {
    workspace.root.join("images").join(format!("{image}.pylock.toml"))
}

fn read_pylock(
    workspace: &Workspace,
    image: &ImageName,
) -> Result<Option<(String, Pylock)>, StepError> {
    let path = pylock_path(workspace, image);
    let malformed = |error| LockingError::Pylock { image: image.to_string(), error };
    match std::fs::read(&path) {
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

impl Changes {
    fn add(
        &mut self,
        image: &ImageName,
        old: &BTreeMap<String, String>,
        new: &BTreeMap<String, String>,
        noun: &str,
    ) {
        if !self.resolved.iter().any(|name| name == image.as_str()) {
            self.resolved.push(image.to_string());
        }
        if old.is_empty() {
            let plural = if new.len() == 1 { "" } else { "s" };
            self.lines.push(format!("{image}: locked {} {noun}{plural}", new.len()));
            return;
        }
        for (name, version) in new {
            match old.get(name) {
                None => self.lines.push(format!("{image}: + {name} {version}")),
                Some(was) if was != version => {
                    self.lines.push(format!("{image}: {name} {was} → {version}"));
                }
                Some(_) => {}
            }
        }
        for (name, version) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
            self.lines.push(format!("{image}: - {name} {version}"));
        }
    }
}
