//! The lease of a target that machines share, had while something is done there.

use miette::Report;

use super::Frontend;
use super::open::Site;
use crate::targets::Leases;

/// Does what needs a lease, where there are any, and gives it back; fails for whichever of both failed
/// first.
pub(super) async fn during<T>(
    leases: Option<&dyn Leases>,
    site: &Site,
    frontend: &dyn Frontend,
    command: &str,
    done: impl Future<Output = Result<T, Report>>,
) -> Result<T, Report> {
    let Some(leases) = leases else { return done.await };
    let waiting = |holder: &str| frontend.waits_for(holder);
    let (lease, _) = leases.take(command, site.ci_run.clone(), site.patience, &waiting).await?;
    let done = done.await;
    let freed = lease.end().await;
    let done = done?;
    freed?;
    Ok(done)
}
