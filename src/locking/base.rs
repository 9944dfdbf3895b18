//! Settles what lies under the wheels of an image.

use std::collections::BTreeMap;

use super::{Changes, LockOptions, LockingError, Renew, digest};
use crate::debian::{self, BaseLayout, DebianRequest};
use crate::event::Reporter;
use crate::lock::{LockedDebian, LockedImage};
use crate::platform::Runtime;
use crate::spec::{Base, Image, ImageName, Located, Takes};
use crate::step::StepError;
use crate::workspace::Workspace;

pub(super) async fn settle(
    workspace: &Workspace,
    image: &Image,
    options: &LockOptions,
    reporter: &Reporter,
    changes: &mut Changes,
) -> Result<LockedImage, StepError> {
    let Base::Debian { suite, packages } = &image.base else {
        return super::pulled::settle(workspace, image, options, reporter, changes).await;
    };
    let request = base_request(image, suite, packages);
    let previous = workspace.lock.read(|lock| lock.images.get(image.name.as_str()).cloned());
    let renew = match &options.upgrade {
        Renew::Nothing | Renew::Gone { .. } => false,
        Renew::Everything => true,
        Renew::Named(names) => names.iter().any(|name| {
            name == image.name.as_str() || previous.as_ref().is_some_and(|locked| locked.has(name))
        }),
    };
    let gone = matches!(&options.upgrade, Renew::Gone { image: of, package }
        if of == image.name.as_str() && previous.as_ref().is_some_and(|locked| locked.has(package)));
    let answer = previous.as_ref().filter(|locked| locked.request == request && !renew);
    if let Some(locked) = answer.filter(|_| !gone) {
        return Ok(locked.clone());
    }
    if options.locked {
        return Err(
            LockingError::Locked { what: format!("the base of image {}", image.name) }.into()
        );
    }
    reporter.message(format!("{}: choosing Debian packages", image.name));
    let old = previous.as_ref().and_then(|locked| locked.debian.as_ref());
    // Who only needs other versions, since some are gone, didn't ask for more packages.
    let kept = answer.and_then(|locked| locked.debian.as_ref());
    let layout = kept.map_or(BaseLayout::NEWEST, |kept| kept.layout);
    let base = DebianRequest {
        suite: suite.clone(),
        packages: packages.iter().map(|package| package.value.clone()).collect(),
        architecture: image.architecture,
        layout,
    };
    let debian = debian::resolve(
        &workspace.network.fetcher.telling(reporter),
        &workspace.network.mirrors,
        &base,
        old.filter(|_| !renew),
        reporter,
    )
    .await?;
    let found = debian.python.ok_or_else(|| LockingError::NoPython {
        image: image.name.to_string(),
        passed: Vec::new(),
        help: format!("add \"python3\" to `base.packages` in images/{}.toml", image.name),
    })?;
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
    if !is_built_elsewhere(workspace, &image.name) {
        debian::foresee(
            &workspace.network.fetcher.telling(reporter),
            &workspace.network.mirrors,
            &base,
            &debian,
            &workspace.cache.packages(),
            &workspace.cache.scripts(),
            reporter,
        )
        .await?;
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
        base: None,
        python: None,
    };
    workspace.lock.change(|lock| {
        lock.images.insert(image.name.to_string(), locked.clone());
    })?;
    Ok(locked)
}

/// What a base lacks that was locked before bases had it, and how it gets that. Who builds an image
/// without goatbuild has a Debian that is whole.
pub(super) fn lacking(workspace: &Workspace, image: &ImageName) -> Option<String> {
    if is_built_elsewhere(workspace, image) {
        return None;
    }
    let base = |locked: &LockedImage| locked.debian.as_ref().and_then(|base| lacks(base, image));
    workspace.lock.read(|lock| lock.images.get(image.as_str()).and_then(base))
}

/// Whether all who use an image have their targets build it, of a Debian that is whole.
fn is_built_elsewhere(workspace: &Workspace, image: &ImageName) -> bool {
    let project = &workspace.project;
    let mut users = project.models.values().filter(|model| model.image.value == *image).peekable();
    users.peek().is_some() && users.all(|model| project.takes(model) == Takes::Built)
}

fn lacks(base: &LockedDebian, image: &ImageName) -> Option<String> {
    /// Of what bookworm and trixie call essential, what is missed first.
    const MISSED: [&str; 9] =
        ["bash", "sed", "grep", "findutils", "gzip", "tar", "diffutils", "hostname", "perl-base"];
    if base.layout == BaseLayout::NEWEST {
        return None;
    }
    let is_missed = |name: &&str| base.packages.iter().all(|package| package.name != **name);
    let missed: Vec<&str> = MISSED.into_iter().filter(is_missed).take(5).collect();
    let packages = if missed.is_empty() {
        String::new()
    } else {
        format!("{} and others that are essential to Debian, and ", missed.join(", "))
    };
    Some(format!(
        "{image}: its base was locked without {packages}the links /var/run and /var/lock: \
         `goatbuild lock --upgrade {image}` adds them"
    ))
}

/// Digest of everything that the answer for a base depends on.
fn base_request(image: &Image, suite: &str, packages: &[Located<String>]) -> String {
    let mut names: Vec<&str> = packages.iter().map(|package| package.value.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let python = image.python.map(|python| python.to_string()).unwrap_or_default();
    let parts = ["debian", suite, image.architecture.name(), &python];
    digest(parts.iter().chain(&names))
}
