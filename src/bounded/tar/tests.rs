//! Archives that say more than they are.

use tar::{EntryType, Header};

use super::*;

/// A header that says so much of its content, which need not come.
fn header(name: &str, kind: EntryType, size: u64) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn read(content: impl Read) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    members(
        content,
        |error| error.to_string(),
        |entry| {
            names.push(String::from_utf8_lossy(&entry.path).into_owned());
            Ok(())
        },
    )
    .map(|_| names)
}

/// python/cpython#151497: a header of 512 bytes says that a name has a gigabyte, which need not come. Here
/// it comes, as it does out of a few megabytes of gzip.
#[test]
fn names_are_as_long_as_what_arrives_and_not_longer_than_any_name() {
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let claims = header("././@LongLink", kind, 3 << 30);
        let error = read(claims.chain(io::repeat(b'a').take(3 << 30))).unwrap_err();
        assert!(error.contains("larger than 4 MiB"), "{kind:?}: {error}");
        let cut = read(header("././@LongLink", kind, 3 << 30).as_slice()).unwrap_err();
        assert!(!cut.is_empty(), "{kind:?}");
    }
    let long = |name: &str| {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_size(2);
        archive.append_data(&mut header, name, &b"ab"[..]).unwrap();
        archive.into_inner().unwrap()
    };
    let good = format!("{}/{}", "d".repeat(255), "f".repeat(255));
    assert_eq!(read(&long(&good)[..]).unwrap(), [good]);
    let error = read(&long(&"f".repeat(256))[..]).unwrap_err();
    assert!(error.contains("component of more than 255 bytes"), "{error}");
    assert!(error.contains("fff… (256 bytes)") && error.len() < 300, "{error}");
    let error = read(&long(&"d/".repeat(3000))[..]).unwrap_err();
    assert!(error.contains("longer than 4095 bytes"), "{error}");
}

/// moby/moby#5419: `useradd` with a large UID makes a `lastlog` of hundreds of gigabytes, all hole.
#[test]
fn holes_are_skipped_however_large_they_say_that_they_are() {
    let mut header = Header::new_gnu();
    header.set_path("var/log/lastlog").unwrap();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(512);
    header.set_mode(0o644);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.set_real_size(1 << 60);
    gnu.sparse[0].set_offset(0);
    gnu.sparse[0].set_length(512);
    gnu.sparse[1].set_offset(1 << 60);
    gnu.sparse[1].set_length(0);
    header.set_cksum();
    let next = self::header("next", EntryType::Regular, 0);
    let archive = [header.as_bytes(), &[7; 512][..], &next, &[0; 1024]].concat();
    assert_eq!(read(&archive[..]).unwrap(), ["var/log/lastlog", "next"]);
}

#[test]
fn contents_are_as_large_as_they_like() {
    let large = header("large", EntryType::Regular, 16 << 20);
    let archive = large.chain(io::repeat(0).take(16 << 20)).chain(&[0; 1024][..]);
    assert_eq!(read(archive).unwrap(), ["large"]);
}
