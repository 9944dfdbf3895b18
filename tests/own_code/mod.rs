//! A project's own packages in its image: built from what is locked, without a network, as the last
//! layers.
#![cfg(target_os = "linux")]

mod judged;

use std::fs;
use std::net::TcpListener;

use goatbuild::digest::Digest;
use goatbuild::event::Reporter;
use goatbuild::oci::{Layout, unpack_layers};
use serde_json::Value;

use crate::support::peers::skipped;
use crate::support::project::{Project, Ran, wants_network};

/// A package that builds itself: what its wheel holds beside `pkg/__init__.py` is up to `made`, Python
/// that returns the bytes of `pkg/made.txt`.
fn in_tree(project: &Project, made: &str) {
    project.write(
        "pkg/pyproject.toml",
        "[project]\nname = \"pkg\"\nversion = \"1.0\"\n\n[build-system]\nrequires = []\n\
         build-backend = \"backend\"\nbackend-path = [\"tools\"]\n",
    );
    project.write("pkg/src/pkg/__init__.py", "ANSWER = 42\n");
    let backend = format!(
        "import os, zipfile\n\
         def made():\n{made}\n\
         def build_wheel(to, settings=None, metadata=None):\n\
         \x20   name = 'pkg-1.0-py3-none-any.whl'\n\
         \x20   info = 'pkg-1.0.dist-info/'\n\
         \x20   with zipfile.ZipFile(os.path.join(to, name), 'w', zipfile.ZIP_DEFLATED) as wheel:\n\
         \x20       wheel.write('src/pkg/__init__.py', 'pkg/__init__.py')\n\
         \x20       wheel.writestr('pkg/made.txt', made())\n\
         \x20       wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: pkg\\nVersion: 1.0\\n')\n\
         \x20       wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n\
         \x20       wheel.writestr(info + 'RECORD', '')\n\
         \x20   return name\n"
    );
    project.write("pkg/tools/backend.py", &backend);
    project.append("images/tiny.toml", "local = [\"./pkg\"]\n");
}

/// What an apply of the image said; nothing, loudly, where the index can't be had.
fn applied(project: &Project, more: &str) -> Option<Ran> {
    let ran = project.run(&format!("apply --only image:tiny {more}"));
    let text = format!("{}{}", ran.stdout, ran.stderr);
    if ran.code != 0 && wants_network(&text) {
        skipped("the Python index", &text);
        return None;
    }
    Some(ran)
}

/// A file of the image, below its `site-packages`.
fn installed(project: &Project, path: &str) -> String {
    let layout = Layout::open(&project.path("cache/oci")).expect("a layout");
    let image = layout.tagged("tiny").expect("an image");
    let root = tempfile::tempdir().expect("a directory");
    unpack_layers(&layout, &image, root.path(), &Reporter::silent()).expect("unpacks");
    let site = root.path().join("opt/goatbuild/lib/python3.11/site-packages");
    fs::read_to_string(site.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The lowest layer first.
fn layers(project: &Project) -> Vec<Digest> {
    let layout = Layout::open(&project.path("cache/oci")).expect("a layout");
    layout.tagged("tiny").expect("an image").layers().expect("digests")
}

#[test]
fn an_edit_runs_the_packages_build_and_the_image_alone_and_moves_the_last_layer() {
    let Some(project) = Project::new() else { return };
    // What is unpacked there is shared with other tests, and `gc` would take it away.
    fs::remove_file(project.state().join("roots")).expect("a link");
    in_tree(&project, "    return b'made'");
    let Some(ran) = applied(&project, "") else { return };
    ran.exits(0);
    assert_eq!(installed(&project, "pkg/__init__.py"), "ANSWER = 42\n");
    let before = layers(&project);
    assert_eq!(project.plan("--only image:tiny --locked").ids("run"), [""; 0]);

    // What tools leave behind, and times, are nothing that it is built from.
    project.write("pkg/src/pkg/__pycache__/x.pyc", "x");
    project.write("pkg/build/lib/pkg/__init__.py", "x");
    project.write("pkg/src/pkg/__init__.py", "ANSWER = 42\n");
    assert_eq!(project.plan("--only image:tiny").ids("run"), [""; 0]);

    project.write("pkg/src/pkg/__init__.py", "ANSWER = 43\n");
    let plan = project.plan("--only image:tiny --locked");
    assert_eq!(plan.ids("run"), ["build:tiny/pkg"]);
    assert_eq!(plan.ids("pending"), ["image:tiny"]);
    assert_eq!(plan.why("build:tiny/pkg"), ["changed source.src/pkg/__init__.py"]);
    let ran = project.apply("--only image:tiny --locked").ran();
    assert_eq!(ran, ["build:tiny/pkg", "image:tiny"]);
    assert_eq!(installed(&project, "pkg/__init__.py"), "ANSWER = 43\n");
    let after = layers(&project);
    let (last, others) = after.split_last().expect("layers");
    assert_eq!(others, &before[..before.len() - 1]);
    assert_ne!(Some(last), before.last());

    // Another machine knows it from the lock, and makes the same of it.
    let lock = project.read("goatbuild.lock");
    fs::remove_dir_all(project.path("cache/oci")).expect("removed");
    fs::remove_dir_all(project.path("cache/roots")).expect("removed");
    fs::remove_file(project.path("cache/state.db")).expect("removed");
    let ran = project.apply("--only image:tiny --locked").ran();
    assert!(ran.contains(&"build:tiny/pkg".to_owned()), "{ran:?}");
    assert_eq!(layers(&project), after);
    assert_eq!(project.read("goatbuild.lock"), lock);

    // What it was built in goes, and nothing that the image is made of.
    project.run("gc").exits(0).says(&["unpacked images"]);
    assert!(!project.path("cache/roots").read_dir().expect("roots").any(|_| true));
    assert_eq!(layers(&project), after);

    fs::remove_file(project.path("images/tiny.build_pkg.pylock.toml")).expect("removed");
    let refused = project.run("plan --locked");
    refused.says(&["images/tiny.build_pkg.pylock.toml is not locked"]);
}

/// The variables are those that a build may depend on: Reproducible Builds' `SOURCE_DATE_EPOCH`,
/// CPython's hash seed, a language and a time zone.
#[test]
fn what_is_built_has_no_network_nothing_of_the_host_and_no_secret() {
    let Some(mut project) = Project::new() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let outside = project.path("goatbuild.toml");
    in_tree(
        &project,
        &format!(
            "    import json, socket\n\
             \x20   def reached():\n\
             \x20       try:\n\
             \x20           socket.create_connection(('127.0.0.1', {port}), 2)\n\
             \x20       except OSError:\n\
             \x20           return False\n\
             \x20       return True\n\
             \x20   names = sorted(set(os.environ) - {{'GOATBUILD_INSTANCE'}})\n\
             \x20   try:\n\
             \x20       open('/usr/lib/os-release', 'a')\n\
             \x20       writes = True\n\
             \x20   except OSError:\n\
             \x20       writes = False\n\
             \x20   return json.dumps({{'reached': reached(), 'variables': names,\n\
             \x20       'outside': os.path.exists('{}'), 'host': socket.gethostname(), 'writes': writes,\n\
             \x20       'interfaces': [name for _, name in socket.if_nameindex()],\n\
             \x20       'modified': os.stat('src/pkg/__init__.py').st_mtime}})",
            outside.display()
        ),
    );
    project.variable("HF_TOKEN", "hf_secret");
    let Some(ran) = applied(&project, "") else { return };
    ran.exits(0);
    let seen: Value = serde_json::from_str(&installed(&project, "pkg/made.txt")).expect("JSON");
    assert_eq!(seen["reached"], false, "{seen}");
    assert_eq!(seen["interfaces"], serde_json::json!(["lo"]), "{seen}");
    assert_eq!((&seen["outside"], &seen["writes"]), (&false.into(), &false.into()), "{seen}");
    assert_eq!(seen["host"], "localhost", "{seen}");
    let expected = [
        "HOME",
        "LC_ALL",
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONHASHSEED",
        "SOURCE_DATE_EPOCH",
        "TZ",
    ];
    assert_eq!(seen["variables"], serde_json::json!(expected), "{seen}");
    // 1980-01-01, the first day that a zip archive knows.
    assert_eq!(seen["modified"], 315_532_800.0, "{seen}");
}

#[test]
fn a_package_that_comes_out_otherwise_is_told_and_taken_by_name_alone() {
    let Some(project) = Project::new() else { return };
    in_tree(&project, "    return os.urandom(8).hex()");
    let Some(ran) = applied(&project, "") else { return };
    ran.exits(0)
        .says(&["pkg is not reproducible: two builds differ in pkg/made.txt; the first is kept"]);
    assert_eq!(project.plan("--only image:tiny").ids("run"), [""; 0]);
    let kept = project.read("goatbuild.lock");
    // Another machine, on which it comes out otherwise.
    fs::remove_dir_all(project.path("cache/oci")).expect("removed");
    fs::remove_file(project.path("cache/state.db")).expect("removed");
    let again = "apply --only image:tiny";
    project
        .run(again)
        .fails(1, &["goatbuild::build::differs", "goatbuild apply --replace build:tiny/pkg"]);
    assert_eq!(project.read("goatbuild.lock"), kept);
    project.run("apply --only image:tiny --replace build:tiny/pkg").exits(0);
    assert_ne!(project.read("goatbuild.lock"), kept);
    assert_eq!(project.plan("--only image:tiny").ids("run"), [""; 0]);
}

#[test]
fn mistakes_are_told_before_anything_is_built_and_failures_by_their_log() {
    let Some(project) = Project::new() else { return };
    in_tree(&project, "    return b''");
    let pyproject = project.read("pkg/pyproject.toml");
    let image = project.read("images/tiny.toml");
    let plan = |parts: &[&str]| {
        project.run("plan --only image:tiny").fails(65, parts);
    };
    project.edit("images/tiny.toml", "./pkg", "./package");
    plan(&["package does not exist", "images/tiny.toml"]);
    project.edit("images/tiny.toml", "./package", "../pkg");
    plan(&["`local` can't be \"../pkg\"", "below the project's own"]);
    project.edit("images/tiny.toml", "../pkg", "model");
    plan(&["model has no pyproject.toml"]);
    project.write("images/tiny.toml", &image);
    let spec = project.read("specs/tiny.toml");
    project.write("specs/tiny.toml", &format!("target = \"modal\"\n{spec}"));
    project.append("goatbuild.toml", "[target.modal]\nenvironment = \"main\"\n");
    let elsewhere = "Modal builds this image, and has nothing of the project's own packages";
    plan(&[elsewhere, "builder = \"oci\""]);
    project.write("specs/tiny.toml", &spec);
    for (from, to, parts) in [
        ("name = \"pkg\"\n", "", &["`project.name` is missing", "pkg/pyproject.toml"][..]),
        (
            "version = \"1.0\"",
            "version = \"1.0\"\ndynamic = [\"dependencies\"]",
            &["`project.dependencies` is dynamic"],
        ),
        (
            "version = \"1.0\"",
            "version = \"1.0\"\nrequires-python = \">=3.13\"",
            &["asks for Python >=3.13, and the image has 3.11"],
        ),
        (
            "version = \"1.0\"",
            "version = \"1.0\"\ndependencies = [\"x @ git+https://example.org/x\"]",
            &["`x @ git+https://example.org/x` can't be required"],
        ),
    ] {
        project.write("pkg/pyproject.toml", &pyproject.replace(from, to));
        plan(parts);
    }
    project.write("pkg/pyproject.toml", &pyproject);
    std::os::unix::fs::symlink("/etc/hostname", project.path("pkg/host")).expect("a link");
    let Some(ran) = applied(&project, "") else { return };
    ran.says(&["pkg/host is a link to /etc/hostname, outside of its package"]);
    fs::remove_file(project.path("pkg/host")).expect("removed");

    project.append(
        "pkg/tools/backend.py",
        "def get_requires_for_build_wheel(settings=None):\n    return ['pip', 'cmake>=3.15']\n",
    );
    let Some(ran) = applied(&project, "") else { return };
    ran.fails(
        1,
        &["goatbuild::build::requires", "add \"cmake>=3.15\" to `[build-system] requires`"],
    );
    project.write("pkg/tools/backend.py", "raise RuntimeError('no such luck')\n");
    let Some(ran) = applied(&project, "") else { return };
    ran.fails(1, &["goatbuild::build::failed", "RuntimeError: no such luck"]);
    project.run("logs build:tiny/pkg").exits(0).says(&["no such luck"]);
}
