use super::*;
use miette::Diagnostic as _;

use crate::platform::{Architecture, MajorMinor};

const FIXTURE: &str = include_str!("fixture.pylock.toml");

fn runtime(glibc: u32, python: u32) -> Runtime {
    Runtime {
        architecture: Architecture::Amd64,
        glibc: MajorMinor { major: 2, minor: glibc },
        python: MajorMinor { major: 3, minor: python },
    }
}

fn request(runtime: Runtime) -> PythonRequest {
    PythonRequest {
        image: "test".to_owned(),
        requirements: vec!["mlx".to_owned(), "regex".to_owned()],
        overrides: Vec::new(),
        sources: Sources::default(),
        runtime,
    }
}

fn with_package(package: &str) -> Pylock {
    Pylock::parse(&format!(
        "lock-version = '1.0'\ncreated-by = 'test'\n[[packages]]\nname = 'x'\nversion = '1'\n{package}"
    ))
    .unwrap()
}

#[test]
fn the_most_specific_wheel_is_chosen() {
    let wheels = Pylock::parse(FIXTURE).unwrap().choose(&runtime(36, 11)).unwrap();
    let names: Vec<&str> = wheels.iter().map(|wheel| wheel.filename.as_str()).collect();
    assert_eq!(
        names,
        [
            "mlx-0.32.4-cp311-cp311-manylinux_2_35_x86_64.whl",
            "protobuf-4.25.9-cp37-abi3-manylinux2014_x86_64.whl",
            "regex-2026.11.15-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl",
            "torch-2.9.1+cpu-cp311-cp311-manylinux_2_28_x86_64.whl",
        ]
    );
}

#[test]
fn an_older_glibc_gets_the_older_wheel() {
    let sha = "a".repeat(64);
    let wheel = |glibc| {
        format!(
            "{{ url = 'https://e.org/x-1-cp37-abi3-manylinux_2_{glibc}_x86_64.whl', hashes = {{ sha256 = '{sha}' }} }}"
        )
    };
    let lock = with_package(&format!("wheels = [{}, {}]", wheel(17), wheel(28)));
    let chosen = |glibc| lock.choose(&runtime(glibc, 11)).unwrap()[0].filename.clone();
    assert_eq!(chosen(27), "x-1-cp37-abi3-manylinux_2_17_x86_64.whl");
    assert_eq!(chosen(28), "x-1-cp37-abi3-manylinux_2_28_x86_64.whl");
}

#[test]
fn what_is_rendered_reads_back_and_is_stable() {
    let request = request(runtime(36, 11));
    let wheels = Pylock::parse(FIXTURE).unwrap().choose(&request.runtime).unwrap();
    let lock = Pylock::of(&wheels, &request);
    let text = lock.render();
    insta::assert_snapshot!(text);
    let again = Pylock::parse(&text).unwrap();
    assert_eq!(again, lock);
    assert_eq!(again.choose(&request.runtime).unwrap(), wheels);
    assert!(again.answers(&request));
    assert_eq!(again.render(), text);
}

#[test]
fn another_request_or_runtime_is_not_answered() {
    let request = request(runtime(36, 11));
    let lock = Pylock::of(&[], &request);
    let mut other = request.clone();
    other.requirements.push("numpy".to_owned());
    assert!(!lock.answers(&other));
    assert!(!lock.answers(&PythonRequest { runtime: runtime(39, 11), ..request }));
    assert!(!Pylock::parse(FIXTURE).unwrap().answers(&other));
}

#[test]
fn every_failure_names_the_package_and_the_way_out() {
    let sha = "a".repeat(64);
    let wheel =
        |url: &str| format!("wheels = [{{ url = '{url}', hashes = {{ sha256 = '{sha}' }} }}]");
    let cases = [
        wheel("https://example.org/x-1-cp311-cp311-manylinux_2_39_x86_64.whl"),
        wheel("https://example.org/x-1-cp312-cp312-manylinux_2_17_x86_64.whl"),
        wheel("https://example.org/x-1-py3-none-win_amd64.whl"),
        wheel("https://example.org/x.whl"),
        "sdist = { url = 'https://example.org/x-1.tar.gz', hashes = { sha256 = '00' } }".to_owned(),
        "vcs = { type = 'git', url = 'https://example.org/x', commit-id = '1' }".to_owned(),
        "directory = { path = '../x' }".to_owned(),
        "archive = { url = 'https://example.org/x-1.zip', hashes = {} }".to_owned(),
        "wheels = [{ url = 'https://example.org/x-1-py3-none-any.whl', hashes = { md5 = '00' } }]"
            .to_owned(),
        wheel("file:///tmp/x-1-py3-none-any.whl"),
        "marker = \"'group' in dependency_groups\"".to_owned(),
        format!(
            "{0}\n[[packages]]\nname = 'X'\nversion = '2'\n{0}",
            wheel("https://example.org/x-1-py3-none-any.whl")
        ),
    ];
    let messages: Vec<String> = cases
        .iter()
        .map(|case| {
            let error = with_package(case).choose(&runtime(36, 11)).unwrap_err();
            let help = error.help().map(|help| help.to_string()).unwrap_or_default();
            format!("{error}\n  help: {help}\n")
        })
        .collect();
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn a_package_for_elsewhere_is_passed_over() {
    let lock = with_package("marker = \"sys_platform == 'darwin'\"");
    assert_eq!(lock.choose(&runtime(36, 11)).unwrap(), []);
}

#[test]
fn a_direct_wheel_is_a_wheel() {
    let url = "https://example.org/x-1-2-py3-none-any.whl";
    let sha = "a".repeat(64);
    let lock =
        with_package(&format!("archive = {{ url = '{url}', hashes = {{ sha256 = '{sha}' }} }}"));
    let wheels = lock.choose(&runtime(36, 11)).unwrap();
    assert_eq!((wheels[0].url.as_str(), wheels[0].size), (url, None));
}

#[test]
fn the_higher_build_number_wins() {
    let sha = "a".repeat(64);
    let wheel = |build| {
        format!(
            "{{ url = 'https://e.org/x-1-{build}-py3-none-any.whl', hashes = {{ sha256 = '{sha}' }} }}"
        )
    };
    let lock = with_package(&format!("wheels = [{}, {}, {}]", wheel("2"), wheel("10"), wheel("9")));
    assert_eq!(lock.choose(&runtime(36, 11)).unwrap()[0].filename, "x-1-10-py3-none-any.whl");
}

#[test]
fn a_newer_format_is_refused() {
    assert!(matches!(
        Pylock::parse("lock-version = '2.0'"),
        Err(PylockError::Version { found }) if found == "2.0"
    ));
    assert!(matches!(Pylock::parse("<<<<<<< HEAD"), Err(PylockError::Malformed { .. })));
}
