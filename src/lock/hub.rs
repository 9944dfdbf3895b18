//! What a hub's repository holds at one commit, as it is locked and as it is fetched.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, hex, unhex};

/// What a file's bytes hash to. Its hexadecimal digits name the file in a model cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FileDigest {
    /// Of the bytes: large files, which the hub keeps outside git.
    Sha256(Digest),
    /// Git's blob id, SHA-1 over a header with the length and the bytes: all others.
    GitBlob([u8; 20]),
}

/// How a file is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestKind {
    /// As [`FileDigest::Sha256`].
    Sha256,
    /// As [`FileDigest::GitBlob`].
    GitBlob,
}

/// A text that is no digest of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither `sha256:` and 64 nor `git-blob:` and 40 lower-case hexadecimal digits")]
pub struct BadDigest(String);

impl FileDigest {
    /// A SHA-256 of 64 lower-case hexadecimal digits.
    pub fn sha256(hex: &str) -> Result<Self, BadDigest> {
        Digest::from_hex(hex).map(Self::Sha256).map_err(|_| BadDigest(format!("sha256:{hex}")))
    }

    /// A git blob id of 40 lower-case hexadecimal digits.
    pub fn git_blob(hex: &str) -> Result<Self, BadDigest> {
        let wrong = || BadDigest(format!("git-blob:{hex}"));
        unhex(hex).map(Self::GitBlob).ok_or_else(wrong)
    }

    /// One of the digits alone, whose number tells its kind.
    pub fn from_hex(hex: &str) -> Option<Self> {
        Self::sha256(hex).or_else(|_| Self::git_blob(hex)).ok()
    }

    /// How it was computed.
    pub fn kind(self) -> DigestKind {
        match self {
            Self::Sha256(_) => DigestKind::Sha256,
            Self::GitBlob(_) => DigestKind::GitBlob,
        }
    }

    /// The lower-case hexadecimal digits alone.
    pub fn hex(self) -> String {
        match self {
            Self::Sha256(digest) => digest.hex(),
            Self::GitBlob(bytes) => hex(&bytes),
        }
    }
}

impl fmt::Display for FileDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => digest.fmt(formatter),
            Self::GitBlob(bytes) => write!(formatter, "git-blob:{}", hex(bytes)),
        }
    }
}

impl FromStr for FileDigest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        match text.split_once(':') {
            Some(("sha256", hex)) => Self::sha256(hex),
            Some(("git-blob", hex)) => Self::git_blob(hex),
            _ => Err(BadDigest(text.to_owned())),
        }
    }
}

impl TryFrom<String> for FileDigest {
    type Error = BadDigest;

    fn try_from(text: String) -> Result<Self, BadDigest> {
        text.parse()
    }
}

impl From<FileDigest> for String {
    fn from(digest: FileDigest) -> Self {
        digest.to_string()
    }
}

/// One file of a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteFile {
    /// Relative path with `/` between parts; never leads out of its directory.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// What the bytes hash to.
    pub digest: FileDigest,
}

/// Who may fetch a repository, as its hub says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Anybody.
    Public,
    /// Whoever was let in.
    Gated,
    /// Whom its owners have among them.
    Private,
}

/// A repository at one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revision {
    /// 40 lower-case hexadecimal digits.
    pub commit: String,
    /// All files, sorted by path.
    pub files: Vec<RemoteFile>,
    /// Who may fetch it; none where the hub doesn't say.
    pub access: Option<Access>,
}

impl RemoteFile {
    /// Whether a path may be one of a file in a repository: relative, and leading nowhere else. A backslash
    /// is a letter like others to git, and to the systems that goatbuild runs on.
    pub fn is_path(path: &str) -> bool {
        !path.contains(|letter: char| letter.is_control())
            && path.split('/').all(|part| !["", ".", ".."].contains(&part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_what_it_says_or_nothing() {
        let sha256 = format!("sha256:{}", "ab".repeat(32));
        assert_eq!(sha256.parse::<FileDigest>().unwrap().to_string(), sha256);
        let git = FileDigest::git_blob(&"cd".repeat(20)).unwrap();
        assert_eq!((git.kind(), git.hex().len()), (DigestKind::GitBlob, 40));
        for wrong in ["", "ab", "sha256:", &sha256.to_uppercase(), &sha256[..70], "md5:00"] {
            assert!(wrong.parse::<FileDigest>().is_err(), "{wrong}");
        }
        assert!(FileDigest::sha256("../../../etc/passwd").is_err());
        assert!(FileDigest::git_blob(&"ab".repeat(32)).is_err());
    }

    #[test]
    fn a_path_leads_nowhere_else() {
        for path in ["config.json", "original/a b.bin", ".gitattributes", "a/..b/c", "a\\b"] {
            assert!(RemoteFile::is_path(path), "{path}");
        }
        for path in ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "./a", "a\nb"] {
            assert!(!RemoteFile::is_path(path), "{path}");
        }
    }
}
