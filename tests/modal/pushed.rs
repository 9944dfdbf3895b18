//! Images that goatbuild builds, pushed to a registry that nobody here wrote, from which Modal takes
//! them.

use std::fs;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use goatbuild::platform::Architecture;
use serde_json::{Value, json};

use super::Remote;
use super::support::modal::share_client;
use super::support::peers;
use super::support::registry::{Bases, DockerRegistry, PASSWORD, USER, skopeo};

const IMAGE: &str = "images/tiny.toml";

/// A project that has its image pushed to a registry.
struct Pushing {
    remote: Remote,
    registry: DockerRegistry,
}

impl Pushing {
    fn new(guarded: bool) -> Option<Self> {
        let registry = if guarded { DockerRegistry::guarded() } else { DockerRegistry::open() }?;
        let remote = Remote::new()?;
        let settings = format!("builder = \"oci\"\nregistry = \"{}/goat\"\n", registry.host);
        remote.hubbed.project.append("goatbuild.toml", &settings);
        Some(Self { remote, registry })
    }

    /// Logs in to the registry, as `docker login` does.
    fn log_in(&mut self, password: &str) {
        let both = STANDARD.encode(format!("{USER}:{password}"));
        let host = self.registry.host.clone();
        let directory = self.remote.hubbed.home.path().join("docker");
        fs::create_dir_all(&directory).unwrap();
        let config = json!({"auths": {host: {"auth": both}}});
        fs::write(directory.join("config.json"), config.to_string()).unwrap();
        self.remote.hubbed.project.variable("DOCKER_CONFIG", directory.to_str().unwrap());
    }

    /// What a chat with the deployed model answers.
    fn greeting(&self) -> String {
        let project = &self.remote.hubbed.project;
        project.run("test tiny").exits(0).stdout
    }
}

/// The steps that would run for certain or perhaps.
fn open(plan: &super::support::project::Plan) -> Vec<String> {
    [plan.ids("run"), plan.ids("pending")].concat()
}

#[test]
fn an_image_of_our_own_is_pushed_once_and_served_by_its_digest() {
    let Some(mut pushing) = Pushing::new(true) else { return };
    pushing.log_in(PASSWORD);
    let Pushing { remote, registry } = &pushing;
    let project = &remote.hubbed.project;
    project.append("goatbuild.toml", "registry-secret = \"depot\"\n");

    // The registry is asked, and has nothing yet.
    let plan = project.plan("");
    assert_eq!(plan.step("push:tiny")["action"], "run", "{}", plan.0);
    assert_eq!(plan.step("push:tiny")["observed"], true, "{}", plan.0);
    assert_eq!(plan.step("image:tiny")["action"], "fresh", "{}", plan.0);

    // Modal could not take it from there: the image is there, and nothing is deployed.
    let failed = project.run("apply --yes").exits(1);
    failed.says(&["Modal has no", "depot", "modal secret create"]);
    let deployed = |call: &Value| call["rpc"] == "AppPublish" && call["app"] == "table-4c19d2-tiny";
    assert!(!remote.modal.calls().iter().any(deployed));
    let of_others = format!("REGISTRY_USERNAME={USER}");
    let secret = |password: &str| {
        let pair = format!("REGISTRY_PASSWORD={password}");
        let create = ["secret", "create", "--env", "goat", "--force", "depot", &of_others, &pair];
        remote.client(&create);
    };
    secret("not-it");
    project.run("apply --yes").exits(1).says(&["deploy:tiny", "unauthorized"]);
    secret(PASSWORD);
    assert_eq!(project.apply("--yes").ran(), ["deploy:tiny", "gateway:tiny", "smoke:tiny"]);
    assert!(remote.modal.calls().iter().any(deployed));

    // By its digest, with the secret's name and nothing of its value.
    let digest = plan.step("image:tiny")["key"].as_str().map(|_| {
        let lock: toml::Value = toml::from_str(&project.read("goatbuild.lock")).unwrap();
        lock["built"]["image:tiny"]["facts"]["digest"].as_str().unwrap().to_owned()
    });
    let reference = format!("\"{}/goat/tiny@{}\"", registry.host, digest.unwrap());
    let program = project.read("cache/modal/tiny/serve.py");
    assert!(program.contains(&reference), "{reference} in {program}");
    assert!(program.contains("\"secret\": \"depot\""), "{program}");
    assert_eq!(
        project.plan("").ids("fresh").len(),
        project.plan("").0["steps"].as_array().unwrap().len()
    );
    let why = project.run("why push:tiny").exits(0).stdout;
    assert!(why.contains("bytes-pushed"), "{why}");

    // A fresh clone sees the same, and asks once.
    let asked = registry.answered(&["HEAD", "/v2/goat/tiny/manifests/goatbuild-"]);
    let cache = project.root().join("cache");
    let away = project.root().with_file_name("cache-away");
    fs::rename(&cache, &away).unwrap();
    share_client(&project.root(), || drop(project.run("check").exits(0)));
    assert_eq!(open(&project.plan("")), [] as [&str; 0]);
    assert!(registry.answered(&["HEAD", "/v2/goat/tiny/manifests/goatbuild-"]) > asked);
    fs::remove_dir_all(&cache).unwrap();
    fs::rename(&away, &cache).unwrap();

    // Another image is pushed, as far as it is another one, and deployed.
    assert!(pushing.greeting().contains("\"hello\""));
    project.append(IMAGE, "env = { GREETING = \"hoi\" }\n");
    let plan = project.plan("");
    assert_eq!(plan.step("push:tiny")["action"], "pending", "{}", plan.0);
    let sent = registry.answered(&["PUT", "/blobs/uploads/"]);
    assert_eq!(
        project.apply("--yes").ran(),
        ["deploy:tiny", "image:tiny", "push:tiny", "smoke:tiny"]
    );
    // Its configuration alone.
    assert_eq!(registry.answered(&["PUT", "/blobs/uploads/"]), sent + 1);
    assert!(pushing.greeting().contains("\"hoi\""));

    // And back: the registry still has it.
    project.edit(IMAGE, "env = { GREETING = \"hoi\" }\n", "");
    assert_eq!(project.plan("").step("push:tiny")["action"], "fresh");
    assert_eq!(project.apply("--yes").ran(), ["deploy:tiny", "smoke:tiny"]);
    assert!(pushing.greeting().contains("\"hello\""));
}

#[test]
fn who_may_not_push_is_told_before_anything_is_built_or_deployed() {
    let Some(mut pushing) = Pushing::new(true) else { return };
    pushing.log_in("not-it");
    let project = &pushing.remote.hubbed.project;
    let words = ["refuses the credentials for goat/tiny", "docker login"];
    // What is there can't be said.
    let plan = project.plan("");
    assert_eq!(plan.step("push:tiny")["observed"], false, "{}", plan.0);
    project.run("plan").exits(0).says(&words);
    pushing.remote.modal.calls();
    project.run("apply --yes").exits(3).says(&["could not be looked at: push:tiny"]).says(&words);
    // Of an image that is still to be built, the registry was asked nothing: whether it takes any is.
    project.append(IMAGE, "env = { GREETING = \"hoi\" }\n");
    project.run("apply --yes").exits(1).says(&["goatbuild::registry::unauthorized"]).says(&words);
    assert_eq!(pushing.remote.modal.changes(), [] as [&str; 0]);
    let why = project.run("why image:tiny").exits(0).stdout;
    assert!(why.starts_with("image:tiny  run"), "{why}");

    // A registry that isn't there.
    let project = &pushing.remote.hubbed.project;
    project.edit("goatbuild.toml", &pushing.registry.host, "127.0.0.1:9");
    project.edit(IMAGE, "env = { GREETING = \"hoi\" }\n", "");
    project.run("plan").exits(0).says(&["127.0.0.1:9 could not be reached"]);
}

#[test]
fn a_tag_that_was_deleted_is_set_again_before_the_registry_sweeps_its_image() {
    let Some(mut pushing) = Pushing::new(false) else { return };
    let push = "apply --yes --only push:tiny";
    pushing.remote.hubbed.project.run(push).exits(0);
    pushing.registry.untag("goat/tiny");
    let project = &pushing.remote.hubbed.project;
    let plan = project.plan("");
    assert_eq!(plan.why("push:tiny"), ["drift tag"], "{}", plan.0);
    let sent = pushing.registry.answered(&["PUT", "/blobs/uploads/"]);
    project.run(push).exits(0);
    assert_eq!(pushing.registry.answered(&["PUT", "/blobs/uploads/"]), sent, "the tag alone");
    let reference = format!("docker://{}/goat/tiny", pushing.registry.host);
    let tags = skopeo(&["list-tags", "--tls-verify=false", &reference]).unwrap();
    assert!(tags.contains("goatbuild-"), "{tags}");
    assert_eq!(project.plan("").step("push:tiny")["action"], "fresh");

    // One that takes nothing is found before anything is built for it.
    pushing.registry.read_only();
    let project = &pushing.remote.hubbed.project;
    assert_eq!(project.plan("").step("push:tiny")["action"], "fresh");
    project.append(IMAGE, "env = { GREETING = \"hoi\" }\n");
    let refused = project.run(push).exits(1);
    refused.says(&["goatbuild::registry::read_only", "takes no images", "it is read-only"]);
    let why = project.run("why image:tiny").exits(0).stdout;
    assert!(why.starts_with("image:tiny  run"), "{why}");
}

#[test]
fn a_project_has_to_say_where_images_go() {
    let Some(pushing) = Pushing::new(false) else { return };
    let project = &pushing.remote.hubbed.project;
    let registry = format!("registry = \"{}/goat\"\n", pushing.registry.host);
    project.edit("goatbuild.toml", &registry, "");
    let words = ["`target.modal.registry` is missing", "docker.io/acme", "builder = \"oci\""];
    project.run("plan").exits(65).says(&words).says(&["goatbuild.toml:"]);
    project.run("check").exits(65).says(&words);
    // The image's own file says it, and is pointed at.
    project.edit("goatbuild.toml", "builder = \"oci\"\n", "");
    project.run("plan").exits(0);
    project.append(IMAGE, "builder = \"oci\"\n");
    project.run("plan").exits(65).says(&words).says(&["images/tiny.toml:"]);
    project.append("goatbuild.toml", "registry = \"https://ghcr.io/acme\"\n");
    project.run("plan").exits(65).says(&["`target.modal.registry` can't be", "a path there"]);
}

#[test]
fn rendered_programs_name_what_was_pushed() {
    let Some(pushing) = Pushing::new(false) else { return };
    let project = &pushing.remote.hubbed.project;
    let out = pushing.remote.hubbed.home.path().join("programs");
    let render = format!("render tiny -o {}", out.display());
    project.append(IMAGE, "env = { GREETING = \"hoi\" }\n");
    project.run(&render).exits(1).says(&["image tiny is not built", "apply --only push:tiny"]);
    project.apply("--yes").ran();
    project.run(&render).exits(0);
    let program = out.join("tiny/serve.py");
    let text = fs::read_to_string(&program).unwrap();
    assert_eq!(text, project.read("cache/modal/tiny/serve.py"));
    let deploy = ["deploy", "--env", "goat", "--name", "by-hand", program.to_str().unwrap()];
    pushing.remote.client(&deploy);
    // Taken from elsewhere, it is another program with another key.
    let keyed = |plan: Value| {
        plan["steps"].as_array().unwrap().iter().find(|it| it["id"] == "deploy:tiny").unwrap()["key"].clone()
    };
    let before = keyed(project.plan("").0);
    project.append("goatbuild.toml", "registry-secret = \"depot\"\n");
    let plan = project.plan("");
    assert_eq!(plan.why("deploy:tiny"), ["changed target.modal.registry-secret"]);
    assert_eq!(plan.step("push:tiny")["action"], "fresh", "{}", plan.0);
    assert_ne!(keyed(plan.0), before);
}

/// An app that somebody deploys by hand from an image of the registry.
const BY_HAND: &str = "
import modal
app = modal.App('by-hand')
@app.function(image=modal.Image.from_registry('REFERENCE'))
def nothing():
    pass
";

#[test]
fn the_double_refuses_images_that_modal_could_not_run() {
    let Some(pushing) = Pushing::new(false) else { return };
    let Some(_) = skopeo(&["--version"]) else { return };
    let bases = Bases::new(&peers::directory());
    let bare = bases.layer(&[("usr/bin/python3", "")]);
    bases.image("bare", Architecture::Amd64, vec![bare.clone()], &[]);
    bases.image("arm", Architecture::Arm64, vec![bare], &[]);
    let whole = bases.layer(&[("opt/own/python", ""), ("opt/own/pip", "")]);
    bases.image("whole", Architecture::Amd64, vec![whole.clone()], &["PATH=/opt/own"]);
    bases.image("hidden", Architecture::Amd64, vec![whole], &["PATH=/usr/bin"]);
    let file = pushing.remote.hubbed.home.path().join("by_hand.py");
    for (name, words) in [
        ("bare", "no pip and no python on its PATH"),
        ("hidden", "no pip and no python on its PATH"),
        ("arm", "it is for linux/arm64"),
        ("nowhere", "manifest unknown"),
        ("whole", ""),
    ] {
        if name != "nowhere" {
            pushing.registry.take(&bases.name(name), &format!("goat/{name}:1"), &[]);
        }
        let reference = format!("{}/goat/{name}:1", pushing.registry.host);
        fs::write(&file, BY_HAND.replace("REFERENCE", &reference)).unwrap();
        let mut command = Command::new(&pushing.remote.modal.python);
        command.args(["-m", "modal", "deploy", "--env", "goat"]).arg(&file);
        command.env("MODAL_SERVER_URL", pushing.remote.modal.url());
        command.env("MODAL_TOKEN_ID", "ak-test").env("MODAL_TOKEN_SECRET", "as-test");
        command.env("MODAL_CONFIG_PATH", "/nonexistent/modal.toml").env("COLUMNS", "400");
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert_eq!(output.status.success(), words.is_empty(), "{name}: {text}");
        assert!(text.contains(words), "{name}: {text}");
    }
}
