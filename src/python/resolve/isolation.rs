//! uv away from the project around and from what the host is.

use tokio::process::Command;

/// What the host has, or asks of all its own projects, says nothing about what is installed
/// elsewhere.
const NOT_THE_HOST: [&str; 11] = [
    "CONDA_PREFIX",
    "UV_CONSTRAINT",
    "UV_EXCLUDE",
    // Without sources, packages of `index` would come from any index.
    "UV_NO_SOURCES",
    "UV_NO_SOURCES_PACKAGE",
    "UV_OVERRIDE",
    "UV_PROJECT_ENVIRONMENT",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    // `auto` looks at the host's GPU.
    "UV_TORCH_BACKEND",
    "VIRTUAL_ENV",
];
/// Paths that would mean something else from another directory.
const PATHS: [&str; 3] = ["SSL_CERT_FILE", "UV_CACHE_DIR", "UV_CONFIG_FILE"];

/// Runs a command of uv's in the root, with the user's index, certificates and proxies, and with
/// nothing that is meant for other projects.
pub fn isolate(command: &mut Command) {
    // From the root, so that no project's uv settings apply but the user's do.
    command.current_dir("/");
    for name in NOT_THE_HOST {
        command.env_remove(name);
    }
    for (name, value) in environment(|name| std::env::var(name).ok()) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}

/// What uv's environment gets (or loses) besides the user's own.
fn environment(variable: impl Fn(&str) -> Option<String>) -> Vec<(&'static str, Option<String>)> {
    let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let mut changes = vec![
        ("UV_PYTHON_DOWNLOADS", Some("never".to_owned())),
        // The operating system's certificates; the second name is that of older versions.
        ("UV_SYSTEM_CERTS", Some("1".to_owned())),
        ("UV_NATIVE_TLS", Some("1".to_owned())),
    ];
    if set("UV_DEFAULT_INDEX").is_none() && set("UV_INDEX_URL").is_none() {
        changes.extend(set("PIP_INDEX_URL").map(|url| ("UV_DEFAULT_INDEX", Some(url))));
    }
    if set("UV_INDEX").is_none() && set("UV_EXTRA_INDEX_URL").is_none() {
        changes.extend(set("PIP_EXTRA_INDEX_URL").map(|urls| ("UV_EXTRA_INDEX_URL", Some(urls))));
    }
    for name in PATHS {
        let absolute = set(name).and_then(|path| std::path::absolute(path).ok());
        let text = absolute.and_then(|path| path.into_os_string().into_string().ok());
        changes.extend(text.map(|path| (name, Some(path))));
    }
    if set("SSL_CERT_FILE").is_none() {
        changes.extend(set("PIP_CERT").map(|path| ("SSL_CERT_FILE", Some(path))));
    }
    let links = set("UV_FIND_LINKS").or_else(|| set("PIP_FIND_LINKS")).unwrap_or_default();
    let remote: Vec<&str> = links
        .split([',', ' ', '\n'])
        .filter(|link| link.starts_with("http://") || link.starts_with("https://"))
        .collect();
    changes.push(("UV_FIND_LINKS", (!remote.is_empty()).then(|| remote.join(","))));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pip_variables_count_where_those_of_uv_are_unset() {
        let changes = environment(|name| {
            match name {
                "PIP_INDEX_URL" => Some("https://pip.example/simple"),
                "UV_INDEX" => Some("https://more.example/simple"),
                "PIP_EXTRA_INDEX_URL" => Some("https://extra.example/simple"),
                "PIP_FIND_LINKS" => Some("/opt/wheels https://links.example/"),
                _ => None,
            }
            .map(str::to_owned)
        });
        let entry = |name: &str| changes.iter().find(|(found, _)| *found == name);
        let value = |name| entry(name).and_then(|(_, value)| value.as_deref());
        assert_eq!(value("UV_DEFAULT_INDEX"), Some("https://pip.example/simple"));
        assert_eq!(entry("UV_EXTRA_INDEX_URL"), None);
        assert_eq!(value("UV_FIND_LINKS"), Some("https://links.example/"));
    }
}
