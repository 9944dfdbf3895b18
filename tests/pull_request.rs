//! What a pull request shows, and the workflow of docs/ci.md, with the real binary.

#![cfg(target_os = "linux")]

use crate::support;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::project::Project;
use support::workflow::{self, github, script};
use support::{installed, peers};

const SPEC: &str = "specs/tiny.toml";

/// GitHub's own renderer, and a reader of what it makes: cells, and what stands as code.
const READER: &str = r#"
import html.parser, json, sys, cmarkgfm
class Reader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows, self.codes, self.open, self.tags = [], [], False, []
    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "tr": self.rows.append(0)
        if tag in ("td", "th"): self.rows[-1] += 1
        if tag == "code": self.codes.append(""); self.open = True
    def handle_endtag(self, tag):
        if tag == "code": self.open = False
    def handle_data(self, text):
        if self.open: self.codes[-1] += text
reader = Reader()
from cmarkgfm.cmark import Options
reader.feed(cmarkgfm.github_flavored_markdown_to_html(sys.stdin.read(), Options.CMARK_OPT_UNSAFE))
print(json.dumps({"rows": reader.rows, "codes": reader.codes, "tags": sorted(set(reader.tags))}))
"#;

#[test]
fn githubs_renderer_shows_every_value_as_it_is() {
    let requirements = ["cmarkgfm==2025.10.22", "cffi==2.1.1", "pycparser==3.12"];
    let Some(venv) = peers::venv("cmarkgfm", &requirements) else { return };
    let Some(project) = Project::applied() else { return };
    let nasty = [
        "a|b",
        "`tick`",
        "``",
        "</details><script>",
        "x\\|y",
        "@someone #1 https://example.org",
        "**bold** _it_ ~~no~~",
        "[a](b)",
        "&amp;",
        "ends with \\",
        " ",
    ];
    let mut env = String::from("[env]\n");
    for (at, value) in nasty.iter().enumerate() {
        let _ = writeln!(env, "N{at:02} = '{value}'");
    }
    project.append(SPEC, &env);
    let markdown = project.run("plan --format markdown").exits(0).stdout;
    assert_eq!(markdown, project.run("plan --format markdown").exits(0).stdout, "stable");
    assert!(markdown.starts_with("<!-- goatbuild plan table-4c19d2 default -->\n### goatbuild: 1 to run, 1 pending, 5 fresh\n"), "{markdown}");
    let mut reader = Command::new(venv.join("bin/python"))
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    reader.stdin.take().unwrap().write_all(markdown.as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success());
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read["rows"], json!([3, 3, 3]), "{markdown}");
    let codes: Vec<&str> =
        read["codes"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    for value in nasty {
        assert!(codes.contains(&value), "`{value}` is not shown as it is: {codes:?}\n{markdown}");
    }
    let tags = ["code", "details", "summary", "table"];
    assert!(
        tags.iter().all(|tag| read["tags"].as_array().unwrap().contains(&json!(tag))),
        "{read}"
    );
    for tag in ["script", "a", "strong", "em", "del"] {
        // `run` in the table is strong.
        let found = read["tags"].as_array().unwrap().contains(&json!(tag));
        assert_eq!(found, tag == "strong", "<{tag}> in {markdown}");
    }
}

#[test]
fn formats_are_one_switch() {
    let Some(project) = Project::new() else { return };
    let json = project.run("plan --json").exits(0).stdout;
    assert_eq!(project.run("plan --format json").exits(0).stdout, json);
    assert_eq!(project.run("plan --format text").exits(0).stdout, project.run("plan").stdout);
    project.run("plan --json --format json").exits(64);
    project.run("plan --format html").exits(64).says(&["markdown"]);
    // Errors are JSON where the result would be.
    project.append(SPEC, "nonsense = 1\n");
    let error = project.run("plan --format json").exits(65).stdout;
    assert_eq!(serde_json::from_str::<Value>(&error).unwrap()["event"], "error");
}

/// The command lines of a workflow's steps, wherever they stand, in order.
fn commands(yaml: &serde_yaml_ng::Value, found: &mut Vec<String>) {
    match yaml {
        serde_yaml_ng::Value::Mapping(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(text) if key.as_str() == Some("run") => {
                        found.extend(text.lines().map(str::to_owned));
                    }
                    _ => commands(value, found),
                }
            }
        }
        serde_yaml_ng::Value::Sequence(items) => {
            for item in items {
                commands(item, found);
            }
        }
        _ => {}
    }
}

#[test]
fn the_documented_workflow_plans_and_applies() {
    let mut lines = Vec::new();
    let documents = workflow::documents();
    for document in &documents {
        commands(document, &mut lines);
    }
    assert_eq!(documents.len(), 3);
    let lines: Vec<String> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("goatbuild "))
        // Where the output goes is the shell's affair.
        .map(|line| line.split(" >").next().unwrap().to_owned())
        .collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    let Some(project) = Project::applied() else { return };
    let ci = [("CI", "true")];
    project.append(SPEC, "[env]\nGREETING = \"ciao\"\n");
    for line in &lines {
        let ran = project.run_with(line, &ci).exits(0);
        if line.contains("markdown") {
            assert!(ran.stdout.starts_with("<!-- goatbuild plan "), "{}", ran.stdout);
        }
    }
    assert_eq!(project.ask("tiny").as_deref(), Some("ciao"));
    // The first plan was applied by the second command.
    project.run_with(&lines[1], &ci).exits(3).says(&["was applied already"]);
    // What is said of locks.
    project.append("images/tiny.toml", "env = { A = \"1\" }\n");
    project.edit("images/tiny.toml", "requirements = []", "requirements = [\"iniconfig\"]");
    project.run_with(&lines[0], &ci).exits(65).says(&["images/tiny.pylock.toml is not locked"]);
}

#[test]
fn the_documented_workflow_pins_its_actions_and_says_what_each_job_may() {
    fn uses(yaml: &serde_yaml_ng::Value, found: &mut Vec<String>) {
        match yaml {
            serde_yaml_ng::Value::Mapping(map) => {
                for (key, value) in map {
                    match value.as_str() {
                        Some(text) if key.as_str() == Some("uses") => found.push(text.to_owned()),
                        _ => uses(value, found),
                    }
                }
            }
            serde_yaml_ng::Value::Sequence(items) => {
                for item in items {
                    uses(item, found);
                }
            }
            _ => {}
        }
    }
    let mut actions = Vec::new();
    for document in workflow::documents() {
        uses(&document, &mut actions);
    }
    actions.retain(|action| !action.starts_with("./"));
    assert!(actions.len() > 4, "{actions:?}");
    for action in &actions {
        let commit = action.split_once('@').expect("a version").1;
        let is_commit = commit.len() == 40 && commit.bytes().all(|it| it.is_ascii_hexdigit());
        assert!(is_commit, "{action} is not pinned by commit");
    }
    let workflow = workflow::workflow();
    assert!(workflow["permissions"].as_mapping().expect("permissions").is_empty());
    for (name, job) in workflow["jobs"].as_mapping().expect("jobs") {
        assert!(job["permissions"].is_mapping() && job["timeout-minutes"].is_u64(), "{name:?}");
    }
}

#[test]
fn the_comment_tells_what_is_wrong_and_what_was_refused() {
    let Some(project) = Project::new() else { return };
    let plan = || {
        let mut command = Command::new("bash");
        let goatbuild = std::path::Path::new(installed::GOATBUILD).parent().unwrap();
        let path = installed::path_with(goatbuild);
        command.env("PATH", path).env("GOATBUILD_STATE_DIR", project.state()).env("CI", "true");
        command.env_remove("GOATBUILD_ENV").current_dir(project.root());
        let (code, _) = github(&script("plan", "Plan"), command);
        (code.unwrap(), project.read("plan.md"))
    };
    let (code, comment) = plan();
    assert_eq!((code, comment.contains("~~~")), (0, false), "{comment}");
    let gateway = project.read("litellm.yaml");
    project.edit("litellm.yaml", "model_name: somebody-elses", "model_name: tiny-local");
    let (code, comment) = plan();
    assert_eq!(code, 3, "{comment}");
    assert!(comment.contains("| `gateway:tiny` |"), "the plan is there: {comment}");
    let (_, end) = comment.split_once("ended with 3**\n\n~~~text\n").expect("why it ended");
    assert!(end.contains("goatbuild::plan::conflict\n"), "{comment}");
    project.write("litellm.yaml", &gateway);
    project.append(SPEC, "nonsense = 1\n");
    let (code, comment) = plan();
    assert_eq!(code, 65, "{comment}");
    assert!(comment.contains("nonsense") && comment.ends_with("\n~~~\n"), "{comment}");
}

#[test]
fn only_the_plan_that_was_reviewed_is_fetched() {
    const GH: &str = r#"#!/bin/sh
case "$1 $2" in
"pr list") cat head ;;
"run list") case "$*" in *"--commit  "*) echo 1 ;; *) cat run ;; esac ;;
"run download") test ! -e goatbuild.plan && echo "plan of run $3" > goatbuild.plan ;;
esac
"#;
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("gh"), GH).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path("gh"), mode).unwrap();
    for (head, run, code) in [("abc", "7", 0), ("", "7", 1), ("abc", "", 1)] {
        std::fs::write(path("head"), head).unwrap();
        std::fs::write(path("run"), run).unwrap();
        std::fs::write(path("goatbuild.plan"), "of before").unwrap();
        let mut command = Command::new("bash");
        command
            .env("PATH", installed::path_with(directory.path()))
            .env("GITHUB_SHA", "def")
            .current_dir(directory.path());
        let (ended, said) = github(&script("apply", "Fetch the plan that was reviewed"), command);
        assert_eq!((ended, said.contains("::error::")), (Some(code), code != 0), "{said}");
        if code == 0 {
            let plan = std::fs::read_to_string(path("goatbuild.plan")).unwrap();
            assert_eq!(plan, "plan of run 7\n");
        }
    }
}

#[test]
fn the_picture_in_the_readme_is_this_repositorys_own_graph() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = Project::shipped();
    shipped.run("--offline graph --plain -o now.svg").exits(0);
    let shown = std::fs::read_to_string(root.join("docs/graph.svg")).unwrap();
    let is_this = shipped.read("now.svg") == shown;
    assert!(is_this, "draw it anew: goatbuild graph --plain -o docs/graph.svg");
    assert!(std::fs::read_to_string(root.join("README.md")).unwrap().contains("(docs/graph.svg)"));
}
