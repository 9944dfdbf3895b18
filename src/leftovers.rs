//! What a killed command leaves behind: temporary files and directories that nothing will ever finish.
//!
//! Half-made things have names of their own until they are whole, so they are never taken for the
//! real thing; but nobody else removes them.

use std::fs::{File, FileType};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use tempfile::{Builder, TempDir};

/// Removes the entries of `directory` whose name begins with `prefix` and that nobody holds: whoever makes
/// such an entry has it locked, or has the lock that the caller has.
///
/// What can't be locked may be held, and stays like what can't be removed: it takes space, and harms nothing.
pub fn sweep(directory: &Path, prefix: &str) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
            continue;
        }
        let path = entry.path();
        // Held until it is gone: who has just made it and waits for its lock makes another one.
        let Ok(kind) = entry.file_type() else { continue };
        let Some(_held) = hold(&path, kind) else { continue };
        let _ =
            if kind.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    }
}

/// Locks a file or a directory that nobody holds. Links and the like can't be locked: whoever makes such a
/// one anew takes away what was left.
fn hold(path: &Path, kind: FileType) -> Option<File> {
    // What has taken its place meanwhile is neither followed nor waited for.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let open = |write| File::options().read(true).write(write).custom_flags(flags).open(path);
    let opened = if kind.is_file() {
        // NFS locks only what is open for writing. A file's mode may forbid that; then reading has to do.
        open(true).or_else(|_| open(false))
    } else if kind.is_dir() {
        open(false)
    } else {
        return None;
    };
    let file = opened.ok()?;
    file.try_lock().ok()?;
    Some(file)
}

/// A temporary directory of one command, which others know from a leftover. Dropping it removes it.
#[derive(Debug)]
pub struct Scratch {
    directory: TempDir,
    _held: File,
}

impl Scratch {
    /// Makes one, whose name begins with `prefix`.
    pub fn make(within: &Path, prefix: &str) -> io::Result<Self> {
        loop {
            let directory = Builder::new().prefix(prefix).tempdir_in(within)?;
            // Who took it for a leftover just now has removed it.
            let held = match File::open(directory.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            // Where nothing can be locked, no other command works either.
            if held.lock().is_err() || directory.path().exists() {
                return Ok(Self { directory, _held: held });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leftovers_are_removed_and_only_what_nobody_holds() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(path(".part-dir/sub")).expect("a directory");
        for name in [".part-a", "part-c", ".part"] {
            std::fs::write(path(name), "x").expect("a file");
        }
        let names = || {
            let mut names: Vec<String> = std::fs::read_dir(directory.path())
                .expect("lists")
                .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
                .collect();
            names.sort();
            names
        };
        let held = std::fs::File::open(path(".part-a")).expect("opens");
        held.try_lock().expect("nobody else has it");
        let scratch = Scratch::make(directory.path(), ".part-scratch-").expect("makes");
        std::fs::write(scratch.path().join("file"), "x").expect("a file");
        sweep(directory.path(), ".part-");
        let name = scratch.path().file_name().expect("a name").to_string_lossy().into_owned();
        assert_eq!(names(), [".part", ".part-a", &name, "part-c"]);
        drop(held);
        drop(scratch);
        std::fs::create_dir(path(&name)).expect("left by a kill");
        sweep(directory.path(), ".part-");
        assert_eq!(names(), [".part", "part-c"]);
        sweep(&path("missing"), ".part-");
    }

    #[test]
    fn what_cannot_be_locked_stays_and_is_not_waited_for() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        for name in ["theirs", ".part-read-only"] {
            std::fs::write(path(name), "x").expect("a file");
        }
        let mode = std::fs::Permissions::from_mode(0o400);
        std::fs::set_permissions(path(".part-read-only"), mode).expect("changes");
        symlink("theirs", path(".part-link")).expect("a link");
        nix::unistd::mkfifo(&path(".part-fifo"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        sweep(directory.path(), ".part-");
        assert!(path("theirs").exists());
        assert!(path(".part-link").is_symlink() && path(".part-fifo").exists());
        assert!(!path(".part-read-only").exists(), "nobody holds it");
    }

    #[test]
    fn what_is_being_made_is_made_however_often_others_sweep() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path();
        std::thread::scope(|scope| {
            let maker = scope.spawn(|| {
                for _ in 0..500 {
                    let scratch = Scratch::make(at, ".part-").expect("makes");
                    std::fs::write(scratch.path().join("file"), "x").expect("it is there");
                }
            });
            while !maker.is_finished() {
                sweep(at, ".part-");
            }
        });
        assert_eq!(std::fs::read_dir(at).expect("lists").count(), 0);
    }
}
