//! The network side: an index and packages, from whichever mirror has them.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::deb::xz;
use super::index::Suite;
use super::release::{self, ARCHIVE_KEYS, Release};
use super::{DebianError, DebianRequest, LockedDebian, LockedPackage, Mirrors, solve, version};
use crate::blocking::blocking;
use crate::digest::Digest;
use crate::event::Reporter;
use crate::fetch::{Expected, FetchError, Fetcher, without_credentials};
use crate::platform::MajorMinor;

/// A release file is some 150 kB.
const RELEASE_LIMIT: u64 = 16 << 20;
/// Bookworm's inflated index is 50 MB.
const INDEX_LIMIT: u64 = 256 << 20;
/// How many packages are fetched at a time.
const PARALLEL: usize = 4;

/// Locks what an image asks for against the suite as it is now.
///
/// Packages of `previous` are kept where a dependency leaves a choice. A suite has one version of
/// each package, so that no older version can be kept.
pub async fn resolve(
    fetcher: &Fetcher,
    mirrors: &Mirrors,
    request: &DebianRequest,
    previous: Option<&LockedDebian>,
    reporter: &Reporter,
) -> Result<LockedDebian, DebianError> {
    let suite = &request.suite;
    if suite.is_empty() || !suite.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(DebianError::Index {
            suite: suite.clone(),
            reason: "a suite is named by letters, digits and dashes, such as bookworm".into(),
        });
    }
    let now = Timestamp::now();
    let roots = index_roots(mirrors, previous, now);
    reporter.message(format!("index of {suite}"));
    let previous = previous.filter(|previous| previous.suite == *suite);
    let locked_at = previous.map(|previous| previous.snapshot.as_str());
    let (release, text) = index(fetcher, &roots, request, now, locked_at, reporter).await?;
    reporter.check()?;
    let unusable = |reason| DebianError::Index { suite: suite.clone(), reason };
    let packages = Suite::parse(&text, request.architecture.name()).map_err(unusable)?;
    let pinned: BTreeSet<&str> = previous
        .into_iter()
        .flat_map(|previous| previous.packages.iter().map(|package| package.name.as_str()))
        .collect();
    let chosen = solve::solve(&packages, request, &pinned)?;
    let major_minor = |name: &str| {
        let version = version::upstream(chosen.get(name)?.version);
        let mut parts = version.split(|c: char| !c.is_ascii_digit());
        let major = parts.next()?.parse().ok()?;
        Some(MajorMinor { major, minor: parts.next()?.parse().ok()? })
    };
    Ok(LockedDebian {
        suite: release.codename,
        layout: request.layout,
        architecture: request.architecture,
        snapshot: release::snapshot_after(release.date),
        glibc: major_minor("libc6")
            .ok_or_else(|| unusable("libc6 has no version like 2.36".into()))?,
        python: major_minor("python3"),
        packages: chosen
            .values()
            .map(|package| LockedPackage {
                name: package.name.to_owned(),
                version: package.version.to_owned(),
                path: package.path.to_owned(),
                size: package.size,
                sha256: package.sha256,
            })
            .collect(),
    })
}

/// Where an index may come from: the pool, the configured mirror, the newest known snapshot.
fn index_roots(mirrors: &Mirrors, previous: Option<&LockedDebian>, now: Timestamp) -> Vec<String> {
    let snapshot = mirrors.snapshot.as_ref().map(|snapshot| {
        let time = previous.map_or_else(|| release::snapshot_at(now), |it| it.snapshot.clone());
        format!("{}/{time}", trimmed(snapshot))
    });
    let mut roots = vec![trimmed(&mirrors.pool).to_owned()];
    roots.extend(mirrors.mirror.as_deref().map(trimmed).map(str::to_owned));
    roots.extend(snapshot);
    roots
}

fn trimmed(url: &str) -> &str {
    url.trim_end_matches('/')
}

/// The verified release file and the inflated index, from the first mirror that has both.
async fn index(
    fetcher: &Fetcher,
    roots: &[String],
    request: &DebianRequest,
    now: Timestamp,
    locked_at: Option<&str>,
    reporter: &Reporter,
) -> Result<(Release, String), DebianError> {
    let mut tried = Vec::new();
    let mut refused = None;
    for root in roots {
        match index_of(fetcher, root, request, now, locked_at).await {
            Ok(found) => return Ok(found),
            Err(DebianError::Fetch(
                error @ (FetchError::Offline { .. } | FetchError::Cancelled(_)),
            )) => {
                return Err(error.into());
            }
            Err(error) => {
                reporter.log(format!("{}: {error}", without_credentials(root)));
                tried.push(error.to_string());
                // A mirror that was reached and is wrong says more than one that was not reached.
                if !matches!(error, DebianError::Fetch(_)) {
                    refused = refused.or(Some(error));
                }
            }
        }
    }
    Err(refused.unwrap_or_else(|| DebianError::NoIndex { suite: request.suite.clone(), tried }))
}

async fn index_of(
    fetcher: &Fetcher,
    root: &str,
    request: &DebianRequest,
    now: Timestamp,
    locked_at: Option<&str>,
) -> Result<(Release, String), DebianError> {
    let suite = &request.suite;
    let base = format!("{root}/dists/{suite}");
    let signed = fetcher.bytes(&format!("{base}/InRelease"), None, RELEASE_LIMIT).await?;
    let wanted = format!("main/binary-{}/Packages.xz", request.architecture.name());
    let release = release::verified(&signed, ARCHIVE_KEYS, suite, &wanted, now)?;
    let unusable = |reason: String| DebianError::Index { suite: suite.clone(), reason };
    // An old release file is signed as well as a new one: a mirror may not lead back to old holes.
    let at = release::snapshot_after(release.date);
    if locked_at.is_some_and(|locked_at| at.as_str() < locked_at) {
        let root = without_credentials(root);
        return Err(unusable(format!("{root} is older than the lock")));
    }
    let directory = wanted.trim_end_matches("Packages.xz");
    let by_hash = format!("{base}/{directory}by-hash/SHA256/{}", release.index.sha256.hex());
    let by_name = format!("{base}/{wanted}");
    let packed = if release.by_hash {
        match fetcher.bytes(&by_hash, None, release.index.size).await {
            // Old snapshots lack the directory.
            Err(FetchError::Gone { .. }) => {
                fetcher.bytes(&by_name, None, release.index.size).await?
            }
            other => other?,
        }
    } else {
        fetcher.bytes(&by_name, None, release.index.size).await?
    };
    if Digest::of(&packed) != release.index.sha256 {
        let shown = without_credentials(&by_name);
        return Err(unusable(format!("{shown} is not the file that the release file names")));
    }
    let inflated = blocking(move || Ok::<_, DebianError>(inflated(&packed, INDEX_LIMIT)));
    let text = inflated.await?.map_err(|error| {
        let shown = without_credentials(&by_name);
        unusable(format!("{shown} cannot be inflated: {error}"))
    })?;
    Ok((release, text))
}

/// An index, unpacked; an error once it is longer than any.
fn inflated(packed: &[u8], limit: u64) -> io::Result<String> {
    let mut text = String::new();
    xz(packed)?.take(limit + 1).read_to_string(&mut text)?;
    if text.len() as u64 <= limit {
        return Ok(text);
    }
    Err(io::Error::other(format!("it is larger than {} MiB, more than any index", limit >> 20)))
}

/// Fetches all locked packages into a directory, each under its SHA-256, in the lock's order.
///
/// A file that is there is not fetched again: it got its name only after it was verified.
pub async fn fetch_packages(
    fetcher: &Fetcher,
    mirrors: &Mirrors,
    locked: &LockedDebian,
    into: &Path,
    reporter: &Reporter,
) -> Result<Vec<PathBuf>, DebianError> {
    tokio::fs::create_dir_all(into)
        .await
        .map_err(DebianError::io(format!("creating {}", into.display())))?;
    let (there, missing): (Vec<_>, Vec<_>) =
        locked.packages.iter().partition(|package| into.join(package.sha256.hex()).exists());
    let size = |packages: &[&LockedPackage]| packages.iter().map(|package| package.size).sum();
    reporter.expect(size(&missing));
    reporter.reused(size(&there));
    // Boxed: a closure over borrowed packages would keep the caller's future from being `Send`.
    let mut downloads = Vec::with_capacity(locked.packages.len());
    for package in &locked.packages {
        let sources = sources(mirrors, locked, package);
        downloads.push(fetch_package(fetcher, sources, package, into, reporter).boxed());
    }
    stream::iter(downloads).buffered(PARALLEL).try_collect().await
}

/// The URLs of a locked package, the first to be asked first.
pub(super) fn sources(
    mirrors: &Mirrors,
    locked: &LockedDebian,
    package: &LockedPackage,
) -> Vec<String> {
    let path = &package.path;
    let mut sources = vec![format!("{}/{path}", trimmed(&mirrors.pool))];
    if let Some(snapshot) = &mirrors.snapshot {
        sources.push(format!("{}/{}/{path}", trimmed(snapshot), locked.snapshot));
    }
    sources.extend(mirrors.mirror.as_ref().map(|mirror| format!("{}/{path}", trimmed(mirror))));
    sources
}

async fn fetch_package(
    fetcher: &Fetcher,
    sources: Vec<String>,
    package: &LockedPackage,
    into: &Path,
    reporter: &Reporter,
) -> Result<PathBuf, DebianError> {
    let to = into.join(package.sha256.hex());
    if to.exists() {
        return Ok(to);
    }
    let expected = Expected { size: Some(package.size), sha256: package.sha256 };
    let mut tried = Vec::new();
    let mut gone = 0;
    let mut superseded = false;
    for source in &sources {
        match fetcher
            .file(&package.name, std::slice::from_ref(source), &expected, &to, reporter)
            .await
        {
            Ok(_) => return Ok(to),
            Err(
                error @ (FetchError::Offline { .. }
                | FetchError::Write { .. }
                | FetchError::Cancelled(_)),
            ) => return Err(error.into()),
            Err(error) => {
                let is_gone = matches!(error, FetchError::Gone { .. });
                // The pool is asked first.
                superseded |= is_gone && tried.is_empty();
                gone += usize::from(is_gone);
                tried.push(error.to_string());
            }
        }
    }
    let (name, version) = (package.name.clone(), package.version.clone());
    Err(if gone == sources.len() {
        let sources = sources.iter().map(|source| without_credentials(source)).collect();
        DebianError::Gone { package: name, version, sources }
    } else {
        DebianError::Unavailable { package: name, version, superseded, tried }
    })
}
