//! Who may change things at Modal: one machine at a time per project and environment.
//!
//! The lease is an entry of a Modal Dict, which is put there only where there is none. Whoever has it
//! counts up a beat; when that stands still for long, its holder is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::holder::{LeaseHolder, broken};
use super::serve::understood;
use super::{Modal, ModalError};
use crate::clock::now;
use crate::event::Reporter;
use crate::step::StepError;
use crate::targets::modal::client::Client;
use crate::targets::{Holder, Lease, Leases, Tell};

/// How often the holder says that it is still there.
const BEAT: Duration = Duration::from_secs(30);

/// After so long without a beat a holder counts as gone: four beats, as the waiter's own clock says.
const GONE: Duration = Duration::from_secs(120);

/// How often a waiter asks.
const PAUSE: Duration = Duration::from_secs(3);

/// A process that dies just stops counting.
#[derive(Debug)]
struct Held {
    client: Arc<Client>,
    dict: String,
    holder: LeaseHolder,
    beats: JoinHandle<()>,
}

#[async_trait]
impl Lease for Held {
    async fn end(self: Box<Self>) -> Result<(), StepError> {
        #[derive(Deserialize)]
        struct Ended {
            ended: bool,
            holder: Option<LeaseHolder>,
        }
        self.beats.abort();
        self.client.under(None);
        let request = json!({"dict": self.dict, "id": self.holder.id});
        let silent = Reporter::silent();
        let answer = self.client.call("the lease", "end_lease", request, &silent).await?;
        let Ended { ended, holder } = understood(answer)?;
        if ended { Ok(()) } else { Err(broken(holder)) }
    }
}

impl Modal {
    fn dict(&self) -> String {
        self.helper("lease")
    }
}

#[async_trait(?Send)]
impl Leases for Modal {
    async fn take(
        &self,
        command: &str,
        run: Option<String>,
        timeout: Duration,
        waiting: &Tell<'_>,
    ) -> Result<(Box<dyn Lease>, bool), StepError> {
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let holder = LeaseHolder {
            id: blake3::hash(format!("{}{:?}", std::process::id(), Instant::now()).as_bytes())
                .to_hex()[..16]
                .to_owned(),
            host: host.unwrap_or_else(|| "an unknown machine".to_owned()),
            pid: std::process::id(),
            place: place(),
            command: command.to_owned(),
            run,
            since: now(),
            beat: 0,
        };
        let silent = Reporter::silent();
        let (began, mut waiting) = (Instant::now(), Some(waiting));
        let mut seen: Option<(LeaseHolder, Instant)> = None;
        loop {
            // Whose beat stands still loses it to whoever has watched that; whose process would be seen
            // from here and is not, at once.
            let is_here =
                |other: &LeaseHolder| other.place.is_some() && other.place == holder.place;
            let ended = |other: &LeaseHolder, since: &Instant| {
                since.elapsed() > GONE || is_here(other) && !is_alive(other.pid)
            };
            let gone = seen.as_ref().filter(|(other, since)| ended(other, since));
            let request = json!({
                "dict": self.dict(),
                "holder": holder,
                "instead": gone.map(|(gone, _)| &gone.id),
            });
            let answer = self.client.call("the lease", "take_lease", request, &silent).await?;
            let Some(other): Option<LeaseHolder> = understood(answer)? else { break };
            if began.elapsed() >= timeout {
                return Err(ModalError::Leased { holder: other.to_string() }.into());
            }
            let since = match seen {
                Some((known, since)) if known == other => since,
                _ => Instant::now(),
            };
            if !ended(&other, &since) {
                if let Some(tell) = waiting.take() {
                    tell(&other.to_string());
                }
                tokio::time::sleep(PAUSE.min(timeout.saturating_sub(began.elapsed()))).await;
            }
            seen = Some((other, since));
        }
        self.client.under(Some((self.dict(), holder.id.clone())));
        let lease = Held {
            client: Arc::clone(&self.client),
            dict: self.dict(),
            beats: tokio::spawn(beat(Arc::clone(&self.client), self.dict(), holder.clone())),
            holder,
        };
        Ok((Box::new(lease), waiting.is_none()))
    }

    async fn holder(&self) -> Result<Option<Holder>, StepError> {
        let request = json!({"dict": self.dict()});
        let silent = Reporter::silent();
        let answer = self.client.call("the lease", "lease_holder", request, &silent).await?;
        let holder: Option<LeaseHolder> = understood(answer)?;
        Ok(holder.map(|it| Holder { what: it.to_string(), id: it.id }))
    }

    async fn free(&self, holder: &Holder) -> Result<(), StepError> {
        let request = json!({"dict": self.dict(), "id": holder.id});
        self.client.call("the lease", "end_lease", request, &Reporter::silent()).await.map(drop)
    }
}

/// Where a process id of ours means this process: the boot of this machine, and the namespace. None
/// where the system doesn't tell both.
fn place() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// Whether a process of this machine is there; one that may not be asked is.
fn is_alive(pid: u32) -> bool {
    let Ok(pid) = i32::try_from(pid) else { return true };
    kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Counts up until it is stopped. A beat that fails is made up for by the next one.
async fn beat(client: Arc<Client>, dict: String, mut holder: LeaseHolder) {
    loop {
        tokio::time::sleep(BEAT).await;
        holder.beat += 1;
        let request: Value = json!({"dict": dict, "holder": holder});
        let _ = client.call("the lease", "beat", request, &Reporter::silent()).await;
    }
}
