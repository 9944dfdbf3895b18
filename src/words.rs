//! Numbers, and lists of names, as people read them.

use std::time::Duration;

/// `1 step`, `2 steps`.
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// `a, b, c, d, e and 3 more`: the first of some names.
pub fn some(names: &[impl AsRef<str>]) -> String {
    const TOLD: usize = 5;
    let first: Vec<&str> = names.iter().take(TOLD).map(AsRef::as_ref).collect();
    let first = first.join(", ");
    match names.len().saturating_sub(TOLD) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Bytes in decimal units, as registries and disks count them.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut scaled, mut unit) = (number, 0);
    let mut rest = 0;
    while scaled >= 1000 && unit + 1 < UNITS.len() {
        rest = scaled % 1000 / 100;
        scaled /= 1000;
        unit += 1;
    }
    match unit {
        0 => format!("{scaled} B"),
        _ if scaled >= 100 => format!("{scaled} {}", UNITS[unit]),
        _ => format!("{scaled}.{rest} {}", UNITS[unit]),
    }
}

/// `0.4 s`, `12.3 s`, `3 min 5 s`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}

/// That so many sources of weights are not in the lock, and what puts them there: in the same words
/// wherever it is told.
pub fn not_locked(sources: usize) -> String {
    let number = count(sources, "source");
    format!("{number} not locked: `goatbuild lock` does it where the hub can be reached")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_names_the_first_are_told() {
        assert_eq!(some(&["a"; 5]), "a, a, a, a, a");
        assert_eq!(some(&["a"; 7]), "a, a, a, a, a and 2 more");
    }

    #[test]
    fn bytes_keep_two_digits_at_least() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_000), "1.0 kB");
        assert_eq!(bytes(62_840_000), "62.8 MB");
        assert_eq!(bytes(3_920_000_000), "3.9 GB");
        assert_eq!(bytes(234_000), "234 kB");
    }

    #[test]
    fn durations_change_their_unit_after_a_minute() {
        assert_eq!(duration(Duration::from_millis(420)), "0.4 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 5 s");
    }
}
