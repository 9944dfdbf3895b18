//! What uv says of a resolution that it found, and has doubts about.

/// The warnings among what uv wrote to standard error, each on one line.
///
/// From 0.8.0 to 0.13.9 each begins a line with `warning: `; what belongs to it follows indented.
pub(super) fn warnings(stderr: &str) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    let mut is_open = false;
    for line in stderr.lines() {
        if let Some(text) = line.strip_prefix("warning: ") {
            warnings.push(text.trim().to_owned());
            is_open = true;
        } else if is_open && line.starts_with(' ') && !line.trim().is_empty() {
            let last = warnings.last_mut().unwrap_or_else(|| panic!("BUG: no warning is open"));
            *last = format!("{last} {}", line.trim());
        } else {
            is_open = false;
        }
    }
    warnings.retain(|text| !is_of_the_host(text) && undated(text).is_none());
    warnings
}

/// The files that uv left out since the index doesn't say when they were uploaded.
pub(super) fn without_time(stderr: &str) -> Vec<String> {
    stderr.lines().filter_map(|line| undated(line.strip_prefix("warning: ")?)).collect()
}

/// Which Python of this machine uv would build with: it builds nothing.
fn is_of_the_host(text: &str) -> bool {
    text.starts_with("The requested Python version ")
        && text.ends_with("will be used to build dependencies instead.")
}

fn undated(text: &str) -> Option<String> {
    let (file, _) = text.split_once(" is missing an upload date, but user provided: ")?;
    Some(file.trim_matches('`').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What uv 0.8.0 and 0.13.9 wrote on 30 November 2026.
    #[test]
    fn warnings_are_read_from_what_the_oldest_and_the_newest_uv_write() {
        let said = "warning: The requested Python version 3.12 is not available; 3.11.7 will be used to build dependencies instead.\nResolved 18 packages in 489ms\nwarning: The package `httpx==0.28.1` does not have an extra named `nosuch`\nwarning: `attrs==21.1.0` is yanked (reason: \"Installable but not importable on Python 3.4.\")\nwarning: one that\n  goes on\nResolved\n  nothing\n";
        assert_eq!(
            warnings(said),
            [
                "The package `httpx==0.28.1` does not have an extra named `nosuch`",
                "`attrs==21.1.0` is yanked (reason: \"Installable but not importable on Python 3.4.\")",
                "one that goes on",
            ]
        );
        assert_eq!(warnings("Resolved 2 packages in 54ms\n"), [""; 0]);
        for said in [
            "warning: user-1-py3-none-any.whl is missing an upload date, but user provided: 2025-05-11T00:00:00Z",
            "warning: `user-1-py3-none-any.whl` is missing an upload date, but user provided: 2025-05-11T00:00:00Z",
        ] {
            assert_eq!(warnings(said), [""; 0]);
            assert_eq!(without_time(said), ["user-1-py3-none-any.whl"]);
        }
    }
}
