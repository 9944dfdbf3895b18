//! Packages that are fetched: from where nothing is, and from Debian.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use super::super::fixture::locked;
use crate::debian::*;
use crate::event::Reporter;
use crate::fetch::{Fetcher, Patience};

#[tokio::test]
async fn a_package_gone_from_every_source_says_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let root = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
            let answer =
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
        }
    });
    let patience = Patience { attempts: 1, first_wait: Duration::ZERO, ..Patience::default() };
    let fetcher = Fetcher::new(false, patience);
    let directory = tempfile::tempdir().unwrap();
    let (locked, paths) = locked(BaseLayout::NEWEST, &[("a", b"a".to_vec())], directory.path());
    let reporter = Reporter::silent();
    let mirrors = Mirrors { pool: root.clone(), snapshot: Some(root), mirror: None };
    // What is there already is not asked for.
    let found = fetch_packages(&fetcher, &mirrors, &locked, directory.path(), &reporter).await;
    assert_eq!(found.unwrap(), paths);
    std::fs::remove_file(&paths[0]).unwrap();
    let error =
        fetch_packages(&fetcher, &mirrors, &locked, directory.path(), &reporter).await.unwrap_err();
    assert!(error.is_gone(), "{error}");
    // A source that cannot be reached may still have it.
    let mirrors = Mirrors { mirror: Some("http://127.0.0.1:1".to_owned()), ..mirrors };
    let error =
        fetch_packages(&fetcher, &mirrors, &locked, directory.path(), &reporter).await.unwrap_err();
    assert!(matches!(error, DebianError::Unavailable { superseded: true, .. }), "{error}");
}

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
        layout: BaseLayout::NEWEST,
    };
    let fetcher = Fetcher::new(false, Patience::default());
    let mirrors = Mirrors::default();
    let reporter = Reporter::silent();
    let started = std::time::Instant::now();
    let locked = resolve(&fetcher, &mirrors, &request, None, &reporter).await.unwrap();
    eprintln!("resolved {} packages in {:?}", locked.packages.len(), started.elapsed());
    let text = toml::to_string(&locked).unwrap();
    assert_eq!(toml::from_str::<LockedDebian>(&text).unwrap(), locked);
    let again = resolve(&fetcher, &mirrors, &request, Some(&locked), &reporter).await.unwrap();
    assert_eq!(again, locked);
    let newer = LockedDebian { snapshot: "99991231T000000Z".to_owned(), ..locked.clone() };
    let pool_only = Mirrors { snapshot: None, ..Mirrors::default() };
    let stale = resolve(&fetcher, &pool_only, &request, Some(&newer), &reporter).await;
    assert!(stale.unwrap_err().to_string().contains("is older than the lock"));

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
    }
    let mut second = Vec::new();
    write_layer(&locked, &debs, 0, &mut second, &reporter).unwrap();
    assert!(layer == second, "two builds differ");
}

/// For each line of the file `GOATBUILD_TEST_SETS`, a name and packages: writes `NAME.tar` beside it, or, for a
/// name with `-alone`, locks them only; and how that went into a file of its own.
#[tokio::test]
#[ignore = "part of tests/debian_table.py, which says how"]
async fn sets_of_packages_are_locked_and_built() {
    let sets = PathBuf::from(std::env::var("GOATBUILD_TEST_SETS").unwrap());
    let debs = PathBuf::from(std::env::var("GOATBUILD_TEST_DEBS").unwrap());
    let (fetcher, mirrors) = (Fetcher::new(false, Patience::default()), Mirrors::default());
    let reporter = Reporter::silent();
    let mut told = std::fs::File::create(sets.with_extension("told")).unwrap();
    for line in std::fs::read_to_string(&sets).unwrap().lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        let name = words.next().unwrap();
        let request = DebianRequest {
            suite: "bookworm".to_owned(),
            packages: words.collect(),
            architecture: Architecture::Amd64,
            layout: BaseLayout::NEWEST,
        };
        let made = async {
            let locked = resolve(&fetcher, &mirrors, &request, None, &reporter).await;
            let locked = locked.map_err(|error| error.to_string())?;
            let count = format!("locked {}", locked.packages.len());
            if name.ends_with("-alone") {
                return Ok(count);
            }
            let failed = |error: DebianError| format!("{count}; {error}");
            let debs = fetch_packages(&fetcher, &mirrors, &locked, &debs, &reporter);
            let debs = debs.await.map_err(failed)?;
            let mut layer = Vec::new();
            write_layer(&locked, &debs, 0, &mut layer, &reporter).map_err(failed)?;
            std::fs::write(sets.with_file_name(format!("{name}.tar")), layer).unwrap();
            Ok::<_, String>(format!("{count}; built"))
        };
        let outcome = made.await.unwrap_or_else(|error| error).replace('\n', "; ");
        writeln!(told, "{name} {outcome}").unwrap();
    }
}
