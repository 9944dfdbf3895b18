//! Wheel file names and their tags: which wheel runs where, and which is the most specific.
//!
//! The order is that of `packaging.tags`, which pip follows:
//! <https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/>.

use std::collections::HashMap;
use std::fmt;

use crate::platform::{Architecture, MajorMinor, Runtime};

/// A wheel's file name, taken apart: `name-version(-build)?-python-abi-platform.whl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelName {
    /// The distribution's name, as written.
    pub name: String,
    /// The version, as written.
    pub version: String,
    /// The build tag's number and rest; `(0, "")` without one.
    pub build: (u64, String),
    pythons: Vec<String>,
    abis: Vec<String>,
    platforms: Vec<String>,
}

impl WheelName {
    /// Takes a file name apart; `None` when it is not a wheel's.
    pub fn parse(filename: &str) -> Option<Self> {
        let parts: Vec<&str> = filename.strip_suffix(".whl")?.split('-').collect();
        let (build, tags) = match parts.len() {
            5 => ("", &parts[2..]),
            6 => (parts[2], &parts[3..]),
            _ => return None,
        };
        let split = |tag: &str| tag.split('.').map(str::to_owned).collect();
        let digits = build.bytes().take_while(u8::is_ascii_digit).count();
        Some(Self {
            name: parts[0].to_owned(),
            version: parts[1].to_owned(),
            build: (build[..digits].parse().unwrap_or(0), build[digits..].to_owned()),
            pythons: split(tags[0]),
            abis: split(tags[1]),
            platforms: split(tags[2]),
        })
    }
}

/// Every tag that a runtime accepts, with its rank; 0 is the most specific.
#[derive(Debug)]
pub struct SupportedTags {
    runtime: Runtime,
    ranks: HashMap<(String, String, String), usize>,
}

impl SupportedTags {
    /// The tags of a `CPython` on Linux with glibc.
    pub fn new(runtime: &Runtime) -> Self {
        let mut ranks = HashMap::new();
        for tag in tags_of(runtime) {
            let next = ranks.len();
            ranks.entry(tag).or_insert(next);
        }
        Self { runtime: *runtime, ranks }
    }

    /// The best rank among the wheel's tags; `None` when it does not run there.
    pub fn rank(&self, wheel: &WheelName) -> Option<usize> {
        wheel
            .pythons
            .iter()
            .flat_map(|python| wheel.abis.iter().map(move |abi| (python, abi)))
            .flat_map(|(python, abi)| wheel.platforms.iter().map(move |p| (python, abi, p)))
            .filter_map(|(python, abi, platform)| {
                self.ranks.get(&(python.clone(), abi.clone(), platform.clone())).copied()
            })
            .min()
    }

    /// Why a wheel does not run there; `None` when it does.
    pub fn misfit(&self, wheel: &WheelName) -> Option<Misfit> {
        if self.rank(wheel).is_some() {
            return None;
        }
        let machine = self.runtime.architecture.machine();
        let here = |platform: &String| platform == "any" || platform == &format!("linux_{machine}");
        let needed = wheel
            .platforms
            .iter()
            .filter_map(|platform| glibc_of(platform, self.runtime.architecture))
            .min();
        if needed.is_none() && !wheel.platforms.iter().any(here) {
            return Some(Misfit::OtherPlatform(wheel.platforms.join(".")));
        }
        let fits_python = self
            .ranks
            .keys()
            .any(|(python, abi, _)| wheel.pythons.contains(python) && wheel.abis.contains(abi));
        Some(match needed {
            Some(needed) if fits_python => Misfit::NewerGlibc { needed, found: self.runtime.glibc },
            _ => {
                Misfit::OtherPython(format!("{}-{}", wheel.pythons.join("."), wheel.abis.join(".")))
            }
        })
    }
}

/// Why a wheel does not run on a runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// It is for this Python and processor, but for a newer glibc.
    NewerGlibc {
        /// The oldest glibc that it accepts.
        needed: MajorMinor,
        /// The base's glibc.
        found: MajorMinor,
    },
    /// It is for this platform, but for another Python or another ABI: its `python-abi` tag.
    OtherPython(String),
    /// It is for another operating system, C library or processor, whatever its Python: its
    /// platform tag.
    OtherPlatform(String),
    /// Its file name does not follow the standard.
    BadName,
}

impl fmt::Display for Misfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewerGlibc { needed, found } => {
                write!(formatter, "needs glibc {needed}, the base has {found}")
            }
            Self::OtherPython(tag) => write!(formatter, "is for another Python ({tag})"),
            Self::OtherPlatform(tag) => write!(formatter, "is for another platform ({tag})"),
            Self::BadName => write!(formatter, "has no standard wheel file name"),
        }
    }
}

/// The glibc that a platform tag of this architecture asks for.
fn glibc_of(platform: &str, architecture: Architecture) -> Option<MajorMinor> {
    let tag = platform.strip_suffix(architecture.machine())?.strip_suffix('_')?;
    let minor = match tag {
        "manylinux1" => 5,
        "manylinux2010" => 12,
        "manylinux2014" => 17,
        _ => return tag.strip_prefix("manylinux_")?.replace('_', ".").parse().ok(),
    };
    Some(MajorMinor { major: 2, minor })
}

/// Every accepted tag, the most specific first; some occur twice.
fn tags_of(runtime: &Runtime) -> Vec<(String, String, String)> {
    let MajorMinor { major, minor } = runtime.python;
    let platforms = platforms_of(runtime);
    let mut tags = Vec::new();
    let mut on_each_platform = |python: &str, abi: &str| {
        for platform in &platforms {
            tags.push((python.to_owned(), abi.to_owned(), platform.clone()));
        }
    };
    let own = format!("cp{major}{minor}");
    on_each_platform(&own, &own);
    on_each_platform(&own, "abi3");
    on_each_platform(&own, "none");
    for older in (2..minor).rev() {
        on_each_platform(&format!("cp{major}{older}"), "abi3");
    }
    let generic: Vec<String> = [format!("py{major}{minor}"), format!("py{major}")]
        .into_iter()
        .chain((0..minor).rev().map(|older| format!("py{major}{older}")))
        .collect();
    for python in &generic {
        on_each_platform(python, "none");
    }
    for python in std::iter::once(&own).chain(&generic) {
        tags.push((python.clone(), "none".to_owned(), "any".to_owned()));
    }
    tags
}

fn platforms_of(runtime: &Runtime) -> Vec<String> {
    let machine = runtime.architecture.machine();
    // No manylinux tag is older than CentOS 5 (x86_64) or CentOS 7 (aarch64).
    let oldest = match runtime.architecture {
        Architecture::Amd64 => 5,
        Architecture::Arm64 => 17,
    };
    let mut platforms = Vec::new();
    for minor in (oldest..=runtime.glibc.minor).rev() {
        platforms.push(format!("manylinux_2_{minor}_{machine}"));
        let legacy = match minor {
            17 => "manylinux2014",
            12 => "manylinux2010",
            5 => "manylinux1",
            _ => continue,
        };
        platforms.push(format!("{legacy}_{machine}"));
    }
    platforms.push(format!("linux_{machine}"));
    platforms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(glibc: u32, python: u32) -> Runtime {
        Runtime {
            architecture: Architecture::Amd64,
            glibc: MajorMinor { major: 2, minor: glibc },
            python: MajorMinor { major: 3, minor: python },
        }
    }

    #[test]
    fn order_is_that_of_packaging() {
        // `packaging.tags` 26.3: (*cpython_tags((3, 4), ["cp34"], P), *compatible_tags((3, 4),
        // "cp34", P)) with P of glibc 2.6 on x86_64.
        let tags: Vec<String> = tags_of(&runtime(6, 4))
            .into_iter()
            .map(|(python, abi, platform)| format!("{python}-{abi}-{platform}"))
            .collect();
        insta::assert_snapshot!(tags.join("\n"));
    }

    #[test]
    fn misfits_say_what_is_missing() {
        let supported = SupportedTags::new(&runtime(31, 11));
        let misfit = |name: &str| supported.misfit(&WheelName::parse(name).unwrap());
        let glibc = |minor| MajorMinor { major: 2, minor };
        assert_eq!(
            misfit("mlx-0.32.4-cp311-cp311-manylinux_2_35_x86_64.whl"),
            Some(Misfit::NewerGlibc { needed: glibc(35), found: glibc(31) })
        );
        assert_eq!(
            misfit("mlx-0.32.4-cp312-cp312-manylinux_2_28_x86_64.whl"),
            Some(Misfit::OtherPython("cp312-cp312".to_owned()))
        );
        assert_eq!(
            misfit("mlx-0.32.4-cp311-cp311-manylinux_2_28_aarch64.whl"),
            Some(Misfit::OtherPlatform("manylinux_2_28_aarch64".to_owned()))
        );
        assert_eq!(misfit("mlx-0.32.4-cp38-abi3-manylinux2014_x86_64.whl"), None);
    }

    #[test]
    fn file_names_may_carry_a_build_tag() {
        let wheel = WheelName::parse("torch-2.9.1+cpu-2b-cp311-cp311-linux_x86_64.whl").unwrap();
        assert_eq!((wheel.version.as_str(), wheel.build), ("2.9.1+cpu", (2, "b".to_owned())));
        assert_eq!(WheelName::parse("torch-2.9.1.tar.gz"), None);
        assert_eq!(WheelName::parse("torch.whl"), None);
    }
}
