//! What a second start tells of a warm-up: whether it compiled again.

use std::time::Duration;

use crate::words;

/// What to do where it did.
pub const WAY_OUT: &str = "two equal starts, and so every replica would compile: have what is named the same at each start; `[serve] warmup = \"never\"` deploys all the same";

/// A start that takes longer than this part of the first one, or is shorter by less than [`LEAST`], saved
/// nothing.
const PART: f64 = 0.8;

const LEAST: Duration = Duration::from_secs(2);

/// Whether a second start took as long as one that compiles. Much of a start is reading weights, which are
/// in memory the second time: what is slow all the same did something else again.
pub fn saved_nothing(first: Duration, second: Duration) -> bool {
    second > first.mul_f64(PART) || first.saturating_sub(second) < LEAST
}

/// Words for what a second start wrote that was quick all the same.
pub fn still_written(model: &str, files: &[String]) -> String {
    let some = words::some(files);
    format!("the second start of {model} was quick, and still wrote {some}: each replica may, too")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_saves_something_when_it_is_quicker_by_a_fifth_and_by_seconds() {
        let saved_nothing = |first, second| {
            saved_nothing(Duration::from_secs_f64(first), Duration::from_secs_f64(second))
        };
        assert!(!saved_nothing(90.0, 55.0) && !saved_nothing(410.0, 110.0));
        assert!(saved_nothing(90.0, 78.0) && saved_nothing(60.0, 61.0));
        // As little as that is chance.
        assert!(saved_nothing(1.5, 0.5));
    }
}
