//! Projects that this repository ships, copied into a directory of their own, and such as have nothing.

use std::fs;
use std::io;
use std::path::Path;

use super::{Place, Project};

/// What a commit has of this repository's own project.
const SHIPPED: [&str; 5] = ["goatbuild.toml", "goatbuild.lock", "specs", "images", "dev"];

/// What nobody commits, at the top of an example; it is there where somebody tried it.
const TRIED: [&str; 2] = ["cache", "litellm.yaml"];

impl Project {
    /// What a commit has of an example, in a directory of this name below the copy's own.
    pub(crate) fn of_example(example: &str, name: &str) -> Self {
        Self::of_example_within(&std::env::temp_dir(), example, name)
    }

    /// The same where there is more room.
    pub(crate) fn of_example_within(place: &Path, example: &str, name: &str) -> Self {
        let project = Self::empty_within(place, name);
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example);
        copy_all(&committed, &project.root(), &TRIED).expect("a copy");
        project
    }

    /// This repository's own project, on a machine that knows nothing: of the environment of these
    /// tests, commands get a `PATH`.
    pub(crate) fn shipped() -> Self {
        let project = Self::empty("project").that_knows_nothing();
        let committed = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in SHIPPED {
            let (from, to) = (committed.join(name), project.path(name));
            if from.is_dir() {
                copy_all(&from, &to, &[]).expect("a copy");
            } else {
                fs::copy(from, to).expect("a copy");
            }
        }
        project
    }

    /// A directory of this name in which nothing is.
    pub(crate) fn empty(name: &str) -> Self {
        Self::empty_within(&std::env::temp_dir(), name)
    }

    fn empty_within(place: &Path, name: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("goatbuild-").tempdir_in(place);
        let project = Self::at(Place::Temporary(directory.expect("one"), name.to_owned()), &[]);
        fs::create_dir_all(project.root()).expect("a directory");
        project
    }

    /// Gives commands nothing of the environment of these tests.
    pub(crate) fn that_knows_nothing(mut self) -> Self {
        self.knows_nothing = true;
        let home = self.directory().to_str().expect("UTF-8").to_owned();
        self.variable("HOME", &home);
        self
    }

    /// Whatever tries to go out all the same finds nobody; and the lock stays as it is.
    pub(crate) fn in_ci_without_a_network(mut self) -> Self {
        for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
            self.variable(proxy, "http://127.0.0.1:9");
        }
        self.variable("CI", "true");
        self
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
