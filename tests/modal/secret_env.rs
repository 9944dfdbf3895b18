//! Secrets that a model's engine takes at Modal: by the names that Modal has for them.

use std::fs;

use super::Remote;
use super::support::hubbed::SPEC;
use super::support::stages::FETCHED;

const VALUE: &str = "hush-secret-env-4b7a";

/// How many engines have the value in this variable.
fn engines(variable: &str) -> usize {
    let wanted = format!("{variable}={VALUE}");
    let has = |process: &fs::DirEntry| {
        let read = |file| fs::read(process.path().join(file)).unwrap_or_default();
        String::from_utf8_lossy(&read("cmdline")).contains("server.py")
            && read("environ").split(|byte| *byte == 0).any(|it| it == wanted.as_bytes())
    };
    fs::read_dir("/proc").unwrap().flatten().filter(has).count()
}

#[test]
fn an_engine_takes_a_secret_of_modals_by_name_and_nothing_is_sent_there() {
    let Some(remote) = Remote::at(&FETCHED) else { return };
    let project = &remote.hubbed.project;
    let spec = project.read(SPEC);
    project.write(SPEC, &format!("secret-env = {{ MY_TOKEN = \"tiny-secret\" }}\n{spec}"));
    project.run("plan").exits(65).says(&["no secret `tiny-secret`"]);
    project.append("goatbuild.toml", "\n[secrets]\ntiny-secret = {}\n");
    let lacks = "Modal has no secret tiny-secret in the environment goat";
    project.run("plan").exits(0).says(&[lacks, "with MY_TOKEN in the file"]);
    project.run("apply --yes").exits(1).says(&["goatbuild::target::lacks", lacks]);
    remote.client(&["secret", "create", "--env", "goat", "tiny-secret", "OTHER=1"]);
    project.run("apply --yes").exits(1).says(&["tiny-secret", "has no MY_TOKEN"]);
    let value = format!("MY_TOKEN={VALUE}");
    remote.client(&["secret", "create", "--force", "--env", "goat", "tiny-secret", &value]);
    project.run("apply --yes").exits(0);
    assert_eq!(engines("MY_TOKEN"), 1);
    for file in walkdir::WalkDir::new(project.root()).into_iter().flatten() {
        let bytes = fs::read(file.path()).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&bytes).contains(VALUE), "{file:?}");
    }
    // A new value is a new deployment once it is said to be.
    assert_eq!(project.plan("").ids("run"), [] as [&str; 0]);
    project.edit("goatbuild.toml", "tiny-secret = {}", "tiny-secret = { generation = 2 }");
    assert_eq!(project.plan("").why("deploy:tiny"), ["changed secrets.tiny-secret.generation"]);
    assert_eq!(project.apply("--yes").ran(), ["deploy:tiny", "smoke:tiny"]);
    // What warms an engine up starts it as it serves.
    project.edit(SPEC, "name = \"command\"", "name = \"command\"\ncompiles = true");
    let out = remote.hubbed.home.path().join("programs");
    project.run(&format!("render tiny -o {}", out.display())).exits(0);
    let warmup = fs::read_to_string(out.join("tiny/warmup.py")).unwrap();
    assert!(warmup.contains("\"variable\": \"MY_TOKEN\""), "{warmup}");
    assert!(project.apply("--yes").ran().contains(&"warmup:tiny".to_owned()));
}
