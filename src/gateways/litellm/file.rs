//! Reading and replacing gateway files: the only part that touches the disk.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use super::document::Document;
use super::error::GatewayError;
use crate::bounded;
use crate::durable::{TEMPORARY, Unfinished};

/// A gateway file as it was when it was read.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    /// `None` while the file does not exist.
    text: Option<String>,
}

impl File {
    /// Reads a file; one that does not exist yet is empty.
    pub fn read(path: &Path) -> Result<Self, GatewayError> {
        let text = match bounded::read_to_string(path, bounded::TEXT) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(GatewayError::Read { path: path.to_owned(), error }),
        };
        Ok(Self { path: path.to_owned(), text })
    }

    /// The text; empty when there is no file.
    pub fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    /// Parses the file and all that it includes.
    pub fn document(&self) -> Result<Document, GatewayError> {
        let mut document = Document::parse(&self.path.display().to_string(), self.text())?;
        include(&mut document, &self.path)?;
        Ok(document)
    }

    /// Replaces the file in one step, unless somebody changed it since it was read.
    ///
    /// Keeps mode and owner, follows symbolic links to the file they name, and creates missing
    /// directories. Writing the same text does nothing.
    pub fn write(&self, text: &str) -> Result<(), GatewayError> {
        if self.text.as_deref() == Some(text) {
            return Ok(());
        }
        if Self::read(&self.path)?.text != self.text {
            return Err(GatewayError::Moved { path: self.path.clone() });
        }
        replace(&self.path, text)
            .map_err(|error| GatewayError::Write { path: self.path.clone(), error })
    }
}

/// Reads what `LiteLLM` would: each file once, next to the one that names it or to the first one.
fn include(document: &mut Document, root: &Path) -> Result<(), GatewayError> {
    let beside = |file: &Path, path: &str| file.parent().unwrap_or(Path::new("")).join(path);
    let mut loaded = BTreeSet::from([real(root)]);
    let named = |document: &Document, file: &Path| {
        let file = file.to_owned();
        document.includes().into_iter().map(|path| (file.clone(), path)).collect::<Vec<_>>()
    };
    let mut pending = VecDeque::from(named(document, root));
    while let Some((file, path)) = pending.pop_front() {
        let mut included = beside(&file, &path);
        if !included.exists() && beside(root, &path).exists() {
            included = beside(root, &path);
        }
        if !loaded.insert(real(&included)) {
            continue;
        }
        let text = bounded::read_to_string(&included, bounded::TEXT)
            .map_err(|error| GatewayError::Read { path: included.clone(), error })?;
        let parsed = Document::parse(&included.display().to_string(), &text)?;
        pending.extend(named(&parsed, &included));
        document.include(parsed);
    }
    Ok(())
}

fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = target(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let mut file = Unfinished::begin(parent, TEMPORARY, 0o600)?;
    file.write_all(text.as_bytes())?;
    match fs::metadata(&path) {
        Ok(old) => {
            let new = file.as_file().metadata()?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                fchown(file.as_file(), Some(old.uid()), Some(old.gid()))?;
            }
            file.as_file().set_permissions(old.permissions())?;
        }
        Err(_) => file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?,
    }
    file.finish(&path)
}

/// Follows symbolic links, also to a file that does not exist yet.
fn target(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..40 {
        match fs::read_link(&path) {
            Ok(link) => path = path.parent().unwrap_or(Path::new("")).join(link),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}
