//! The workflow of docs/ci.md: run after run, each on a fresh clone of what the runs before it pushed.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::Remote;
use super::support::modal::share_client;
use super::support::workflow::{github, script};
use super::support::{installed, peers};

/// What nobody commits, as `init` writes it.
const IGNORED: &str = "cache/\n*.plan\nplan.md\nplan.err\n";

/// A repository on this machine, and a project that is in it.
struct Repository {
    remote: Remote,
    bare: TempDir,
}

/// A fresh clone, on a runner that has nothing else.
struct Runner<'a> {
    repository: &'a Repository,
    /// Removed in the end, with the clone below it.
    _directory: TempDir,
    clone: PathBuf,
}

impl Repository {
    /// `None`, loudly, when a part of it can't be had.
    fn new() -> Option<Self> {
        let remote = Remote::new()?;
        if Command::new("git").arg("--version").output().is_err() {
            peers::skipped("git", "it is not on the PATH");
            return None;
        }
        let project = &remote.hubbed.project;
        project.write("dev/litellm.yaml", &project.read("litellm.yaml"));
        project.edit("goatbuild.toml", "\"litellm.yaml\"", "\"dev/litellm.yaml\"");
        project.run("lock").exits(0);
        project.write(".gitignore", IGNORED);
        let bare = tempfile::tempdir().unwrap();
        let repository = Self { remote, bare };
        let root = repository.remote.hubbed.project.root();
        repository.git(&root, "init --quiet --initial-branch main");
        repository.git(&root, "add --all");
        repository.git(&root, "commit --quiet --message first");
        repository.git(repository.bare.path(), "init --quiet --bare --initial-branch main");
        repository.git(&root, &format!("remote add origin {}", repository.url()));
        repository.git(&root, "push --quiet origin main");
        Some(repository)
    }

    fn url(&self) -> String {
        format!("file://{}", self.bare.path().display())
    }

    #[track_caller]
    fn git(&self, at: &Path, arguments: &str) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]);
        self.remote.hubbed.project.prepare(&mut command);
        let output = command.args(arguments.split(' ')).current_dir(at).output().unwrap();
        assert!(output.status.success(), "git {arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// As `actions/checkout` clones: the last commit alone.
    fn runner(&self) -> Runner<'_> {
        let directory = tempfile::tempdir().unwrap();
        let clone = directory.path().join("clone");
        let url = self.url();
        let into = clone.to_str().unwrap();
        self.git(directory.path(), &format!("clone --quiet --depth 1 {url} {into}"));
        share_client(&clone, || panic!("another test has installed it"));
        Runner { repository: self, _directory: directory, clone }
    }

    /// Somebody edits and pushes, from a checkout of their own.
    fn pushes(&self, path: &str, from: &str, to: &str) {
        let root = self.remote.hubbed.project.root();
        self.git(&root, "pull --quiet --rebase origin main");
        self.remote.hubbed.project.edit(path, from, to);
        self.git(&root, "commit --quiet --all --message edit");
        self.git(&root, "push --quiet origin main");
    }
}

impl Runner<'_> {
    /// Runs a step of a job; gives its exit code and what it said.
    fn step(&self, job: &str, step: &str) -> (Option<i32>, String) {
        let mut command = Command::new("bash");
        self.repository.remote.hubbed.project.prepare(&mut command);
        let goatbuild = Path::new(installed::GOATBUILD).parent().unwrap();
        command.env("PATH", installed::path_with(goatbuild)).env("CI", "true");
        command.env("GITHUB_SHA", "abc").env("GITHUB_REF_NAME", "main").current_dir(&self.clone);
        github(&script(job, step), command)
    }

    #[track_caller]
    fn passes(&self, job: &str, step: &str) -> String {
        let (code, said) = self.step(job, step);
        assert_eq!(code, Some(0), "{step}: {said}");
        said
    }

    /// The plan that a pull request is commented with: its first lines.
    #[track_caller]
    fn planned(&self) -> String {
        self.passes("plan", "Plan");
        let text = std::fs::read_to_string(self.clone.join("plan.md")).unwrap();
        text.lines().nth(1).unwrap().to_owned()
    }

    /// What the jobs of a merge do, once the plan is at hand.
    #[track_caller]
    fn merged(&self) -> String {
        self.planned();
        self.passes("apply", "Apply exactly that");
        self.passes("apply", "Keep the gateway's entries")
    }
}

#[test]
fn each_run_of_the_workflow_finds_what_the_run_before_it_left() {
    let Some(repository) = Repository::new() else { return };
    let first = repository.runner();
    first.merged();

    // The entries came back with the next clone, and nothing is to be done.
    let second = repository.runner();
    let gateway = std::fs::read_to_string(second.clone.join("dev/litellm.yaml")).unwrap();
    assert!(gateway.contains("model_name: tiny-local"), "{gateway}");
    assert!(second.planned().starts_with("### goatbuild: nothing to do, "), "{}", second.planned());
    assert_eq!(second.passes("apply", "Keep the gateway's entries"), "");
    let log = repository.git(repository.bare.path(), "log --format=%an main");
    assert_eq!(log, "github-actions[bot]\nsomebody\n");

    // An edit of the entry alone, while somebody else merges.
    repository.pushes(
        "specs/tiny.toml",
        "image = \"tiny\"",
        "gateway = { alias = \"small\" }\nimage = \"tiny\"",
    );
    let third = repository.runner();
    third.planned();
    third.passes("apply", "Apply exactly that");
    repository.pushes(".gitignore", "plan.err", "plan.err\n.env");
    third.passes("apply", "Keep the gateway's entries");
    let fourth = repository.runner();
    assert!(fourth.planned().starts_with("### goatbuild: nothing to do, "), "{}", fourth.planned());
    let gateway = std::fs::read_to_string(fourth.clone.join("dev/litellm.yaml")).unwrap();
    assert!(gateway.contains("model_name: small") && !gateway.contains("tiny-local"), "{gateway}");

    // What happens without that step: the next run misses the entries, and writes them again.
    repository.pushes("specs/tiny.toml", "small", "smaller");
    let fifth = repository.runner();
    fifth.planned();
    fifth.passes("apply", "Apply exactly that");
    let sixth = repository.runner();
    assert!(sixth.planned().starts_with("### goatbuild: 1 to run, "), "{}", sixth.planned());
}
