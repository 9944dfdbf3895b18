//! A wheel's file name, and names of distributions.

use super::error::WheelError;
use crate::lock::pylock::normalised;

/// What a wheel's file name says about its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WheelName {
    /// The distribution, normalised.
    pub(super) distribution: String,
    /// As written.
    pub(super) version: String,
}

impl WheelName {
    pub(super) fn parse(file_name: &str) -> Result<Self, WheelError> {
        let bad = || WheelError::FileName { wheel: file_name.to_owned() };
        let stem = file_name.strip_suffix(".whl").ok_or_else(bad)?;
        let parts: Vec<&str> = stem.split('-').collect();
        if !matches!(parts.len(), 5 | 6) || parts.iter().any(|part| part.is_empty()) {
            return Err(bad());
        }
        if stem.contains(['/', '\\', '\0']) {
            return Err(bad());
        }
        Ok(Self { distribution: normalised(parts[0]), version: parts[1].to_owned() })
    }
}

/// Whether two spellings mean one version: `1.0` and `1.0.0`, `1.0+a.b` and `1.0+a_b`.
pub(super) fn same_version(left: &str, right: &str) -> bool {
    let parse = |text: &str| text.replace('_', "-").parse::<pep440_rs::Version>().ok();
    left == right || parse(left).is_some_and(|version| Some(version) == parse(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_not_their_spelling() {
        assert!(same_version("1.0", "1.0.0"));
        assert!(same_version("1.0+cu12_x", "1.0+cu12.x"));
        assert!(!same_version("1.0", "1.1"));
    }

    #[test]
    fn other_file_names_are_refused() {
        for name in ["a-1.tar.gz", "a-1-py3-none.whl", "-1-py3-none-any.whl", "a.whl"] {
            let error = WheelName::parse(name).unwrap_err();
            assert!(matches!(error, WheelError::FileName { .. }), "{name}");
        }
    }
}
