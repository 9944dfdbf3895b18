//! Files that Xet keeps: in chunks, each of which is stored once, packed, and many to a xorb.
//!
//! The protocol is <https://huggingface.co/docs/xet>. The hub lists a file's Xet hash and gives a token
//! for the store ([`auth`]); the store says what the file consists of ([`api`], in `plan`) and under
//! which signed addresses parts of xorbs are; these hold chunks ([`xorb`], in `chunk`).
//!
//! What a file consists of says how much would be transferred before any of it is. Xet is used only
//! where that is clearly less than the bytes that are missing ([`PAYS`]): plain HTTP needs no second
//! host, no token and no unpacking. Whatever goes wrong on this way is no error, but a line in the log:
//! what it did not bring, plain HTTP does. Either way the whole file is verified by its own hash.
//!
//! [`auth`]: https://huggingface.co/docs/xet/auth
//! [`api`]: https://huggingface.co/docs/xet/api
//! [`xorb`]: https://huggingface.co/docs/xet/xorb

mod chunk;
mod plan;
mod store;
mod unpack;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{FutureExt as _, StreamExt as _, stream};
use reqwest::Url;
use tokio::sync::Semaphore;

use self::plan::Fetch;
pub(super) use self::store::Xet;
use self::unpack::Unpacker;
use super::HubError;
use super::download::CONNECTIONS;
use super::fetch::offload;
use super::part::{BLOCK, Part, Share};
use crate::event::{Cancelled, Reporter};
use crate::fetch::Failure;
use crate::lock::hub::RemoteFile;

/// Hundredths of the missing bytes. A transfer that isn't smaller than that is not worth the way.
const PAYS: u64 = 95;

/// Blocks that the store is asked about at once: 4 GiB. Its addresses expire, and its answers are
/// kept in memory.
const STRETCH: usize = 4096;

/// Packed bytes that are unpacked at once.
const PIECE: usize = 1 << 20;

/// When to use Xet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// When it transfers clearly less.
    IfItPays,
    /// In any case: there is no other way.
    Anyhow,
}

/// Why something does not come through Xet.
#[derive(Debug, thiserror::Error)]
enum Fault {
    /// The hub, the store or the network fails.
    #[error(transparent)]
    Asked(HubError),
    /// What came makes no sense.
    #[error("{0}")]
    Senseless(String),
    /// No other way would help: the disk is full, say.
    #[error(transparent)]
    Final(HubError),
}

impl From<Cancelled> for Fault {
    fn from(cancelled: Cancelled) -> Self {
        Self::Final(cancelled.into())
    }
}

/// One file that may come through Xet.
pub(super) struct Bringing<'a> {
    pub(super) xet: &'a Xet,
    pub(super) file: &'a RemoteFile,
    pub(super) part: &'a Arc<Part>,
    pub(super) connections: &'a Semaphore,
    pub(super) reporter: &'a Reporter,
}

impl Bringing<'_> {
    /// Brings what of a file's missing blocks is wished for. Says whether it brought anything.
    pub(super) async fn bring(&self, wish: Wish) -> Result<bool, HubError> {
        self.bring_in(STRETCH, wish).await
    }

    /// Asks for so many blocks at once.
    async fn bring_in(&self, stretch: usize, wish: Wish) -> Result<bool, HubError> {
        let Some(hash) = self.file.xet.as_deref().filter(|_| self.file.size > BLOCK) else {
            return Ok(false);
        };
        let mut brought = false;
        for first in (0..self.part.count()).step_by(stretch) {
            let Some(share) = self.part.share(first, stretch) else { continue };
            let missing = share.missing();
            let outcome = self.stretch(hash, Arc::new(share), wish, &mut brought).await;
            match outcome {
                Ok(()) => {}
                Err(Fault::Final(error)) => return Err(error),
                Err(fault) => {
                    let path = &self.file.path;
                    self.reporter.log(format!("{path}: not through Xet, {missing} bytes: {fault}"));
                    return Ok(brought);
                }
            }
        }
        Ok(brought)
    }

    /// Brings what is missing of a stretch.
    async fn stretch(
        &self,
        hash: &str,
        share: Arc<Share>,
        wish: Wish,
        brought: &mut bool,
    ) -> Result<(), Fault> {
        let place = share.place();
        let told = self.xet.reconstruction(hash, &place, self.file.size).await?;
        let fetches = told.fetches(&place, |bytes| share.lacks(bytes));
        let fetches = fetches.map_err(|reason| {
            Fault::Senseless(format!("the store's answer makes no sense: {reason}"))
        })?;
        let (missing, transfer) = (share.missing(), fetches.iter().map(Fetch::length).sum::<u64>());
        let path = &self.file.path;
        let pays = transfer.saturating_mul(100) < missing.saturating_mul(PAYS);
        if !pays && wish == Wish::IfItPays {
            let text = format!("{path}: Xet would transfer {transfer} bytes for {missing}");
            self.reporter.log(text);
            return Ok(());
        }
        self.reporter.log(format!("{path}: through Xet, {transfer} bytes for {missing}"));
        *brought = true;
        // Made before any is awaited: a closure that is kept would have to serve every lifetime.
        let is_over = AtomicBool::new(false);
        let begun = |fetch| self.fetch(fetch, &share, &is_over).boxed();
        let each: Vec<_> = fetches.into_iter().map(begun).collect();
        let mut each = stream::iter(each).buffer_unordered(CONNECTIONS);
        let mut outcome = Ok(());
        while let Some(one) = each.next().await {
            match one {
                Err(fault @ Fault::Final(_)) => return Err(fault),
                // What others are bringing is not thrown away, and what they have claimed is theirs
                // until they have ended.
                Err(fault) if outcome.is_ok() => {
                    is_over.store(true, Ordering::Relaxed);
                    outcome = Err(fault);
                }
                _ => {}
            }
        }
        outcome
    }

    /// Brings one part of a xorb, and its chunks to where they belong, unless all is over already.
    async fn fetch(
        &self,
        fetch: Fetch,
        share: &Arc<Share>,
        is_over: &AtomicBool,
    ) -> Result<(), Fault> {
        let (url, bytes) = (fetch.url.clone(), fetch.bytes.clone());
        let mut retry = self.xet.retry(&url)?;
        let mut unpacker = Unpacker::new(fetch, share);
        loop {
            let failure = {
                let _slot = self.connections.acquire().await;
                if is_over.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let before = unpacker.progress();
                let (back, outcome) = self.receive(unpacker, &url, &bytes).await?;
                unpacker = back;
                match outcome {
                    Ok(()) => return Ok(()),
                    Err(Failure::Transient(..)) if unpacker.progress() > before => {
                        Failure::Progressed
                    }
                    Err(failure) => failure,
                }
            };
            retry.pause(failure).await?;
        }
    }

    /// Takes one answer. What fails for good is the outer error.
    async fn receive(
        &self,
        mut unpacker: Unpacker,
        url: &Url,
        bytes: &Range<u64>,
    ) -> Result<(Unpacker, Result<(), Failure<Fault>>), Fault> {
        let mut response = match self.xet.part_of_xorb(url, bytes).await {
            Ok(response) => response,
            Err(failure) => return Ok((unpacker, Err(failure))),
        };
        unpacker.begin();
        let mut arrived = Vec::new();
        loop {
            let ended = match response.chunk().await {
                Ok(Some(chunk)) => {
                    self.reporter.fetched(chunk.len() as u64);
                    arrived.extend_from_slice(&chunk);
                    None
                }
                Ok(None) => Some(self.xet.interrupted(url, "the body ended too early".to_owned())),
                Err(error) => Some(self.xet.broken(url, &error)),
            };
            if ended.is_some() || arrived.len() >= PIECE {
                let piece = std::mem::take(&mut arrived);
                let (back, new) = offload(move || {
                    let new = unpacker.take(&piece);
                    (unpacker, new)
                })
                .await?;
                unpacker = back;
                self.reporter.advance(new?)?;
            }
            match ended {
                Some(_) if unpacker.is_done() => return Ok((unpacker, Ok(()))),
                Some(failure) => return Ok((unpacker, Err(failure))),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
