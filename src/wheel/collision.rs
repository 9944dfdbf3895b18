//! Several wheels in one tree: who owns which path.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::error::WheelError;
use super::inflate::{Inflater, Piece};
use super::install::{self, Installed, Plan, Source};
use super::{Scheme, WheelFile};
use crate::event::Reporter;

/// One file of a merged tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owned {
    /// The index of the plan that its bytes come from.
    pub(super) plan: usize,
    /// Whether any owner has it executable.
    pub(super) executable: bool,
}

/// Lays out all wheels, ordered by file name so that the caller's order doesn't matter.
pub(super) fn plans(
    wheels: &[WheelFile],
    scheme: &Scheme,
    inflater: &mut Inflater,
    reporter: &Reporter,
) -> Result<Vec<Plan>, WheelError> {
    let mut wheels: Vec<&WheelFile> = wheels.iter().collect();
    wheels.sort_by(|left, right| left.filename.cmp(&right.filename));
    let mut plans = Vec::with_capacity(wheels.len());
    for wheel in wheels {
        reporter.check()?;
        plans.push(install::plan(wheel, scheme, inflater)?);
    }
    Ok(plans)
}

/// Every path with its owner; the first one where several have identical bytes.
pub(super) fn merged<'plan>(
    plans: &'plan [Plan],
    inflater: &mut Inflater,
) -> Result<BTreeMap<&'plan str, Owned>, WheelError> {
    let mut owners: BTreeMap<&str, Owned> = BTreeMap::new();
    for (index, plan) in plans.iter().enumerate() {
        for (path, file) in &plan.files {
            let new = Owned { plan: index, executable: file.executable };
            let Some(owner) = owners.get_mut(&**path) else {
                owners.insert(path, new);
                continue;
            };
            if !identical(&plans[owner.plan], plan, path, inflater)? {
                let difference = "the contents differ";
                return Err(collision(&plans[owner.plan], plan, path, difference));
            }
            owner.executable |= file.executable;
        }
    }
    for (path, owner) in &owners {
        for (slash, _) in path.match_indices('/') {
            let Some(other) = owners.get(&path[..slash]) else { continue };
            let difference = "one has a file where the other has a directory";
            let (first, second) = (&plans[other.plan], &plans[owner.plan]);
            return Err(collision(first, second, &path[..slash], difference));
        }
    }
    Ok(owners)
}

fn collision(first: &Plan, second: &Plan, path: &str, difference: &'static str) -> WheelError {
    WheelError::Collision {
        first: first.archive.wheel.clone(),
        second: second.archive.wheel.clone(),
        path: format!("/{path}"),
        difference,
    }
}

fn identical(
    left: &Plan,
    right: &Plan,
    path: &str,
    inflater: &mut Inflater,
) -> Result<bool, WheelError> {
    let files = [(left, &left.files[path]), (right, &right.files[path])];
    let [one, other] = files.map(|(plan, file)| summary(plan, file));
    if one != other {
        return Ok(false);
    }
    let [one, other] = files;
    Ok(digest(one.0, one.1, inflater)? == digest(other.0, other.1, inflater)?)
}

/// Size and CRC-32, which cost nothing to know.
fn summary(plan: &Plan, file: &Installed) -> (u64, u32) {
    match &file.source {
        Source::Bytes(bytes) => (bytes.len() as u64, libdeflater::crc32(bytes)),
        Source::Member(index) => {
            let member = &plan.archive.members[*index];
            (member.size, member.crc32)
        }
    }
}

fn digest(plan: &Plan, file: &Installed, inflater: &mut Inflater) -> Result<[u8; 32], WheelError> {
    let mut hasher = Sha256::new();
    match &file.source {
        Source::Bytes(bytes) => hasher.update(bytes),
        Source::Member(index) => {
            let member = &plan.archive.members[*index];
            inflater.read(&plan.archive, member, &Reporter::silent(), |piece| {
                if let Piece::Content(bytes) = piece {
                    hasher.update(bytes);
                }
                Ok(())
            })?;
        }
    }
    Ok(hasher.finalize().into())
}
