//! What an image in a registry, or in a layout on disk, is called.

use std::fmt;
use std::str::FromStr;

use super::path::inside;
use crate::digest::Digest;

/// The registry that is meant when none is written.
const USUAL_REGISTRY: &str = "docker.io";

/// An image in a registry: `docker.io/nvidia/cuda:12.8.1-devel-ubuntu22.04@sha256:…`.
///
/// As Docker reads it: without a registry it is Docker Hub's, and there a name without a slash is
/// below `library/`; without tag and digest it is tagged `latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    /// Host, with the port if one is written.
    pub registry: String,
    /// The path on that host.
    pub repository: String,
    /// The tag; at least one of tag and digest is there.
    pub tag: Option<String>,
    /// Of a manifest or of an index.
    pub digest: Option<Digest>,
}

/// An image in an OCI layout on disk: `oci:path/to/layout:tag`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutReference {
    /// The layout's directory, relative to the project.
    pub path: String,
    /// The name in its index; not needed when the layout holds one image.
    pub tag: Option<String>,
    /// Of a manifest or of an index.
    pub digest: Option<Digest>,
}

/// The text names no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct NotAReference {
    /// What was expected, in words.
    pub expected: &'static str,
}

const REGISTRY: &str = "an image reference like \"docker.io/library/debian:bookworm\", with or \
                        without `@sha256:` and a digest";
const LAYOUT: &str =
    "`oci:` and a path relative to the project that doesn't leave it, perhaps with `:` and a tag";
const DIGEST: &str = "`sha256:` and 64 lower-case hexadecimal digits after the `@`";

impl ImageReference {
    /// The same repository, with this digest alone.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// What names the manifest: the digest when there is one.
    pub fn name(&self) -> String {
        let tag = || self.tag.clone().unwrap_or_else(|| "latest".to_owned());
        self.digest.map_or_else(tag, String::from)
    }
}

impl FromStr for ImageReference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let wrong = NotAReference { expected: REGISTRY };
        let (name, digest) = split_digest(text)?;
        // A colon after the last slash begins the tag, one before it the port.
        let slash = name.rfind('/').map_or(0, |at| at + 1);
        let (path, tag) = match name[slash..].split_once(':') {
            Some((last, tag)) => (&name[..slash + last.len()], Some(tag)),
            None => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong);
        }
        let (registry, repository) = match path.split_once('/') {
            Some((host, rest)) if is_host(host) => (host, rest),
            _ => (USUAL_REGISTRY, path),
        };
        let registry = if registry == "index.docker.io" { USUAL_REGISTRY } else { registry };
        let repository = if registry == USUAL_REGISTRY && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
        if !repository.split('/').all(is_component) || repository.len() > 255 {
            return Err(wrong);
        }
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(formatter, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for LayoutReference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let wrong = NotAReference { expected: LAYOUT };
        let rest = text.strip_prefix("oci:").ok_or(wrong)?;
        let (rest, digest) = split_digest(rest)?;
        let (path, tag) = match rest.split_once(':') {
            Some((_, "")) => return Err(wrong),
            Some((path, tag)) => (path, Some(tag.to_owned())),
            None => (rest, None),
        };
        Ok(Self { path: inside(path).ok_or(wrong)?, tag, digest })
    }
}

impl fmt::Display for LayoutReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "oci:{}", self.path)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(formatter, "@{digest}"),
            None => Ok(()),
        }
    }
}

fn split_digest(text: &str) -> Result<(&str, Option<Digest>), NotAReference> {
    let Some((name, digest)) = text.split_once('@') else { return Ok((text, None)) };
    let digest = digest.parse().map_err(|_| NotAReference { expected: DIGEST })?;
    Ok((name, Some(digest)))
}

/// Whether the part before the first slash is a host: as Docker tells it from a path.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (address, port.strip_prefix(':')),
            None => return false,
        },
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    (host == "localhost" || text.contains(['.', ':']))
        && !host.is_empty()
        && host.bytes().all(letters)
        && is_port
}

fn is_tag(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=128).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with(['.', '-'])
}

/// Lower-case letters and digits, joined by `.`, `_`, `__` or dashes.
fn is_component(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends =
        bytes.first().is_some_and(|it| plain(*it)) && bytes.last().is_some_and(|it| plain(*it));
    ends && bytes.iter().all(|it| plain(*it) || matches!(it, b'.' | b'_' | b'-'))
        && !["..", "___", "._", "_.", ".-", "-."].iter().any(|joint| text.contains(joint))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_are_read_as_docker_reads_them() {
        for (text, whole) in [
            ("debian", "docker.io/library/debian:latest"),
            ("nvidia/cuda:12.8", "docker.io/nvidia/cuda:12.8"),
            ("index.docker.io/nvidia/cuda:12.8", "docker.io/nvidia/cuda:12.8"),
            ("127.0.0.1:5000/x:tag", "127.0.0.1:5000/x:tag"),
            ("localhost/x", "localhost/x:latest"),
            ("[::1]:5000/a/b", "[::1]:5000/a/b:latest"),
            ("ghcr.io/Org/x", ""),
            ("ghcr.io/org/x__y-z.w:1", "ghcr.io/org/x__y-z.w:1"),
            ("a//b", ""),
            ("debian:", ""),
            ("debian@sha256:12", ""),
            ("https://ghcr.io/x", ""),
            ("x:1:2", ""),
        ] {
            let read = text.parse::<ImageReference>().map(|it| it.to_string());
            assert_eq!(read.unwrap_or_default(), whole, "{text}");
        }
        let both = format!("nvcr.io/a/b:1.0@{DIGITS}");
        let read: ImageReference = both.parse().expect("a reference");
        assert_eq!((read.to_string(), read.name()), (both, DIGITS.to_owned()));
        let pinned: ImageReference = format!("debian@{DIGITS}").parse().expect("a reference");
        assert_eq!(pinned.tag, None);
    }

    #[test]
    fn layouts_stay_inside_the_project() {
        let read: LayoutReference = "oci:./bases/cuda:12.8".parse().expect("a reference");
        assert_eq!(read.to_string(), "oci:bases/cuda:12.8");
        let pinned: LayoutReference = format!("oci:b@{DIGITS}").parse().expect("a reference");
        assert_eq!((pinned.tag, pinned.digest), (None, DIGITS.parse().ok()));
        for bad in ["oci:", "oci:../x", "oci:/etc", "oci:x:", "b"] {
            assert!(bad.parse::<LayoutReference>().is_err(), "{bad}");
        }
    }
}
