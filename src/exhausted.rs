//! What this machine has run out of, as an error says it: by its cause, or in the words of a program that
//! was asked, such as uv, Docker or SQLite.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

use rustix::io::Errno;

/// What there is no more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// Bytes or files of a file system, or of a user's part of it.
    Disk,
    /// Bytes that one file may have.
    FileSize,
    /// Open files.
    Files,
    /// Memory.
    Memory,
}

impl Exhausted {
    /// What an error, or what caused it, says that there is no more of.
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let (mut told, mut next) = (None, Some(error));
        // What is nearest to the cause knows best.
        while let Some(error) = next {
            let out = match error.downcast_ref::<io::Error>() {
                Some(error) => Self::of_system(error),
                None => Self::of_words(&error.to_string()),
            };
            (told, next) = (out.or(told), error.source());
        }
        told
    }

    /// What the system says that there is no more of.
    pub fn of_system(error: &io::Error) -> Option<Self> {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            _ if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                Some(Self::Disk)
            }
            Some(Errno::FBIG) => Some(Self::FileSize),
            Some(Errno::MFILE | Errno::NFILE) => Some(Self::Files),
            Some(Errno::NOMEM) => Some(Self::Memory),
            Some(_) => None,
            // A wrapped one keeps the words alone.
            None => Self::of_words(&error.to_string()),
        }
    }

    /// The same in words: as Rust writes the system's errors, and Go, C, Python and SQLite.
    pub fn of_words(words: &str) -> Option<Self> {
        const WORDS: [(Exhausted, &[&str]); 4] = [
            (
                Exhausted::Disk,
                &["no space left on device", "disk quota exceeded", "database or disk is full"],
            ),
            (Exhausted::FileSize, &["file too large (os error", "[errno 27]"]),
            (Exhausted::Files, &["too many open files"]),
            (Exhausted::Memory, &["cannot allocate memory (os error", "[errno 12]"]),
        ];
        let words = words.to_ascii_lowercase();
        let found = WORDS.iter().find(|(_, said)| said.iter().any(|said| words.contains(said)));
        found.map(|(what, _)| *what)
    }

    /// What to do about it.
    pub fn help(self) -> &'static str {
        match self {
            Self::Disk => {
                "a disk is full, of bytes or of files (`df -h` and `df -i` tell which), or a quota is used up: make room, and run the command again; it goes on with what is whole"
            }
            Self::FileSize => {
                "no larger file may be written: `ulimit -f`, or the file system, sets the limit. Raise it, and run the command again"
            }
            Self::Files => {
                "too many files are open at once: raise the limit (`ulimit -n 4096`), and run the command again"
            }
            Self::Memory => {
                "there is no more memory: free some, or raise the limit (`ulimit -v`, a container's), and run the command again"
            }
        }
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Disk => "a disk is full",
            Self::FileSize => "a file may not be that large",
            Self::Files => "too many files are open",
            Self::Memory => "there is no more memory",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{said}")]
    struct Failed {
        said: &'static str,
        #[source]
        cause: Option<io::Error>,
    }

    #[test]
    fn a_cause_says_it_and_so_do_words() {
        let caused = |errno: Errno| {
            Exhausted::of(&Failed { said: "x can't be written", cause: Some(errno.into()) })
        };
        assert_eq!(caused(Errno::NOSPC), Some(Exhausted::Disk));
        assert_eq!(caused(Errno::DQUOT), Some(Exhausted::Disk));
        assert_eq!(caused(Errno::FBIG), Some(Exhausted::FileSize));
        assert_eq!(caused(Errno::MFILE), Some(Exhausted::Files));
        assert_eq!(caused(Errno::NOMEM), Some(Exhausted::Memory));
        assert_eq!(caused(Errno::ACCESS), None);
        let wrapped = io::Error::other(io::Error::from(Errno::NOSPC));
        assert_eq!(Exhausted::of_system(&wrapped), Some(Exhausted::Disk));
    }

    /// Words as they were published, in reports of people whose disk was full.
    #[test]
    fn programs_say_it_in_their_own_words() {
        for (words, what) in [
            // mq1/TinyWiiBackupManager#494, as Rust says it
            ("No space left on device (os error 28)", Exhausted::Disk),
            // moby/moby#28920
            (
                "ApplyLayer exit status 1 stdout:  stderr: write /var/log/lastlog: no space left on device",
                Exhausted::Disk,
            ),
            // sqlite.org/rescode.html#full
            ("database or disk is full", Exhausted::Disk),
            // Medical-Event-Data-Standard/MEDS-DEV#266
            ("OSError: [Errno 122] Disk quota exceeded", Exhausted::Disk),
            // errno(3)
            ("Too many open files (os error 24)", Exhausted::Files),
        ] {
            assert_eq!(Exhausted::of_words(words), Some(what), "{words}");
        }
        assert_eq!(Exhausted::of_words("the file is larger than 16 MiB"), None);
    }
}
