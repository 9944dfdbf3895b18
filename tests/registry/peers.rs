//! Pulls from a registry that nobody here wrote, of images in the forms that others give them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use goatbuild::platform::Architecture;
use serde_json::{Value, json};

use super::support::registry::{Bases, DockerRegistry, PASSWORD, USER, skopeo};
use super::support::{installed, peers, project::Project};
use super::{World, configured, entry, forget, image_file, inspect, locked};

/// Nothing is looked for in a base that has both written down.
const KNOWN: &str = "python = \"3.11\"\nglibc = \"2.36\"\n";

#[test]
fn a_guarded_registry_is_pulled_from_with_dockers_credentials() {
    let Some(mut project) = Project::new() else { return };
    let Some(_) = skopeo(&["--version"]) else { return };
    let Some(registry) = DockerRegistry::guarded() else { return };
    let bases = Bases::new(&peers::directory());
    let layer = bases.layer(&[("etc/small", "small")]);
    bases.image("small", Architecture::Amd64, vec![layer], &[]);
    registry.take(&bases.name("small"), "small:1", &[]);
    let base = format!("{}/small:1", registry.host);
    project.write("images/tiny.toml", &image_file(&base, KNOWN));

    // A helper says who is known for which server, and writes down what it was asked, and how.
    let programs = project.root().with_file_name("programs");
    fs::create_dir_all(&programs).expect("a directory");
    let log = programs.join("log");
    let helper = programs.join("docker-credential-keys");
    let script = format!(
        "#!/bin/sh\nread -r server\necho \"$* $server\" >> '{}'\n\
         if [ \"$server\" != '{}' ]; then echo 'credentials not found in native keychain'; exit 1; fi\n\
         echo '{{\"ServerURL\":\"x\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'\n",
        log.display(),
        registry.host
    );
    fs::write(&helper, script).expect("a file");
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("a mode");
    project.variable("PATH", &installed::path_with(&programs));

    let nobody = [
        (json!({}), "wants credentials"),
        (json!({ "credsStore": "keys", "credHelpers": { "other.example": "keys" } }), ""),
        (json!({ "credHelpers": { &registry.host: "none" } }), "docker-credential-none failed"),
        (entry(&registry.host, "not-the-one"), "refuses the credentials"),
    ];
    for (config, said) in nobody {
        configured(&mut project, &config);
        forget(&project);
        let ran = project.run("apply --only base:tiny");
        if said.is_empty() {
            ran.exits(0);
        } else {
            ran.exits(1).says(&["goatbuild::registry::", said]);
        }
    }
    let known = [
        entry(&registry.host, PASSWORD),
        json!({ "credHelpers": { &registry.host: "keys" } }),
        json!({ "credsStore": "keys", "auths": { &registry.host: {} } }),
    ];
    for config in known {
        configured(&mut project, &config);
        forget(&project);
        let before = registry.answered(&["GET", "/v2/small/blobs/"]);
        project.run("apply --only base:tiny").exits(0);
        // The configuration and the layer.
        let blobs = registry.answered(&["GET", "/v2/small/blobs/"]);
        assert_eq!(blobs, before + 2, "{}", registry.log());
    }
    // From home, where nothing names another place; and from Podman's file.
    let home = project.root().with_file_name("home");
    fs::create_dir_all(home.join(".docker")).expect("a directory");
    let file = home.join(".docker/config.json");
    fs::write(&file, entry(&registry.host, PASSWORD).to_string()).expect("a file");
    project.variable("DOCKER_CONFIG", "");
    project.variable("HOME", &home.display().to_string());
    forget(&project);
    project.run("apply --only base:tiny").exits(0);
    let other = home.join("auth.json");
    fs::rename(file, &other).expect("renamed");
    forget(&project);
    project.run("apply --only base:tiny").exits(1).says(&["wants credentials"]);
    project.variable("REGISTRY_AUTH_FILE", &other.display().to_string());
    project.run("apply --only base:tiny").exits(0);

    let log = fs::read_to_string(log).expect("a log");
    let asked = format!("get {}", registry.host);
    assert!(log.lines().count() >= 3 && log.lines().all(|line| line == asked), "{log}");
}

/// The kind of document that a name leads to in a registry.
fn kind(registry: &DockerRegistry, name: &str) -> Value {
    let reference = format!("docker://{}/{name}", registry.host);
    let raw = ["inspect", "--raw", "--tls-verify=false", &reference];
    serde_json::from_str(&skopeo(&raw).expect("skopeo was had before")).expect("JSON")
}

#[test]
fn the_platforms_image_is_picked_from_oci_and_docker_indexes() {
    let Some(world) = World::new(false) else { return };
    let World { project, bases, registry, .. } = &world;
    let other = bases.layer(&[("etc/other", "other")]);
    bases.image("arm", Architecture::Arm64, vec![other.clone()], &[]);
    bases.index("both", &["arm", "debian"]);
    registry.take(&bases.name("both"), "both:oci", &["--all"]);
    registry.take(&bases.name("both"), "both:docker", &["--all", "--format", "v2s2"]);
    let mut layers = Vec::new();
    for (name, index, image) in [
        ("both:oci", "oci.image.index.v1", "oci.image.manifest.v1"),
        ("both:docker", "docker.distribution.manifest.list.v2", "docker.distribution.manifest.v2"),
    ] {
        let there = kind(registry, name);
        assert!(there["mediaType"].as_str().is_some_and(|it| it.contains(index)), "{there}");
        let manifests = there["manifests"].as_array().expect("manifests");
        let ours = manifests.iter().find(|it| it["platform"]["architecture"] == "amd64");
        let ours = ours.expect("an image for us");
        assert!(ours["mediaType"].as_str().is_some_and(|it| it.contains(image)), "{there}");

        forget(project);
        project.write("images/tiny.toml", &image_file(&world.reference(name), ""));
        project.apply("--only image:tiny").ran();
        let lock = locked(project);
        let base = &lock["image"]["tiny"]["base"];
        assert_eq!(base["digest"].as_str(), ours["digest"].as_str());
        assert_ne!(base["index"].as_str(), base["digest"].as_str());
        assert_eq!(base["python"].as_str(), Some("/usr/bin/python3.11"));
        project.run("image verify tiny").exits(0).says(&["as locked"]);
        layers.push(inspect(project)["layers"].clone());
    }
    // Whatever form their documents have, the same layers make the same image.
    assert_eq!(layers[0], layers[1]);
    assert_eq!(registry.answered(&["GET", &other.digest.to_string()]), 0, "{}", registry.log());
}

#[test]
fn layers_of_zstd_are_looked_through_kept_and_served_from() {
    let Some(world) = World::new(false) else { return };
    let World { project, bases, registry, .. } = &world;
    let zstd = ["--dest-compress-format", "zstd", "--dest-compress-level", "1"];
    registry.take(&bases.name("debian"), "debian:zstd", &zstd);
    let there = kind(registry, "debian:zstd");
    let media = "application/vnd.oci.image.layer.v1.tar+zstd";
    assert_eq!(there["layers"][0]["mediaType"], media, "{there}");

    project.write("images/tiny.toml", &image_file(&world.reference("debian:zstd"), ""));
    project.apply("").ran();
    let lock = locked(project);
    assert_eq!(lock["image"]["tiny"]["base"]["python"].as_str(), Some("/usr/bin/python3.11"));
    let inspected = inspect(project);
    assert_eq!(inspected["layers"][0]["digest"], there["layers"][0]["digest"], "as they came");
    project.run("image verify tiny").exits(0).says(&["as locked"]);
    assert!(project.ask("tiny").is_some(), "the server answers");
}
