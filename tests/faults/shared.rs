//! Several who want the same downloads at the same time: steps of one command, and commands.

use std::collections::BTreeMap;
use std::path::PathBuf;

use goatbuild::lock::LockFile;

use super::downloaded;
use super::server::{Answer, Server};
use crate::support::project::{Project, ran};

/// What Debian has in every one of these images, and what each has of its own.
const OTHERS: [(&str, &str); 3] = [("two", "bzip2"), ("three", "nano"), ("four", "zip")];

/// A project with so many images of Debian packages, locked with Debian's real index; nothing of
/// theirs is downloaded.
fn with_images(count: usize) -> Option<Project> {
    let project = downloaded()?;
    for (image, package) in &OTHERS[..count - 1] {
        let base = format!(
            "base = {{ debian = \"bookworm\", packages = [\"python3\", \"{package}\"] }}\nrequirements = []\n"
        );
        project.write(&format!("images/{image}.toml"), &base);
        let spec = project.read("specs/tiny.toml");
        let spec = spec.replace("image = \"tiny\"", &format!("image = \"{image}\""));
        project.write(&format!("specs/{image}.toml"), &spec);
    }
    project.run(&["lock"]).exits(0);
    forget(&project);
    Some(project)
}

/// Forgets all that was downloaded or built.
fn forget(project: &Project) {
    for name in ["cache/debs", "cache/oci", "cache/state.db", "cache/state.db-wal"] {
        let path = project.path(name);
        let _ = std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path));
    }
    let mut lock = locked(project);
    lock.built.clear();
    project.write("goatbuild.lock", &lock.render());
}

fn locked(project: &Project) -> LockFile {
    LockFile::parse("", &project.read("goatbuild.lock")).expect("a lock")
}

/// All locked packages: their path on a mirror, by their file's name here.
fn packages(project: &Project) -> BTreeMap<String, String> {
    let lock = locked(project);
    let bases = lock.images.values().filter_map(|image| image.debian.as_ref());
    let packages = bases.flat_map(|base| &base.packages);
    packages.map(|package| (package.sha256.hex(), format!("/{}", package.path))).collect()
}

/// A mirror that has all that is downloaded now, and from which the project takes it.
fn mirrored(project: &mut Project) -> Server {
    let server = Server::start();
    for (digest, path) in packages(project) {
        let bytes = std::fs::read(project.path("cache/debs").join(digest)).expect("downloaded");
        server.on(&path, [Answer::Body(bytes)]);
    }
    for variable in ["GOATBUILD_DEBIAN_POOL", "GOATBUILD_DEBIAN_SNAPSHOT"] {
        project.variable(variable, &server.url(""));
    }
    server
}

fn bases(count: usize) -> Vec<String> {
    let images = std::iter::once("tiny").chain(OTHERS.iter().map(|(image, _)| *image));
    let mut arguments = vec!["apply".to_owned()];
    for image in images.take(count) {
        arguments.extend(["--only".to_owned(), format!("base:{image}")]);
    }
    arguments
}

/// Asserts that every package is there as locked, and nothing else.
#[track_caller]
fn is_whole(project: &Project) {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(project.path("cache/debs")).expect("lists") {
        let path: PathBuf = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let mut file = std::fs::File::open(&path).expect("opens");
        assert_eq!(goatbuild::fetch::sha256_of(&mut file).expect("reads").hex(), name);
        names.push(name);
    }
    names.sort();
    assert_eq!(names, packages(project).into_keys().collect::<Vec<_>>());
}

#[test]
fn images_that_share_packages_are_built_at_once_from_cold() {
    for (count, attempts) in [(2, 3), (4, 1)] {
        let Some(mut project) = with_images(count) else { return };
        let arguments = bases(count);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // Once from Debian itself.
        project.run(&arguments).exits(0);
        is_whole(&project);
        let built = locked(&project).built;
        let server = mirrored(&mut project);
        for attempt in 1..=attempts {
            forget(&project);
            project.run(&arguments).exits(0);
            is_whole(&project);
            assert_eq!(locked(&project).built, built, "the same bytes");
            for path in packages(&project).values() {
                assert_eq!(server.requests(path).len(), attempt, "{path} is asked for once");
            }
        }
    }
}

#[test]
fn two_checkouts_that_share_downloads_fetch_each_once() {
    let Some(mut one) = with_images(1) else { return };
    let arguments = bases(1);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    one.run(&arguments).exits(0);
    let server = mirrored(&mut one);
    let Some(mut two) = with_images(1) else { return };
    for variable in ["GOATBUILD_DEBIAN_POOL", "GOATBUILD_DEBIAN_SNAPSHOT"] {
        two.variable(variable, &server.url(""));
    }
    forget(&one);
    // One directory under two names: each checkout has a lock of its own.
    std::fs::create_dir_all(one.path("cache/debs")).expect("makes");
    std::os::unix::fs::symlink(one.path("cache/debs"), two.path("cache/debs")).expect("links");
    let mut other = one.command(&arguments);
    let other = std::thread::spawn(move || ran(&mut other));
    two.run(&arguments).exits(0);
    other.join().expect("ends").exits(0);
    is_whole(&one);
    for path in packages(&one).values() {
        assert_eq!(server.requests(path).len(), 1, "{path} is asked for once");
    }
}

#[test]
fn a_command_goes_on_with_what_a_killed_one_had_begun() {
    let Some(mut one) = with_images(1) else { return };
    let arguments = bases(1);
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    one.run(&arguments).exits(0);
    let server = mirrored(&mut one);
    let (digest, path) = packages(&one).into_iter().next().expect("a package");
    let bytes = std::fs::read(one.path("cache/debs").join(&digest)).expect("downloaded");
    forget(&one);
    server.on(&path, [Answer::Silent, Answer::Body(bytes)]);
    arguments.push("--json");
    let mut first = one.start(&arguments);
    assert!(first.until_started("base:tiny"));
    // It holds this package, and waits for bytes.
    while server.requests(&path).is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    first.kill();
    one.run(&arguments[..3]).exits(0);
    is_whole(&one);
}

#[test]
fn damaged_downloads_are_fetched_anew_and_the_step_succeeds() {
    let Some(mut project) = with_images(1) else { return };
    let arguments = bases(1);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    project.run(&arguments).exits(0);
    let server = mirrored(&mut project);
    let built = locked(&project).built;
    let kept: BTreeMap<_, _> = packages(&project);
    let bytes_of = |digest: &String| std::fs::read(project.path("cache/debs").join(digest));
    let whole: BTreeMap<_, _> =
        kept.keys().map(|digest| (digest.clone(), bytes_of(digest).expect("reads"))).collect();
    // Two of them as another version may have left them: of the right size, and of the wrong one.
    let mut damaged = kept.iter().take(2);
    let (first, second) = (damaged.next().expect("one"), damaged.next().expect("two"));
    for (at, (digest, _)) in [first, second].into_iter().enumerate() {
        forget(&project);
        std::fs::create_dir_all(project.path("cache/debs")).expect("makes");
        for (name, bytes) in &whole {
            project.write(&format!("cache/debs/{name}"), bytes);
        }
        let mut bytes = whole[digest].clone();
        if at == 0 {
            bytes[200] ^= 1;
        } else {
            bytes.truncate(100);
        }
        project.write(&format!("cache/debs/{digest}"), &bytes);
        let output = project.run(&arguments);
        output.exits(0).tells(&[digest.as_str(), "is damaged; it is fetched anew"]);
        is_whole(&project);
        assert_eq!(locked(&project).built, built);
    }
    let asked: usize = kept.values().map(|path| server.requests(path).len()).sum();
    assert_eq!(asked, 2, "only what was damaged");
}
