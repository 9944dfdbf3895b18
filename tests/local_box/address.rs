//! `serve.host`: where a server listens, and where it is asked.

use serde_json::json;

use super::support::project::{Project, free_port};
use super::{KEY, MODELS, serve, status, with_key};

#[test]
fn an_address_that_others_reach_wants_a_key_and_says_what_to_add() {
    let Some(mut project) = Project::new() else { return };
    for host in ["0.0.0.0", "::", "192.0.2.7"] {
        serve(&project, &format!("host = \"{host}\""));
        project.run("plan").exits(65).says(&[
            "goatbuild::spec::open_host",
            host,
            "add `auth = \"api-key\"` beside it",
            "`api-key-secret = \"NAME\"` to [target.local]",
            "specs/tiny.toml:11",
        ]);
    }
    serve(&project, "host = \"box.local\"");
    project.run("plan").exits(65).says(&["an IP address of this machine", "depends on who asks"]);
    serve(&project, "host = \"0.0.0.0\"\nauth = \"api-key\"");
    project.run("plan").exits(65).says(&["target.local.api-key-secret", "in goatbuild.toml's"]);
    with_key(&mut project);
    serve(&project, "host = \"192.0.2.7\"\nauth = \"api-key\"");
    // TEST-NET-1 of RFC 5737 is nobody's address.
    project.run("plan").exits(0).says(&["this machine has no address 192.0.2.7"]);
    project.run("apply").fails(1, &["this machine has no address 192.0.2.7", "ip address"]);
    assert!(project.served("tiny").is_none());
}

#[test]
fn a_server_is_asked_where_it_listens_and_another_address_is_another_deployment() {
    let Some(mut project) = Project::new() else { return };
    with_key(&mut project);
    let port = free_port();
    let [v4, v6] = ["127.0.0.1", "[::1]"].map(|host| format!("{host}:{port}"));
    serve(&project, &format!("port = {port}"));
    project.apply("").ran();
    // What is written out that goes without saying is no change.
    for same in ["127.0.0.1", "localhost"] {
        serve(&project, &format!("port = {port}\nhost = \"{same}\""));
        assert_eq!(project.plan("").ids("run"), [""; 0], "{same}");
    }
    let entry = |url: &str| project.read("litellm.yaml").contains(&format!("{url}/v1"));
    assert!(entry(&format!("http://{v4}")));

    serve(&project, &format!("port = {port}\nhost = \"::1\""));
    let plan = project.plan("");
    assert_eq!(plan.why("deploy:tiny"), ["changed serve.host"]);
    assert_eq!(plan.step("deploy:tiny")["reasons"][0]["new"], json!("::1"));
    assert_eq!(project.apply("").ran(), ["deploy:tiny", "gateway:tiny", "smoke:tiny"]);
    assert_eq!(status(&v6, MODELS, None), Some(200));
    assert_eq!(status(&v4, MODELS, None), None);
    assert!(entry(&format!("http://{v6}")));
    project.run("status").exits(0).says(&["running", "as specified", &format!("http://{v6}/v1")]);
    project.run("test tiny").exits(0).says(&[&format!("http://{v6}/v1")]);

    for (host, asked) in [("0.0.0.0", &v4), ("::", &v6)] {
        serve(&project, &format!("port = {port}\nhost = \"{host}\"\nauth = \"api-key\""));
        let applied = project.run("apply").exits(0);
        applied.says(&[&format!(
            "curl http://{asked}/v1/chat/completions -H \"Authorization: Bearer $GOAT_KEY\""
        )]);
        assert_eq!(status(asked, MODELS, None), Some(401), "{host}");
        assert_eq!(status(asked, MODELS, Some(KEY)), Some(200), "{host}");
        assert!(entry(&format!("http://{asked}")), "{host}");
        project.run("test tiny").exits(0);
        project.run("status").exits(0).says(&["as specified", "auth api-key: for who has the key"]);
        assert_eq!(project.apply("").ran(), [""; 0], "{host}");
    }
}

#[test]
fn two_models_have_one_port_where_neither_hears_what_the_other_does() {
    let Some(project) = Project::new() else { return };
    let port = free_port();
    project.write("specs/other.toml", &project.read("specs/tiny.toml"));
    let other = |host: &str| {
        let spec = Project::undisturbed("specs/tiny.toml");
        let lines = format!("{spec}\n[serve]\nport = {port}\nhost = \"{host}\"\n");
        project.write("specs/other.toml", &lines);
    };
    serve(&project, &format!("port = {port}"));
    other("localhost");
    project.run("plan").exits(65).says(&["goatbuild::spec::duplicate_port"]);
    other("::1");
    project.apply("").ran();
    let answers: Vec<_> =
        ["127.0.0.1", "[::1]"].map(|host| status(&format!("{host}:{port}"), MODELS, None)).into();
    assert_eq!(answers, [Some(200), Some(200)]);
    assert_ne!(project.instance("tiny"), project.instance("other"));
    assert_eq!(project.apply("").ran(), [""; 0]);
    // One is started anew and takes nothing from the other.
    project.run("apply --replace deploy:other --yes").exits(0);
    assert_eq!(status(&format!("127.0.0.1:{port}"), MODELS, None), Some(200));
    project.run("destroy other --yes").exits(0);
    assert_eq!(status(&format!("[::1]:{port}"), MODELS, None), None);
}
