//! Redirects, and what is told of refusals, against servers that write down what they get.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver};

use super::*;
use crate::spec::Header;

/// A server that gives each request the next of these answers: status, headers and body.
fn server(answers: Vec<String>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, seen) = mpsc::channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut got, mut buffer) = (String::new(), [0; 4096]);
            while !got.contains("\r\n\r\n") {
                let read = stream.read(&mut buffer).unwrap();
                got.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
            stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).unwrap();
            let _ = sender.send(got.to_ascii_lowercase());
        }
    });
    (url, seen)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("{status}\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn protected(url: &str) -> Server {
    let header = Header { name: "Modal-Key", scheme: "", variable: "KEY".to_owned() };
    let credentials = Credentials::read("m", vec![header], |_| Some("wk-value".to_owned()));
    let base = format!("{url}/v1");
    Server::remote(&base, "m", Duration::from_secs(10), credentials.unwrap()).unwrap()
}

#[tokio::test]
async fn a_redirect_takes_credentials_nowhere_else() {
    let models = answer("200 OK", "", "{\"data\": [{\"id\": \"m\"}]}");
    let again = answer("303 See Other", "Location: /v1/models?again=1\r\n", "");
    let (url, seen) = server(vec![again, models.clone()]);
    assert_eq!(protected(&url).models().await.unwrap(), ["m"]);
    for request in ["get /v1/models http", "get /v1/models?again=1 http"] {
        let got = seen.recv().unwrap();
        assert!(got.starts_with(request) && got.contains("modal-key: wk-value"), "{got}");
    }
    let (elsewhere, asked) = server(vec![models]);
    let away = answer("303 See Other", &format!("Location: {elsewhere}/v1/models\r\n"), "");
    let (url, _seen) = server(vec![away]);
    let error = protected(&url).models().await.unwrap_err();
    assert!(matches!(error, ApiError::Refused { status: 303, .. }), "{error}");
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn what_a_server_repeats_of_a_value_is_not_told() {
    let (url, _seen) =
        server(vec![answer("500 Oh", "", "no wk-value here"), answer("401 No", "", "wk-value")]);
    let server = protected(&url);
    let error = server.models().await.unwrap_err();
    assert!(error.to_string().ends_with("no (hidden) here"), "{error}");
    let error = server.models().await.unwrap_err();
    assert!(error.to_string().ends_with("HTTP 401: not with the value of KEY"), "{error}");
}

#[tokio::test]
async fn a_server_is_at_fault_for_what_it_answers_and_not_for_the_way_there() {
    let of_the_server = |answers: &[(&str, &str)]| {
        let answers = answers.iter().map(|(status, body)| answer(status, "", body)).collect();
        let (url, _seen) = server(answers);
        let open = Server::local(&format!("{url}/v1"), "m", Duration::from_secs(10)).unwrap();
        async move { open.models().await.unwrap_err().is_of_the_server() }
    };
    assert!(of_the_server(&[("500 Internal Server Error", "")]).await);
    assert!(of_the_server(&[("401 Unauthorized", "")]).await, "nothing was sent that is wrong");
    assert!(of_the_server(&[("200 OK", "<html>")]).await);
    assert!(of_the_server(&[("503 Service Unavailable", "")]).await);
    assert!(!of_the_server(&[("429 Too Many Requests", "")]).await);
    assert!(!of_the_server(&[("407 Proxy Authentication Required", "")]).await);
    // What breaks off says nothing, unless it has said no before.
    for (status, at_fault) in [("200 OK", false), ("500 Internal Server Error", true)] {
        let broken = format!("{status}\r\nContent-Length: 99\r\n\r\n{{\"data\"");
        let (url, _seen) = server(vec![broken]);
        let open = Server::local(&format!("{url}/v1"), "m", Duration::from_secs(10)).unwrap();
        assert_eq!(open.models().await.unwrap_err().is_of_the_server(), at_fault, "{status}");
    }
    let (url, _seen) = server(vec![answer("403 Forbidden", "", "")]);
    assert!(!protected(&url).models().await.unwrap_err().is_of_the_server());

    let nobody = Server::local("http://127.0.0.1:9/v1", "m", Duration::from_secs(10)).unwrap();
    assert!(!nobody.models().await.unwrap_err().is_of_the_server());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/v1", silent.local_addr().unwrap());
    let slow = Server::local(&base, "m", Duration::from_millis(200)).unwrap();
    assert!(slow.models().await.unwrap_err().is_of_the_server(), "it had its time");
}

/// A server that answers every request with this head, and then with these bytes for as long as they are
/// read.
fn endless(head: &'static str, byte: u8) -> String {
    let body = vec![byte; 1 << 16];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let mut written = stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes());
            while written.is_ok() {
                written = stream.write_all(&body);
            }
        }
    });
    url
}

/// google/go-containerregistry#2204: bodies of answers, and of refusals, were read whole, however long.
#[tokio::test]
async fn of_an_answer_without_an_end_no_more_is_read_than_any_has() {
    let patience = Duration::from_secs(60);
    let url = endless("200 OK", b' ');
    let asked = Server::local(&url, "m", patience).unwrap();
    let told = |error: ApiError| miette::Diagnostic::code(&error).unwrap().to_string();
    assert_eq!(told(asked.models().await.unwrap_err()), "goatbuild::smoke::too_large");
    assert_eq!(told(asked.stream("m").await.unwrap_err()), "goatbuild::smoke::too_large");
    let url = endless("500 Internal Server Error", b'x');
    let refused = Server::local(&url, "m", patience).unwrap().models().await.unwrap_err();
    assert!(matches!(&refused, ApiError::Refused { status: 500, body, .. } if body.len() < 400));
    // Brackets in brackets are no list of models.
    let nested = answer("200 OK", "", &"[".repeat(100_000));
    let (url, _seen) = server(vec![nested]);
    let asked = Server::local(&format!("{url}/v1"), "m", patience).unwrap();
    assert_eq!(told(asked.models().await.unwrap_err()), "goatbuild::smoke::unexpected");
}

/// Who sends a byte now and then has as long as any other answer.
#[tokio::test]
async fn an_answer_that_drips_is_late() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // What answers before it was asked is not listened to.
        let mut asked = [0; 1024];
        assert!(stream.read(&mut asked).unwrap() > 0);
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
        let mut written = stream.write_all(head);
        while written.is_ok() {
            std::thread::sleep(Duration::from_millis(50));
            written = stream.write_all(b" ");
        }
    });
    let server = Server::local(&url, "m", Duration::from_millis(500)).unwrap();
    assert!(matches!(server.models().await.unwrap_err(), ApiError::Late { .. }));
}
