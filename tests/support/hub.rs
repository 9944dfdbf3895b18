//! A double of a Hugging Face hub, of the other host that its files come from, and of a store of Xet's.
//!
//! It is strict: it knows few kinds of API calls and of files, counts every byte that it sends, and
//! refuses the hub's token anywhere but at the hub's own host, and the store's anywhere but there. It
//! fails as it is told to.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use goatbuild::fetch::hex;
use serde_json::json;
use sha1::Digest as _;

/// What a file holds: `block`, over and over, up to `size`.
#[derive(Clone)]
pub(crate) struct Content {
    block: Arc<Vec<u8>>,
    pub(crate) size: u64,
}

impl Content {
    pub(crate) fn repeated(mut block: Vec<u8>, size: u64) -> Self {
        if block.is_empty() {
            block.push(0);
        }
        Self { block: Arc::new(block), size }
    }

    /// Bytes of a file that look like nothing else's.
    pub(crate) fn noise(seed: u8, size: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(seed);
        // No block of a download's begins with the same bytes as another.
        let block = (0..size.clamp(1, (1 << 20) + 7)).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        });
        Self::repeated(block.collect(), size as u64)
    }

    /// The parts of the block that make up this range of the file.
    pub(crate) fn parts(&self, from: u64, to: u64) -> impl Iterator<Item = &[u8]> {
        let length = self.block.len() as u64;
        let mut at = from;
        std::iter::from_fn(move || {
            let start = usize::try_from(at % length).unwrap();
            let rest = usize::try_from(to.checked_sub(at).filter(|rest| *rest > 0)?).unwrap();
            let part = &self.block[start..self.block.len().min(start + rest)];
            at += part.len() as u64;
            Some(part)
        })
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.parts(0, self.size).flatten().copied().collect()
    }

    pub(crate) fn sha256(&self) -> String {
        let mut hasher = sha2::Sha256::default();
        for part in self.parts(0, self.size) {
            sha2::Digest::update(&mut hasher, part);
        }
        hex(&sha2::Digest::finalize(hasher))
    }

    pub(crate) fn git_blob(&self) -> String {
        let mut hasher = sha1::Sha1::new();
        hasher.update(format!("blob {}\0", self.size));
        for part in self.parts(0, self.size) {
            hasher.update(part);
        }
        hex(&hasher.finalize())
    }
}

/// A file as Xet keeps it.
#[derive(Clone)]
pub(crate) struct XetFile {
    pub(crate) hash: String,
    /// What the store says that it consists of, without the addresses.
    pub(crate) reconstruction: serde_json::Value,
    /// By their hashes.
    pub(crate) xorbs: BTreeMap<String, Content>,
}

/// What the hub gives for the store.
pub(crate) const XET_TOKEN: &str = "xet_thisIsTheStoresOwnSecret";

/// Until then, in seconds since 1970.
const XET_END: u32 = 4_000_000_000;

/// A file as the hub lists it.
#[derive(Clone)]
struct File {
    xet: Option<XetFile>,
    content: Content,
    /// Large ones are served by the other host, by their SHA-256.
    sha256: Option<String>,
    git_blob: String,
}

/// How an answer goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This status, with these headers, each a line.
    Status(u16, &'static str),
    /// The connection closes after so many bytes of the body.
    Truncate(u64),
    /// This byte of the file arrives with its bits turned.
    Flip(u64),
    /// A redirect to this address.
    Redirect(String),
    /// The head, and then nothing.
    Stall,
    /// The whole file, whatever range was asked, and without its length.
    IgnoreRange,
    /// The right bytes, but this header says otherwise.
    Header(&'static str, String),
    /// This body instead, as a good answer.
    Body(Vec<u8>),
    /// So many bytes each time, with a pause before each.
    Slow(usize, Duration),
}

struct Planned {
    /// Part of the path that it applies to, after `hub`, `cdn` or `store`.
    at: String,
    fault: Fault,
    times: usize,
}

/// A request that was answered.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `hub/…`, `cdn/…` or `store/…`: the host's role and the path with its query.
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) token: Option<String>,
    /// Bytes of the body that were sent.
    pub(crate) sent: u64,
}

#[derive(Default)]
struct State {
    repositories: BTreeMap<String, BTreeMap<String, File>>,
    /// Where the branches of a repository stand, if not where all begin.
    heads: BTreeMap<String, String>,
    /// What the commits before held.
    past: BTreeMap<(String, String), BTreeMap<String, File>>,
    faults: Vec<Planned>,
    requests: Vec<Request>,
    /// So many of them don't count any more.
    forgotten: usize,
    /// Entries per page of a tree.
    page: usize,
    /// Who may read; anybody without.
    token: Option<String>,
    gated: bool,
    /// The store, if it is not the double's own.
    store: Option<String>,
}

/// The running double; its threads end with the process.
#[derive(Clone)]
pub(crate) struct HubDouble {
    /// Of the hub itself.
    pub(crate) url: String,
    /// Of the host with the large files.
    cdn: String,
    store: String,
    state: Arc<Mutex<State>>,
}

/// The commit of everything, until a repository advances.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

impl HubDouble {
    pub(crate) fn start() -> Self {
        let hub = TcpListener::bind("127.0.0.1:0").unwrap();
        // Another host, not another port of the same one.
        let cdn = TcpListener::bind("127.0.0.2:0").unwrap();
        let store = TcpListener::bind("127.0.0.3:0").unwrap();
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let double = Self {
            url: address(&hub),
            cdn: address(&cdn),
            store: address(&store),
            state: Arc::new(Mutex::new(State { page: 1000, ..State::default() })),
        };
        for (role, listener) in [("hub", hub), ("cdn", cdn), ("store", store)] {
            let double = double.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let double = double.clone();
                    std::thread::spawn(move || {
                        let _ = double.converse(role, &stream);
                    });
                }
            });
        }
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

    /// Lets Xet keep a large file, too.
    pub(crate) fn xet(&self, repository: &str, path: &str, xet: XetFile) {
        let mut state = self.state();
        let files = state.repositories.get_mut(repository).unwrap();
        files.get_mut(path).unwrap().xet = Some(xet);
    }

    /// Lets the hub name another store.
    pub(crate) fn store_at(&self, url: &str) {
        self.state().store = Some(url.to_owned());
    }

    fn put(&self, repository: &str, path: &str, content: &Content, large: bool) {
        let file = File {
            xet: None,
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

    /// Lets answers to paths that contain `at` go wrong, so many times.
    pub(crate) fn fault(&self, at: &str, times: usize, fault: Fault) {
        self.state().faults.push(Planned { at: at.to_owned(), fault, times });
    }

    pub(crate) fn clear_faults(&self) {
        self.state().faults.clear();
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

    pub(crate) fn requests(&self) -> Vec<Request> {
        let state = self.state();
        state.requests[state.forgotten..].to_vec()
    }

    pub(crate) fn forget_requests(&self) {
        let mut state = self.state();
        state.forgotten = state.requests.len();
    }

    /// Bytes of bodies that were sent to answer paths that contain `at`.
    pub(crate) fn sent(&self, at: &str) -> u64 {
        self.requests().iter().filter(|one| one.path.contains(at)).map(|one| one.sent).sum()
    }

    /// Answers one request after the other.
    fn converse(&self, role: &str, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                let line = line.trim_end().to_owned();
                if line.is_empty() {
                    break;
                }
                head.push(line);
            }
            let mut words = head.first().map_or("", String::as_str).split(' ');
            let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let header = |name: &str| {
                head.iter().skip(1).find_map(|line| {
                    let (found, value) = line.split_once(':')?;
                    found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
                })
            };
            let path = format!("{role}{target}");
            let token = header("authorization");
            let range = header("range");
            let index = {
                let mut state = self.state();
                let token = token.clone();
                state.requests.push(Request {
                    path: path.clone(),
                    range: range.clone(),
                    token,
                    sent: 0,
                });
                state.requests.len() - 1
            };
            let fault = self.next_fault(&path);
            let mut answer = match role {
                _ if !["GET", "HEAD"].contains(&method) => Answer::status(405, ""),
                "hub" => self.hub_answer(target, token.as_deref()),
                "store" => self.store_answer(target, token.as_deref(), range.as_deref()),
                _ if target.starts_with("/xorbs/") => {
                    self.xorb_answer(target, token.as_deref(), range.as_deref())
                }
                // Signed addresses and a token together are an error of whoever asks.
                _ if token.is_some() => Answer::status(400, "x-double: a token"),
                _ => self.cdn_answer(target),
            };
            let mut exchange = Exchange { double: self, index, stream, end: u64::MAX };
            match fault {
                Some(Fault::Status(status, headers)) => answer = Answer::status(status, headers),
                Some(Fault::Redirect(to)) => {
                    answer = Answer::status(302, &format!("location: {to}"));
                }
                Some(Fault::Truncate(after)) => exchange.end = after,
                Some(Fault::Flip(at)) => answer.flip = Some(at),
                Some(Fault::Stall) => answer.stall = true,
                Some(Fault::IgnoreRange) => answer.ranges = false,
                Some(Fault::Header(name, value)) => {
                    answer.headers.retain(|line| !line.starts_with(name));
                    answer.headers.push(format!("{name}: {value}"));
                }
                Some(Fault::Body(body)) => {
                    answer.body = Content::repeated(body.clone(), body.len() as u64);
                }
                Some(Fault::Slow(bytes, pause)) => answer.slow = Some((bytes, pause)),
                None => {}
            }
            exchange.answer(&answer, range.as_deref(), method == "HEAD")?;
        }
    }

    fn next_fault(&self, path: &str) -> Option<Fault> {
        let mut state = self.state();
        let planned =
            state.faults.iter_mut().find(|one| one.times > 0 && path.contains(&one.at))?;
        planned.times -= 1;
        Some(planned.fault.clone())
    }

    fn hub_answer(&self, target: &str, token: Option<&str>) -> Answer {
        let state = self.state();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (api, org, name, rest) = match &parts[..] {
            ["api", "models", org, name, rest @ ..] => (true, *org, *name, rest),
            [org, name, "resolve", rest @ ..] => (false, *org, *name, rest),
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
        let stands_for = |revision: &str| match revision {
            "main" | "refs%2Fpr%2F1" => Some(head.to_owned()),
            commit => at(commit).map(|_| commit.to_owned()),
        };
        match rest {
            [] if api => Answer::json(&json!({ "id": repository, "sha": head })),
            ["revision", revision] if api && stands_for(revision).is_some() => {
                let commit = stands_for(revision);
                let files = at(commit.as_deref().unwrap()).unwrap();
                let siblings: Vec<_> =
                    files.keys().map(|path| json!({ "rfilename": path })).collect();
                Answer::json(&json!({ "id": repository, "sha": commit, "siblings": siblings }))
            }
            ["xet-read-token", commit] if api && at(commit).is_some() => {
                let store = state.store.as_ref().unwrap_or(&self.store);
                let given = json!({ "accessToken": XET_TOKEN, "exp": XET_END, "casUrl": store });
                let mut answer = Answer::json(&given);
                // Hugging Face's own client reads these.
                answer.headers.push(format!("x-xet-cas-url: {store}"));
                answer.headers.push(format!("x-xet-access-token: {XET_TOKEN}"));
                answer.headers.push(format!("x-xet-token-expiration: {XET_END}"));
                answer
            }
            ["tree", commit] if api && at(commit).is_some() => {
                tree(at(commit).unwrap(), state.page, path, query)
            }
            [commit, path @ ..] if !api && at(commit).is_some() => {
                let path = path.join("/").replace("%20", " ");
                let Some(file) = at(commit).unwrap().get(&path) else {
                    return Answer::status(404, "x-error-code: EntryNotFound");
                };
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
                if let Some(xet) = &file.xet {
                    let at =
                        format!("{}/api/models/{repository}/xet-read-token/{commit}", self.url);
                    answer.headers.push(format!("x-xet-hash: {}", xet.hash));
                    answer.headers.push(format!("link: <{at}>; rel=\"xet-auth\""));
                }
                answer.headers.push(format!("x-repo-commit: {commit}"));
                answer
            }
            _ => Answer::status(404, "x-error-code: RevisionNotFound"),
        }
    }

    fn xet_files(&self) -> Vec<XetFile> {
        let state = self.state();
        let files = state.repositories.values().flat_map(BTreeMap::values);
        files.filter_map(|file| file.xet.clone()).collect()
    }

    /// What a whole file consists of.
    fn store_answer(&self, target: &str, token: Option<&str>, range: Option<&str>) -> Answer {
        if token.and_then(|token| token.strip_prefix("Bearer ")) != Some(XET_TOKEN) {
            return Answer::status(401, "");
        }
        let files = self.xet_files();
        let hash = target.strip_prefix("/v1/reconstructions/");
        let file = files.into_iter().find(|file| Some(&*file.hash) == hash);
        let Some(XetFile { mut reconstruction, .. }) = file else { return Answer::status(404, "") };
        let terms = reconstruction["terms"].as_array().unwrap().iter();
        let size: u64 = terms.map(|term| term["unpacked_length"].as_u64().unwrap()).sum();
        let asked = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let asked =
            asked.map(|(from, to)| (from.parse::<u64>().unwrap(), to.parse::<u64>().unwrap()));
        match asked {
            Some((from, _)) if from >= size => return Answer::status(416, ""),
            Some((from, to)) if from > 0 || to + 1 < size => {
                return Answer::status(400, "x-double: of whole files only");
            }
            _ => {}
        }
        for (xorb, sources) in reconstruction["fetch_info"].as_object_mut().unwrap() {
            for source in sources.as_array_mut().unwrap() {
                source["url"] = format!("{}/xorbs/{xorb}?signature=secret", self.cdn).into();
            }
        }
        Answer { whole: true, ..Answer::json(&reconstruction) }
    }

    /// A part of a xorb, as it was signed.
    fn xorb_answer(&self, target: &str, token: Option<&str>, range: Option<&str>) -> Answer {
        let signed = |file: &XetFile, hash: &str| {
            let sources = file.reconstruction["fetch_info"][hash].as_array().cloned();
            sources.into_iter().flatten().any(|source| {
                let (from, to) = (&source["url_range"]["start"], &source["url_range"]["end"]);
                range == Some(&*format!("bytes={from}-{to}"))
            })
        };
        let hash =
            target.strip_prefix("/xorbs/").and_then(|it| it.strip_suffix("?signature=secret"));
        let Some(hash) = hash.filter(|_| token.is_none()) else { return Answer::status(400, "") };
        let files = self.xet_files();
        match files.iter().find(|file| signed(file, hash)) {
            Some(file) => Answer::of(file.xorbs[hash].clone()),
            None => Answer::status(403, ""),
        }
    }

    fn cdn_answer(&self, target: &str) -> Answer {
        let Some((path, "signature=secret")) = target.split_once('?') else {
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

fn tree(files: &BTreeMap<String, File>, page: usize, path: &str, query: &str) -> Answer {
    if !query.split('&').any(|pair| pair == "recursive=true") {
        return Answer::status(400, "x-error-message: the double lists recursively only");
    }
    let from = query.split('&').find_map(|pair| pair.strip_prefix("cursor=")?.parse().ok());
    let from: usize = from.unwrap_or(0);
    let entry = |(path, file): (&String, &File)| {
        let mut entry = json!({
            "type": "file", "oid": file.git_blob, "size": file.content.size, "path": path,
        });
        if let Some(xet) = &file.xet {
            entry["xetHash"] = json!(xet.hash);
        }
        if let Some(sha256) = &file.sha256 {
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
        // As a mirror would hand it on: the original's address.
        let next = format!("https://huggingface.co{path}?recursive=true&cursor={}", from + page);
        answer.headers.push(format!("link: <{next}>; rel=\"next\""));
    }
    answer
}

struct Answer {
    status: u16,
    headers: Vec<String>,
    body: Content,
    ranges: bool,
    /// The range is not one of the body's.
    whole: bool,
    flip: Option<u64>,
    stall: bool,
    slow: Option<(usize, Duration)>,
}

impl Answer {
    fn of(body: Content) -> Self {
        let headers = Vec::new();
        Self {
            status: 200,
            headers,
            body,
            ranges: true,
            whole: false,
            flip: None,
            stall: false,
            slow: None,
        }
    }

    fn json(value: &serde_json::Value) -> Self {
        let body = value.to_string().into_bytes();
        let size = body.len() as u64;
        Self::of(Content::repeated(body, size))
    }

    fn status(status: u16, headers: &str) -> Self {
        let headers = headers.lines().map(str::to_owned).collect();
        Self { status, headers, ..Self::of(Content::repeated(vec![0], 0)) }
    }
}

/// One request and its answer.
struct Exchange<'a> {
    double: &'a HubDouble,
    index: usize,
    stream: &'a TcpStream,
    /// The connection closes after so many bytes of the body.
    end: u64,
}

impl Exchange<'_> {
    fn answer(
        &mut self,
        answer: &Answer,
        range: Option<&str>,
        head_only: bool,
    ) -> std::io::Result<()> {
        let size = answer.body.size;
        let asked =
            range.filter(|_| answer.ranges && !answer.whole && answer.status == 200).map(|range| {
                let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                (from.parse::<u64>().unwrap(), to.parse().map_or(size, |to: u64| size.min(to + 1)))
            });
        let (first, from, to) = match asked {
            Some((from, to)) if from < to => {
                let range = format!("content-range: bytes {from}-{}/{size}", to - 1);
                (format!("206 Part\r\n{range}"), from, to)
            }
            Some(_) => ("416 Range".to_owned(), 0, 0),
            None => (format!("{} Told", answer.status), 0, size),
        };
        let mut lines = vec![format!("HTTP/1.1 {first}")];
        lines.extend_from_slice(&answer.headers);
        // Without a length, the body lasts as long as the connection.
        lines.push(if answer.ranges {
            format!("content-length: {}", to - from)
        } else {
            "connection: close".to_owned()
        });
        let head = lines.join("\r\n") + "\r\n\r\n";
        self.stream.write_all(head.as_bytes())?;
        if head_only {
            return Ok(());
        }
        if answer.stall {
            std::thread::sleep(Duration::from_secs(60));
        }
        let mut at = from;
        for part in answer.body.parts(from, to) {
            let piece = answer.slow.map_or(part.len().max(1), |(bytes, _)| bytes);
            for piece in part.chunks(piece) {
                if let Some((_, pause)) = answer.slow {
                    std::thread::sleep(pause);
                }
                self.send(piece, at, answer.flip)?;
                at += piece.len() as u64;
            }
        }
        if answer.ranges { Ok(()) } else { Err(std::io::ErrorKind::ConnectionAborted.into()) }
    }

    fn send(&mut self, piece: &[u8], at: u64, flip: Option<u64>) -> std::io::Result<()> {
        let room = usize::try_from(self.end).unwrap_or(usize::MAX).min(piece.len());
        let turned = flip.and_then(|flip| usize::try_from(flip.checked_sub(at)?).ok());
        match turned.filter(|turned| *turned < room) {
            Some(turned) => {
                let mut piece = piece[..room].to_vec();
                piece[turned] = !piece[turned];
                self.stream.write_all(&piece)?;
            }
            None => self.stream.write_all(&piece[..room])?,
        }
        self.end -= room as u64;
        self.double.state().requests[self.index].sent += room as u64;
        if room < piece.len() { Err(std::io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}
