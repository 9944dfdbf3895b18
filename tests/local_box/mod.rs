//! A machine that serves others: addresses that they reach, keys that they need, GPUs that are shared out.
#![cfg(target_os = "linux")]

mod address;
mod guard;
mod key;

use crate::support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use support::project::Project;

const SPEC: &str = "specs/tiny.toml";

/// What one request is answered with: the status, as far as there is an answer.
fn status(address: &str, line: &str, key: Option<&str>) -> Option<u16> {
    let address: SocketAddr = address.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    let request =
        format!("{line} HTTP/1.0\r\nHost: {address}\r\n{key}Content-Length: 2\r\n\r\n{{}}");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

const MODELS: &str = "GET /v1/models";

const KEY: &str = "hush-3b7e90-key";

/// Has models ask for the key in this variable, which commands get.
fn with_key(project: &mut Project) {
    project.variable("GOAT_KEY", KEY);
    let text = project.read("goatbuild.toml");
    let text = text.replace("[target.local]\n", "[target.local]\napi-key-secret = \"key\"\n");
    project.write(
        "goatbuild.toml",
        &format!("{text}\n[secrets.key]\nfrom = {{ env = \"GOAT_KEY\" }}\ngeneration = 1\n"),
    );
}

/// Says this in `[serve]` of the model.
fn serve(project: &Project, lines: &str) {
    let spec = project.read(SPEC);
    let spec = spec.split("\n[serve]").next().unwrap_or_default().trim_end().to_owned();
    project.write(SPEC, &format!("{spec}\n\n[serve]\n{lines}\n"));
}
