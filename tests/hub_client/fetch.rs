//! Files in a volume: each the listed bytes, none fetched twice.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use goatbuild::hub::{Fetched, Hub, RemoteFile};

use super::volume::{Known, Volume};
use super::{REPOSITORY, code, hub, hub_with, patience, said, settings};
use crate::support::double::{Content, Fault};
use crate::support::hub::{COMMIT, HubDouble};

const MIB: usize = 1 << 20;

/// A repository with one file of `size` noisy bytes.
async fn with_large(size: usize) -> (HubDouble, Content, Vec<RemoteFile>) {
    let double = HubDouble::start();
    let content = Content::noise(7, size);
    double.large(REPOSITORY, "model.safetensors", &content);
    let files = hub(&double).revision(REPOSITORY, "main").await.unwrap().files;
    double.forget_requests();
    (double, content, files)
}

pub(crate) fn all_fetched(bytes: u64) -> Fetched {
    Fetched { fetched: bytes, reused: 0 }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_fetched_verified_and_linked() {
    let double = HubDouble::start();
    double.restrict("hf_right", false);
    double.small(REPOSITORY, "config.json", "{}");
    // The same bytes twice are one blob; nothing at all is one, too.
    double.small(REPOSITORY, "generation_config.json", "{}");
    double.small(REPOSITORY, "empty", "");
    let weights = Content::noise(1, 40 * MIB + 13);
    double.large(REPOSITORY, "original/model.safetensors", &weights);
    double.large(REPOSITORY, "short.safetensors", &Content::noise(2, 3));
    let hub = hub_with(&double, Some("hf_right"));
    let revision = hub.revision(REPOSITORY, "main").await.unwrap();
    let volume = Volume::new();
    let size = weights.size + 3 + 2;
    assert_eq!(volume.fetch(&hub, &revision.files).await.unwrap(), all_fetched(size));
    assert_eq!(volume.progress(), (size, size));
    assert_eq!(volume.fetched.load(Ordering::Relaxed), size);
    assert_eq!(volume.read("original/model.safetensors"), weights.bytes());
    assert_eq!(volume.read("config.json"), b"{}");
    assert_eq!(volume.read("empty"), b"");
    assert_eq!(volume.blob_names().len(), 4, "{:?}", volume.blob_names());
    let requests = double.requests();
    let at_cdn: Vec<_> = requests.iter().filter(|one| one.path.starts_with("cdn/")).collect();
    let ranges = at_cdn.iter().filter(|one| one.range.is_some()).count();
    assert_eq!((at_cdn.len(), ranges), (4, 3), "of 41 blocks, 16 at once: {at_cdn:?}");
    assert!(at_cdn.iter().all(|one| one.token.is_none()), "the token stays with the hub");
    assert_eq!(double.sent("cdn/"), weights.size + 3);
    let asked = requests.iter().filter(|one| one.path.contains("/resolve/")).count();
    assert_eq!(asked, 3, "the hub is asked once for each, however many ranges it has");

    // Again: nothing is asked, nothing is hashed.
    double.forget_requests();
    let again = volume.fetch(&hub, &revision.files).await.unwrap();
    assert_eq!(again, Fetched { fetched: 0, reused: size });
    assert_eq!(double.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_answers_arrive_at_once() {
    let (double, content, files) = with_large(128 * MIB).await;
    double.fault("cdn/", 99, Fault::Slow(MIB, Duration::from_millis(40)));
    let started = Instant::now();
    let volume = Volume::new();
    assert_eq!(volume.fetch(&hub(&double), &files).await.unwrap(), all_fetched(content.size));
    let one_by_one = Duration::from_millis(128 * 40);
    assert!(started.elapsed() < one_by_one / 2, "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_ranges_sends_one_stream() {
    let (double, content, files) = with_large(20 * MIB).await;
    double.fault("cdn/", 99, Fault::IgnoreRange);
    let volume = Volume::new();
    assert_eq!(volume.fetch(&hub(&double), &files).await.unwrap(), all_fetched(content.size));
    assert_eq!(volume.read("model.safetensors"), content.bytes());
    assert_eq!(double.sent("cdn/"), content.size);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_taken_up_where_it_broke() {
    let (double, content, files) = with_large(20 * MIB).await;
    // More often than patience lasts: what leads somewhere renews it.
    double.fault("cdn/", 6, Fault::Truncate(2 * MIB as u64));
    let volume = Volume::new();
    assert_eq!(volume.fetch(&hub(&double), &files).await.unwrap(), all_fetched(content.size));
    assert_eq!(volume.read("model.safetensors"), content.bytes());
    assert_eq!(double.sent("cdn/"), content.size);
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bytes_are_named_and_never_kept() {
    let (double, content, files) = with_large(20 * MIB).await;
    double.fault("cdn/", 1, Fault::Flip(5));
    let volume = Volume::new();
    let error = volume.fetch(&hub(&double), &files).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::damaged");
    assert!(error.to_string().contains("model.safetensors of acme/tiny arrived damaged"));
    assert!(error.to_string().contains(&content.sha256()), "{error}");
    assert_eq!(volume.blob_names(), Vec::<String>::new());
    assert_eq!(double.sent("cdn/"), content.size, "it is not fetched twice");
    assert!(volume.fetch(&hub(&double), &files).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_s_body_is_never_a_file() {
    let (double, content, files) = with_large(3 * MIB).await;
    let hub = hub(&double);
    // The hub leads there, and there it fails.
    double.fault("cdn/", 99, Fault::Status(503, ""));
    let volume = Volume::new();
    let error = volume.fetch(&hub, &files).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::status");
    assert!(error.to_string().contains("HTTP 503, asked 3 time(s)"), "{error}");
    assert!(!said(&error).contains("secret"), "signatures are secrets: {error}");
    assert!(volume.blob_names().iter().all(|name| name.starts_with(".partial-")));
    double.clear_faults();
    double.fault("cdn/", 2, Fault::Status(500, ""));
    assert_eq!(volume.fetch(&hub, &files).await.unwrap(), all_fetched(content.size));
    assert_eq!(volume.blob_names(), [content.sha256()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_expired_is_asked_for_again() {
    let (double, content, files) = with_large(40 * MIB).await;
    let volume = Volume::new();
    double.fault("cdn/", 1, Fault::Slow(MIB, Duration::from_millis(5)));
    double.fault("cdn/", 2, Fault::Status(403, ""));
    assert_eq!(volume.fetch(&hub(&double), &files).await.unwrap(), all_fetched(content.size));
    assert_eq!(double.sent("cdn/"), content.size);
    let asked = double.requests().iter().filter(|one| one.path.contains("/resolve/")).count();
    assert!(asked >= 2, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refusal_keeps_all_connections_waiting() {
    let (double, content, files) = with_large(128 * MIB).await;
    let volume = Volume::new();
    double.fault("cdn/", 1, Fault::Slow(MIB, Duration::from_millis(5)));
    double.fault("cdn/", 1, Fault::Status(429, "retry-after: 1"));
    let started = Instant::now();
    assert_eq!(volume.fetch(&hub(&double), &files).await.unwrap(), all_fetched(content.size));
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(double.sent("cdn/"), content.size);
    double.fault("resolve", 99, Fault::Status(429, ""));
    let error = Volume::new().fetch(&hub(&double), &files).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::rate_limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_told_and_ends_when_the_fetch_is_cancelled() {
    let (double, _, files) = with_large(32 * MIB).await;
    double.fault("cdn/", 99, Fault::Status(503, "retry-after: 200"));
    let volume = Arc::new(Volume::new());
    let waiting = Arc::clone(&volume);
    std::thread::spawn(move || {
        while !waiting.told().contains("the hub asks for 200 s of patience; waiting until ") {
            std::thread::sleep(Duration::from_millis(5));
        }
        waiting.stop.store(true, Ordering::Relaxed);
    });
    let started = Instant::now();
    let hub = hub(&double);
    let error = volume.fetch(&hub, &files).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::interrupted");
    // Whoever asks next waits, too, and not any longer.
    let error = hub.telling(&volume.reporter()).revision(REPOSITORY, "main").await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::interrupted");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_under_its_revision_is_refused() {
    let (double, content, files) = with_large(3 * MIB).await;
    double.small(REPOSITORY, "config.json", "{}");
    let hub = hub(&double);
    let all = hub.revision(REPOSITORY, "main").await.unwrap().files;
    for (at, header, value, what) in [
        ("hub/acme/tiny/resolve", "x-linked-etag", format!("\"{}\"", "0".repeat(64)), "digest"),
        ("hub/acme/tiny/resolve", "x-linked-size", "5".to_owned(), "size"),
        ("hub/acme/tiny/resolve", "x-repo-commit", "f".repeat(40), "commit"),
        ("cdn/", "content-range", "bytes 0-1048575/99".to_owned(), "nothing: it is no range"),
    ] {
        double.fault(at, 1, Fault::Header(header, value));
        let fetched = Volume::new().fetch(&hub, &files).await;
        double.clear_faults();
        if what.starts_with("nothing") {
            assert_eq!(fetched.unwrap(), all_fetched(content.size));
            continue;
        }
        let error = fetched.unwrap_err();
        assert_eq!(code(&error), "goatbuild::hub::changed");
        assert!(error.to_string().contains(&format!("its {what} was")), "{error}");
    }
    let small = all.into_iter().filter(|file| file.path == "config.json").collect::<Vec<_>>();
    double.fault("config.json", 1, Fault::Header("etag", format!("W/\"{}\"", "0".repeat(40))));
    let error = Volume::new().fetch(&hub, &small).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::changed");
    // Same commit, same headers, other bytes: a length that differs is seen at once.
    double.fault("config.json", 1, Fault::Body(b"{\"x\": 1}".to_vec()));
    let error = Volume::new().fetch(&hub, &small).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_that_leads_nowhere_ends() {
    let (double, _, files) = with_large(3 * MIB).await;
    let there = format!("{}/acme/tiny/resolve/{COMMIT}/model.safetensors", double.url);
    double.fault("/resolve/", 99, Fault::Redirect(there));
    let error = Volume::new().fetch(&hub(&double), &files).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::redirects");
    assert_eq!(double.requests().len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leads_away_cannot_lead_the_token_back() {
    let (double, _, files) = with_large(3 * MIB).await;
    double.restrict("hf_right", false);
    let back = format!("{}/acme/tiny/resolve/{COMMIT}/model.safetensors", double.url);
    double.fault("cdn/", 1, Fault::Redirect(back));
    let hub = hub_with(&double, Some("hf_right"));
    let error = Volume::new().fetch(&hub, &files).await.unwrap_err();
    assert!(error.to_string().contains("HTTP 401"), "{error}");
    let requests = double.requests();
    let tokens: Vec<_> = requests.iter().map(|one| one.token.is_some()).collect();
    assert_eq!(tokens, [true, false, false], "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gated_repository_gives_no_bytes() {
    let (double, _, files) = with_large(3 * MIB).await;
    double.restrict("hf_right", true);
    let volume = Volume::new();
    let error = volume.fetch(&hub_with(&double, Some("hf_right")), &files).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::gated");
    assert!(said(&error).contains(&format!("ask for access at {}/acme/tiny", double.url)));
    assert!(volume.blob_names().iter().all(|name| name.starts_with(".partial-")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_not_what_it_is_called_is_fetched_anew() {
    let (double, content, files) = with_large(3 * MIB).await;
    let volume = Volume::new();
    let hub = hub(&double);
    volume.fetch(&hub, &files).await.unwrap();
    let blob = volume.blobs().join(content.sha256());
    let mut bytes = content.bytes();
    bytes[MIB] = !bytes[MIB];
    fs::write(&blob, &bytes).unwrap();
    assert_eq!(volume.fetch(&hub, &files).await.unwrap(), all_fetched(content.size));
    assert_eq!(fs::read(&blob).unwrap(), content.bytes());
    // One that is right is hashed when nobody remembers it, and not fetched.
    double.forget_requests();
    let volume = Volume { known: Known::default(), ..volume };
    let reused = Fetched { fetched: 0, reused: content.size };
    assert_eq!(volume.fetch(&hub, &files).await.unwrap(), reused);
    assert_eq!(volume.fetch(&hub, &files).await.unwrap(), reused);
    assert_eq!(volume.known.0.lock().unwrap().len(), 1, "hashed once");
    assert_eq!(double.requests().len(), 0);
}

/// A hub whose user has a cache, which holds these files of the repository.
fn with_cache(double: &HubDouble, cache: &Path, files: &[(&str, &[u8])]) -> Hub {
    let blobs = cache.join("models--acme--tiny/blobs");
    fs::create_dir_all(&blobs).unwrap();
    for (name, bytes) in files {
        fs::write(blobs.join(name), bytes).unwrap();
    }
    let mut settings = settings(&double.url, None);
    settings.caches = vec![cache.join("nowhere"), cache.to_owned()];
    Hub::new(settings, false, patience()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_user_has_is_not_fetched() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let (double, content, files) = with_large(3 * MIB).await;
    let cache = tempfile::tempdir().unwrap();
    let name = content.sha256();
    let hub = with_cache(&double, cache.path(), &[(&name, &content.bytes())]);
    let theirs = cache.path().join("models--acme--tiny/blobs").join(&name);
    let reused = Fetched { fetched: 0, reused: content.size };
    let volume = Volume::new();
    assert_eq!(volume.fetch(&hub, &files).await.unwrap(), reused);
    assert_eq!(volume.read("model.safetensors"), content.bytes());
    assert_eq!(volume.progress(), (content.size, content.size));
    let shared = fs::metadata(volume.blobs().join(&name)).unwrap();
    let original = fs::metadata(&theirs).unwrap();
    // A file system that can clone shares the bytes, not the file.
    let mut clone = std::process::Command::new("cp");
    clone.arg("--reflink=always").arg(&theirs).arg(volume.blobs().with_file_name("clone"));
    let clones = clone.output().unwrap().status.success();
    assert_eq!(shared.ino() == original.ino(), !clones);
    assert_eq!(volume.blob_names(), std::slice::from_ref(&name));

    // A name may lead to where the user keeps large files: what the volume gets is the file.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::rename(&theirs, elsewhere.path().join("kept")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("kept"), &theirs).unwrap();
    let volume = Volume::new();
    assert_eq!(volume.fetch(&hub, &files).await.unwrap(), reused);
    let blob = fs::symlink_metadata(volume.blobs().join(&name)).unwrap();
    assert!(blob.is_file() && blob.len() == content.size, "{blob:?}");

    // What only its owner may read is copied: a container reads the volume as somebody else.
    fs::remove_file(&theirs).unwrap();
    fs::write(&theirs, content.bytes()).unwrap();
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o600)).unwrap();
    let volume = Volume::new();
    assert_eq!(volume.fetch(&hub, &files).await.unwrap(), reused);
    let copied = fs::metadata(volume.blobs().join(&name)).unwrap();
    assert_eq!(copied.permissions().mode() & 0o777, 0o644);
    assert_ne!(copied.ino(), original.ino());
    assert_eq!(double.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_user_has_is_verified() {
    use std::os::unix::fs::PermissionsExt as _;
    let (double, content, files) = with_large(3 * MIB).await;
    let mut damaged = content.bytes();
    damaged[7] = !damaged[7];
    for mode in [0o644, 0o600] {
        let cache = tempfile::tempdir().unwrap();
        let name = content.sha256();
        let hub = with_cache(&double, cache.path(), &[(&name, &damaged)]);
        let theirs = cache.path().join("models--acme--tiny/blobs").join(&name);
        fs::set_permissions(&theirs, fs::Permissions::from_mode(mode)).unwrap();
        let volume = Volume::new();
        assert_eq!(volume.fetch(&hub, &files).await.unwrap(), all_fetched(content.size));
        assert_eq!(volume.read("model.safetensors"), content.bytes());
        let (expected, done) = volume.progress();
        assert_eq!(expected, done);
        assert_eq!(fs::read(&theirs).unwrap(), damaged, "it is theirs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_is_cancelled_stops_and_goes_on_later() {
    let (double, content, files) = with_large(64 * MIB).await;
    double.fault("cdn/", 9, Fault::Slow(MIB, Duration::from_millis(30)));
    let volume = Arc::new(Volume::new());
    let stopper = Arc::clone(&volume);
    std::thread::spawn(move || {
        while stopper.done.load(Ordering::Relaxed) < 8 * MIB as u64 {
            std::thread::sleep(Duration::from_millis(5));
        }
        stopper.stop.store(true, Ordering::Relaxed);
    });
    let error = volume.fetch(&hub(&double), &files).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::interrupted");
    volume.stop.store(false, Ordering::Relaxed);
    double.clear_faults();
    double.forget_requests();
    let fetched = volume.fetch(&hub(&double), &files).await.unwrap();
    assert!(fetched.reused >= 8 * MIB as u64, "{fetched:?}");
    assert_eq!(fetched.fetched + fetched.reused, content.size);
    assert_eq!(double.sent("cdn/"), fetched.fetched);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_left_over_that_is_damaged_is_fetched_once_more() {
    let (double, content, files) = with_large(20 * MIB).await;
    let hub = hub(&double);
    double.fault("cdn/", 1, Fault::Truncate(4 * MIB as u64));
    double.fault("cdn/", 99, Fault::Status(500, ""));
    let volume = Volume::new();
    volume.fetch(&hub, &files).await.unwrap_err();
    double.clear_faults();
    let partial = volume.blobs().join(format!(".partial-{}", content.sha256()));
    let mut bytes = fs::read(&partial).unwrap();
    bytes[9] = !bytes[9];
    fs::write(&partial, bytes).unwrap();
    double.forget_requests();
    assert_eq!(volume.fetch(&hub, &files).await.unwrap(), all_fetched(content.size));
    assert_eq!(double.sent("cdn/"), (16 + 20) * MIB as u64);
    assert_eq!(volume.blob_names(), [content.sha256()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_nothing_is_asked_and_what_is_here_is_enough() {
    let (double, content, files) = with_large(3 * MIB).await;
    let volume = Volume::new();
    let offline = Hub::new(settings(&double.url, None), true, patience()).unwrap();
    let error = volume.fetch(&offline, &files).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::offline");
    volume.fetch(&hub(&double), &files).await.unwrap();
    let reused = Fetched { fetched: 0, reused: content.size };
    assert_eq!(volume.fetch(&offline, &files).await.unwrap(), reused);
}
