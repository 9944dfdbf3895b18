//! Files through Xet: where that pays, and plainly where anything goes wrong.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use goatbuild::hub::{Hub, RemoteFile};
use serde_json::{Value, json};

use super::fetch::all_fetched;
use super::volume::Volume;
use super::{REPOSITORY, code, hub_with, patience, settings};
use crate::support::double::{Content, Fault};
use crate::support::hub::{HubDouble, XET_TOKEN, XetFile};
use crate::support::xet::real;

const MIB: usize = 1 << 20;
const FILE: &str = "model.safetensors";
const TOKEN: &str = "hf_right";

/// A hub with one file that Xet keeps, too.
struct Kept {
    double: HubDouble,
    content: Content,
    hub: Hub,
    files: Vec<RemoteFile>,
}

impl Kept {
    async fn new(content: Content, xet: XetFile) -> Self {
        let double = HubDouble::start();
        double.restrict(TOKEN, false);
        double.large(REPOSITORY, FILE, &content);
        double.xet(REPOSITORY, FILE, xet);
        let hub = hub_with(&double, Some(TOKEN));
        let files = hub.revision(REPOSITORY, "main").await.unwrap().files;
        double.forget_requests();
        Self { double, content, hub, files }
    }

    /// What Hugging Face's own client and store made of a file.
    async fn real() -> Self {
        let (content, xet) = real();
        Self::new(content, xet).await
    }

    /// Fetches all of it into a new volume; what arrives is right.
    async fn fetched(&self) -> Volume {
        let volume = Volume::new();
        let fetched = volume.fetch(&self.hub, &self.files).await.unwrap();
        assert_eq!(fetched, all_fetched(self.content.size));
        assert!(volume.read(FILE) == self.content.bytes());
        assert_eq!(volume.blob_names(), [self.content.sha256()], "nothing is left over");
        let (expected, done) = volume.progress();
        assert_eq!(expected, done);
        volume
    }

    /// Bytes that came plainly.
    fn plain(&self) -> u64 {
        self.double.sent("cdn/acme/")
    }

    /// Bytes that came from xorbs.
    fn packed(&self) -> u64 {
        self.double.sent("cdn/xorbs/")
    }
}

/// Bytes that the parts of xorbs have, each once.
fn transfer(xet: &XetFile) -> u64 {
    let sources = xet.reconstruction["fetch_info"].as_object().unwrap().values();
    let sources = sources.flat_map(|sources| sources.as_array().unwrap());
    let length = |source: &Value| {
        let range = &source["url_range"];
        range["end"].as_u64().unwrap() + 1 - range["start"].as_u64().unwrap()
    };
    sources.map(length).sum()
}

/// A file in chunks of 64 KiB, so many in each xorb, packed or as they are.
fn kept(content: &Content, chunks: usize, packed: bool) -> XetFile {
    let (mut xorbs, mut terms, mut info) = (BTreeMap::new(), Vec::new(), json!({}));
    for (index, bytes) in content.bytes().chunks(chunks << 16).enumerate() {
        let (hash, mut xorb, mut count) = (format!("{index:064x}"), Vec::new(), 0);
        for chunk in bytes.chunks(1 << 16) {
            let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
            frame.write_all(chunk).unwrap();
            let frame = frame.finish().unwrap();
            let (way, body) = if packed { (1, &frame[..]) } else { (0, chunk) };
            let (size, length) = (body.len().to_le_bytes(), chunk.len().to_le_bytes());
            xorb.extend([0, size[0], size[1], size[2], way, length[0], length[1], length[2]]);
            xorb.extend(body);
            count += 1;
        }
        let range = json!({ "start": 0, "end": count });
        terms.push(json!({ "hash": hash, "unpacked_length": bytes.len(), "range": range }));
        let bytes = json!({ "start": 0, "end": xorb.len() - 1 });
        info[&hash] = json!([{ "range": range, "url": "", "url_range": bytes }]);
        let size = xorb.len() as u64;
        xorbs.insert(hash, Content::repeated(xorb, size));
    }
    let reconstruction =
        json!({ "offset_into_first_range": 0, "terms": terms, "fetch_info": info });
    XetFile { hash: "c".repeat(64), reconstruction, xorbs }
}

/// Bytes that pack well, and no block like another.
fn calm(size: usize) -> Content {
    let bytes = Content::noise(5, size >> 10).bytes();
    let bytes: Vec<u8> = bytes.into_iter().flat_map(|byte| [byte; 1 << 10]).collect();
    Content::repeated(bytes, size as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_xet_packs_comes_through_it_and_each_chunk_once() {
    let kept = Kept::real().await;
    let (_, xet) = real();
    let volume = kept.fetched().await;
    let transfer = transfer(&xet);
    assert!(transfer * 4 < kept.content.size, "{transfer}");
    assert_eq!((kept.packed(), kept.plain()), (transfer, 0));
    let terms = xet.reconstruction["terms"].as_array().unwrap().len();
    let requests = kept.double.requests();
    let asked = requests.iter().filter(|one| one.path.starts_with("cdn/xorbs/")).count();
    assert!(asked < terms, "{asked} requests for {terms} terms");
    let says = format!("through Xet, {transfer} bytes for {}", kept.content.size);
    assert!(volume.told().contains(&says), "{}", volume.told());
    // The hub's token stays with the hub, the store's with the store.
    for request in &requests {
        let token = match request.path.split('/').next().unwrap() {
            "hub" => Some(format!("Bearer {TOKEN}")),
            "store" => Some(format!("Bearer {XET_TOKEN}")),
            _ => None,
        };
        assert_eq!(request.token, token, "{}", request.path);
    }
    // All that is asked besides: the token, and what the file consists of.
    assert_eq!(requests.len(), asked + 2, "{requests:?}");
    // Again: nothing is asked.
    kept.double.forget_requests();
    volume.fetch(&kept.hub, &kept.files).await.unwrap();
    assert_eq!(kept.double.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_xet_would_not_make_smaller_comes_plainly() {
    let content = Content::noise(3, 3 * MIB);
    let kept = Kept::new(content.clone(), kept(&content, 16, false)).await;
    let volume = kept.fetched().await;
    assert_eq!((kept.packed(), kept.plain()), (0, content.size));
    assert!(volume.told().contains("Xet would transfer 3146112 bytes for 3145728"));
    // Unless there is no other way.
    for status in [404, 403, 500] {
        kept.double.forget_requests();
        kept.double.fault("cdn/acme/", usize::MAX, Fault::Status(status, ""));
        kept.fetched().await;
        assert_eq!((kept.packed(), kept.plain()), (3_146_112, 0));
        kept.double.clear_faults();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_asks_for_xet_who_does_not_want_it_nor_for_small_files() {
    let kept_file = Kept::real().await;
    let mut plain = settings(&kept_file.double.url, Some(TOKEN));
    plain.xet = false;
    let plain = Hub::new(plain, false, patience()).unwrap();
    Volume::new().fetch(&plain, &kept_file.files).await.unwrap();
    assert_eq!(kept_file.double.sent("store/"), 0);
    assert_eq!(kept_file.plain(), kept_file.content.size);
    let small = calm(MIB);
    let small = Kept::new(small.clone(), kept(&small, 4, true)).await;
    small.fetched().await;
    assert_eq!((small.plain(), small.packed()), (small.content.size, 0));
    assert!(small.double.requests().iter().all(|one| !one.path.contains("xet-read-token")));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_with_xet_plain_http_mends() {
    let kept = Kept::real().await;
    let (content, _) = real();
    let store = "store/v1/reconstructions";
    let nonsense = |text: &str| Fault::Body(text.as_bytes().to_vec());
    let nowhere = json!({ "offset_into_first_range": 0, "terms": [], "fetch_info": {} });
    let secret = r#"{"accessToken": "xet_secret", "casUrl": "data:nothing", "exp": 1}"#;
    for (at, fault) in [
        ("xet-read-token", Fault::Status(401, "")),
        ("xet-read-token", Fault::Status(404, "")),
        ("xet-read-token", Fault::Status(500, "")),
        ("xet-read-token", nonsense("<html>xet_secret")),
        ("xet-read-token", nonsense(secret)),
        (store, Fault::Status(401, "")),
        (store, Fault::Status(404, "")),
        (store, Fault::Status(503, "")),
        (store, Fault::Status(429, "retry-after: 3600")),
        (store, Fault::Redirect(format!("{}/elsewhere", kept.double.url))),
        (store, Fault::Truncate(30)),
        (store, nonsense("{")),
        (store, nonsense(&nowhere.to_string())),
        ("cdn/xorbs/", Fault::Status(403, "")),
        ("cdn/xorbs/", Fault::Status(503, "")),
        ("cdn/xorbs/", Fault::Redirect("/xorbs/again".to_owned())),
        ("cdn/xorbs/", Fault::Truncate(1000)),
        ("cdn/xorbs/", Fault::IgnoreRange),
        // A header, a packed chunk, and one that is as it is.
        ("cdn/xorbs/", Fault::Flip(0)),
        ("cdn/xorbs/", Fault::Flip(50_000)),
        ("cdn/xorbs/", Fault::Flip(120_000)),
    ] {
        let name = format!("{at}: {fault:?}");
        kept.double.forget_requests();
        kept.double.fault(at, usize::MAX, fault);
        let began = Instant::now();
        let volume = kept.fetched().await;
        assert!(began.elapsed() < Duration::from_secs(5), "{name}: {:?}", began.elapsed());
        assert!(kept.plain() > 0, "{name}");
        let log = volume.told();
        let told = log.contains("not through Xet") || log.contains("is damaged");
        assert!(told && !log.contains("secret") && !log.contains(TOKEN), "{name}: {log}");
        kept.double.clear_faults();
    }
    // A store that nobody reaches.
    kept.double.store_at("http://127.0.0.1:9");
    kept.double.large(REPOSITORY, "second.safetensors", &Content::noise(1, 2 * MIB));
    let mut other = real().1;
    other.hash = "d".repeat(64);
    kept.double.xet(REPOSITORY, "second.safetensors", other);
    let files = kept.hub.revision(REPOSITORY, "main").await.unwrap().files;
    let volume = Volume::new();
    let began = Instant::now();
    volume.fetch(&kept.hub, &files).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(volume.read(FILE) == content.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_xorb_that_breaks_off_is_taken_up_where_it_broke() {
    let content = calm(8 * MIB);
    let xet = kept(&content, 32, true);
    let transfer = transfer(&xet);
    let kept = Kept::new(content, xet).await;
    // Behind the first chunks of each of the four.
    kept.double.fault("cdn/xorbs/", 4, Fault::Truncate(transfer / 8));
    kept.fetched().await;
    assert_eq!(kept.plain(), 0);
    assert_eq!(kept.packed(), transfer + 4 * (transfer / 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_xet_brought_before_a_failure_is_not_fetched_again() {
    let content = calm(8 * MIB);
    let xet = kept(&content, 32, true);
    let kept = Kept::new(content, xet.clone()).await;
    let last = format!("{:064x}", 3);
    kept.double.fault(&last, usize::MAX, Fault::Status(500, ""));
    kept.double.fault("cdn/acme/", usize::MAX, Fault::Status(500, ""));
    let volume = Volume::new();
    let error = volume.fetch(&kept.hub, &kept.files).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::status", "as plain HTTP has it");
    kept.double.clear_faults();
    kept.double.forget_requests();
    let fetched = volume.fetch(&kept.hub, &kept.files).await.unwrap();
    assert_eq!((fetched.fetched, fetched.reused), (2 << 20, 6 << 20));
    assert!(volume.read(FILE) == kept.content.bytes());
    assert_eq!((kept.packed(), kept.plain()), (xet.xorbs[&last].size, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_fetch_through_xet_stops() {
    let kept = Kept::real().await;
    let volume = Volume::new();
    volume.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let error = volume.fetch(&kept.hub, &kept.files).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::interrupted");
}
