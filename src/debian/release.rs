//! A suite's release file: its signature, what it is, and the digests of its indexes.

use jiff::Timestamp;
use jiff::civil::DateTime;
use pgp::composed::{CleartextSignedMessage, Deserializable as _, SignedPublicKey};
use pgp::packet::Signature;
use pgp::types::{Timestamp as Time, VerifyingKey};

use super::DebianError;
use crate::digest::Digest;

/// Debian's archive and release keys of bookworm and trixie, without third parties' signatures.
///
/// From the package debian-archive-keyring 2023.3+deb12u2, files
/// `debian-archive-{bookworm,trixie}-{automatic,stable}.gpg`, through
/// `gpg --export --export-options export-minimal`. [`tests::keys_are_debians`] lists them.
pub(super) const ARCHIVE_KEYS: &[u8] = include_bytes!("archive-keys.pgp");

/// What a verified release file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Release {
    /// The code name, such as `bookworm`.
    pub(super) codename: String,
    /// When it was made.
    pub(super) date: Timestamp,
    /// Whether indexes are also served under their digest.
    pub(super) by_hash: bool,
    /// Path below the suite, size and SHA-256 of the chosen index.
    pub(super) index: Index,
}

/// One index file as a release file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) sha256: Digest,
}

/// Verifies a clearsigned release file against `keys` and reads what concerns `index`.
pub(super) fn verified(
    signed: &[u8],
    keys: &[u8],
    suite: &str,
    index: &str,
    now: Timestamp,
) -> Result<Release, DebianError> {
    let refused = |reason: String| DebianError::Signature { suite: suite.to_owned(), reason };
    let text = std::str::from_utf8(signed).map_err(|_| refused("it is not text".into()))?;
    if !text.starts_with("-----BEGIN PGP SIGNED MESSAGE-----") {
        return Err(refused("it carries no signature".into()));
    }
    let (message, _) = CleartextSignedMessage::from_string(text)
        .map_err(|error| refused(format!("its signature cannot be read: {error}")))?;
    let signed_text = message.signed_text();
    let keys: Vec<SignedPublicKey> = SignedPublicKey::from_bytes_many(keys)
        .and_then(Iterator::collect)
        .unwrap_or_else(|error| panic!("BUG: the embedded keys cannot be read: {error}"));
    let good = message.signatures().iter().any(|signature| {
        keys.iter().any(|key| signed_by(signature, key, signed_text.as_bytes(), now))
    });
    if !good {
        return Err(refused("no signature is by a known key, or the text was changed".into()));
    }
    read(&signed_text, suite, index, now)
        .map_err(|reason| DebianError::Index { suite: suite.to_owned(), reason })
}

/// Whether `key` or one of its signing subkeys, valid at that time, made this signature.
fn signed_by(signature: &Signature, key: &SignedPublicKey, text: &[u8], now: Timestamp) -> bool {
    let Some(made) = signature.created().map(|time| i64::from(time.as_secs())) else {
        return false;
    };
    // A day's grace for clocks that run late.
    if made > now.as_second() + 86_400 || !key.details.revocation_signatures.is_empty() {
        return false;
    }
    let primary_flags = || key.details.users.iter().flat_map(|user| &user.signatures);
    if key.verify_bindings().is_err() || !valid_at(key, primary_flags(), made) {
        return false;
    }
    if primary_flags().any(|binding| binding.key_flags().sign())
        && signature.verify(key, text).is_ok()
    {
        return true;
    }
    key.public_subkeys.iter().any(|subkey| {
        subkey.signatures.iter().any(|binding| binding.key_flags().sign())
            && !subkey
                .signatures
                .iter()
                .any(|binding| binding.typ() == Some(pgp::packet::SignatureType::SubkeyRevocation))
            && valid_at(&subkey.key, subkey.signatures.iter(), made)
            && signature.verify(&subkey.key, text).is_ok()
    })
}

/// Whether a key was already made and not yet expired; its newest binding counts.
fn valid_at<'a>(
    key: &impl VerifyingKey,
    bindings: impl Iterator<Item = &'a Signature>,
    made: i64,
) -> bool {
    let created = i64::from(key.created_at().as_secs());
    let newest = bindings.max_by_key(|binding| binding.created().map(Time::as_secs));
    let lifetime = newest
        .and_then(Signature::key_expiration_time)
        .map(|lifetime| i64::from(lifetime.as_secs()))
        .filter(|lifetime| *lifetime > 0);
    made >= created && lifetime.is_none_or(|lifetime| made <= created + lifetime)
}

fn read(text: &str, suite: &str, index: &str, now: Timestamp) -> Result<Release, String> {
    let field = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find_map(|(key, value)| (key == name).then(|| value.trim()))
    };
    let codename = field("Codename").ok_or("it names no Codename")?;
    if codename != suite {
        return Err(format!(
            "it is the index of {codename} (suite {})",
            field("Suite").unwrap_or("unnamed")
        ));
    }
    let date = time(field("Date").ok_or("it has no Date")?)?;
    if let Some(until) = field("Valid-Until")
        && now > time(until)?
    {
        return Err(format!("it was valid until {until}"));
    }
    let mut in_sha256 = false;
    let mut found = None;
    for line in text.lines() {
        if !line.starts_with(' ') {
            in_sha256 = line.trim_end() == "SHA256:";
        } else if in_sha256 {
            let mut words = line.split_whitespace();
            if let (Some(sha256), Some(size), Some(path)) =
                (words.next(), words.next(), words.next())
                && path == index
            {
                let size = size.parse().map_err(|_| format!("{path} has no size"))?;
                let sha256 = Digest::from_hex(&sha256.to_ascii_lowercase());
                let sha256 = sha256.map_err(|_| format!("{path} has no SHA-256"))?;
                found = Some(Index { path: path.to_owned(), size, sha256 });
            }
        }
    }
    Ok(Release {
        codename: codename.to_owned(),
        date,
        by_hash: field("Acquire-By-Hash") == Some("yes"),
        index: found.ok_or_else(|| format!("it lists no {index}"))?,
    })
}

fn time(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("{text:?} is not a date");
    let civil = text.trim_end_matches("UTC").trim_end_matches("GMT").trim_end();
    let civil = civil.split_once(", ").map_or(civil, |(_, rest)| rest);
    let civil = DateTime::strptime("%d %b %Y %H:%M:%S", civil).map_err(|_| wrong())?;
    jiff::tz::TimeZone::UTC.to_timestamp(civil).map_err(|_| wrong())
}

/// The first midnight at least a day after `date`, as a snapshot archive spells it.
///
/// A snapshot taken at the release file's own time may precede its publication by hours.
pub(super) fn snapshot_after(date: Timestamp) -> String {
    let days = date.as_second().div_euclid(86_400) + 2;
    snapshot_at(Timestamp::from_second(days * 86_400).unwrap_or(date))
}

/// A time as a snapshot archive spells it.
pub(super) fn snapshot_at(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use pgp::types::KeyDetails as _;

    use super::*;
    use crate::digest::hex;

    const SIGNED: &[u8] = include_bytes!("testdata/InRelease");
    const TEST_KEY: &[u8] = include_bytes!("testdata/test-key.pgp");
    const INDEX: &str = "main/binary-amd64/Packages.xz";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The fixture's signature was made on this day.
    fn signed_day() -> Timestamp {
        at("2026-11-24T00:00:00Z")
    }

    fn reason(outcome: Result<Release, DebianError>) -> String {
        outcome.unwrap_err().to_string()
    }

    #[test]
    fn keys_are_debians() {
        let keys: Vec<SignedPublicKey> =
            SignedPublicKey::from_bytes_many(ARCHIVE_KEYS).unwrap().map(Result::unwrap).collect();
        let mut fingerprints: Vec<_> =
            keys.iter().map(|key| hex(key.fingerprint().as_bytes())).collect();
        fingerprints.sort();
        assert_eq!(
            fingerprints,
            [
                "04b54c3cdca79751b16bc6b5225629df75b188bd", // trixie archive
                "41587f7db8c774bccf131416762f67a0b2c39de4", // trixie stable release
                "4d64fec119c2029067d6e791f8d2585b8783d481", // bookworm stable release
                "b8b80b5b623eab6ad8775c45b7c5d7d6350947f8", // bookworm archive
            ]
        );
        for key in keys {
            key.verify_bindings().unwrap();
        }
    }

    #[test]
    fn a_signature_by_a_known_key_is_good() {
        let text = String::from_utf8(SIGNED.to_vec()).unwrap();
        let message = CleartextSignedMessage::from_string(&text).unwrap().0;
        let keys: Vec<SignedPublicKey> =
            SignedPublicKey::from_bytes_many(TEST_KEY).unwrap().map(Result::unwrap).collect();
        let signed = message.signed_text();
        assert!(signed_by(&message.signatures()[0], &keys[0], signed.as_bytes(), signed_day()));
        let read = read(&signed, "bookworm", INDEX, at("2026-07-12T00:00:00Z")).unwrap();
        assert_eq!(read.index.size, 8_790_396);
        assert!(read.by_hash);
        assert_eq!(snapshot_after(read.date), "20260713T000000Z");
    }

    #[test]
    fn valid_until_is_honoured() {
        let said = reason(verified(SIGNED, TEST_KEY, "bookworm", INDEX, signed_day()));
        assert!(said.contains("it was valid until Sat, 18 Jul 2026"), "{said}");
    }

    #[test]
    fn another_suite_is_refused() {
        let said = reason(verified(SIGNED, TEST_KEY, "trixie", INDEX, signed_day()));
        assert!(said.contains("it is the index of bookworm"), "{said}");
    }

    #[test]
    fn unknown_keys_changes_and_missing_signatures_are_refused() {
        let said = reason(verified(SIGNED, ARCHIVE_KEYS, "bookworm", INDEX, signed_day()));
        assert!(said.contains("not signed by a Debian archive key"), "{said}");
        let changed = String::from_utf8(SIGNED.to_vec()).unwrap().replace("8790396", "8790397");
        let said = reason(verified(changed.as_bytes(), TEST_KEY, "bookworm", INDEX, signed_day()));
        assert!(said.contains("the text was changed"), "{said}");
        let said =
            reason(verified(b"Codename: bookworm\n", TEST_KEY, "bookworm", INDEX, signed_day()));
        assert!(said.contains("it carries no signature"), "{said}");
        // A key made after the signature, or a signature from the future, proves nothing.
        let early = at("2026-07-12T00:00:00Z");
        assert!(verified(SIGNED, TEST_KEY, "bookworm", INDEX, early).is_err());
    }
}
