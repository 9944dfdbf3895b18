//! Built images, from the layout to a registry that nobody here wrote.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use goatbuild::event::Reporter;
use goatbuild::fetch::{Fetcher, Patience};
use goatbuild::oci::Layout;
use goatbuild::oci::registry::{BaseOrigin, Puller, RegistrySettings};
use goatbuild::platform::Architecture;

use super::support::installed;
use super::support::project::Project;
use super::support::registry::{DockerRegistry, PASSWORD, USER, skopeo};
use super::{World, configured, entry, image_file, inspect, nowhere};

/// A project with its image built, and a registry.
fn built(guarded: bool) -> Option<(Project, DockerRegistry)> {
    skopeo(&["--version"])?;
    let project = Project::new()?;
    let registry = if guarded { DockerRegistry::guarded() } else { DockerRegistry::open() }?;
    Some((project, registry))
}

fn digest_there(registry: &DockerRegistry, name: &str) -> String {
    let user = format!("{USER}:{PASSWORD}");
    let reference = format!("docker://{}/{name}", registry.host);
    let format = ["inspect", "--format", "{{.Digest}}", "--tls-verify=false", "--creds", &user];
    let said = skopeo(&[&format[..], &[&reference]].concat()).expect("skopeo was had before");
    said.trim().to_owned()
}

#[test]
fn a_pushed_image_has_its_digest_there_and_is_sent_once() {
    let Some((project, registry)) = built(false) else { return };
    let digest = inspect(&project)["digest"].as_str().expect("a digest").to_owned();
    let said = project.run(&format!("image push tiny {}/goat/tiny:1", registry.host)).exits(0);
    assert_eq!(said.stdout.trim(), format!("{}/goat/tiny@{digest}", registry.host));
    assert_eq!(digest_there(&registry, "goat/tiny:1"), digest);

    // Others can pull it: skopeo, and another goatbuild into an empty layout.
    let elsewhere = tempfile::tempdir().expect("a directory");
    let to = format!("oci:{}:tiny", elsewhere.path().join("skopeo").display());
    let from = format!("docker://{}/goat/tiny:1", registry.host);
    skopeo(&["copy", "--src-tls-verify=false", &from, &to]).expect("skopeo was had before");
    let layout = Layout::open(&elsewhere.path().join("skopeo")).expect("a layout");
    layout.verify(digest.parse().expect("a digest"), &Reporter::silent()).expect("the same image");
    let layout = Layout::open(&elsewhere.path().join("goatbuild")).expect("a layout");
    let puller = Puller::new(
        BaseOrigin::Registry(
            format!("{}/goat/tiny:1", registry.host).parse().expect("a reference"),
        ),
        &Fetcher::new(false, Patience::default()),
        &RegistrySettings::default(),
        layout.clone(),
        elsewhere.path().join("work"),
        Architecture::Amd64,
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let arrived = runtime.block_on(async {
        let resolved = puller.resolve(&Reporter::silent()).await.expect("an image");
        puller.layers(&resolved, &Reporter::silent()).await.expect("its layers");
        resolved.digest.to_string()
    });
    assert_eq!(arrived, digest);
    layout.verify(digest.parse().expect("a digest"), &Reporter::silent()).expect("the same image");

    // Nothing is sent twice, under another tag neither.
    let uploads = registry.answered(&["PUT", "/blobs/uploads/"]);
    assert!(uploads > 1, "{}", registry.log());
    project
        .run(&format!("image push tiny {}/goat/tiny:2", registry.host))
        .exits(0)
        .says(&[": 0 B sent"]);
    assert_eq!(registry.answered(&["PUT", "/blobs/uploads/"]), uploads);
    assert_eq!(digest_there(&registry, "goat/tiny:2"), digest);

    // Where the project says, it goes without a word.
    project.append(
        "goatbuild.toml",
        &format!("\n[target.modal]\nregistry = \"{}/us\"\n", registry.host),
    );
    let said = project.run("image push tiny").exits(0);
    assert_eq!(said.stdout.trim(), format!("{}/us/tiny@{digest}", registry.host));
    assert_eq!(digest_there(&registry, "us/tiny:latest"), digest);
}

#[test]
fn layers_of_a_base_in_the_same_registry_are_mounted() {
    let Some(world) = World::new(false) else { return };
    let World { project, bases, registry, debian } = &world;
    registry.take(&bases.name("debian"), "debian:stable", &[]);
    project.write("images/tiny.toml", &image_file(&world.reference("debian:stable"), ""));
    project.apply("--only image:tiny").ran();
    project.run(&format!("image push tiny {}", world.reference("goat/tiny:1"))).exits(0);
    let blobs = inspect(project)["layers"].as_array().expect("layers").len() + 1;
    let before = registry.log();
    let mounted = registry.answered(&["POST", "goat/tiny", &debian.digest.to_string(), "=201"]);
    assert_eq!(mounted, 1, "{before}");
    assert!(registry.answered(&["PUT", "goat/tiny/blobs/uploads/"]) < blobs, "{before}");
}

#[test]
fn credentials_come_from_dockers_file_or_a_helper_and_stay_there() {
    let Some((mut project, registry)) = built(true) else { return };
    let push = |project: &Project, tag: &str| {
        project.run(&format!("image push tiny {}/goat/tiny:{tag}", registry.host))
    };
    let digest = inspect(&project)["digest"].as_str().expect("a digest").to_owned();
    configured(&mut project, &json!({}));
    push(&project, "0").exits(1).says(&["goatbuild::registry::unauthorized", "wants credentials"]);

    let wrong = "not-the-one";
    configured(&mut project, &entry(&registry.host, wrong));
    let ran = push(&project, "0").exits(1);
    let ran = ran.says(&["goatbuild::registry::unauthorized", "refuses the credentials"]);
    let encoded = STANDARD.encode(format!("{USER}:{wrong}"));
    for secret in [wrong, &encoded] {
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(secret), "{}", ran.stderr);
    }
    nowhere(&project.root(), &[wrong, &encoded]);
    assert_eq!(registry.answered(&["PUT"]), 0, "{}", registry.log());

    configured(&mut project, &entry(&registry.host, PASSWORD));
    let ran = push(&project, "1").exits(0);
    assert_eq!(digest_there(&registry, "goat/tiny:1"), digest);
    let encoded = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(PASSWORD), "{}", ran.stderr);
    nowhere(&project.root(), &[PASSWORD, &encoded]);

    // A helper answers for this registry alone, by Docker's protocol.
    let programs = project.root().with_file_name("programs");
    fs::create_dir_all(&programs).expect("a directory");
    let helper = programs.join("docker-credential-keys");
    let script = format!(
        "#!/bin/sh\nread -r server\n[ \"$1 $server\" = 'get {}' ] || exit 1\n\
         echo '{{\"ServerURL\":\"x\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'\n",
        registry.host
    );
    fs::write(&helper, script).expect("a file");
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("a mode");
    project.variable("PATH", &installed::path_with(&programs));
    configured(&mut project, &json!({ "credHelpers": { &registry.host: "keys" } }));
    push(&project, "2").exits(0);
    assert_eq!(digest_there(&registry, "goat/tiny:2"), digest);

    fs::write(&helper, format!("#!/bin/sh\necho {PASSWORD}\necho {PASSWORD} >&2\n"))
        .expect("a file");
    let ran = push(&project, "3").exits(1).says(&["goatbuild::registry::helper"]);
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(PASSWORD), "{}", ran.stderr);
}

#[test]
fn what_cannot_be_pushed_is_said_before_or_instead() {
    let Some((project, registry)) = built(false) else { return };
    let there = format!("{}/goat/tiny:1", registry.host);
    project.run("image push tiny").exits(64).says(&["goatbuild::usage::reference"]);
    project.run("image push tiny UPPER/case").exits(64).says(&["goatbuild::usage::reference"]);
    let digest = format!("{}/x@sha256:{}", registry.host, "0".repeat(64));
    project.run(&format!("image push tiny {digest}")).exits(64).says(&["goes to a tag"]);
    project.run(&format!("image push tinny {there}")).says(&["tiny"]).exits(64);
    project
        .run(&format!("--offline image push tiny {there}"))
        .exits(1)
        .says(&["goatbuild::registry::offline"]);

    // A layer that was damaged on disk arrives nowhere: it is made again, and so is the tag.
    let layers = inspect(&project)["layers"].clone();
    let layer = layers[1]["digest"].as_str().expect("a digest").to_owned();
    let blob = project.root().join("cache/oci/blobs/sha256").join(&layer["sha256:".len()..]);
    let mut bytes = fs::read(&blob).expect("a blob");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // Not in place: other projects share the file.
    fs::remove_file(&blob).expect("removed");
    fs::write(&blob, &bytes).expect("written");
    let told = format!("{layer} in cache/ was damaged; it is made or fetched again");
    project.run(&format!("image push tiny {there}")).exits(0).tells(&[&told]);
    assert_eq!(registry.answered(&["PUT", "/manifests/"]), 1, "{}", registry.log());
    bytes[middle] ^= 1;
    assert!(fs::read(&blob).expect("a blob") == bytes);
}
