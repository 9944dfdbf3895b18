//! A disk that fills up in the middle of a pull.

use std::process::Command;

use goatbuild::platform::Architecture;

use super::faulty::Faulty;
use super::support::double::Content;
use super::support::peers::skipped;
use super::support::registry_double::Door;

/// Bytes of a layer that is larger than the disk at first.
const LARGE: usize = 8 << 20;

#[test]
fn a_full_disk_is_named_and_what_was_fetched_is_kept() {
    let namespaces = ["--user", "--map-root-user", "--mount"];
    let probe = Command::new("unshare").args(namespaces).arg("true").status();
    if !probe.is_ok_and(|status| status.success()) {
        skipped("unshare", "user namespaces are refused here");
        return;
    }
    let Some(faulty) = Faulty::new(Door::Open) else { return };
    let noise = Content::noise(9, LARGE).bytes();
    let noise: String = noise.iter().map(|byte| char::from(b' ' + byte % 64)).collect();
    let layer = faulty.bases.layer(&[("etc/large", &noise)]);
    let digest = faulty.bases.image("large", Architecture::Amd64, vec![layer.clone()], &[]);
    faulty.base(&format!("@{digest}"));
    let script = r#"
        mount -t tmpfs -o size=5m tmpfs cache
        status=0; "$goatbuild" apply --only base:tiny || status=$?
        echo "first $status"
        for part in cache/bases/*; do echo "left ${part##*.}"; done
        check() { (cd cache/oci/blobs/sha256 && for it in *; do echo "$it  $it"; done | sha256sum -c); }
        check
        mount -o remount,size=50m cache
        "$goatbuild" apply --only base:tiny
        check
        "#;
    let binary = faulty.project.command("");
    let mut command = Command::new("unshare");
    command.args(namespaces).args(["sh", "-euc", script]).current_dir(faulty.project.root());
    for (name, value) in binary.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("goatbuild", binary.get_program());
    let output = command.output().expect("unshare was there before");
    let said = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}\n{said}");
    for words in ["No space left on device", "goatbuild::fetch::write", "base:tiny failed"] {
        assert!(said.contains(words), "{said}");
    }
    assert!(stdout.contains("first 1\nleft part\n"), "{stdout}");
    let digits = layer.digest.hex();
    assert_eq!(stdout.matches(&format!("{digits}: OK")).count(), 1, "{stdout}");
    // It goes on where the disk was full, but for what the error itself needed room for.
    let requests = faulty.double.requests();
    let asked = requests.iter().filter(|one| one.path.contains(&digits));
    let ranges: Vec<_> = asked.map(|one| one.range.as_deref()).collect();
    let [None, Some(range)] = ranges[..] else { panic!("{requests:?}") };
    let from = range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
    let from: u64 = from.and_then(|from| from.parse().ok()).expect("a range");
    assert!(from > 2 << 20, "{range}");
}
