//! The binary under test, and which of this machine's programs it finds.
//!
//! goatbuild takes uv, Docker and Podman where they are installed. So that a test means the same on
//! every machine, its `PATH` is this machine's without these; a test that is about one of them puts
//! it in front. `GOATBUILD_TEST_UV` names a uv that all of them find.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::peers;

/// Where the binary is.
pub(crate) const GOATBUILD: &str = env!("CARGO_BIN_EXE_goatbuild");

/// What goatbuild looks for on `PATH` and can do without.
const TAKEN: [&str; 3] = ["docker", "podman", "uv"];

/// The binary, ready for arguments.
pub(crate) fn goatbuild() -> Command {
    let mut command = Command::new(GOATBUILD);
    command.env("PATH", path());
    command
}

/// The `PATH` of whatever a test runs.
pub(crate) fn path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os("GOATBUILD_TEST_UV") {
        Some(uv) => path_with_uv(Path::new(&uv)),
        None => bare_path().to_owned(),
    })
}

/// The same with a directory in front.
pub(crate) fn path_with(directory: &Path) -> String {
    format!("{}:{}", directory.display(), path())
}

/// Has this uv and no other.
pub(crate) fn path_with_uv(program: &Path) -> String {
    assert!(program.is_absolute() && program.is_file(), "{} is no uv", program.display());
    let link = links(&[("uv".into(), program.to_owned())]);
    format!("{}:{}", link.display(), bare_path())
}

/// This machine's `PATH` without what goatbuild takes where there is one, always: for what is kept
/// between runs of the tests.
pub(crate) fn bare_path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let machine = std::env::var_os("PATH").unwrap_or_default();
        let directories = std::env::split_paths(&machine).map(|directory| {
            let taken = |name: &&str| directory.join(name).symlink_metadata().is_ok();
            if TAKEN.iter().any(taken) { without_taken(&directory) } else { directory }
        });
        let path = std::env::join_paths(directories).expect("directories of a PATH");
        path.into_string().expect("a PATH in UTF-8")
    })
}

/// A directory with links to all that is in this one, but for what goatbuild takes.
fn without_taken(directory: &Path) -> PathBuf {
    let directory = std::path::absolute(directory).expect("a working directory");
    let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
    let mut programs: Vec<(OsString, PathBuf)> =
        entries.map(|entry| (entry.file_name(), entry.path())).collect();
    programs.retain(|(name, _)| !TAKEN.iter().any(|taken| name == taken));
    programs.sort();
    links(&programs)
}

/// A directory with these links, kept between runs; with others it is another one.
fn links(programs: &[(OsString, PathBuf)]) -> PathBuf {
    let mut hasher = blake3::Hasher::new();
    for (name, program) in programs {
        for word in [name, program.as_os_str()] {
            hasher.update(word.as_encoded_bytes()).update(b"\0");
        }
    }
    let directory = peers::directory().join(format!("path-{}", &hasher.finalize().to_hex()[..12]));
    if !directory.is_dir() {
        fs::create_dir_all(peers::directory()).expect("a directory");
        let new = tempfile::tempdir_in(peers::directory()).expect("a directory");
        for (name, program) in programs {
            std::os::unix::fs::symlink(program, new.path().join(name)).expect("a link");
        }
        // Some tests run as another user.
        fs::set_permissions(new.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        // Another test process may have been faster.
        if fs::rename(new.path(), &directory).is_ok() {
            let _ = new.keep();
        }
    }
    directory
}
