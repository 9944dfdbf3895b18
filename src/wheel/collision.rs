//! Several wheels in one tree: who owns which path.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::error::{Clash, WheelError};
use super::inflate::{Inflater, Piece};
use super::install::{self, Installed, Plan, Source};
use super::name::WheelName;
use super::{PREFIX, Scheme, WheelFile};
use crate::event::Reporter;
use crate::spec::Overlap;

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

/// What is said of paths that several wheels own.
pub(super) struct Rules<'rules> {
    pub(super) overlap: &'rules [Overlap],
    pub(super) scheme: &'rules Scheme,
    /// Whether these are all wheels of an image, and not those of one layer.
    pub(super) is_whole: bool,
}

/// The files of several wheels.
#[derive(Debug, Default)]
pub(super) struct Merged<'plan> {
    /// Every path with its owner; the first one where several have identical bytes.
    pub(super) files: BTreeMap<&'plan str, Owned>,
    /// Those that a rule decided.
    pub(super) settled: BTreeMap<&'plan str, Owned>,
    /// The rules that did.
    pub(super) used: BTreeSet<Overlap>,
}

impl Rules<'_> {
    /// The rule for a path: the one that names it, or else the longest pattern.
    fn of(&self, path: &str) -> Option<&Overlap> {
        let shown = shown(path, self.scheme);
        let rules =
            self.overlap.iter().filter(|it| it.covers(&shown) || it.covers(&absolute(path)));
        rules.max_by_key(|it| (it.pattern == shown, it.pattern.len(), &it.pattern))
    }
}

/// Every path with its owner.
pub(super) fn merged<'plan>(
    plans: &'plan [Plan],
    rules: &Rules<'_>,
    inflater: &mut Inflater,
) -> Result<Merged<'plan>, WheelError> {
    let mut owners: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, plan) in plans.iter().enumerate() {
        for path in plan.files.keys() {
            owners.entry(path).or_default().push(index);
        }
    }
    let mut merged = Merged::default();
    let mut clashes: BTreeMap<Vec<usize>, Vec<&str>> = BTreeMap::new();
    for (path, all) in &owners {
        let owned = |plan: usize| {
            let executable = plans[plan].files[*path].executable;
            Owned { plan, executable }
        };
        let mut first = owned(all[0]);
        let mut differ = false;
        for &other in &all[1..] {
            differ |= !identical(&plans[first.plan], &plans[other], path, inflater)?;
        }
        if !differ {
            first.executable = all.iter().any(|&plan| owned(plan).executable);
            merged.files.insert(path, first);
            continue;
        }
        let rule = rules.of(path);
        let winner = rule
            .and_then(|rule| all.iter().copied().find(|&plan| is_of(&plans[plan], &rule.winner)));
        match (rule, winner) {
            (Some(rule), Some(winner)) => {
                merged.files.insert(path, owned(winner));
                merged.settled.insert(path, owned(winner));
                merged.used.insert(rule.clone());
            }
            // Its winner is in another layer.
            (Some(_), None) if !rules.is_whole => drop(merged.files.insert(path, first)),
            _ => clashes.entry(all.clone()).or_default().push(path),
        }
    }
    let mut told: Vec<Clash> = Vec::new();
    for (owners, paths) in clashes {
        let wheels: Vec<&Plan> = owners.into_iter().map(|index| &plans[index]).collect();
        told.push(clash(&wheels, &paths, rules.scheme));
    }
    for (path, all) in &owners {
        for (slash, _) in path.match_indices('/') {
            let Some(others) = owners.get(&path[..slash]) else { continue };
            let wheels = [&plans[others[0]], &plans[all[0]]];
            let names: Vec<String> = wheels.map(|it| it.archive.wheel.clone()).into();
            let paths = vec![absolute(&path[..slash])];
            let difference = "one has a file where the other has a directory";
            let clash = Clash { wheels: names, paths, difference, entry: None };
            if !told.contains(&clash) {
                told.push(clash);
            }
        }
    }
    if told.is_empty() { Ok(merged) } else { Err(WheelError::Collision { clashes: told }) }
}

fn is_of(plan: &Plan, package: &str) -> bool {
    WheelName::parse(&plan.archive.wheel).is_ok_and(|name| name.distribution == package)
}

/// A path as the files of images name it: as seen from `site-packages`, or absolute.
fn shown(path: &str, scheme: &Scheme) -> String {
    let site = format!("{PREFIX}/lib/python{}/site-packages/", scheme.python);
    path.strip_prefix(&site).map_or_else(|| absolute(path), str::to_owned)
}

fn absolute(path: &str) -> String {
    format!("/{path}")
}

fn clash(wheels: &[&Plan], paths: &[&str], scheme: &Scheme) -> Clash {
    let names: Vec<String> = wheels.iter().map(|it| it.archive.wheel.clone()).collect();
    let name = names.first().and_then(|first| WheelName::parse(first).ok());
    Clash {
        entry: name.map(|name| {
            let all: Vec<String> = paths.iter().map(|path| shown(path, scheme)).collect();
            let quoted = |text: &str| toml::Value::from(text).to_string();
            format!("{} = {}", quoted(&pattern(&all)), quoted(&name.distribution))
        }),
        wheels: names,
        paths: paths.iter().map(|path| absolute(path)).collect(),
        difference: "the contents differ",
    }
}

/// One pattern for these paths: of several, all below the directory that they share.
fn pattern(paths: &[String]) -> String {
    let (Some(first), Some(last)) = (paths.first(), paths.last()) else { return "*".to_owned() };
    if paths.len() == 1 {
        return first.clone();
    }
    let same = first.bytes().zip(last.bytes()).take_while(|(one, other)| one == other).count();
    let directory =
        first.get(..same).and_then(|same| same.rfind('/')).map_or("", |at| &first[..=at]);
    format!("{directory}*")
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
