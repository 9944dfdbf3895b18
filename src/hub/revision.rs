//! What a repository holds, and its small files.

use std::collections::BTreeMap;

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::client::{About, Said, shown};
use super::digest::{digest_of, name};
use super::{Hub, HubError};
use crate::lock::hub::{Access, FileDigest, RemoteFile, Revision};

/// A page of the hub's JSON is smaller.
const PAGE: u64 = 32 << 20;

/// The hub recommends that a repository has less than 100,000 files; models have some hundreds.
const FILES: usize = 100_000;

#[derive(Debug, Deserialize)]
struct Model {
    sha: String,
    /// `false`, `"auto"` or `"manual"`, as `huggingface_hub` has it; a mirror may say nothing.
    gated: Option<Value>,
    private: Option<Value>,
}

impl Model {
    fn access(&self) -> Option<Access> {
        let private = self.private.as_ref().and_then(Value::as_bool);
        match (private, &self.gated) {
            (Some(true), _) => Some(Access::Private),
            (_, Some(Value::Bool(true) | Value::String(_))) => Some(Access::Gated),
            (Some(false), Some(Value::Bool(false))) => Some(Access::Public),
            _ => None,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    oid: String,
    size: u64,
    path: String,
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

impl Hub {
    /// The commit that a branch, tag or commit stands for, and all of its files.
    pub async fn revision(&self, repository: &str, revision: &str) -> Result<Revision, HubError> {
        let about = About { repository, revision: Some(revision), path: None };
        let model = || ["api", "models"].into_iter().chain(repository.split('/'));
        let url = self.url(model().chain(["revision", revision]));
        let (body, ..) = match self.body(&about, &url, PAGE).await {
            Ok(answer) => answer,
            Err(error @ HubError::NoRevision { .. }) => {
                // Not every mirror says what it is that is missing.
                let about = About { revision: None, ..about };
                self.body(&about, &self.url(model()), PAGE).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        let model_info: Model = parsed(&url, &body)?;
        let (access, commit) = (model_info.access(), model_info.sha);
        // As digits of a git object's id, or it would be no name for a directory.
        if FileDigest::git_blob(commit.as_str()).is_err() {
            return Err(senseless(&url, format!("`{commit}` is no commit")));
        }
        let url = self.url(model().chain(["tree", &commit]));
        Ok(Revision { files: self.tree(&about, url).await?, commit, access })
    }

    async fn tree(&self, about: &About<'_>, first: Url) -> Result<Vec<RemoteFile>, HubError> {
        let mut files = BTreeMap::new();
        let mut page = first;
        page.set_query(Some("recursive=true"));
        loop {
            let (body, headers, _) = self.body(about, &page, PAGE).await?;
            let listed = parsed::<Vec<Entry>>(&page, &body)?;
            let entries = listed.len();
            for entry in listed {
                if entry.kind == "file" {
                    let file = remote_file(entry).map_err(|reason| senseless(&page, reason))?;
                    if let Some(file) = files.insert(file.path.clone(), file) {
                        let reason = format!("it lists {} twice", file.path);
                        return Err(senseless(&page, reason));
                    }
                }
            }
            if files.len() > FILES {
                return Err(senseless(&page, format!("it lists more than {FILES} files")));
            }
            page = match next_page(&page, &headers) {
                Some(next) if entries > 0 => page_after(&page, &next),
                Some(_) => {
                    let reason = "it says that the list goes on, and lists nothing".to_owned();
                    return Err(senseless(&page, reason));
                }
                None => return Ok(files.into_values().collect()),
            }
        }
    }

    /// Reads one small file, verified.
    pub async fn read(
        &self,
        repository: &str,
        commit: &str,
        file: &RemoteFile,
    ) -> Result<Vec<u8>, HubError> {
        let about = About { repository, revision: Some(commit), path: Some(&file.path) };
        let url = self.file_url(repository, commit, &file.path);
        // One byte more, so that a longer file is seen to be one.
        let (bytes, _, said) = self.body(&about, &url, file.size + 1).await?;
        said.check(repository, commit, file)?;
        let found = digest_of(file.digest.kind(), &bytes);
        let damaged = |what, listed: String, found| HubError::Damaged {
            repository: repository.to_owned(),
            path: file.path.clone(),
            what,
            listed,
            found,
        };
        if bytes.len() as u64 != file.size {
            return Err(damaged("size", file.size.to_string(), bytes.len().to_string()));
        }
        if found != file.digest {
            return Err(damaged(name(file.digest), file.digest.hex(), found.hex()));
        }
        Ok(bytes)
    }

    /// Where the hub serves a file.
    pub(super) fn file_url(&self, repository: &str, commit: &str, path: &str) -> Url {
        self.url(repository.split('/').chain(["resolve", commit]).chain(path.split('/')))
    }
}

impl Said {
    /// Fails when the hub serves something else than it listed.
    pub(super) fn check(
        &self,
        repository: &str,
        commit: &str,
        file: &RemoteFile,
    ) -> Result<(), HubError> {
        let changed = |what, listed: &str, found: &str| HubError::Changed {
            repository: repository.to_owned(),
            path: file.path.clone(),
            what,
            listed: listed.to_owned(),
            found: found.to_owned(),
        };
        match &self.commit {
            Some(found) if found != commit => return Err(changed("commit", commit, found)),
            _ => {}
        }
        match self.size {
            Some(found) if found != file.size => {
                return Err(changed("size", &file.size.to_string(), &found.to_string()));
            }
            _ => {}
        }
        let listed = file.digest.hex();
        // A mirror may have tags of its own.
        let is_hash = |etag: &&String| {
            etag.len() == listed.len() && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        match self.etag.as_ref().filter(is_hash) {
            Some(found) if *found != listed => Err(changed("digest", &listed, found)),
            _ => Ok(()),
        }
    }
}

fn remote_file(entry: Entry) -> Result<RemoteFile, String> {
    if !RemoteFile::is_path(&entry.path) {
        return Err(format!("`{}` is no path of a file", entry.path.escape_default()));
    }
    let (digest, size) = match entry.lfs {
        Some(lfs) => {
            let hex = lfs.oid.strip_prefix("sha256:").unwrap_or(&lfs.oid);
            (FileDigest::sha256(hex), lfs.size)
        }
        None => (FileDigest::git_blob(&entry.oid), entry.size),
    };
    let digest = digest.map_err(|wrong| format!("{}: {wrong}", entry.path))?;
    Ok(RemoteFile { path: entry.path, size, digest })
}

/// The address in `Link: <…>; rel="next"`, read as `links` of `httpx` reads it: a mirror may leave out
/// the quotes, and what stands between two links.
fn next_page(at: &Url, headers: &HeaderMap) -> Option<Url> {
    headers.get_all(LINK).into_iter().find_map(|value| {
        value.to_str().ok()?.split('<').skip(1).find_map(|link| {
            let (address, parameters) = link.split_once('>')?;
            let is_next = parameters.split([';', ',']).any(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or_default();
                let mut relations = value.trim().trim_matches(['"', '\'']).split_whitespace();
                name.trim().eq_ignore_ascii_case("rel")
                    && relations.any(|it| it.eq_ignore_ascii_case("next"))
            });
            is_next.then(|| at.join(address.trim()).ok())?
        })
    })
}

/// The page of the list at `asked` that goes on at `named`.
///
/// A mirror hands on what the original said, which knows nothing of where the mirror has it: another host, or
/// a path without what stands before it here. A list has one path, so all that is new is in the query.
fn page_after(asked: &Url, named: &Url) -> Url {
    let mut page = asked.clone();
    page.set_query(named.query());
    page
}

fn parsed<T: DeserializeOwned>(url: &Url, body: &[u8]) -> Result<T, HubError> {
    serde_json::from_slice(body).map_err(|error| senseless(url, error.to_string()))
}

fn senseless(url: &Url, reason: String) -> HubError {
    HubError::Answer { url: shown(url), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_on_where_a_link_says_however_it_is_written() {
        // As `Response.links` of httpx 0.28.1 has them, which takes both kinds of quotes and none, and as
        // RFC 8288, 3.5, does several links in a header.
        let next = |header: &'static str| {
            let at = Url::parse("https://mirror/hf/api/models/a/b/tree/c?recursive=true").unwrap();
            let headers = HeaderMap::from_iter([(LINK, header.parse().unwrap())]);
            next_page(&at, &headers).map(String::from)
        };
        let there = Some("https://huggingface.co/api/models/a/b/tree/c?cursor=d,e".to_owned());
        for header in [
            r#"<https://huggingface.co/api/models/a/b/tree/c?cursor=d,e>; rel="next""#,
            "<https://huggingface.co/api/models/a/b/tree/c?cursor=d,e>;rel=next",
            "<https://a/>; rel=\"first\",<https://huggingface.co/api/models/a/b/tree/c?cursor=d,e>; rel='next'",
            r#"<https://huggingface.co/api/models/a/b/tree/c?cursor=d,e>; title="a"; rel="last next""#,
        ] {
            assert_eq!(next(header), there, "{header}");
        }
        let relative = next("</api/models/a/b/tree/c?cursor=d>; rel=next");
        assert_eq!(relative.as_deref(), Some("https://mirror/api/models/a/b/tree/c?cursor=d"));
        for nothing in
            ["<https://a/>; rel=prev", "<https://a/>", "nothing", "<https://a/>; rel=nextt"]
        {
            assert_eq!(next(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_hub_says_who_may_fetch_a_repository() {
        // `gated` and `private` of `ModelInfo` in huggingface_hub 2.4.0: False, "auto" or "manual", and a
        // truth; either may be left out.
        let access = |more: &str| {
            let answer = format!("{{\"sha\": \"12\"{more}}}");
            serde_json::from_str::<Model>(&answer).unwrap().access()
        };
        assert_eq!(access(r#", "gated": false, "private": false"#), Some(Access::Public));
        assert_eq!(access(r#", "gated": "manual", "private": false"#), Some(Access::Gated));
        assert_eq!(access(r#", "gated": "auto""#), Some(Access::Gated));
        assert_eq!(access(r#", "gated": false, "private": true"#), Some(Access::Private));
        for nobody_knows in
            ["", r#", "private": false"#, r#", "gated": false"#, r#", "gated": {"a": 1}"#]
        {
            assert_eq!(access(nobody_knows), None, "{nobody_knows}");
        }
    }
}
