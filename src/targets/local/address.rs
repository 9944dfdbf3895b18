//! Where servers on this machine listen, and where they are asked.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::time::Instant;

use super::LocalError;
use crate::spec::{Located, Model};
use crate::step::StepError;

/// Where servers listen that nobody says anything of.
pub(super) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What local servers alone are told in `[serve]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Listening {
    /// The address.
    pub(super) host: Option<Located<IpAddr>>,
}

/// What `serve.host` can be.
pub(super) const HOST: &str = "an IP address of this machine, such as \"192.168.1.5\" or \"::1\"; \"0.0.0.0\" for all of \
     them; or \"localhost\". What other names mean depends on who asks";

/// Reads an address; `localhost` is the one that everybody has.
pub(super) fn read(text: &str) -> Option<IpAddr> {
    match text {
        "localhost" => Some(LOOPBACK),
        // One that stands for one of the other kind is listened on as that.
        text => Some(text.parse::<IpAddr>().ok()?.to_canonical()),
    }
}

/// Where a model's server listens.
pub(super) fn host(model: &Model) -> IpAddr {
    let listening = model.serve.own.get::<Listening>();
    listening.host.as_ref().map_or(LOOPBACK, |host| host.value)
}

/// Where a server is asked that listens on an address: nobody is at the one that stands for all of them.
fn asked(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => LOOPBACK,
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        host => host,
    }
}

/// The address and port as URLs and command lines write them.
pub(super) fn place(host: IpAddr, port: u16) -> String {
    match host {
        IpAddr::V4(host) => format!("{host}:{port}"),
        IpAddr::V6(host) => format!("[{host}]:{port}"),
    }
}

/// The address of a server on this machine.
pub(super) fn url(host: IpAddr, port: u16) -> String {
    format!("http://{}/v1", place(asked(host), port))
}

/// Whether no two servers can have the same port at these two. Linux takes the one that stands for all
/// addresses of IPv6 for all of IPv4, too.
pub(super) fn overlap(one: IpAddr, other: IpAddr) -> bool {
    let covers = |all: IpAddr, one: IpAddr| match all {
        IpAddr::V4(all) => all.is_unspecified() && one.is_ipv4(),
        IpAddr::V6(all) => all.is_unspecified(),
    };
    one == other || covers(one, other) || covers(other, one)
}

pub(super) fn is_taken(host: IpAddr, port: u16) -> bool {
    TcpListener::bind((host, port)).is_err_and(|error| !is_of_no_address(&error))
}

/// Whether this machine has no such address to listen on.
pub(super) fn is_elsewhere(host: IpAddr) -> bool {
    TcpListener::bind((host, 0)).is_err_and(|error| is_of_no_address(&error))
}

/// Where the system has no IPv6, it says so in words of its own.
fn is_of_no_address(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
}

/// A port that nobody has: one below those that systems give to connections that go out (from 32768 on by
/// Linux, from 49152 on by macOS), any of which could take it while its server is stopped.
pub(super) fn free_port(host: IpAddr) -> Result<u16, StepError> {
    const FIRST: u16 = 20_000;
    const LAST: u16 = 32_767;
    for _ in 0..64 {
        let port = FIRST + chance() % (LAST - FIRST + 1);
        if !is_taken(host, port) {
            return Ok(port);
        }
    }
    let failed = |source| LocalError::File { path: host.to_string().into(), source };
    let listener = TcpListener::bind((host, 0)).map_err(failed)?;
    Ok(listener.local_addr().map_err(failed)?.port())
}

fn chance() -> u16 {
    use std::hash::{BuildHasher as _, RandomState};
    let [first, second, ..] = RandomState::new().hash_one(Instant::now()).to_be_bytes();
    u16::from_be_bytes([first, second])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> IpAddr {
        read(text).unwrap_or_else(|| panic!("{text} is an address"))
    }

    /// What a client asks where a server listens on all addresses: RFC 1122, 3.2.1.3, and RFC 4291, 2.5.2,
    /// forbid both of those as destinations. In URLs, IPv6 is in brackets: RFC 3986, 3.2.2.
    #[test]
    fn a_server_is_asked_where_it_listens_and_through_loopback_where_that_is_everywhere() {
        for (listens, asked) in [
            ("localhost", "http://127.0.0.1:80/v1"),
            ("127.0.0.1", "http://127.0.0.1:80/v1"),
            ("127.8.0.1", "http://127.8.0.1:80/v1"),
            ("0.0.0.0", "http://127.0.0.1:80/v1"),
            ("::", "http://[::1]:80/v1"),
            ("::1", "http://[::1]:80/v1"),
            ("::ffff:127.0.0.1", "http://127.0.0.1:80/v1"),
            ("192.168.1.5", "http://192.168.1.5:80/v1"),
            ("2001:db8::5", "http://[2001:db8::5]:80/v1"),
        ] {
            assert_eq!(url(host(listens), 80), asked, "{listens}");
        }
        for wrong in ["", "[::1]", "box.local", "127.0.0.1:80", "127.1", "fe80::1%eth0", "*"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    /// What Linux says of the second of two servers: `bind(2)` with a port in use, and `ipv6(7)`,
    /// `IPV6_V6ONLY`, which is off unless `net.ipv6.bindv6only` says otherwise.
    #[test]
    fn two_servers_have_one_port_at_addresses_that_nothing_covers_both_of() {
        for (one, other, both) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "localhost", true),
            ("127.0.0.1", "0.0.0.0", true),
            ("::1", "::", true),
            ("127.0.0.1", "::", true),
            ("127.0.0.1", "::1", false),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0", "::1", false),
        ] {
            assert_eq!(overlap(host(one), host(other)), both, "{one} {other}");
            assert_eq!(overlap(host(other), host(one)), both, "{other} {one}");
            // So says the kernel that this runs on.
            let Ok(first) = TcpListener::bind((host(one), 0)) else { continue };
            let port = first.local_addr().expect("an address").port();
            if cfg!(target_os = "linux") && !is_elsewhere(host(other)) {
                assert_eq!(is_taken(host(other), port), both, "{one} {other}");
            }
        }
        assert!(is_elsewhere(host("192.0.2.1")) && !is_elsewhere(host("0.0.0.0")));
    }
}
