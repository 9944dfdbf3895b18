//! What doubles of HTTP servers share: they listen, read requests, remember them, and send answers,
//! which go wrong as a test plans it.

use std::io::{BufReader, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use goatbuild::digest::hex;
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
    /// Part of the path that it applies to, after the host's role.
    at: String,
    fault: Fault,
    times: usize,
}

/// A request that was answered.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// `hub/…` or `cdn/…`, say: the host's role and the path with its query.
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) token: Option<String>,
    /// Bytes of the body that were sent.
    pub(crate) sent: u64,
}

#[derive(Default)]
struct State {
    faults: Vec<Planned>,
    requests: Vec<Request>,
    /// So many of them don't count any more.
    forgotten: usize,
}

/// What a double is asked.
pub(crate) struct Asked {
    pub(crate) method: String,
    /// The path with its query.
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
    head: Vec<String>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The request that comes next on a connection; `None` at its end.
    fn read(reader: &mut impl std::io::BufRead) -> std::io::Result<Option<Self>> {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            head.push(line);
        }
        let mut words = head.first().map_or("", String::as_str).split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut asked = Self { method, target, body: Vec::new(), head };
        let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
        reader.take(length).read_to_end(&mut asked.body)?;
        Ok(Some(asked))
    }
}

/// The hosts of one double; their threads end with the process.
#[derive(Clone, Default)]
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
}

impl Server {
    /// A port of this address, and the URL that leads there.
    pub(crate) fn listen(address: &str) -> (TcpListener, String) {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (listener, url)
    }

    /// Answers whoever connects.
    pub(crate) fn serve<F>(&self, role: &'static str, listener: TcpListener, answer: F)
    where
        F: Fn(&Asked) -> Answer + Clone + Send + 'static,
    {
        let server = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (server, answer) = (server.clone(), answer.clone());
                std::thread::spawn(move || {
                    let _ = server.converse(role, &stream, answer);
                });
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Lets answers to paths that contain `at` go wrong, so many times.
    pub(crate) fn fault(&self, at: &str, times: usize, fault: Fault) {
        self.state().faults.push(Planned { at: at.to_owned(), fault, times });
    }

    pub(crate) fn clear_faults(&self) {
        self.state().faults.clear();
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
    fn converse(
        &self,
        role: &str,
        stream: &TcpStream,
        answer: impl Fn(&Asked) -> Answer,
    ) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(asked) = Asked::read(&mut reader)? {
            let path = format!("{role}{}", asked.target);
            let header = |name| asked.header(name).map(str::to_owned);
            let (token, range) = (header("authorization"), header("range"));
            let index = {
                let mut state = self.state();
                state.requests.push(Request {
                    method: asked.method.clone(),
                    path: path.clone(),
                    range: range.clone(),
                    token,
                    sent: 0,
                });
                state.requests.len() - 1
            };
            let fault = self.next_fault(&path);
            let mut answer = answer(&asked);
            let mut exchange = Exchange { server: self, index, stream, end: u64::MAX };
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
            exchange.answer(&answer, range.as_deref(), asked.method == "HEAD")?;
        }
        Ok(())
    }

    fn next_fault(&self, path: &str) -> Option<Fault> {
        let mut state = self.state();
        let planned =
            state.faults.iter_mut().find(|one| one.times > 0 && path.contains(&one.at))?;
        planned.times -= 1;
        Some(planned.fault.clone())
    }
}

/// An answer, before anything goes wrong with it.
pub(crate) struct Answer {
    status: u16,
    pub(crate) headers: Vec<String>,
    body: Content,
    ranges: bool,
    /// A range that is asked for is not one of the body.
    flip: Option<u64>,
    stall: bool,
    slow: Option<(usize, Duration)>,
}

impl Answer {
    pub(crate) fn of(body: Content) -> Self {
        let headers = Vec::new();
        let (ranges, flip, stall, slow) = (true, None, false, None);
        Self { status: 200, headers, body, ranges, flip, stall, slow }
    }

    pub(crate) fn json(value: &serde_json::Value) -> Self {
        let body = value.to_string().into_bytes();
        let size = body.len() as u64;
        Self::of(Content::repeated(body, size))
    }

    pub(crate) fn status(status: u16, headers: &str) -> Self {
        let headers = headers.lines().map(str::to_owned).collect();
        Self { status, headers, ..Self::of(Content::repeated(vec![0], 0)) }
    }
}

/// One request and its answer.
struct Exchange<'a> {
    server: &'a Server,
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
        let asked = range.filter(|_| answer.ranges && answer.status == 200).map(|range| {
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
        self.server.state().requests[self.index].sent += room as u64;
        if room < piece.len() { Err(std::io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}
