//! Projects that this repository ships, copied into a directory of their own.

use std::fs;
use std::io;
use std::path::Path;

use super::{Place, Project};

impl Project {
    /// What a commit has of an example, in a directory of this name below the copy's own.
    pub(crate) fn of_example(example: &str, name: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("goatbuild-").tempdir().expect("one");
        let project = Self::at(Place::Temporary(directory, name.to_owned()), &[]);
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example);
        // Neither is committed; they are there where somebody tried the example.
        copy_all(&committed, &project.root(), &["cache", "litellm.yaml"]).expect("a copy");
        project
    }
}

/// Copies a tree, but for what has one of these names at its top.
pub(crate) fn copy_all(from: &Path, to: &Path, except: &[&str]) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if except.iter().any(|except| name.to_str() == Some(*except)) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &to.join(name), &[])?;
        } else {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}
