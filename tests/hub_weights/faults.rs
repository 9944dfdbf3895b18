//! What a hub can do wrong, and what comes of it.

use std::path::Path;
use std::time::{Duration, Instant};

use super::support::double::{Content, Fault};
use super::support::hub::COMMIT;
use super::{Hubbed, LARGE, TOKEN, WEIGHTS};

/// Applies, expects a failure that says this, and that nothing unverified has a final name.
#[track_caller]
fn fails(hubbed: &Hubbed, says: &[&str]) {
    let ran = hubbed.place().exits(1).says(says);
    assert!(ran.stderr.contains("help:"), "{}", ran.stderr);
    let large = Content::noise(1, LARGE).sha256();
    assert!(!hubbed.blobs().contains(&large), "{:?}", hubbed.blobs());
    let receipts = std::fs::read_dir(hubbed.volume().join(".goatbuild"));
    assert_eq!(receipts.map_or(0, Iterator::count), 0);
    let applied = hubbed.project.apply(&format!("--only {WEIGHTS}"));
    assert_eq!(applied.ids("failed"), [WEIGHTS]);
    let code = applied.end()["errors"][0]["code"].as_str().unwrap();
    assert!(code.starts_with("goatbuild::hub::"), "{code}");
    hubbed.hub.clear_faults();
}

#[test]
fn every_refusal_says_what_to_do_and_leaves_nothing_behind() {
    let Some(mut hubbed) = Hubbed::new() else { return };
    let always = usize::MAX;
    let page = format!("ask for access at {}/acme/tiny", hubbed.hub.url);
    let gated = Fault::Status(403, "x-error-code: GatedRepo");
    // The list of a gated repository is public, its files are not.
    hubbed.hub.fault("resolve", always, gated.clone());
    fails(&hubbed, &["acme/tiny is gated", &page, "then set HF_TOKEN"]);
    hubbed.hub.fault("acme/tiny", always, gated);
    fails(&hubbed, &["acme/tiny is gated", &page]);
    hubbed.hub.fault("acme/tiny", always, Fault::Status(401, ""));
    fails(&hubbed, &["acme/tiny needs a token", "set HF_TOKEN"]);
    hubbed.hub.fault("acme/tiny", always, Fault::Status(404, "x-error-code: RepoNotFound"));
    fails(&hubbed, &["there is no model acme/tiny"]);
    hubbed.hub.fault("acme/tiny", always, Fault::Status(404, "x-error-code: RevisionNotFound"));
    fails(&hubbed, &[&format!("acme/tiny has no revision {COMMIT}")]);
    hubbed.project.variable("HF_TOKEN", TOKEN);
    hubbed.hub.fault("acme/tiny", always, Fault::Status(401, ""));
    fails(&hubbed, &["the hub refuses the token in HF_TOKEN"]);
    hubbed.hub.fault("cdn/", always, Fault::Status(503, ""));
    fails(&hubbed, &["HTTP 503"]);
    hubbed.hub.fault("cdn/", always, Fault::Flip(77));
    fails(&hubbed, &["model.safetensors of acme/tiny arrived damaged", "SHA-256"]);
    hubbed.hub.fault("cdn/", always, Fault::Truncate(1000));
    fails(&hubbed, &["model.safetensors"]);
    hubbed.hub.fault("cdn/", always, Fault::Redirect("/again".to_owned()));
    fails(&hubbed, &["leads from one address to the next"]);
    let other = Fault::Header("x-repo-commit", "f".repeat(40));
    hubbed.hub.fault("resolve", always, other);
    fails(&hubbed, &["changed under its revision"]);
    // After all of that, all of it is well.
    hubbed.place().exits(0);
    assert_eq!(hubbed.blobs().len(), 4);
    told_nobody(&hubbed, TOKEN);
}

#[test]
fn a_hub_that_wants_a_pause_gets_it() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.run("lock").exits(0);
    hubbed.hub.fault("resolve", 1, Fault::Status(429, "retry-after: 2"));
    let began = Instant::now();
    let asked = "the hub asks for 2 s of patience; waiting until ";
    hubbed.place().exits(0).says(&[&format!("  {WEIGHTS}  {asked}")]);
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(hubbed.blobs().len(), 4);
}

#[test]
fn a_hub_that_wants_no_one_for_an_hour_is_said_at_once() {
    let Some(hubbed) = Hubbed::new() else { return };
    hubbed.run("lock").exits(0);
    hubbed.hub.fault("resolve", usize::MAX, Fault::Status(429, "retry-after: 3600"));
    let began = Instant::now();
    fails(&hubbed, &["3600 s"]);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let Some(mut hubbed) = Hubbed::new() else { return };
    hubbed.hub.restrict(TOKEN, false);
    fails(&hubbed, &["HF_TOKEN"]);
    hubbed.project.variable("HF_TOKEN", TOKEN);
    hubbed.run("lock").exits(0);
    // Kept where `told_nobody` reads them.
    hubbed.run("plan -o kept.plan").exits(0);
    let applied = hubbed.project.apply(&format!("--only {WEIGHTS} --trace trace.json"));
    assert_eq!(applied.ran(), [WEIGHTS]);
    assert!(hubbed.project.root().join("trace.json").exists());
    assert!(!format!("{:?}{}", applied.events, applied.stderr).contains(TOKEN));
    let requests = hubbed.hub.requests();
    let sent = requests.iter().filter(|request| request.token.is_some());
    assert!(sent.clone().count() > 0);
    assert!(sent.clone().all(|request| request.path.starts_with("hub/")));
    for command in ["plan --json", "why weights:acme/tiny", "show tiny", "status --json"] {
        let ran = hubbed.run(command);
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(TOKEN), "{command}");
    }
    told_nobody(&hubbed, TOKEN);
    // From the file where the user's own client keeps it.
    hubbed.project.variable("HF_TOKEN", "");
    std::fs::write(hubbed.home.path().join("token"), format!("{TOKEN}\n")).unwrap();
    std::fs::remove_dir_all(hubbed.volume()).unwrap();
    hubbed.place().exits(0);
    told_nobody(&hubbed, TOKEN);
}

/// No file of the project or of the state has the secret.
#[track_caller]
pub(super) fn told_nobody(hubbed: &Hubbed, secret: &str) {
    let mut read = 0;
    for directory in [hubbed.project.root(), hubbed.project.state()] {
        for entry in walkdir::WalkDir::new(directory).into_iter().flatten() {
            // Blobs of images and models are what others made.
            let made_elsewhere =
                |path: &Path| path.iter().any(|part| part == "blobs" || part == "roots");
            if !entry.file_type().is_file() || made_elsewhere(entry.path()) {
                continue;
            }
            let bytes = std::fs::read(entry.path()).unwrap();
            read += 1;
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{}", entry.path().display());
        }
    }
    assert!(read > 5, "{read} files were looked at");
}
