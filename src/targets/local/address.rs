//! Where servers on this machine listen, and where they are asked.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Instant;

use super::LocalError;
use crate::step::StepError;

/// The address of a server on this machine.
pub(super) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/v1")
}

pub(super) fn is_taken(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err()
}

/// A port that nobody has: one below those that systems give to connections that go out (from 32768 on by
/// Linux, from 49152 on by macOS), any of which could take it while its server is stopped.
pub(super) fn free_port() -> Result<u16, StepError> {
    const FIRST: u16 = 20_000;
    const LAST: u16 = 32_767;
    for _ in 0..64 {
        let port = FIRST + chance() % (LAST - FIRST + 1);
        if !is_taken(port) {
            return Ok(port);
        }
    }
    let failed = |source| LocalError::File { path: "127.0.0.1".into(), source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    Ok(listener.local_addr().map_err(failed)?.port())
}

fn chance() -> u16 {
    use std::hash::{BuildHasher as _, RandomState};
    let [first, second, ..] = RandomState::new().hash_one(Instant::now()).to_be_bytes();
    u16::from_be_bytes([first, second])
}
