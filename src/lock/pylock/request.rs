//! What an image asks of Python packages: its requirements, checked and in one canonical form.

use std::collections::BTreeSet;
use std::str::FromStr as _;

use pep508_rs::{Requirement, VerbatimUrl, VersionOrUrl};

use super::sources::Sources;
use crate::platform::Runtime;
use crate::spec::normalised;

/// The question that a pylock file answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonRequest {
    /// The image's name, for messages only.
    pub image: String,
    /// Requirements as written in the image's file (PEP 508).
    pub requirements: Vec<String>,
    /// Requirements that replace whatever any package asks of the same name.
    pub overrides: Vec<String>,
    /// Where they are looked for, and as of when.
    pub sources: Sources,
    /// What the wheels must run on.
    pub runtime: Runtime,
}

impl PythonRequest {
    /// The digest that a pylock file keeps of the request it answers: BLAKE3, hexadecimal.
    ///
    /// Order, spelling and white space of the requirements do not count.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut field = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        field("goatbuild python request 1");
        field(self.runtime.architecture.name());
        field(&self.runtime.glibc.to_string());
        field(&self.runtime.python.to_string());
        for (label, requirements) in
            [("requirements", &self.requirements), ("overrides", &self.overrides)]
        {
            let canonical: BTreeSet<String> =
                requirements.iter().map(|requirement| canonical(requirement)).collect();
            field(label);
            field(&canonical.len().to_string());
            for requirement in &canonical {
                field(requirement);
            }
        }
        self.sources.fields().iter().for_each(|text| field(text));
        hasher.finalize().to_hex().to_string()
    }
}

/// Checks one requirement; the error says in words what is wrong and what to write instead.
///
/// A name with extras, versions and markers is fine, and so is `name @ https://…/file.whl`, since
/// its bytes can be locked. Version control, source archives and local paths cannot be.
pub fn validate_requirement(text: &str) -> Result<(), String> {
    let requirement = Requirement::<VerbatimUrl>::from_str(text).map_err(|error| {
        let reason = error.to_string();
        // What follows the first line repeats the input with a caret under it.
        reason.lines().next().unwrap_or(&reason).to_owned()
    })?;
    let Some(VersionOrUrl::Url(url)) = &requirement.version_or_url else { return Ok(()) };
    let url = url.to_string();
    let file = url.split(['#', '?']).next().unwrap_or(&url);
    if url.starts_with("https://") && file.strip_suffix(".whl").is_some() {
        return Ok(());
    }
    Err(format!(
        "{url} cannot be locked by hash: write `{name}==VERSION`, or `{name} @ https://….whl`",
        name = requirement.name
    ))
}

/// One requirement in the form that is hashed. What cannot be read stands for itself.
fn canonical(text: &str) -> String {
    let Ok(requirement) = Requirement::<VerbatimUrl>::from_str(text) else {
        return text.trim().to_owned();
    };
    let extras: BTreeSet<String> =
        requirement.extras.iter().map(|extra| normalised(extra.as_ref())).collect();
    let wanted = match &requirement.version_or_url {
        None => String::new(),
        Some(VersionOrUrl::Url(url)) => format!(" @ {url}"),
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => {
            let sorted: BTreeSet<String> = specifiers.iter().map(ToString::to_string).collect();
            sorted.into_iter().collect::<Vec<_>>().join(",")
        }
    };
    let marker = requirement.marker.try_to_string().unwrap_or_default();
    let extras = extras.into_iter().collect::<Vec<_>>().join(",");
    format!("{}[{extras}]{wanted};{marker}", normalised(requirement.name.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{Architecture, MajorMinor};
    use crate::spec::PackageIndex;

    fn request(requirements: &[&str]) -> PythonRequest {
        PythonRequest {
            image: "test".to_owned(),
            requirements: requirements.iter().map(|&text| text.to_owned()).collect(),
            overrides: Vec::new(),
            sources: Sources::default(),
            runtime: Runtime {
                architecture: Architecture::Amd64,
                glibc: MajorMinor { major: 2, minor: 36 },
                python: MajorMinor { major: 3, minor: 11 },
            },
        }
    }

    #[test]
    fn order_and_spelling_do_not_change_the_digest() {
        let one = request(&["mlx-lm", "Transformers[torch,Sentencepiece] >=4.45, <5.0"]);
        let other = request(&["transformers[sentencepiece,torch]<5.0,>=4.45", "mlx_lm"]);
        assert_eq!(one.digest(), other.digest());
    }

    #[test]
    fn versions_runtime_and_overrides_change_the_digest() {
        let base = request(&["mlx-lm"]);
        let mut newer = base.clone();
        newer.runtime.glibc.minor = 39;
        let mut overridden = base.clone();
        overridden.overrides.push("mlx-lm".to_owned());
        let index = |url: &str, packages: &[&str]| PackageIndex {
            url: url.to_owned(),
            packages: packages.iter().map(|&it| it.to_owned()).collect(),
        };
        let (mut older, mut elsewhere, mut another) = (base.clone(), base.clone(), base.clone());
        older.sources.as_of = Some("2025-05-11T00:00:00Z".to_owned());
        elsewhere.sources.indexes = vec![index("https://e.org/a", &["mlx"])];
        another.sources.indexes = vec![index("https://e.org/a", &["mlx", "mlx-lm"])];
        let digests: BTreeSet<String> = [
            base,
            newer,
            overridden,
            older,
            elsewhere,
            another,
            request(&["mlx-lm>=0.1"]),
            request(&[]),
        ]
        .iter()
        .map(PythonRequest::digest)
        .collect();
        assert_eq!(digests.len(), 8);
    }

    /// Computed by the version before `index` and `as-of`: locks of then answer what they answered.
    #[test]
    fn what_sets_neither_index_nor_time_keeps_its_digest() {
        assert_eq!(
            request(&["mlx-lm"]).digest(),
            "bc3d46f66f6b1369889695e4c9864e7bf105fe13505952306103380429715c60"
        );
    }

    #[test]
    fn only_what_can_be_locked_is_accepted() {
        for good in [
            "vllm==0.13.0",
            "mlx[cpu]",
            "numpy<3; python_version > '3.8'",
            "torch @ https://download.pytorch.org/whl/torch-2.9.1%2Bcpu-cp311-cp311-linux_x86_64.whl",
        ] {
            assert_eq!(validate_requirement(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "-r requirements.txt",
            "./local",
            "vllm=0.13",
            "idna\n-r other.txt",
            "idna six",
            "vllm @ git+https://github.com/vllm-project/vllm",
            "x @ file:///tmp/x-1-py3-none-any.whl",
            "x @ https://example.org/x-1.tar.gz",
        ] {
            assert!(validate_requirement(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_normalized() {
        assert_eq!(normalised("Foo__Bar.-baz"), "foo-bar-baz");
    }
}
