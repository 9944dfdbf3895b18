//! What servers write to their logs, as errors quote it.

use std::path::Path;

/// So many lines are quoted.
const LINES: usize = 20;

/// The end of a log; nothing before byte `begins`, which other servers wrote.
pub(super) fn end_of(log: &Path, begins: u64) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    const BYTES: u64 = 128 << 10;
    let mut text = Vec::new();
    if let Ok(mut file) = std::fs::File::open(log) {
        let start = length(log).saturating_sub(BYTES).max(begins);
        let _ = file.seek(SeekFrom::Start(start));
        // It may be written to meanwhile.
        let _ = file.take(BYTES).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// A log's length in bytes; 0 while there is none.
pub(super) fn length(log: &Path) -> u64 {
    std::fs::metadata(log).map_or(0, |found| found.len())
}

/// The last lines of a log, for an error, but for our own requests of the path `health`.
pub(super) fn quoted(log: &str, health: &str) -> String {
    let request = format!("GET {health}");
    let asks = |line: &&str| {
        let after = line.split_once(&request).map(|(_, after)| after);
        after.is_some_and(|after| {
            !after.starts_with(|next: char| next.is_alphanumeric() || "/-_.".contains(next))
        })
    };
    let lines: Vec<&str> = log.lines().filter(|line| !asks(line)).collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter().map(|line| format!("  | {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn health_requests_do_not_push_what_matters_out_of_the_quote() {
        let mut log = String::new();
        for shard in 1..=25 {
            let _ = writeln!(log, "loading shard {shard}");
        }
        log.push_str("127.0.0.1 \"GET /health/deep HTTP/1.1\" 200\n");
        for _ in 0..300 {
            log.push_str("127.0.0.1 \"GET /health HTTP/1.1\" 503\nGET /health\n");
        }
        let quoted = quoted(&log, "/health");
        let lines: Vec<&str> = quoted.lines().collect();
        assert_eq!((lines.len(), lines[0]), (20, "  | loading shard 7"));
        assert_eq!(lines[19], "  | 127.0.0.1 \"GET /health/deep HTTP/1.1\" 200");
    }
}
