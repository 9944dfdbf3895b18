//! Settling what the specs leave open.

use miette::Report;

use super::open::{self, Site};
use super::{Frontend, Work};
use crate::locking::{self, Changes, LockOptions, Renew, Scope};

/// Locks all that is open, and anew what is named by `upgrade`. Only what is `frozen` by the user's
/// own word stays as it is: in CI, too, this is the command that changes a lock.
pub async fn lock(
    site: &Site,
    frontend: &dyn Frontend,
    upgrade: Renew,
    frozen: bool,
) -> Result<(), Report> {
    let workspace = open::whole(site)?;
    let _lock = open::lock(&workspace, site, frontend, "lock").await?;
    let workspace = open::whole(site)?;
    let scope = Scope::of_renewal(&workspace, &upgrade)?;
    let is_part = scope != Scope::Project;
    let options = LockOptions { locked: frozen, upgrade, complete: true, lenient: false, scope };
    let mut changes = Changes::default();
    let settled = frontend.showing(Work::Prepares, async |reporter| {
        locking::settle_into(&mut changes, &workspace, &options, reporter).await
    });
    let settled = settled.await;
    changes.warnings.iter().for_each(|warning| frontend.note(warning));
    frontend.tell_changes(&changes);
    settled?;
    match (changes.lines.is_empty(), changes.warnings.is_empty()) {
        (true, _) if is_part => frontend.note("nothing that was named has moved"),
        (true, true) => frontend.note("everything is locked"),
        (true, false) => frontend.note("what a plan needs is locked"),
        (false, _) => {}
    }
    Ok(())
}
