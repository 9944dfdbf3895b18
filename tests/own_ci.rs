//! The scripts of `.ci/`, which say how a run of the tests went.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::peers::{self, skipped};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci").join(name)
}

fn report(log: &str, more: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log");
    std::fs::write(&file, log).unwrap();
    let output = Command::new(script("report")).arg(&file).args(more).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// As libtest and Cargo write, with two binaries, of which the second fails.
const LOG: &str = "
     Running unittests src/lib.rs (target/debug/deps/goatbuild-1a1dd45ff8164ef1)

running 3 tests
test plan::tests::one ... ok <0.250s>
test plan::tests::two - should panic ... ok <0.001s>
SKIPPED plan::tests::one: the peer `podman` cannot be had: only root can
test plan::tests::three ... ignored, it measures

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 8 filtered out; finished in 0.27s

     Running tests/main.rs (target/debug/deps/all-6d927c2b4a604157)
test gc::slow ... SKIPPED gc::slow: the peer `podman` cannot be had: only root can
FAILED <12.500s>

test result: FAILED. 40 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 12.61s
";

#[test]
fn a_log_is_counted_and_its_slowest_tests_are_named() {
    let expected = "\
the slowest tests:
    12.5 s  tests/main.rs gc::slow
     0.2 s  src/lib.rs plan::tests::one
     0.0 s  src/lib.rs plan::tests::two
skipped for want of: podman (2)
41 passed, 1 failed, 2 skipped
";
    assert_eq!(report(LOG, &[]), expected);
    assert_eq!(report(LOG, &["--brief"]), "41 passed, 1 failed, 2 skipped\n");
    assert_eq!(
        report("error: could not compile\n", &["--brief"]),
        "0 passed, 0 failed, 0 skipped\n"
    );
    let many: Vec<String> =
        (0..30).map(|test| format!("test t{test} ... ok <{test}.000s>")).collect();
    let said = report(&many.join("\n"), &[]);
    assert_eq!(said.matches(" s  ").count(), 10, "{said}");
    assert!(said.contains(" t29\n") && !said.contains(" t19\n"), "{said}");
}

/// Goes without two peers: `$NEEDS`, and what npm would install, where there is no npm.
#[test]
#[ignore = "no test of its own"]
fn goes_without() {
    match std::env::var("NEEDS") {
        Ok(peer) => skipped(&peer, "nobody\nhas it"),
        Err(_) => assert_eq!(peers::npm("a-double-of-a-peer", &[]), None),
    }
}

/// Runs it; whether it passed, and what was said.
fn without(variables: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "own_ci::goes_without"]).env("PATH", "");
    command.env_remove("CI").env_remove("GOATBUILD_REQUIRE_PEERS");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let said = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap()).concat();
    (output.status.success(), said)
}

#[test]
fn a_peer_that_is_missing_is_skipped_and_counted_and_in_ci_it_fails() {
    let (passed, said) = without(&[]);
    assert!(passed, "{said}");
    let told = "SKIPPED own_ci::goes_without: the peer `a-double-of-a-peer` cannot be had: ";
    assert!(said.contains(told) && said.contains("\"npm\" \"ci\""), "{said}");
    let expected = "skipped for want of: a-double-of-a-peer (1)\n0 passed, 0 failed, 1 skipped\n";
    assert!(report(&said, &[]).ends_with(expected), "{said}");
    for required in [("CI", "true"), ("CI", "1"), ("GOATBUILD_REQUIRE_PEERS", "1")] {
        let (passed, said) = without(&[required]);
        assert!(!passed, "{required:?}: {said}");
        assert!(said.contains("the peer `a-double-of-a-peer` cannot be had: "), "{said}");
        assert!(report(&said, &[]).ends_with("\n0 passed, 1 failed, 0 skipped\n"), "{said}");
    }
    assert!(without(&[("CI", "false")]).0);
}

/// Each has a name and a reason; CI goes without these alone.
#[test]
fn what_ci_cannot_have_is_listed_with_a_reason() {
    let listed = std::fs::read_to_string(script("unavailable")).unwrap();
    for line in listed.lines().filter(|line| !line.starts_with('#')) {
        let (peer, reason) = line.split_once(": ").unwrap_or_else(|| panic!("no reason: {line}"));
        assert!(reason.len() > 10, "{line}");
        let (passed, said) = without(&[("CI", "true"), ("NEEDS", peer)]);
        assert!(passed && report(&said, &[]).contains(peer), "{said}");
    }
    let list = "# docker: as an example\npodman: only root can run it here\n";
    let known = ["podman", "docker", "# docker", "only"].map(|peer| peers::is_listed(list, peer));
    assert_eq!(known, [true, false, false, false]);
}

/// The option is one of nightly's: whether this toolchain takes it shows here.
#[test]
fn a_test_says_how_long_it_took() {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new(script("timed"));
    let output = command.arg(this).args(["--exact", "own_ci::nothing_at_all"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("test own_ci::nothing_at_all ... ok <0.0"), "{said}");
    assert!(report(&said, &[]).ends_with("1 passed, 0 failed, 0 skipped\n"), "{said}");
}

#[test]
fn nothing_at_all() {}

/// A double of Cargo: `$FMT`, `$TESTS` and `$UV` say how formatting, tests and those with a uv end, and
/// `$DURING` what happens meanwhile. Who ends with 134 has crashed; with a uv, 1 finds no test.
const CARGO: &str = r#"#!/bin/sh
case "$*" in
"fmt --check") exit "$FMT" ;;
"clippy --all-targets -- -D warnings" | "test --no-run" | "test --bench "*) ;;
test) printf '     Running tests/main.rs (target/debug/deps/all-6d92)\n\ntest a ... ok <1.000s>\n\n'
    [ "$TESTS" = 134 ] || printf 'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured\n'
    eval "$DURING"
    exit "$TESTS" ;;
"test --lib --test all -- "*) found=3
    [ "$UV" != 1 ] || found=0 UV=0
    printf '     Running tests/main.rs (target/debug/deps/all-6d92)\n\n'
    printf "test result: ok. $found passed; 0 failed; 0 ignored; 0 measured\n"
    exit "$UV" ;;
"run "*" apply") printf "  curl $URL -d '{}'\ndone in 1.0 s: 0 steps ran, 34 fresh\n" ;;
"run "*" destroy --yes tiny-qwen3") ;;
*) echo "the double does not know: $*" >&2; exit 64 ;;
esac
"#;

/// A server on loopback that says the same to whoever asks; its address.
fn assistant() -> String {
    const ANSWER: &str = r#"{"choices": [{"message": {"role": "assistant", "content": "meh"}}]}"#;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let head = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n";
            let _ = stream.write_all(format!("{head}{ANSWER}").as_bytes());
            // Whoever closes with something unread resets the connection.
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    format!("http://{address}/v1/chat/completions")
}

#[test]
fn only_a_commit_that_passes_as_it_is_gets_named() {
    let (place, url) = (tempfile::tempdir().unwrap(), assistant());
    let (bin, root) = (place.path().join("bin"), place.path().join("repository"));
    for directory in [".ci", "benches", "examples/quickstart"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    std::fs::create_dir(&bin).unwrap();
    let uv = root.join("target/peers/uv-0.8.0/bin");
    std::fs::create_dir_all(&uv).unwrap();
    std::fs::write(uv.join("uv"), "").unwrap();
    for name in ["run", "report", "timed"] {
        std::fs::copy(script(name), root.join(".ci").join(name)).unwrap();
    }
    std::fs::write(root.join("benches/guard.py"), "").unwrap();
    std::fs::write(root.join("examples/quickstart/README.md"), "").unwrap();
    std::fs::write(root.join(".gitignore"), "/target\n").unwrap();
    std::fs::write(bin.join("cargo"), CARGO).unwrap();
    std::fs::set_permissions(bin.join("cargo"), Permissions::from_mode(0o755)).unwrap();
    let git = |arguments: &str| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=test", "-c", "user.email=test@example.com"]);
        let output = command.args(arguments.split(' ')).current_dir(&root).output().unwrap();
        assert!(output.status.success(), "git {arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    git("init --quiet");
    git("add .");
    git("commit --quiet --message=first");
    let named = || std::fs::read_to_string(root.join("target/ci-passed")).ok();
    let run = |fails: &str, code: i32, during: &str, ends: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", "PATH=$BIN:$PATH exec .ci/run"]).current_dir(&root);
        command.envs(["FMT", "TESTS", "UV"].map(|it| (it, "0"))).env(fails, code.to_string());
        command.env("BIN", &bin).env("URL", &url).env("DURING", during);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{fails}: {errors}");
        assert!(said.ends_with(ends), "{fails}: {said}");
    };
    let with_uv = "\nwith a uv on PATH: 3 passed, 0 failed, 0 skipped\n";
    let slowest = "the slowest tests:\n     1.0 s  tests/main.rs a\n";
    let counted = "skipped for want of: nothing\n1 passed, 0 failed, 0 skipped\n";
    let all = format!("{with_uv}{slowest}{counted}");
    run("TESTS", 0, "", &all);
    assert_eq!(named(), Some(git("rev-parse HEAD")));
    // However it ends, its last line is counted.
    run("TESTS", 101, "", &format!("\n{slowest}{counted}"));
    let crashed = "did not come to its end: tests/main.rs\nskipped for want of: nothing\n";
    run("TESTS", 134, "", &format!("{slowest}{crashed}0 passed, 1 failed, 0 skipped\n"));
    run("UV", 101, "", &all);
    run("UV", 1, "", &format!("0 passed, 0 failed, 0 skipped\n{slowest}{counted}"));
    run("FMT", 1, "", "no test was run\n0 passed, 0 failed, 0 skipped\n");
    // What passed before says nothing of what is here now; nor does what is there only for a time.
    let refused = |code: i32, during: &str| {
        std::fs::write(root.join("target/ci-passed"), "an older one\n").unwrap();
        run("TESTS", code, during, counted);
        assert_eq!(named(), None, "{code} {during}");
    };
    refused(101, "");
    refused(0, "echo more > new");
    refused(0, "rm new; echo '# more' > benches/guard.py");
    refused(0, ": > benches/guard.py");
    refused(0, "git -c user.name=t -c user.email=t@example.com commit -q --allow-empty -m second");
}
