//! What is known of texts and endings before anything was run.

/// Longer texts than this many bytes aren't followed.
const LONGEST: usize = 1 << 20;

/// A text, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::debian) enum Value {
    /// This text.
    Is(String),
    /// It will be known once all files are there.
    Later,
    /// Only running this tells it.
    Never(String),
}

impl Value {
    /// A text that is known.
    pub(in crate::debian) fn is(text: impl Into<String>) -> Self {
        Self::Is(text.into())
    }

    /// The text, where it is known.
    pub(in crate::debian) fn known(&self) -> Option<&str> {
        match self {
            Self::Is(text) => Some(text),
            _ => None,
        }
    }

    /// Adds another one behind it.
    pub(in crate::debian) fn push(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Is(text), Self::Is(more)) if text.len() + more.len() > LONGEST => {
                *self = Self::Never("a text without end".to_owned());
            }
            (Self::Is(text), Self::Is(more)) => text.push_str(more),
            (Self::Never(_), Self::Is(_) | Self::Never(_)) | (Self::Later, _) => {}
            (_, unknown) => *self = unknown.clone(),
        }
    }

    /// All of them, with blanks between.
    pub(in crate::debian) fn joined(values: &[Self]) -> Self {
        let mut text = Self::is("");
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                text.push(&Self::is(" "));
            }
            text.push(value);
        }
        text
    }

    /// Why it isn't known, where that is so.
    pub(in crate::debian) fn doubt(&self) -> Option<Doubt> {
        match self {
            Self::Is(_) => None,
            Self::Later => Some(Doubt::Later),
            Self::Never(why) => Some(Doubt::Never(why.clone())),
        }
    }
}

/// Why something isn't known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::debian) enum Doubt {
    /// Files are not there yet.
    Later,
    /// Only running this tells it.
    Never(String),
}

impl Doubt {
    /// A text of which that is so.
    pub(in crate::debian) fn value(&self) -> Value {
        match self {
            Self::Later => Value::Later,
            Self::Never(why) => Value::Never(why.clone()),
        }
    }

    /// Both: as long as files are missing, nothing that hangs on them is settled.
    pub(super) fn or(self, other: Option<Self>) -> Self {
        match (self, other) {
            (_, Some(Self::Later)) => Self::Later,
            (this, _) => this,
        }
    }
}

/// How a command ended, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::debian) enum Status {
    /// With this exit status.
    Is(i32),
    /// Nobody knows.
    Unknown(Doubt),
}

impl Status {
    /// It went well.
    pub(in crate::debian) const OK: Self = Self::Is(0);

    /// 0 where something is so, and 1 otherwise.
    pub(in crate::debian) fn of(good: bool) -> Self {
        Self::Is(i32::from(!good))
    }
}
