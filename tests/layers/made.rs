//! Archives that GNU tar, bsdtar and Python make, and what these tars make of them.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;

use super::tree::{same, taken};
use super::{Blob, refused, unpacked};
use crate::support::debian::DebianRoot;
use crate::support::project::ran;

/// Directories with files of every kind of holes, and times of long ago and far ahead.
fn written(root: &Path) {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(140));
    for directory in ["deep/er", "größe", &"d".repeat(120)] {
        fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    let sparse = |name: &str, size: u64, data: &[(u64, usize)]| {
        let file = File::create(root.join(name)).expect("a file");
        for (at, length) in data {
            let bytes: Vec<u8> = (1..=251).cycle().take(*length).collect();
            file.write_all_at(&bytes, *at).expect("written");
        }
        file.set_len(size).expect("a size");
    };
    sparse("all-hole", 3 << 20, &[]);
    sparse("hole-last", (2 << 20) + 17, &[(0, 4096)]);
    sparse("data-last", (1 << 20) + 5, &[((1 << 20) - 4096, 4096 + 5)]);
    let many: Vec<(u64, usize)> = (0..70).map(|at| (at << 16, 4096)).collect();
    sparse("deep/er/many", 80 << 16, &many);
    sparse("large", (9 << 30) + 1, &[(0, 10), ((9 << 30) - 8192, 100)]);
    sparse("größe/ä", 1 << 20, &[(1 << 19, 4096)]);
    sparse(&long, 1 << 20, &[(8192, 1)]);
    fs::write(root.join("plain"), "plain\n").expect("written");
    fs::write(root.join("empty"), "").expect("written");
    fs::hard_link(root.join("hole-last"), root.join("zz-linked")).expect("a link");
    symlink("deep/er/many", root.join("link")).expect("a link");
    for (name, date) in [
        ("plain", "1960-02-29 12:00:00.25 UTC"),
        ("empty", "2261-01-01 00:00:00.999999999 UTC"),
        ("link", "1969-12-31 23:59:58.5 UTC"),
        ("deep", "1999-09-09 09:09:09.123456789 UTC"),
        ("all-hole", "1901-12-13 20:45:52 UTC"),
    ] {
        ran(Command::new("touch").args(["-h", "-d", date]).arg(root.join(name))).done();
    }
    for (name, mode) in [("plain", "4750"), ("deep/er", "1777"), ("empty", "0")] {
        ran(Command::new("chmod").arg(mode).arg(root.join(name))).done();
    }
}

/// What GNU tar makes of an archive.
fn by_tar(archive: &Path, into: &Path) {
    fs::create_dir_all(into).expect("a directory");
    let mut command = Command::new("tar");
    command.args(["--extract", "--same-permissions", "--no-same-owner"]);
    command.arg("--delay-directory-restore").arg("--file").arg(archive);
    let ran = ran(command.arg("--directory").arg(into));
    // It can't make devices, unless it is root's.
    assert!(ran.code == 0 || ran.stderr.contains("Cannot mknod"), "{}", ran.stderr);
}

/// Fails unless we make of an archive what GNU tar makes of it, and as many holes; gives the paths' number.
#[track_caller]
fn agrees(what: &str, archive: &Path) -> usize {
    let theirs = tempfile::tempdir().expect("a directory");
    by_tar(archive, theirs.path());
    let (_directory, ours, outcome) = unpacked(&[Blob::plain(fs::read(archive).expect("read"))]);
    outcome.unwrap_or_else(|error| panic!("{what}: {error}"));
    let paths = same(what, theirs.path(), &ours);
    let (theirs, ours) = (taken(theirs.path()), taken(&ours));
    assert!(
        ours <= theirs + (64 << 10),
        "{what}: {ours} bytes of disk, and GNU tar's has {theirs}"
    );
    paths
}

#[test]
fn gnu_tars_sparse_files_are_what_gnu_tar_makes_of_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("root");
    fs::create_dir(&root).expect("a directory");
    written(&root);
    for (format, version) in
        [("gnu", "1.0"), ("oldgnu", "1.0"), ("posix", "0.0"), ("posix", "0.1"), ("posix", "1.0")]
    {
        for detection in ["seek", "raw"] {
            let archive = directory.path().join(format!("{format}-{version}.tar"));
            let mut command = Command::new("tar");
            command.args([
                "--create",
                "--sparse",
                "--format",
                format,
                "--hole-detection",
                detection,
            ]);
            command.args(["--sparse-version", version, "--file"]).arg(&archive);
            // Nine gigabytes of zeros take their time to be read.
            if detection == "raw" {
                command.args(["--exclude", "./large"]);
            }
            ran(command.arg("--directory").arg(&root).arg(".")).done();
            let small = fs::metadata(&archive).expect("an archive").len() < 4 << 20;
            assert!(small, "{format} {version}: it has no holes");
            let paths = agrees(&format!("{format} {version} {detection}"), &archive);
            assert!(paths >= 14, "{paths} paths");
        }
    }
}

#[test]
fn bsdtars_archives_are_what_both_tars_make_of_them() {
    let Some(bsdtar) = DebianRoot::of("libarchive-tools") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("root");
    fs::create_dir(&root).expect("a directory");
    written(&root);
    // libarchive 3.6 writes `-2.5` for a second and a half before 1970, and GNU tar `-1.5`.
    for (name, date) in [("plain", "1960-02-29 12:00:00 UTC"), ("link", "1969-12-31 23:59:58 UTC")]
    {
        ran(Command::new("touch").args(["-h", "-d", date]).arg(root.join(name))).done();
    }
    for format in ["pax", "gnutar", "ustar"] {
        let archive = directory.path().join(format!("{format}.tar"));
        let mut command = bsdtar.command("usr/bin/bsdtar");
        command.args(["--create", "--format", format, "--file"]).arg(&archive);
        if format == "ustar" {
            command.args(["--exclude", "./large", "--exclude", "./plain", "--exclude", "./link"]);
            command.args(["--exclude", "./d*/f*", "--exclude", "./all-hole"]);
        } else if format == "gnutar" {
            command.args(["--exclude", "./large"]);
        }
        ran(command.arg("-C").arg(&root).arg(".").env("LC_ALL", "C.UTF-8")).done();
        let ours = agrees(&format!("bsdtar's {format}"), &archive);
        assert!(ours >= 8, "{ours} paths");
        let theirs = directory.path().join(format!("by-bsdtar-{format}"));
        fs::create_dir(&theirs).expect("a directory");
        let mut command = bsdtar.command("usr/bin/bsdtar");
        command.args(["--extract", "-p", "--no-same-owner", "--file"]).arg(&archive);
        let ran = ran(command.arg("-C").arg(&theirs).env("LC_ALL", "C.UTF-8"));
        // libarchive 3.5 to 3.7 can't read the negative times that it writes: libarchive/libarchive#2562.
        if ran.code == 0 {
            let (_directory, ours, outcome) = unpacked(&[Blob::plain(fs::read(&archive).unwrap())]);
            outcome.expect("unpacked");
            same(&format!("bsdtar of {format}"), &theirs, &ours);
        }
    }
}

/// `Lib/test/archivetestdata/testtar.tar` of CPython 3.12: members of V7, ustar, star, Solaris, HP-UX, GNU and
/// PAX, made by these programs, with checksums of signed numbers, a directory that claims a size, and all four
/// kinds of sparse files.
#[test]
fn cpythons_collection_is_what_gnu_tar_makes_of_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let archive = directory.path().join("testtar.tar");
    fs::write(&archive, Blob::of("cpython-testtar").tar()).expect("written");
    assert!(agrees("testtar.tar", &archive) > 40);
}

/// Python writes any number in the binary form, and any time in PAX headers.
#[test]
fn times_are_set_as_tar_sets_them_however_far_away() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = r#"
import io, sys, tarfile
# The first is of plougher/squashfs-tools#315: 0xfffffffe6af6f71d, in 1754.
times = [-6787041507, -1, -86400, -1.5, -0.25, 0, 1.25, 2**31, 2**33 + 0.5, 4102444800, 253402300800, 2**62]
for name, format in [("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)]:
    with tarfile.open(f"{sys.argv[1]}/{name}.tar", "w", format=format) as archive:
        for at, time in enumerate(times):
            member = tarfile.TarInfo(f"{at}/file")
            member.mtime, member.size = time, 1
            archive.addfile(member, io.BytesIO(b"x"))
            member = tarfile.TarInfo(f"{at}")
            member.type, member.mtime, member.mode = tarfile.DIRTYPE, time, 0o755
            archive.addfile(member)
"#;
    ran(Command::new("python3").args(["-c", program]).arg(directory.path())).done();
    for name in ["gnu", "pax"] {
        let archive = directory.path().join(name).with_extension("tar");
        assert_eq!(agrees(&format!("Python's {name}"), &archive), 24);
    }
    let (_directory, root, outcome) = unpacked(&[Blob::of("neg-mtime-layer")]);
    outcome.expect("unpacked");
    assert_eq!(fs::metadata(root.join("data/a")).expect("a file").mtime(), -86400);
}

/// What readers don't agree about is refused with the member's name or with what is wrong, and nothing that
/// was cut short is taken for whole.
#[test]
fn what_is_damaged_or_unknown_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("root");
    fs::create_dir(&root).expect("a directory");
    let file = File::create(root.join("sparse")).expect("a file");
    file.write_all_at(&[7; 8192], 1 << 20).expect("written");
    file.set_len(2 << 20).expect("a size");
    let made = |version: &str| {
        let archive = directory.path().join("made.tar");
        let mut command = Command::new("tar");
        command.args(["--create", "--sparse", "--format", "posix", "--sparse-version", version]);
        ran(command.arg("--file").arg(&archive).arg("-C").arg(&root).arg("sparse")).done();
        fs::read(archive).expect("an archive")
    };
    let replaced = |version: &str, from: &str, to: &str| {
        let mut bytes = made(version);
        let at = bytes.windows(from.len()).position(|it| it == from.as_bytes()).expect("there");
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        refused(&[Blob::plain(bytes)])
    };
    for (version, from, to, said) in [
        ("1.0", "GNU.sparse.major=1", "GNU.sparse.major=2", "the version 2.0 of GNU's form"),
        ("1.0", "realsize=2097152", "realsize=1048576", "don't agree"),
        ("1.0", "\n1048576\n8192\n", "\n1048576\n4096\n", "don't agree"),
        ("0.1", "map=1048576,8192", "map=1048576,8191", "don't agree"),
        ("0.1", "numblocks=2", "numblocks=3", "cut short"),
        ("0.0", "GNU.sparse.offset", "GNU.sparse.offsed", "out of order"),
        ("1.0", "GNU.sparse.name", "SUN.holesdata=x", "as Solaris writes them"),
    ] {
        let found = replaced(version, from, to);
        assert!(found.contains(said), "{version} {to:?}: {found}");
    }
    for version in ["0.0", "0.1", "1.0"] {
        let whole = made(version);
        for cut in [600, 1500, 2000, 3000, 5000] {
            refused(&[Blob::plain(whole[..cut].to_vec())]);
        }
    }
}
