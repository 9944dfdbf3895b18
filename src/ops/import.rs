//! Making a project of deploy scripts that somebody keeps by hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::beside;
use crate::bounded;
use crate::gateways;
use crate::import::{Files, Importing, Led, Remark, Script, Secrets, drop_field, project};
use crate::project::{self as files, ProjectError};
use crate::spec::{Kinds, Problem, SourceFile, Sources, SpecErrors, TargetType};
use crate::workspace::{self, Settings};

/// What is to be imported.
#[derive(Debug)]
pub struct Import {
    /// The scripts.
    pub scripts: Vec<PathBuf>,
    /// The gateway's file.
    pub gateway: Option<PathBuf>,
    /// The project's directory.
    pub to: PathBuf,
    /// The project's id.
    pub id: String,
    /// Whether nothing is to be written.
    pub is_dry: bool,
}

/// Why nothing was written.
#[derive(Debug, Error, Diagnostic)]
enum ImportError {
    #[error("{} can't be read: {source}", path.display())]
    #[diagnostic(code(goatbuild::import::unreadable), help("nothing was written; {help}"))]
    Unreadable { path: PathBuf, source: std::io::Error, help: &'static str },
    #[error("{} holds nothing that goatbuild could deploy", scripts.join(", "))]
    #[diagnostic(code(goatbuild::import::nothing), help("nothing was written; {help}"))]
    Nothing { scripts: Vec<String>, help: String },
    #[error("{} there already", are(paths))]
    #[diagnostic(
        code(goatbuild::usage::exists),
        help("nothing was written; `--to DIR` writes into another directory")
    )]
    Exists { paths: Vec<String> },
    #[error("what was read of the scripts is no project: {message}")]
    #[diagnostic(
        code(goatbuild::import::unsound),
        help("nothing was written; `--dry-run` prints what would be")
    )]
    Unsound { message: String },
}

fn are(paths: &[String]) -> String {
    let verb = if paths.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", paths.join(", "))
}

/// Reads the scripts and writes the project's files: all of them or none.
pub fn import(import: &Import, settings: &Settings) -> Result<Files, Report> {
    let types = settings.targets.types();
    // What a script deploys with is what runs it.
    let installed: Vec<&str> =
        types.iter().filter(|it| it.has_apps()).map(TargetType::name).collect();
    let mut scripts = Vec::new();
    let mut lost = Vec::new();
    let gateway_path = import.gateway.as_ref().map(|path| path.display().to_string());
    let gateway = led(import, gateway_path.as_deref(), &mut lost)?;
    let urls = |led: &Led<'_>| led.entries.iter().filter_map(|it| it.url.clone()).collect();
    let addresses: Vec<String> = gateway.as_ref().map(urls).unwrap_or_default();
    let mut secrets: Vec<Secrets> = Vec::new();
    let (mut found, mut is_ours) = (Vec::new(), false);
    for path in &import.scripts {
        let name = path.display().to_string();
        let bytes = read(path, "name a script, such as `goatbuild import deploy.py`")?;
        let script = Script::parse(&name, bytes)?;
        let (script, unread) = beside::joined(script, path, &import.scripts, &installed);
        lost.extend(unread);
        let imported = settings.targets.import(&script, &addresses, settings.engines);
        is_ours |= imported.is_ours;
        found.extend(imported.found);
        secrets.extend(imported.secrets);
        lost.extend(imported.remarks.lost.into_iter().map(|(line, why)| Remark {
            script: name.clone(),
            line,
            text: String::new(),
            why,
        }));
        scripts.push(script);
    }
    let without: Vec<String> =
        found.iter().filter(|it| it.weights.is_none()).map(|it| it.script.clone()).collect();
    for script in without {
        let why =
            "only a run would tell which model is served: `goatbuild add` writes a spec of it";
        lost.push(Remark { script, line: 0, text: String::new(), why: why.to_owned() });
    }
    found.retain(|it| it.weights.is_some());
    if found.is_empty() {
        let help = match lost.last() {
            Some(Remark { script, line, why, .. }) if *line > 0 => {
                let place = scripts.iter().find(|it| it.path == *script).map(|it| it.place(*line));
                let (file, line) = place.unwrap_or((script, *line));
                format!("{file}:{line}: {why}")
            }
            Some(Remark { script, why, .. }) => format!("{script}: {why}"),
            None if is_ours => {
                "no function of it answers requests and starts an engine; `goatbuild add` writes a spec"
                    .to_owned()
            }
            None => format!("no app for {} is in it", types.titles(TargetType::has_apps)),
        };
        let scripts = scripts.iter().map(|script| script.path.clone()).collect();
        return Err(ImportError::Nothing { scripts, help }.into());
    }
    let importing = Importing {
        id: &import.id,
        found,
        gateway,
        gpus: types.gpus().map(|(name, memory, _)| (name, memory)).collect(),
        caches: settings.engines.caches(),
        default_engine: settings.engines.default_one().name(),
    };
    let mut files = project(&importing);
    let checked = settle(&mut files, settings);
    let Files { files, lost: more, better, origins } = files;
    lost.extend(more);
    let told = |mut remarks: Vec<Remark>| {
        for remark in &mut remarks {
            let hide = |text: &str| {
                secrets.iter().fold(text.to_owned(), |text, secrets| secrets.hide(&text))
            };
            let script = scripts.iter().find(|script| script.path == remark.script);
            if let Some(script) = script.filter(|_| remark.line > 0) {
                remark.text = hide(script.line(remark.line));
                let (file, line) = script.place(remark.line);
                (remark.script, remark.line) = (file.to_owned(), line);
            }
            remark.why = hide(&remark.why);
        }
        remarks.sort();
        remarks.dedup();
        remarks
    };
    let written = Files { lost: told(lost), better: told(better), files, origins };
    // What isn't sound can still be looked at.
    if !import.is_dry {
        checked?;
        write(&import.to, &written.files)?;
    }
    Ok(written)
}

/// The gateway's file, where one is named.
fn led<'a>(
    import: &Import,
    name: Option<&'a str>,
    lost: &mut Vec<Remark>,
) -> Result<Option<Led<'a>>, Report> {
    let (Some(path), Some(name)) = (&import.gateway, name) else { return Ok(None) };
    let bytes = read(path, "`--gateway` names the gateway's file")?;
    let text = String::from_utf8_lossy(&bytes);
    let setting = below(&import.to, path).map(|path| gateways::setting(&path));
    if setting.is_none() {
        let why =
            "it isn't in the project's directory: put it there, and name it in goatbuild.toml";
        let script = name.to_owned();
        lost.push(Remark { script, line: 0, text: String::new(), why: why.to_owned() });
    }
    Ok(Some(Led { path: name, setting, entries: gateways::import(name, &text)? }))
}

fn read(path: &Path, help: &'static str) -> Result<Vec<u8>, ImportError> {
    bounded::read(path, bounded::TEXT).map_err(|source| ImportError::Unreadable {
        path: path.to_owned(),
        source,
        help,
    })
}

/// The path of a file as one says it below a directory, if it is there.
fn below(directory: &Path, file: &Path) -> Option<String> {
    let directory = std::fs::canonicalize(directory).ok()?;
    let file = std::fs::canonicalize(file).ok()?;
    Some(file.strip_prefix(directory).ok()?.to_str()?.to_owned())
}

/// More rounds than there are mistakes behind mistakes.
const ROUNDS: usize = 20;

/// Sees to it that goatbuild itself reads what it writes: a field that it wouldn't take is left out, and
/// told with the line it comes from.
fn settle(files: &mut Files, settings: &Settings) -> Result<(), Report> {
    for _ in 0..ROUNDS {
        let Err(error) = check(&files.files, settings) else { return Ok(()) };
        let ProjectError::Spec(errors) = &error else { break };
        if !leave_out(files, errors) {
            break;
        }
    }
    check(&files.files, settings).map_err(|error| {
        let error = Report::new(error);
        ImportError::Unsound { message: format!("{error:?}") }.into()
    })
}

/// Takes out of the files what mistakes point at; says whether it took anything.
fn leave_out(files: &mut Files, errors: &SpecErrors) -> bool {
    let mut same_until: BTreeMap<String, usize> = BTreeMap::new();
    // From the end on: what stands before is where it was.
    for error in errors.errors().iter().rev() {
        let (path, at) = (error.place.file().path.display().to_string(), error.place.span());
        let is_missing = matches!(error.problem, Problem::MissingField { .. });
        if is_missing || same_until.get(&path).is_some_and(|until| at.end > *until) {
            continue;
        }
        let text = files.files.iter_mut().find(|(name, _)| *name == path).map(|(_, text)| text);
        let Some(gone) = text.and_then(|text| drop_field(text, &at)) else { continue };
        same_until.insert(path.clone(), gone.same_until);
        let keys = gone.path.iter().chain(gone.items.first()).map(String::as_str);
        let (script, line) = files.origin(&path, &keys.collect::<Vec<_>>());
        let (field, items) = (gone.path.join("."), gone.items.join(" "));
        let what = if items.is_empty() { String::new() } else { format!(" `{items}` of") };
        let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
        let why = format!("{path} is without{what} `{field}`: {}{help}", error.problem);
        files.lost.push(Remark { script, line, text: String::new(), why });
    }
    !same_until.is_empty()
}

/// That goatbuild itself reads these files.
fn check(texts: &[(String, String)], settings: &Settings) -> Result<(), ProjectError> {
    let file = |(path, text): &(String, String)| SourceFile {
        path: path.into(),
        text: text.as_str().into(),
    };
    let of = |start: &'static str| -> Vec<SourceFile> {
        texts.iter().filter(|(path, _)| path.starts_with(start)).map(file).collect()
    };
    let Some(project) = of(files::PROJECT_FILE).pop() else {
        panic!("BUG: a project without its own file")
    };
    let sources = Sources {
        project,
        specs: of("specs/"),
        images: of("images/"),
        mistakes: Vec::new(),
        kinds: Kinds {
            engines: settings.engines,
            targets: settings.targets.types(),
            ..files::kinds()
        },
    };
    files::read(&sources, None).map(drop)
}

/// Writes the files where none of them is; where one can't be written, those before it are taken away
/// again. The one that makes it a project comes last: what a kill leaves is none.
fn write(root: &Path, texts: &[(String, String)]) -> Result<(), Report> {
    let is_there = |path: &&(String, String)| root.join(&path.0).symlink_metadata().is_ok();
    let paths: Vec<String> = texts.iter().filter(is_there).map(|(path, _)| path.clone()).collect();
    if !paths.is_empty() {
        return Err(ImportError::Exists { paths }.into());
    }
    for (at, (path, text)) in texts.iter().enumerate() {
        if let Err(error) = workspace::write(&root.join(path), text.as_bytes()) {
            for (path, _) in &texts[..at] {
                let _ = std::fs::remove_file(root.join(path));
            }
            return Err(error);
        }
    }
    Ok(())
}
