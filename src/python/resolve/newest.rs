//! Releases that are older than a reader of the requirements would think.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use pep440_rs::{Version, VersionSpecifiers};
use pep508_rs::{Requirement, VerbatimUrl, VersionOrUrl};

use crate::fetch::Fetcher;
use crate::lock::pylock::{LockedWheel, PythonRequest, WheelName, no_wheel_among, normalised};
use crate::python::index::{Index, IndexFile};

/// So many packages are looked up at once, and no more than so many in all.
const PARALLEL: usize = 6;
const LOOK_UPS: usize = 60;
/// What can't be looked up meanwhile is passed over: the lock is made.
const PATIENCE: Duration = Duration::from_secs(20);
/// From so many days on, an older release is called old, whyever it was chosen.
const OLD: f64 = 365.0;

/// Says of what is newly locked where it is a pre-release that nobody asked for, or falls back behind
/// the newest release: since that has no wheel, or since something else keeps it back for years.
///
/// Only what is required by name is looked up, and what is a pre-release.
pub(super) async fn doubts(
    fetcher: &Fetcher,
    request: &PythonRequest,
    wheels: &[LockedWheel],
    before: &BTreeMap<String, String>,
) -> Vec<String> {
    if fetcher.is_offline() {
        return Vec::new();
    }
    let wanted = Wanted::of(request);
    let is_new = |wheel: &&LockedWheel| before.get(&wheel.name) != Some(&wheel.version);
    let mut asked = Vec::new();
    for wheel in wheels.iter().filter(is_new) {
        let Ok(locked) = Version::from_str(&wheel.version) else { continue };
        let specifiers = wanted.0.get(&wheel.name);
        if specifiers.is_none_or(Option::is_none)
            && (specifiers.is_some() || !locked.any_prerelease())
        {
            continue;
        }
        asked.push((wheel, locked, specifiers.cloned().flatten()));
    }
    asked.truncate(LOOK_UPS);
    let look_ups = asked.into_iter().map(|(wheel, locked, specifiers)| {
        let index = match request.sources.index_of(&wheel.name) {
            Some(url) => Index::at(url),
            None => Some(Index::configured_or_public(|name| std::env::var(name).ok())),
        };
        async move {
            let files = index?.files(fetcher, &wheel.name).await.ok()?;
            doubt(request, &wheel.name, &locked, specifiers.as_ref(), &files)
        }
        .boxed()
    });
    let mut found = Vec::new();
    let mut answers = stream::iter(look_ups.collect::<Vec<_>>()).buffered(PARALLEL);
    let all = async {
        while let Some(answer) = answers.next().await {
            found.extend(answer);
        }
    };
    let _ = tokio::time::timeout(PATIENCE, all).await;
    found
}

/// What is required by name, and which versions of it; none where that is a URL.
struct Wanted(BTreeMap<String, Option<VersionSpecifiers>>);

impl Wanted {
    fn of(request: &PythonRequest) -> Self {
        let mut wanted: BTreeMap<String, Option<VersionSpecifiers>> = BTreeMap::new();
        let overridden: BTreeSet<String> =
            read(&request.overrides).map(|it| normalised(it.name.as_ref())).collect();
        let required = read(&request.requirements)
            .filter(|it| !overridden.contains(&normalised(it.name.as_ref())));
        for requirement in required.chain(read(&request.overrides)) {
            let specifiers = match requirement.version_or_url {
                None => Some(VersionSpecifiers::empty()),
                Some(VersionOrUrl::VersionSpecifier(specifiers)) => Some(specifiers),
                Some(VersionOrUrl::Url(_)) => None,
            };
            let entry = wanted.entry(normalised(requirement.name.as_ref()));
            let before = entry.or_insert_with(|| Some(VersionSpecifiers::empty()));
            *before = match (before.take(), specifiers) {
                (Some(one), Some(other)) => Some(one.iter().chain(other.iter()).cloned().collect()),
                _ => None,
            };
        }
        Self(wanted)
    }
}

fn read(requirements: &[String]) -> impl Iterator<Item = Requirement<VerbatimUrl>> {
    requirements.iter().filter_map(|text| Requirement::from_str(text).ok())
}

/// The files of one release.
type Release<'a> = Vec<&'a IndexFile>;

/// What is to be said of one package; `specifiers` is what is required of it by name, if it is.
fn doubt(
    request: &PythonRequest,
    package: &str,
    locked: &Version,
    specifiers: Option<&VersionSpecifiers>,
    files: &[IndexFile],
) -> Option<String> {
    let mut releases: BTreeMap<Version, Release<'_>> = BTreeMap::new();
    for file in files {
        if let Some(version) = version_of(&file.filename, package) {
            releases.entry(version).or_default().push(file);
        }
    }
    let is_asked = specifiers.is_some_and(|all| all.iter().any(|it| it.version().any_prerelease()));
    let ours = with_date(locked, releases.get(locked));
    let could = releases.iter().rev().find(|(version, files)| {
        !version.any_prerelease()
            && specifiers.is_none_or(|all| all.contains(version))
            && files.iter().any(|file| is_eligible(file, request))
    });
    let is_unasked = locked.any_prerelease() && !is_asked;
    let note = if is_unasked { ", a pre-release that nothing asks for" } else { "" };
    let what = format!("{package} {ours} is locked{note}");
    let Some((newest, files)) = could.filter(|(version, _)| *version > locked) else {
        // Where there is nothing else, whoever required it by name may not know.
        let says = specifiers.is_some() && is_unasked && could.is_none();
        return says.then(|| format!("{what}: it has no other release"));
    };
    let theirs = with_date(newest, Some(files));
    let names: Vec<String> = files.iter().map(|file| file.filename.clone()).collect();
    if let Some(error) = no_wheel_among(package, &newest.to_string(), &request.runtime, &names) {
        let has_wheels = names.iter().any(|name| WheelName::parse(name).is_some());
        let why = if has_wheels {
            let said = error.to_string();
            said.lines().next().unwrap_or_default().trim_end_matches(':').to_owned()
        } else {
            "that has no wheel, only a source archive".to_owned()
        };
        return Some(format!("{what}, and not {theirs}: {why}"));
    }
    let days = days_between(uploaded(releases.get(locked)?)?, uploaded(files)?)?;
    (days > OLD || is_unasked)
        .then(|| format!("{what}, and not {theirs}: what else is required doesn't go with that"))
}

/// Whether the index as it counts has this file, not withdrawn, and for this Python.
fn is_eligible(file: &IndexFile, request: &PythonRequest) -> bool {
    let is_in_time = match (&request.sources.as_of, &file.uploaded) {
        (Some(as_of), Some(uploaded)) => {
            days_between(uploaded, as_of).is_some_and(|days| days > 0.0)
        }
        _ => true,
    };
    let python = request.runtime.python;
    let fits = file.requires_python.as_ref().is_none_or(|text| {
        let Ok(specifiers) = VersionSpecifiers::from_str(text) else { return true };
        let any = [format!("{python}.0"), format!("{python}.99")];
        any.iter().filter_map(|it| Version::from_str(it).ok()).any(|it| specifiers.contains(&it))
    });
    !file.is_yanked && is_in_time && fits
}

fn version_of(filename: &str, package: &str) -> Option<Version> {
    if let Some(wheel) = WheelName::parse(filename) {
        return Version::from_str(&wheel.version).ok();
    }
    let stem = [".tar.gz", ".zip"].iter().find_map(|end| filename.strip_suffix(end))?;
    let (name, version) = stem.rsplit_once('-')?;
    (normalised(name) == package).then(|| Version::from_str(version).ok()).flatten()
}

fn with_date(version: &Version, files: Option<&Release<'_>>) -> String {
    match files.and_then(uploaded).and_then(|time| time.split('T').next()) {
        Some(day) => format!("{version} of {day}"),
        None => version.to_string(),
    }
}

fn uploaded<'a>(files: &Release<'a>) -> Option<&'a str> {
    files.iter().filter_map(|file| file.uploaded.as_deref()).min()
}

#[expect(clippy::cast_precision_loss, reason = "seconds, far below what a double holds exactly")]
fn days_between(one: &str, other: &str) -> Option<f64> {
    let second = |text: &str| text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
    Some((second(other)? - second(one)?) as f64 / (24.0 * 3600.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::pylock::Sources;
    use crate::platform::{Architecture, MajorMinor, Runtime};

    fn request(requirements: &[&str]) -> PythonRequest {
        PythonRequest {
            image: "test".to_owned(),
            requirements: requirements.iter().map(|&it| it.to_owned()).collect(),
            overrides: Vec::new(),
            sources: Sources::default(),
            runtime: Runtime {
                architecture: Architecture::Amd64,
                glibc: MajorMinor { major: 2, minor: 36 },
                python: MajorMinor { major: 3, minor: 12 },
            },
        }
    }

    fn file(filename: &str, uploaded: &str) -> IndexFile {
        IndexFile {
            filename: filename.to_owned(),
            uploaded: (!uploaded.is_empty()).then(|| format!("{uploaded}T12:00:00Z")),
            ..IndexFile::default()
        }
    }

    fn said(requirement: &str, locked: &str, files: &[IndexFile]) -> Option<String> {
        let request = request(&[requirement]);
        let wanted = Wanted::of(&request);
        let specifiers = wanted.0.get("x").cloned().flatten();
        doubt(&request, "x", &locked.parse().unwrap(), specifiers.as_ref(), files)
    }

    /// The files of deepspeed on PyPI on 30 November 2026, in short: source archives alone since 2020,
    /// but for wheels for Windows.
    #[test]
    fn a_fall_back_to_a_release_of_years_ago_is_told_with_its_reason() {
        let files = [
            file("x-0.3.1.dev5-py3-none-any.whl", "2020-10-29"),
            file("x-0.16.5-cp312-cp312-win_amd64.whl", "2025-03-27"),
            file("x-0.19.8.tar.gz", "2026-11-02"),
        ];
        insta::assert_snapshot!(said("x", "0.3.1.dev5", &files).unwrap(), @"x 0.3.1.dev5 of 2020-10-29 is locked, a pre-release that nothing asks for, and not 0.19.8 of 2026-11-02: that has no wheel, only a source archive");
        insta::assert_snapshot!(said("x<0.19", "0.3.1.dev5", &files).unwrap(), @"x 0.3.1.dev5 of 2020-10-29 is locked, a pre-release that nothing asks for, and not 0.16.5 of 2025-03-27: no wheel of x 0.16.5 runs on Python 3.12 with glibc 2.36 (x86_64)");
        // Whoever asks for it gets what they asked for.
        assert_eq!(said("x==0.3.1.dev5", "0.3.1.dev5", &files), None);
    }

    #[test]
    fn what_something_else_keeps_back_is_told_from_a_year_on() {
        let wheel = |version, uploaded| file(&format!("x-{version}-py3-none-any.whl"), uploaded);
        let files =
            [wheel("1.0", "2023-01-01"), wheel("1.9", "2026-02-01"), wheel("2.0", "2026-11-01")];
        insta::assert_snapshot!(said("x", "1.0", &files).unwrap(), @"x 1.0 of 2023-01-01 is locked, and not 2.0 of 2026-11-01: what else is required doesn't go with that");
        for (requirement, locked) in [("x", "1.9"), ("x", "2.0"), ("x<2", "1.9"), ("x==1.0", "1.0")]
        {
            assert_eq!(said(requirement, locked, &files), None, "{requirement}: {locked}");
        }
        let mut yanked = files.clone();
        yanked[1].is_yanked = true;
        yanked[2].requires_python = Some(">=3.13".to_owned());
        assert_eq!(said("x", "1.0", &yanked), None);
        // An index that doesn't tell times.
        assert_eq!(said("x", "1.0", &[wheel("1.0", ""), wheel("2.0", "")]), None);
    }

    #[test]
    fn a_pre_release_is_told_only_to_who_did_not_ask_for_it() {
        let files = [file("x-1.0b1-py3-none-any.whl", "2026-01-01")];
        insta::assert_snapshot!(said("x", "1.0b1", &files).unwrap(), @"x 1.0b1 of 2026-01-01 is locked, a pre-release that nothing asks for: it has no other release");
        assert_eq!(said("x>=1.0b0", "1.0b1", &files), None);
        // Of OpenTelemetry's there are nothing but such, and what needs them asks for them.
        assert_eq!(said("y", "1.0b1", &files), None);
    }
}
