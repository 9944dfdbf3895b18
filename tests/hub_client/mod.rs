//! The hub client, against a strict double that fails as it is told to.

use crate::support;

mod fetch;
mod kill;
mod revision;
mod volume;

use std::time::Duration;

use goatbuild::fetch::Patience;
use goatbuild::hub::{Hub, HubSettings, Token};
use support::hub::HubDouble;

/// The repository of every test.
const REPOSITORY: &str = "acme/tiny";

/// Long enough for loopback, short enough for tests.
fn patience() -> Patience {
    Patience {
        attempts: 3,
        first_wait: Duration::from_millis(5),
        longest_wait: Duration::from_secs(2),
        stall: Duration::from_millis(500),
    }
}

fn settings(endpoint: &str, token: Option<&str>) -> HubSettings {
    HubSettings {
        endpoint: endpoint.to_owned(),
        token: token.and_then(|token| Token::new(token, "HF_TOKEN")),
        caches: Vec::new(),
        offline: None,
    }
}

fn hub_with(double: &HubDouble, token: Option<&str>) -> Hub {
    Hub::new(settings(&double.url, token), false, patience()).unwrap()
}

fn hub_at(endpoint: &str) -> Hub {
    Hub::new(settings(endpoint, None), false, patience()).unwrap()
}

fn hub(double: &HubDouble) -> Hub {
    hub_at(&double.url)
}

/// The stable code of an error.
fn code(error: &dyn miette::Diagnostic) -> String {
    error.code().map(|code| code.to_string()).unwrap_or_default()
}

/// What an error says, and what it says to do.
fn said(error: &dyn miette::Diagnostic) -> String {
    let help = error.help().map(|help| help.to_string()).unwrap_or_default();
    format!("{error}; {help}")
}
