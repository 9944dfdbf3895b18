//! The scripts of `.ci/`, which say how a run of the tests went.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

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
test gc::slow ... FAILED <12.500s>

test result: FAILED. 40 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 12.61s
";

#[test]
fn a_log_is_counted_and_its_slowest_tests_are_named() {
    let expected = "\
the slowest tests:
    12.5 s  tests/main.rs gc::slow
     0.2 s  src/lib.rs plan::tests::one
     0.0 s  src/lib.rs plan::tests::two
skipped for want of: podman (1)
42 passed, 1 failed, 1 skipped
";
    assert_eq!(report(LOG, &[]), expected);
    assert_eq!(report(LOG, &["--brief"]), "42 passed, 1 failed, 1 skipped\n");
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

/// A double of Cargo, in whose place `$FAILS` says how tests end and `$DURING` what happens meanwhile.
const CARGO: &str = r#"#!/bin/sh
case "$*" in
"fmt --check" | "clippy --all-targets -- -D warnings" | "build --release" | "test --no-run" | \
    "test --bench "*) ;;
test) printf 'test a ... ok <1.000s>\n\n'
    printf 'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n'
    eval "$DURING"
    exit "$FAILS" ;;
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
    let run = |fails: &str, during: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", "PATH=$BIN:$PATH exec .ci/run"]).current_dir(&root);
        command.env("BIN", &bin).env("URL", &url).env("FAILS", fails).env("DURING", during);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let wanted = if fails == "0" { Some(0) } else { Some(1) };
        assert_eq!(output.status.code(), wanted, "{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.ends_with("\n1 passed, 0 failed, 0 skipped\n"), "{said}");
        assert!(said.contains("     1.0 s   a\n"), "{said}");
    };
    run("0", "");
    assert_eq!(named(), Some(git("rev-parse HEAD")));
    // What passed before says nothing of what is here now; nor does what is there only for a time.
    let refused = |fails: &str, during: &str| {
        std::fs::write(root.join("target/ci-passed"), "an older one\n").unwrap();
        run(fails, during);
        assert_eq!(named(), None, "{fails} {during}");
    };
    refused("101", "");
    refused("0", "echo more > new");
    refused("0", "rm new; echo '# more' > benches/guard.py");
    refused("0", ": > benches/guard.py");
    refused(
        "0",
        "git -c user.name=t -c user.email=t@example.com commit -q --allow-empty -m second",
    );
}
