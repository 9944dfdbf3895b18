//! Mistakes in the project's files: exit 65, the place, what was expected, nothing written.

use super::{built, downloaded};
use crate::support::project::Project;

/// Applies and checks that nothing at all was downloaded, changed or started.
#[track_caller]
fn refused(project: &Project, code: i32, words: &[&str]) {
    let before = (project.read("litellm.yaml"), project.read("goatbuild.lock"));
    project.run(&["apply"]).fails(code, words);
    assert_eq!(before, (project.read("litellm.yaml"), project.read("goatbuild.lock")));
    assert!(!project.path("cache/oci").exists() && project.servers() == 0);
}

#[test]
fn mistakes_in_specs_point_at_the_place_and_exit_65() {
    let Some(project) = downloaded() else { return };
    let spec = project.read("specs/tiny.toml");
    let cases: [(&str, &str, &[&str]); 5] = [
        ("image =", "imagee =", &["unknown field `imagee`", "specs/tiny.toml:", "did you mean"]),
        ("image = \"tiny\"", "image = 3", &["should be a string, but is an integer"]),
        ("\"tiny\"", "\"tin\"", &["there is no image `tin`", "did you mean `tiny`"]),
        ("image =", "target = \"modal\"\nimage =", &["target.modal"]),
        ("path:model", "path:modell", &["the directory `modell` does not exist", "tiny.toml:"]),
    ];
    for (from, to, words) in cases {
        project.edit("specs/tiny.toml", from, to);
        refused(&project, 65, words);
        project.write("specs/tiny.toml", &spec);
    }
    project.write("specs/two.toml", &spec);
    project.append("specs/two.toml", "\n[gateway]\nalias = \"tiny-local\"\n");
    refused(&project, 65, &["two models have the gateway alias `tiny-local`", "the first one"]);
    for name in ["specs/two.toml", "specs/tiny.toml"] {
        project.write(name, &format!("{spec}\n[serve]\nport = 8123\n"));
    }
    refused(&project, 65, &["two local models have the port 8123", "the first one"]);
}

#[test]
fn what_cannot_be_done_here_is_said_before_any_download() {
    let Some(project) = downloaded() else { return };
    let spec = project.read("specs/tiny.toml");
    let vllm = spec.split("[engine]").next().expect("a spec").to_owned();
    project.write("specs/tiny.toml", &vllm);
    refused(&project, 65, &["has no vllm", "images/tiny.toml"]);
    project.write("specs/tiny.toml", &format!("target = \"modal\"\n{spec}"));
    project.append("specs/tiny.toml", "[hardware]\ngpu = \"H100\"\n");
    project.append("goatbuild.toml", "[target.modal]\nworkspace = \"acme\"\n");
    refused(&project, 1, &["there are no credentials for Modal: tiny", "`modal token new`"]);
}

#[test]
fn files_that_are_no_text_and_locks_that_are_no_locks_are_left_as_they_are() {
    let Some(project) = downloaded() else { return };
    let bytes = |text: String| [text.as_bytes(), b"# \xff\xfe\n"].concat();
    for (name, words) in [
        ("specs/tiny.toml", ["the file is not UTF-8 text", "save the file as UTF-8"]),
        ("goatbuild.lock", ["goatbuild.lock can't be read: it is not UTF-8", "resolve the merge"]),
        ("images/tiny.pylock.toml", ["images/tiny.pylock.toml: ", "resolve the merge"]),
    ] {
        let text = project.read(name);
        project.write(name, &bytes(text.clone()));
        refused(&project, 65, &words);
        assert_eq!(std::fs::read(project.path(name)).expect("reads"), bytes(text.clone()));
        project.write(name, &text);
    }
    for name in ["goatbuild.lock", "images/tiny.pylock.toml"] {
        let text = project.read(name);
        let merged = format!("<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n");
        project.write(name, &merged);
        refused(&project, 65, &[name, "<<<<<<< HEAD", "resolve the merge"]);
        assert_eq!(project.read(name), merged);
        project.write(name, &text);
    }
    project.edit("goatbuild.lock", "version = 1", "version = 2");
    refused(&project, 65, &["has format 2; this goatbuild knows 1", "use a newer goatbuild"]);
}

#[test]
fn an_empty_directory_of_weights_and_a_cache_of_a_newer_goatbuild_are_refused() {
    let Some(project) = downloaded() else { return };
    std::fs::remove_file(project.path("model/server.py")).expect("removes");
    refused(&project, 65, &["the directory `model` has no files"]);
    project.write("model/config.json", "{}\n");
    let database = rusqlite::Connection::open(project.path("cache/state.db")).expect("opens");
    database.pragma_update(None, "user_version", 9).expect("updates");
    refused(
        &project,
        1,
        &["made by a newer goatbuild (layout 9, this one knows 1)", "move `cache/`"],
    );
}

#[test]
fn a_broken_gateway_file_is_pointed_at_before_anything_else() {
    let Some(project) = built() else { return };
    project.run(&["apply"]).exits(0);
    let served = project.serving();
    let lock = project.read("goatbuild.lock");
    let broken = "model_list:\n  - model_name: x\n   bad: [\n";
    project.write("litellm.yaml", broken);
    project.append("specs/tiny.toml", "\n[serve]\nmax-inputs = 7\n");
    project.run(&["apply"]).fails(1, &["litellm.yaml:3:4 is not valid YAML", "left as it is"]);
    assert_eq!((project.read("litellm.yaml").as_str(), project.serving()), (broken, served));
    assert_eq!(project.read("goatbuild.lock"), lock);
}
