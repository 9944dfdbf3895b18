//! A fetch in a process of its own, which is killed, or whose disk is full.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use goatbuild::event::Reporter;
use goatbuild::hub::ModelCache;

use super::volume::Known;
use super::{REPOSITORY, code, hub, hub_at};
use crate::support::double::{Content, Fault};
use crate::support::hub::{COMMIT, HubDouble};
use crate::support::peers::skipped;

const MIB: u64 = 1 << 20;

/// What the child fetches from, and into.
const ENDPOINT: &str = "GOATBUILD_TEST_HUB";
const VOLUME: &str = "GOATBUILD_TEST_VOLUME";

/// A cache of the user's own, if the child is to have one.
const CACHE: &str = "GOATBUILD_TEST_CACHE";

/// The process that the tests below start and kill.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "no test of its own"]
async fn child() {
    let endpoint = std::env::var(ENDPOINT).unwrap();
    let volume = std::env::var_os(VOLUME).unwrap();
    let hub = hub_at(&endpoint).with_caches(std::env::var_os(CACHE).map(Into::into));
    let files = hub.revision(REPOSITORY, "main").await.unwrap().files;
    let (cache, known) = (ModelCache::new(volume), Known::default());
    match hub.fetch(REPOSITORY, COMMIT, &files, &cache, &known, &Reporter::silent()).await {
        Ok(fetched) => println!("\nfetched {} reused {}", fetched.fetched, fetched.reused),
        Err(error) => println!("\nfailed {} {error}", code(&error)),
    }
}

fn command(program: &str, arguments: &[&str], double: &HubDouble, volume: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env(ENDPOINT, &double.url).env(VOLUME, volume);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(double: &HubDouble, volume: &Path) -> Child {
    let this = std::env::current_exe().unwrap();
    let arguments = ["--ignored", "--exact", "hub_client::kill::child", "--nocapture"];
    command(this.to_str().unwrap(), &arguments, double, volume).spawn().unwrap()
}

/// The line that the child ended with.
fn ended(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("fetched") || line.starts_with("failed"));
    line.unwrap_or_else(|| panic!("{output:?}")).to_owned()
}

#[test]
fn a_killed_fetch_goes_on_and_fetches_nothing_again() {
    let double = HubDouble::start();
    let content = Content::noise(3, usize::try_from(112 * MIB).unwrap());
    double.large(REPOSITORY, "model.safetensors", &content);
    double.small(REPOSITORY, "config.json", "{}");
    let volume = tempfile::tempdir().unwrap();
    let (mut reported, mut resumed) = (0, 0);
    for stage in 1..=2_u64 {
        double.clear_faults();
        double.fault("cdn/", 99, Fault::Slow(64 << 10, Duration::from_millis(1)));
        double.forget_requests();
        let mut child = start(&double, volume.path());
        let deadline = Instant::now() + Duration::from_secs(60);
        while double.sent("cdn/") < 30 * MIB {
            assert!(Instant::now() < deadline, "it fetches nothing");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        let here = blocks_on_disk(volume.path(), &content);
        // Eight connections, each with a block in flight and what the kernel holds.
        assert!(here >= (reported + 30 * MIB).saturating_sub(8 * 3 * MIB), "stage {stage}: {here}");
        (resumed, reported) = (reported, here);
    }
    assert!(resumed < reported);
    double.clear_faults();
    double.forget_requests();
    let missing = content.size - reported;
    let said = ended(start(&double, volume.path()));
    assert_eq!(said, format!("fetched {missing} reused {}", reported + 2));
    assert_eq!(double.sent("cdn/"), missing, "what is on disk is not fetched again");
    assert_eq!(double.sent("config.json"), 0);
    let snapshot = volume.path().join(ModelCache::commit_directory(REPOSITORY, COMMIT));
    assert_eq!(std::fs::read(snapshot.join("model.safetensors")).unwrap(), content.bytes());
    let blobs = volume.path().join("hub/models--acme--tiny/blobs");
    assert_eq!(std::fs::read_dir(blobs).unwrap().count(), 2, "nothing is left over");
}

/// Bytes that the journal of an unfinished file promises.
fn blocks_on_disk(volume: &Path, content: &Content) -> u64 {
    let blobs = volume.join("hub/models--acme--tiny/blobs");
    let journal = std::fs::read(blobs.join(format!(".partial-{}.blocks", content.sha256())));
    journal.unwrap().iter().filter(|block| **block != 0).count() as u64 * MIB
}

/// Runs a script that may mount; `None`, loudly, where that is refused.
fn mounting(
    script: &str,
    double: &HubDouble,
    mount: &Path,
    cache: Option<&Path>,
) -> Option<String> {
    let this = std::env::current_exe().unwrap();
    let arguments = ["--user", "--map-root-user", "--mount", "sh", "-ec", script];
    let probe = Command::new("unshare").args(&arguments[..3]).arg("true").status();
    if !probe.is_ok_and(|status| status.success()) {
        skipped("unshare", "user namespaces are refused here");
        return None;
    }
    let mut command = command("unshare", &arguments, double, mount);
    command.envs(cache.map(|cache| (CACHE, cache)));
    let output = command.arg(&this).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_to_be_copied_from_the_user_s_cache_needs_room() {
    let double = HubDouble::start();
    let content = Content::noise(5, usize::try_from(32 * MIB).unwrap());
    double.large(REPOSITORY, "model.safetensors", &content);
    let (mount, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let blobs = cache.path().join("models--acme--tiny/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join(content.sha256()), content.bytes()).unwrap();
    // Too small on another file system; large enough there; too small, and shared.
    let script = r#"
        child() { "$0" --ignored --exact hub_client::kill::child --nocapture | grep -E '^(fetched|failed)'; }
        volume="$GOATBUILD_TEST_VOLUME"
        mount -t tmpfs -o size=20m tmpfs "$volume"
        child
        ls -A "$volume/hub/models--acme--tiny/blobs"
        mount -o remount,size=40m "$volume"
        child
        mkdir "$volume/cache"
        mv "$volume"/hub/models--acme--tiny "$volume/cache"
        export GOATBUILD_TEST_CACHE="$volume/cache"
        child
        "#;
    let Some(text) = mounting(script, &double, mount.path(), Some(cache.path())) else { return };
    let [before, copied, shared] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    let full = "failed goatbuild::hub::disk_full";
    assert!(before.starts_with(full), "{before}");
    assert!(before.contains(&format!("no room for {} more bytes", content.size)), "{before}");
    for said in [copied, shared] {
        assert_eq!(said, format!("fetched 0 reused {}", content.size));
    }
    assert_eq!(double.sent("cdn/"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_is_named_and_what_was_fetched_is_kept() {
    let double = HubDouble::start();
    let content = Content::noise(4, usize::try_from(32 * MIB).unwrap());
    double.large(REPOSITORY, "model.safetensors", &content);
    let mount = tempfile::tempdir().unwrap();
    // Full from the beginning, then filled up in the middle, then with room enough.
    let script = r#"
        child() { "$0" --ignored --exact hub_client::kill::child --nocapture | grep -E '^(fetched|failed)'; }
        mount -t tmpfs -o size=20m tmpfs "$GOATBUILD_TEST_VOLUME"
        child
        ls -A "$GOATBUILD_TEST_VOLUME/hub/models--acme--tiny/blobs"
        mount -o remount,size=40m "$GOATBUILD_TEST_VOLUME"
        (while [ ! -e "$GOATBUILD_TEST_VOLUME"/hub/*/blobs/.partial-*.blocks ]; do sleep 0.01; done
         head -c 20M /dev/zero > "$GOATBUILD_TEST_VOLUME/other") &
        child
        wait
        rm "$GOATBUILD_TEST_VOLUME/other"
        child
        ls -A "$GOATBUILD_TEST_VOLUME/hub/models--acme--tiny/blobs"
        "#;
    double.fault("cdn/", 3, Fault::Slow(256 << 10, Duration::from_millis(10)));
    let Some(text) = mounting(script, &double, mount.path(), None) else { return };
    let [before, middle, after, blob] = text.lines().collect::<Vec<_>>()[..] else {
        panic!("{text}")
    };
    let full = "failed goatbuild::hub::disk_full";
    assert!(before.starts_with(full), "{before}");
    assert!(before.contains(&format!("no room for {} more bytes", content.size)), "{before}");
    assert!(middle.starts_with(full), "{middle}");
    let fetched: u64 = after.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(fetched > 0 && fetched < content.size, "{after}");
    assert_eq!(after, format!("fetched {fetched} reused {}", content.size - fetched));
    assert_eq!(blob, content.sha256(), "nothing else is left");
    assert!(hub(&double).revision(REPOSITORY, "main").await.is_ok());
}
