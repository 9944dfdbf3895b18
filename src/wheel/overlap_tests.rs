//! Paths that several wheels own: told all at once, and settled by who is named.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use flate2::read::MultiGzDecoder;

use super::testing::{Raw, Wheel, save_bytes};
use super::*;
use crate::testing::peers::skipped;

const SCHEME: Scheme = Scheme { python: MajorMinor { major: 3, minor: 11 }, epoch: 0 };
const SITE: &str = "opt/goatbuild/lib/python3.11/site-packages";

fn entry(pattern: &str, winner: &str) -> Overlap {
    Overlap { pattern: pattern.to_owned(), winner: winner.to_owned() }
}

/// Two wheels of which each has a licence of its own right in `site-packages`, as many published ones do.
fn published(directory: &Path) -> [WheelFile; 2] {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wheels");
    ["wcolla-1.0-py3-none-any.whl", "wcollb-1.0-py3-none-any.whl"]
        .map(|name| save_bytes(directory, name, &std::fs::read(from.join(name)).unwrap()))
}

type Tree = BTreeMap<String, (bool, Vec<u8>)>;

/// Adds the files of a layer, over those of the layers below.
fn add(tree: &mut Tree, layer: &[u8]) {
    for entry in ::tar::Archive::new(MultiGzDecoder::new(layer)).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            tree.insert(path, (entry.header().mode().unwrap() & 0o111 != 0, content));
        }
    }
}

/// What an image has whose wheels lie in these layers.
fn image(
    slots: &[Vec<WheelFile>],
    overlap: &[Overlap],
) -> Result<(Tree, Vec<Overlap>), WheelError> {
    let mut tree = Tree::new();
    for slot in slots {
        let mut layer = Vec::new();
        build_slot(slot, overlap, &SCHEME, &mut layer, &Reporter::silent())?;
        add(&mut tree, &layer);
    }
    let mut layer = Vec::new();
    let all: Vec<WheelFile> = slots.concat();
    let made = overlap_layer(&all, overlap, &SCHEME, &mut layer, &Reporter::silent())?;
    if made.layer.is_some() {
        add(&mut tree, &layer);
    }
    Ok((tree, made.unused))
}

fn told(wheels: &[WheelFile]) -> String {
    let error = collisions(wheels, &SCHEME, &Reporter::silent()).unwrap_err();
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    format!("{error}\nhelp: {help}")
}

#[test]
fn every_shared_path_is_named_with_the_line_that_settles_it() {
    let directory = tempfile::tempdir().unwrap();
    let told_of = |wheels: &[Wheel]| {
        told(&wheels.iter().map(|it| it.save(directory.path())).collect::<Vec<_>>())
    };
    insta::assert_snapshot!(told(&published(directory.path())), @r#"
    wcolla-1.0-py3-none-any.whl and wcollb-1.0-py3-none-any.whl both own `/opt/goatbuild/lib/python3.11/site-packages/LICENSE`, and the contents differ
    help: which one wins would depend on the order of installation: require versions that don't overlap, or only one of the two; or say in the image's file whose files they are, by the wheel that shall win:
    overlap = { "LICENSE" = "wcolla" }
    "#);
    let many = |name: &str| {
        (0..20).fold(Wheel::named(name, "1"), |wheel, at| {
            wheel.file(&format!("shared/part/m{at:02}.py"), format!("x = {name:?}\n").as_bytes())
        })
    };
    let script = |name: &str| {
        let text = format!("[console_scripts]\ntool = {name}:main\n");
        Wheel::named(name, "1")
            .file(&format!("{name}-1.dist-info/entry_points.txt"), text.as_bytes())
    };
    insta::assert_snapshot!(told_of(&[many("one"), many("two"), script("three"), script("four")]), @r#"
    four-1-py3-none-any.whl and three-1-py3-none-any.whl both own `/opt/goatbuild/bin/tool`, and the contents differ
    one-1-py3-none-any.whl and two-1-py3-none-any.whl both own 20 paths, and the contents differ:
      /opt/goatbuild/lib/python3.11/site-packages/shared/part/m00.py
      /opt/goatbuild/lib/python3.11/site-packages/shared/part/m01.py
      /opt/goatbuild/lib/python3.11/site-packages/shared/part/m02.py
      /opt/goatbuild/lib/python3.11/site-packages/shared/part/m03.py
      /opt/goatbuild/lib/python3.11/site-packages/shared/part/m04.py
      /opt/goatbuild/lib/python3.11/site-packages/shared/part/m05.py
      /opt/goatbuild/lib/python3.11/site-packages/shared/part/m06.py
      /opt/goatbuild/lib/python3.11/site-packages/shared/part/m07.py
      /opt/goatbuild/lib/python3.11/site-packages/shared/part/m08.py
      /opt/goatbuild/lib/python3.11/site-packages/shared/part/m09.py
      /opt/goatbuild/lib/python3.11/site-packages/shared/part/m10.py
      /opt/goatbuild/lib/python3.11/site-packages/shared/part/m11.py
      … and 8 more
    help: which one wins would depend on the order of installation: require versions that don't overlap, or only one of the two; or say in the image's file whose files they are, by the wheel that shall win:
    overlap = { "/opt/goatbuild/bin/tool" = "four", "shared/part/*" = "one" }
    "#);
}

/// Which file is there is what pip leaves when it installs the winner last.
#[test]
fn the_named_wheel_wins_as_if_it_were_installed_last() {
    let directory = tempfile::tempdir().unwrap();
    let [one, other] = published(directory.path());
    for (winner, loser) in [(&one, &other), (&other, &one)] {
        let name = winner.filename.split('-').next().unwrap();
        let overlap = [entry("LICENSE", name)];
        let (apart, unused) = image(&[vec![one.clone()], vec![other.clone()]], &overlap).unwrap();
        assert_eq!(unused, []);
        let (together, _) = image(&[vec![one.clone(), other.clone()]], &overlap).unwrap();
        assert_eq!(apart, together);
        let prefix = directory.path().join(name);
        for wheel in [loser, winner] {
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-compile"]);
            pip.args(["--no-warn-script-location", "--ignore-installed", "--prefix"]);
            let done = pip.arg(&prefix).arg(&wheel.path).output();
            if !done.is_ok_and(|done| done.status.success()) {
                skipped("pip", "it installs no wheel here");
                return;
            }
        }
        let mut compared = 0;
        for found in walkdir::WalkDir::new(&prefix) {
            let found = found.unwrap();
            let path = found.path().to_str().unwrap();
            let Some((_, inside)) = path.split_once("/site-packages/") else { continue };
            if found.file_type().is_file() && !inside.contains(".dist-info/") {
                let ours = &apart[&format!("{SITE}/{inside}")].1;
                assert_eq!(*ours, std::fs::read(found.path()).unwrap(), "{inside}");
                compared += 1;
            }
        }
        assert_eq!(compared, 4);
    }
}

/// No order of layers would do: each wins somewhere. The third owns both, and wins nowhere.
#[test]
fn each_may_win_somewhere_whatever_shares_a_layer() {
    let directory = tempfile::tempdir().unwrap();
    let wheel = |name: &str, executable: bool| {
        let mode = if executable { 0o100_755 } else { 0o100_644 };
        let wheel = Wheel::named(name, "1").file("x/a.py", format!("a of {name}").as_bytes());
        wheel
            .raw(Raw::new("x/b.py", format!("b of {name}").as_bytes()).mode(mode))
            .save(directory.path())
    };
    let (one, two, three) = (wheel("one", false), wheel("two", false), wheel("three", true));
    // The longer pattern is the narrower one.
    let overlap = [entry("x/*", "one"), entry("x/b*", "two"), entry("y/*", "two")];
    let layouts: [Vec<Vec<WheelFile>>; 3] = [
        vec![vec![one.clone()], vec![two.clone()], vec![three.clone()]],
        vec![vec![two.clone(), three.clone()], vec![one.clone()]],
        vec![vec![one, two, three]],
    ];
    let trees = layouts.map(|slots| {
        let (files, unused) = image(&slots, &overlap).unwrap();
        assert_eq!(unused, [entry("y/*", "two")]);
        assert_eq!(files[&format!("{SITE}/x/a.py")].1, b"a of one");
        assert_eq!(files[&format!("{SITE}/x/b.py")], (false, b"b of two".to_vec()));
        files
    });
    assert_eq!(trees[0], trees[1]);
    assert_eq!(trees[0], trees[2]);
}

#[test]
fn what_no_entry_can_settle_stays_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let wheel = |name: &str, path: &str| {
        Wheel::named(name, "1").file(path, name.as_bytes()).save(directory.path())
    };
    let fails = |wheels: [WheelFile; 2], overlap: &[Overlap]| {
        let mut out = Vec::new();
        let made = overlap_layer(&wheels, overlap, &SCHEME, &mut out, &Reporter::silent());
        matches!(made, Err(WheelError::Collision { .. }))
    };
    // pip fails at the second of them, whichever that is; uv as well.
    let (file, below) = (wheel("one", "x"), wheel("two", "x/y.py"));
    assert!(fails([file, below], &[entry("x", "one"), entry("x/*", "two")]));
    // A winner that doesn't own it.
    let (one, two) = (wheel("one", "same.py"), wheel("two", "same.py"));
    assert!(fails([one.clone(), two.clone()], &[entry("same.py", "three")]));
    assert!(fails([one, two], &[entry("other.py", "one")]));
    // Two paths, wherever images run.
    assert!(!fails([wheel("one", "Same.py"), wheel("two", "same.py")], &[]));
}
