//! The whole way, on real packages.

use std::path::PathBuf;

use super::*;
use crate::event::Reporter;
use crate::fetch::{Fetcher, Patience};

/// Builds an image's layer from the network into `GOATBUILD_TEST_OUT`, twice when it is unset.
#[tokio::test]
#[ignore = "needs the network: fetches some 30 MB from a Debian mirror"]
async fn a_python_base_is_locked_fetched_and_built_the_same_twice() {
    let variable = |name: &str| std::env::var(name).ok();
    let words = variable("GOATBUILD_TEST_PACKAGES");
    let words = words.as_deref().unwrap_or("python3 ca-certificates libgomp1 libstdc++6");
    let architecture = match variable("GOATBUILD_TEST_ARCHITECTURE").as_deref() {
        Some("arm64") => Architecture::Arm64,
        _ => Architecture::Amd64,
    };
    let request = DebianRequest {
        suite: variable("GOATBUILD_TEST_SUITE").unwrap_or_else(|| "bookworm".to_owned()),
        packages: words.split_whitespace().map(str::to_owned).collect(),
        architecture,
    };
    let fetcher = Fetcher::new(false, Patience::default()).unwrap();
    let mirrors = Mirrors::default();
    let reporter = Reporter::silent();
    let started = std::time::Instant::now();
    let locked = resolve(&fetcher, &mirrors, &request, None, &reporter).await.unwrap();
    eprintln!("resolved {} packages in {:?}", locked.packages.len(), started.elapsed());
    let text = toml::to_string(&locked).unwrap();
    assert_eq!(toml::from_str::<LockedDebian>(&text).unwrap(), locked);
    let again = resolve(&fetcher, &mirrors, &request, Some(&locked), &reporter).await.unwrap();
    assert_eq!(again, locked);

    let directory = tempfile::tempdir().unwrap();
    let packages =
        variable("GOATBUILD_TEST_DEBS").map_or(directory.path().join("debs"), PathBuf::from);
    let started = std::time::Instant::now();
    let debs = fetch_packages(&fetcher, &mirrors, &locked, &packages, &reporter).await.unwrap();
    let bytes: u64 = locked.packages.iter().map(|package| package.size).sum();
    eprintln!("fetched {bytes} bytes in {:?}", started.elapsed());
    let started = std::time::Instant::now();
    let mut layer = Vec::new();
    write_layer(&locked, &debs, 0, &mut layer, &reporter).unwrap();
    eprintln!("built {} bytes in {:?}", layer.len(), started.elapsed());
    if let Some(out) = variable("GOATBUILD_TEST_OUT") {
        std::fs::write(out, &layer).unwrap();
        return;
    }
    let mut second = Vec::new();
    write_layer(&locked, &debs, 0, &mut second, &reporter).unwrap();
    assert!(layer == second, "two builds differ");
}
