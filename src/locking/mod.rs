//! Settles every moving reference: bases, wheels and revisions on a hub, into the lock.

mod base;
mod engine;
mod hub;
mod local;
mod pulled;
mod scope;
mod wheels;

use std::collections::{BTreeMap, BTreeSet};

use miette::Diagnostic;
use thiserror::Error;

use crate::digest::hex;
use crate::event::Reporter;
use crate::fetch::FetchError;
use crate::lock::LockFile;
use crate::lock::pylock::PylockError;
use crate::spec::{Image, ImageName, nearest};
use crate::step::StepError;
use crate::workspace::{LockedParts, Workspace, packages_of};

pub use scope::Scope;

/// How far locking may go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockOptions {
    /// Refuse instead of resolving anything.
    pub locked: bool,
    /// What to resolve anew although it is locked.
    pub upgrade: Renew,
    /// Also ask for what is worth having and not needed: the files of pinned repositories.
    pub complete: bool,
    /// Leave open what only a hub can tell, when it can't be reached or mustn't be asked.
    pub lenient: bool,
    /// What it is for.
    pub scope: Scope,
}

impl LockOptions {
    /// The lock as it is, with what it leaves open.
    fn as_it_is() -> Self {
        Self { locked: true, lenient: true, ..Self::default() }
    }
}

/// What to resolve anew although it is locked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Renew {
    /// Nothing.
    #[default]
    Nothing,
    /// Everything.
    Everything,
    /// The images, packages, models and repositories of these names.
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
    /// Something is not locked, and the network is forbidden.
    #[error("{what} is not locked, and {by} forbids to ask what it stands for")]
    #[diagnostic(code(goatbuild::lock::offline), help("run `goatbuild lock` without {by}"))]
    Offline {
        /// What is missing.
        what: String,
        /// The option or variable.
        by: &'static str,
    },
    /// The wheels of an image are not locked, and what locks them may not be fetched.
    #[error(
        "images/{image}.pylock.toml {}, and --offline forbids to lock anew: there is no uv here to do it with",
        if *is_there { "does not answer what the image asks for" } else { "is missing" }
    )]
    #[diagnostic(
        code(goatbuild::lock::offline),
        help("run `goatbuild lock` without --offline; it fetches uv {uv} where none is installed")
    )]
    OfflineWheels {
        /// The image.
        image: String,
        /// Whether there is a file, for other requirements.
        is_there: bool,
        /// The version that would be fetched.
        uv: &'static str,
    },
    /// The base has no Python.
    #[error("the base of image {image} has no Python{}", said(passed))]
    #[diagnostic(code(goatbuild::lock::no_python))]
    NoPython {
        /// The image.
        image: String,
        /// What is called so, and why it is none.
        passed: Vec<String>,
        /// How it gets one.
        #[help]
        help: String,
    },
    /// Something in the base is where goatbuild's own layers go.
    #[error("the base of image {image} has something at {path}, where goatbuild's own layers go")]
    #[diagnostic(
        code(goatbuild::lock::taken),
        help("choose another base: one that goatbuild built itself can't be built on again")
    )]
    Taken {
        /// The image.
        image: String,
        /// What is there.
        path: String,
    },
    /// The base's C library is not one that wheels can be chosen for.
    #[error("the base of image {image} {}", if *musl { "is built on musl, not on glibc" } else { "has no glibc that can be found" })]
    #[diagnostic(
        code(goatbuild::lock::no_glibc),
        help(
            "choose a base like Debian or Ubuntu; or, if it does have a glibc, write its version, such as `glibc = \"2.35\"`, in images/{image}.toml"
        )
    )]
    NoGlibc {
        /// The image.
        image: String,
        /// Whether it has musl instead.
        musl: bool,
    },
    /// The base's C library is older than stated.
    #[error("images/{image}.toml says that the base has glibc {stated}, and it has {found}")]
    #[diagnostic(
        code(goatbuild::lock::other_glibc),
        help("write `glibc = \"{found}\"`, or leave it out")
    )]
    OtherGlibc {
        /// The image.
        image: String,
        /// As written.
        stated: String,
        /// As found.
        found: String,
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
    /// The wheel of an engine can't be read.
    #[error(
        "{filename} of image {image} can't be read, so what its engine takes isn't known: {source}"
    )]
    #[diagnostic(
        code(goatbuild::python::engine_wheel),
        help("try again once it can be had; with --offline goatbuild goes on without it")
    )]
    EngineWheel {
        /// The image.
        image: String,
        /// The wheel.
        filename: String,
        /// Why.
        source: FetchError,
    },
    /// `--upgrade NAME` names nothing.
    #[error("there is no image, locked package, model or repository `{name}` to upgrade{}", hint.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    #[diagnostic(code(goatbuild::usage::upgrade))]
    NoSuchName {
        /// As given.
        name: String,
        /// The nearest name there is.
        hint: Option<String>,
    },
}

/// More about something, after a colon; nothing where there is nothing.
fn said(parts: &[String]) -> String {
    if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) }
}

/// What locking changed, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// One line per package that is new, gone or has another version.
    pub lines: Vec<String>,
    /// The images and repositories that were resolved.
    pub resolved: Vec<String>,
    /// What could not be had, and is not needed yet.
    pub warnings: Vec<String>,
    /// What locks lack that goatbuild made before it knew of it, and how they get it.
    pub lacking: Vec<String>,
}

/// Settles every image, and every revision that a model needs; or those that `options` are about.
pub async fn settle(
    workspace: &Workspace,
    options: &LockOptions,
    reporter: &Reporter,
) -> Result<Changes, StepError> {
    let mut changes = Changes::default();
    settle_into(&mut changes, workspace, options, reporter).await?;
    Ok(changes)
}

/// What of a hub the lock leaves open that models need.
pub fn unlocked(workspace: &Workspace) -> Vec<String> {
    hub::unlocked(workspace)
}

/// Takes what the lock says of a part of the project as it is; what it leaves open stays open.
pub async fn settle_as_it_is(workspace: &Workspace, scope: Scope) -> Result<(), StepError> {
    let options = LockOptions { scope, ..LockOptions::as_it_is() };
    settle_into(&mut Changes::default(), workspace, &options, &Reporter::silent()).await
}

/// Like [`settle`]; `changes` also tells what was locked before something failed.
pub async fn settle_into(
    changes: &mut Changes,
    workspace: &Workspace,
    options: &LockOptions,
    reporter: &Reporter,
) -> Result<(), StepError> {
    let images = &workspace.project.images;
    check_names(workspace, options)?;
    let as_it_is = LockOptions::as_it_is();
    for image in images.values() {
        if options.scope.has_image(&image.name) {
            // A command that settles again has told it.
            let is_told = workspace.images.has(&image.name);
            settle_image(workspace, image, options, reporter, changes).await?;
            changes.lacking.extend(base::lacking(workspace, &image.name).filter(|_| !is_told));
        } else {
            // What keeps it from being used is told to who needs it.
            let _ = settle_image(workspace, image, &as_it_is, reporter, changes).await;
        }
    }
    hub::settle(workspace, options, reporter, changes).await?;
    if options.locked { Ok(()) } else { forget_unused(workspace) }
}

/// Takes out of the lock what no image needs any more.
fn forget_unused(workspace: &Workspace) -> Result<(), StepError> {
    // Nobody knows what a file with mistakes needs.
    if !workspace.project.left_out.is_empty() {
        return Ok(());
    }
    let images = &workspace.project.images;
    // Nobody knows what an image needs that is not locked.
    let is_known = images.keys().all(|image| workspace.images.has(image));
    let locked = images.keys().filter(|image| workspace.images.has(image));
    let wheels = locked.flat_map(|image| workspace.images.parts(image).wheels);
    let files: BTreeSet<String> = wheels.map(|wheel| wheel.filename).collect();
    let has_image = |name: &String| images.contains_key(name.as_str());
    let has_engine = |file: &String| !is_known || files.contains(file);
    let unused = |lock: &LockFile| {
        !lock.images.keys().all(has_image) || !lock.engines.keys().all(has_engine)
    };
    if workspace.lock.read(unused) {
        workspace.lock.change(|lock| {
            lock.images.retain(|name, _| has_image(name));
            lock.engines.retain(|file, _| has_engine(file));
        })?;
    }
    Ok(())
}

fn check_names(workspace: &Workspace, options: &LockOptions) -> Result<(), StepError> {
    let Renew::Named(names) = &options.upgrade else { return Ok(()) };
    let mut known: Vec<String> = workspace.project.images.keys().map(ToString::to_string).collect();
    known.extend(hub::names(&workspace.project));
    for image in workspace.project.images.values() {
        for lock in wheels::all(workspace, image)? {
            known.extend(lock.packages.into_iter().map(|package| package.name));
        }
    }
    workspace.lock.read(|lock| {
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
    let base = base::settle(workspace, image, options, reporter, changes).await?;
    let (name, runtime) = (image.name.clone(), base.runtime);
    let packages = packages_of(&workspace.root, image)?;
    let needed = local::dependencies(&packages, runtime.python)?;
    let (asked, wheels) =
        wheels::settle(workspace, image, runtime, needed, options, reporter, changes).await?;
    let asked = (&asked, &*wheels);
    let local =
        local::settle(workspace, image, packages, asked, options, reporter, changes).await?;
    let names = wheels.iter().map(|it| &it.name).chain(local.iter().map(|it| &it.name));
    wheels::check_winners(image, &names.collect::<Vec<_>>())?;
    workspace.images.settle(name, LockedParts { runtime, wheels, local });
    engine::settle(workspace, image, options, reporter, changes).await
}

/// Digest of a request's parts.
fn digest<'a>(parts: impl IntoIterator<Item = &'a &'a str>) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hex(&hasher.finalize().as_bytes()[..16])
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
