//! Moving volumes out of `cache/` to where they belong, by `apply` alone, under its locks.
//!
//! On one file system a volume is renamed, and whoever has it mounted has it still. To another it is
//! copied beside its place and verified, gets its name only then, and notes where it came from; the old
//! one is removed once no server has it. Killed anywhere, the next apply goes on from there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::error::{MoveError, failed};
use super::mounts::{identity, mounted, written_down};
use super::server::{Life, Recipe};
use super::state::{Served, State};
use super::{Local, environments_of, tree, volumes_of};
use crate::blocking::blocking;
use crate::bounded;
use crate::disk::available;
use crate::durable;
use crate::event::Reporter;
use crate::hub::{self, HashCache};
use crate::leftovers::sweep;
use crate::step::StepError;
use crate::targets::{Move, Moves, Way};

/// What a copy is called until it is whole.
const INCOMING: &str = ".moving-";

/// What an old volume is called while it is removed.
const OUTGOING: &str = ".moved-";

/// In a volume that was copied, the path of the old one, until that is removed.
const ORIGIN: &str = ".goatbuild/moved-from";

#[async_trait]
impl Moves for Local {
    fn planned(&self) -> Vec<Move> {
        self.moves()
    }

    fn left_over(&self) -> Vec<PathBuf> {
        self.left_beside()
    }

    async fn carry_out(
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
        self.rewrite_recipes().await?;
        self.remove_originals();
        Ok(moved)
    }

    fn remove_originals(&self) {
        for mount in self.mounts() {
            let (from, to) =
                (self.old_volumes().join(&mount.name), self.volumes().join(&mount.name));
            if !is_origin(&to, &from)
                || self.users_of_old().is_none_or(|others| !others.is_empty())
                || self.is_in_use(&from)
            {
                continue;
            }
            let gone = if from.is_symlink() {
                fs::remove_file(&from).is_ok()
            } else if from.exists() {
                let outgoing = from.with_file_name(format!("{OUTGOING}{}", mount.name));
                durable::rename(&from, &outgoing).is_ok_and(|()| {
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
        // It stays while anything is in it.
        let _ = fs::remove_dir(self.old_volumes());
    }
}

impl Local {
    /// Fails when what has to be copied has no room, before anything is touched.
    fn check_room(&self, moves: &[Move]) -> Result<(), MoveError> {
        // What another environment goes on using is on the same disk, for the most part shared.
        let ours = canonical(&self.places.state);
        let is_shared = |it: &&Move| it.from.is_symlink() && canonical(&it.from).starts_with(&ours);
        let copies = moves.iter().filter(|it| it.way == Way::Copied && !is_shared(it));
        let needed: u64 = copies.map(|it| it.bytes).sum();
        if moves.is_empty() {
            return Ok(());
        }
        let directory = self.volumes();
        fs::create_dir_all(&directory).map_err(failed(&directory))?;
        room(&directory, needed, available(&directory))
    }

    async fn move_one(&self, it: &Move, reporter: &Reporter) -> Result<Way, StepError> {
        let (from, to) = (&it.from, &it.to);
        if it.way == Way::Renamed {
            match durable::rename(from, to) {
                Ok(()) => {
                    if self.others_wait(&it.name) {
                        // Best effort: without it they have to make theirs anew.
                        let _ = std::os::unix::fs::symlink(to, from);
                    }
                    return Ok(Way::Renamed);
                }
                // Parts of one file system may be mounted apart.
                Err(error)
                    if [io::ErrorKind::CrossesDevices, io::ErrorKind::ResourceBusy]
                        .contains(&error.kind()) =>
                {
                    self.check_room(&[Move { way: Way::Copied, ..it.clone() }])?;
                }
                Err(error) => return Err(failed(from)(error).into()),
            }
        }
        let incoming = to.with_file_name(format!("{INCOMING}{}", it.name));
        reporter.expect(it.bytes);
        reporter.message(format!("copying the volume {}", it.name));
        let (from, to, reporter) = (from.clone(), to.clone(), reporter.clone());
        blocking(move || -> Result<(), StepError> {
            let _ = fs::remove_dir_all(&incoming);
            tree::copy(&from, &incoming, &reporter)?;
            let origin = incoming.join(ORIGIN);
            durable::write(&origin, from.as_os_str().as_encoded_bytes(), 0o644)
                .map_err(failed(&origin))?;
            durable::rename(&incoming, &to).map_err(failed(&to))?;
            Ok(())
        })
        .await?;
        Ok(Way::Copied)
    }

    /// Whether another environment goes on using volumes at the old place, and has no other in the place
    /// of this one yet.
    pub(super) fn others_wait(&self, name: &str) -> bool {
        let lacks = |environment: &PathBuf| !volumes_of(environment).join(name).exists();
        self.users_of_old().is_none_or(|others| others.iter().any(lacks))
    }

    /// The other environments of which a server has anything at the old place, whatever it is given when
    /// it is started again; none where that can't be told.
    fn users_of_old(&self) -> Option<Vec<PathBuf>> {
        let old = self.old_volumes();
        let mut others = environments_of(&self.places.state, &self.project).ok()?;
        others.retain(|environment| {
            let uses = |state: State| state.served.values().any(|served| has_any_of(served, &old));
            *environment != self.places.ours
                // What can't be read may need them.
                && State::load(&State::file(environment)).map_or(true, uses)
        });
        Some(others)
    }

    /// Has servers that are started again find their volumes where they are now.
    async fn rewrite_recipes(&self) -> Result<(), StepError> {
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

    /// Whether a running server has this directory mounted.
    fn is_in_use(&self, directory: &Path) -> bool {
        let known = identity(directory);
        let has = |served: &Served| {
            !matches!(self.life(served), Life::Ended(_))
                && mounted(served).iter().any(|mounted| match mounted.directory {
                    Some(found) => Some(found) == known,
                    None => mounted.source == directory,
                })
        };
        known.is_some() && self.seen(|state| state.served.values().any(has))
    }

    /// Removes what moves that were killed left half-made. The caller holds the locks.
    pub(super) fn sweep_moves(&self) {
        sweep(&self.volumes(), INCOMING);
        sweep(&self.old_volumes(), OUTGOING);
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

/// Whether a volume was copied from this one, which is still to be removed.
pub(super) fn is_origin(volume: &Path, old: &Path) -> bool {
    bounded::read(&volume.join(ORIGIN), bounded::TEXT)
        .is_ok_and(|text| text == old.as_os_str().as_encoded_bytes())
}

/// The path without links; as it is where it leads nowhere.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Whether a server, or the one before it, has a directory below this one.
fn has_any_of(served: &Served, directory: &Path) -> bool {
    // One place may be written down in several ways.
    let real = canonical(directory);
    let is_below = |path: &Path| path.starts_with(directory) || canonical(path).starts_with(&real);
    mounted(served).iter().any(|mounted| is_below(&mounted.source))
        || served.previous.as_ref().is_some_and(|previous| has_any_of(previous, directory))
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
        differs |= rebase(&mut bind.source, moved);
    }
    if differs && served.mounted.is_empty() {
        served.mounted = before;
    }
    // A container is bound to a path for good, a sandbox to the directory.
    if let Recipe::Embedded(_) = served.recipe {
        for mounted in &mut served.mounted {
            differs |= rebase(&mut mounted.source, moved);
        }
    }
    let previous = served.previous.as_mut();
    previous.is_some_and(|previous| rewrite(previous, moved)) || differs
}

/// Puts a path to where its volume is now; says whether that makes a difference.
fn rebase(path: &mut PathBuf, moved: &[(PathBuf, PathBuf)]) -> bool {
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
    use miette::Diagnostic as _;

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
