//! Names that users choose, each its own type so that none is taken for another.

use std::fmt;
use std::sync::Arc;

/// Why a text is no name: says what one looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct NotAName {
    /// What a name of that kind looks like, in words.
    pub expected: &'static str,
}

/// The longest model, image or volume name: what a DNS label may hold.
const LONGEST: usize = 63;

fn is_inner(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Says whether `text` is lowercase letters and digits with any of `joining` between them.
fn is_joined(text: &str, joining: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    bytes.len() <= LONGEST
        && is_inner(*first)
        && is_inner(*last)
        && bytes.iter().all(|byte| is_inner(*byte) || joining.contains(byte))
}

const FILE_NAME: &str = "lowercase letters, digits, `-` and `.`, starting and ending with a letter \
                         or digit, at most 63 characters";
const DASHED: &str = "lowercase letters, digits and `-`, starting and ending with a letter or \
                      digit, at most 63 characters";

/// Defines one kind of name: a function can't define types.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $joining:expr, $expected:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes `text` as a name if it is one.
            pub fn new(text: &str) -> Result<Self, NotAName> {
                if is_joined(text, $joining) {
                    Ok(Self(text.into()))
                } else {
                    Err(NotAName { expected: $expected })
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = NotAName;

            fn from_str(text: &str) -> Result<Self, NotAName> {
                Self::new(text)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

name!(
    /// The committed mark of a project, by which it knows what it owns elsewhere.
    ProjectId, b"-", DASHED
);
name!(
    /// A named set of overrides, chosen with `--env`.
    EnvironmentName, b"-", DASHED
);
name!(
    /// A model's name: the stem of its spec file.
    ModelName, b"-.", FILE_NAME
);
name!(
    /// An image's name: the stem of its file.
    ImageName, b"-.", FILE_NAME
);
name!(
    /// A volume's name within the project (the target knows it by [`super::Volume::name`]).
    VolumeName, b"-.", FILE_NAME
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names_are_lowercase_and_end_in_a_letter_or_digit() {
        for good in ["a", "7", "gpt-oss-20b", "llama-3.1-8b", &"a".repeat(63)] {
            assert_eq!(ModelName::new(good).map(|name| name.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "-a", "a-", ".a", "a.", "A", "a_b", "a b", "é", &"a".repeat(64)] {
            assert!(ModelName::new(bad).is_err(), "{bad:?}");
        }
    }
}
