//! What says that it is large, or is: memory goes by what arrives, and not beyond what anything has that is
//! real. Time is not asserted: it is that of the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::server::{Answer, Server};
use super::wheels::{build_of, whole};
use crate::support::project::{Project, Ran};

/// More than any command takes here, by far; each of these would have taken it many times.
const MOST: u64 = 1 << 30;

/// Runs a command, and gives the most memory that it had, in bytes.
fn measured(project: &Project, arguments: &[&str]) -> (Ran, u64) {
    let running = project.start(arguments);
    let status = format!("/proc/{}/status", running.pid());
    let most = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&most);
    let watch = std::thread::spawn(move || {
        let high = |text: String| {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        while let Some(kilobytes) = std::fs::read_to_string(&status).ok().and_then(high) {
            seen.fetch_max(kilobytes << 10, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    });
    let ran = running.finish();
    watch.join().expect("it ends");
    let most = most.load(Ordering::Relaxed);
    println!("{arguments:?}: {} MiB", most >> 20);
    assert!(most > 0 && most < MOST, "{} MiB", most >> 20);
    (ran, most)
}

/// A zip whose directory has this many entries, all of them there, and says this number.
fn zip_of(entries: u32, says: u32) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    let mut put = |name: &str, content: &[u8]| {
        let offset = u32::try_from(zip.len()).expect("it is small");
        let length = u32::try_from(content.len()).expect("it is small");
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let name_length = u16::try_from(name.len()).expect("it is short");
        let mut shared = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        shared.extend(crc.sum().to_le_bytes());
        shared.extend(length.to_le_bytes());
        shared.extend(length.to_le_bytes());
        shared.extend(name_length.to_le_bytes());
        shared.extend([0, 0]);
        zip.extend(b"PK\x03\x04");
        zip.extend(&shared);
        zip.extend(name.as_bytes());
        zip.extend(content);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&shared);
        directory.extend([0; 6]);
        directory.extend((0o100_644_u32 << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    };
    for entry in 0..entries {
        put(&format!("m/{entry:06x}"), b"");
    }
    put("bad-1.0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n");
    put(
        "bad-1.0.dist-info/WHEEL",
        b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    );
    put("bad-1.0.dist-info/RECORD", b"");
    let (offset, size) = (zip.len() as u64, directory.len() as u64);
    zip.extend(&directory);
    let end = zip.len() as u64;
    zip.extend(b"PK\x06\x06");
    zip.extend(44_u64.to_le_bytes());
    zip.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let count = u64::from(says) + 3;
    for number in [count, count, size, offset] {
        zip.extend(number.to_le_bytes());
    }
    zip.extend(b"PK\x06\x07\0\0\0\0");
    zip.extend(end.to_le_bytes());
    zip.extend([1, 0, 0, 0]);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend([0xff; 12]);
    zip.extend([0, 0]);
    zip
}

/// modelcontextprotocol/mcpb#266: the number of a zip's entries is whatever it says. The largest wheels have some
/// twenty thousand.
#[test]
fn a_wheel_of_a_million_files_is_refused_and_one_of_many_is_built() {
    for (entries, says, expected) in [
        (1_000_000, 1_000_000, Some("its directory is larger than 32 MiB")),
        (10, 4_000_000_000, Some("another number of entries than stated")),
        (100_000, 100_000, None),
    ] {
        let bad = zip_of(entries, says);
        let build =
            |project: &Project| measured(project, &["apply", "--json", "--only", "image:tiny"]).0;
        let Some((_, output)) = build_of(&[("bad", &bad)], whole, build) else { return };
        match expected {
            Some(words) => _ = output.exits(1).says(&[words]),
            None => _ = output.exits(0),
        }
    }
}

/// google/go-containerregistry#2204 and CVE-2020-1702: manifests, tokens and refusals were read whole.
#[test]
fn documents_of_a_registry_that_never_end_or_nest_for_ever_are_no_documents() {
    let Some(mut project) = super::downloaded() else { return };
    let server = Server::start();
    project.variable("GOATBUILD_HTTP_ATTEMPTS", "1");
    let base = format!("base = \"127.0.0.1:{}/x/y:1\"\nrequirements = []\n", server.port);
    project.write("images/tiny.toml", &base);
    let nested = "[".repeat(100_000).into_bytes();
    let nested_further = [&b"{\"manifests\": "[..], &b"[".repeat(100_000)].concat();
    for body in [vec![b' '; 40 << 20], nested, nested_further] {
        server.otherwise(Answer::Body(body));
        let (ran, _) = measured(&project, &["lock"]);
        assert_ne!(ran.code, 0, "{ran:?}");
        assert!(!ran.stderr.contains("panicked") && ran.stderr.len() < 5000, "{}", ran.stderr);
    }
}

/// Brackets in brackets, and lines of megabytes, in all that people write.
#[test]
fn brackets_in_brackets_are_a_mistake_in_every_file_and_told_in_few_words() {
    let Some(project) = super::downloaded() else { return };
    let deep = 100_000;
    for (file, code) in [
        ("specs/tiny.toml", 65),
        ("goatbuild.toml", 65),
        ("images/tiny.toml", 65),
        ("goatbuild.lock", 65),
        ("images/tiny.pylock.toml", 65),
        ("litellm.yaml", 1),
    ] {
        let kept = project.read(file);
        for text in [
            format!("x = {}", "[".repeat(deep)),
            format!("x = {}1{}\n", "[".repeat(deep), "]".repeat(deep)),
            format!("x = {}", "{a=".repeat(deep)),
            format!("{} = 1\n", vec!["a"; deep].join(".")),
            format!("x = \"{}\" wrong\n", "y".repeat(4 << 20)),
            format!("[{}]\n", vec!["a"; deep].join(".")),
        ] {
            project.write(file, &text);
            let (ran, _) = measured(&project, &["plan"]);
            assert!(
                !ran.stderr.contains("panicked") && ran.stderr.len() < 20_000,
                "{file}: {}",
                ran.stderr.len()
            );
            assert!(
                ran.code == code || (file == "litellm.yaml" && ran.code == 0),
                "{file} {text:.40}: {ran:?}"
            );
        }
        project.write(file, &kept);
    }
}

/// A script of a few lines that doubles what it has, and things that are no scripts.
#[test]
fn what_is_imported_is_read_within_bounds() {
    let Some(project) = super::downloaded() else { return };
    let deep = 100_000;
    let app = "import modal\napp = modal.App('x')\n";
    for text in [
        format!("{app}X = 'aaaaaaaa'\n{}", "X = X + X\n".repeat(60)),
        format!("{app}X = [1, 2]\n{}", "X = [X, X]\n".repeat(60)),
        format!("{app}X = {}1{}\n", "(".repeat(deep), ")".repeat(deep)),
        format!("{app}X = {}\n", "f'{".repeat(deep)),
    ] {
        project.write("deploy.py", &text);
        let (ran, _) = measured(&project, &["import", "deploy.py", "--to", "imported"]);
        let ran = ran.exits(65);
        assert!(ran.stderr.len() < 20_000, "{}", ran.stderr.len());
    }
    for (what, words) in [("/dev/zero", "it is a device, not a file"), (".", "directory")] {
        project.run(&["import", what, "--to", "imported"]).fails(65, &[words]);
        project.write("deploy.py", app);
        let gateway = ["import", "deploy.py", "--gateway", what, "--to", "imported"];
        project.run(&gateway).fails(65, &[words]);
    }
    assert!(!project.path("imported").exists());
}
