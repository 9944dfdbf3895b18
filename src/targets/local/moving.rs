//! Moving volumes out of `cache/` to where they belong, by `apply` alone, under its locks.
//!
//! On one file system a volume is renamed, and whoever has it mounted has it still. To another it is
//! copied beside its place and verified, gets its name only then, and notes where it came from; the old
//! one is removed once no server has it. Killed anywhere, the next apply goes on from there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::mounts::{identity, mounted, written_down};
use super::server::{Life, Recipe};
use super::state::{Served, State};
use super::volumes::{Move, Way};
use super::{Local, tree};
use crate::blocking::blocking;
use crate::event::Reporter;
use crate::hub::{self, HashCache};
use crate::leftovers::{Age, sweep};
use crate::step::StepError;

/// What a copy is called until it is whole.
const INCOMING: &str = ".moving-";

/// What an old volume is called while it is removed.
const OUTGOING: &str = ".moved-";

/// In a volume that was copied, the path of the old one, until that is removed.
const ORIGIN: &str = ".goatbuild/moved-from";

/// Why a volume stays where it is.
#[derive(Debug, Error, Diagnostic)]
pub(super) enum MoveError {
    /// It has no room on the other file system.
    #[error(
        "{} has no room for the volumes that move there: {needed} bytes are needed, {available} are free",
        path.display()
    )]
    #[diagnostic(
        code(goatbuild::local::move_room),
        help(
            "free some, or let GOATBUILD_STATE_DIR name a directory on another disk. Nothing was moved"
        )
    )]
    NoRoom {
        /// Where they belong.
        path: PathBuf,
        /// Bytes to copy.
        needed: u64,
        /// Free bytes.
        available: u64,
    },
    /// Something can't be read or written.
    #[error("a volume can't be moved: {}: {source}", path.display())]
    #[diagnostic(
        code(goatbuild::local::move_volume),
        help(
            "check the permissions and the free space; the volume stays in cache/volumes, where it is whole, and the next apply tries again. GOATBUILD_STATE_DIR names another place for it"
        )
    )]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was written is not what was read.
    #[error("{} is not what was copied to it", path.display())]
    #[diagnostic(
        code(goatbuild::local::move_differs),
        help(
            "the disk may be failing; the volume stays in cache/volumes, and the next apply tries again"
        )
    )]
    Differs {
        /// The copy.
        path: PathBuf,
    },
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> MoveError {
    let path = path.to_owned();
    move |source| MoveError::Unusable { path, source }
}

impl Local {
    /// Moves the volumes to where they belong. The caller holds the locks and has looked.
    ///
    /// `known` goes on knowing which files of weights were verified.
    pub async fn move_volumes(
        &self,
        known: &dyn HashCache,
        reporter: &Reporter,
    ) -> Result<Vec<Move>, StepError> {
        let mut moved = Vec::new();
        let planned = self.moves();
        self.check_room(&planned)?;
        for it in planned {
            let verified = hub::verified(&it.from, known);
            let way = self.move_one(&it, reporter).await?;
            hub::keep_verified(&it.to, &verified, known);
            moved.push(Move { way, ..it });
        }
        self.follow().await?;
        self.leave();
        Ok(moved)
    }

    /// Fails when what has to be copied has no room, before anything is touched.
    fn check_room(&self, moves: &[Move]) -> Result<(), MoveError> {
        // What another environment goes on using is on the same disk, for the most part shared.
        let copies = moves.iter().filter(|it| it.way == Way::Copied && !it.from.is_symlink());
        let needed: u64 = copies.map(|it| it.bytes).sum();
        if moves.is_empty() {
            return Ok(());
        }
        let directory = self.volumes();
        fs::create_dir_all(&directory).map_err(failed(&directory))?;
        room(&directory, needed, hub::available(&directory))
    }

    async fn move_one(&self, it: &Move, reporter: &Reporter) -> Result<Way, StepError> {
        let (from, to) = (&it.from, &it.to);
        if it.way == Way::Renamed {
            match fs::rename(from, to) {
                Ok(()) => {
                    sync(from).and_then(|()| sync(to)).map_err(failed(to))?;
                    if self.others_wait(&it.name) {
                        // Best effort: without it they have to make theirs anew.
                        let _ = std::os::unix::fs::symlink(to, from);
                    }
                    return Ok(Way::Renamed);
                }
                // Parts of one file system may be mounted apart.
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                    self.check_room(&[Move { way: Way::Copied, ..it.clone() }])?;
                }
                Err(error) => return Err(failed(from)(error).into()),
            }
        }
        let incoming = to.with_file_name(format!("{INCOMING}{}", it.name));
        reporter.expect(it.bytes);
        reporter.message(format!("copying the volume {}", it.name));
        let (from, to, reporter) = (from.clone(), to.clone(), reporter.clone());
        blocking(move || {
            let _ = fs::remove_dir_all(&incoming);
            tree::copy(&from, &incoming, &reporter)?;
            let origin = incoming.join(ORIGIN);
            let made = incoming.join(".goatbuild");
            fs::create_dir_all(&made)
                .and_then(|()| fs::write(&origin, from.as_os_str().as_encoded_bytes()))
                .and_then(|()| File::open(&origin)?.sync_all())
                .and_then(|()| File::open(&made)?.sync_all())
                .map_err(failed(&origin))?;
            fs::rename(&incoming, &to).and_then(|()| sync(&to)).map_err(failed(&to))?;
            Ok(())
        })
        .await?;
        Ok(Way::Copied)
    }

    /// Whether another environment goes on using volumes at the old place, and has no other in the place
    /// of this one yet.
    fn others_wait(&self, name: &str) -> bool {
        // As JSON spells it, in which it is written down.
        let old = serde_json::to_string(&self.old_volumes()).unwrap_or_default();
        let old = format!("{}/", old.trim_end_matches('"'));
        let environments = self.places.ours.parent().map(fs::read_dir);
        let environments = environments.into_iter().flatten().flatten().flatten();
        let mut others =
            environments.map(|entry| entry.path()).filter(|path| *path != self.places.ours);
        others.any(|path| {
            let deployed = fs::read_to_string(path.join("deployments.json"));
            !path.join("volumes").join(name).exists()
                && deployed.is_ok_and(|text| text.contains(&old))
        })
    }

    /// Has servers that are started again find their volumes where they are now.
    async fn follow(&self) -> Result<(), StepError> {
        let names: Vec<&str> = self.mounts().map(|mount| &*mount.name).collect();
        let pairs = names
            .into_iter()
            .map(|name| (self.old_volumes().join(name), self.volumes().join(name)));
        let moved: Vec<_> = pairs
            .filter(|(from, to)| {
                to.is_dir() && (!from.is_dir() || from.is_symlink() || is_origin(to, from))
            })
            .collect();
        let rewrites = |state: &State| {
            let mut state = state.clone();
            state.served.values_mut().any(|served| rewrite(served, &moved))
        };
        if self.seen(rewrites) {
            self.change(|state| {
                for served in state.served.values_mut() {
                    rewrite(served, &moved);
                }
            })
            .await?;
        }
        Ok(())
    }

    /// Removes what was copied, once no server has it any more. What can't be removed is for `gc`.
    pub fn leave(&self) {
        for mount in self.mounts() {
            let (from, to) =
                (self.old_volumes().join(&mount.name), self.volumes().join(&mount.name));
            if !is_origin(&to, &from) || self.others_wait(&mount.name) || self.is_in_use(&from) {
                continue;
            }
            let gone = if from.is_symlink() {
                fs::remove_file(&from).is_ok()
            } else if from.exists() {
                let outgoing = from.with_file_name(format!("{OUTGOING}{}", mount.name));
                fs::rename(&from, &outgoing).is_ok_and(|()| {
                    let _ = fs::remove_dir_all(outgoing);
                    true
                })
            } else {
                true
            };
            if gone {
                let _ = fs::remove_file(to.join(ORIGIN));
            }
        }
    }

    /// Whether a running server has this directory mounted.
    fn is_in_use(&self, directory: &Path) -> bool {
        let known = identity(directory);
        let has = |served: &Served| {
            self.life(served) == Life::Runs
                && mounted(served).iter().any(|mounted| match mounted.directory {
                    Some(found) => Some(found) == known,
                    None => mounted.source == directory,
                })
        };
        known.is_some() && self.seen(|state| state.served.values().any(has))
    }

    /// Removes what moves that were killed left half-made. The caller holds the locks.
    pub(super) fn sweep_moves(&self) {
        sweep(&self.volumes(), INCOMING, Age::Any);
        sweep(&self.old_volumes(), OUTGOING, Age::Any);
    }
}

/// Fails when so much has no room.
fn room(path: &Path, needed: u64, available: Option<u64>) -> Result<(), MoveError> {
    match available {
        Some(available) if available < needed => {
            Err(MoveError::NoRoom { path: path.to_owned(), needed, available })
        }
        _ => Ok(()),
    }
}

/// Has what was renamed in a directory on disk.
fn sync(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

/// Whether a volume was copied from this one, which is still to be removed.
pub(super) fn is_origin(volume: &Path, old: &Path) -> bool {
    fs::read(volume.join(ORIGIN)).is_ok_and(|text| text == old.as_os_str().as_encoded_bytes())
}

/// Has a server, and the one before it, start from where volumes are now; says whether that makes a
/// difference. What it has until it is started again is kept.
pub(super) fn rewrite(served: &mut Served, moved: &[(PathBuf, PathBuf)]) -> bool {
    let before = written_down(&served.recipe);
    let binds = match &mut served.recipe {
        Recipe::Embedded(sandbox) => &mut sandbox.binds,
        Recipe::Container(recipe) => &mut recipe.binds,
    };
    let mut differs = false;
    for bind in binds {
        differs |= follow(&mut bind.source, moved);
    }
    if differs && served.mounted.is_empty() {
        served.mounted = before;
    }
    // A container is bound to a path for good, a sandbox to the directory.
    if let Recipe::Embedded(_) = served.recipe {
        for mounted in &mut served.mounted {
            differs |= follow(&mut mounted.source, moved);
        }
    }
    let previous = served.previous.as_mut();
    previous.is_some_and(|previous| rewrite(previous, moved)) || differs
}

/// Puts a path to where its volume is now; says whether that makes a difference.
fn follow(path: &mut PathBuf, moved: &[(PathBuf, PathBuf)]) -> bool {
    for (from, to) in moved {
        if let Ok(rest) = path.strip_prefix(from) {
            // Without an empty part at its end.
            *path = to.components().chain(rest.components()).collect();
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_told_with_what_is_needed_and_nothing_is_needed_of_an_unknown_disk() {
        let path = Path::new("/state/volumes");
        assert!(room(path, 10, Some(10)).is_ok() && room(path, 10, None).is_ok());
        let error = room(path, 10, Some(9)).expect_err("there is no room");
        assert_eq!(
            error.code().map(|it| it.to_string()).as_deref(),
            Some("goatbuild::local::move_room")
        );
        assert!(error.to_string().contains("10 bytes are needed, 9 are free"), "{error}");
    }
}
