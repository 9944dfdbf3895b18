//! `pylock.toml` (PEP 751): reading it, choosing one wheel per package, writing it again.
//!
//! What is committed lists exactly one wheel per package, so that what runs can be read off the
//! file, and stays a file that uv and pip can install from.

mod error;
mod render;
mod request;
mod sources;
mod tags;

use std::collections::BTreeMap;
use std::str::FromStr as _;

use pep508_rs::{MarkerEnvironment, MarkerEnvironmentBuilder, MarkerTree};
use serde::Deserialize;
use serde::de::IgnoredAny;

pub use crate::spec::{PackageIndex, normalised};
pub use error::PylockError;
pub use request::{PythonRequest, validate_requirement};
pub use sources::Sources;
pub use tags::{Misfit, SupportedTags, WheelName};

use crate::digest::Digest;
use crate::platform::Runtime;

/// A `pylock.toml`: only what goatbuild needs; the standard's other fields are passed over.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pylock {
    /// The version of the format; `1.x` is understood.
    pub lock_version: String,
    /// All packages, for all environments that the file covers.
    #[serde(default)]
    pub packages: Vec<Package>,
    #[serde(default)]
    tool: Tool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct Tool {
    goatbuild: Option<Answered>,
}

/// The `[tool.goatbuild]` table: which request the file answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Answered {
    /// [`PythonRequest::digest`] of the request.
    pub request: String,
    /// What the wheels were chosen for.
    pub runtime: Runtime,
}

/// One package at one version.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Package {
    /// The name, normalised by whoever wrote the file.
    pub name: String,
    /// The version; absent for sources whose version is not fixed.
    pub version: Option<String>,
    /// Where the package is needed (PEP 508); everywhere without one.
    pub marker: Option<String>,
    /// Its wheels, in no particular order.
    #[serde(default)]
    pub wheels: Vec<Wheel>,
    /// A direct URL: of a wheel, or of sources.
    pub archive: Option<Wheel>,
    /// The index that it comes from, where that isn't the user's own.
    pub index: Option<String>,
    #[serde(default)]
    tool: PackageTool,
    vcs: Option<IgnoredAny>,
    directory: Option<IgnoredAny>,
}

/// What goatbuild keeps with a package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct PackageTool {
    #[serde(default)]
    goatbuild: Further,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct Further {
    #[serde(default)]
    scripts: Vec<String>,
}

/// One wheel, as the file lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Wheel {
    /// The file name; the last part of `url` without one.
    pub name: Option<String>,
    /// Where it was found.
    pub url: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
    /// Digests in hexadecimal, by algorithm.
    #[serde(default)]
    pub hashes: BTreeMap<String, String>,
}

/// The one wheel of a package that an image gets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockedWheel {
    /// The package's normalised name.
    pub name: String,
    /// The package's version.
    pub version: String,
    /// The file's name.
    pub filename: String,
    /// Where it was found; a mirror may serve it as well.
    pub url: String,
    /// Bytes, where the index says.
    pub size: Option<u64>,
    /// Of its bytes.
    pub sha256: Digest,
    /// Scripts that it gets beside those that it names; older locks say none.
    pub scripts: Vec<String>,
}

impl Pylock {
    /// Reads the text of a `pylock.toml`.
    pub fn parse(text: &str) -> Result<Self, PylockError> {
        let lock: Self = toml::from_str(text)
            .map_err(|error| PylockError::Malformed { reason: error.to_string() })?;
        if lock.lock_version.split('.').next() != Some("1") {
            return Err(PylockError::Version { found: lock.lock_version });
        }
        Ok(lock)
    }

    /// Which request the file answers, when goatbuild wrote it.
    pub fn answered(&self) -> Option<&Answered> {
        self.tool.goatbuild.as_ref()
    }

    /// Whether the file answers this request; if not, it has to be locked anew.
    pub fn answers(&self, request: &PythonRequest) -> bool {
        self.answered().is_some_and(|answered| {
            answered.request == request.digest() && answered.runtime == request.runtime
        })
    }

    /// Chooses exactly one wheel for every package that the runtime needs, sorted by name.
    pub fn choose(&self, runtime: &Runtime) -> Result<Vec<LockedWheel>, PylockError> {
        let supported = SupportedTags::new(runtime);
        let environment = marker_environment(runtime);
        let mut chosen = BTreeMap::new();
        for package in &self.packages {
            if !package.is_needed(&environment)? {
                continue;
            }
            let wheel = package.choose(runtime, &supported)?;
            let version = wheel.version.clone();
            if let Some(first) = chosen.insert(wheel.name.clone(), wheel) {
                return Err(PylockError::Duplicate {
                    package: first.name,
                    first: first.version,
                    second: version,
                });
            }
        }
        Ok(chosen.into_values().collect())
    }

    /// The file that holds just these wheels, as the answer to `request`.
    pub fn of(wheels: &[LockedWheel], request: &PythonRequest) -> Self {
        let mut packages: Vec<Package> = wheels.iter().map(Package::of).collect();
        for package in &mut packages {
            package.index = request.sources.index_of(&package.name).map(str::to_owned);
        }
        packages.sort_by(|one, other| one.name.cmp(&other.name));
        let answered = Answered { request: request.digest(), runtime: request.runtime };
        Self { lock_version: "1.0".to_owned(), packages, tool: Tool { goatbuild: Some(answered) } }
    }
}

impl Package {
    fn of(wheel: &LockedWheel) -> Self {
        let from_url = filename_in(&wheel.url);
        Self {
            name: wheel.name.clone(),
            version: Some(wheel.version.clone()),
            marker: None,
            wheels: vec![Wheel {
                name: (from_url != wheel.filename).then(|| wheel.filename.clone()),
                url: Some(wheel.url.clone()),
                size: wheel.size,
                hashes: BTreeMap::from([("sha256".to_owned(), wheel.sha256.hex())]),
            }],
            archive: None,
            index: None,
            tool: PackageTool { goatbuild: Further { scripts: wheel.scripts.clone() } },
            vcs: None,
            directory: None,
        }
    }

    fn is_needed(&self, environment: &MarkerEnvironment) -> Result<bool, PylockError> {
        let Some(text) = &self.marker else { return Ok(true) };
        let marker = MarkerTree::from_str(text).map_err(|_| PylockError::Marker {
            package: self.name.clone(),
            marker: text.clone(),
        })?;
        Ok(marker.evaluate(environment, &[]))
    }

    fn choose(
        &self,
        runtime: &Runtime,
        supported: &SupportedTags,
    ) -> Result<LockedWheel, PylockError> {
        let not_a_wheel = |kind| PylockError::NotAWheel { package: self.name.clone(), kind };
        if self.vcs.is_some() {
            return Err(not_a_wheel("a version control system"));
        }
        if self.directory.is_some() {
            return Err(not_a_wheel("a local directory"));
        }
        let direct = match &self.archive {
            Some(archive) if archive.filename().strip_suffix(".whl").is_some() => Some(archive),
            Some(_) => return Err(not_a_wheel("a source archive")),
            None => None,
        };
        let wheels = || self.wheels.iter().chain(direct);
        let best = wheels()
            .filter_map(|wheel| {
                let name = WheelName::parse(&wheel.filename())?;
                let rank = supported.rank(&name)?;
                // The file name last, so that no choice depends on the order in the file.
                Some(((rank, std::cmp::Reverse(name.build), wheel.filename()), name.version, wheel))
            })
            .min_by(|(one, ..), (other, ..)| one.cmp(other));
        let Some((_, version, wheel)) = best else {
            let misfit = |name: &str| match WheelName::parse(name) {
                Some(wheel) => supported.misfit(&wheel),
                None => Some(Misfit::BadName),
            };
            return Err(PylockError::NoWheel {
                package: self.name.clone(),
                version: self.version.clone().unwrap_or_default(),
                runtime: *runtime,
                candidates: wheels()
                    .map(Wheel::filename)
                    .filter_map(|name| misfit(&name).map(|misfit| (name, misfit)))
                    .collect(),
            });
        };
        let filename = wheel.filename();
        // A path or `file:` URL would hold on one machine only.
        let url = wheel.url.clone().filter(|url| url.starts_with("http"));
        let url = url.ok_or_else(|| not_a_wheel("a local file"))?;
        let sha256 = wheel.hashes.get("sha256");
        let sha256 = sha256
            .and_then(|digits| Digest::from_hex(&digits.to_lowercase()).ok())
            .ok_or_else(|| PylockError::Unverifiable { filename: filename.clone() })?;
        Ok(LockedWheel {
            name: normalised(&self.name),
            version: self.version.clone().unwrap_or(version),
            filename,
            url,
            size: wheel.size,
            sha256,
            scripts: self.tool.goatbuild.scripts.clone(),
        })
    }
}

impl Wheel {
    /// The file's name, which is the URL's last part unless the lock says otherwise.
    pub fn filename(&self) -> String {
        match (&self.name, &self.url) {
            (Some(name), _) => name.clone(),
            (None, Some(url)) => filename_in(url),
            (None, None) => String::new(),
        }
    }
}

/// Says why none of `filenames`, all of one version of `package`, runs on `runtime`.
///
/// `None` when one does. For answers of an index that a resolver found unusable.
pub fn no_wheel_among(
    package: &str,
    version: &str,
    runtime: &Runtime,
    filenames: &[String],
) -> Option<PylockError> {
    let supported = SupportedTags::new(runtime);
    let mut candidates = Vec::new();
    for filename in filenames.iter().filter(|name| name.strip_suffix(".whl").is_some()) {
        let misfit = match WheelName::parse(filename) {
            Some(wheel) => supported.misfit(&wheel)?,
            None => Misfit::BadName,
        };
        candidates.push((filename.clone(), misfit));
    }
    Some(PylockError::NoWheel {
        package: package.to_owned(),
        version: version.to_owned(),
        runtime: *runtime,
        candidates,
    })
}

/// The last part of a URL's path, with `%2B` and its like decoded.
pub fn filename_in(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let last = path.rsplit('/').next().unwrap_or(path).as_bytes();
    let mut decoded = Vec::with_capacity(last.len());
    let mut at = 0;
    while at < last.len() {
        let code = (last[at] == b'%')
            .then(|| last.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(code.unwrap_or(last[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn marker_environment(runtime: &Runtime) -> MarkerEnvironment {
    let version = runtime.python.to_string();
    let full = format!("{version}.0");
    MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
        implementation_name: "cpython",
        implementation_version: &full,
        os_name: "posix",
        platform_machine: runtime.architecture.machine(),
        platform_python_implementation: "CPython",
        platform_release: "",
        platform_system: "Linux",
        platform_version: "",
        python_full_version: &full,
        python_version: &version,
        sys_platform: "linux",
    })
    .unwrap_or_else(|error| panic!("BUG: {version} is no Python version: {error}"))
}

#[cfg(test)]
mod tests;
