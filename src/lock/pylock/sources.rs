//! Where the packages of an image are looked for, and as of when.

use std::collections::BTreeSet;

use crate::spec::{Choosing, PackageIndex};

/// What narrows down which of all published wheels may be chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// What was uploaded at this time or later doesn't count: RFC 3339, in UTC.
    pub as_of: Option<String>,
    /// Indexes for some packages alone.
    pub indexes: Vec<PackageIndex>,
}

impl Sources {
    /// As an image's file says it.
    pub fn of(choosing: &Choosing) -> Self {
        Self {
            as_of: choosing.as_of.as_ref().map(|it| it.value.clone()),
            indexes: choosing.indexes.iter().map(|it| it.value.clone()).collect(),
        }
    }

    /// The index that a package comes from alone, if there is one.
    pub fn index_of(&self, package: &str) -> Option<&str> {
        let found = self.indexes.iter().find(|index| index.packages.contains(package));
        found.map(|index| index.url.as_str())
    }

    /// What of it is set, for the digest of a request: nothing where nothing is.
    pub(super) fn fields(&self) -> Vec<String> {
        let mut fields = Vec::new();
        if let Some(as_of) = &self.as_of {
            fields.extend(["as-of".to_owned(), as_of.clone()]);
        }
        let indexes: BTreeSet<&PackageIndex> = self.indexes.iter().collect();
        for PackageIndex { url, packages } in indexes {
            fields.extend(["index".to_owned(), url.clone(), packages.len().to_string()]);
            fields.extend(packages.iter().cloned());
        }
        fields
    }
}
