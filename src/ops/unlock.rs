//! Breaking the lease of another machine.

use miette::Report;

use super::open::{self, Site};
use super::{Frontend, consent};

/// Breaks the lease of another machine, once somebody agrees.
pub async fn unlock(site: &Site, frontend: &dyn Frontend, agreed: bool) -> Result<(), Report> {
    let (workspace, _) = open::anyway(site, frontend)?;
    let Some((_, leases)) = workspace.targets.leased() else {
        let elsewhere = workspace.project.target_types.elsewhere();
        frontend.note(&format!(
            "nothing is served on {elsewhere}; a lock on this machine is free once its process ends",
        ));
        return Ok(());
    };
    let Some(holder) = leases.holder().await? else {
        frontend.note("nobody has the lease");
        return Ok(());
    };
    frontend.note(&format!("the lease is {holder}'s"));
    let what = format!("the lease of {holder} would be broken");
    let question = "break it, though what it does may still go on?";
    if !consent::confirm(frontend, agreed, &what, question)? {
        return Ok(());
    }
    leases.free(&holder).await?;
    frontend.note("broken");
    Ok(())
}
