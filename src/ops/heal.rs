//! Blobs that are no longer what they are called: found once a step failed with them, and made again.

use std::collections::BTreeSet;

use super::plan::Planned;
use super::{Frontend, Work};
use crate::blocking::blocking;
use crate::digest::Digest;
use crate::event::Reporter;
use crate::exec;
use crate::oci::{Layout, OciError};
use crate::plan::Action;
use crate::step::{Fact, StepError};
use crate::workspace::Workspace;

/// What steps fail with that can't read a blob; a full disk is another thing.
const CODES: [&str; 4] = ["oci::damaged", "oci::missing", "oci::document", "oci::unpack"];

/// What is done about blobs that turn out to be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Healing {
    /// Nothing, since they were made again already: a broken disk would have it done for ever.
    Nothing,
    /// They are taken away, so that the next apply makes them again: a saved plan is carried out as it
    /// was agreed to, or fails.
    TakeAway,
    /// They are taken away, and a new plan makes them again.
    PlanAgain,
}

/// Whether all steps that failed did since blobs of the images that were planned are damaged. Those are
/// gone now, so that a new plan makes or fetches them again.
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
    let is_of_blobs = |failed: &exec::FailedStep| {
        let code = failed.error.code().map(|code| code.to_string());
        code.is_some_and(|code| CODES.iter().any(|known| code.ends_with(known)))
    };
    let again = match healing {
        Healing::Nothing => return false,
        Healing::TakeAway => "`goatbuild apply` makes or fetches it again",
        Healing::PlanAgain => "it is made or fetched again",
    };
    if report.failed.is_empty() || !report.failed.iter().all(is_of_blobs) {
        return false;
    }
    let Ok(layout) = workspace.cache.layout() else { return false };
    let images = planned.plan.steps.iter().filter(|step| step.kind.makes_image());
    let made = images.filter_map(|step| match step.action {
        Action::Fresh => Fact::DIGEST.digest_of(&step.facts),
        _ => Fact::DIGEST.digest_of(report.facts.get(&step.id)?),
    });
    let images: BTreeSet<Digest> = made.collect();
    let found = frontend.showing(Work::Prepares, async |reporter| {
        reporter.message("looking for damaged blobs");
        let reporter = reporter.clone();
        blocking(move || look(&layout, &images, &reporter)).await
    });
    let Ok(found) = found.await else { return false };
    for digest in &found {
        frontend.note(&format!("{digest} in cache/ was damaged; {again}"));
    }
    !found.is_empty()
}

/// The blobs of images that are damaged, and were taken away, or that are missing.
fn look(
    layout: &Layout,
    images: &BTreeSet<Digest>,
    reporter: &Reporter,
) -> Result<BTreeSet<Digest>, StepError> {
    let mut found = BTreeSet::new();
    for image in images {
        let mut blobs = BTreeSet::new();
        match layout.image(*image) {
            Ok(image) => blobs.extend(image.layers()?),
            Err(OciError::Damaged { digest, .. } | OciError::Missing { digest }) => {
                layout.blobs().discard(digest);
                found.insert(digest);
            }
            Err(error) => return Err(error.into()),
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
    }
    Ok(found)
}
