//! A builder for tests of the real binary: a project in a temporary directory, with a state directory
//! of its own, and an environment without this machine's habits.

mod committed;
mod fixture;
mod output;
mod running;
mod served;
mod words;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

pub(crate) use self::committed::copy_all;
pub(crate) use self::fixture::wants_network;
pub(crate) use self::output::{Applied, Plan, Ran, ran};
pub(crate) use self::running::{Running, eventually, free_port};
pub(crate) use self::words::Words;
use super::engines::Engine;
use super::installed;

/// What of the machine's environment no command gets.
const HABITS: [&str; 7] = [
    "CI",
    "GOATBUILD_ENV",
    "SOURCE_DATE_EPOCH",
    "COLUMNS",
    "CLICOLOR_FORCE",
    "XDG_STATE_HOME",
    "HF_TOKEN",
];

enum Place {
    Kept(PathBuf),
    Temporary(TempDir, String),
}

/// A project on the local target; dropping it stops its servers.
pub(crate) struct Project {
    directory: Place,
    /// What every command gets in its environment.
    variables: Vec<(String, String)>,
    /// The first words of every command; the binary is one of them.
    pub(crate) wrapper: Vec<String>,
    /// What it is written with, so that it can be read again once a test is over.
    files: &'static [(&'static str, &'static str)],
    /// Whether commands get nothing of the environment of these tests but a `PATH`.
    knows_nothing: bool,
}

impl Project {
    fn at(directory: Place, files: &'static [(&'static str, &'static str)]) -> Self {
        let wrapper = vec![installed::GOATBUILD.to_owned()];
        Self { directory, variables: Vec::new(), wrapper, files, knows_nothing: false }
    }

    /// Has images run by this engine from now on.
    pub(crate) fn served_by(&mut self, engine: &Engine) {
        const SETTING: &str = "runtime = \"";
        let text = self.read("goatbuild.toml");
        let (before, rest) = text.split_once(SETTING).expect("a setting");
        let (_, rest) = rest.split_once('"').expect("its end");
        self.write("goatbuild.toml", &format!("{before}{SETTING}{}\"{rest}", engine.name));
        // All of them can be asked to stop what they started.
        for (name, value) in &engine.variables {
            match self.variables.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) if *name == "PATH" => *known = format!("{value}:{known}"),
                Some((_, known)) => known.clone_from(value),
                None => self.variables.push(((*name).to_owned(), value.clone())),
            }
        }
    }

    /// The project's directory.
    pub(crate) fn root(&self) -> PathBuf {
        match &self.directory {
            Place::Kept(path) => path.clone(),
            Place::Temporary(directory, name) => directory.path().join(name),
        }
    }

    /// The directory that holds the project and its state.
    pub(crate) fn directory(&self) -> &Path {
        match &self.directory {
            Place::Kept(path) => path.parent().expect("a parent"),
            Place::Temporary(directory, _) => directory.path(),
        }
    }

    /// A file of the project.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// The local target's state directory.
    pub(crate) fn state(&self) -> PathBuf {
        let named = self.variables.iter().find(|(name, _)| name == "GOATBUILD_STATE_DIR");
        named.map_or_else(|| self.directory().join("state"), |(_, value)| value.into())
    }

    /// Has the state directory, in which nothing is, elsewhere.
    pub(crate) fn state_at(&mut self, path: &Path) {
        fs::create_dir_all(path).expect("a state directory");
        let roots = fs::read_link(self.state().join("roots")).expect("a link");
        std::os::unix::fs::symlink(roots, path.join("roots")).expect("a link");
        self.variable("GOATBUILD_STATE_DIR", path.to_str().expect("UTF-8"));
    }

    /// What the local target keeps of the default environment.
    pub(crate) fn environment(&self) -> PathBuf {
        self.state().join("table-4c19d2/default")
    }

    /// The volumes of the default environment.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.environment().join("volumes")
    }

    /// Gives the project a directory of its own for unpacked images, in place of the link to what all
    /// tests share: for who cleans up.
    pub(crate) fn own_roots(&self) {
        let roots = self.state().join("roots");
        fs::remove_file(&roots).expect("removed");
        fs::create_dir(&roots).expect("a directory");
        File::create(roots.join(".lock")).expect("a file");
    }

    /// The text of a file of the project.
    pub(crate) fn read(&self, path: &str) -> String {
        let bytes = fs::read(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, path: &str, content: &(impl AsRef<[u8]> + ?Sized)) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
    }

    /// Adds to the end of a file.
    pub(crate) fn append(&self, path: &str, text: &str) {
        self.write(path, &(self.read(path) + text));
    }

    /// Replaces what occurs exactly once in a file.
    #[track_caller]
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert_eq!(text.matches(from).count(), 1, "`{from}` in {path}:\n{text}");
        self.write(path, &text.replace(from, to));
    }

    /// Sets an environment variable for everything that is run from now on.
    pub(crate) fn variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// The binary under test, ready for more arguments, away from the user's own settings.
    pub(crate) fn command(&self, arguments: &(impl Words + ?Sized)) -> Command {
        let mut command = Command::new(&self.wrapper[0]);
        command.args(&self.wrapper[1..]).args(arguments.words());
        self.prepare(&mut command);
        command
    }

    /// Gives a command the project's directory and environment.
    pub(crate) fn prepare(&self, command: &mut Command) {
        if self.knows_nothing {
            command.env_clear();
        }
        for variable in HABITS {
            command.env_remove(variable);
        }
        command.env("PATH", installed::path()).env("NO_COLOR", "1");
        command.env("GOATBUILD_STATE_DIR", self.state());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).current_dir(self.root());
    }

    /// Runs the binary.
    pub(crate) fn run(&self, arguments: &(impl Words + ?Sized)) -> Ran {
        ran(&mut self.command(arguments))
    }

    /// Runs the binary with more environment variables.
    pub(crate) fn run_with(&self, arguments: &str, variables: &[(&str, &str)]) -> Ran {
        ran(self.command(arguments).envs(variables.iter().copied()))
    }

    /// `plan --json`.
    #[track_caller]
    pub(crate) fn plan(&self, arguments: &str) -> Plan {
        let ran = self.run(&format!("plan --json {arguments}")).exits(0);
        Plan(serde_json::from_str(&ran.stdout).expect("one JSON object"))
    }

    /// `apply --json`.
    #[track_caller]
    pub(crate) fn apply(&self, arguments: &str) -> Applied {
        let ran = self.run(&format!("apply --json {arguments}"));
        let lines = ran.stdout.lines();
        let events = lines.map(|line| serde_json::from_str(line).expect("JSON on each line"));
        Applied { code: ran.code, events: events.collect(), stderr: ran.stderr }
    }
}
