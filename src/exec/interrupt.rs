//! Asking an apply to stop, and who sees to it that things are in order then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Asks running work to stop. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    stop: Arc<AtomicBool>,
    pub(super) now: Arc<AtomicBool>,
    attended: Arc<AtomicUsize>,
    pub(super) changed: Arc<Notify>,
}

/// While it lives, its holder answers an interruption itself, and puts things in order.
#[derive(Debug)]
pub struct Attended(Interrupt);

impl Drop for Attended {
    fn drop(&mut self) {
        self.0.attended.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

impl Interrupt {
    /// Asks to stop; asked a second time, does not wait for effects to be put in order.
    pub fn ask(&self) {
        if self.stop.swap(true, Ordering::SeqCst) {
            self.now.store(true, Ordering::SeqCst);
        }
        self.changed.notify_waiters();
    }

    /// Whether a stop was asked for.
    pub fn asked(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Promises that the caller looks after interruptions until the returned value is dropped.
    pub fn attend(&self) -> Attended {
        self.attended.fetch_add(1, Ordering::SeqCst);
        Attended(self.clone())
    }

    /// Resolves once a stop was asked for and nobody attends to it.
    pub async fn unattended(&self) {
        loop {
            let changed = self.changed.notified();
            if self.asked() && self.attended.load(Ordering::SeqCst) == 0 {
                return;
            }
            changed.await;
        }
    }

    /// The flag that [`Reporter`](crate::event::Reporter)s look at.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }
}
