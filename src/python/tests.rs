use std::path::Path;

use super::index::Index;
use super::*;
use crate::event::Reporter;
use crate::fetch::double::{Answer, Server};
use crate::fetch::{FetchError, Fetcher, Patience, sha256_of};
use crate::lock::pylock::{LockedWheel, PythonRequest, Sources};
use crate::platform::{Architecture, MajorMinor, Runtime};
use crate::testing::peers::skipped;

fn fetcher() -> Fetcher {
    let first_wait = std::time::Duration::from_millis(5);
    Fetcher::new(false, Patience { attempts: 2, first_wait, ..Patience::default() })
}

fn wheel(name: &str, url: String, bytes: &[u8]) -> LockedWheel {
    LockedWheel {
        scripts: Vec::new(),
        name: name.to_owned(),
        version: "1".to_owned(),
        filename: format!("{name}-1-py3-none-any.whl"),
        url,
        size: Some(bytes.len() as u64),
        sha256: sha256_of(&mut std::io::Cursor::new(bytes)).unwrap(),
    }
}

fn index_of(server: &Server) -> Index {
    let url = format!("{}/simple", server.url);
    Index::configured(|name| (name == "PIP_INDEX_URL").then(|| url.clone())).unwrap()
}

async fn fetch(
    index: Option<&Index>,
    wheels: &[LockedWheel],
    into: &Path,
) -> Result<Vec<std::path::PathBuf>, PythonError> {
    wheels::fetch_through(&fetcher(), index, wheels, into, &Reporter::silent()).await
}

#[tokio::test]
async fn wheels_are_stored_by_digest_and_fetched_once() {
    let server = Server::start().await;
    let url = |path: &str, bytes: &[u8]| server.on(path, vec![Answer::Whole(bytes.to_vec())]);
    let wheels = [wheel("a", url("/a", b"aaa"), b"aaa"), wheel("b", url("/b", b"bbbbb"), b"bbbbb")];
    let into = tempfile::tempdir().unwrap();
    let paths = fetch(None, &wheels, into.path()).await.unwrap();
    assert_eq!(std::fs::read(&paths[0]).unwrap(), b"aaa");
    assert!(paths[1].ends_with(format!("{}.whl", wheels[1].sha256.hex())));
    assert_eq!(fetch(None, &wheels, into.path()).await.unwrap(), paths);
    assert_eq!(server.ranges("/a").len(), 1);
}

#[tokio::test]
async fn a_mirror_serves_what_is_gone_where_it_was_locked() {
    let server = Server::start().await;
    server.on("/files/a-1-py3-none-any.whl", vec![Answer::Whole(b"aaa".to_vec())]);
    let page = br#"{"files":[{"filename":"a-1-py3-none-any.whl","url":"../../files/a-1-py3-none-any.whl"}]}"#;
    server.on("/simple/a/", vec![Answer::Whole(page.to_vec())]);
    let wheels = [wheel("a", format!("{}/gone", server.url), b"aaa")];
    let into = tempfile::tempdir().unwrap();
    let index = index_of(&server);
    let paths = fetch(Some(&index), &wheels, into.path()).await.unwrap();
    assert_eq!(std::fs::read(&paths[0]).unwrap(), b"aaa");
}

#[tokio::test]
async fn a_wheel_gone_everywhere_says_how_to_lock_anew() {
    let server = Server::start().await;
    let wheels = [wheel("a", format!("{}/gone", server.url), b"aaa")];
    let into = tempfile::tempdir().unwrap();
    for index in [None, Some(index_of(&server))] {
        let error = fetch(index.as_ref(), &wheels, into.path()).await.unwrap_err();
        assert!(matches!(&error, PythonError::Gone { package, version, .. }
            if package == "a" && version == "1"));
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.contains("goatbuild lock --upgrade IMAGE"), "{help}");
    }
}

#[tokio::test]
async fn a_failing_server_is_not_called_gone() {
    let server = Server::start().await;
    let url = server.on("/a", vec![Answer::Status(503, None)]);
    let into = tempfile::tempdir().unwrap();
    let index = index_of(&server);
    let outcome = fetch(Some(&index), &[wheel("a", url, b"aaa")], into.path()).await;
    let Err(PythonError::Fetch(FetchError::Status { status: 503, .. })) = outcome else {
        panic!("{outcome:?}");
    };
}

#[tokio::test]
async fn an_unreachable_mirror_does_not_make_a_wheel_gone_or_hide_wrong_bytes() {
    let server = Server::start().await;
    server.on("/simple/a/", vec![Answer::Status(503, None)]);
    let into = tempfile::tempdir().unwrap();
    let index = index_of(&server);
    let gone = wheel("a", format!("{}/gone", server.url), b"aaa");
    let outcome = fetch(Some(&index), &[gone], into.path()).await;
    assert!(matches!(outcome, Err(PythonError::Fetch(FetchError::Status { status: 503, .. }))));
    let wrong = server.on("/wrong", vec![Answer::Whole(b"bbb".to_vec())]);
    let outcome = fetch(Some(&index), &[wheel("a", wrong, b"aaa")], into.path()).await;
    assert!(matches!(outcome, Err(PythonError::Fetch(FetchError::Mismatch { .. }))));
}

#[tokio::test]
async fn an_index_with_another_uv_is_refused() {
    let server = Server::start().await;
    server.on("/simple/uv/", vec![Answer::Whole(br#"{"files":[]}"#.to_vec())]);
    let tools = tempfile::tempdir().unwrap();
    let outcome =
        uv::pinned(&fetcher(), &index_of(&server), tools.path(), &Reporter::silent()).await;
    assert!(matches!(outcome, Err(PythonError::UvMissing { .. })));
}

fn request(requirements: &[&str], glibc: u32, python: u32) -> PythonRequest {
    PythonRequest {
        image: "test".to_owned(),
        requirements: requirements.iter().map(|&text| text.to_owned()).collect(),
        overrides: Vec::new(),
        sources: Sources::default(),
        runtime: Runtime {
            architecture: Architecture::Amd64,
            glibc: MajorMinor { major: 2, minor: glibc },
            python: MajorMinor { major: 3, minor: python },
        },
    }
}

#[tokio::test]
async fn a_requirement_that_cannot_be_locked_is_refused_before_uv_runs() {
    let uv = Uv { program: "/nonexistent".into(), version: String::new() };
    let request = request(&["x @ git+https://example.org/x"], 36, 11);
    let work = tempfile::tempdir().unwrap();
    let outcome = resolve(&uv, &fetcher(), &request, None, &Upgrade::None, work.path()).await;
    assert!(matches!(outcome, Err(PythonError::Requirement { .. })));
}

/// Whatever is run with uv, Modal's client too: settings of the project around, or of the host, would
/// choose for what is installed elsewhere.
#[test]
fn no_project_and_no_host_is_meant_by_what_uv_is_asked() {
    let mut command = tokio::process::Command::new("uv");
    isolate(&mut command);
    let command = command.as_std();
    assert_eq!(command.get_current_dir(), Some(Path::new("/")));
    for name in ["UV_SYSTEM_PYTHON", "UV_CONSTRAINT", "VIRTUAL_ENV"] {
        assert!(command.get_envs().any(|it| it == (name.as_ref(), None)), "{name}");
    }
}

/// The index, uv and two wheels for real; skipped, loudly, without a network.
#[tokio::test]
async fn a_real_requirement_is_locked_kept_upgraded_and_fetched() {
    let reachable = tokio::net::TcpStream::connect("pypi.org:443");
    let proxied = std::env::var_os("HTTPS_PROXY").or_else(|| std::env::var_os("https_proxy"));
    let wait = std::time::Duration::from_secs(5);
    if proxied.is_none() && !matches!(tokio::time::timeout(wait, reachable).await, Ok(Ok(_))) {
        skipped("the package index", "pypi.org is not reached");
        return;
    }
    // Kept between runs: uv has 19 MB.
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools");
    let fetcher = Fetcher::new(false, Patience::default());
    let uv = ensure_uv(&fetcher, &tools, &Reporter::silent()).await.unwrap();
    let work = tempfile::tempdir().unwrap();
    let lock = async |request: &PythonRequest, previous: Option<&str>, upgrade: Upgrade| {
        let resolved = resolve(&uv, &fetcher, request, previous, &upgrade, work.path()).await?;
        assert_eq!(resolved.warnings, [""; 0]);
        Ok::<_, PythonError>(resolved.lock)
    };

    let old = lock(&request(&["idna==3.9"], 36, 11), None, Upgrade::None).await.unwrap().render();
    let request_now = request(&["idna"], 36, 11);
    let kept = lock(&request_now, Some(&old), Upgrade::None).await.unwrap();
    let wheels = kept.choose(&request_now.runtime).unwrap();
    let names: Vec<&str> = wheels.iter().map(|wheel| wheel.name.as_str()).collect();
    assert_eq!(names, ["idna", "pip"]);
    assert_eq!(wheels[0].version, "3.9");
    assert!(kept.answers(&request_now));
    let again = lock(&request_now, Some(&kept.render()), Upgrade::None).await.unwrap();
    assert_eq!(again.render(), kept.render());

    let upgrade = Upgrade::Packages(vec!["idna".to_owned()]);
    let newer = lock(&request_now, Some(&old), upgrade).await.unwrap();
    assert_ne!(newer.choose(&request_now.runtime).unwrap()[0].version, "3.9");

    let into = tempfile::tempdir().unwrap();
    let paths = fetch_wheels(&fetcher, &wheels, into.path(), &Reporter::silent()).await.unwrap();
    assert_eq!(std::fs::metadata(&paths[0]).ok().map(|found| found.len()), wheels[0].size);

    let error = lock(&request(&["vllm==0.13.0"], 28, 12), None, Upgrade::None).await.unwrap_err();
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(error.to_string().contains("needs glibc 2.31, the base has 2.28"), "{error}");
    assert!(help.contains("glibc 2.31 or newer"), "{help}");
}

/// A double of uv: a script that records its arguments and environment, and then does `what`.
#[cfg(unix)]
fn uv_double(directory: &Path, what: &str) -> Uv {
    use std::os::unix::fs::PermissionsExt as _;
    let program = directory.join("uv");
    let recorded = directory.join("recorded");
    let text = format!(
        "#!/bin/sh\nfor last; do :; done\nwork=${{last%/*}}\n{{ echo \"$@\"; env; cat \"$last\"; }} > {}\n{what}\n",
        recorded.display()
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    Uv { program, version: "0.0.0".to_owned() }
}

#[cfg(unix)]
async fn resolve_with(what: &str, previous: Option<&str>) -> (Result<String, PythonError>, String) {
    let directory = tempfile::tempdir().unwrap();
    let uv = uv_double(directory.path(), what);
    let offline = Fetcher::new(true, Patience::default());
    let request = request(&["idna", "mlx[cpu]"], 36, 11);
    let upgrade = Upgrade::Packages(vec!["idna".to_owned()]);
    let work = directory.path().join("work");
    let outcome = resolve(&uv, &offline, &request, previous, &upgrade, &work).await;
    assert_eq!(std::fs::read_dir(&work).unwrap().count(), 0, "scratch files are left behind");
    let recorded = std::fs::read_to_string(directory.path().join("recorded")).unwrap_or_default();
    (outcome.map(|resolved| resolved.lock.render()), recorded)
}

#[cfg(unix)]
#[tokio::test]
async fn uv_is_asked_for_the_image_and_not_for_the_host() {
    let previous = "lock-version = '1.0'\ncreated-by = 'test'\npackages = []\n";
    // The double answers with what it was given as the previous lock.
    let (outcome, recorded) = resolve_with("exit 0", Some(previous)).await;
    assert!(outcome.unwrap().contains("architecture = \"amd64\""));
    for wanted in [
        "--only-binary :all:",
        "--python-version 3.11",
        "--python-platform x86_64-manylinux_2_36",
        "--upgrade-package=idna",
        "--offline",
        "UV_PYTHON_DOWNLOADS=never",
        "UV_SYSTEM_CERTS=1",
        "\nidna\nmlx[cpu]\npip\n",
    ] {
        assert!(recorded.contains(wanted), "{wanted} is missing in {recorded}");
    }
    assert!(!recorded.contains("UV_FIND_LINKS=/"), "{recorded}");
}

#[cfg(unix)]
#[tokio::test]
async fn what_uv_says_is_shown_verbatim() {
    let say = |words: &str| format!("echo '{words}' >&2; exit 1");
    let words = "error: No solution found when resolving dependencies: a needs b";
    let (outcome, _) = resolve_with(&say(words), None).await;
    assert!(matches!(outcome, Err(PythonError::Unsatisfiable { explanation, .. })
        if explanation == words));
    let (outcome, _) =
        resolve_with(&say("error: No interpreter found for Python 3.12"), None).await;
    assert!(matches!(outcome, Err(PythonError::NoInterpreter)));
    let (outcome, _) = resolve_with(&say("error: disk on fire"), None).await;
    assert!(
        matches!(outcome, Err(PythonError::Uv { output, .. }) if output == "error: disk on fire")
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_broken_previous_lock_is_an_error_not_a_fresh_start() {
    let (outcome, recorded) = resolve_with("exit 0", None).await;
    // A uv that writes no lock.
    assert!(matches!(outcome, Err(PythonError::Io { .. })));
    assert!(!recorded.is_empty());
    let directory = tempfile::tempdir().unwrap();
    let uv = uv_double(directory.path(), "exit 0");
    let broken = Some("<<<<<<< HEAD");
    let request = request(&["idna"], 36, 11);
    let outcome = resolve(&uv, &fetcher(), &request, broken, &Upgrade::All, directory.path()).await;
    assert!(matches!(outcome, Err(PythonError::Lock(_))));
    assert!(!directory.path().join("recorded").exists());
}
