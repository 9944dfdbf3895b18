//! Packages that nobody here wrote, with the backends that most are built by: pip builds the same wheels
//! from the same sources with the same versions of what builds them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use goatbuild::lock::LockFile;
use goatbuild::step::{Fact, StepId};

use super::applied;
use crate::support::peers::{self, skipped};
use crate::support::project::{Project, ran};

/// What builds them, with what that needs.
const BACKENDS: [&str; 9] = [
    "flit-core==3.12.0",
    "hatchling==1.27.0",
    "packaging==25.0",
    "pathspec==0.12.1",
    "pip==25.3",
    "pluggy==1.6.0",
    "setuptools==80.9.0",
    "trove-classifiers==2025.9.11.17",
    "wheel==0.45.1",
];

/// Packages by what they are called in an index, and what they say of their build requirements with
/// what they shall say: only pinned versions are the same on both sides. One builds itself.
const PACKAGES: [(&str, &str, &str, &str); 4] = [
    ("tomli", "2.2.1", "\"flit_core>=3.2.0,<4\"", "\"flit_core==3.12.0\""),
    ("lark", "1.2.2", "\"setuptools>=61.2.0\"", "\"setuptools==80.9.0\""),
    (
        "hatch-fancy-pypi-readme",
        "25.1.0",
        "requires = [\"hatchling\"]",
        "requires = [\"hatchling==1.27.0\", \"packaging==25.0\", \"pathspec==0.12.1\", \
         \"pluggy==1.6.0\", \"trove-classifiers==2025.9.11.17\"]",
    ),
    ("poetry-core", "2.1.3", "requires = []", "requires = []"),
];

/// Members and their bytes; pip writes the RECORD in another order, and when is in none of them.
fn content(wheel: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = zip::ZipArchive::new(File::open(wheel).expect("a wheel")).expect("a zip");
    let mut content = BTreeMap::new();
    for at in 0..archive.len() {
        let mut member = archive.by_index(at).expect("a member");
        let name = member.name().expect("UTF-8").into_owned();
        if member.is_file() && !name.ends_with(".dist-info/RECORD") {
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).expect("its bytes");
            content.insert(name, bytes);
        }
    }
    content
}

#[test]
fn pip_builds_the_same_wheels() {
    let Some(venv) = peers::venv("build-backends", &BACKENDS) else { return };
    let Some(project) = Project::new() else { return };
    let python = |words: &[&str]| {
        let mut command = Command::new(venv.join("bin/python"));
        command.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]).args(words);
        command.env("SOURCE_DATE_EPOCH", "315532800").current_dir(project.root());
        ran(&mut command)
    };
    let image = project.read("images/tiny.toml");
    for (name, version, from, to) in PACKAGES {
        let wanted = format!("{name}=={version}");
        let archives = project.path(&format!("archives/{name}"));
        let into = archives.to_str().expect("UTF-8");
        let options = "download --no-deps --no-binary :all: --no-build-isolation --dest";
        let words: Vec<&str> = options.split(' ').chain([into, &wanted]).collect();
        let fetched = python(&words);
        if fetched.code != 0 {
            skipped(&wanted, &fetched.stderr);
            return;
        }
        let archive =
            fs::read_dir(&archives).expect("archives").flatten().next().expect("one").path();
        let inflated = flate2::read::GzDecoder::new(File::open(&archive).expect("an archive"));
        tar::Archive::new(inflated).unpack(project.path("unpacked")).expect("unpacks");
        let file = archive.file_name().expect("a name").to_str().expect("UTF-8");
        let stem = file.strip_suffix(".tar.gz").expect("its ending");
        let directory = format!("unpacked/{stem}");
        project.edit(&format!("{directory}/pyproject.toml"), from, to);
        // pip leaves things behind where it builds.
        let copy = project.path(&format!("copies/{name}"));
        crate::support::project::copy_all(&project.path(&directory), &copy, &[]).expect("copies");
        let wheels = project.path(&format!("theirs/{name}"));
        let options = "wheel --no-deps --no-build-isolation --no-index --wheel-dir";
        let words: Vec<&str> = options
            .split(' ')
            .chain([wheels.to_str().expect("UTF-8"), copy.to_str().expect("UTF-8")])
            .collect();
        python(&words).exits(0);
        let theirs = fs::read_dir(&wheels).expect("wheels").flatten().next().expect("one").path();

        project.write("images/tiny.toml", &format!("{image}local = [\"{directory}\"]\n"));
        let Some(ran) = applied(&project, "") else { return };
        let ran = ran.exits(0);
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("not reproducible"), "{name}");
        let lock =
            LockFile::parse("goatbuild.lock", &project.read("goatbuild.lock")).expect("a lock");
        let facts = &lock.built[&StepId::build("tiny", name)].facts;
        let filename = theirs.file_name().expect("a name").to_str().expect("UTF-8");
        assert_eq!(Fact::WHEEL.text_of(facts), filename);
        let digest = Fact::WHEEL_DIGEST.digest_of(facts).expect("a digest");
        let ours = project.path(&format!("cache/oci/blobs/sha256/{}", digest.hex()));
        let (ours, theirs) = (content(&ours), content(&theirs));
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{name}");
        let differing: Vec<_> = ours.keys().filter(|it| ours.get(*it) != theirs.get(*it)).collect();
        assert!(differing.is_empty(), "{name}: {differing:?}");
    }
}
