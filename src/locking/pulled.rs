//! Settles a base that is pulled: a tag's digest, its C library, its Python.
//!
//! What the image's file pins itself is not looked at: with a digest, `python` and `glibc` written
//! down, nothing is asked before the image is built. A C library that isn't written down is taken
//! from the wheels' lock, if there is one, and is otherwise looked for in the base's lowest layers.
//! A base's own Python can be anywhere in it, so the whole base is pulled to look for it.

use super::wheels::read_pylock;
use super::{Changes, LockOptions, LockingError, Renew, digest};
use crate::event::Reporter;
use crate::lock::{LockedBase, LockedImage, LockedLayer};
use crate::oci::Content;
use crate::oci::registry::{BaseOrigin, Puller, Resolved};
use crate::platform::{MajorMinor, Runtime};
use crate::python;
use crate::spec::Image;
use crate::step::StepError;
use crate::workspace::Workspace;

pub(super) async fn settle(
    workspace: &Workspace,
    image: &Image,
    options: &LockOptions,
    reporter: &Reporter,
    changes: &mut Changes,
) -> Result<LockedImage, StepError> {
    let Some(origin) = workspace.registries.origin(image) else {
        panic!("BUG: the base of {} is not pulled", image.name);
    };
    let request = request(image, &origin);
    let previous = workspace.lock.read(|lock| lock.images.get(image.name.as_str()).cloned());
    let renew = match &options.upgrade {
        Renew::Nothing | Renew::Gone { .. } => false,
        Renew::Everything => true,
        Renew::Named(names) => names.iter().any(|name| name == image.name.as_str()),
    };
    if let Some(locked) = &previous
        && locked.request == request
        && !renew
    {
        return Ok(locked.clone());
    }
    let build = match image.python {
        // A build that was chosen stays, as any other pin, until it is asked for another one.
        Some(version) => match previous.as_ref().and_then(|locked| locked.python.clone()) {
            Some(build) if !renew && build.version.starts_with(&format!("{version}.")) => {
                Some(build)
            }
            _ => Some(python::standalone(version, image.architecture)?),
        },
        None => None,
    };
    // Wheels say nothing of a base that another one has replaced.
    let known = known(workspace, image, &origin, previous.is_none() && !renew)?;
    // Who asks anew wants to know what the base sets, even where nothing else is open.
    let known = known.filter(|_| !renew);
    if options.locked && (known.is_none() || build.is_some()) {
        let what = format!("the base of image {}", image.name);
        return Err(LockingError::Locked { what }.into());
    }
    let (runtime, base, is_news) = if let Some(runtime) = known {
        (runtime, previous.as_ref().and_then(|locked| same(&origin, locked)), false)
    } else {
        reporter.message(format!("{}: looking at {origin}", image.name));
        let puller = workspace.registries.puller(origin.clone(), image.architecture, reporter)?;
        let resolved = puller.resolve(reporter).await?;
        let (runtime, found) = look(image, &puller, &resolved, reporter).await?;
        changes.lines.extend(told(image, &resolved, found.as_ref()));
        (runtime, Some(locked_base(&origin, &resolved, found)), true)
    };
    if let Some(base) = base.as_ref().filter(|_| is_news) {
        let before = previous.as_ref().and_then(|locked| locked.base.as_ref());
        let old = before.filter(|old| old.digest != base.digest);
        let old = old.map(|old| format!("{} → ", old.digest.short())).unwrap_or_default();
        changes.resolved.push(image.name.to_string());
        changes.lines.push(format!(
            "{}: base {} is {old}{}",
            image.name,
            base.reference,
            base.digest.short()
        ));
    }
    let locked = LockedImage { request, runtime, debian: None, base, python: build };
    if !options.locked {
        workspace.lock.change(|lock| {
            lock.images.insert(image.name.to_string(), locked.clone());
        })?;
    }
    Ok(locked)
}

/// Digest of everything that the answer depends on.
fn request(image: &Image, origin: &BaseOrigin) -> String {
    let version =
        |version: Option<MajorMinor>| version.map(|it| it.to_string()).unwrap_or_default();
    let (python, glibc, origin) = (version(image.python), version(image.glibc), origin.to_string());
    digest(&["pulled", &origin, image.architecture.name(), &python, &glibc])
}

/// What wheels have to run on, if it is known without a look at the base.
fn known(
    workspace: &Workspace,
    image: &Image,
    origin: &BaseOrigin,
    trust_wheels: bool,
) -> Result<Option<Runtime>, StepError> {
    if origin.pinned().is_none() {
        return Ok(None);
    }
    let wheels = if trust_wheels { read_pylock(workspace, &image.name)? } else { None };
    let wheels = wheels.as_ref().and_then(|(_, lock)| lock.answered()).map(|it| it.runtime);
    let wheels = wheels.filter(|runtime| {
        runtime.architecture == image.architecture
            && image.python.is_none_or(|python| python == runtime.python)
    });
    let glibc = image.glibc.or(wheels.map(|runtime| runtime.glibc));
    let python = image.python.or(wheels.map(|runtime| runtime.python));
    Ok(match (glibc, python) {
        (Some(glibc), Some(python)) => {
            Some(Runtime { architecture: image.architecture, glibc, python })
        }
        _ => None,
    })
}

/// Finds in the base what its image's file leaves open.
async fn look(
    image: &Image,
    puller: &Puller,
    resolved: &Resolved,
    reporter: &Reporter,
) -> Result<(Runtime, Option<Content>), StepError> {
    let name = || image.name.to_string();
    let architecture = image.architecture;
    let content = match (image.python, image.glibc) {
        (Some(python), Some(glibc)) => {
            return Ok((Runtime { architecture, glibc, python }, None));
        }
        (Some(_), None) => puller.lowest_libc(resolved, reporter).await?,
        (None, _) => {
            puller.layers(resolved, reporter).await?;
            puller.content(resolved, reporter).await?
        }
    };
    if let Some(path) = content.taken {
        return Err(LockingError::Taken { image: name(), path }.into());
    }
    let glibc = match (image.glibc, content.glibc) {
        (Some(stated), Some(found)) if found < stated => {
            let (stated, found) = (stated.to_string(), found.to_string());
            return Err(LockingError::OtherGlibc { image: name(), stated, found }.into());
        }
        (Some(stated), _) => stated,
        (None, Some(found)) => found,
        (None, None) => {
            return Err(LockingError::NoGlibc { image: name(), musl: content.musl }.into());
        }
    };
    let python = match (image.python, &content.python) {
        (Some(added), _) => added,
        (None, Some(found)) => found.version,
        (None, None) => {
            let help =
                format!("write `python = \"3.12\"` in images/{}.toml to add one", image.name);
            let passed = content.passed;
            return Err(LockingError::NoPython { image: name(), passed, help }.into());
        }
    };
    let own = image.python.is_none().then_some(content);
    Ok((Runtime { architecture, glibc, python }, own))
}

/// What people should know of a base that was looked at.
fn told(image: &Image, resolved: &Resolved, content: Option<&Content>) -> Vec<String> {
    let mut lines = Vec::new();
    let name = &image.name;
    if let Some((python, passed)) = content.and_then(|it| Some((it.python.as_ref()?, &it.passed)))
        && !passed.is_empty()
    {
        lines.push(format!("{name}: {}; its Python is {}", passed.join(", "), python.path));
    }
    let user = resolved.config.settings.user.as_ref().map(|user| format!("user {user}"));
    let left_out = resolved.config.left_out.iter().map(|what| (*what).to_owned());
    let left_out: Vec<String> = user.into_iter().chain(left_out).collect();
    if !left_out.is_empty() {
        lines.push(format!("{name}: leaves out its base's {}", left_out.join(", ")));
    }
    lines
}

fn locked_base(origin: &BaseOrigin, resolved: &Resolved, content: Option<Content>) -> LockedBase {
    let layers = resolved.manifest.layers.iter().zip(&resolved.config.diff_ids);
    LockedBase {
        reference: origin.to_string(),
        digest: resolved.digest,
        index: resolved.index,
        python: content.and_then(|content| content.python).map(|python| python.path),
        layers: layers
            .map(|((blob, _), diff_id)| LockedLayer {
                digest: blob.digest,
                size: blob.size,
                diff_id: *diff_id,
            })
            .collect(),
        settings: Some(resolved.config.settings.clone()),
    }
}

/// What was known of the base that is pinned now: a tag's image, by the digest that it had.
fn same(origin: &BaseOrigin, locked: &LockedImage) -> Option<LockedBase> {
    let known = locked.base.as_ref()?;
    let pinned = origin.pinned()?;
    let is_same = known.digest == pinned || known.index == Some(pinned);
    // Nobody looks at a base whose own Python is used.
    let base = LockedBase { reference: origin.to_string(), python: None, ..known.clone() };
    is_same.then_some(base)
}
