//! A project whose base is on a double of a registry.

use std::fs;

use goatbuild::fetch::sha256_of;
use goatbuild::oci::LayerRef;
use goatbuild::platform::Architecture;
use serde_json::json;

use super::support::double::Content;
use super::support::peers;
use super::support::project::{Project, Ran};
use super::support::registry::Bases;
use super::support::registry_double::{Door, REPOSITORY, RegistryDouble};
use super::{configured, forget, image_file};

/// Bytes of the larger layer's one file.
const LARGE: usize = 300_000;

/// A project whose base is on a double of a registry, and small: nobody looks for a Python in it.
pub(crate) struct Faulty {
    pub(crate) project: Project,
    pub(crate) bases: Bases,
    pub(crate) double: RegistryDouble,
    /// Of the base's manifest.
    pub(crate) digest: String,
    pub(crate) small: LayerRef,
    pub(crate) large: LayerRef,
}

impl Faulty {
    /// `None`, loudly, when the fixture's image can't be had.
    pub(crate) fn new(door: Door) -> Option<Self> {
        let mut project = Project::new()?;
        forget(&project);
        let bases = Bases::new(&peers::directory());
        let small = bases.layer(&[("etc/small", "small")]);
        let noise = Content::noise(7, LARGE).bytes();
        let noise: String = noise.iter().map(|byte| char::from(b' ' + byte % 64)).collect();
        let large = bases.layer(&[("etc/large", &noise)]);
        let layers = vec![small.clone(), large.clone()];
        let digest = bases.image("1", Architecture::Amd64, layers, &[]);
        let double = RegistryDouble::start(&bases.path(), door);
        project.variable("GOATBUILD_HTTP_ATTEMPTS", "2");
        project.variable("GOATBUILD_HTTP_TIMEOUT", "5");
        // Not the user's own.
        configured(&mut project, &json!({}));
        let faulty = Self { project, bases, double, digest, small, large };
        faulty.base(&format!("@{}", faulty.digest));
        Some(faulty)
    }

    /// Has the base be what this stands for: `:tag` or `@digest`.
    pub(crate) fn base(&self, name: &str) {
        let base = format!("{}/{REPOSITORY}{name}", self.double.host);
        // With both written down, nothing is looked for in the base.
        let more = "python = \"3.11\"\nglibc = \"2.36\"\n";
        self.project.write("images/tiny.toml", &image_file(&base, more));
    }

    /// Pulls the base and does nothing else.
    pub(crate) fn pull(&self) -> Ran {
        self.project.run("apply --only base:tiny")
    }

    /// Pulls it after what went wrong is mended, and fails the test unless nothing came twice.
    #[track_caller]
    pub(crate) fn pull_at_last(&self) {
        self.double.clear_faults();
        self.pull().exits(0);
        self.intact();
        for layer in [&self.small, &self.large] {
            let digest = layer.digest.to_string();
            assert!(self.has(&digest), "{digest} is not there");
            assert_eq!(self.double.sent(&digest), layer.size, "{:?}", self.double.requests());
        }
        self.double.forget_requests();
        self.pull().exits(0);
        assert_eq!(self.double.requests().len(), 0, "it is there already");
    }

    /// The digest of the smaller layer.
    pub(crate) fn small(&self) -> String {
        self.small.digest.to_string()
    }

    /// The digest of the larger layer.
    pub(crate) fn large(&self) -> String {
        self.large.digest.to_string()
    }

    pub(crate) fn has(&self, digest: &str) -> bool {
        let digits = digest.trim_start_matches("sha256:");
        self.project.root().join("cache/oci/blobs/sha256").join(digits).exists()
    }

    /// Fails the test if a file has a name that its bytes don't earn; says whether any bytes of the
    /// large layer are kept.
    #[track_caller]
    pub(crate) fn intact(&self) -> bool {
        let blobs = self.project.root().join("cache/oci/blobs/sha256");
        for entry in fs::read_dir(blobs).into_iter().flatten().flatten() {
            let found = sha256_of(&mut fs::File::open(entry.path()).expect("a blob"));
            assert_eq!(found.expect("its bytes").hex(), *entry.file_name().to_string_lossy());
        }
        let bases = fs::read_dir(self.project.root().join("cache/bases")).into_iter().flatten();
        let names = bases.flatten().map(|entry| entry.file_name().into_string().expect("a name"));
        let (done, half): (Vec<_>, Vec<_>) =
            names.partition(|name| name.strip_suffix(".json").is_some());
        assert!(done.len() <= 1, "{done:?}");
        // What else was on its way goes on from there.
        assert!(half.iter().all(|name| name.strip_suffix(".part").is_some()), "{half:?}");
        half.contains(&format!("{}.part", self.large.digest.hex()))
    }
}
