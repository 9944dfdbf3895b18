//! Chunks on their way from a xorb to their places in a file.

use std::ops::Range;
use std::sync::Arc;

use super::super::download::full_or;
use super::super::part::Share;
use super::Fault;
use super::chunk::{HEADER, Header};
use super::plan::{Chunks, Fetch, Place};

/// Takes the bytes of a part of a xorb as they arrive, and writes every chunk where it belongs.
pub(super) struct Unpacker {
    share: Arc<Share>,
    chunks: Chunks,
    places: Vec<Place>,
    /// The chunk that arrives.
    next: u32,
    /// All before this one are where they belong.
    done: u32,
    /// What arrived of it.
    rest: Vec<u8>,
}

impl Unpacker {
    pub(super) fn new(fetch: Fetch, share: &Arc<Share>) -> Self {
        let Fetch { chunks, places, .. } = fetch;
        let (next, done) = (chunks.start, chunks.start);
        Self { share: Arc::clone(share), chunks, places, next, done, rest: Vec::new() }
    }

    /// The bytes come once more from the first. What is where it belongs is passed over.
    pub(super) fn begin(&mut self) {
        self.next = self.chunks.start;
        self.rest.clear();
    }

    /// Grows with every chunk that is where it belongs.
    pub(super) fn progress(&self) -> u32 {
        self.done
    }

    /// Whether nothing is left to arrive.
    pub(super) fn is_done(&self) -> bool {
        self.done >= self.chunks.end
    }

    /// Takes what arrived. Returns the bytes of blocks that are whole now.
    pub(super) fn take(&mut self, arrived: &[u8]) -> Result<u64, Fault> {
        self.rest.extend_from_slice(arrived);
        let bytes = std::mem::take(&mut self.rest);
        let (mut at, mut new) = (0, 0);
        while self.next < self.chunks.end {
            let Some(header) = bytes[at..].first_chunk::<HEADER>() else { break };
            let header = Header::parse(*header).map_err(Fault::Senseless)?;
            let Some(packed) = bytes[at + HEADER..].get(..header.packed) else { break };
            if self.next >= self.done {
                let chunk = header.unpack(packed).map_err(Fault::Senseless)?;
                new += self.put(&chunk)?;
                self.done = self.next + 1;
            }
            self.next += 1;
            at += HEADER + header.packed;
        }
        self.rest = bytes;
        self.rest.drain(..at);
        Ok(new)
    }

    /// Writes a chunk to all of its places.
    fn put(&mut self, chunk: &[u8]) -> Result<u64, Fault> {
        let mut new = 0;
        for Place { chunks, bytes } in &mut self.places {
            if !(chunks.start..chunks.end).contains(&self.next) {
                continue;
            }
            let Range { start, end } = bytes;
            let is_last = self.next + 1 == chunks.end;
            let after = *start + chunk.len() as u64;
            if after > *end || (is_last && after != *end) {
                let reason = format!("the chunks before byte {end} have another length");
                return Err(Fault::Senseless(reason));
            }
            let written = self.share.write(*start, chunk);
            new += written.map_err(|error| {
                Fault::Final(full_or(error, self.share.path(), self.share.missing()))
            })?;
            *start = after;
        }
        Ok(new)
    }
}
