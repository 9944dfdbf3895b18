//! Requirements that nothing satisfies, and wheels that are not what they should be.

use std::io::{Cursor, Write as _};
use std::time::{Duration, Instant};

use goatbuild::fetch::sha256_of;
use goatbuild::lock::LockFile;
use goatbuild::lock::pylock::{LockedWheel, Pylock, PythonRequest, Sources};
use zip::write::SimpleFileOptions;

use super::server::{Answer, Server};
use super::{built, downloaded};
use crate::support::project::{Project, Ran};

pub(crate) enum Member {
    File(&'static str, &'static str),
    Link(&'static str, &'static str),
}

pub(super) fn wheel(name: &str, members: &[Member]) -> Vec<u8> {
    wheel_of(name, "1.0", members)
}

pub(crate) fn wheel_of(name: &str, version: &str, members: &[Member]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    for member in members {
        match member {
            Member::File(path, text) => {
                archive.start_file(*path, options).expect("a member");
                archive.write_all(text.as_bytes()).expect("writes");
            }
            Member::Link(path, to) => archive.add_symlink(*path, *to, options).expect("a link"),
        }
    }
    let info = format!("{name}-{version}.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
    let tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    for (file, text) in [("METADATA", metadata.as_str()), ("WHEEL", tags), ("RECORD", "")] {
        archive.start_file(format!("{info}/{file}"), options).expect("a member");
        archive.write_all(text.as_bytes()).expect("writes");
    }
    archive.finish().expect("an archive").into_inner()
}

/// Locks these wheels besides those of the image, as if an index on loopback had them.
fn lock(project: &Project, server: &Server, wheels: &[(&str, &[u8])]) {
    let text = project.read("goatbuild.lock");
    let runtime = LockFile::parse("", &text).expect("a lock").images["tiny"].runtime;
    let pylock = Pylock::parse(&project.read("images/tiny.pylock.toml")).expect("a lock");
    let mut locked = pylock.choose(&runtime).expect("wheels");
    let mut requirements = Vec::new();
    for (name, bytes) in wheels {
        let filename = format!("{name}-1.0-py3-none-any.whl");
        locked.push(LockedWheel {
            scripts: Vec::new(),
            name: (*name).to_owned(),
            version: "1.0".to_owned(),
            url: server.url(&format!("/{filename}")),
            filename,
            size: Some(bytes.len() as u64),
            sha256: sha256_of(&mut &**bytes).expect("a digest"),
        });
        requirements.push(format!("{name}==1.0"));
    }
    project.write(
        "images/tiny.toml",
        &format!(
            "base = {{ debian = \"bookworm\", packages = [\"python3\"] }}\nrequirements = {requirements:?}\n"
        ),
    );
    let request = PythonRequest {
        image: "tiny".to_owned(),
        requirements,
        overrides: Vec::new(),
        sources: Sources::default(),
        runtime,
    };
    project.write("images/tiny.pylock.toml", &Pylock::of(&locked, &request).render());
}

/// Builds the image from such wheels, with the answers that the server gives.
fn build(
    wheels: &[(&str, &[u8])],
    answer: impl Fn(&[u8]) -> Vec<Answer>,
) -> Option<(Project, Ran)> {
    build_of(wheels, answer, |project| project.run(&["apply", "--only", "image:tiny"]))
}

/// The same, by this command.
pub(super) fn build_of(
    wheels: &[(&str, &[u8])],
    answer: impl Fn(&[u8]) -> Vec<Answer>,
    command: impl Fn(&Project) -> Ran,
) -> Option<(Project, Ran)> {
    let (mut project, server) = (built()?, Server::start());
    project.variable("UV_DEFAULT_INDEX", &server.url("/simple"));
    lock(&project, &server, wheels);
    for (name, bytes) in wheels {
        server.on(&format!("/{name}-1.0-py3-none-any.whl"), answer(bytes));
    }
    let bases = || LockFile::parse("", &project.read("goatbuild.lock")).expect("a lock").images;
    let before = bases();
    let output = command(&project);
    if output.code != 0 {
        assert_eq!(project.leftovers(), Vec::<std::path::PathBuf>::new());
        assert_eq!(bases(), before);
    }
    Some((project, output))
}

pub(super) fn whole(bytes: &[u8]) -> Vec<Answer> {
    vec![Answer::Body(bytes.to_vec())]
}

#[test]
fn a_right_wheel_is_built_in() {
    let good = wheel("good", &[Member::File("good.py", "x = 1\n")]);
    let Some((_, output)) = build(&[("good", &good)], whole) else { return };
    output.exits(0);
}

#[test]
fn a_wheel_that_was_damaged_since_is_fetched_anew() {
    let server = Server::start();
    let Some(mut project) = built() else { return };
    project.variable("UV_DEFAULT_INDEX", &server.url("/simple"));
    let good = wheel("good", &[Member::File("good.py", "x = 1\n")]);
    lock(&project, &server, &[("good", &good)]);
    let path = "/good-1.0-py3-none-any.whl";
    server.on(path, whole(&good));
    let build = ["apply", "--only", "image:tiny"];
    project.run(&build).exits(0);
    let locked = project.read("goatbuild.lock");
    let file = format!("cache/wheels/{}.whl", sha256_of(&mut &*good).expect("a digest").hex());
    for at in [40, good.len() / 2, good.len() - 10] {
        std::fs::remove_dir_all(project.path("cache/oci")).expect("removes");
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        project.write(&file, &damaged);
        project.run(&build).exits(0).tells(&["is damaged; it is fetched anew"]);
        assert_eq!(std::fs::read(project.path(&file)).expect("reads"), good);
        assert_eq!(project.read("goatbuild.lock"), locked);
    }
    assert_eq!(server.requests(path).len(), 4);
}

#[test]
fn wrong_bytes_are_named_and_not_kept() {
    let good = wheel("good", &[Member::File("good.py", "x = 1\n")]);
    let Some((project, output)) = build(&[("good", &good)], |bytes| {
        let mut wrong = bytes.to_vec();
        wrong[40] ^= 1;
        whole(&wrong)
    }) else {
        return;
    };
    output.fails(1, &["has the wrong SHA-256: expected", "found", "lock --upgrade"]);
    let kept = std::fs::read_dir(project.path("cache/wheels")).expect("lists").count();
    assert_eq!(kept, 1, "only pip");

    let Some((_, output)) =
        build(&[("good", &good)], |bytes| vec![Answer::Truncated(bytes.to_vec(), 100)])
    else {
        return;
    };
    output.fails(1, &["could not be fetched, tried 2 time(s)", "what was fetched is kept"]);

    let Some((_, output)) = build(&[("good", &good)], |bytes| {
        vec![Answer::Truncated(bytes.to_vec(), 100), Answer::Body(bytes.to_vec())]
    }) else {
        return;
    };
    output.exits(0);
}

#[test]
fn a_server_that_asks_for_patience_gets_it_and_one_that_fails_is_named() {
    let good = wheel("good", &[Member::File("good.py", "x = 1\n")]);
    let began = Instant::now();
    let busy = |bytes: &[u8]| vec![Answer::Status(429, Some(2)), Answer::Body(bytes.to_vec())];
    let Some((_, output)) = build(&[("good", &good)], busy) else { return };
    let output = output.exits(0);
    let told = output.stderr.matches(" asks for 2 s of patience; waiting until ").count();
    assert_eq!(told, 1, "{output:?}");
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    let Some((_, output)) = build(&[("good", &good)], |_| vec![Answer::Status(500, None)]) else {
        return;
    };
    output.fails(1, &["answered HTTP 500 2 time(s)", "run the command again later"]);
    let Some((_, output)) = build(&[("good", &good)], |_| vec![Answer::Status(404, None)]) else {
        return;
    };
    // It is locked anew, and then there is nothing to lock.
    output.fails(
        65,
        &["whl, locked for good 1.0, is gone", "locking image tiny anew", "No solution"],
    );
}

#[test]
fn a_wheel_that_climbs_out_is_refused_and_nothing_is_written() {
    for (member, word) in [
        (Member::File("../evil.py", "x"), "../evil.py"),
        (Member::File("/etc/evil.py", "x"), "/etc/evil.py"),
        (Member::Link("evil.py", "/etc/passwd"), "evil.py"),
    ] {
        let bad = wheel("bad", &[member]);
        let Some((_, output)) = build(&[("bad", &bad)], whole) else { return };
        output.fails(1, &["bad-1.0-py3-none-any.whl", word, "help:"]);
    }
}

#[test]
fn two_wheels_that_own_one_path_differently_are_both_named() {
    let one = wheel("one", &[Member::File("shared/x.py", "x = 1\n")]);
    let two = wheel("two", &[Member::File("shared/x.py", "x = 2\n")]);
    let Some((_, output)) = build(&[("one", &one), ("two", &two)], whole) else { return };
    output.fails(1, &["one-1.0", "two-1.0", "shared/x.py", "help:"]);
    let Some((_, output)) = build(&[("one", &one)], whole) else { return };
    output.exits(0);
}

/// An index page, as the simple API has it.
fn page(files: &[&str]) -> Vec<Answer> {
    let link = |file: &&str| format!("<a href=\"/files/{file}#sha256={:064}\">{file}</a>", 0);
    let links: Vec<String> = files.iter().map(link).collect();
    vec![Answer::Body(format!("<html><body>{}</body></html>", links.join("\n")).into_bytes())]
}

#[test]
fn requirements_that_nothing_satisfies_come_with_the_words_of_uv_and_a_way_out() {
    let (Some(mut project), server) = (downloaded(), Server::start()) else { return };
    project.variable("UV_DEFAULT_INDEX", &server.url("/simple"));
    project.variable("UV_NO_CACHE", "1");
    server.on("/simple/source/", page(&["source-1.0.tar.gz"]));
    server.on("/simple/newer/", page(&["newer-1.0-cp311-cp311-manylinux_2_39_x86_64.whl"]));
    server.on("/simple/other/", page(&["other-1.0-cp38-cp38-manylinux2014_x86_64.whl"]));
    let locks = (project.read("goatbuild.lock"), project.read("images/tiny.pylock.toml"));
    let image = project.read("images/tiny.toml");
    let cases: [(&str, &[&str]); 5] = [
        ("\"newer==1\", \"newer==2\"", &["No solution found", "unsatisfiable", "help:"]),
        ("\"source==1.0\"", &["No solution found", "builds from source", "help:"]),
        ("\"newer==1.0\"", &["No solution found", "newer-1.0-cp311", "help:"]),
        ("\"other==1.0\"", &["No solution found", "another Python", "help:"]),
        ("\"six=1\"", &["image tiny cannot require `six=1`", "name[extra]==VERSION"]),
    ];
    for (requirements, words) in cases {
        let requirements = format!("requirements = [{requirements}]");
        project.write("images/tiny.toml", &image.replace("requirements = []", &requirements));
        project.run(&["apply"]).fails(65, words);
        assert_eq!(
            locks,
            (project.read("goatbuild.lock"), project.read("images/tiny.pylock.toml"))
        );
    }
    project.run(&["apply", "--locked"]).fails(65, &["is not locked", "without --locked"]);
}

#[test]
fn credentials_of_an_index_are_nowhere_to_be_read() {
    let (Some(mut project), server) = (built(), Server::start()) else { return };
    let secret = "hunter2-very-secret";
    let port = server.port;
    project.variable("UV_DEFAULT_INDEX", &format!("http://user:{secret}@127.0.0.1:{port}/simple"));
    project.variable("UV_NO_CACHE", "1");
    let good = wheel("good", &[Member::File("good.py", "x = 1\n")]);
    let sha256 = sha256_of(&mut good.as_slice()).expect("a digest").hex();
    let file = "good-1.0-py3-none-any.whl";
    let link = format!("<a href=\"/files/{file}#sha256={sha256}\">{file}</a>");
    server.on("/simple/good/", [Answer::Body(link.into_bytes())]);
    server.on("/simple/pip/", [Answer::Status(401, None)]);
    server.on(&format!("/files/{file}"), [Answer::Status(403, None)]);
    project.edit("images/tiny.toml", "[]", "[\"good==1.0\"]");
    let output = project.run(&["apply", "--only", "image:tiny"]);
    // It was used, all the way to the file, and what failed is told.
    let output = output.fails(1, &["Failed to fetch", "403", file]);
    assert!(!(output.stdout + &output.stderr).contains(secret));

    // And once it is locked.
    lock(&project, &server, &[("good", &good)]);
    server.on("/good-1.0-py3-none-any.whl", [Answer::Status(403, None)]);
    let output = project.run(&["apply", "--only", "image:tiny"]);
    let output = output.fails(1, &["answered HTTP 403"]);
    assert!(!(output.stdout + &output.stderr).contains(secret));
    assert_eq!(project.files_with(secret), Vec::<std::path::PathBuf>::new());
}

/// This repository's own project, with one engine's wheel unread and said to be at `url`.
fn unread(url: &str) -> Project {
    const WHEEL: &str = "vllm-0.8.5.post1-cp38-abi3-manylinux1_x86_64.whl";
    let mut project = Project::shipped();
    for (name, value) in [("HF_ENDPOINT", "http://127.0.0.1:9"), ("GOATBUILD_HTTP_ATTEMPTS", "1")] {
        project.variable(name, value);
    }
    let mut lock = LockFile::parse("", &project.read("goatbuild.lock")).expect("a lock");
    assert!(lock.engines.remove(WHEEL).is_some());
    project.write("goatbuild.lock", &lock.render());
    let text = project.read("images/standard.pylock.toml");
    let (before, after) = text.split_once(WHEEL).expect("the wheel");
    let before = &before[..before.rfind("https://").expect("its address")];
    project.write("images/standard.pylock.toml", &format!("{before}{url}/{WHEEL}{after}"));
    project
}

#[test]
fn an_engines_wheel_that_cannot_be_read_is_named() {
    let named = "vllm-0.8.5.post1-cp38-abi3-manylinux1_x86_64.whl of image standard can't be read";
    // The index has it no more: whatever is asked for, that is wrong.
    let server = Server::start();
    let gone = unread(&server.url(""));
    for arguments in ["lock", "plan"] {
        gone.run(arguments).fails(1, &[named, "HTTP 404"]);
    }
    // Nobody is there: a plan can do without, and says so.
    let away = unread("http://127.0.0.1:9");
    away.run("lock").fails(1, &[named]);
    away.run("plan").exits(0).tells(&["manylinux1_x86_64.whl can't be read: "]);
    away.run("plan --offline").exits(0);
}
