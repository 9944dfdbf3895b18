//! Passwords and tokens: whatever happens, they are in memory alone.

use serde_json::json;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::faulty::Faulty;
use super::support::double::Fault;
use super::support::registry::{PASSWORD, USER};
use super::support::registry_double::{Door, IDENTITY, TOKEN};
use super::{configured, entry, nowhere};

/// Docker's entry of a user whose login was exchanged for an identity.
fn identity(host: &str) -> serde_json::Value {
    let nobody = STANDARD.encode("00000000-0000-0000-0000-000000000000:");
    json!({ "auths": { host: { "auth": nobody, "identitytoken": IDENTITY } } })
}

#[test]
fn no_file_message_or_trace_holds_a_password_or_token() {
    let both = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let secrets = [PASSWORD, &both, IDENTITY, TOKEN];
    for with_password in [true, false] {
        let Some(mut faulty) = Faulty::new(Door::Bearer) else { return };
        let host = faulty.double.host.clone();
        let config = if with_password { entry(&host, PASSWORD) } else { identity(&host) };
        configured(&mut faulty.project, &config);
        // By its tag, so that locking asks, too.
        faulty.base(":1");
        let large = faulty.large();
        let mut said = String::new();
        let mut run = |arguments: &str, code: i32| {
            let ran = faulty.project.run(arguments).exits(code);
            said.extend([ran.stdout, ran.stderr]);
        };
        run("plan --json", 0);
        faulty.double.fault(&large, 9, Fault::Status(401, ""));
        run("apply --only base:tiny --json --trace first.json", 1);
        faulty.double.clear_faults();
        faulty.double.fault("tokens/", 9, Fault::Status(401, ""));
        faulty.double.expire();
        run("apply --only base:tiny", 1);
        faulty.double.clear_faults();
        run("apply --only base:tiny --json --trace second.json", 0);
        run("plan --only base:tiny -o saved", 0);
        run("why base:tiny", 0);
        for secret in secrets {
            assert!(!said.contains(secret), "{said}");
        }
        // With the traces and the saved plan.
        assert!(faulty.project.read("second.json").contains("base:tiny"));
        nowhere(&faulty.project.root(), &secrets);
        nowhere(&faulty.project.state(), &secrets);
        // They were used, and a token only where it belongs.
        let requests = faulty.double.requests();
        let bearing = |token: &Option<String>| token.as_ref().is_some_and(|it| it.contains(TOKEN));
        assert!(requests.iter().any(|one| bearing(&one.token)), "{requests:?}");
        let strays = requests.iter().filter(|one| !one.path.starts_with("registry/"));
        assert!(strays.clone().all(|one| !bearing(&one.token)), "{requests:?}");
        let asked = if with_password { "GET" } else { "POST" };
        assert!(faulty.double.asked(asked, "tokens/token") > 0, "{requests:?}");
        assert!(requests.iter().all(|one| !one.path.contains(IDENTITY)), "{requests:?}");
    }
}

#[test]
fn an_identity_does_not_follow_a_redirect() {
    let Some(mut faulty) = Faulty::new(Door::Bearer) else { return };
    let config = identity(&faulty.double.host);
    configured(&mut faulty.project, &config);
    let to = format!("location: {}/steal", faulty.double.storage);
    faulty.double.fault("tokens/", 9, Fault::Status(307, to.leak()));
    faulty.pull().exits(1).says(&[
        "goatbuild::registry::challenge",
        "127.0.0.3",
        "which gives its tokens",
        "307",
    ]);
    let requests = faulty.double.requests();
    assert!(!requests.iter().any(|one| one.path.contains("steal")), "{requests:?}");
}
