//! Where things lie in a project's cache.

use std::path::{Path, PathBuf};

use crate::durable::TEMPORARY;
use crate::leftovers::sweep;
use crate::oci::Layout;
use crate::step::{Fact, Facts, StepError, StepId};

/// What the names begin with of directories that something is built in.
pub const BUILDS: &str = "build-";

/// A project's cache.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache of the project in `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.join("cache") }
    }

    /// The cache itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The layout that images are built in.
    pub fn layout(&self) -> Result<Layout, StepError> {
        Ok(Layout::open(&self.root.join("oci"))?)
    }

    /// Lets each image's name in the layout stand for what its step has made.
    pub fn tag<'a>(
        &self,
        made: impl IntoIterator<Item = (&'a StepId, &'a Facts)>,
    ) -> Result<(), StepError> {
        let layout = self.layout()?;
        let tags = layout.tags()?;
        for (id, facts) in made {
            let Some(digest) = Fact::DIGEST.digest_of(facts) else { continue };
            let is_right = tags.iter().any(|(tag, known)| tag == id.name() && *known == Ok(digest));
            // What a fresh clone knows from the lock alone has no files yet.
            if !is_right && layout.image(digest).is_ok() {
                layout.tag(id.name(), digest)?;
            }
        }
        Ok(())
    }

    /// Where bases are while they are fetched, and what was found in them.
    pub fn bases(&self) -> PathBuf {
        self.root.join("bases")
    }

    /// Debian packages.
    pub fn packages(&self) -> PathBuf {
        self.root.join("debs")
    }

    /// The beginnings of Debian packages, with their scripts.
    pub fn scripts(&self) -> PathBuf {
        self.root.join("scripts")
    }

    /// Standalone Pythons.
    pub fn pythons(&self) -> PathBuf {
        self.root.join("pythons")
    }

    /// Wheels.
    pub fn wheels(&self) -> PathBuf {
        self.root.join("wheels")
    }

    /// What packages of the project's own are built in: bases with what builds them, unpacked.
    pub fn roots(&self) -> PathBuf {
        self.root.join("roots")
    }

    /// Programs that goatbuild runs itself.
    pub fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// Directories that are gone when a command ends.
    pub fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Removes what commands that were killed left half-made.
    pub(super) fn sweep(&self) {
        sweep(&self.root.join("oci/blobs/sha256"), ".part-");
        sweep(&self.root.join("oci"), ".part-");
        sweep(&self.temporary(), "resolve-");
        sweep(&self.temporary(), BUILDS);
        sweep(&self.roots(), BUILDS);
        for tool in std::fs::read_dir(self.tools()).into_iter().flatten().flatten() {
            sweep(&tool.path(), TEMPORARY);
        }
    }
}
