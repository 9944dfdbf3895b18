//! Where systemd looks for a user's units, and which of them are goatbuild's.

use std::io;
use std::path::{Path, PathBuf};

use super::ServiceError;
use super::unit::{MARK, Service, again};
use crate::{bounded, durable};

/// Where a machine that systemd started has a directory; `sd_booted(3)`.
const BOOTED: &str = "/run/systemd/system";

/// A unit's file holds a few lines: what is longer is nobody's.
const LONGEST: u64 = 64 << 10;

/// Whether systemd runs this machine.
pub(super) fn is_booted() -> bool {
    Path::new(BOOTED).is_dir()
}

/// Whether a user's services start at boot, and not at his first login.
pub(super) fn lingers(user: &str) -> bool {
    Path::new("/var/lib/systemd/linger").join(user).exists()
}

/// A user's directory of units.
#[derive(Debug)]
pub(super) struct Units(PathBuf);

impl Units {
    /// The one in the user's directory of settings.
    pub(super) fn within(settings: &Path) -> Self {
        Self(settings.join("systemd/user"))
    }

    /// A file of it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What a file of goatbuild's says; none where there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, ServiceError> {
        let file = self.file(name);
        match bounded::read_to_string(&file, LONGEST) {
            Ok(text) if text.starts_with(MARK) => Ok(Some(text)),
            Ok(_) => Err(ServiceError::Taken { file }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ServiceError::File { path: file, source }),
        }
    }

    /// Writes a service's files, and has them started by what they say; takes away what it no longer
    /// has, and says what that was.
    pub(super) fn write(&self, service: &Service) -> Result<Vec<PathBuf>, ServiceError> {
        let files = service.files();
        for (name, _) in &files {
            self.read(name)?;
        }
        let wanted: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        let removed = self.remove_but(&service.name, &wanted)?;
        for (name, text) in &files {
            let file = self.file(name);
            let unusable = |source| ServiceError::File { path: file.clone(), source };
            durable::write(&file, text.as_bytes(), 0o644).map_err(unusable)?;
            // What `systemctl enable` does.
            if let Some(target) = wanted_by(text) {
                let wants = self.0.join(format!("{target}.wants"));
                std::fs::create_dir_all(&wants).map_err(unusable)?;
                durable::link(&format!("../{name}"), &wants.join(name)).map_err(unusable)?;
            }
        }
        Ok(removed)
    }

    /// Removes a service's files; says which were there.
    pub(super) fn remove(&self, name: &str) -> Result<Vec<PathBuf>, ServiceError> {
        self.remove_but(name, &[])
    }

    fn remove_but(&self, name: &str, kept: &[&str]) -> Result<Vec<PathBuf>, ServiceError> {
        let again = again(name);
        let mut removed = Vec::new();
        for name in
            [format!("{name}.service"), format!("{again}.timer"), format!("{again}.service")]
        {
            if kept.contains(&name.as_str()) || self.read(&name)?.is_none() {
                continue;
            }
            for target in ["default.target", "timers.target"] {
                let _ = std::fs::remove_file(self.0.join(format!("{target}.wants")).join(&name));
            }
            let file = self.file(&name);
            std::fs::remove_file(&file)
                .map_err(|source| ServiceError::File { path: file.clone(), source })?;
            removed.push(file);
        }
        Ok(removed)
    }

    /// Another service of the same project and environment, installed from another directory.
    pub(super) fn rival(&self, service: &Service) -> Option<String> {
        let (stem, _) = service.name.rsplit_once('-')?;
        let names = std::fs::read_dir(&self.0).ok()?.flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let mut others = names.filter_map(|name| name.strip_suffix(".service").map(str::to_owned));
        others.find(|name| {
            let is_of_same = name.rsplit_once('-').is_some_and(|(other, hash)| {
                other == stem && hash.len() == super::HASH && hash != "again"
            });
            is_of_same && *name != service.name
        })
    }
}

/// The target that a unit says it belongs to.
fn wanted_by(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("WantedBy="))
}
