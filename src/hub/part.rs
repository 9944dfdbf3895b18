//! A file that is being fetched: blocks that arrive in any order, and what is on disk after a kill.
//!
//! The bytes are in `.partial-DIGEST`; `.partial-DIGEST.blocks` has one byte per block, which is
//! set once the block is written. A kill loses the blocks in flight and nothing else. Should the
//! machine itself die, the journal may promise more than the disk holds: the hash of the whole file
//! finds out, and the file is fetched anew.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::digest::Hasher;
use crate::blocking::blocking;
use crate::bounded;
use crate::durable;
use crate::event::{Cancelled, Reporter};
use crate::lock::hub::{DigestKind, FileDigest, RemoteFile};

/// Bytes that are written, and promised by the journal, at once.
const BLOCK: u64 = 1 << 20;

/// What the names of unfinished files begin with.
pub const PARTIAL: &str = ".partial-";

/// The state of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// Nobody fetches it.
    Missing,
    /// It is part of a run that somebody fetches.
    Claimed,
    /// It is on disk.
    Here,
}

#[derive(Debug)]
struct Blocks {
    states: Vec<Block>,
    /// Nobody waits for the rest any more.
    stopped: bool,
}

/// A file that is being fetched.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    file: File,
    journal_path: PathBuf,
    journal: File,
    size: u64,
    blocks: Mutex<Blocks>,
    /// A block arrived, or nobody waits any more.
    moved: Condvar,
}

impl Part {
    /// Takes up what there is of a file among these blobs, or begins it.
    pub(super) fn open(blobs: &Path, file: &RemoteFile) -> std::io::Result<Self> {
        let path = blobs.join(format!("{PARTIAL}{}", file.digest.hex()));
        let journal_path = blobs.join(format!("{PARTIAL}{}.blocks", file.digest.hex()));
        let open = |path: &Path| {
            let mut options = OpenOptions::new();
            // A container may read the volume as another user.
            options.read(true).write(true).create(true).truncate(false).mode(0o644).open(path)
        };
        let (bytes, journal) = (open(&path)?, open(&journal_path)?);
        let count = file.size.div_ceil(BLOCK);
        if bytes.metadata()?.len() != file.size || journal.metadata()?.len() != count {
            journal.set_len(0)?;
            bytes.set_len(0)?;
            bytes.set_len(file.size)?;
            journal.set_len(count)?;
        }
        let mut written = vec![0; usize::try_from(count).unwrap_or(usize::MAX)];
        journal.read_exact_at(&mut written, 0)?;
        let state = |byte| if byte == 0 { Block::Missing } else { Block::Here };
        let states = written.into_iter().map(state).collect();
        Ok(Self {
            path,
            file: bytes,
            journal_path,
            journal,
            size: file.size,
            blocks: Mutex::new(Blocks { states, stopped: false }),
            moved: Condvar::new(),
        })
    }

    /// Bytes of a file that are on disk, without taking it up.
    pub(super) fn on_disk(blobs: &Path, file: &RemoteFile) -> u64 {
        let journal = blobs.join(format!("{PARTIAL}{}.blocks", file.digest.hex()));
        let written = bounded::read(&journal, bounded::LOCK).unwrap_or_default();
        (written.iter().filter(|byte| **byte != 0).count() as u64 * BLOCK).min(file.size)
    }

    /// Where the bytes are.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of a block. Only the last one is short.
    fn place(&self, index: usize) -> Range<u64> {
        let from = index as u64 * BLOCK;
        from..self.size.min(from + BLOCK)
    }

    /// Bytes that are on disk.
    pub(super) fn here(&self) -> u64 {
        let blocks = self.blocks();
        let here = blocks.states.iter().enumerate().filter(|(_, state)| **state == Block::Here);
        here.map(|(index, _)| self.place(index)).map(|place| place.end - place.start).sum()
    }

    /// Whether a block is left that nobody fetches.
    pub(super) fn has_missing(&self) -> bool {
        self.blocks().states.contains(&Block::Missing)
    }

    /// Whether all blocks are on disk.
    pub(super) fn is_complete(&self) -> bool {
        self.blocks().states.iter().all(|state| *state == Block::Here)
    }

    /// Takes the first missing blocks, up to `most` in a row.
    pub(super) fn claim(self: &Arc<Self>, most: usize) -> Option<Run> {
        let mut blocks = self.blocks();
        let from = blocks.states.iter().position(|state| *state == Block::Missing)?;
        let rest = blocks.states[from..].iter().take(most);
        let to = from + rest.take_while(|state| **state == Block::Missing).count();
        blocks.states[from..to].fill(Block::Claimed);
        Some(Run { part: Arc::clone(self), next: from, end: to })
    }

    /// Writes a block, and then that it is here.
    ///
    /// It is counted in between: once the last block is here, whoever wrote it may be cancelled.
    fn keep(&self, index: usize, pieces: &[Bytes], reporter: &Reporter) -> std::io::Result<()> {
        let place = self.place(index);
        let mut at = place.start;
        for piece in pieces {
            self.file.write_all_at(piece, at)?;
            at += piece.len() as u64;
        }
        // Whether to stop is asked once the block is written down.
        let _ = reporter.advance(place.end - place.start);
        self.journal.write_all_at(&[1], index as u64)?;
        self.blocks().states[index] = Block::Here;
        self.moved.notify_all();
        Ok(())
    }

    /// Hashes the file as its blocks arrive, from the first to the last.
    ///
    /// `None` when it was stopped before.
    pub(super) fn hash(&self, kind: DigestKind) -> std::io::Result<Option<FileDigest>> {
        let mut hasher = Hasher::new(kind, self.size);
        let count = self.blocks().states.len();
        let mut buffer = vec![0; usize::try_from(BLOCK.min(self.size)).unwrap_or(0)];
        for index in 0..count {
            let mut blocks = self.blocks();
            while blocks.states[index] != Block::Here && !blocks.stopped {
                blocks = self.moved.wait(blocks).unwrap_or_else(PoisonError::into_inner);
            }
            if blocks.stopped {
                return Ok(None);
            }
            drop(blocks);
            let place = self.place(index);
            let bytes = &mut buffer[..usize::try_from(place.end - place.start).unwrap_or(0)];
            self.file.read_exact_at(bytes, place.start)?;
            hasher.update(bytes);
        }
        Ok(Some(hasher.finish()))
    }

    /// Lets [`Part::hash`] end.
    pub(super) fn stop(&self) {
        self.blocks().stopped = true;
        self.moved.notify_all();
    }

    /// Gives the verified file its name, once its bytes are on disk.
    pub(super) fn finish(&self, blob: &Path) -> std::io::Result<()> {
        self.file.sync_data()?;
        durable::rename(&self.path, blob)?;
        remove(&self.journal_path)
    }

    /// Throws it away.
    pub(super) fn discard(&self) -> std::io::Result<()> {
        remove(&self.journal_path)?;
        remove(&self.path)
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Blocks in a row that one answer is to bring. What it did not bring is missing again afterwards.
#[derive(Debug)]
pub(super) struct Run {
    part: Arc<Part>,
    next: usize,
    end: usize,
}

impl Run {
    /// Whether all has arrived.
    pub(super) fn is_done(&self) -> bool {
        self.next == self.end
    }

    /// Whether it is all of the file.
    pub(super) fn is_whole(&self) -> bool {
        self.next == 0 && self.end as u64 * BLOCK >= self.part.size
    }

    /// The bytes that are still to arrive.
    pub(super) fn place(&self) -> Range<u64> {
        self.part.place(self.next).start..self.part.place(self.end - 1).end
    }

    /// The length of the block that comes next, or none if all are here.
    pub(super) fn awaited(&self) -> Option<u64> {
        (!self.is_done()).then(|| {
            let place = self.part.place(self.next);
            place.end - place.start
        })
    }

    /// Makes it all of the file, if nobody else fetches any of it.
    pub(super) fn widen(&mut self) -> bool {
        let mut blocks = self.part.blocks();
        let mut others = blocks.states.iter().enumerate();
        let of_others = |(index, state): (usize, &Block)| {
            *state == Block::Claimed && !(self.next..self.end).contains(&index)
        };
        if others.any(of_others) {
            return false;
        }
        for state in &mut blocks.states {
            if *state == Block::Missing {
                *state = Block::Claimed;
            }
        }
        let all = blocks.states.len();
        drop(blocks);
        (self.next, self.end) = (0, all);
        true
    }

    /// Takes the next block's bytes, and writes them unless they are here already.
    ///
    /// Returns how many bytes are new.
    pub(super) async fn keep(
        &mut self,
        pieces: Vec<Bytes>,
        reporter: &Reporter,
    ) -> std::io::Result<u64> {
        let index = self.next;
        let is_new = self.part.blocks().states[index] == Block::Claimed;
        if is_new {
            let (part, reporter) = (Arc::clone(&self.part), reporter.clone());
            let kept = blocking(move || Ok::<_, Cancelled>(part.keep(index, &pieces, &reporter)));
            let kept = kept.await;
            kept.map_err(std::io::Error::other)??;
        }
        self.next += 1;
        let place = self.part.place(index);
        Ok(if is_new { place.end - place.start } else { 0 })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut blocks = self.part.blocks();
        for state in &mut blocks.states[self.next..self.end] {
            if *state == Block::Claimed {
                *state = Block::Missing;
            }
        }
    }
}
