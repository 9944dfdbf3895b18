//! Settling what the specs leave open, and what targets bill.

use std::collections::btree_map::Entry;

use miette::Report;

use super::open::{self, Site};
use super::{Frontend, Work};
use crate::clock;
use crate::lock::LockedPrices;
use crate::locking::{self, Changes, LockOptions, Renew, Scope};
use crate::targets::{Priced, ToldPrice};

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

/// What a target said that it bills.
#[derive(Debug)]
pub struct Asked {
    /// The target, as people call it.
    pub title: &'static str,
    /// Its prices.
    pub prices: Vec<ToldPrice>,
}

/// Asks targets what they bill and keeps that in the lock, unless that is to stay as it is. What one doesn't
/// say, the lock keeps as it had it.
pub async fn prices(
    site: &Site,
    frontend: &dyn Frontend,
    frozen: bool,
) -> Result<Vec<Asked>, Report> {
    let workspace = open::whole(site)?;
    let _lock = open::lock(&workspace, site, frontend, "lock").await?;
    let mut all = Vec::new();
    for target in workspace.targets.all() {
        let Some(list) = target.price_list() else { continue };
        let prices = list.prices().await?;
        let (title, name) = (list.title(), target.name());
        let had = workspace.lock.read(|lock| lock.prices.get(name).cloned()).unwrap_or_default();
        if frozen {
            frontend.note("the lock stays as it is: --locked");
        } else if prices.iter().all(|it| it.taken.is_err()) {
            frontend
                .note(&format!("nothing that {title} tells was taken: the lock stays as it is"));
        } else {
            let (kept, untold) = filled(kept(&prices), had);
            workspace.lock.change(|lock| drop(lock.prices.insert(name.to_owned(), kept)))?;
            if !untold.is_empty() {
                frontend.note(&format!(
                    "{title} tells no price of {} that was taken: the lock keeps what it had",
                    untold.join(", ")
                ));
            }
        }
        all.push(Asked { title, prices });
    }
    if all.is_empty() {
        frontend.note("nothing is paid for where this project's models are served");
    }
    Ok(all)
}

/// What the lock keeps of them.
fn kept(prices: &[ToldPrice]) -> LockedPrices {
    let mut kept = LockedPrices { asked: clock::now(), ..LockedPrices::default() };
    for taken in prices.iter().filter_map(|it| it.taken.as_ref().ok()) {
        let usd = taken.usd_per_hour;
        match &taken.of {
            Priced::Core => kept.cpu = Some(usd),
            Priced::Memory => kept.memory = Some(usd),
            Priced::Gpus(names) => kept.gpu.extend(names.iter().map(|name| (name.clone(), usd))),
        }
    }
    kept
}

/// New prices with those that the lock had and that weren't told, and what the latter are of.
fn filled(mut all: LockedPrices, had: LockedPrices) -> (LockedPrices, Vec<String>) {
    let mut untold = Vec::new();
    for (now, before, name) in
        [(&mut all.cpu, had.cpu, "cpu"), (&mut all.memory, had.memory, "memory")]
    {
        if now.is_none() && before.is_some() {
            *now = before;
            untold.push(name.to_owned());
        }
    }
    for (name, usd) in had.gpu {
        if let Entry::Vacant(place) = all.gpu.entry(name) {
            untold.push(place.key().clone());
            place.insert(usd);
        }
    }
    (all, untold)
}
