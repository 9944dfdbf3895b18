//! What a start left in the caches, and whether the start after it compiled again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::super::factors::Factors;
use crate::bounded;
use crate::event::Reporter;
use crate::step::StepError;
use crate::words;

/// A file, by its bytes: engines touch what they read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Compiled {
    pub(super) bytes: u64,
    /// BLAKE3, in hexadecimal.
    pub(super) digest: String,
}

/// Files by their path below a cache's directory.
pub(super) type Files = BTreeMap<String, Compiled>;

/// What a start left in the caches.
pub(super) struct Cache {
    /// By the name of the cache's volume.
    pub(super) files: BTreeMap<String, Files>,
    /// By the file that tells them.
    pub(super) factors: BTreeMap<String, Factors>,
}

/// How it is known that a second start compiled again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Again {
    /// The engine tells what went into its key, and these differ.
    Factors(Vec<String>),
    /// It tells nothing that differs, and wrote these files.
    Files(Vec<String>),
}

impl Cache {
    /// Reads directories, each with the name of its volume. `factors` names the files that tell what
    /// went into the cache's key.
    pub(super) fn read(
        directories: &[(String, PathBuf)],
        factors: Option<&str>,
        reporter: &Reporter,
    ) -> Result<Self, StepError> {
        let mut cache = Self { files: BTreeMap::new(), factors: BTreeMap::new() };
        for (volume, directory) in directories {
            let files = files_of(directory, reporter)?;
            let tells = |file: &&String| factors.is_some_and(|it| Path::new(file).ends_with(it));
            for file in files.keys().filter(tells) {
                let text = bounded::read(&directory.join(file), bounded::LOCK).ok();
                if let Some(factors) = text.and_then(|text| Factors::read(&text)) {
                    cache.factors.insert(file.clone(), factors);
                } else {
                    reporter.log(format!("{file} does not tell what went into the cache's key"));
                }
            }
            cache.files.insert(volume.clone(), files);
        }
        Ok(cache)
    }

    /// How many files there are.
    pub(super) fn count(&self) -> usize {
        self.files.values().map(BTreeMap::len).sum()
    }

    /// What tells that the start after `before` compiled; none when it took all from the cache. Files that
    /// are new tell it where `graphs` are among them, or where the start was slow.
    pub(super) fn compiled_since(
        &self,
        before: &Self,
        graphs: &[&str],
        is_slow: bool,
    ) -> Option<Again> {
        let changed = self
            .factors
            .iter()
            .filter(|(file, factors)| before.factors.get(*file) != Some(factors));
        // Another key is another directory: what it is to be compared with is what is most like it.
        let differing: BTreeSet<&str> = changed
            .filter_map(|(_, factors)| {
                let differing = before.factors.values().map(|old| factors.differing(old));
                differing.min_by_key(BTreeSet::len)
            })
            .flatten()
            .collect();
        if !differing.is_empty() {
            return Some(Again::Factors(differing.into_iter().map(str::to_owned).collect()));
        }
        let written = self.written_since(before);
        let is_graph = |name: &String| {
            Path::new(name).iter().any(|part| graphs.iter().any(|graph| part == *graph))
        };
        let proof = is_slow || written.iter().any(is_graph);
        (proof && !written.is_empty()).then_some(Again::Files(written))
    }

    /// The files that the start after `before` wrote.
    pub(super) fn written_since(&self, before: &Self) -> Vec<String> {
        let written = self.files.iter().flat_map(|(volume, files)| {
            let old = before.files.get(volume);
            let is_new = move |name: &String, file: &Compiled| {
                old.and_then(|old| old.get(name)).is_none_or(|old| old != file)
            };
            files
                .iter()
                .filter(move |(name, file)| is_new(name, file))
                .map(|(name, _)| name.clone())
        });
        written.collect()
    }
}

impl fmt::Display for Again {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, names) = match self {
            Self::Factors(names) => ("its cache key differs in", names),
            Self::Files(names) => ("it wrote", names),
        };
        write!(formatter, "{what} {}", words::some(names))
    }
}

/// Whether a file is a note beside what is compiled: locks, logs (`FlashInfer` appends to one), and
/// what ninja writes down of each run.
fn is_note(path: &Path) -> bool {
    let has_end = path.extension().is_some_and(|end| end == "lock" || end == "log");
    has_end || path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".ninja_"))
}

fn files_of(directory: &Path, reporter: &Reporter) -> Result<Files, StepError> {
    let mut files = Files::new();
    for entry in WalkDir::new(directory).into_iter().flatten() {
        reporter.check()?;
        if !entry.file_type().is_file() || is_note(entry.path()) {
            continue;
        }
        let mut hasher = blake3::Hasher::new();
        let read = std::fs::File::open(entry.path()).and_then(|file| {
            hasher.update_reader(file)?;
            Ok(hasher.count())
        });
        // What is gone meanwhile was for a moment; what is empty is a lock.
        let Ok(bytes @ 1..) = read else { continue };
        let name = entry.path().strip_prefix(directory).unwrap_or(entry.path());
        let digest = hasher.finalize().to_hex().to_string();
        files.insert(name.to_string_lossy().into(), Compiled { bytes, digest });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(files: &[(&str, &str)], more: &[&str]) -> Cache {
        let names = files.iter().map(|(file, _)| file).chain(more);
        let factors = |text: &str| Factors::read(text.as_bytes()).expect("an object");
        let compiled = || Compiled { bytes: 1, digest: "d".to_owned() };
        let of_volume = names.map(|name| ((*name).to_owned(), compiled())).collect();
        Cache {
            files: [("compile".to_owned(), of_volume)].into(),
            factors: files.iter().map(|(file, text)| ((*file).to_owned(), factors(text))).collect(),
        }
    }

    #[test]
    fn a_new_key_is_compared_with_the_one_most_like_it() {
        let ranks = [
            ("a/rank_0_0/f", r#"{"rank": 0, "env": {"HOME": "/root"}}"#),
            ("a/rank_1_0/f", r#"{"rank": 1, "env": {"HOME": "/root"}}"#),
        ];
        let before = cache(&ranks, &["a/graph"]);
        let again = ("b/rank_1_0/f", r#"{"rank": 1, "env": {"HOME": "/tmp"}}"#);
        let after = cache(&[ranks[0], ranks[1], again], &["a/graph", "b/graph"]);
        let differing = Again::Factors(vec!["env.HOME".to_owned()]);
        assert_eq!(after.compiled_since(&before, &[], true), Some(differing));
        assert_eq!(before.compiled_since(&before, &[], true), None);
    }

    #[test]
    fn without_a_factor_that_differs_the_new_files_tell() {
        let one = [("a/f", r#"{"code": 1}"#)];
        let before = cache(&one, &["a/graph", "a/lock"]);
        let after = cache(&[one[0], ("b/f", r#"{"code": 1}"#)], &["a/graph", "a/lock", "b/graph"]);
        let new = Again::Files(vec!["b/f".to_owned(), "b/graph".to_owned()]);
        assert_eq!(after.compiled_since(&before, &[], true), Some(new.clone()));
        assert_eq!(
            cache(&one, &["a/graph"]).compiled_since(&before, &[], true),
            None,
            "a lock that is gone"
        );
        assert_eq!(new.to_string(), "it wrote b/f, b/graph");
        let many = Again::Files((1..8).map(|it| it.to_string()).collect());
        assert_eq!(many.to_string(), "it wrote 1, 2, 3, 4, 5 and 2 more");
    }

    #[test]
    fn what_is_written_anew_under_its_name_tells_and_what_is_touched_or_noted_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let caches = ["compile", "kernels"].map(|it| (it.to_owned(), directory.path().join(it)));
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let read = || Cache::read(&caches, None, &Reporter::silent()).unwrap();
        write("compile/a/graph", "1");
        write("kernels/k/op.so", "1");
        write("kernels/k/.ninja_log", "1");
        let before = read();
        assert_eq!(before.count(), 2);
        write("compile/a/graph", "1");
        write("compile/a/graph.lock", "pid 7");
        write("compile/a/held", "");
        write("kernels/jit.log", "again");
        write("kernels/k/.ninja_log", "12");
        assert_eq!(read().compiled_since(&before, &[], true), None);
        write("kernels/k/op.so", "2");
        let again = Again::Files(vec!["k/op.so".to_owned()]);
        assert_eq!(read().compiled_since(&before, &[], true), Some(again));
        write("compile/b", "1");
        let again = Again::Files(vec!["b".to_owned(), "k/op.so".to_owned()]);
        assert_eq!(read().compiled_since(&before, &[], true), Some(again));
    }
}
