//! A file that is asked for stretch by stretch, as the store of Hugging Face's own code described one.

use std::path::Path;

use serde_json::Value;

use super::*;
use crate::fetch::Patience;
use crate::fetch::double::{Answer, Server};
use crate::hub::{DigestKind, FileDigest, Hub, HubSettings};

const REPOSITORY: &str = "acme/tiny";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn fixture() -> (Value, Vec<u8>) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/xet");
    let text = std::fs::read_to_string(directory.join("file.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let xorbs = file["reconstruction"]["fetch_info"].as_object().unwrap();
    let [xorb] = xorbs.keys().collect::<Vec<_>>()[..] else { panic!("{xorbs:?}") };
    let xorb = std::fs::read(directory.join(format!("{xorb}.xorb"))).unwrap();
    (file, xorb)
}

fn json(value: &Value) -> Answer {
    Answer::Whole(value.to_string().into_bytes())
}

/// Serves a stretch's parts of the xorb, each at an address of its own, and says where.
fn serve(server: &Server, mut stretch: Value, xorb: &[u8]) -> Answer {
    for source in stretch["fetch_info"].as_object_mut().unwrap().values_mut() {
        for part in source.as_array_mut().unwrap() {
            let byte =
                |name: &str| usize::try_from(part["url_range"][name].as_u64().unwrap()).unwrap();
            let (first, last) = (byte("start"), byte("end"));
            let bytes = xorb[first..=last].to_vec();
            let url = server.on(&format!("/{first}-{last}"), vec![Answer::Whole(bytes)]);
            part["url"] = url.into();
        }
    }
    json(&stretch)
}

#[tokio::test]
async fn a_long_file_is_asked_for_in_stretches_and_put_together() {
    let (file, xorb) = fixture();
    let (server, directory) = (Server::start().await, tempfile::tempdir().unwrap());
    let stretches = file["of each MiB"].as_array().unwrap();
    let answers = stretches.iter().map(|one| serve(&server, one.clone(), &xorb)).collect();
    let hash = file["hash"].as_str().unwrap().to_owned();
    let path = format!("/v1/reconstructions/{hash}");
    server.on(&path, answers);
    let given = serde_json::json!({
        "accessToken": "secret", "exp": 4_000_000_000_u32, "casUrl": server.url,
    });
    server.on(&format!("/api/models/{REPOSITORY}/xet-read-token/{COMMIT}"), vec![json(&given)]);
    let endpoint = server.url.clone();
    let settings = HubSettings { endpoint, token: None, caches: Vec::new(), xet: true };
    let hub = Hub::new(settings, false, Patience::default()).unwrap();
    let digest = FileDigest::sha256(file["sha256"].as_str().unwrap()).unwrap();
    let size = file["size"].as_u64().unwrap();
    let file = RemoteFile { path: "model".to_owned(), size, digest, xet: Some(hash) };
    let part = Arc::new(Part::open(directory.path(), &file).unwrap());
    let bringing = Bringing {
        xet: &Xet::new(&hub, REPOSITORY, COMMIT),
        file: &file,
        part: &part,
        connections: &Semaphore::new(2),
        reporter: &Reporter::silent(),
    };
    assert!(bringing.bring_in(1, Wish::IfItPays).await.unwrap());
    assert!(part.is_complete());
    assert_eq!(part.hash(DigestKind::Sha256).unwrap().as_deref(), Some(file.digest.hex()));
    let of_stretch = |range: &str| Some(format!("bytes={range}"));
    let asked = [of_stretch("0-1048575"), of_stretch(&format!("1048576-{}", size - 1))];
    assert_eq!(server.ranges(&path), asked);
}

#[test]
fn the_store_s_chunks_are_packed_in_every_way() {
    let (file, xorb) = fixture();
    let (mut at, mut ways) = (0, Vec::new());
    while at < xorb.len() {
        let header = xorb[at..].first_chunk::<8>().unwrap();
        ways.push(header[4]);
        at += 8 + chunk::Header::parse(*header).unwrap().packed;
    }
    let end = &file["reconstruction"]["terms"][2]["range"]["end"];
    assert_eq!(Some(ways.len() as u64), end.as_u64());
    for way in 0..3 {
        assert!(ways.contains(&way), "{ways:?}");
    }
}
