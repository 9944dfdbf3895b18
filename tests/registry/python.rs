//! A Python that is added to a base without one, from a double of where builds are published.
//!
//! The double's archive is laid out as the published ones are, and what is in it is Debian's own
//! Python 3.11: it runs. Its digest can't be the published one, so the test writes its own into the
//! lock, as nobody else may.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use goatbuild::fetch::sha256_of;
use goatbuild::platform::Architecture;

use super::support::double::{Answer, Content, Server};
use super::support::peers;
use super::support::project::Project;
use super::support::registry::Bases;
use super::{debian, forget, image_file, inspect, locked};

/// Where mirrors have the build that is pinned for 3.11, which is what the wheels are locked for.
const PUBLISHED: &str = "/20260814/cpython-3.11.16%2B20260814-x86_64-unknown-linux-gnu-\
                         install_only_stripped.tar.gz";

/// The root of an image with Debian's Python in it.
fn root(project: &Project) -> PathBuf {
    let roots = fs::read_dir(project.state().join("roots")).expect("roots").flatten();
    let mut roots = roots.map(|entry| entry.path().join("usr"));
    roots.find(|usr| usr.join("bin/python3.11").exists()).expect("a root with Python")
}

/// Debian's Python as an archive of python-build-standalone.
fn archive(usr: &Path) -> Vec<u8> {
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(encoder);
    let mut program = File::open(usr.join("bin/python3.11")).expect("a program");
    builder.append_file("python/bin/python3.11", &mut program).expect("an entry");
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_mode(0o777);
    builder.append_link(&mut header, "python/bin/python3", "python3.11").expect("a link");
    library(&mut builder, &usr.join("lib/python3.11"), "python/lib/python3.11");
    builder.into_inner().and_then(flate2::write::GzEncoder::finish).expect("an archive")
}

fn library(builder: &mut tar::Builder<impl Write>, from: &Path, to: &str) {
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        let to = format!("{to}/{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            library(builder, &entry.path(), &to);
        } else if kind.is_file() {
            let mut file = File::open(entry.path()).expect("a file");
            builder.append_file(to, &mut file).expect("an entry");
        }
    }
}

#[test]
fn a_base_without_python_gets_one_that_serves() {
    let Some(mut project) = Project::new() else { return };
    let bases = Bases::new(&peers::directory());
    let layer = debian(&project, &bases);
    let hidden = ["usr/bin/.wh.python3", "usr/bin/.wh.python3.11", "usr/lib/.wh.python3.11"];
    let without = bases.layer(&hidden.map(|path| (path, "")));
    bases.image("bare", Architecture::Amd64, vec![layer, without], &[]);
    forget(&project);
    std::os::unix::fs::symlink(bases.path(), project.root().join("bases")).expect("a link");
    project.write("images/tiny.toml", &image_file("oci:bases:bare", ""));
    project.run("plan").exits(65).says(&[
        "goatbuild::lock::no_python",
        "the base of image tiny has no Python",
        "python = \"3.12\"",
    ]);

    // The double has a build of this name, and its bytes are not the published ones.
    let archive = archive(&root(&project));
    let digest = sha256_of(&mut &archive[..]).expect("a digest").hex();
    let size = archive.len() as u64;
    let (listener, url) = Server::listen("127.0.0.1");
    let mirror = Server::default();
    let build = Content::repeated(archive, size);
    mirror.serve("mirror", listener, move |asked| match &*asked.target {
        PUBLISHED => Answer::of(build.clone()),
        _ => Answer::status(404, ""),
    });
    project.variable("UV_PYTHON_INSTALL_MIRROR", &url);
    project.variable("GOATBUILD_HTTP_ATTEMPTS", "2");
    project.write("images/tiny.toml", &image_file("oci:bases:bare", "python = \"3.11\"\n"));
    let plan = project.plan("");
    assert_eq!(plan.why("python:tiny"), ["first"]);
    assert_eq!(mirror.requests().len(), 0, "a build is pinned without a look");
    let published = locked(&project)["image"]["tiny"]["python"].clone();
    assert_eq!(published["version"].as_str(), Some("3.11.16"));
    let published = published["sha256"].as_str().expect("a digest").to_owned();
    let ran = project.run("apply --only python:tiny").exits(1);
    ran.says(&["goatbuild::fetch::mismatch", &published, &digest, "python:tiny failed"]);
    let kept = fs::read_dir(project.root().join("cache/pythons")).expect("a directory");
    assert_eq!(kept.count(), 0, "nothing that is not locked is kept");

    project.edit("goatbuild.lock", &published, &digest);
    mirror.forget_requests();
    let ran = project.apply("").ran();
    for step in ["base:tiny", "python:tiny", "image:tiny", "deploy:tiny"] {
        assert!(ran.contains(&step.to_owned()), "{ran:?}");
    }
    assert_eq!(mirror.requests().len(), 1, "{:?}", mirror.requests());
    project.run("image verify tiny").exits(0).says(&["as locked"]);
    // The base's two, the Python, the environment and pip.
    assert_eq!(inspect(&project)["layers"].as_array().map(Vec::len), Some(5));
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
    assert!(project.apply("").ran().is_empty());
}
