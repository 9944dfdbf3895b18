//! Reads `[secrets]` of a project and `secret-env` of its specs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::Text;
use super::problem::{Problem, SpecError, nearest};
use super::secret::{Secret, SecretSource};
use super::source::{Located, Place, SourceFile};
use super::table::Table;
use super::value::{VARIABLE, is_variable, quoted};

/// What a secret's name looks like: Modal takes no others.
const NAME: &str = "letters, digits, `-`, `_` and `.`, at most 63 of them";

fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=63).contains(&name.len()) && name.bytes().all(inner)
}

/// Reads `[secrets]`.
pub(super) fn secrets(mut table: Table<'_, '_>) -> BTreeMap<String, Secret> {
    let mut secrets = BTreeMap::new();
    for Text { value: name, spot } in table.other_keys() {
        if !is_name(name) {
            let (kind, name) = ("a secret", name.to_owned());
            table.report(Problem::BadName { kind, name, expected: NAME }, &spot);
        }
        let mut secret = table.table(name);
        let from = source(secret.table("from").strongest());
        let generation = secret.integer("generation", 1..1_000_001);
        secret.finish();
        let generation = generation.and_then(|(it, _)| u32::try_from(it).ok()).unwrap_or(1);
        secrets.insert(name.to_owned(), Secret { from, generation });
    }
    secrets
}

/// One of the places where a value may be found.
fn source(mut table: Table<'_, '_>) -> Option<SecretSource> {
    let variable = table.string("env");
    if let Some(Text { value, spot }) = &variable
        && !is_variable(value)
    {
        table.bad("env", &quoted(value), VARIABLE, spot);
    }
    let file = table.string("file");
    if let Some(Text { value, spot }) = &file
        && value.is_empty()
    {
        table.bad(
            "file",
            "empty",
            "a path: absolute, below `~/`, or relative to the project",
            spot,
        );
    }
    let command = table.strings("command");
    if let Some((words, spot)) = &command
        && words.first().is_none_or(|word| word.value.is_empty())
    {
        table.bad(
            "command",
            "empty",
            "a program and its arguments, like [\"pass\", \"show\", \"token\"]",
            spot,
        );
    }
    let keys = ["env", "file", "command"];
    let said: Vec<&str> = keys.into_iter().filter(|key| table.has(key)).collect();
    match &said[..] {
        [] if table.is_present() && table.other_keys().is_empty() => {
            table.missing("env", "env = \"GOAT_TOKEN\"");
        }
        [first, second, ..] => {
            let expected =
                format!("one of the two: a secret is found in one place, and `{first}` is another");
            let spot = table.spot_of(second);
            table.bad(second, "said as well", &expected, &spot);
        }
        _ => {}
    }
    table.finish();
    let words = |(words, _): (Vec<Text<'_>>, _)| {
        SecretSource::Command(words.into_iter().map(|word| word.value.to_owned()).collect())
    };
    variable
        .map(|text| SecretSource::Env(text.value.to_owned()))
        .or_else(|| file.map(|text| SecretSource::File(text.value.to_owned())))
        .or_else(|| command.map(words))
}

/// Whether what starts a server, or runs its container, goes by a variable itself.
fn is_the_systems(variable: &str) -> bool {
    ["PATH", "HOME", "USER", "TMPDIR"].contains(&variable)
        || ["LD_", "DOCKER_", "CONTAINER", "XDG_"].iter().any(|start| variable.starts_with(start))
}

/// Reads `secret-env`: variables, each with the secret that it holds.
pub(super) fn secret_env(
    mut table: Table<'_, '_>,
    env: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, Secret>,
    is_kept_there: bool,
) -> BTreeMap<String, Located<String>> {
    let mut variables = BTreeMap::new();
    for variable in table.other_keys() {
        let name = variable.value;
        if !is_variable(name) {
            let (kind, name) = ("an environment variable", name.to_owned());
            table.report(Problem::BadName { kind, name, expected: VARIABLE }, &variable.spot);
        }
        let Some(Text { value: secret, spot }) = table.string(name) else { continue };
        if is_the_systems(name) {
            let expected = "another variable: programs around the server go by this one";
            table.bad(name, &quoted(secret), expected, &spot);
        }
        if env.contains_key(name) {
            let expected = "a variable that `env` does not set as well";
            table.bad(name, &quoted(secret), expected, &spot);
        }
        match secrets.get(secret) {
            None => {
                let problem = Problem::DanglingName {
                    kind: "secret",
                    name: secret.to_owned(),
                    nearest: nearest(secret, secrets.keys().map(String::as_str)).map(str::to_owned),
                    make: format!(
                        "name it in goatbuild.toml: `[secrets]` with `{secret} = {{ from = {{ env = \"{name}\" }} }}`"
                    ),
                };
                table.report(problem, &spot);
            }
            Some(Secret { from: None, .. }) if !is_kept_there => {
                let problem = Problem::MissingField {
                    field: format!("secrets.{secret}.from"),
                    example: format!(
                        "{secret} = {{ from = {{ env = \"{name}\" }} }} in goatbuild.toml's [secrets]: where this machine finds it"
                    ),
                };
                table.report(problem, &spot);
            }
            Some(_) => {}
        }
        let taken = Located { value: secret.to_owned(), place: spot.place() };
        variables.insert(name.to_owned(), taken);
    }
    table.finish();
    variables
}

/// Finds what `[secrets]` counts of secrets that nothing speaks of: a name that is mistaken.
///
/// `used` are the names that settings and specs mention, and `settings` what such a setting is called; what resembles none of them is told only where
/// `whole`, since a spec that could not be read may speak of it.
pub(super) fn unused<'u>(
    file: &Arc<SourceFile>,
    environment: Option<&str>,
    secrets: &BTreeMap<String, Secret>,
    used: &(impl Iterator<Item = &'u str> + Clone),
    settings: &[String],
    whole: bool,
) -> Vec<SpecError> {
    let mut wheres = "in a spec's `secret-env`".to_owned();
    if !settings.is_empty() {
        wheres = format!("in {}, for example, or {wheres}", settings.join(" or "));
    }
    let alone = secrets.iter().filter(|(name, secret)| {
        secret.from.is_none() && !used.clone().any(|other| other == name.as_str())
    });
    alone
        .filter(|(name, _)| whole || nearest(name, used.clone()).is_some())
        .map(|(name, _)| {
            let problem = Problem::DanglingName {
                kind: "secret",
                name: name.clone(),
                nearest: nearest(name, used.clone()).map(str::to_owned),
                make: format!("name it {wheres}"),
            };
            let place = environment
                .and_then(|it| Place::of_field(file, &["environment", it, "secrets", name]))
                .or_else(|| Place::of_field(file, &["secrets", name]));
            let place = place.unwrap_or_else(|| Place::new(Arc::clone(file), 0..0));
            SpecError::new(problem, place)
        })
        .collect()
}
