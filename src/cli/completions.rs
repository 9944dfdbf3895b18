//! `goatbuild completions`, and what shells ask while somebody types.
//!
//! A shell's script asks this program for every completion, so it knows the names of the project in
//! whose directory one is.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{self as shells, EnvCompleter, Shells};

use super::{Cli, Exit};
use crate::bounded;
use crate::lock::LockFile;
use crate::project;
use crate::spec::{self, Project, SourceFile, Sources};
use crate::step::StepId;
use crate::steps;
use crate::{targets, ui};

/// Says to a goatbuild that a shell started which shell it is.
const VARIABLE: &str = "GOATBUILD_COMPLETE";

const SHELLS: Shells<'static> =
    Shells(&[&Bash, &shells::Elvish, &shells::Fish, &shells::Powershell, &shells::Zsh]);

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    /// source <(goatbuild completions bash)
    Bash,
    /// eval (goatbuild completions elvish | slurp)
    Elvish,
    /// goatbuild completions fish | source
    Fish,
    /// goatbuild completions powershell | Out-String | Invoke-Expression
    Powershell,
    /// source <(goatbuild completions zsh)
    Zsh,
}

/// Prints the script that makes a shell ask.
pub(crate) fn run(arguments: &CompletionsArgs) -> Exit {
    let name = arguments.shell.to_possible_value().map(|value| value.get_name().to_owned());
    let shell = name.as_deref().and_then(|name| SHELLS.completer(name));
    let shell = shell.unwrap_or_else(|| panic!("BUG: {:?} has no script", arguments.shell));
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("goatbuild"));
    let program = program.to_string_lossy();
    let mut script = Vec::new();
    let written =
        shell.write_registration(VARIABLE, "goatbuild", "goatbuild", &program, &mut script);
    written.unwrap_or_else(|error| panic!("BUG: a script can't be written to memory: {error}"));
    ui::print_text(&String::from_utf8_lossy(&script));
    Exit::Done
}

/// Answers a shell that asks; says whether one did.
pub(crate) fn answer(arguments: &[OsString]) -> bool {
    if std::env::var_os(VARIABLE).is_none_or(|shell| shell.is_empty()) {
        return false;
    }
    let here = std::env::current_dir().ok();
    let completer = shells::CompleteEnv::with_factory(Cli::command).var(VARIABLE).shells(SHELLS);
    // A shell can't be told of errors while somebody types.
    let _ = completer.try_complete(arguments.iter().cloned(), here.as_deref());
    true
}

/// Bash, told not to take `:` for the end of a word: step ids have one.
struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == "bash"
    }

    fn write_registration(
        &self,
        variable: &str,
        name: &str,
        program: &str,
        completer: &str,
        script: &mut dyn io::Write,
    ) -> io::Result<()> {
        let completer = completer.replace('\'', "'\\''");
        let text = include_str!("completions.bash")
            .replace("VARIABLE", variable)
            .replace("NAME", name)
            .replace("PROGRAM", program)
            .replace("COMPLETER", &completer);
        script.write_all(text.as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut clap::Command,
        arguments: Vec<OsString>,
        here: Option<&Path>,
        answer: &mut dyn io::Write,
    ) -> io::Result<()> {
        shells::Bash.write_complete(command, arguments, here, answer)
    }
}

/// The project that the command line being typed is about; nothing when there is none, or no files.
fn files() -> Option<(PathBuf, Sources)> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let named =
        arguments.windows(2).find(|pair| pair[0] == "-C").map(|pair| PathBuf::from(&pair[1]));
    let root = project::find(named.as_deref().unwrap_or(Path::new("."))).ok()?;
    let sources = project::load(&root).ok()?;
    Some((root, sources))
}

fn stems(files: &[SourceFile]) -> impl Iterator<Item = &str> {
    files.iter().filter_map(|file| file.path.file_stem()?.to_str())
}

/// The project's models.
pub(crate) fn models() -> Vec<CompletionCandidate> {
    let Some((_, sources)) = files() else { return Vec::new() };
    stems(&sources.specs).map(CompletionCandidate::new).collect()
}

/// The project's images.
pub(crate) fn images() -> Vec<CompletionCandidate> {
    let Some((_, sources)) = files() else { return Vec::new() };
    stems(&sources.images).map(CompletionCandidate::new).collect()
}

/// The project's environments.
pub(crate) fn environments() -> Vec<CompletionCandidate> {
    let Some((_, sources)) = files() else { return Vec::new() };
    let environments = spec::environments(&sources).into_iter().flatten();
    environments.map(|name| CompletionCandidate::new(name.as_str())).collect()
}

/// The project's GPUs, those that goatbuild knows without a project.
pub(crate) fn gpus() -> Vec<CompletionCandidate> {
    let gpus = match read().map(|(_, project)| project.gpus) {
        Some(gpus) => gpus.into_keys().collect(),
        None => spec::known_gpus(&targets::built_in().types()),
    };
    gpus.into_iter().map(CompletionCandidate::new).collect()
}

/// The steps of the project in the environment that was named.
pub(crate) fn steps() -> Vec<CompletionCandidate> {
    let Some((root, project)) = read() else {
        // In a broken project what every model and image has is offered all the same.
        let Some((_, sources)) = files() else { return Vec::new() };
        let deploys = stems(&sources.specs).map(StepId::deploy);
        let images = stems(&sources.images).map(StepId::image);
        return deploys.chain(images).map(|step| candidate(&step)).collect();
    };
    let lock = bounded::read(&root.join("goatbuild.lock"), bounded::LOCK).unwrap_or_default();
    let lock = LockFile::read("goatbuild.lock", &lock).unwrap_or_default();
    steps::names(&project, &lock).iter().map(candidate).collect()
}

fn candidate(step: &StepId) -> CompletionCandidate {
    CompletionCandidate::new(step.as_str())
}

/// The project in the environment of the command line being typed.
fn read() -> Option<(PathBuf, Project)> {
    let (root, sources) = files()?;
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let named = arguments.windows(2).rev().find(|pair| pair[0] == "--env");
    let named = named.map(|pair| pair[1].clone()).or_else(|| std::env::var_os("GOATBUILD_ENV"));
    let environment = named.and_then(|name| name.to_str()?.parse().ok());
    Some((root, project::read(&sources, environment.as_ref()).ok()?))
}

/// What has a log: models and steps.
pub(crate) fn logged() -> Vec<CompletionCandidate> {
    let mut both = models();
    both.extend(steps());
    both
}
