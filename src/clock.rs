//! The time, as it is written down.

use jiff::Timestamp;

/// Now, to the second, in UTC: RFC 3339.
pub fn now() -> String {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default().to_string()
}

/// Now, in seconds since 1970.
pub fn seconds() -> f64 {
    Timestamp::now().as_duration().as_secs_f64()
}

/// A time that was told in seconds since 1970, to the second, in UTC: RFC 3339.
#[expect(clippy::cast_possible_truncation, reason = "seconds, far below what an i64 holds")]
pub fn written(seconds: f64) -> String {
    Timestamp::from_second(seconds as i64).unwrap_or_default().to_string()
}

/// How many days ago a time was that was written down: RFC 3339.
#[expect(clippy::cast_precision_loss, reason = "seconds, far below what a double holds exactly")]
pub fn days_since(written: &str) -> Option<f64> {
    let then: Timestamp = written.parse().ok()?;
    Some((seconds() - then.as_second() as f64) / (24.0 * 3600.0))
}

/// How long ago a time was that is written so; none for what is none, or is still to come.
pub fn elapsed_since(written: &str) -> Option<std::time::Duration> {
    let then: Timestamp = written.parse().ok()?;
    Timestamp::now().duration_since(then).try_into().ok()
}

/// The time of day after this wait, to the second, in UTC.
pub fn time_after(wait: std::time::Duration) -> String {
    let then = Timestamp::now() + wait;
    format!("{} UTC", then.strftime("%H:%M:%S"))
}
