//! The project of most tests: one model, `tiny`, of the local target.
//!
//! Its image is built once per checkout, under `target/peers/fixture-…`, from real Debian packages;
//! each project gets hard links to the blobs, which never change once they are written.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use goatbuild::lock::LockFile;

use super::{Place, Project};
use crate::support::{installed, peers};

/// The files of the project, before a test edits any.
const FILES: [(&str, &str); 5] = [
    ("goatbuild.toml", include_str!("../fixture/goatbuild.toml")),
    ("images/tiny.toml", include_str!("../fixture/images/tiny.toml")),
    ("specs/tiny.toml", include_str!("../fixture/specs/tiny.toml")),
    ("litellm.yaml", include_str!("../fixture/litellm.yaml")),
    ("model/server.py", include_str!("../fixture/model/server.py")),
];

/// What of `cache/` a project starts with, so that building takes no time: none of it says anything
/// of what is served.
const CACHED: [&str; 5] =
    ["cache/debs", "cache/wheels", "cache/tools", "cache/oci", "cache/state.db"];

/// The directory of the project whose image is built; the reason when it can't be.
fn fixture() -> Result<&'static Path, &'static str> {
    static FIXTURE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let fixture = FIXTURE.get_or_init(|| {
        let image = include_str!("../fixture/images/tiny.toml");
        let name = format!("fixture-3-{}", &blake3::hash(image.as_bytes()).to_hex()[..12]);
        let directory = peers::directory().join(&name);
        fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let lock = File::create(directory.with_extension("lock")).expect("a lock file");
        lock.lock().expect("the fixture's lock");
        // Nothing runs when it is there already, unless this goatbuild builds otherwise.
        // It has a uv of its own, which all projects get.
        let path = ("PATH".to_owned(), installed::bare_path().to_owned());
        let mut template = Project::at(Place::Kept(directory.join("project")), &FILES);
        template.variables.push(path);
        template.write_files();
        fs::create_dir_all(directory.join("roots")).expect("a directory for roots");
        let built = template.run("apply --only image:tiny --json");
        if built.code != 0 {
            let text = format!("{}{}", built.stdout, built.stderr);
            assert!(wants_network(&text), "no fixture: {text}");
            return Err(text);
        }
        let mut roots = fs::read_dir(directory.join("roots")).expect("a directory").flatten();
        if !roots.any(|root| root.file_name().to_string_lossy().starts_with("sha256")) {
            let project = Project::from(&directory, &CACHED);
            project.share_roots(&directory);
            assert_eq!(project.run("apply").code, 0, "the fixture's image does not serve");
        }
        Ok(directory)
    });
    fixture.as_deref().map_err(String::as_str)
}

/// Whether a command failed for want of a network, and so for no fault of its own.
pub(crate) fn wants_network(text: &str) -> bool {
    let lost = ["could not be fetched", "Failed to fetch", "goatbuild::fetch::network"];
    lost.iter().any(|words| text.contains(words))
}

/// The first of these: what is only downloaded.
const DOWNLOADED: usize = 3;

impl Project {
    /// A project whose image is built and whose model was never deployed.
    ///
    /// `None` when the image can't be had, for want of a network say; the test's name and the reason
    /// then stand on stderr, and the test should return.
    pub(crate) fn new() -> Option<Self> {
        let fixture = had()?;
        let project = Self::from(fixture, &CACHED);
        project.share_roots(fixture);
        Some(project)
    }

    /// The same, and nothing is built or unpacked: all is locked and downloaded.
    pub(crate) fn downloaded() -> Option<Self> {
        let project = Self::from(had()?, &CACHED[..DOWNLOADED]);
        let lock = project.read("goatbuild.lock");
        let mut lock = LockFile::parse("goatbuild.lock", &lock).expect("a lock");
        lock.built.clear();
        project.write("goatbuild.lock", &lock.render());
        Some(project)
    }

    /// A project that was applied once.
    pub(crate) fn applied() -> Option<Self> {
        let project = Self::new()?;
        project.apply("").ran();
        Some(project)
    }

    /// Only what a user writes: nothing is locked.
    pub(crate) fn written() -> Self {
        fs::create_dir_all(peers::directory()).expect("a directory");
        let directory = tempfile::Builder::new().prefix("goatbuild-").tempdir_in(
            // On the same file system as the fixture: blobs are linked.
            peers::directory(),
        );
        let place = Place::Temporary(directory.expect("a directory"), "project".to_owned());
        let project = Self::at(place, &FILES);
        project.write_files();
        fs::create_dir_all(project.state()).expect("a state directory");
        project
    }

    /// A file as the fixture has it, which nobody disturbed.
    pub(crate) fn undisturbed(path: &str) -> String {
        let fixture = fixture().expect("it is here");
        fs::read_to_string(fixture.join("project").join(path)).expect("the fixture has it")
    }

    fn from(fixture: &Path, cached: &[&str]) -> Self {
        let project = Self::written();
        let template = fixture.join("project");
        for file in ["goatbuild.lock", "images/tiny.pylock.toml"] {
            fs::copy(template.join(file), project.path(file)).expect("a lock");
        }
        for name in cached {
            link(&template.join(name), &project.path(name));
        }
        project
    }

    fn share_roots(&self, fixture: &Path) {
        std::os::unix::fs::symlink(fixture.join("roots"), self.state().join("roots"))
            .expect("a link to the flattened roots");
    }

    fn write_files(&self) {
        for (path, text) in FILES {
            self.write(path, text);
        }
    }
}

/// The fixture, or why it isn't there, said aloud.
fn had() -> Option<&'static Path> {
    fixture().map_err(|reason| peers::skipped("the fixture's image", reason)).ok()
}

/// Links files, and copies those that are rewritten in place.
fn link(from: &Path, to: &Path) {
    let Ok(metadata) = fs::symlink_metadata(from) else { return };
    fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
    if metadata.is_dir() {
        fs::create_dir_all(to).expect("a directory");
        for entry in fs::read_dir(from).expect("a directory") {
            let name = entry.expect("an entry").file_name();
            link(&from.join(&name), &to.join(&name));
        }
    } else if to.extension().is_some_and(|extension| extension == "db" || extension == "json") {
        fs::copy(from, to).expect("a copy");
    } else {
        fs::hard_link(from, to).expect("a link");
    }
}
