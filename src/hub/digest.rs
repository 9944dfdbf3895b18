//! Hashing a file as the hub does.

use sha2::Digest as _;

use crate::digest::Digest;
use crate::lock::hub::{DigestKind, FileDigest};

/// Takes a file's bytes in order.
pub(super) enum Hasher {
    Sha256(sha2::Sha256),
    GitBlob(sha1::Sha1),
}

impl Hasher {
    /// For a file of `size` bytes: git hashes the size first.
    pub(super) fn new(kind: DigestKind, size: u64) -> Self {
        match kind {
            DigestKind::Sha256 => Self::Sha256(sha2::Sha256::new()),
            DigestKind::GitBlob => {
                let mut hasher = Self::GitBlob(<sha1::Sha1 as sha1::Digest>::new());
                hasher.update(format!("blob {size}\0").as_bytes());
                hasher
            }
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::GitBlob(hasher) => sha1::Digest::update(hasher, bytes),
        }
    }

    /// What all of them hash to.
    pub(super) fn finish(self) -> FileDigest {
        match self {
            Self::Sha256(hasher) => FileDigest::Sha256(Digest::finish(hasher)),
            Self::GitBlob(hasher) => FileDigest::GitBlob(sha1::Digest::finalize(hasher).into()),
        }
    }
}

/// What `bytes` hash to.
pub(super) fn digest_of(kind: DigestKind, bytes: &[u8]) -> FileDigest {
    let mut hasher = Hasher::new(kind, bytes.len() as u64);
    hasher.update(bytes);
    hasher.finish()
}

/// How messages call the hash.
pub(super) fn name(digest: FileDigest) -> &'static str {
    match digest.kind() {
        DigestKind::Sha256 => "SHA-256",
        DigestKind::GitBlob => "git blob id",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_hashes_as_git_has_it() {
        // `printf 'hello\n' | git hash-object --stdin`, and of nothing.
        let hello = "ce013625030ba8dba906f756967f9e9ca394464a";
        assert_eq!(digest_of(DigestKind::GitBlob, b"hello\n").hex(), hello);
        let empty = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
        assert_eq!(digest_of(DigestKind::GitBlob, b"").hex(), empty);
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert_eq!(digest_of(DigestKind::Sha256, b"hello\n").hex(), sha256);
    }
}
