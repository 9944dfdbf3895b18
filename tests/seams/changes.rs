//! What only some targets can do is done through `ops`, which know nothing of the folder: a lease is
//! taken, waited for and given back; a version comes back; a candidate goes first; what is unwanted goes.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use goatbuild::exec::{self, Interrupt};
use goatbuild::ops::agreed::Agreed;
use goatbuild::ops::apply::{self, Asked};
use goatbuild::ops::open::Site;
use goatbuild::ops::rollback::{self, Rollback};
use goatbuild::plan::Action;
use goatbuild::plan::saved::Request;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Silent, did, planned, project, site};
use crate::support::double::{Answer, Content, Fault, Server};

/// The project with a model that is tried out, and who answers for it.
struct World {
    directory: TempDir,
    site: Site,
    server: Server,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        project(root);
        let (listener, url) = Server::listen("127.0.0.1");
        let server = Server::default();
        server.serve("", listener, |asked| {
            let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
            let told =
                json!({ "data": [{ "id": "m" }], "choices": [{ "message": { "content": "" } }] });
            if body["stream"] == true {
                let events = format!("data: {told}\n\ndata: [DONE]\n\n").into_bytes();
                let size = events.len() as u64;
                Answer::of(Content::repeated(events, size))
            } else {
                Answer::json(&told)
            }
        });
        let world = Self { site: site(root), directory, server };
        world.edit(
            "goatbuild.toml",
            "[target.folder]\n",
            &format!("[target.folder]\nurl = \"{url}\"\n"),
        );
        world.edit("specs/m.toml", "smoke = \"never\"\n", "rollout = \"candidate\"\n");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
        fs::write(self.path(name), text.replace(from, to)).unwrap();
    }

    /// What has happened in the folder since the last time.
    fn journal(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("served/journal")).unwrap_or_default();
        let _ = fs::remove_file(self.path("served/journal"));
        text.lines().map(str::to_owned).collect()
    }

    async fn apply(&self, frontend: &Silent, prune: bool) -> miette::Result<exec::Report> {
        let request = Request { prune, ..Request::default() };
        let agreed = Agreed { all: true, ..Agreed::default() };
        let asked = Asked { request, refresh: false, agreed, keep_going: false };
        let applied = apply::apply(&self.site, frontend, asked, &Interrupt::default()).await?;
        Ok(applied.report)
    }

    /// Applies, and expects that all goes well.
    async fn applied(&self, prune: bool) -> Vec<String> {
        let report = self.apply(&Silent(None), prune).await.unwrap();
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        assert!(!self.path("served/lease").exists(), "it was given back");
        self.journal()
    }

    async fn action(&self, prune: bool) -> Action {
        let request = Request { prune, ..Request::default() };
        did(&planned(&self.site, &request).await, "deploy:m")
    }
}

/// What the first apply does, each time with the lease.
const FIRST: [&str; 3] =
    ["apply: serves hello as next/m", "apply: serves hello as m", "apply: ends what went first"];

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_taken_waited_for_and_given_back() {
    let mut world = World::new();
    let lease = world.path("served/lease");
    fs::create_dir(world.path("served")).unwrap();
    fs::write(&lease, "ada applies").unwrap();
    let error = world.apply(&Silent(None), false).await.unwrap_err();
    assert_eq!(error.to_string(), "ada applies has the folder");
    assert_eq!(fs::read_to_string(&lease).unwrap(), "ada applies");
    assert_eq!(world.journal(), [""; 0], "nothing was changed");
    // Ada ends once somebody waits for her.
    world.site.patience = Duration::from_secs(60);
    let report = world.apply(&Silent(Some(lease.clone())), false).await.unwrap();
    assert!(report.failed.is_empty() && !lease.exists(), "{:?}", report.failed);
    assert_eq!(world.journal(), FIRST);
    // Where nothing changes, nobody needs it.
    fs::write(&lease, "ada applies").unwrap();
    world.edit("specs/m.toml", "[model]", "# The same.\n[model]");
    world.apply(&Silent(None), false).await.unwrap();
    assert_eq!(fs::read_to_string(&lease).unwrap(), "ada applies");
    assert_eq!(world.journal(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_goes_first_and_one_that_fails_goes_no_further() {
    let world = World::new();
    assert_eq!(world.applied(false).await, FIRST);
    let asked = world.server.requests();
    let of = |place: &str| asked.iter().filter(|one| one.path.starts_with(place)).count();
    assert_eq!((of("/next/m/hello/v1/"), of("/m/hello/v1/")), (3, 3), "{asked:?}");

    world.edit("specs/m.toml", "hello", "boo");
    // Whoever says that they can't is asked three times.
    world.server.fault("/next/m/boo", 3, Fault::Status(500, ""));
    let stands = fs::read_to_string(world.path("served/m.json")).unwrap();
    let report = world.apply(&Silent(None), false).await.unwrap();
    let [failed] = &report.failed[..] else { panic!("{:?}", report.failed) };
    assert_eq!(failed.id.to_string(), "deploy:m");
    let code = failed.error.code().map(|code| code.to_string());
    assert_eq!(code.as_deref(), Some("goatbuild::smoke::candidate"));
    assert_eq!(world.journal(), ["apply: serves boo as next/m", "apply: ends what failed"]);
    assert_eq!(fs::read_to_string(world.path("served/m.json")).unwrap(), stands);
    // The next apply tries it again, and nothing is wrong with it any more.
    assert_eq!(world.action(false).await, Action::Run);
    assert_eq!(world.applied(false).await.len(), 3);
    assert!(!fs::read_to_string(world.path("served/m.json")).unwrap().contains("hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_version_comes_back_and_is_held_until_it_is_released() {
    let world = World::new();
    world.applied(false).await;
    let served = || fs::read_to_string(world.path("served/m.json")).unwrap();
    let first = served();
    world.edit("specs/m.toml", "hello", "good day");
    world.applied(false).await;
    assert_ne!(served(), first);
    let asked = Rollback { model: "m".to_owned(), version: None, agreed: true };
    rollback::roll_back(&world.site, &Silent(None), &asked).await.unwrap();
    assert_eq!(world.journal(), ["rollback: goes back to v1"]);
    assert_eq!(served(), first);
    // No apply changes it until somebody says so.
    assert_eq!(world.action(false).await, Action::Fresh);
    assert_eq!(world.applied(false).await, [""; 0]);
    rollback::release(&world.site, &Silent(None), "m").await.unwrap();
    assert_eq!(world.action(false).await, Action::Run);
    world.applied(false).await;
    assert!(served().contains("good day"));
    // The one that is named, of the four that there are.
    let asked = Rollback { version: Some(2), ..asked };
    rollback::roll_back(&world.site, &Silent(None), &asked).await.unwrap();
    assert!(served().contains("good day") && world.path("served/versions/m-5").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_spec_wants_goes_when_that_is_asked_for_or_said() {
    let world = World::new();
    let (spec, served) = (world.path("specs/m.toml"), world.path("served/m.json"));
    world.applied(false).await;
    let text = fs::read_to_string(&spec).unwrap();
    fs::remove_file(&spec).unwrap();
    world.applied(false).await;
    assert!(served.exists(), "nobody asked for it");
    assert_eq!(world.action(true).await, Action::Remove);
    world.applied(true).await;
    assert!(!served.exists());
    // A spec says it by itself.
    fs::write(&spec, &text).unwrap();
    world.applied(false).await;
    assert!(served.exists());
    fs::write(&spec, format!("state = \"absent\"\n{text}")).unwrap();
    assert_eq!(world.action(false).await, Action::Remove);
    world.applied(false).await;
    assert!(!served.exists());
}
