//! What a registry can do wrong, one after the other: a clear error, nothing half-written, nothing
//! fetched twice.

use std::time::{Duration, Instant};

use goatbuild::platform::Architecture;

use super::entry;
use super::faulty::Faulty;
use super::support::double::Fault;
use super::support::registry::PASSWORD;
use super::support::registry_double::{Door, REPOSITORY, TOKEN, basic};

#[test]
fn who_is_not_let_in_is_told_so_and_what_to_do() {
    for door in [Door::Basic, Door::Bearer] {
        let Some(mut faulty) = Faulty::new(door) else { return };
        let host = faulty.double.host.clone();
        let unauthorized = "goatbuild::registry::unauthorized";
        let login = format!("docker login {host}");
        let said = format!("{host} wants credentials for {REPOSITORY} (HTTP 401)");
        faulty.pull().exits(1).says(&[unauthorized, &said, &login, "base:tiny failed"]);
        // What a token is, nobody without one can know.
        assert!(faulty.double.requests().len() <= 2, "{:?}", faulty.double.requests());

        super::configured(&mut faulty.project, &entry(&host, "not-the-one"));
        let said = format!("{host} refuses the credentials for {REPOSITORY}");
        faulty.double.forget_requests();
        faulty.pull().exits(1).says(&[unauthorized, &said, &login]);
        assert!(faulty.double.requests().len() <= 2, "{:?}", faulty.double.requests());
        assert!(!faulty.intact());

        super::configured(&mut faulty.project, &entry(&host, PASSWORD));
        faulty.pull_at_last();
    }
}

#[test]
fn what_is_refused_or_not_there_is_asked_for_once_and_named() {
    let Some(faulty) = Faulty::new(Door::Open) else { return };
    let (host, digest, large) = (&faulty.double.host, &faulty.digest, &faulty.large());
    let denied = format!("{host} does not allow this account to pull from {REPOSITORY} (HTTP 403)");
    let cases = [
        ("manifests/", 403, "denied", denied.clone()),
        ("manifests/", 404, "not_found", format!("{host} has no {REPOSITORY}@{digest}")),
        (large.as_str(), 403, "denied", denied),
        (large.as_str(), 404, "not_found", format!("{host} has no {REPOSITORY}@{large}")),
    ];
    for (at, status, code, said) in cases {
        faulty.double.forget_requests();
        faulty.double.fault(at, 9, Fault::Status(status, ""));
        let code = format!("goatbuild::registry::{code}");
        faulty.pull().exits(1).says(&[&code, &said, "help:", "base:tiny failed"]);
        assert_eq!(faulty.double.asked("GET", at), 1, "{:?}", faulty.double.requests());
        assert!(!faulty.has(large));
        assert!(!faulty.intact());
        faulty.double.clear_faults();
    }
    // A tag that isn't there is found out when it is to be locked.
    faulty.base(":2");
    let said = format!("{host} has no {REPOSITORY}:2");
    faulty.project.run("plan").exits(1).says(&["goatbuild::registry::not_found", &said]);
    assert!(!faulty.project.root().join("goatbuild.lock").exists() || locked_nothing(&faulty));
}

/// Whether nothing is locked of a base that was asked for by its tag.
fn locked_nothing(faulty: &Faulty) -> bool {
    !faulty.project.read("goatbuild.lock").contains(":2")
}

#[test]
fn a_registry_that_wants_fewer_requests_gets_its_time() {
    let later = || {
        let at = jiff::Timestamp::now() + Duration::from_secs(3);
        at.strftime("retry-after: %a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    let cases: [(&str, &dyn Fn() -> String); 2] =
        [("manifests/", &|| "retry-after: 2".to_owned()), ("blobs/", &later)];
    for (at, header) in cases {
        let Some(faulty) = Faulty::new(Door::Open) else { return };
        let large = faulty.large();
        let at = if at == "blobs/" { &large } else { at };
        let began = Instant::now();
        faulty.double.fault(at, 1, Fault::Status(429, header().leak()));
        let patience = format!("{} asks for ", faulty.double.host);
        faulty.pull().exits(0).says(&[&patience, " s of patience; waiting until "]);
        // A date has no fractions of a second.
        assert!(began.elapsed() >= Duration::from_millis(1900), "{:?}", began.elapsed());
        assert_eq!(faulty.double.asked("GET", at), 2, "{:?}", faulty.double.requests());
        assert_eq!(faulty.double.sent(&large), faulty.large.size);
    }

    let Some(faulty) = Faulty::new(Door::Open) else { return };
    faulty.double.fault("manifests/", 2, Fault::Status(429, ""));
    faulty.pull().exits(1).says(&["answered HTTP 429 2 time(s)", "wait, or log in"]);
    assert_eq!(faulty.double.asked("GET", "manifests/"), 2);
    // Nobody waits for an hour, and nobody asks again before.
    for at in ["manifests/", &faulty.large()] {
        faulty.double.fault(at, 9, Fault::Status(429, "retry-after: 3600"));
        faulty.double.forget_requests();
        faulty.pull().exits(1).says(&[
            "goatbuild::registry::status",
            "answered HTTP 429 1 time(s)",
            &format!("asked for {REPOSITORY}@sha256:"),
            "it answers again in 3600 s",
            "log in with `docker login`",
        ]);
        assert_eq!(faulty.double.asked("GET", at), 1, "{:?}", faulty.double.requests());
        faulty.double.clear_faults();
    }
}

#[test]
fn a_registry_that_fails_is_asked_again_and_then_named() {
    let Some(faulty) = Faulty::new(Door::Open) else { return };
    let large = &faulty.large();
    for at in ["manifests/", large] {
        faulty.double.fault(at, 2, Fault::Status(500, ""));
        let ran = faulty.pull().exits(1);
        ran.says(&[
            "goatbuild::registry::status",
            &format!("{} answered HTTP 500 2 time(s)", faulty.double.host),
            "run the command again later",
        ]);
        assert!(!faulty.intact());
    }
    faulty.pull_at_last();
    // Once is no reason to fail.
    let Some(faulty) = Faulty::new(Door::Open) else { return };
    for at in ["manifests/", &faulty.small(), &faulty.large()] {
        faulty.double.fault(at, 1, Fault::Status(503, ""));
    }
    faulty.pull().exits(0);
    for at in ["manifests/", &faulty.small(), &faulty.large()] {
        assert_eq!(faulty.double.asked("GET", at), 2, "{:?}", faulty.double.requests());
    }
    faulty.pull_at_last();
}

#[test]
fn wrong_bytes_are_never_kept() {
    let Some(faulty) = Faulty::new(Door::Open) else { return };
    let large = &faulty.large();
    faulty.double.fault(large, 1, Fault::Flip(100_000));
    let ran = faulty.pull().exits(1);
    ran.says(&["goatbuild::registry::digest", "wrong digest", large, "nothing was kept"]);
    assert_eq!(faulty.double.asked("GET", large), 1, "{:?}", faulty.double.requests());
    assert!(!faulty.has(large));
    assert!(!faulty.intact());

    faulty.double.fault(large, 1, Fault::Body(vec![b'x'; 400_000]));
    faulty.pull().exits(1).says(&["wrong size", "nothing was kept"]);
    assert!(!faulty.intact());

    // A manifest that is not the one of its digest is nobody's image.
    let Some(faulty) = Faulty::new(Door::Open) else { return };
    faulty.double.fault("manifests/", 1, Fault::Flip(10));
    let ran = faulty.pull().exits(1);
    ran.says(&["goatbuild::registry::digest", "the manifest of", &faulty.digest]);
    assert!(!faulty.has(&faulty.digest));
    faulty.pull_at_last();
}

#[test]
fn a_blob_that_breaks_off_goes_on_where_it_was() {
    let Some(faulty) = Faulty::new(Door::Open) else { return };
    let large = &faulty.large();
    // Once more than patience lasts.
    faulty.double.fault(large, 2, Fault::Truncate(100_000));
    let ran = faulty.pull().exits(1);
    ran.says(&["goatbuild::registry::network", "tried 2 time(s)"]);
    assert!(!faulty.has(large));
    assert!(faulty.intact());
    faulty.pull_at_last();

    let Some(faulty) = Faulty::new(Door::Open) else { return };
    faulty.double.fault(&faulty.large(), 1, Fault::Truncate(100_000));
    faulty.pull().exits(0);
    let requests = faulty.double.requests();
    let ranges = requests.iter().filter(|one| one.path.contains(&faulty.large()));
    let ranges: Vec<_> = ranges.map(|one| one.range.as_deref()).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-")]);
    faulty.pull_at_last();
}

#[test]
fn an_image_for_another_architecture_is_refused_before_its_layers() {
    let Some(faulty) = Faulty::new(Door::Open) else { return };
    let layers = vec![faulty.small.clone(), faulty.large.clone()];
    let alone = faulty.bases.image("arm", Architecture::Arm64, layers, &[]);
    let index = faulty.bases.index("index", &["arm"]);
    for name in [format!("@{alone}"), format!("@{index}"), ":arm".to_owned(), ":index".to_owned()] {
        faulty.base(&name);
        let said = format!("{REPOSITORY}{name} is an image for another architecture: it has linux");
        let ran = faulty.pull().exits(1);
        ran.says(&["goatbuild::registry::platform", &said, "not linux/amd64", "another base"]);
    }
    for layer in [faulty.small(), faulty.large()] {
        assert_eq!(faulty.double.asked("GET", &layer), 0, "{:?}", faulty.double.requests());
    }
    // The other platform's image is in the same index, and is not touched.
    faulty.bases.index("both", &["arm", "1"]);
    faulty.base(":both");
    faulty.double.forget_requests();
    faulty.pull_at_last();
}

#[test]
fn blobs_on_another_host_come_without_the_credentials() {
    for door in [Door::Basic, Door::Bearer] {
        let Some(mut faulty) = Faulty::new(door) else { return };
        super::configured(&mut faulty.project, &entry(&faulty.double.host, PASSWORD));
        faulty.double.redirects_blobs();
        faulty.pull().exits(0);
        let requests = faulty.double.requests();
        let from =
            |role: &'static str| requests.iter().filter(move |one| one.path.starts_with(role));
        assert_eq!(from("storage/").count(), 3, "{requests:?}");
        assert!(from("storage/").all(|one| one.token.is_none()), "{requests:?}");
        // The password goes to who gives tokens, the token to the registry, and neither elsewhere.
        let password = basic(PASSWORD);
        let gave: Vec<_> = from("tokens/").map(|one| one.token.as_deref()).collect();
        let wanted: &[_] = if door == Door::Bearer { &[Some(&*password)] } else { &[] };
        assert_eq!(gave, wanted);
        let said = from("registry/").filter_map(|one| one.token.as_deref());
        let token = format!("Bearer {TOKEN}-0");
        let kept = if door == Door::Bearer { &token } else { &password };
        assert!(said.clone().count() > 3 && said.clone().all(|it| it == kept), "{requests:?}");
        faulty.pull_at_last();
    }
}

#[test]
fn what_a_redirect_leads_to_cannot_ask_for_the_credentials() {
    let Some(mut faulty) = Faulty::new(Door::Bearer) else { return };
    super::configured(&mut faulty.project, &entry(&faulty.double.host, PASSWORD));
    let storage = faulty.double.storage.clone();
    faulty.double.fault("registry/", 9, Fault::Redirect(format!("{storage}/evil")));
    let challenge =
        format!("www-authenticate: Bearer realm=\"{storage}/token\",service=\"double\"");
    faulty.double.fault("storage/evil", 9, Fault::Status(401, challenge.leak()));
    faulty.pull().exits(1).says(&["goatbuild::registry::status", "HTTP 401"]);
    let requests = faulty.double.requests();
    assert!(requests.iter().all(|one| one.token.is_none()), "{requests:?}");
    assert!(!requests.iter().any(|one| one.path.contains("/token")), "{requests:?}");
}

#[test]
fn redirects_end_somewhere() {
    let Some(faulty) = Faulty::new(Door::Open) else { return };
    let host = &faulty.double.host;
    for at in [format!("manifests/{}", faulty.digest), format!("blobs/{}", faulty.large())] {
        let round = format!("http://{host}/v2/{REPOSITORY}/{at}");
        faulty.double.fault(&at, 99, Fault::Redirect(round));
        faulty.double.forget_requests();
        let said = format!("{host} leads from one address to the next without an end");
        faulty.pull().exits(1).says(&["goatbuild::registry::redirects", &said, REPOSITORY]);
        assert!(faulty.double.asked("GET", &at) <= 11, "{:?}", faulty.double.requests());
        faulty.double.clear_faults();
    }
    faulty.double.forget_requests();
    faulty.pull().exits(0);
    faulty.intact();
}

#[test]
fn a_token_that_ends_is_renewed_and_the_pull_goes_on() {
    let Some(mut faulty) = Faulty::new(Door::Bearer) else { return };
    super::configured(&mut faulty.project, &entry(&faulty.double.host, PASSWORD));
    faulty.project.run("plan").exits(0);
    assert_eq!(faulty.double.requests().len(), 0, "all is written down");
    faulty.double.fault(&faulty.large(), 1, Fault::Status(401, ""));
    faulty.double.fault("tokens/", 1, Fault::Status(503, ""));
    faulty.pull().exits(0);
    // One failed, one was given, one more after the end.
    assert_eq!(faulty.double.asked("GET", "tokens/"), 3, "{:?}", faulty.double.requests());
    faulty.double.expire();
    faulty.pull_at_last();
}
