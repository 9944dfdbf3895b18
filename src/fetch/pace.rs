//! How slowly bytes may come.

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use tokio::time::Instant;

/// Bytes per second of what is small and needed now: a manifest, an index, a list. A bad line has as much;
/// models take no time that anybody waits at less.
const OF_DOCUMENT: u64 = 2 << 10;

/// Bytes per second of one of several connections that share a slow line.
const OF_FILE: u64 = 1 << 10;

/// So many times as long as nothing may come at all, the head of an answer may take, with all redirects
/// before it.
const OF_HEAD: u32 = 6;

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// A connection broke, or there was none.
    Broken(reqwest::Error),
    /// The head of an answer came to no end.
    Dripping(String),
}

/// Sends a request, and gives its answer once the head of that is there: it may drip as well as a body.
pub(crate) async fn answer(
    request: RequestBuilder,
    stall: Duration,
) -> Result<Response, Unanswered> {
    let patience = stall * OF_HEAD;
    let Ok(answer) = tokio::time::timeout(patience, request.send()).await else {
        let seconds = patience.as_secs_f64();
        return Err(Unanswered::Dripping(format!("too slow: no whole head in {seconds:.0} s")));
    };
    answer.map_err(Unanswered::Broken)
}

/// Watches that a body leads somewhere: each byte alone ends no stall, and a byte a second would go on
/// for years.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: u64,
    /// How long it may come more slowly.
    window: Duration,
    since: Instant,
    /// Bytes that had come then.
    then: u64,
}

impl Pace {
    /// For a body that is read as a whole.
    pub(crate) fn of_document(stall: Duration) -> Self {
        Self::new(OF_DOCUMENT, stall)
    }

    /// For one that may be large.
    pub(crate) fn of_file(stall: Duration) -> Self {
        Self::new(OF_FILE, stall)
    }

    fn new(per_second: u64, window: Duration) -> Self {
        Self { per_second, window, since: Instant::now(), then: 0 }
    }

    /// Fails, with the reason, once too little has come for too long.
    pub(crate) fn check(&mut self, come: u64) -> Result<(), String> {
        self.check_at(come, Instant::now())
    }

    fn check_at(&mut self, come: u64, now: Instant) -> Result<(), String> {
        let passed = now.saturating_duration_since(self.since);
        if passed < self.window {
            return Ok(());
        }
        let new = u128::from(come.saturating_sub(self.then));
        if new * 1000 < u128::from(self.per_second) * passed.as_millis() {
            let seconds = passed.as_secs_f64();
            return Err(format!("too slow: {new} bytes in {seconds:.0} s"));
        }
        (self.since, self.then) = (now, come);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_a_second_is_no_progress() {
        let mut document = Pace::of_document(Duration::from_secs(30));
        let mut file = Pace::of_file(Duration::from_secs(30));
        let start = document.since.max(file.since);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(document.check_at(29, after(29)), Ok(()));
        let reason = document.check_at(60_000, after(30)).unwrap_err();
        assert_eq!(reason, "too slow: 60000 bytes in 30 s");
        assert_eq!(file.check_at(60_000, after(30)), Ok(()));
        // What came well once earns no patience for later.
        assert_eq!(file.check_at(1 << 40, after(60)), Ok(()));
        assert_eq!(file.check_at((1 << 40) + 29, after(89)), Ok(()));
        assert!(file.check_at((1 << 40) + 31, after(91)).is_err());
    }
}
