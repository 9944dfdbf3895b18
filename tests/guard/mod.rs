//! What asks for the key in front of an engine, run as it is by Python, against an engine that
//! writes down every byte it gets.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

const PART: &str = include_str!("../../src/targets/modal/runtime/guard.part.py");

/// What the program around it imports.
const IMPORTS: &str =
    "import asyncio, contextlib, hashlib, hmac, json, os, re, subprocess, sys\nMODEL = ";

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
    let request = "POST / HTTP/1.1\r\nauthorization: bearer key-one\r\nTransfer-Encoding: chunked\r\n\r\n\
                   2;a=b\r\noh\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n";
    guard.ask(request);
    let seen = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
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
        let request =
            format!("POST /v1/x HTTP/1.1\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
        let answer = guard.ask(&request);
        assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{headers}: {answer}");
        assert!(answer.contains("\"code\": \"invalid_api_key\""), "{answer}");
        assert!(!answer.contains("key-"), "{answer}");
    }
    for (path, status) in
        [("/health", 200), ("/health/", 401), ("/healthz", 401), ("/v1/models", 401)]
    {
        let answer = guard.ask(&format!("GET {path} HTTP/1.1\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    assert!(guard.ask("POST /health HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 401 "));
    assert!(guard.seen().starts_with("GET /health HTTP/1.1\r\n"));
    assert!(guard.seen.try_recv().is_err(), "the engine saw more");
}

#[test]
fn no_second_request_hides_behind_a_first() {
    let guard = Guard::start("\r\n\r\n");
    let second = "GET /secret HTTP/1.1\r\n\r\n";
    for first in [
        format!("GET /health HTTP/1.1\r\n\r\n{second}"),
        format!("POST / HTTP/1.1\r\n{KEY}Content-Length: 2\r\n\r\nhi{second}"),
        format!("POST / HTTP/1.1\r\n{KEY}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{second}"),
    ] {
        guard.ask(&first);
        let seen = guard.seen();
        assert!(!seen.contains("secret"), "{seen}");
    }
    for head in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: +2\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "nothing\r\n",
    ] {
        let answer = guard.ask(&format!("POST / HTTP/1.1\r\n{KEY}{head}\r\nhi"));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer}");
    }
    for first in
        ["GET /health", "GET  / HTTP/1.1", "GET /health\nX: y HTTP/1.1", "GET /he\tx HTTP/1.1"]
    {
        let answer = guard.ask(&format!("{first}\r\n{KEY}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{first:?}: {answer}");
    }
    let long = format!("GET / HTTP/1.1\r\n{KEY}X: {}\r\n\r\n", "y".repeat(70_000));
    assert!(guard.ask(&long).starts_with("HTTP/1.1 431 "));
    assert!(guard.seen.try_recv().is_err(), "the engine saw more");
}

#[test]
fn answers_come_as_the_engine_sends_them_and_end_with_the_client() {
    let guard = Guard::start("\r\n\r\n");
    let mut stream = guard.connect();
    stream.write_all(format!("GET / HTTP/1.1\r\n{KEY}\r\n").as_bytes()).unwrap();
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
