//! Files that an engine loads as it starts, and that no repository on a hub has.

/// Such a file: the engine would fetch it from its address, unless a variable says where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PinnedFile {
    /// What steps call it; in a model cache it is a repository's.
    pub name: &'static str,
    /// The address of its directory.
    pub base: &'static str,
    /// The file's own name.
    pub file: &'static str,
    /// Bytes.
    pub size: u64,
    /// What its bytes hash to, in hexadecimal digits.
    pub sha256: &'static str,
    /// The variable that names the directory that has it.
    pub variable: &'static str,
}

impl PinnedFile {
    /// Its address, at a mirror if there is one.
    pub fn url(&self, mirror: Option<&str>) -> String {
        format!("{}/{}", mirror.unwrap_or(self.base).trim_end_matches('/'), self.file)
    }
}
