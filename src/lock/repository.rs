//! What the lock keeps of a repository on a hub.

use serde::{Deserialize, Serialize};

use super::ConfigFacts;
use super::hub::{Access, RemoteFile, Revision};
use crate::spec::FilePatterns;

/// One revision of a repository. Its name in the lock, `organisation/name@revision`, is the request
/// that it answers; patterns choose among its files, so that an edit of them needs no new answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedRepository {
    /// What the revision stood for: 40 lower-case hexadecimal digits.
    pub commit: String,
    /// Who may fetch it; none where the hub didn't say, or nobody had asked yet when it was locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Every file of the commit, sorted by path; written as one line each.
    #[serde(with = "lines")]
    pub files: Vec<RemoteFile>,
    /// What its `config.json` says, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigFacts>,
}

impl LockedRepository {
    /// What a hub said, with what the repository's `config.json` says.
    pub fn new(revision: Revision, config: Option<ConfigFacts>) -> Self {
        let Revision { commit, mut files, access } = revision;
        files.sort_unstable();
        Self { commit, access, files, config }
    }

    /// The files that are wanted, by path.
    pub fn wanted<'a>(
        &'a self,
        patterns: &'a FilePatterns,
    ) -> impl Iterator<Item = &'a RemoteFile> {
        self.files.iter().filter(|file| patterns.wants(&file.path))
    }

    /// Bytes of what an engine loads onto the accelerator: the `safetensors` files at the top of the
    /// repository, else the other weight files there. A second copy in Mistral's own form counts
    /// only when it is the only one.
    pub fn weight_bytes(&self, patterns: &FilePatterns) -> u64 {
        let sum = |endings: &[&str], counts: fn(&str) -> bool| -> u64 {
            self.wanted(patterns)
                .filter(|file| !file.path.contains('/') && counts(&file.path))
                .filter(|file| endings.iter().any(|ending| file.path.ends_with(ending)))
                .map(|file| file.size)
                .sum()
        };
        let first = |path: &str| !path.starts_with("consolidated");
        let found = [
            sum(&[".safetensors"], first),
            sum(&[".safetensors"], |_| true),
            sum(&[".bin", ".pt", ".pth", ".gguf"], |_| true),
        ];
        found.into_iter().find(|bytes| *bytes > 0).unwrap_or(0)
    }
}

/// A table of lines: `"config.json" = "1806 git-blob:9b5c…"`. Locks of 24 to 30 November 2026 say behind
/// it where Xet keeps the file, as `xet:…`: that is ignored when it is read, and no longer written.
mod lines {
    use std::collections::BTreeMap;

    use serde::de::Error as _;
    use serde::ser::SerializeMap as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::RemoteFile;

    pub(super) fn serialize<S: Serializer>(
        files: &[RemoteFile],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(files.len()))?;
        for RemoteFile { path, size, digest } in files {
            map.serialize_entry(path, &format!("{size} {digest}"))?;
        }
        map.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<RemoteFile>, D::Error> {
        let lines = BTreeMap::<String, String>::deserialize(deserializer)?;
        let file = |(path, line): (String, String)| {
            read(&path, &line).ok_or_else(|| {
                let expected = "a path in the repository with a size and a digest, like \"1806 git-blob:…\" or \"4096 sha256:…\"";
                D::Error::custom(format!("`{path}` = `{line}`: expected {expected}"))
            })
        };
        lines.into_iter().map(file).collect()
    }

    fn read(path: &str, line: &str) -> Option<RemoteFile> {
        let mut words = line.split(' ');
        let (size, digest) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let is_rest = words.next().is_none_or(|word| word.starts_with("xet:"));
        (is_rest && words.next().is_none() && RemoteFile::is_path(path)).then(|| RemoteFile {
            path: path.to_owned(),
            size,
            digest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::LockFile;
    use crate::lock::hub::FileDigest;

    fn repository(files: &[(&str, u64)]) -> LockedRepository {
        let file = |(path, size): &(&str, u64)| {
            let digest = if *path == "config.json" {
                FileDigest::git_blob(&"ab".repeat(20))
            } else {
                FileDigest::sha256(&"cd".repeat(32))
            };
            let digest = digest.expect("a digest");
            RemoteFile { path: (*path).to_owned(), size: *size, digest }
        };
        let files = files.iter().map(file).collect();
        LockedRepository::new(Revision { commit: "12".repeat(20), files, access: None }, None)
    }

    #[test]
    fn a_repository_takes_one_line_per_file_and_is_read_back() {
        let mut locked = repository(&[("original/model.bin", 1 << 32), ("config.json", 12)]);
        let config = r#"{"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss",
            "num_local_experts": 32, "experts_per_token": 4, "hidden_size": 2880, "head_dim": 64,
            "quantization_config": {"quant_method": "mxfp4"}, "sliding_window": 128,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}"#;
        locked.config = ConfigFacts::parse(config.as_bytes());
        let mut lock = LockFile::default();
        lock.hub.insert("openai/gpt-oss-20b@main".to_owned(), locked);
        insta::assert_snapshot!(lock.render());
        assert_eq!(LockFile::parse("goatbuild.lock", &lock.render()).unwrap(), lock);
    }

    #[test]
    fn where_xet_keeps_a_file_is_read_over_and_not_written() {
        let mut lock = LockFile::default();
        lock.hub.insert("a/b@main".to_owned(), repository(&[("x", 1), ("config.json", 2)]));
        let written = lock.render();
        let line = format!("1 sha256:{}", "cd".repeat(32));
        let old = written.replace(&line, &format!("{line} xet:{}", "ef".repeat(32)));
        assert_ne!(old, written);
        let read = LockFile::parse("goatbuild.lock", &old).unwrap();
        assert_eq!((&read, read.render()), (&lock, written));
    }

    #[test]
    fn lines_that_no_file_has_are_refused() {
        let hash = format!("12 sha256:{}", "ab".repeat(32));
        let upper = hash.to_uppercase();
        let more = format!("{hash} xet:1 2");
        let other = format!("{hash} xat:1");
        for (path, line) in [
            ("x", "12"),
            ("x", "x git-blob:12"),
            ("x", "12 sha1:ab"),
            ("x", &upper),
            ("x", &more),
            ("x", &other),
            ("../x", &hash),
        ] {
            let text = format!(
                "version = 1\n[hub.\"a/b@main\"]\ncommit = \"1\"\n[hub.\"a/b@main\".files]\n\"{path}\" = \"{line}\"\n"
            );
            let error = LockFile::parse("goatbuild.lock", &text).unwrap_err();
            assert!(error.to_string().contains(&format!("`{path}` = `{line}`")), "{error}");
        }
    }

    #[test]
    fn weights_are_what_an_engine_loads() {
        let everything = FilePatterns::default();
        let both = repository(&[
            ("model-1.safetensors", 5),
            ("model-2.safetensors", 6),
            ("consolidated.safetensors", 11),
            ("original/model.safetensors", 11),
            ("pytorch_model.bin", 11),
            ("config.json", 1),
        ]);
        assert_eq!(both.weight_bytes(&everything), 11);
        let mistral = FilePatterns::new(vec!["consolidated*".to_owned()], Vec::new());
        assert_eq!(both.weight_bytes(&mistral), 11);
        assert_eq!(repository(&[("pytorch_model.bin", 7)]).weight_bytes(&everything), 7);
        assert_eq!(repository(&[("config.json", 7)]).weight_bytes(&everything), 0);
        let wanted: Vec<_> = both.wanted(&mistral).map(|file| &*file.path).collect();
        assert_eq!(wanted, ["consolidated.safetensors"]);
    }
}
