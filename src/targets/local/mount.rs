//! A volume, as servers see it.

use crate::spec::Volume;

/// A volume, as the target needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What the project's file calls it.
    pub called: String,
    /// The directory's name among the environment's volumes.
    pub name: String,
    /// The absolute path inside the image.
    pub path: String,
}

impl Mount {
    /// A volume of a project's file, by its name there.
    pub fn of(called: &str, Volume { name, mount }: &Volume) -> Self {
        Self { called: called.to_owned(), name: name.clone(), path: mount.clone() }
    }
}
