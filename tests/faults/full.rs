//! What the machine has no more of: bytes, files on a disk, a user's share, open files, bytes of a file,
//! memory. Each is called that, with the file and a way out; nothing half-made stays, and the next command
//! that has enough completes.

use std::fmt::Write as _;

use super::downloaded;
use super::machine::unshared;
use super::server::Server;
use super::uv::offer;
use crate::support::project::Project;

const WHEELS: &str = r#""$goatbuild" apply --only wheels:tiny/pip"#;

/// Runs the step of a project whose cache is a file system of its own, made with these options: first too
/// small, then with room.
fn with_cache(options: &str, room: &str, words: &[&str]) {
    let Some(project) = downloaded() else { return };
    let script = format!(
        r#"
        mkdir ../downloads && cp -r cache/wheels ../downloads
        mount -t tmpfs -o {options} tmpfs cache 2>/dev/null || {{ echo refused; exit 0; }}
        cp -r ../downloads/wheels cache
        status=0; {WHEELS} || status=$?
        echo "first $status"
        find cache -name '.part-*' | sed 's/^/left /'
        mount -o remount,{room} cache
        {WHEELS}
        {WHEELS}
        "#
    );
    let Some(output) = unshared(&project, &["--mount"], &script) else { return };
    if output.stdout.contains("refused") {
        let name = if options.contains("quota") { "tmpfs-quota" } else { "tmpfs" };
        crate::support::peers::skipped(name, &format!("`mount -o {options}` is refused here"));
        return;
    }
    let output = output.exits(0).tells(words).ran_nothing();
    assert!(output.stdout.contains("first 1"), "{output:?}");
    assert!(!output.stdout.contains("left"), "{output:?}");
}

#[test]
fn a_disk_without_a_free_inode_is_a_full_disk() {
    let words = ["No space left on device", "a disk is full, of bytes or of files", "df -i"];
    with_cache("nr_inodes=12", "nr_inodes=100000", &words);
}

/// tmpfs has quotas since Linux 6.6 (`Documentation/filesystems/tmpfs.rst`).
#[test]
fn a_quota_that_is_used_up_is_a_full_disk() {
    let small = "usrquota,usrquota_block_hardlimit=3m";
    with_cache(
        small,
        "usrquota_block_hardlimit=300m",
        &["Disk quota exceeded", "a quota is used up"],
    );
}

/// Runs the step under a limit of the shell's, and then without one.
fn limited(limit: &str, words: &[&str]) {
    let Some(project) = downloaded() else { return };
    let script = format!("ulimit {limit}; {WHEELS}");
    let mut command = std::process::Command::new("sh");
    project.prepare(command.args(["-ec", &script]));
    command.env("goatbuild", crate::support::installed::GOATBUILD);
    let output = crate::support::project::ran(&mut command);
    output.fails(1, words);
    assert_eq!(project.leftovers(), Vec::<std::path::PathBuf>::new());
    project.run(&["apply", "--only", "wheels:tiny/pip"]).exits(0);
}

#[test]
fn a_limit_of_open_files_is_named() {
    for files in [9, 10, 12, 13, 14, 16] {
        limited(&format!("-n {files}"), &["Too many open files", "ulimit -n"]);
    }
}

/// setrlimit(2): who writes beyond `RLIMIT_FSIZE` is sent `SIGXFSZ`, which ends it; CPython ignores that, too.
#[test]
fn a_limit_of_a_file_is_named() {
    limited("-f 1000", &["File too large", "ulimit -f"]);
}

#[test]
fn a_full_disk_of_uv_is_no_failed_resolution() {
    let Some(mut project) = downloaded() else { return };
    let server = Server::start();
    offer(&server, &["1.0"]);
    project.variable("UV_DEFAULT_INDEX", &server.url("/simple"));
    std::fs::remove_file(project.path("images/tiny.pylock.toml")).expect("removes");
    require(&project);
    let script = r#"
        mkdir ../uv && mount -t tmpfs -o size=4k,nr_inodes=4 tmpfs ../uv
        export UV_CACHE_DIR=$PWD/../uv
        status=0; "$goatbuild" lock || status=$?
        echo "first $status"
        mount -o remount,size=30m,nr_inodes=1000 ../uv
        "$goatbuild" lock
        "#;
    let Some(output) = unshared(&project, &["--mount"], script) else { return };
    let output = output.exits(0).tells(&["No space left on device", "a disk is full"]);
    assert!(output.stdout.contains("first 1"), "{output:?}");
    assert!(!output.stderr.contains("cannot be satisfied"), "{}", output.stderr);
    assert!(project.path("images/tiny.pylock.toml").exists());
}

fn require(project: &Project) {
    let base = "base = { debian = \"bookworm\", packages = [\"python3\"] }";
    project.write("images/tiny.toml", &format!("{base}\nrequirements = [\"good\"]\n"));
}

/// Wherever it strikes: the same work on disks of all sizes that are too small for it.
fn at_every_size(place: &str, sizes: &[&str], before: &str, command: &str) {
    let Some(project) = super::built() else { return };
    let mut script = format!("mkdir -p {place} ../kept; {before}\n");
    for size in sizes {
        let _ = write!(
            script,
            r#"
            mount -t tmpfs -o size={size} tmpfs {place}
            [ ! -d ../kept/debs ] || ln -s "$PWD/../kept/debs" {place}/debs
            [ ! -d ../kept/wheels ] || ln -s "$PWD/../kept/wheels" {place}/wheels
            status=0; {{ {command}; }} 2>error || status=$?
            echo "status $status at {size}"
            if [ $status != 0 ]; then grep -q 'a disk is full' error || cat error; fi
            ! grep -e panicked -e BUG -e 'broken or hostile' error
            mount -o remount,size=400m {place}
            {{ {command}; }} 2>error || {{ cat error; exit 9; }}
            umount -l {place}
            "#
        );
    }
    let Some(output) = unshared(&project, &["--mount"], &script) else { return };
    let output = output.exits(0);
    print!("{}", output.stdout);
    assert_eq!(output.stderr, "");
    let failed = output.stdout.matches("status 1 at").count();
    let done = output.stdout.matches("status 0 at").count();
    assert_eq!((failed + done, failed > 0), (sizes.len(), true), "{output:?}");
    assert!(!output.stdout.contains("help:"), "{}", output.stdout);
}

#[test]
fn a_cache_of_any_size_is_too_small_in_the_same_words() {
    let sizes = ["40k", "100k", "200k", "400k", "700k", "1m", "2m", "4m", "10m", "20m", "40m"];
    let keep = "mv cache/debs cache/wheels ../kept; mv cache ../cache-before; mkdir cache";
    at_every_size(
        "cache",
        &sizes,
        keep,
        r#""$goatbuild" apply --offline --only image:tiny >/dev/null"#,
    );
}

#[test]
fn a_state_directory_of_any_size_is_too_small_in_the_same_words() {
    let sizes = ["4k", "16k", "100k", "1m", "10m", "30m"];
    let command = r#"env GOATBUILD_STATE_DIR="$PWD/../small" "$goatbuild" apply --offline --only deploy:tiny >/dev/null"#;
    let command = format!(
        "{command} && env GOATBUILD_STATE_DIR=\"$PWD/../small\" \"$goatbuild\" destroy tiny --yes >/dev/null"
    );
    at_every_size("../small", &sizes, "", &command);
}

/// Rust ends a program that gets no memory, and says how much it wanted (`handle_alloc_error`); what it was at is
/// as after a kill.
#[test]
fn memory_that_runs_out_is_called_that_and_the_next_command_completes() {
    let Some(project) = super::built() else { return };
    let mut failed = 0;
    for megabytes in [70, 80, 90, 100, 110, 130, 160, 200] {
        std::fs::remove_dir_all(project.path("cache/oci")).expect("removes");
        let script = format!(
            r#"ulimit -c 0; ulimit -v {}; exec "$goatbuild" apply --offline --only image:tiny"#,
            megabytes << 10
        );
        let mut command = std::process::Command::new("sh");
        project.prepare(command.args(["-ec", &script]));
        command.env("goatbuild", crate::support::installed::GOATBUILD);
        let ran = crate::support::project::ran(&mut command);
        println!("{megabytes} MiB: {}", ran.code);
        // The program itself isn't loaded.
        if ran.code == 127 {
            continue;
        }
        if ran.code != 0 {
            failed += 1;
            let told = ["memory", "Cannot allocate"].iter().any(|word| ran.stderr.contains(word));
            assert!(told, "{megabytes} MiB: {ran:?}");
        }
        project.run(&["apply", "--offline", "--only", "image:tiny"]).exits(0);
        assert_eq!(project.leftovers(), Vec::<std::path::PathBuf>::new());
    }
    assert!(failed > 0);
}
