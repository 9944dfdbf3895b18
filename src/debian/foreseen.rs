//! What a build would refuse of maintainer scripts, found before any package is fetched whole.

use std::path::Path;

use super::deb::Control;
use super::error::UnknownScript;
use super::heads::{Shelf, controls};
use super::needed::Needs;
use super::system::System;
use super::{DebianError, DebianRequest, LockedDebian, LockedPackage, Mirrors, scripts};
use crate::blocking::blocking;
use crate::event::Reporter;
use crate::fetch::Fetcher;
use crate::words;

/// Follows the scripts of all locked packages as far as that goes without their files; fails with all that a build
/// would refuse whatever these are.
///
/// It is a courtesy. Nothing verifies what is read here, so that a build looks again; and what can't be read is
/// told, and is no failure. What was read is kept in `beginnings`.
pub async fn foresee(
    fetcher: &Fetcher,
    mirrors: &Mirrors,
    request: &DebianRequest,
    locked: &LockedDebian,
    packages: &Path,
    beginnings: &Path,
    reporter: &Reporter,
) -> Result<(), DebianError> {
    let fetcher = &fetcher.hurried();
    let shelf = Shelf { fetcher, mirrors, packages, beginnings };
    let controls = controls(&shelf, locked, reporter).await?;
    let unseen = locked.packages.iter().zip(&controls).filter(|(_, control)| control.is_none());
    let unseen: Vec<&str> = unseen.map(|(package, _)| package.name.as_str()).collect();
    if !unseen.is_empty() {
        reporter.notice(format!(
            "the scripts of {} weren't looked at; a build will do that",
            words::some(&unseen)
        ));
    }
    let (locked, wanted) = (locked.clone(), request.packages.clone());
    let beginnings = beginnings.to_owned();
    blocking(move || {
        let seen = locked.packages.iter().zip(&controls);
        let seen = seen.filter_map(|(package, control)| Some((package, control.as_ref()?)));
        let refused = seen.clone().filter_map(|(it, control)| refused(it, control, &locked));
        let mut scripts: Vec<UnknownScript> = refused.collect();
        if scripts.is_empty() {
            return Ok(());
        }
        Needs::read(seen).tell(&mut scripts, Some(&wanted));
        // Nobody verified it: whoever asks again shall not be told the same of what only came wrong.
        let told = |it: &&LockedPackage| scripts.iter().any(|script| script.package == it.name);
        for package in locked.packages.iter().filter(told) {
            let _ = std::fs::remove_file(beginnings.join(package.sha256.hex()));
        }
        Err(DebianError::UnknownScripts { scripts })
    })
    .await
}

/// What of a package's scripts can't be followed, whatever files there will be.
fn refused(
    package: &LockedPackage,
    control: &Control,
    locked: &LockedDebian,
) -> Option<UnknownScript> {
    if let Some(reviewed) = scripts::reviewed(&package.name, locked.layout) {
        return scripts::grown(&package.name, control, reviewed);
    }
    let templates = control.get("templates").map(Vec::as_slice).unwrap_or_default();
    let templates = String::from_utf8_lossy(templates);
    let mut system = System::new(&package.name, None, locked.architecture, &templates);
    scripts::follow(&package.name, control, &mut system)
}
