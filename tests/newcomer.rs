//! What somebody meets first: `init`, `add`, `completions`, `schema`.

use crate::support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::hub::{COMMIT, HubDouble};
use support::project::{Project, ran, wants_network};
use support::{installed, peers};

/// An empty directory. Nobody is there, unless a test starts a hub.
fn somewhere() -> Project {
    let mut place = Project::empty("here");
    let home = place.directory().to_str().unwrap().to_owned();
    for (name, value) in [
        ("HF_ENDPOINT", "http://127.0.0.1:9"),
        ("HF_HOME", home.as_str()),
        ("GOATBUILD_HTTP_ATTEMPTS", "1"),
    ] {
        place.variable(name, value);
    }
    place
}

/// A directory in which `init` was run.
fn begun() -> Project {
    let place = somewhere();
    place.run("init").done();
    place
}

/// Every file with its bytes.
fn files(place: &Project) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = walkdir::WalkDir::new(place.root()).sort_by_file_name().into_iter();
    let files = entries.map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    files.map(|file| (file.path().to_owned(), fs::read(file.path()).unwrap())).collect()
}

#[test]
fn a_new_project_can_be_checked_and_planned() {
    let place = begun();
    let specs = place.run(&["check"]).stdout;
    assert!(specs.contains("specs: 1 model, 1 image"), "{specs}");
    assert_eq!(place.read("cache/.gitignore"), "*\n!.gitignore\n");
    let planned = place.run(&["plan"]);
    if planned.code != 0 && wants_network(&planned.stderr) {
        peers::skipped("the package index", &planned.stderr);
        return;
    }
    let plan = planned.done();
    for step in ["weights:models/tiny-qwen3", "deploy:tiny-qwen3", "smoke:tiny-qwen3"] {
        assert!(plan.contains(step), "{step} is not in:\n{plan}");
    }
}

#[test]
fn every_project_has_an_id_of_its_own() {
    let id = |place: &Project| {
        let text = place.read("goatbuild.toml");
        let line = text.lines().find(|line| line.starts_with("id = ")).unwrap().to_owned();
        assert!(line.starts_with("id = \"here-"), "{line}");
        line
    };
    assert_ne!(id(&begun()), id(&begun()));
}

#[test]
fn a_project_can_be_begun_in_a_directory_that_is_not_there() {
    let place = somewhere();
    let said = place.run(&["init", "Größe & mehr"]).done();
    assert!(said.contains("cd 'Größe & mehr'\n"), "{said}");
    let text = place.read("Größe & mehr/goatbuild.toml");
    assert!(text.contains("id = \"gr-e-mehr-"), "{text}");
    assert!(place.run(&["-C", "Größe & mehr", "check"]).stdout.contains("1 model"));
    let empty = somewhere();
    empty.run(&["init", "--empty"]).done();
    assert!(empty.run(&["check"]).stdout.contains("specs: 0 models, 0 images"));
}

#[test]
fn nothing_that_is_there_is_written_over() {
    let place = begun();
    let before = files(&place);
    place.run("init").fails(64, &["goatbuild::usage::exists"]);
    assert_eq!(files(&place), before);
    // A file that an example would have: nothing else is written either.
    let place = somewhere();
    place.run(&["schema", "--write", "x"]).done();
    fs::create_dir_all(place.path("images")).unwrap();
    fs::write(place.path("images/mlx.toml"), "# mine\n").unwrap();
    let before = files(&place);
    place.run("init").fails(64, &["images/mlx.toml is there already"]);
    assert_eq!(files(&place), before);
}

#[test]
fn a_model_is_added_beside_the_others() {
    let place = begun();
    let before = files(&place);
    let said = ["http://127.0.0.1:9/", "can't be reached", "`goatbuild lock` finds out"];
    place.run("add hf:Qwen/Qwen3-0.6B").exits(0).tells(&said);
    let text = place.read("specs/qwen3-0.6b.toml");
    assert!(text.contains("source = \"hf:Qwen/Qwen3-0.6B\"\n# The hub's default branch"), "{text}");
    assert!(text.contains("image = \"mlx\"") && text.contains("name = \"mlx-lm\""), "{text}");
    place.run(&["add", "hf:org/Some_Model", "--as", "some", "--gpu", "H100:2"]).done();
    assert!(place.read("specs/some.toml").contains("gpu = \"H100\"\ncount = 2\n"));
    let shown = place.run(&["show", "some"]).done();
    assert!(shown.contains("hardware.count"), "{shown}");
    assert!(before.iter().all(|(path, bytes)| fs::read(path).unwrap() == *bytes));
    let all = files(&place);
    for (arguments, code, said) in [
        (vec!["hf:Qwen/Qwen3-0.6B"], 64, "specs/qwen3-0.6b.toml is there already"),
        (vec!["hf:org/name", "--as", "A B"], 64, "`A B` can't be the name of a model"),
        (vec!["hf:org/name", "--image", "mlxx"], 64, "did you mean `mlx`?"),
        (vec!["hf:org/name", "--gpu", "H10"], 65, "there is no GPU `H10`"),
        (vec!["hf:org/name", "--gpu", "H100:x"], 64, "`H100:x` is no GPU with a count"),
        (vec!["org/name"], 64, "`org/name` is no source of weights"),
        (vec!["path:nonexist"], 64, "nonexist is no directory of the project"),
        (vec!["hf:org/name", "--target", "modal"], 65, "[target.modal]"),
        (vec!["hf:org/name", "--revision", "a b"], 65, "`model.revision` can't be \"a b\""),
    ] {
        place.run(&[&["add"], &*arguments].concat()).fails(code, &[said]);
    }
    assert_eq!(files(&place), all);
}

#[test]
fn a_model_on_the_hub_is_added_at_the_commit_that_the_hub_names() {
    let (mut place, hub) = (begun(), HubDouble::start());
    hub.small("acme/tiny", "config.json", r#"{"model_type": "qwen3", "hidden_size": 64}"#);
    place.variable("HF_ENDPOINT", &hub.url);
    let said = format!("hf:acme/tiny@main pinned at {}: 1 file, 42 B", &COMMIT[..8]);
    place.run("add hf:acme/tiny").exits(0).tells(&[&said]);
    let text = place.read("specs/tiny.toml");
    let line = format!("revision = \"{COMMIT}\"   # `main` when this was added\n");
    assert!(text.contains(&line), "{text}");
    let lock = place.read("goatbuild.lock");
    assert!(lock.contains(&format!("[hub.\"acme/tiny@{COMMIT}\".files]")), "{lock}");
    // A branch stays one in the spec, and the lock says where it stands.
    let added = place.run(&["add", "hf:acme/tiny", "--as", "branch", "--revision", "refs/pr/1"]);
    assert!(added.stderr.contains("hf:acme/tiny@refs/pr/1 is 01234567"), "{}", added.stderr);
    assert!(place.read("specs/branch.toml").contains("revision = \"refs/pr/1\"\n"));
    assert!(place.read("goatbuild.lock").contains("[hub.\"acme/tiny@refs/pr/1\""));

    let before = files(&place);
    for (arguments, said) in [
        (vec!["hf:acme/tinny"], "there is no model acme/tinny"),
        (vec!["hf:acme/tiny", "--as", "other", "--revision", "nope"], "has no revision nope"),
    ] {
        place.run(&[&["add"], &*arguments].concat()).fails(1, &[said]);
    }
    let specs = |files: &[(PathBuf, Vec<u8>)]| {
        files.iter().filter(|(path, _)| path.ends_with(".toml")).count()
    };
    assert_eq!(specs(&files(&place)), specs(&before));
    // Offline nobody is asked, and the lock says so later.
    hub.forget_requests();
    let added = place.run(&["--offline", "add", "hf:acme/tiny", "--as", "later"]);
    assert!(added.stderr.contains("not asked for, with --offline"), "{}", added.stderr);
    assert!(place.read("specs/later.toml").contains("# revision = "));
    // CI's lock stays as it is; the spec names the commit all the same.
    let lock = place.read("goatbuild.lock");
    assert_eq!(hub.requests().len(), 0);
    place.run(&["--locked", "add", "hf:acme/tiny", "--as", "locked"]).done();
    assert!(place.read("specs/locked.toml").contains(&line));
    assert_eq!(place.read("goatbuild.lock"), lock);
}

/// What bash offers for a line that is being typed, with the printed script loaded.
fn bash(place: &Project, line: &str) -> Vec<String> {
    // What `complete -F` would be called with, word by word as bash itself splits the line.
    let program = r#"
        source <("$GOATBUILD" completions bash)
        COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
        spaced=${COMP_LINE//:/ : }
        read -ra COMP_WORDS <<< "$spaced"
        [[ $COMP_LINE == *[[:space:]:] ]] && COMP_WORDS+=("")
        COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
        complete -p goatbuild > /dev/null || exit 7
        _goatbuild_complete goatbuild "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", program, "bash", line]).current_dir(place.path(""));
    command.env("GOATBUILD", installed::GOATBUILD).env_remove("GOATBUILD_COMPLETE");
    let said = ran(command.stdin(Stdio::null()));
    assert_eq!(said.code, 0, "{}", said.stderr);
    said.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_the_projects_names() {
    let place = begun();
    place.run(&["add", "hf:Qwen/Qwen3-0.6B"]).done();
    assert_eq!(bash(&place, "goatbuild pl"), ["plan"]);
    assert_eq!(bash(&place, "goatbuild plan "), ["qwen3-0.6b", "tiny-qwen3"]);
    assert_eq!(bash(&place, "goatbuild -C . destroy ti"), ["tiny-qwen3"]);
    assert_eq!(bash(&place, "goatbuild add hf:org/name --image "), ["mlx"]);
    assert_eq!(bash(&place, "goatbuild schema s"), ["spec"]);
    assert!(bash(&place, "goatbuild add hf:org/name --gpu H").contains(&"H100".to_owned()));
    // Nothing compiles here.
    assert_eq!(bash(&place, "goatbuild plan --only warm"), [""]);
    assert_eq!(bash(&place, "goatbuild why depl"), ["deploy:qwen3-0.6b", "deploy:tiny-qwen3"]);
    // Bash itself sees a word that begins behind the colon.
    assert_eq!(bash(&place, "goatbuild why deploy:"), ["qwen3-0.6b", "tiny-qwen3"]);
    assert_eq!(bash(&place, "goatbuild apply --only weights:Q"), ["Qwen/Qwen3-0.6B"]);
    // Outside of a project, and in a broken one, there are still commands.
    fs::write(place.path("goatbuild.toml"), "[project\n").unwrap();
    assert_eq!(bash(&place, "goatbuild why deploy:t"), ["tiny-qwen3"]);
    assert!(bash(&begun(), "goatbuild plan --ver").contains(&"--verbose".to_owned()));
}

#[test]
fn every_shell_has_a_script() {
    let place = begun();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = place.run(&["completions", shell]).done();
        assert!(script.contains("GOATBUILD_COMPLETE"), "{shell}: {script}");
        assert!(script.contains(installed::GOATBUILD), "{shell}: {script}");
    }
}

#[test]
fn schemas_are_printed_and_written_alike() {
    let place = begun();
    for which in ["project", "spec", "image"] {
        let printed = place.run(&["schema", which]).done();
        assert_eq!(printed, place.read(&format!(".schemas/{which}.schema.json")));
        let published = format!("{}/schemas/{which}.schema.json", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(printed, fs::read_to_string(Path::new(&published)).unwrap());
    }
}
