//! The time, as it is written down.

use jiff::Timestamp;

/// Now, to the second, in UTC: RFC 3339.
pub fn now() -> String {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default().to_string()
}
