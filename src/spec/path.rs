//! Paths that users write, as text: nothing here looks at a disk.

/// The path without `.` parts, if it is relative and stays inside the project.
pub(super) fn inside(path: &str) -> Option<String> {
    if path.is_empty() || path.starts_with('/') || path.contains(['\\', '\0']) {
        return None;
    }
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

/// Says whether `path` is absolute and without `.`, `..` and empty parts.
pub(super) fn is_mount(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| {
        !rest.is_empty()
            && !path.contains([':', ',', '\0'])
            && rest.split('/').all(|part| !matches!(part, "" | "." | ".."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_the_project() {
        assert_eq!(inside("./tiny-model//x/").as_deref(), Some("tiny-model/x"));
        for bad in ["", "/etc", "../x", "a/../../b", ".", "a\\b"] {
            assert_eq!(inside(bad), None, "{bad}");
        }
        assert!(is_mount("/root/.cache"));
        assert!(!is_mount("/") && !is_mount("/a/../b") && !is_mount("a") && !is_mount("/a/"));
    }
}
