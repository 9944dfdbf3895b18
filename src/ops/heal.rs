//! Blobs that are no longer what they are called: found once a step or a command failed with them, and made
//! again.

use std::collections::BTreeSet;

use miette::Report;

use super::plan::Planned;
use super::{Frontend, Work};
use crate::blocking::blocking;
use crate::container::ContainerError;
use crate::digest::Digest;
use crate::event::Reporter;
use crate::exec;
use crate::oci::registry::RegistryError;
use crate::oci::{Layout, OciError};
use crate::plan::Action;
use crate::step::{Fact, StepError};
use crate::workspace::Workspace;

/// What is done about blobs that turn out to be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Healing {
    /// Nothing, since they were made again already: a broken disk would have it done for ever.
    Nothing,
    /// They are taken away, so that the next apply makes them again: a saved plan is carried out as it
    /// was agreed to, or fails.
    TakeAway,
    /// They are taken away, and made again at once: by a new plan, or an apply of the image alone.
    MakeAgain,
}

/// What the store of blobs said, where blobs are why something failed.
pub(super) fn of_blobs(error: &Report) -> Option<&OciError> {
    let handed_on = || match error.downcast_ref() {
        Some(RegistryError::Oci(error)) => Some(error),
        _ => None,
    };
    let handed_over = || match error.downcast_ref() {
        Some(ContainerError::Image(error)) => Some(error),
        _ => None,
    };
    let said = error.downcast_ref().or_else(handed_on).or_else(handed_over);
    said.filter(|error: &&OciError| error.is_of_blobs())
}

/// Whether all steps that failed did since blobs of images that they needed are damaged. Those are gone
/// now, so that a new plan makes or fetches them again.
///
/// Whatever keeps this from looking is no more than that: why the steps failed is told.
///
/// Layers are not hashed before they are used, since that takes as long as using them; whoever unpacks
/// one, or sends it somewhere, finds out that something is wrong, and this finds out what.
pub(super) async fn were_damaged(
    workspace: &Workspace,
    frontend: &dyn Frontend,
    planned: &Planned,
    report: &exec::Report,
    healing: Healing,
) -> bool {
    let said: Vec<_> = report.failed.iter().filter_map(|it| of_blobs(&it.error)).collect();
    if healing == Healing::Nothing || said.is_empty() || said.len() < report.failed.len() {
        return false;
    }
    let Ok(layout) = workspace.cache.layout() else { return false };
    let failed: BTreeSet<_> = report.failed.iter().map(|failed| &failed.id).collect();
    let needed = planned.graph.needed_by(|step| failed.contains(step.id()));
    let images = planned.plan.steps.iter().filter(|step| step.kind.makes_image());
    let made = images.filter(|step| needed.get(&step.id).is_some());
    let made = made.filter_map(|step| match step.action {
        Action::Fresh => Fact::DIGEST.digest_of(&step.facts),
        _ => Fact::DIGEST.digest_of(report.facts.get(&step.id)?),
    });
    let suspects = Suspects { images: made.collect(), blobs: said_of(said) };
    take_away(layout, frontend, suspects, healing).await
}

/// Where damage may be.
pub(super) struct Suspects {
    /// Digests of manifests.
    pub(super) images: BTreeSet<Digest>,
    /// Of blobs that errors name.
    pub(super) blobs: BTreeSet<Digest>,
}

/// The blobs that errors name.
pub(super) fn said_of<'a>(said: impl IntoIterator<Item = &'a OciError>) -> BTreeSet<Digest> {
    said.into_iter().filter_map(OciError::blob).collect()
}

/// Takes damaged blobs away, and tells of each; says whether there were any.
pub(super) async fn take_away(
    layout: Layout,
    frontend: &dyn Frontend,
    suspects: Suspects,
    healing: Healing,
) -> bool {
    let again = match healing {
        Healing::Nothing => return false,
        Healing::TakeAway => "`goatbuild apply` makes or fetches it again",
        Healing::MakeAgain => "it is made or fetched again",
    };
    let found = frontend.showing(Work::Prepares, async |reporter| {
        reporter.message("looking for damaged blobs");
        let reporter = reporter.clone();
        blocking(move || look(&layout, &suspects, &reporter)).await
    });
    let Ok(found) = found.await else { return false };
    for digest in &found {
        frontend.note(&format!("{digest} in cache/ was damaged; {again}"));
    }
    !found.is_empty()
}

/// The blobs that are damaged, and were taken away, or that are missing.
fn look(
    layout: &Layout,
    suspects: &Suspects,
    reporter: &Reporter,
) -> Result<BTreeSet<Digest>, StepError> {
    let mut found = BTreeSet::new();
    let mut blobs = suspects.blobs.clone();
    for image in &suspects.images {
        match layout.image(*image) {
            Ok(image) => blobs.extend(image.layers()?),
            Err(OciError::Damaged { digest, .. } | OciError::Missing { digest }) => {
                layout.blobs().discard(digest);
                found.insert(digest);
            }
            Err(error) => return Err(error.into()),
        }
    }
    for digest in blobs {
        reporter.check()?;
        match layout.blobs().verify(digest, reporter) {
            Ok(()) => {}
            Err(OciError::Damaged { digest, .. } | OciError::Missing { digest }) => {
                found.insert(digest);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}
