//! A double of an HTTP server that answers as it is told, fault by fault.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// One answer.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// The whole body, or the asked range of it.
    Whole(Vec<u8>),
    /// The whole body, whatever range was asked.
    NoRanges(Vec<u8>),
    /// Announces the whole body (or range), but closes after so many bytes of it.
    Truncated(Vec<u8>, usize),
    /// The whole body, sent in so many pieces with a pause before each.
    Slow(Vec<u8>, usize, Duration),
    /// Sends the head and then nothing.
    Stalled,
    /// Sends a head that comes to no end.
    DrippingHead,
    /// An error with this status, and seconds of `Retry-After`.
    Status(u16, Option<u64>),
}

#[derive(Default)]
struct State {
    /// Answers by path; the last one is given again and again.
    answers: HashMap<String, Vec<Answer>>,
    /// Each request: its path and `Range`.
    requests: Vec<(String, Option<String>)>,
    /// How many bytes of bodies went out.
    sent: HashMap<String, usize>,
}

/// A running server on loopback.
#[derive(Clone)]
pub(crate) struct Server {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// Starts it; it ends with the test's runtime.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let server = Self { url, state: Arc::clone(&state) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    let _ = serve(stream, &state).await;
                });
            }
        });
        server
    }

    /// Answers requests for `path` with these, one after the other; returns the URL.
    pub(crate) fn on(&self, path: &str, answers: Vec<Answer>) -> String {
        self.state.lock().unwrap().answers.insert(path.to_owned(), answers);
        format!("{}{path}", self.url)
    }

    /// The `Range` of every request for `path`, in order.
    pub(crate) fn ranges(&self, path: &str) -> Vec<Option<String>> {
        let state = self.state.lock().unwrap();
        let of_path = state.requests.iter().filter(|(asked, _)| asked == path);
        of_path.map(|(_, range)| range.clone()).collect()
    }
}

impl Server {
    /// How many bytes of the bodies of a path went out.
    pub(crate) fn sent(&self, path: &str) -> usize {
        self.state.lock().unwrap().sent.get(path).copied().unwrap_or(0)
    }
}

async fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let range = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("range").then(|| value.to_owned())
    });
    let from = range.as_deref().and_then(|range| {
        let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()))
    });
    let answer = {
        let mut state = state.lock().unwrap();
        state.requests.push((path.clone(), range));
        match state.answers.get_mut(&path) {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
            None => Answer::Status(404, None),
        }
    };
    match answer {
        Answer::Whole(body) => {
            let body = ranged_head(&mut stream, &body, from).await?;
            write_body(&mut stream, &path, &body, state).await?;
        }
        Answer::NoRanges(body) => {
            ranged_head(&mut stream, &body, None).await?;
            write_body(&mut stream, &path, &body, state).await?;
        }
        Answer::Truncated(body, sent) => {
            let body = ranged_head(&mut stream, &body, from).await?;
            stream.write_all(&body[..sent.min(body.len())]).await?;
        }
        Answer::Slow(body, pieces, pause) => {
            let body = ranged_head(&mut stream, &body, from).await?;
            for piece in body.chunks(body.len().div_ceil(pieces).max(1)) {
                tokio::time::sleep(pause).await;
                stream.write_all(piece).await?;
            }
        }
        Answer::Stalled => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await?;
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        Answer::DrippingHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx-drip: ").await?;
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                stream.write_all(b"x").await?;
            }
        }
        Answer::Status(status, retry_after) => {
            let wait =
                retry_after.map(|wait| format!("retry-after: {wait}\r\n")).unwrap_or_default();
            let head = format!(
                "HTTP/1.1 {status} Told\r\n{wait}content-length: 0\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await?;
        }
    }
    stream.shutdown().await
}

async fn write_body(
    stream: &mut TcpStream,
    path: &str,
    body: &[u8],
    state: &Mutex<State>,
) -> std::io::Result<()> {
    for piece in body.chunks(1 << 14) {
        stream.write_all(piece).await?;
        // Whoever has enough can say so, before the network has taken all of it.
        tokio::time::sleep(Duration::from_millis(1)).await;
        *state.lock().unwrap().sent.entry(path.to_owned()).or_default() += piece.len();
    }
    Ok(())
}

/// Writes the head for a body, or for its part from `from`; returns what has to follow.
async fn ranged_head(
    stream: &mut TcpStream,
    body: &[u8],
    from: Option<(usize, Option<usize>)>,
) -> std::io::Result<Vec<u8>> {
    let total = body.len();
    let (status, range, rest) = match from {
        None => ("200 OK", String::new(), body),
        Some((from, to)) if from < total => {
            let end = to.map_or(total, |to| total.min(to + 1));
            let range = format!("content-range: bytes {from}-{}/{total}\r\n", end - 1);
            ("206 Partial Content", range, &body[from..end])
        }
        Some(_) => ("416 Range Not Satisfiable", String::new(), &body[..0]),
    };
    let length = rest.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{range}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    Ok(rest.to_vec())
}
