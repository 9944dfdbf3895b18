//! A double of a Hugging Face hub, and of the other host that its files come from.
//!
//! It is strict: it knows few kinds of API calls and of files, counts every byte that it sends, and
//! refuses the hub's token anywhere but at the hub's own host. It fails as it is told to.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::json;

use super::double::{Answer, Asked, Content, Server};

/// A file as the hub lists it.
#[derive(Clone)]
struct File {
    content: Content,
    /// Large ones are served by the other host, by their SHA-256.
    sha256: Option<String>,
    git_blob: String,
}

#[derive(Default)]
struct State {
    repositories: BTreeMap<String, BTreeMap<String, File>>,
    /// Where the branches of a repository stand, if not where all begin.
    heads: BTreeMap<String, String>,
    /// What the commits before held.
    past: BTreeMap<(String, String), BTreeMap<String, File>>,
    /// Entries per page of a tree.
    page: usize,
    /// Who may read; anybody without.
    token: Option<String>,
    gated: bool,
    /// Whether it says nothing of who may read.
    is_silent: bool,
    /// Branches besides `main`.
    branches: Vec<String>,
    /// The path below which it has everything, as many a mirror does.
    below: String,
    /// What stands before the path in the address of a list's next page.
    links: Option<String>,
    /// Whether small files are at another address of its own, as at Hugging Face.
    leads_on: bool,
}

/// The running double; its threads end with the process.
#[derive(Clone)]
pub(crate) struct HubDouble {
    /// Of the hub itself.
    pub(crate) url: String,
    /// Of the host with the large files.
    cdn: String,
    state: Arc<Mutex<State>>,
    server: Server,
}

impl Deref for HubDouble {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// The commit of everything, until a repository advances.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

impl HubDouble {
    pub(crate) fn start() -> Self {
        let (hub, url) = Server::listen("127.0.0.1");
        // Another host, not another port of the same one.
        let (other, cdn) = Server::listen("127.0.0.2");
        let state = Arc::new(Mutex::new(State { page: 1000, ..State::default() }));
        let double = Self { url, cdn, state, server: Server::default() };
        let here = double.clone();
        double.server.serve("hub", hub, move |asked| here.hub_answer(asked));
        let there = double.clone();
        double.server.serve("cdn", other, move |asked| there.cdn_answer(asked));
        double
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Adds a small file, kept in git.
    pub(crate) fn small(&self, repository: &str, path: &str, text: &str) -> Content {
        let content = Content::repeated(text.as_bytes().to_vec(), text.len() as u64);
        self.put(repository, path, &content, false);
        content
    }

    /// Adds a large file, served by the other host.
    pub(crate) fn large(&self, repository: &str, path: &str, content: &Content) {
        self.put(repository, path, content, true);
    }

    fn put(&self, repository: &str, path: &str, content: &Content, large: bool) {
        let file = File {
            content: content.clone(),
            sha256: large.then(|| content.sha256()),
            // Of a large one git keeps a pointer.
            git_blob: if large { "f".repeat(40) } else { content.git_blob() },
        };
        let mut state = self.state();
        state.repositories.entry(repository.to_owned()).or_default().insert(path.to_owned(), file);
    }

    /// Lets the branches of a repository stand at a new commit, which begins with the same files.
    pub(crate) fn advance(&self, repository: &str, commit: &str) {
        let mut state = self.state();
        let old = state.heads.insert(repository.to_owned(), commit.to_owned());
        let files = state.repositories.get(repository).cloned().unwrap_or_default();
        let old = old.unwrap_or_else(|| COMMIT.to_owned());
        state.past.insert((repository.to_owned(), old), files);
    }

    pub(crate) fn pages_of(&self, entries: usize) {
        self.state().page = entries;
    }

    /// Lets only this token in; a gated repository lets nobody in.
    pub(crate) fn restrict(&self, token: &str, gated: bool) {
        let mut state = self.state();
        state.token = Some(token.to_owned());
        state.gated = gated;
    }

    /// Has it say nothing of who may read.
    pub(crate) fn tell_no_access(&self) {
        self.state().is_silent = true;
    }

    /// Adds a branch, where `main` is.
    pub(crate) fn branch(&self, name: &str) {
        self.state().branches.push(name.to_owned());
    }

    /// Has everything below a path; what it says of its addresses knows that, or begins with `links`. Gives
    /// its address.
    pub(crate) fn mirror_below(&self, path: &str, links: Option<&str>) -> String {
        let mut state = self.state();
        path.clone_into(&mut state.below);
        state.links = links.map(str::to_owned);
        state.leads_on = true;
        format!("{}{path}", self.url)
    }

    fn hub_answer(&self, asked: &Asked) -> Answer {
        if !["GET", "HEAD"].contains(&&*asked.method) {
            return Answer::status(405, "");
        }
        let state = self.state();
        let Some(target) = asked.target.strip_prefix(&*state.below) else {
            return Answer::status(404, "");
        };
        let token = asked.header("authorization");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (api, org, name, rest) = match &parts[..] {
            ["api", "models", org, name, rest @ ..] => (true, *org, *name, rest),
            [org, name, "resolve", rest @ ..]
            | ["api", "resolve-cache", "models", org, name, rest @ ..] => {
                (false, *org, *name, rest)
            }
            _ => return Answer::status(404, ""),
        };
        if let Some(wanted) = &state.token
            && (!api || !state.gated)
        {
            match token.and_then(|token| token.strip_prefix("Bearer ")) {
                Some(token) if token != wanted => {
                    let message = "x-error-message: Invalid credentials in Authorization header";
                    return Answer::status(401, message);
                }
                _ if state.gated => return Answer::status(403, "x-error-code: GatedRepo"),
                None => return Answer::status(401, "x-error-code: RepoNotFound"),
                Some(_) => {}
            }
        }
        let Some(files) = state.repositories.get(&format!("{org}/{name}")) else {
            return Answer::status(404, "x-error-code: RepoNotFound");
        };
        let repository = format!("{org}/{name}");
        let head = state.heads.get(&repository).map_or(COMMIT, String::as_str);
        let at = |commit: &str| match commit {
            commit if commit == head => Some(files),
            commit => state.past.get(&(repository.clone(), commit.to_owned())),
        };
        let stands_for = |revision: &str| match &*decoded(revision) {
            "main" | "refs/pr/1" => Some(head.to_owned()),
            branch if state.branches.iter().any(|known| known == branch) => Some(head.to_owned()),
            commit => at(commit).map(|_| commit.to_owned()),
        };
        match rest {
            [] if api => Answer::json(&json!({ "id": repository, "sha": head })),
            ["revision", revision] if api && stands_for(revision).is_some() => {
                let commit = stands_for(revision);
                let files = at(commit.as_deref().unwrap()).unwrap();
                let siblings: Vec<_> =
                    files.keys().map(|path| json!({ "rfilename": path })).collect();
                let is_private = state.token.is_some() && !state.gated;
                let gated = if state.gated { json!("manual") } else { json!(false) };
                let mut info = json!({ "id": repository, "sha": commit, "siblings": siblings });
                // A mirror needs to say nothing of who may read.
                if !state.is_silent {
                    (info["gated"], info["private"]) = (gated, is_private.into());
                }
                Answer::json(&info)
            }
            ["tree", commit] if api && at(commit).is_some() => {
                // As a mirror would hand it on: the original's address.
                let upstream = state.links.as_deref().unwrap_or("https://huggingface.co");
                tree(at(commit).unwrap(), state.page, (&format!("{upstream}{path}"), query))
            }
            [commit, path @ ..] if !api && at(commit).is_some() => {
                let Some(file) = at(commit).unwrap().get(&decoded(&path.join("/"))) else {
                    return Answer::status(404, "x-error-code: EntryNotFound");
                };
                if state.leads_on && file.sha256.is_none() && !target.starts_with("/api/") {
                    // `location: /api/resolve-cache/models/…`, as huggingface/swift-transformers#209 has it,
                    // and as a mirror hands it on.
                    let path = path.join("/");
                    let to =
                        format!("/api/resolve-cache/models/{org}/{name}/{commit}/{path}?etag=1");
                    let mut answer = Answer::status(307, &format!("location: {to}"));
                    answer.headers.push(format!("x-repo-commit: {commit}"));
                    return answer;
                }
                let mut answer = if let Some(sha256) = &file.sha256 {
                    let to = format!("{}/{org}/{name}/{sha256}?signature=secret", self.cdn);
                    let mut answer = Answer::status(302, &format!("location: {to}"));
                    answer.headers.push(format!("x-linked-size: {}", file.content.size));
                    answer.headers.push(format!("x-linked-etag: \"{sha256}\""));
                    answer
                } else {
                    let mut answer = Answer::of(file.content.clone());
                    answer.headers.push(format!("etag: \"{}\"", file.git_blob));
                    answer
                };
                answer.headers.push(format!("x-repo-commit: {commit}"));
                answer
            }
            _ => Answer::status(404, "x-error-code: RevisionNotFound"),
        }
    }

    fn cdn_answer(&self, asked: &Asked) -> Answer {
        if !["GET", "HEAD"].contains(&&*asked.method) {
            return Answer::status(405, "");
        }
        // Signed addresses and a token together are an error of whoever asks.
        if asked.header("authorization").is_some() {
            return Answer::status(400, "x-double: a token");
        }
        let Some((path, "signature=secret")) = asked.target.split_once('?') else {
            return Answer::status(403, "");
        };
        let state = self.state();
        let wanted = path.rsplit('/').next();
        let all = state.repositories.values().chain(state.past.values());
        let all = all.flat_map(BTreeMap::values);
        let mut all = all.filter(|file| file.sha256.as_deref() == wanted);
        all.next().map_or(Answer::status(404, ""), |file| {
            let mut answer = Answer::of(file.content.clone());
            answer.headers.push("etag: \"d41d8cd98f00b204e9800998ecf8427e-3\"".to_owned());
            answer
        })
    }
}

/// A path without percent signs.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        if *first == b'%' {
            let digits = std::str::from_utf8(&rest[..2]).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn tree(files: &BTreeMap<String, File>, page: usize, (at, query): (&str, &str)) -> Answer {
    if !query.split('&').any(|pair| pair == "recursive=true") {
        return Answer::status(400, "x-error-message: the double lists recursively only");
    }
    let from = query.split('&').find_map(|pair| pair.strip_prefix("cursor=")?.parse().ok());
    let from: usize = from.unwrap_or(0);
    let entry = |(path, file): (&String, &File)| {
        let mut entry = json!({
            "type": "file", "oid": file.git_blob, "size": file.content.size, "path": path,
        });
        if let Some(sha256) = &file.sha256 {
            // Another hash, of another way to the same bytes.
            entry["xetHash"] = json!("e".repeat(64));
            entry["lfs"] = json!({ "oid": sha256, "size": file.content.size, "pointerSize": 134 });
        }
        entry
    };
    let mut entries: Vec<_> = files.iter().skip(from).take(page).map(entry).collect();
    if from == 0 {
        entries.push(json!({ "type": "directory", "oid": "0", "size": 0, "path": "dir" }));
    }
    let mut answer = Answer::json(&json!(entries));
    if from + page < files.len() {
        let next = format!("{at}?recursive=true&cursor={}", from + page);
        answer.headers.push(format!("link: <{next}>; rel=\"next\""));
    }
    answer
}
