//! A double of the servers that packages come from, which fails as it is told.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One answer.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Body(Vec<u8>),
    /// A status, and seconds of `Retry-After`.
    Status(u16, Option<u64>),
    /// Announces the whole body and closes after so many bytes.
    Truncated(Vec<u8>, usize),
    /// Sends nothing at all.
    Silent,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Vec<Answer>>,
    otherwise: Option<Answer>,
    requests: Vec<(String, Instant)>,
}

/// A running server on loopback; it ends with the test process.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State::default()));
        let server = Self { port, state: Arc::clone(&state) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        server
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Sets the answers of a path, in order; the last one is given again and again.
    pub(crate) fn on(&self, path: &str, answers: impl Into<Vec<Answer>>) {
        self.state.lock().expect("a lock").answers.insert(path.to_owned(), answers.into());
    }

    /// Sets the answer of every other path, which is 404 without.
    pub(crate) fn otherwise(&self, answer: Answer) {
        self.state.lock().expect("a lock").otherwise = Some(answer);
    }

    /// When a path was asked for.
    pub(crate) fn requests(&self, path: &str) -> Vec<Instant> {
        let state = self.state.lock().expect("a lock");
        state.requests.iter().filter(|(asked, _)| asked == path).map(|(_, at)| *at).collect()
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    let _ = reader.read_line(&mut request);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        line.clear();
    }
    let Some(path) = request.split(' ').nth(1) else { return };
    let path = path.split('?').next().unwrap_or(path);
    let answer = {
        let mut state = state.lock().expect("a lock");
        state.requests.push((path.to_owned(), Instant::now()));
        let otherwise = state.otherwise.clone();
        match state.answers.get_mut(path) {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
            None => otherwise.unwrap_or(Answer::Status(404, None)),
        }
    };
    let mut stream = reader.into_inner();
    let (status, retry, body, sent) = match answer {
        Answer::Body(body) => (200, None, body.clone(), body.len()),
        Answer::Status(status, retry) => (status, retry, Vec::new(), 0),
        Answer::Truncated(body, sent) => (200, None, body, sent),
        Answer::Silent => {
            std::thread::sleep(Duration::from_secs(60));
            return;
        }
    };
    let retry = retry.map(|retry| format!("Retry-After: {retry}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{retry}Content-Type: text/html\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..sent]));
}
