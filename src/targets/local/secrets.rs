//! Values of secrets on this machine: asked when a server is started, handed to it, and kept nowhere.

mod key;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bounded;
use crate::spec::{HIDDEN, Model, Secret, SecretSource};
use crate::step::StepError;
use crate::targets::Lack;

pub(super) use key::KEY;

/// How long a command may take to print a value: some ask a person.
const PATIENCE: Duration = Duration::from_secs(120);

/// The longest value, in bytes: a variable of a process holds no more than twice that.
const LONGEST: u64 = 64 << 10;

/// Shorter values stand in a log for other things as well.
const TELLING: usize = 6;

/// What a server finds in a variable: which secret, and where this machine finds it. Written down with the
/// server, which may be started again when its spec says something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Taken {
    secret: String,
    from: SecretSource,
}

/// A value. Nothing that is printed or written down has it.
#[derive(Clone)]
struct Value(String);

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(HIDDEN)
    }
}

/// Why a value can't be had.
#[derive(Debug, Error, Diagnostic)]
pub(super) enum SecretError {
    /// Its variable has none.
    #[error("the variable {variable} of the secret {secret} is not set")]
    #[diagnostic(
        code(goatbuild::secret::unset),
        help("set it where goatbuild runs; nothing was stopped")
    )]
    Unset { secret: String, variable: String },
    /// Its file can't be read.
    #[error("{} of the secret {secret} can't be read: {source}", path.display())]
    #[diagnostic(
        code(goatbuild::secret::file),
        help(
            "does it exist, and may you read it? `[secrets.{secret}] from` names it; nothing was stopped"
        )
    )]
    File { secret: String, path: PathBuf, source: io::Error },
    /// Its command prints none.
    #[error("`{command}` of the secret {secret} {what}")]
    #[diagnostic(
        code(goatbuild::secret::command),
        help(
            "run it by hand in the project's directory: it has to print the value and to succeed; nothing was stopped"
        )
    )]
    Command { secret: String, command: String, what: String },
    /// No variable can hold it.
    #[error("the secret {secret} can't be used: its value {what}")]
    #[diagnostic(code(goatbuild::secret::unusable), help("look at {from}; nothing was stopped"))]
    Unusable { secret: String, what: &'static str, from: SecretSource },
}

/// The secrets of a project on this machine.
#[derive(Debug)]
pub(super) struct Secrets {
    sources: BTreeMap<String, SecretSource>,
    /// The one that is the key of models which ask for one, and how often it was replaced.
    key: Option<(String, u32)>,
    /// The project's directory.
    root: PathBuf,
    variable: fn(&str) -> Option<String>,
    /// What was asked before: a command that asks a person does so once.
    known: Mutex<Vec<(Taken, Value)>>,
}

impl Secrets {
    pub(super) fn new(
        secrets: &BTreeMap<String, Secret>,
        key: Option<&str>,
        root: &Path,
        variable: fn(&str) -> Option<String>,
    ) -> Self {
        let source =
            |(name, secret): (&String, &Secret)| Some((name.clone(), secret.from.clone()?));
        Self {
            sources: secrets.iter().filter_map(source).collect(),
            key: key.map(|it| (it.to_owned(), secrets.get(it).map_or(1, |it| it.generation))),
            root: root.to_owned(),
            variable,
            known: Mutex::default(),
        }
    }

    /// What a model's servers find in which variable.
    pub(super) fn of(&self, model: &Model) -> BTreeMap<String, Taken> {
        let key = self.key_of(model).map(|(secret, _)| (KEY, secret.as_str()));
        let own = model.secret_env.iter().map(|(name, secret)| (&**name, &*secret.value));
        let taken = own.chain(key).map(|(variable, secret)| {
            let from = self.sources.get(secret);
            let from = from.unwrap_or_else(|| panic!("BUG: {secret} is found nowhere"));
            let from = match from {
                SecretSource::File(path) => {
                    SecretSource::File(self.path(path).to_string_lossy().into_owned())
                }
                other => other.clone(),
            };
            (variable.to_owned(), Taken { secret: secret.to_owned(), from })
        });
        taken.collect()
    }

    /// What a model takes and is not there, as far as that shows without asking for any value.
    pub(super) fn lacking(&self, model: &Model) -> Vec<Lack> {
        let lack = |(secret, from): (String, SecretSource)| match &from {
            SecretSource::Env(variable) => (self.variable)(variable).is_none().then(|| Lack {
                what: format!("the variable {variable} of the secret {secret} is not set"),
                help: "set it where goatbuild runs".to_owned(),
            }),
            SecretSource::File(path) => (!Path::new(path).is_file()).then(|| Lack {
                what: format!("the secret {secret} has no file {path}"),
                help: format!("write it, or say another in `[secrets.{secret}] from`"),
            }),
            SecretSource::Command(words) => {
                let program = words.first().map(String::as_str).unwrap_or_default();
                self.program(program).is_none().then(|| Lack {
                    what: format!("there is no program {program} for the secret {secret}"),
                    help: "install it, or name it by its path: `[secrets]` runs no shell"
                        .to_owned(),
                })
            }
        };
        let taken = self.of(model).into_values().map(|Taken { secret, from }| (secret, from));
        taken.filter_map(lack).collect()
    }

    /// The values, by variable.
    pub(super) async fn values(
        &self,
        taken: &BTreeMap<String, Taken>,
    ) -> Result<BTreeMap<String, String>, StepError> {
        let mut values = BTreeMap::new();
        for (variable, taken) in taken {
            let Value(value) = match self.known(taken) {
                Some(known) => known,
                None => self.ask(taken).await?,
            };
            values.insert(variable.clone(), value);
        }
        Ok(values)
    }

    /// A text of a server's, without the values that it was given.
    pub(super) fn hidden(&self, text: String) -> String {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parts = Vec::new();
        for (_, Value(value)) in known.iter() {
            // Logs have lines, and quote what has several.
            let quoted = serde_json::Value::from(value.as_str()).to_string();
            parts.push(quoted[1..quoted.len() - 1].to_owned());
            parts.extend(value.lines().map(str::to_owned));
            parts.push(value.clone());
        }
        parts.retain(|part| part.len() >= TELLING);
        // One may be the beginning of another.
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        parts.iter().fold(text, |text, part| text.replace(part, HIDDEN))
    }

    fn known(&self, taken: &Taken) -> Option<Value> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(other, _)| other == taken).map(|(_, value)| value.clone())
    }

    async fn ask(&self, taken: &Taken) -> Result<Value, SecretError> {
        let Taken { secret, from } = taken;
        let secret = secret.clone();
        let bytes = match from {
            SecretSource::Env(variable) => {
                let unset =
                    || SecretError::Unset { secret: secret.clone(), variable: variable.clone() };
                (self.variable)(variable).ok_or_else(unset)?.into_bytes()
            }
            SecretSource::File(path) => {
                let path = PathBuf::from(path);
                read(&path).map_err(|source| SecretError::File {
                    secret: secret.clone(),
                    path,
                    source,
                })?
            }
            SecretSource::Command(words) => self.run(&secret, words).await?,
        };
        let unusable =
            |what| SecretError::Unusable { secret: secret.clone(), what, from: from.clone() };
        if bytes.len() as u64 > LONGEST {
            return Err(unusable("is longer than 64 KiB"));
        }
        let text = String::from_utf8(bytes).map_err(|_| unusable("is not UTF-8 text"))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(unusable("is empty"));
        }
        if text.contains('\0') {
            return Err(unusable("has a NUL in it"));
        }
        let value = Value(text.to_owned());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.push((taken.clone(), value.clone()));
        Ok(value)
    }

    /// What a command prints.
    async fn run(&self, secret: &str, words: &[String]) -> Result<Vec<u8>, SecretError> {
        let failed = |what: String| SecretError::Command {
            secret: secret.to_owned(),
            command: words.join(" "),
            what,
        };
        let (program, arguments) = words.split_first().unwrap_or_else(|| panic!("BUG: no program"));
        let program = self.program(program).unwrap_or_else(|| PathBuf::from(program));
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // It may say what it shouldn't.
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("can't be started: {error}")))?;
        let printed = child.stdout.take().unwrap_or_else(|| panic!("BUG: no output"));
        let all = async {
            use tokio::io::AsyncReadExt as _;
            let mut bytes = Vec::new();
            printed.take(LONGEST + 1).read_to_end(&mut bytes).await?;
            // Whoever prints more is not waited for.
            let status =
                if bytes.len() as u64 > LONGEST { None } else { Some(child.wait().await?) };
            io::Result::Ok((bytes, status))
        };
        match tokio::time::timeout(PATIENCE, all).await {
            Err(_) => Err(failed(format!("took longer than {} s", PATIENCE.as_secs()))),
            Ok(Err(error)) => Err(failed(format!("can't be read: {error}"))),
            Ok(Ok((_, Some(status)))) if !status.success() => {
                Err(failed(format!("ended with {status}")))
            }
            Ok(Ok((bytes, _))) => Ok(bytes),
        }
    }

    /// A path as `[secrets]` writes it.
    fn path(&self, path: &str) -> PathBuf {
        let home = || (self.variable)("HOME").map(PathBuf::from);
        match path.strip_prefix("~/").and_then(|below| Some(home()?.join(below))) {
            Some(path) => path,
            None => self.root.join(path),
        }
    }

    /// A program as a shell would find it, but for what is relative: that is in the project.
    fn program(&self, program: &str) -> Option<PathBuf> {
        if program.contains('/') {
            return Some(self.path(program)).filter(|path| is_program(path));
        }
        let path = (self.variable)("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|it| it.join(program)).find(|path| is_program(path))
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// A file, as far as a value may be long.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bounded::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(root: &Path) -> Secrets {
        let variable = |name: &str| match name {
            "GOAT" => Some("from-a-variable".to_owned()),
            "PATH" => Some("/usr/bin:/bin".to_owned()),
            _ => None,
        };
        Secrets::new(&BTreeMap::new(), None, root, variable)
    }

    fn taken(from: SecretSource) -> BTreeMap<String, Taken> {
        [("TOKEN".to_owned(), Taken { secret: "token".to_owned(), from })].into()
    }

    fn command(words: &[&str]) -> SecretSource {
        SecretSource::Command(words.iter().map(|&word| word.to_owned()).collect())
    }

    async fn value(secrets: &Secrets, from: SecretSource) -> Result<String, StepError> {
        Ok(secrets.values(&taken(from)).await?.remove("TOKEN").expect("it has one"))
    }

    #[tokio::test]
    async fn a_value_comes_from_a_variable_a_file_or_a_command() {
        let root = tempfile::tempdir().expect("a directory");
        let file = root.path().join("token");
        let secrets = secrets(root.path());
        // One line, as editors and `pass` end it; what is inside stays.
        for (text, expected) in
            [("from a file\n", "from a file"), ("a\r\n", "a"), (" a \nb\n\n", " a \nb\n")]
        {
            std::fs::write(&file, text).expect("a file");
            let fresh = self::secrets(root.path());
            let from = SecretSource::File(file.display().to_string());
            assert_eq!(value(&fresh, from).await.expect("a value"), expected);
        }
        let from = SecretSource::Env("GOAT".to_owned());
        assert_eq!(value(&secrets, from).await.expect("a value"), "from-a-variable");
        // In the project's directory, and without a shell.
        let from = command(&["cat", "token"]);
        assert_eq!(value(&secrets, from).await.expect("a value"), " a \nb\n");
        let said = secrets.hidden("key=from-a-variable, none".to_owned());
        assert_eq!(said, "key=(hidden), none");
        // Line by line, and quoted.
        let from = command(&["printf", "first-line\\nsecond-line"]);
        value(&secrets, from).await.expect("a value");
        for text in ["first-line", "-- second-line", "\"first-line\\nsecond-line\""] {
            let said = secrets.hidden(text.to_owned());
            assert!(said.contains(HIDDEN) && !said.contains("line"), "{said}");
        }
        assert!(!format!("{secrets:?}").contains("from-a-variable"));
    }

    #[tokio::test]
    async fn a_command_is_asked_once() {
        let root = tempfile::tempdir().expect("a directory");
        let secrets = secrets(root.path());
        let from = command(&["sh", "-c", "echo x >> count; wc -l < count"]);
        for _ in 0..3 {
            assert_eq!(value(&secrets, from.clone()).await.expect("a value").trim(), "1");
        }
    }

    #[tokio::test]
    async fn what_is_no_value_is_told_without_it() {
        let root = tempfile::tempdir().expect("a directory");
        let secrets = secrets(root.path());
        std::fs::write(root.path().join("nul"), "hush\0").expect("a file");
        std::fs::write(root.path().join("binary"), b"hush\xff").expect("a file");
        std::fs::write(root.path().join("empty"), "\n").expect("a file");
        let file = |name: &str| SecretSource::File(root.path().join(name).display().to_string());
        for (from, told) in [
            (
                SecretSource::Env("NONE".to_owned()),
                "the variable NONE of the secret token is not set",
            ),
            (file("none"), "can't be read"),
            (file("."), "Is a directory"),
            (file("nul"), "has a NUL in it"),
            (file("binary"), "is not UTF-8 text"),
            (file("empty"), "is empty"),
            (SecretSource::File("/dev/zero".to_owned()), "it is a device"),
            (command(&["sh", "-c", "echo hush; exit 3"]), "ended with exit status: 3"),
            (command(&["cat", "/dev/zero"]), "is longer than 64 KiB"),
            (command(&["no-such-program"]), "can't be started"),
        ] {
            let error = value(&secrets, from.clone()).await.expect_err("no value").to_string();
            assert!(error.contains(told) && !error.contains("hush\n"), "{from:?}: {error}");
            assert!(error.contains("token"), "{error}");
        }
    }
}
