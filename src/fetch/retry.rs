//! How often a source is asked, and how long to wait in between.

use std::time::Duration;

use tokio::time::Instant;

use super::FetchError;
use crate::clock::time_after;
use crate::event::{Cancelled, Reporter, Wait};

/// How patient a [`Fetcher`] is.
#[derive(Debug, Clone)]
pub struct Patience {
    /// How often one source is asked before giving up.
    pub attempts: u32,
    /// The wait after the first failure; doubles each time, with jitter.
    pub first_wait: Duration,
    /// No wait is longer than this; a server that asks for more gets no second try.
    pub longest_wait: Duration,
    /// How long a connection may take, and a body may send nothing.
    pub stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_wait: Duration::from_millis(500),
            // Servers limit requests by the minute, or by five; an hour is not waited.
            longest_wait: Duration::from_secs(330),
            stall: Duration::from_secs(30),
        }
    }
}

/// What to do after one failed attempt.
pub(crate) enum Failure<E = FetchError> {
    /// Worth another attempt, after at least this wait when the server named one.
    Transient(E, Option<Duration>),
    /// It broke after a good part had arrived: worth another attempt, and patience starts anew.
    Progressed,
    /// Asking again would not help.
    Final(E),
}

/// How often one source was asked, and how long to wait before the next time.
///
/// A value and a loop, not a function that takes the attempt: futures that borrow through a closure
/// can't be sent to another thread.
pub(crate) struct Retry<'a> {
    patience: &'a Patience,
    who: String,
    reporter: &'a Reporter,
    wait: Duration,
    tried: u32,
}

impl<'a> Retry<'a> {
    /// Nothing was asked yet of `who`, as people know it.
    pub(crate) fn new(patience: &'a Patience, who: String, reporter: &'a Reporter) -> Self {
        Self { patience, who, reporter, wait: patience.first_wait, tried: 0 }
    }

    /// Waits before the next attempt, or gives up with the error. A wait that was asked for is told.
    pub(crate) async fn pause<E: From<Cancelled>>(&mut self, failure: Failure<E>) -> Result<(), E> {
        self.tried += 1;
        let (asked, own) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Transient(error, _) if self.tried >= self.patience.attempts => {
                return Err(error);
            }
            Failure::Progressed => {
                self.tried = 0;
                self.wait = self.patience.first_wait;
                (Duration::ZERO, self.wait)
            }
            Failure::Transient(_, asked) => {
                let own = self.wait;
                self.wait *= 2;
                (asked.unwrap_or_default(), own)
            }
        };
        let longest = self.patience.longest_wait;
        wait_as_asked(&self.who, asked.min(longest), self.reporter).await?;
        let rest = own.mul_f64(jitter()).min(longest).saturating_sub(asked);
        Ok(wait(rest, self.reporter).await?)
    }
}

/// How often whoever waits looks whether it still should.
const LOOK: Duration = Duration::from_millis(250);

/// Waits as long as somebody asked for, and tells.
pub(crate) async fn wait_as_asked(
    who: &str,
    asked: Duration,
    reporter: &Reporter,
) -> Result<(), Cancelled> {
    // Nobody has to know why a moment passes.
    if asked >= Duration::from_secs(1) {
        let until = time_after(asked);
        reporter.waits(Wait { who: who.to_owned(), asked, until });
    }
    wait(asked, reporter).await
}

/// Waits, unless the work should stop.
async fn wait(pause: Duration, reporter: &Reporter) -> Result<(), Cancelled> {
    let end = Instant::now() + pause;
    loop {
        reporter.check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

/// Between 0.5 and 1.5, so that many clients do not come back at once.
fn jitter() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    let random = u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or(0);
    0.5 + f64::from(random) / f64::from(u32::MAX)
}
