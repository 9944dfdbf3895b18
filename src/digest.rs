//! What bytes hash to: SHA-256, by which layers, images, wheels and packages are known everywhere.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of some bytes, written as `sha256:` and 64 lower-case hexadecimal digits.
///
/// A text is checked once, where it is read: whoever has one may name a file by it. `oci_spec`'s
/// type allows any algorithm and any letters after it, so that every reader would have to ask again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// A text that is no digest of a kind that is known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[error("`{text}` is not a SHA-256 digest")]
#[diagnostic(
    code(goatbuild::oci::digest),
    help("expected `sha256:` and 64 lower-case hexadecimal digits")
)]
pub struct NotADigest {
    /// What was read instead.
    pub text: String,
}

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Of all that a hasher was given.
    pub fn finish(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }

    /// One that is written down in goatbuild's own source: anything else does not compile there.
    pub const fn known(digits: &str) -> Self {
        match unhex(digits) {
            Some(bytes) => Self(bytes),
            None => panic!("BUG: not 64 lower-case hexadecimal digits"),
        }
    }

    /// Reads the digits alone.
    pub fn from_hex(digits: &str) -> Result<Self, NotADigest> {
        unhex(digits).map(Self).ok_or_else(|| NotADigest { text: digits.to_owned() })
    }

    /// The digits alone.
    pub fn hex(self) -> String {
        hex(&self.0)
    }

    /// As much of it as tells it from others.
    pub fn short(self) -> String {
        format!("sha256:{}", hex(&self.0[..6]))
    }
}

/// For formats that have the digits alone: `#[serde(with = "digest::bare")]`.
pub mod bare {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Digest;

    /// Writes the digits.
    pub fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&digest.hex())
    }

    /// Reads the digits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let digits = String::deserialize(deserializer)?;
        Digest::from_hex(&digits).map_err(|_| {
            D::Error::custom(format!(
                "`{digits}` is not a SHA-256 of 64 lower-case hexadecimal digits"
            ))
        })
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of just so many lower-case hexadecimal digits.
pub(crate) const fn unhex<const BYTES: usize>(digits: &str) -> Option<[u8; BYTES]> {
    const fn value(digit: u8) -> Option<u8> {
        match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        }
    }
    let digits = digits.as_bytes();
    if digits.len() != 2 * BYTES {
        return None;
    }
    let mut bytes = [0; BYTES];
    let mut at = 0;
    while at < BYTES {
        let (Some(high), Some(low)) = (value(digits[2 * at]), value(digits[2 * at + 1])) else {
            return None;
        };
        bytes[at] = high << 4 | low;
        at += 1;
    }
    Some(bytes)
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let digits = text.strip_prefix("sha256:").and_then(unhex);
        digits.map(Self).ok_or_else(|| NotADigest { text: text.to_owned() })
    }
}

impl TryFrom<String> for Digest {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let digest = Digest::of(b"");
        assert_eq!((digest.hex(), digest.to_string()), (EMPTY.into(), format!("sha256:{EMPTY}")));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(Digest::from_hex(EMPTY), Ok(digest));
        assert_eq!(digest.short(), "sha256:e3b0c44298fc");
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_digest() {
        let upper = format!("sha256:{}", EMPTY.to_uppercase());
        let longer = format!("sha256:{EMPTY}0");
        let sha512 = format!("sha512:{EMPTY}{EMPTY}");
        let wide = format!("sha256:{}é", &EMPTY[..62]);
        for text in ["", EMPTY, "sha256:", "sha256:../../etc", &upper, &longer, &sha512, &wide] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        for digits in ["", &EMPTY[1..], "../../etc/passwd", &format!("sha256:{EMPTY}")] {
            assert!(Digest::from_hex(digits).is_err(), "{digits}");
        }
    }
}
