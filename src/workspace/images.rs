//! What images are made of, once locking has settled it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::lock::pylock::LockedWheel;
use crate::platform::Runtime;
use crate::python::PackageSources;
use crate::spec::{ImageName, Package};

/// A package of the project's own, and what it is built with.
#[derive(Debug, Clone)]
pub struct LockedPackage {
    /// What its file says.
    pub package: Arc<Package>,
    /// Its normalised name.
    pub name: String,
    /// Its files.
    pub sources: Arc<PackageSources>,
    /// What builds it.
    pub wheels: Vec<LockedWheel>,
}

/// What an image is made of, all locked.
#[derive(Debug, Clone)]
pub struct LockedParts {
    /// What wheels have to run on.
    pub runtime: Runtime,
    /// The wheels.
    pub wheels: Vec<LockedWheel>,
    /// The project's own packages.
    pub local: Vec<LockedPackage>,
}

/// What the images of a project are made of, as far as a command has settled it.
#[derive(Debug, Default)]
pub struct LockedImages {
    parts: RwLock<BTreeMap<ImageName, Arc<LockedParts>>>,
}

impl LockedImages {
    /// What an image is made of; locking has settled it.
    pub fn parts(&self, image: &ImageName) -> LockedParts {
        let found = self.find(image).unwrap_or_else(|| panic!("BUG: {image} was not locked"));
        LockedParts::clone(&found)
    }

    /// What an image is made of, if locking has settled it.
    pub fn find(&self, image: &ImageName) -> Option<Arc<LockedParts>> {
        self.parts.read().unwrap_or_else(PoisonError::into_inner).get(image).cloned()
    }

    /// Whether locking has settled what an image is made of.
    pub fn has(&self, image: &ImageName) -> bool {
        self.parts.read().unwrap_or_else(PoisonError::into_inner).contains_key(image)
    }

    /// Settles what an image is made of.
    pub fn settle(&self, image: ImageName, parts: LockedParts) {
        self.parts.write().unwrap_or_else(PoisonError::into_inner).insert(image, Arc::new(parts));
    }
}
