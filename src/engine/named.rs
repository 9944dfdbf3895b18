//! What flags name on a hub, and where that lies once it was fetched.

/// A value of a flag that names a repository on a hub: the engine would fetch it as it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Which value, dots leading into the flag: `tokenizer`, `speculative-config.model`.
    pub flag: String,
    /// What it says: `organisation/name`, perhaps with `@revision`.
    pub text: String,
    /// The revision that stands beside it.
    pub revision: Option<String>,
    /// Whether the engine reads no weights of it.
    pub is_small: bool,
}

/// What a server of one model answers to beside the model's own names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// What requests call it.
    pub name: String,
    /// The flag that says so.
    pub flag: &'static str,
}

/// A repository that a flag names, fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The absolute path of its files.
    pub path: String,
    /// Their commit.
    pub commit: String,
}
