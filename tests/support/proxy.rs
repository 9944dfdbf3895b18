//! A proxy for HTTP `CONNECT`, which leads where it is asked to, or refuses.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The running proxy; its threads end with the process.
pub(crate) struct Proxy {
    pub(crate) url: String,
    led: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// One that answers every request with this status; with 200, it leads on.
    pub(crate) fn start(status: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let led = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&led);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = Arc::clone(&asked);
                std::thread::spawn(move || lead(stream, status, &asked));
            }
        });
        Self { url, led }
    }

    /// Where it was asked to lead, as `host:port`, each time.
    pub(crate) fn led(&self) -> Vec<String> {
        self.led.lock().expect("the list").clone()
    }
}

fn lead(mut client: TcpStream, status: u16, led: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let to = line.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    while line.trim_end() != "" {
        line.clear();
        reader.read_line(&mut line).ok()?;
    }
    led.lock().expect("the list").push(to.clone());
    let head = format!("HTTP/1.1 {status} Told\r\n\r\n");
    let server = (status == 200).then(|| TcpStream::connect(&to).ok()).flatten();
    client.write_all(head.as_bytes()).ok()?;
    let server = server?;
    let (mut up, mut back) = (server.try_clone().ok()?, client.try_clone().ok()?);
    let answers = std::thread::spawn(move || {
        let mut server = server;
        let _ = std::io::copy(&mut server, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut reader, &mut up);
    let _ = up.shutdown(Shutdown::Both);
    answers.join().ok()
}
