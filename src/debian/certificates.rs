//! The CA bundle and its directory of hash links, as `update-ca-certificates` makes them.

use sha1::{Digest as _, Sha1};

use super::DebianError;
use super::tree::{Node, Tree};

const SHIPPED: &str = "usr/share/ca-certificates/";
const INSTALLED: &str = "etc/ssl/certs";

/// Installs every certificate that the package ca-certificates ships; without it, does nothing.
pub(super) fn install(tree: &mut Tree) -> Result<(), DebianError> {
    let failed =
        |reason: String| DebianError::Configure { package: "ca-certificates".to_owned(), reason };
    let shipped: Vec<_> = tree
        .entries
        .iter()
        .filter_map(|(path, entry)| match entry.node {
            Node::File { content, .. } => {
                Some((std::str::from_utf8(path).ok()?.to_owned(), content))
            }
            _ => None,
        })
        .filter(|(path, _)| path.starts_with(SHIPPED) && path.strip_suffix(".crt").is_some())
        .collect();
    if shipped.is_empty() {
        return Ok(());
    }
    let mut bundle = Vec::new();
    let mut listed = String::from(
        "# This file lists certificates that you wish to use or to ignore to be\n\
         # installed in /etc/ssl/certs.\n",
    );
    let mut hashes = Vec::new();
    for (path, content) in shipped {
        let pem = tree.content(content).map_err(DebianError::io(format!("reading {path}")))?;
        let stem = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".crt");
        let name = stem.replace([' ', ','], "_").replace(['(', ')'], "=") + ".pem";
        let hash = der(&pem)
            .as_deref()
            .and_then(subject_hash)
            .ok_or_else(|| failed(format!("{path} is no certificate")))?;
        tree.put_link(&format!("{INSTALLED}/{name}"), &format!("/{path}"));
        hashes.push((hash, name));
        listed.push_str(&path[SHIPPED.len()..]);
        listed.push('\n');
        bundle.extend_from_slice(&pem);
        if !pem.ends_with(b"\n") {
            bundle.push(b'\n');
        }
    }
    hashes.sort();
    let mut before = None;
    let mut number = 0;
    for (hash, name) in hashes {
        number = if before == Some(hash) { number + 1 } else { 0 };
        before = Some(hash);
        tree.put_link(&format!("{INSTALLED}/{hash:08x}.{number}"), &name);
    }
    tree.put_file(&format!("{INSTALLED}/ca-certificates.crt"), 0o644, &bundle)?;
    tree.put_file("etc/ca-certificates.conf", 0o644, listed.as_bytes())
}

/// The first certificate of a PEM file.
fn der(pem: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let mut bytes = Vec::with_capacity(body.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in body.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// OpenSSL's `X509_subject_name_hash`: the first four bytes, little-endian, of SHA-1 over the
/// canonical subject, which is its RDNs with strings as lower-case, single-spaced UTF-8.
fn subject_hash(certificate: &[u8]) -> Option<u32> {
    let (_, certificate, _) = value(certificate)?;
    let (_, mut fields, _) = value(certificate)?;
    // An explicit version may come first; serial, algorithm, issuer and validity do.
    if fields.first() == Some(&0xa0) {
        fields = value(fields)?.2;
    }
    for _ in 0..4 {
        fields = value(fields)?.2;
    }
    let (_, mut names, _) = value(fields)?;
    let mut subject = Vec::new();
    while !names.is_empty() {
        let (_, mut set, rest) = value(names)?;
        names = rest;
        let mut attributes = Vec::new();
        while !set.is_empty() {
            let (_, attribute, rest) = value(set)?;
            set = rest;
            let (_, _, text) = value(attribute)?;
            let kind = &attribute[..attribute.len() - text.len()];
            let text = canonical(text)?;
            attributes.push(encoded(0x30, &[kind, &text].concat()));
        }
        attributes.sort();
        subject.extend(encoded(0x31, &attributes.concat()));
    }
    let digest = Sha1::digest(&subject);
    Some(u32::from_le_bytes(digest[..4].try_into().ok()?))
}

/// A value in its canonical form, which only strings have: one space between words, lower case.
fn canonical(whole: &[u8]) -> Option<Vec<u8>> {
    let (tag, content, _) = value(whole)?;
    let text = match tag {
        // UTF8String, PrintableString, IA5String, VisibleString.
        0x0c | 0x13 | 0x16 | 0x1a => String::from_utf8(content.to_vec()).ok()?,
        // T61String, which OpenSSL reads as Latin-1.
        0x14 => content.iter().copied().map(char::from).collect(),
        // BMPString and UniversalString.
        0x1e => {
            let units = content.chunks(2).map(|it| Some(u16::from_be_bytes(it.try_into().ok()?)));
            String::from_utf16(&units.collect::<Option<Vec<_>>>()?).ok()?
        }
        0x1c => content
            .chunks(4)
            .map(|it| char::from_u32(u32::from_be_bytes(it.try_into().ok()?)))
            .collect::<Option<_>>()?,
        _ => return Some(whole.to_vec()),
    };
    let words = text.split(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    Some(encoded(0x0c, words.join(" ").to_ascii_lowercase().as_bytes()))
}

/// Splits DER into the first value's tag and content, and what follows it.
fn value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let count = usize::from(*first & 0x7f);
        if count == 0 || count > 4 || count > rest.len() {
            return None;
        }
        let length = rest[..count].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        (length, &rest[count..])
    };
    (length <= rest.len()).then(|| (*tag, &rest[..length], &rest[length..]))
}

/// Encodes a value as DER.
fn encoded(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut der = vec![tag];
    if content.len() >= 0x80 {
        der.push(0x80 | significant.len().to_le_bytes()[0]);
    }
    // Zero has no significant byte, but needs one here.
    der.extend_from_slice(if significant.is_empty() { &[0] } else { significant });
    der.extend_from_slice(content);
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A self-signed certificate whose subject has capitals, double spaces, umlauts and, in one
    /// RDN, two attributes; made with `openssl req -x509`, hash by `openssl x509 -hash`.
    const CERTIFICATE: &[u8] = include_bytes!("testdata/certificate.pem");

    #[test]
    fn the_subjects_hash_is_openssls() {
        let expected = include_str!("testdata/certificate.hash").trim();
        let hash = subject_hash(&der(CERTIFICATE).unwrap()).unwrap();
        assert_eq!(format!("{hash:08x}"), expected);
    }

    #[test]
    fn damaged_certificates_have_no_hash() {
        let der = der(CERTIFICATE).unwrap();
        for end in 0..200 {
            assert_eq!(subject_hash(&der[..end]), None);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn hashes_match_the_openssl_of_this_machine() {
        let certificates = std::fs::read_dir("/usr/share/ca-certificates/mozilla");
        for path in certificates.into_iter().flatten().map(|entry| entry.unwrap().path()).take(40) {
            let openssl = std::process::Command::new("openssl")
                .args(["x509", "-noout", "-hash", "-in"])
                .arg(&path)
                .output();
            let Ok(output) = openssl else { return };
            let expected = String::from_utf8(output.stdout).unwrap();
            let hash = subject_hash(&der(&std::fs::read(&path).unwrap()).unwrap()).unwrap();
            assert_eq!(format!("{hash:08x}"), expected.trim(), "{}", path.display());
        }
    }
}
