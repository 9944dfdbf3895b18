//! What is asked of the two programs and what is read out of what they say, as data.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::create::{arguments, explain};
use super::lives::judge;
use super::probe::{docker, podman};
use super::{
    Condition, Container, ContainerEngine, ContainerError, Engine, Labels, Network, Recipe,
};
use crate::digest::Digest;
use crate::runtime::Bind;

fn recipe() -> Recipe {
    let bind = |source: &str, target: &str, read_only| Bind {
        source: source.into(),
        target: target.into(),
        read_only,
    };
    Recipe {
        engine: ContainerEngine::Docker,
        image: "sha256:abc".to_owned(),
        image_name: "tiny".to_owned(),
        digest: Digest::of(b"image"),
        binds: vec![
            bind("/p/models", "/root/.cache/huggingface", true),
            bind("/p/a, \"b\"", "/data", false),
        ],
        env: BTreeMap::from([("LEVEL".to_owned(), "a b=c".to_owned())]),
        command: ["serve", "tiny", "--port", "4000"].map(str::to_owned).into(),
        workdir: "/srv/goatbuild".to_owned(),
        log: "/l".into(),
        network: Network::Host,
        host: None,
        port: 4000,
        gpus: false,
        devices: Vec::new(),
        user: None,
    }
}

fn labels() -> Labels {
    Labels {
        project: "table".to_owned(),
        state: "/s/table/default".to_owned(),
        model: "tiny".to_owned(),
        key: "gb1-0".to_owned(),
        instance: "0123456789".to_owned(),
    }
}

/// The arguments on one line.
fn line(recipe: &Recipe) -> String {
    let secrets = [("MY_TOKEN".to_owned(), "hush".to_owned())].into();
    arguments(recipe, &labels(), &secrets, "goatbuild-tiny-01234567", true).join(" ")
}

#[track_caller]
fn assert_has(line: &str, part: &str) {
    assert!(line.contains(part), "`{part}` is missing in: {line}");
}

#[test]
fn a_container_has_a_read_only_root_no_rights_and_the_host_s_network() {
    let line = line(&recipe());
    for part in [
        "container create --pull never --name goatbuild-tiny-01234567 ",
        "--label goatbuild.project=table --label goatbuild.state=/s/table/default ",
        "--label goatbuild.model=tiny --label goatbuild.key=gb1-0 ",
        "--label goatbuild.instance=0123456789 ",
        "--network host --restart no ",
        "--init --read-only --cap-drop ALL --security-opt no-new-privileges ",
        "--tmpfs /run:rw,exec,nosuid,nodev,mode=1777 --tmpfs /tmp:rw,exec,nosuid,nodev,mode=1777 ",
        "--tmpfs /root:rw,exec,nosuid,nodev,mode=0700 ",
        "--mount type=bind,source=/p/models,target=/root/.cache/huggingface,readonly ",
        "--mount type=bind,\"source=/p/a, \"\"b\"\"\",target=/data ",
        "--env LEVEL=a b=c ",
        "--env GOATBUILD_INSTANCE=0123456789 --workdir /srv/goatbuild --stop-signal SIGTERM ",
    ] {
        assert_has(&line, part);
    }
    assert!(line.ends_with("--entrypoint serve sha256:abc tiny --port 4000"), "{line}");
    for never in ["--publish", "--gpus", "--device", "--user", "--privileged"] {
        assert!(!line.contains(never), "{line}");
    }
}

#[test]
fn behind_a_virtual_machine_the_port_is_published_on_loopback_and_the_server_listens_on_all() {
    let line = line(&Recipe { network: Network::Published, ..recipe() });
    assert_has(&line, "--publish 127.0.0.1:4000:4000 ");
    assert!(!line.contains("--network"), "{line}");
    let listens = |network: Network| network.listen(address("192.168.1.5")).to_string();
    assert_eq!(listens(Network::Host), "192.168.1.5");
    assert_eq!(listens(Network::Published), "0.0.0.0");
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// `docker run` takes `ip:hostPort:containerPort`, an address of IPv6 in brackets, and no names: "Published
/// ports" in Docker's documentation.
#[test]
fn a_port_is_published_at_the_address_that_is_asked_for() {
    for (host, published) in [
        ("0.0.0.0", "0.0.0.0:4000:4000"),
        ("192.168.1.5", "192.168.1.5:4000:4000"),
        ("::1", "[::1]:4000:4000"),
        ("::", "[::]:4000:4000"),
    ] {
        let network = Network::Published;
        let line = line(&Recipe { network, host: Some(address(host)), ..recipe() });
        assert_has(&line, &format!("--publish {published} "));
    }
}

#[test]
fn graphics_processors_are_asked_for_in_each_one_s_own_words() {
    assert_has(&line(&Recipe { gpus: true, ..recipe() }), "--gpus all ");
    let podman = Recipe { gpus: true, engine: ContainerEngine::Podman, ..recipe() };
    assert_has(&line(&podman), "--device nvidia.com/gpu=all ");
    // "Specialized Configurations with Docker" of NVIDIA's container toolkit has `--gpus '"device=2,3"'`: the
    // inner quotes are part of the word, which is a line of CSV. Podman's words are in "Support for CDI".
    let devices = ["0", "GPU-45cbf7b3"].map(str::to_owned).to_vec();
    let some = Recipe { gpus: true, devices, ..recipe() };
    assert_has(&line(&some), "--gpus \"device=0,GPU-45cbf7b3\" ");
    let some = Recipe { engine: ContainerEngine::Podman, ..some };
    assert_has(&line(&some), "--device nvidia.com/gpu=0 --device nvidia.com/gpu=GPU-45cbf7b3 ");
    let refused = |said: &str| ContainerError::Refused {
        kind: ContainerEngine::Podman,
        deed: "create the container".to_owned(),
        said: said.to_owned(),
        help: None,
    };
    let error = explain(&podman, refused("unresolvable CDI devices nvidia.com/gpu=all"));
    let help = miette::Diagnostic::help(&error).expect("a help").to_string();
    assert!(help.contains("nvidia-ctk cdi generate"), "{help}");
    assert!(miette::Diagnostic::help(&explain(&recipe(), refused("no"))).is_none());
}

#[test]
fn where_root_would_be_root_here_a_user_gets_a_home_of_his_own() {
    let line = line(&Recipe { user: Some((1000, 100)), ..recipe() });
    assert_has(&line, "--user 1000:100 ");
    assert_has(&line, "--tmpfs /root:rw,exec,nosuid,nodev,mode=0700,uid=1000,gid=100 ");
    assert_has(&line, "--tmpfs /root/.cache:rw,exec,nosuid,nodev,mode=0700,uid=1000,gid=100 ");
    assert_has(&line, "--tmpfs /run:rw,exec,nosuid,nodev,mode=1777,uid=1000,gid=100 ");
    assert_has(&line, "--tmpfs /tmp:rw,exec,nosuid,nodev,mode=1777 ");
    assert_has(&line, "--env USER=goatbuild ");
}

fn docker_info() -> Value {
    json!({
        "ServerVersion": "28.2.2", "OSType": "linux", "OperatingSystem": "Debian GNU/Linux 12",
        "SecurityOptions": ["name=seccomp,profile=builtin"],
    })
}

const SOCKET: &str = "unix:///var/run/docker.sock";

#[test]
fn docker_on_linux_shares_the_network_and_docker_in_a_machine_publishes_ports() {
    let engine = |network, rootful| Engine {
        kind: ContainerEngine::Docker,
        version: "28.2.2".to_owned(),
        network,
        rootful,
    };
    let native = docker(&docker_info(), "", SOCKET, true).expect("an engine");
    assert_eq!(native, engine(Network::Host, true));
    let mac = docker(&docker_info(), "", "unix:///Users/me/.docker/run/docker.sock", false);
    assert_eq!(mac.expect("an engine"), engine(Network::Published, false));
    let mut desktop = docker_info();
    desktop["OperatingSystem"] = json!("Docker Desktop");
    let desktop = docker(&desktop, "", SOCKET, true).expect("an engine");
    assert_eq!(desktop, engine(Network::Published, false));
    let mut rootless = docker_info();
    rootless["SecurityOptions"] = json!(["name=seccomp", "name=rootless"]);
    let rootless =
        docker(&rootless, "", "unix:///run/user/1000/docker.sock", true).expect("an engine");
    assert_eq!(rootless, engine(Network::Published, false));
}

#[test]
fn docker_without_a_daemon_elsewhere_or_in_name_only_is_refused_with_the_reason() {
    let silent = json!({ "ServerErrors": ["Cannot connect to the Docker daemon"] });
    let error = docker(&silent, "", SOCKET, true).expect_err("no daemon");
    assert!(error.is_silence());
    assert_eq!(error.to_string(), "Docker does not answer: Cannot connect to the Docker daemon");
    let error = docker(&json!({ "ServerVersion": "" }), "Cannot connect\n", SOCKET, true);
    assert_eq!(error.expect_err("no daemon").to_string(), "Docker does not answer: Cannot connect");
    let error = docker(&docker_info(), "", "ssh://far.example", true).expect_err("elsewhere");
    assert!(error.to_string().contains("elsewhere (ssh://far.example)"), "{error}");
    let error = docker(&json!({ "host": { "arch": "amd64" } }), "", "", true).expect_err("podman");
    assert!(error.to_string().contains("Podman under another name"), "{error}");
    let windows = json!({ "ServerVersion": "28", "OSType": "windows" });
    let error = docker(&windows, "", SOCKET, false).expect_err("another system");
    assert!(error.to_string().contains("windows containers"), "{error}");
}

#[test]
fn podman_without_root_leaves_users_as_they_are() {
    let info = |remote: bool, rootless: bool| {
        json!({
            "host": { "serviceIsRemote": remote, "security": { "rootless": rootless } },
            "version": { "Version": "5.4.2" },
        })
    };
    let engine = podman(&info(false, true), true).expect("an engine");
    assert_eq!((engine.network, engine.rootful), (Network::Host, false));
    assert!(podman(&info(false, false), true).expect("an engine").rootful);
    let machine = podman(&info(true, true), false).expect("an engine");
    assert_eq!((machine.network, machine.rootful), (Network::Published, false));
    let error = podman(&info(true, true), true).expect_err("elsewhere");
    assert!(error.to_string().contains("elsewhere"), "{error}");
}

#[test]
fn another_start_of_the_same_container_is_not_the_one_that_was_made() {
    let container = Container {
        engine: ContainerEngine::Docker,
        id: "1".to_owned(),
        name: "n".to_owned(),
        started_at: Some("2026-01-01T00:00:00.5Z".to_owned()),
    };
    let found = |running: bool, paused: bool, started: &str| {
        let state = json!({
            "Running": running, "Paused": paused, "StartedAt": started, "ExitCode": 137, "OOMKilled": true,
        });
        judge(&container, Some(&json!({ "Id": "1", "State": state })))
    };
    let ended = |how: &str| Condition::Ended(how.to_owned());
    let altered = |how: &str| Condition::Altered(how.to_owned());
    assert_eq!(found(true, false, "2026-01-01T00:00:00.5Z"), Condition::Runs);
    assert_eq!(found(true, true, "2026-01-01T00:00:00.5Z"), altered("paused"));
    assert_eq!(
        found(true, false, "2026-01-01T00:00:09Z"),
        altered("started again by somebody else")
    );
    assert_eq!(
        found(false, false, "2026-01-01T00:00:00.5Z"),
        ended("ended with status 137, out of memory")
    );
    assert_eq!(judge(&container, None), Condition::Gone);
}
