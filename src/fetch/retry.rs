//! How often a source is asked, and how long to wait in between.

use std::time::Duration;

use super::FetchError;

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
    wait: Duration,
    tried: u32,
}

impl<'a> Retry<'a> {
    /// Nothing was asked yet.
    pub(crate) fn new(patience: &'a Patience) -> Self {
        Self { patience, wait: patience.first_wait, tried: 0 }
    }

    /// Waits before the next attempt, or gives up with the error.
    pub(crate) async fn pause<E>(&mut self, failure: Failure<E>) -> Result<(), E> {
        self.tried += 1;
        match failure {
            Failure::Final(error) => Err(error),
            Failure::Progressed => {
                self.tried = 0;
                self.wait = self.patience.first_wait;
                tokio::time::sleep(self.wait.mul_f64(jitter())).await;
                Ok(())
            }
            Failure::Transient(error, _) if self.tried >= self.patience.attempts => Err(error),
            Failure::Transient(_, asked) => {
                let pause = asked.unwrap_or_default().max(self.wait.mul_f64(jitter()));
                tokio::time::sleep(pause.min(self.patience.longest_wait)).await;
                self.wait *= 2;
                Ok(())
            }
        }
    }
}

/// Between 0.5 and 1.5, so that many clients do not come back at once.
fn jitter() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    let random = u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or(0);
    0.5 + f64::from(random) / f64::from(u32::MAX)
}
