//! What layers hide, as the specification of OCI's layers has it, and as umoci has it.

use std::fs;
use std::process::Command;

use super::tree::same;
use super::{Blob, layout, refused, unpacked};
use crate::support::debian::DebianRoot;
use crate::support::project::ran;

/// Archives by Python, one for each line: `name` is a file, `name/` a directory, `name=target` a hard link
/// and `name>target` a symbolic one.
fn layers(lines: &[&str]) -> Vec<Blob> {
    let directory = tempfile::tempdir().expect("a directory");
    let program = r#"
import io, sys, tarfile
for at, line in enumerate(sys.argv[2:]):
    with tarfile.open(f"{sys.argv[1]}/{at}.tar", "w") as archive:
        for name in line.split():
            link = next((mark for mark in "=>" if mark in name), None)
            name, target = name.split(link) if link else (name, "")
            member = tarfile.TarInfo(name)
            member.linkname, member.mtime, member.mode = target, 1000000000, 0o755
            content = b"" if ".wh." in name else f"{at} {name}".encode()
            if link:
                member.type = tarfile.LNKTYPE if link == "=" else tarfile.SYMTYPE
            elif name.endswith("/"):
                member.type = tarfile.DIRTYPE
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if member.isreg() else None)
"#;
    let mut command = Command::new("python3");
    ran(command.args(["-c", program]).arg(directory.path()).args(lines)).done();
    let read = |at| fs::read(directory.path().join(format!("{at}.tar"))).expect("an archive");
    (0..lines.len()).map(|at| Blob::plain(read(at))).collect()
}

#[track_caller]
fn paths(lines: &[&str]) -> Vec<String> {
    let (_directory, root, outcome) = unpacked(&layers(lines));
    outcome.unwrap_or_else(|error| panic!("{lines:?}: {error}"));
    let below = walkdir::WalkDir::new(&root).min_depth(1).sort_by_file_name();
    let name = |path: &std::path::Path| path.strip_prefix(&root).expect("below").to_owned();
    below.into_iter().map(|it| name(it.expect("there").path()).display().to_string()).collect()
}

const A: &str = "a/ a/x a/y a/deep/ a/deep/z b";

#[test]
fn a_whiteout_makes_nothing() {
    let (_directory, root, outcome) = unpacked(&[Blob::of("whiteout-without-parent-layer")]);
    outcome.expect("unpacked");
    assert_eq!(fs::read_dir(root).expect("a root").count(), 0);
    let whole = ["a", "a/deep", "a/deep/z", "a/x", "a/y", "b"];
    for above in [
        "nope/deep/.wh.gone",
        // container2wasm/container2wasm#257.
        "var/cache/apt/archives/.wh..wh..opq",
        "a/none/.wh.x",
        // Below a file there is nothing either.
        "b/.wh.x",
        "b/c/.wh..wh..opq",
    ] {
        assert_eq!(paths(&[A, above]), whole, "{above}");
    }
}

#[test]
fn a_whiteout_hides_lower_layers_only_wherever_it_stands() {
    for (above, there) in [
        (".wh.a", &["b"][..]),
        ("a/.wh..wh..opq", &["a", "b"]),
        ("a/ a/new a/.wh..wh..opq", &["a", "a/new", "b"]),
        ("a/.wh..wh..opq a/ a/new", &["a", "a/new", "b"]),
        // A directory that was removed and made again: project-stacker/stacker#627.
        (".wh.a a/ a/new", &["a", "a/new", "b"]),
        ("a/ a/x .wh.a", &["a", "a/x", "b"]),
        ("c=b .wh.b", &["a", "a/deep", "a/deep/z", "a/x", "a/y", "c"]),
        ("b .wh.b", &["a", "a/deep", "a/deep/z", "a/x", "a/y", "b"]),
        ("a/deep/.wh.z a/.wh.x", &["a", "a/deep", "a/y", "b"]),
        // AUFS's own files, and hard links to these.
        (
            ".wh..wh.aufs .wh..wh.orph/ .wh..wh.plnk/ .wh..wh.plnk/1.2 c=.wh..wh.plnk/1.2",
            &["a", "a/deep", "a/deep/z", "a/x", "a/y", "b", "c"],
        ),
    ] {
        assert_eq!(paths(&[A, above]), there, "{above}");
    }
}

/// opencontainers/image-spec#1301: a bare `.wh.` would hide the directory that it is in.
#[test]
fn a_whiteout_of_nothing_and_links_to_what_is_hidden_are_refused() {
    for (above, said) in [
        (".wh.", "is a whiteout of nothing"),
        ("a/.wh.", "is a whiteout of nothing"),
        ("a/.wh..", "is a whiteout of nothing"),
        (".wh.b c=b", "`c`"),
    ] {
        let said_here = refused(&layers(&[A, above]));
        assert!(said_here.contains(said), "{above}: {said_here}");
    }
}

#[test]
fn umoci_makes_the_same_of_whiteouts() {
    let Some(umoci) = DebianRoot::of("umoci") else { return };
    for above in [
        &[".wh.a"][..],
        &["a/ a/.wh..wh..opq a/new"],
        &["a/ a/deep/ a/deep/.wh.z a/.wh.x"],
        &["a", ".wh.a", "a/ a/again"],
        &["a>b", "c/ c/new"],
        &["link>a/deep", "link/.wh.z link/new"],
        &["a/ a/.wh.x a/x2=b", ".wh.b", "b/ b/file"],
    ] {
        let lines: Vec<&str> = [A].iter().chain(above).copied().collect();
        let directory = tempfile::tempdir().expect("a directory");
        layout(&directory.path().join("oci"), &layers(&lines));
        let bundle = directory.path().join("bundle");
        let mut command = umoci.command("usr/bin/umoci");
        command.args(["unpack", "--rootless", "--image", "oci:image"]).arg(&bundle);
        ran(command.current_dir(directory.path())).done();
        let (_directory, ours, outcome) = unpacked(&layers(&lines));
        outcome.unwrap_or_else(|error| panic!("{lines:?}: {error}"));
        same(&format!("{lines:?}"), &bundle.join("rootfs"), &ours);
    }
}
