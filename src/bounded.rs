//! What others wrote, read up to a size: what is no file, or larger than any such file is, is an error
//! rather than a wait or all of the memory.

pub mod output;
pub mod tar;

use std::fs::{File, FileType};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// The most bytes of a file that people write: a spec, a gateway's file, a client's configuration.
pub const TEXT: u64 = 16 << 20;

/// The most bytes of a file that goatbuild writes for a project: a lock, a saved plan.
pub const LOCK: u64 = 256 << 20;

/// Opens a file, and nothing else: not a FIFO that nobody writes, nor a device that never ends.
pub fn open(path: &Path) -> io::Result<File> {
    // Whoever opens a FIFO waits for a writer, unless told not to. Files are read as ever.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(|error| {
        // This is all that Linux says of a socket.
        if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) {
            no_file("a socket")
        } else {
            error
        }
    })?;
    let kind = file.metadata()?.file_type();
    match special(kind) {
        _ if kind.is_dir() => Err(Errno::ISDIR.into()),
        Some(what) => Err(no_file(what)),
        None => Ok(file),
    }
}

/// Reads a file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    rest(open(path)?, Vec::new(), limit)
}

/// Reads a text of at most `limit` bytes.
pub fn read_to_string(path: &Path, limit: u64) -> io::Result<String> {
    let not_text = |_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8 text");
    String::from_utf8(read(path, limit)?).map_err(not_text)
}

/// Reads what is left of an open file of which this much is `known`; all of it is at most `limit`
/// bytes.
pub fn rest(file: File, mut known: Vec<u8>, limit: u64) -> io::Result<Vec<u8>> {
    if file.metadata()?.len() <= limit {
        let left = limit.saturating_sub(known.len() as u64);
        file.take(left + 1).read_to_end(&mut known)?;
        if known.len() as u64 <= limit {
            return Ok(known);
        }
    }
    let reason =
        format!("it is larger than {} MiB, the most that such a file may have", limit >> 20);
    Err(io::Error::new(ErrorKind::FileTooLarge, reason))
}

/// What it is, where that is neither file, directory nor link.
pub fn special(kind: FileType) -> Option<&'static str> {
    if kind.is_fifo() {
        Some("a FIFO")
    } else if kind.is_socket() {
        Some("a socket")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("a device")
    } else {
        None
    }
}

fn no_file(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, format!("it is {what}, not a file"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_is_no_file_is_told_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("zero")).unwrap();
        std::fs::write(path("file"), "12345").unwrap();
        let told = |name: &str| read(&path(name), 5).map_err(|error| error.to_string());
        assert_eq!(told("fifo").unwrap_err(), "it is a FIFO, not a file");
        assert_eq!(told("socket").unwrap_err(), "it is a socket, not a file");
        assert_eq!(told("zero").unwrap_err(), "it is a device, not a file");
        assert_eq!(told("").unwrap_err(), "Is a directory (os error 21)");
        assert_eq!(told("file").unwrap(), b"12345");
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sparse");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = read(&path, TEXT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert_eq!(
            error.to_string(),
            "it is larger than 16 MiB, the most that such a file may have"
        );
        // The kernel gives no size for these.
        let error = read(Path::new("/proc/self/status"), 4).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert!(!read(Path::new("/proc/self/status"), TEXT).unwrap().is_empty());
    }
}
