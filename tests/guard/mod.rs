//! What asks for the key in front of an engine, run as it is by Python, against an engine that
//! writes down every byte it gets.

mod refused;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

const PART: &str = include_str!("../../src/targets/modal/runtime/guard.part.py");

/// What the program around it imports.
const IMPORTS: &str = "import asyncio, contextlib, ctypes, hashlib, hmac, json, os, re, socket, subprocess, sys\nfrom pathlib import Path\nMODEL = ";

struct Guard {
    child: Child,
    port: u16,
    /// What the engine was sent, one text for each connection.
    seen: Receiver<String>,
    _directory: tempfile::TempDir,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An engine that answers as soon as it has read `until`, with the pieces of its answer apart.
fn engine(until: &'static str) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, seen) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (sender, mut stream) = (sender.clone(), stream);
            std::thread::spawn(move || {
                let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                while !String::from_utf8_lossy(&got).contains(until) {
                    match stream.read(&mut buffer) {
                        Ok(0) | Err(_) => break,
                        Ok(read) => got.extend_from_slice(&buffer[..read]),
                    }
                }
                if got.is_empty() {
                    return; // it only looked whether somebody listens
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfirst ");
                std::thread::sleep(Duration::from_millis(300));
                // What comes behind a request that was answered.
                stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    got.extend_from_slice(&buffer[..read]);
                }
                let _ = stream.write_all(b"second");
                let _ = sender.send(String::from_utf8_lossy(&got).into_owned());
            });
        }
    });
    (port, seen)
}

impl Guard {
    fn start(until: &'static str) -> Self {
        let (engine_port, seen) = engine(until);
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("serve.py");
        let model = format!("{{'port': {port}, 'engine_port': {engine_port}, 'api_key': {{}}}}\n");
        std::fs::write(&program, format!("{IMPORTS}{model}{PART}")).unwrap();
        let mut child = Command::new("python3")
            .arg(&program)
            .arg("guard")
            .stdin(Stdio::piped())
            .spawn()
            .expect("python3");
        child.stdin.take().unwrap().write_all(b"key-one\nkey-two\n").unwrap();
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "it does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, port, seen, _directory: directory }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// The whole answer to these bytes.
    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn seen(&self) -> String {
        self.seen.recv_timeout(Duration::from_secs(10)).expect("the engine was asked")
    }
}

const KEY: &str = "Authorization: Bearer key-two\r\n";

#[test]
fn requests_with_a_key_reach_the_engine_without_it() {
    let guard = Guard::start("hello");
    let request = format!(
        "POST /v1/x?y=1 HTTP/1.1\r\nHost: a\r\n{KEY}Connection: keep-alive\r\nContent-Length: 5\r\n\r\nhello"
    );
    let answer = guard.ask(&request);
    assert!(answer.ends_with("\r\n\r\nfirst second"), "{answer}");
    let seen =
        "POST /v1/x?y=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    assert_eq!(guard.seen(), seen);
    // In chunks, and with the scheme in another spelling.
    let request = "POST / HTTP/1.1\r\nHost: a\r\nauthorization: bearer key-one\r\nTransfer-Encoding: chunked\r\n\r\n\
                   2;a=b\r\noh\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n";
    guard.ask(request);
    let seen = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                2\r\noh\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(guard.seen(), seen);
}

#[test]
fn requests_without_a_key_get_an_answer_of_their_own() {
    let guard = Guard::start("\r\n\r\n");
    let body = "x".repeat(200_000);
    for headers in [
        "",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer key-tw\r\n",
        "Authorization: Bearer key-two2\r\n",
        "Authorization: Bearer key-one key-two\r\n",
        "Authorization: Basic key-two\r\n",
        "X-Authorization: Bearer key-two\r\n",
        "Authorization: Bearer key-two\r\nAuthorization: Bearer key-two\r\n",
    ] {
        let request = format!(
            "POST /v1/x HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = guard.ask(&request);
        assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{headers}: {answer}");
        assert!(answer.contains("\"code\": \"invalid_api_key\""), "{answer}");
        assert!(!answer.contains("key-"), "{answer}");
    }
    for (path, status) in
        [("/health", 200), ("/health/", 401), ("/healthz", 401), ("/v1/models", 401)]
    {
        let answer = guard.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    assert!(guard.ask("POST /health HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 401 "));
    assert!(guard.seen().starts_with("GET /health HTTP/1.1\r\n"));
    assert!(guard.seen.try_recv().is_err(), "the engine saw more");
}

#[test]
fn no_second_request_hides_behind_a_first() {
    let guard = Guard::start("\r\n\r\n");
    let second = "GET /secret HTTP/1.1\r\n\r\n";
    for first in [
        format!("GET /health HTTP/1.1\r\nHost: a\r\n\r\n{second}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\n{KEY}Content-Length: 2\r\n\r\nhi{second}"),
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{KEY}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{second}"
        ),
    ] {
        guard.ask(&first);
        let seen = guard.seen();
        assert!(!seen.contains("secret"), "{seen}");
    }
    assert!(guard.seen.try_recv().is_err(), "the engine saw more");
}

#[test]
fn answers_come_as_the_engine_sends_them_and_end_with_the_client() {
    let guard = Guard::start("\r\n\r\n");
    let mut stream = guard.connect();
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: a\r\n{KEY}\r\n").as_bytes()).unwrap();
    let (mut got, mut buffer) = (String::new(), [0; 512]);
    while !got.contains("first ") {
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "{got}");
        got.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    assert!(!got.contains("second"), "it waited for all: {got}");
    stream.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    guard.seen();
}

#[test]
fn what_parsers_refuse_is_answered_and_never_reaches_the_engine_as_a_whole() {
    let guard = Guard::start("0\r\n\r\n");
    let answers = |request: &str, status: &str| {
        let answer = guard.ask(request);
        let is_told = answer.starts_with(&format!("HTTP/1.1 {status} "));
        assert!(is_told && answer.contains("\"message\""), "{request:?}: {answer:?}");
        assert!(!answer.contains("WWW-Authenticate"), "{answer}");
    };
    for (status, head, values) in refused::BY_PART {
        for value in values {
            let head = head.replace("{}", value);
            answers(&format!("POST / HTTP/1.1\r\nHost: a\r\n{KEY}{head}"), status);
        }
    }
    for (request, status) in refused::BY_HEAD {
        answers(request, status);
    }
    let digits = "9".repeat(5000);
    answers(&format!("POST / HTTP/1.1\r\nHost: a\r\n{KEY}Content-Length: {digits}\r\n\r\n"), "413");
    answers(&format!("GET / HTTP/1.1\r\nHost: a\r\n{KEY}X: {}\r\n\r\n", "y".repeat(70_000)), "431");
    answers(&format!("GET / HTTP/1.1\r\nHost: a\r\n{KEY}{}\r\n", "X: y\r\n".repeat(12_000)), "431");
    answers(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(70_000)), "414");
    // Of a body in chunks the engine had the head and what came before; never its end.
    while let Ok(seen) = guard.seen.try_recv() {
        assert!(seen.contains("chunked") && !seen.ends_with("0\r\n\r\n"), "{seen}");
    }
}

#[test]
fn what_parsers_accept_passes_unharmed() {
    let guard = Guard::start("\r\n\r\n");
    for (request, passed) in [
        // RFC 9112: 2.2, a line before the request; 3.2.2, the absolute form; 3.2.4, the asterisk.
        ("\r\nGET /x HTTP/1.1\r\nHost: a\r\n{}\r\n", "GET /x HTTP/1.1\r\nHost: a\r\n"),
        ("GET http://a/x HTTP/1.1\r\nHost: a\r\n{}\r\n", "GET http://a/x HTTP/1.1\r\nHost: a\r\n"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n{}\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n"),
        // curl -0, and what it would like.
        ("GET /x HTTP/1.0\r\n{}Connection: keep-alive\r\n\r\n", "GET /x HTTP/1.0\r\n"),
        // A body that the client asks about first.
        (
            "POST /x HTTP/1.1\r\nHost: a\r\n{}Expect: 100-continue\r\nContent-Length: 0\r\n\r\n",
            "POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n",
        ),
        // What is between two programs alone, and what says who asks.
        (
            "GET /x HTTP/1.1\r\nHost: a\r\n{}Connection: Upgrade\r\nUpgrade: websocket\r\nTE: trailers\r\n\
             Modal-Key: wk-1\r\nModal-Secret: ws-1\r\nX: \u{e4}\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: a\r\nX: \u{e4}\r\n",
        ),
        (
            "POST /x HTTP/1.1\r\nHost: a\r\n{}Content-Length: \t00 \r\n\r\n",
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: \t00 \r\n",
        ),
        // vLLM lets a browser ask whether it may ask.
        (
            "OPTIONS /v1/x HTTP/1.1\r\nHost: a\r\nOrigin: b\r\nAccess-Control-Request-Method: POST\r\n\r\n",
            "OPTIONS /v1/x HTTP/1.1\r\nHost: a\r\nOrigin: b\r\nAccess-Control-Request-Method: POST\r\n",
        ),
    ] {
        let answer = guard.ask(&request.replace("{}", KEY));
        assert!(answer.ends_with("first second"), "{request:?}: {answer}");
        assert_eq!(guard.seen(), format!("{passed}Connection: close\r\n\r\n"));
    }
    // What needs no key has no body; what has none of its own is answered without one.
    for (request, is_told) in [
        ("OPTIONS /v1/x HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("OPTIONS /v1/x HTTP/1.1\r\nHost: a\r\nOrigin: b\r\n\r\n", true),
        ("GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", true),
        ("HEAD /v1/x HTTP/1.1\r\nHost: a\r\n\r\n", false),
    ] {
        let answer = guard.ask(request);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{request:?}: {answer}");
        assert!(answer.contains("\r\nWWW-Authenticate: Bearer\r\n"), "{answer}");
        assert_eq!(answer.contains("invalid_api_key"), is_told, "{answer}");
    }
    assert!(guard.seen.try_recv().is_err(), "the engine saw more");
}

#[test]
fn clients_that_say_no_more_still_get_their_answer_and_those_that_left_hold_no_engine() {
    let guard = Guard::start("end");
    let asked = |request: &str| {
        let mut stream = guard.connect();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream
    };
    let answer = |mut stream: TcpStream| {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for version in ["1.0", "1.1"] {
        let head = format!("POST / HTTP/{version}\r\nHost: a\r\n{KEY}Content-Length: 3\r\n\r\n");
        let whole = answer(asked(&format!("{head}end")));
        assert!(whole.ends_with("first second"), "{version}: {whole}");
        assert!(guard.seen().ends_with("end"));
        let cut = answer(asked(&format!("{head}en")));
        assert!(cut.starts_with("HTTP/1.1 400 "), "{cut}");
        assert!(guard.seen().ends_with("\r\n\r\nen"));
    }
    let cut = answer(asked("GET /health HT"));
    assert!(cut.starts_with("HTTP/1.1 400 "), "{cut}");
    // This engine goes on to wait for `end`, for five seconds, unless its client is gone.
    let began = Instant::now();
    drop(asked(&format!("GET / HTTP/1.1\r\nHost: a\r\n{KEY}\r\n")));
    guard.seen();
    assert!(began.elapsed() < Duration::from_secs(4), "it worked for nobody");
}

#[cfg(target_os = "linux")]
#[test]
fn the_key_is_nowhere_where_an_engine_could_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("serve.py");
    let model = "{'port': 0, 'engine_port': 1, 'api_key': {'name': 's', 'variable': 'THE_KEY'}}\n";
    let start = "guard()\nprint(os.environ.get('THE_KEY'), flush=True)\nsys.stdin.read()\n";
    let main = "if sys.argv[1:] == ['guard']:\n    sys.exit()\n";
    let part = PART.split("\nif __name__").next().unwrap();
    std::fs::write(&program, format!("{IMPORTS}{model}{part}\n{main}{start}")).unwrap();
    let mut child = Command::new("python3")
        .arg(&program)
        .env("THE_KEY", "gbk-one gbk-two")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3");
    let mut told = [0; 4];
    child.stdout.as_mut().unwrap().read_exact(&mut told).unwrap();
    let environment = std::fs::read(format!("/proc/{}/environ", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert_eq!(&told, b"None");
    assert!(environment.contains("PATH=") && !environment.contains("gbk-"), "{environment}");
}
