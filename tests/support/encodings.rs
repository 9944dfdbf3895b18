//! The vocabulary of gpt-oss as it is published, behind a server of a test's own.

use std::ops::Deref;
use std::path::PathBuf;

use super::double::{Answer, Content, Server};
use super::peers;

/// What it is called where it is published.
pub(crate) const NAME: &str = "o200k_base.tiktoken";

/// The running server; its threads end with the process.
pub(crate) struct Encodings {
    /// The address of the directory.
    pub(crate) url: String,
    server: Server,
}

impl Deref for Encodings {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// The file: this crate carries it along.
fn published() -> Option<PathBuf> {
    let source = peers::crate_source("tiktoken-rs", "0.7.0")?;
    Some(source.join("assets").join(NAME))
}

impl Encodings {
    /// `None`, loudly, when the file can't be had.
    pub(crate) fn start() -> Option<Self> {
        let bytes = std::fs::read(published()?).expect("the vocabulary");
        let size = bytes.len() as u64;
        let content = Content::repeated(bytes, size);
        let (listener, url) = Server::listen("127.0.0.1");
        let server = Server::default();
        server.serve("encodings", listener, move |asked| {
            match asked.target.strip_prefix("/encodings/") {
                Some(NAME) => Answer::of(content.clone()),
                _ => Answer::status(404, ""),
            }
        });
        Some(Self { url: format!("{url}/encodings"), server })
    }
}
