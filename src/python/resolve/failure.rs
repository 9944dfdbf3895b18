//! Why uv found no answer, in its words and the index's.

use super::words::without_time;
use crate::fetch::{Fetcher, without_credentials};
use crate::lock::pylock::{PythonRequest, WheelName, no_wheel_among, normalised};
use crate::python::PythonError;
use crate::python::index::Index;

/// How many unusable packages of a failed resolution are looked up on the index.
const LOOK_UP: usize = 3;

/// Turns uv's words into an error, with what the index has of the packages that do not fit.
pub(super) async fn failure(
    words: String,
    fetcher: &Fetcher,
    request: &PythonRequest,
) -> PythonError {
    if words.contains("No interpreter found") {
        return PythonError::NoInterpreter;
    }
    let undated = without_time(&words);
    if let (Some(as_of), [file, others @ ..]) = (&request.sources.as_of, &undated[..]) {
        return PythonError::NoTimes {
            image: request.image.clone(),
            as_of: as_of.clone(),
            file: file.clone(),
            others: others.len(),
            explanation: without_warnings(&words),
        };
    }
    let words = without_warnings(&words);
    if !words.contains("No solution found") {
        return PythonError::Uv { image: request.image.clone(), output: words };
    }
    let mut found = Vec::new();
    let mut help = None;
    if !fetcher.is_offline() {
        for (package, version) in unusable(&words).into_iter().take(LOOK_UP) {
            let index = match request.sources.index_of(&package) {
                Some(url) => Index::at(url),
                None => Some(Index::configured_or_public(|name| std::env::var(name).ok())),
            };
            let Some(index) = index else { continue };
            let Ok(files) = index.files(fetcher, &package).await else { continue };
            let names: Vec<String> = files
                .into_iter()
                .map(|file| file.filename)
                .filter(|name| is_of(name, &package, &version))
                .collect();
            if names.is_empty() {
                continue;
            }
            if let Some(error) = no_wheel_among(&package, &version, &request.runtime, &names) {
                found.push(error.to_string());
                let way_out = miette::Diagnostic::help(&error).map(|help| help.to_string());
                help = help.or(way_out);
            }
        }
    }
    PythonError::Unsatisfiable {
        image: request.image.clone(),
        explanation: words,
        found,
        help: help.unwrap_or_else(|| {
            if fetcher.is_offline() {
                return "with --offline only what uv has cached is known: run once without it"
                    .to_owned();
            }
            what_to_change(request)
        }),
    }
}

/// What of a request may be why there is no answer.
fn what_to_change(request: &PythonRequest) -> String {
    let (runtime, sources) = (request.runtime, &request.sources);
    let as_of = sources.as_of.iter();
    let as_of = as_of.map(|time| format!("; `as-of` leaves out what came at {time} or later"));
    let indexes = sources.indexes.iter().map(|index| {
        let packages: Vec<&str> = index.packages.iter().map(String::as_str).collect();
        let url = without_credentials(&index.url);
        format!(
            "; {} come from {url} alone, which has to have a page for each",
            packages.join(", ")
        )
    });
    format!(
        "change the requirements in the image's file, or its Python ({}) or base (glibc {}){}",
        runtime.python,
        runtime.glibc,
        as_of.chain(indexes).collect::<String>()
    )
}

/// The words without what uv was in doubt of: that is not why it failed.
fn without_warnings(words: &str) -> String {
    let lines: Vec<&str> = words.lines().filter(|line| !line.starts_with("warning: ")).collect();
    lines.join("\n")
}

/// The `(package, version)` pairs that uv says have no wheel for the platform.
fn unusable(words: &str) -> Vec<(String, String)> {
    // uv wraps lines and indents them.
    let tokens: Vec<&str> = words.split_whitespace().collect();
    let mut pairs = Vec::new();
    for window in tokens.windows(4) {
        // "has no usable wheels", "has no wheels with a matching Python ABI tag" and the like.
        let says = matches!(window[1..], ["has", "no", "usable" | "wheels"]);
        let Some((name, version)) = window[0].split_once("==") else { continue };
        let pair = (normalised(name.split('[').next().unwrap_or(name)), version.to_owned());
        if says && !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    pairs
}

/// Whether a file on an index's page is a wheel of this version.
fn is_of(filename: &str, package: &str, version: &str) -> bool {
    if let Some(wheel) = WheelName::parse(filename) {
        return normalised(&wheel.name) == package && same_version(&wheel.version, version);
    }
    // A source archive: only its version tells it from the others.
    filename
        .strip_suffix(".tar.gz")
        .and_then(|stem| stem.rsplit_once('-'))
        .is_some_and(|(_, found)| same_version(found, version))
}

fn same_version(one: &str, other: &str) -> bool {
    use std::str::FromStr as _;
    match (pep440_rs::Version::from_str(one), pep440_rs::Version::from_str(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_packages_are_read_from_wrapped_words() {
        let words = "  × No solution found when resolving dependencies:\n  ╰─▶ Because mlx[cpu]==0.32.4 has\n      no wheels with a matching platform tag (e.g.,\n      `manylinux_2_31_x86_64`) and vllm==0.13.0 has no usable wheels";
        assert_eq!(
            unusable(words),
            [("mlx".to_owned(), "0.32.4".to_owned()), ("vllm".to_owned(), "0.13.0".to_owned())]
        );
    }
}
