//! Times of deployments as people and programs read them.

use std::time::Duration;

use crate::targets::Measured;
pub(super) use crate::words::{bytes, count, duration, not_locked};

/// Seconds with a tenth, as programs read them.
pub(super) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

/// Milliseconds until the first token, as programs read them.
pub(super) fn milliseconds_to_token(measured: Measured) -> u64 {
    u64::try_from(measured.first_token.as_millis()).unwrap_or(u64::MAX)
}

/// How quickly a deployment answered in its smoke test.
pub(super) fn measured(measured: Measured) -> String {
    format!(
        "first answer after {:.1} s, first token after {} ms",
        measured.first_answer.as_secs_f64(),
        milliseconds_to_token(measured)
    )
}
