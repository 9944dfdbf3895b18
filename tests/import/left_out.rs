//! What goatbuild's own check refuses is left out and told, field by field.

use super::Place;

/// A script with a value on each line that a project can't have.
const ODD: &str = r#"import subprocess

import modal

image = (
    modal.Image.from_registry("nvidia/cuda:12 .8", add_python="3.12.4")
    .pip_install("vllm==0.13.0")
    .env({"1ST": "x", "SECOND": "1"})
)
app = modal.App("odd")
volumes = {"/root/.cache/huggingface": modal.Volume.from_name("no name!")}


@app.function(
    image=image,
    gpu="L4",
    region="somewhere else",
    volumes=volumes,
    priority="high",
)
@modal.web_server(8000)
def serve():
    cmd = ["vllm", "serve", "acme/tiny", "--max-model-len", "4096"]
    cmd += ["--served-model-name", "two words"]
    cmd += ["--revision", "no such thing"]
    subprocess.Popen(cmd)
"#;

#[test]
fn what_a_project_cannot_say_is_left_out_and_told_with_its_line() {
    let place = Place::new();
    place.write("deploy.py", ODD);
    let done = place.run("import deploy.py").exits(0);
    for (line, field) in [
        (6, "debian:bookworm-slim is written"),
        (6, "3.12 is written"),
        (8, "images/vllm.toml is without `env.1ST`"),
        (11, "goatbuild.toml is without `volumes.model-cache`"),
        (17, "specs/odd.toml is without `serve.region`"),
        (19, "`priority`: specs have no such setting"),
        (24, "specs/odd.toml is without `serve.served-name`"),
        (25, "specs/odd.toml is without `model.revision`"),
    ] {
        let told = done.stdout.find(field).unwrap_or_else(|| panic!("{field}: {}", done.stdout));
        let place = done.stdout[..told].rfind("deploy.py").unwrap();
        assert!(done.stdout[place..].starts_with(&format!("deploy.py:{line}: ")), "{field}");
    }
    let spec: toml::Table = place.read("specs/odd.toml").parse().unwrap();
    assert_eq!(spec["engine"]["max-model-len"].as_integer(), Some(4096));
    let image: toml::Table = place.read("images/vllm.toml").parse().unwrap();
    assert_eq!(image["env"].as_table().unwrap().keys().collect::<Vec<_>>(), ["SECOND"]);
    place.run("check --offline").says(&["specs: 1 model, 1 image"]);
    // What is printed is what is written.
    let dry = place.run("import deploy.py --dry-run --to elsewhere").exits(0);
    assert!(!dry.stdout.contains("region = "), "{}", dry.stdout);
    dry.says(&["specs/odd.toml is without `serve.region`"]);
}

#[test]
fn without_what_a_spec_needs_nothing_is_written() {
    let place = Place::new();
    place.write("deploy.py", ODD.replace("acme/tiny", "acme/ti:ny"));
    let refused = place.run("import deploy.py").exits(65);
    refused.says(&["goatbuild::import::unsound", "model.source", "nothing was written"]);
    assert!(!place.path("goatbuild.toml").exists());
}
