//! Debian's version order: `[epoch:]upstream[-revision]`, `~` before everything, also the end.

use std::cmp::Ordering;

/// Compares two Debian versions as `dpkg --compare-versions` does (Debian Policy, 5.6.12).
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    let (left_epoch, left_upstream, left_revision) = parts(left);
    let (right_epoch, right_upstream, right_revision) = parts(right);
    left_epoch
        .cmp(&right_epoch)
        .then_with(|| compare_part(left_upstream.as_bytes(), right_upstream.as_bytes()))
        .then_with(|| compare_part(left_revision.as_bytes(), right_revision.as_bytes()))
}

/// The upstream part, without epoch and revision.
pub(super) fn upstream(version: &str) -> &str {
    parts(version).1
}

fn parts(version: &str) -> (u64, &str, &str) {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    };
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// Alternates between runs without digits, by [`weight`], and runs of digits, by value.
fn compare_part(mut left: &[u8], mut right: &[u8]) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        loop {
            let l = left.first().copied().filter(|byte| !byte.is_ascii_digit());
            let r = right.first().copied().filter(|byte| !byte.is_ascii_digit());
            if l.is_none() && r.is_none() {
                break;
            }
            match weight(l).cmp(&weight(r)) {
                Ordering::Equal => {
                    left = &left[1..];
                    right = &right[1..];
                }
                unequal => return unequal,
            }
        }
        let (l, left_rest) = number(left);
        let (r, right_rest) = number(right);
        // Without leading zeros, the longer number is the larger one.
        match l.len().cmp(&r.len()).then_with(|| l.cmp(r)) {
            Ordering::Equal => (left, right) = (left_rest, right_rest),
            unequal => return unequal,
        }
    }
    Ordering::Equal
}

/// `~`, then the end or a digit, then letters, then the rest.
fn weight(byte: Option<u8>) -> u32 {
    match byte {
        Some(b'~') => 0,
        None => 1,
        Some(letter) if letter.is_ascii_alphabetic() => 2 + u32::from(letter),
        Some(other) => 1000 + u32::from(other),
    }
}

/// The leading digits without leading zeros, and what follows.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    (&digits[zeros..], rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_dpkg_sorts_them() {
        let sorted = [
            "0~~",
            "0~",
            "0-0~1",
            "0",
            "0.1",
            "1.0~rc1-1",
            "1.0~rc1-1.1",
            "1.0-1~x",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1+deb12u9",
            "1.0-1+deb12u13",
            "1.0a-1",
            "1.0+dfsg-1",
            "1.0.1-1",
            "1.9",
            "1.010",
            "1:0.1",
            "2:0",
        ];
        for pair in sorted.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare("1.0", "1.0-0"), Ordering::Equal);
        assert_eq!(compare("1.01", "1.1"), Ordering::Equal);
        assert_eq!(upstream("1:2.36-9+deb12u1"), "2.36");
    }
}
