//! Variables that goatbuild sets itself: nobody overrides them unheard.

use super::support::project::Project;

const SPEC: &str = "specs/qwen3-4b.toml";

#[test]
fn what_goatbuild_sets_is_refused_where_it_is_set_otherwise() {
    let clone = Project::shipped().in_ci_without_a_network();
    let env = |line: &str| format!("\n[env]\n{line}\n");
    for (path, from, to, told) in [
        (SPEC, "\n[serve]", env("VLLM_CACHE_ROOT = \"/x\"") + "\n[serve]", "VLLM_CACHE_ROOT"),
        (SPEC, "\n[serve]", env("HF_HUB_OFFLINE = \"0\"") + "\n[serve]", "HF_HUB_OFFLINE"),
        (
            SPEC,
            "\n[serve]",
            env("TIKTOKEN_ENCODINGS_BASE = \"/x\"") + "\n[serve]",
            "TIKTOKEN_ENCODINGS_BASE",
        ),
        (
            "images/standard.toml",
            "\nrequirements",
            "\nenv = { TRITON_CACHE_DIR = \"/x\" }\nrequirements".to_owned(),
            "TRITON_CACHE_DIR",
        ),
        (
            "goatbuild.toml",
            "[defaults]\n",
            "[defaults]\nenv = { FLASHINFER_WORKSPACE_BASE = \"/x\" }\n".to_owned(),
            "FLASHINFER_WORKSPACE_BASE",
        ),
    ] {
        let text = clone.read(path);
        clone.edit(path, from, &to);
        let line = clone.read(path).lines().position(|line| line.contains(told)).unwrap() + 1;
        let place = format!("{path}:{line}");
        let message = format!("goatbuild sets the variable {told} itself");
        clone.run("plan").fails(65, &[&message]).tells(&["goatbuild::spec::own_variable", &place]);
        clone.write(path, &text);
    }
}

#[test]
fn what_says_the_same_or_matters_to_nothing_is_left_to_the_spec() {
    let clone = Project::shipped().in_ci_without_a_network();
    let plain = clone.run("plan").done();
    let same =
        "\n[env]\nHF_HUB_OFFLINE = \"ON\"\nHF_HOME = \"/data\"\nHF_HUB_CACHE = \"/data/hub\"\n";
    clone.append(SPEC, same);
    assert!(!clone.run("plan").done().contains("not what goatbuild sets"), "{plain}");
    clone.append(SPEC, "VLLM_NO_USAGE_STATS = \"0\"\n");
    let told = "the spec's VLLM_NO_USAGE_STATS counts, and not what goatbuild sets";
    assert!(clone.run("plan").done().contains(told));
}
