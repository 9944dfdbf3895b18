//! What is served on this machine, from boot to shutdown: a unit of systemd's for the user who installs it.

mod error;
mod place;
mod unit;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use miette::Report;
use nix::unistd::{User, geteuid};

pub use self::error::ServiceError;
use self::place::Units;
use self::unit::Service;
use super::Frontend;
use super::agreed::Agreed;
use super::apply::{self, Applied, Asked};
use super::open::{self, Site};
use crate::exec::Interrupt;
use crate::plan::saved::Request;
use crate::runtime::Check;
use crate::spec::{Project, SecretSource};
use crate::workspace::Workspace;

/// So many digits of a hash tell directories apart.
const HASH: usize = 8;

/// Where state is, for whoever serves: what is served has to be found again.
const STATE: &str = "GOATBUILD_STATE_DIR";

/// Variables that say where programs and engines are.
const VARIABLES: [&str; 5] =
    ["PATH", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "CONTAINER_HOST"];

/// How long systemd may take to say how a unit is.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was installed, or would be.
#[derive(Debug)]
pub struct Installed {
    /// Its name, for `systemctl --user`.
    pub name: String,
    /// Its files, by path, with what they say.
    pub files: Vec<(PathBuf, String)>,
    /// Files of an earlier installation that it no longer has.
    pub removed: Vec<PathBuf>,
    /// Who runs it.
    pub user: String,
    /// What it serves, as far as is known now.
    pub models: Vec<String>,
    /// Whether it runs at boot, and not only once its user logs in.
    pub lingers: bool,
}

/// Has systemd serve what is locked, from the next boot on. Running it again renews it.
pub fn install(
    site: &Site,
    frontend: &dyn Frontend,
    every: Option<u32>,
    dry_run: bool,
) -> Result<Installed, Report> {
    let workspace = open::whole(site)?;
    let models = served_here(&workspace);
    if models.is_empty() {
        return Err(ServiceError::NothingHere.into());
    }
    let settings = settings(&workspace)?;
    let service = service(&workspace, &settings, every)?;
    let units = Units::within(&settings);
    if !dry_run && !place::is_booted() {
        return Err(ServiceError::NoSystemd { command: line_for_cron(&service) }.into());
    }
    if let Some(name) = units.rival(&service) {
        let file = units.file(&format!("{name}.service"));
        return Err(ServiceError::Other { name, owner: service.owner, file }.into());
    }
    for (variable, secret) in variables_of_secrets(&workspace.project) {
        frontend.note(&format!(
            "systemd has no variable {variable}, where the secret {secret} is found: say `from = {{ file = … }}`, or write a line {variable}=VALUE into {}, which nobody else may read",
            service.variables_file
        ));
    }
    let user = user();
    if let Some(usual) = usual_settings(&workspace).filter(|usual| *usual != settings) {
        frontend.note(&format!(
            "XDG_CONFIG_HOME is {}, not {}: systemd looks there only if its manager of the services of {user} has that variable too, which no shell's settings give it; `systemctl --user show --property UnitPath` says where it looks",
            settings.display(),
            usual.display()
        ));
    }
    let removed = if dry_run { Vec::new() } else { units.write(&service)? };
    let files = service.files().into_iter();
    Ok(Installed {
        files: files.map(|(name, text)| (units.file(&name), text)).collect(),
        removed,
        name: service.name,
        lingers: place::lingers(&user),
        user,
        models,
    })
}

/// Removes the units of a project; says which there were. What is served goes on.
pub fn uninstall(site: &Site, frontend: &dyn Frontend) -> Result<(String, Vec<PathBuf>), Report> {
    let (workspace, _) = open::anyway(site, frontend)?;
    let settings = settings(&workspace)?;
    let service = service(&workspace, &settings, None)?;
    let removed = Units::within(&settings).remove(&service.name)?;
    Ok((service.name, removed))
}

/// Whether a service is installed, as this version writes it, starts at boot, and runs.
pub async fn status(site: &Site) -> Result<Vec<Check>, Report> {
    let workspace = open::whole(site)?;
    let settings = settings(&workspace)?;
    let units = Units::within(&settings);
    let mut service = service(&workspace, &settings, None)?;
    let again = format!("{}.timer", unit::again(&service.name));
    let timer = units.read(&again)?;
    service.every = timer.as_deref().and_then(minutes);
    let mut missing = Vec::new();
    for (name, text) in service.files() {
        match units.read(&name)? {
            None => missing.push(format!("{name} is not there")),
            Some(found) if without_variables(&found).ne(without_variables(&text)) => {
                missing.push(format!("{name} says something else"));
            }
            Some(_) => {}
        }
    }
    let fine = missing.is_empty();
    let unit = Check {
        name: "unit",
        ok: Some(fine),
        detail: if fine { service.name.clone() } else { missing.join(", ") },
        help: (!fine).then(|| "`goatbuild service install` writes it".to_owned()),
    };
    let user = user();
    let lingers = place::lingers(&user);
    let boot = Check {
        name: "boot",
        ok: Some(lingers),
        detail: if lingers {
            format!("starts with this machine, as {user}")
        } else {
            format!("starts once {user} logs in")
        },
        help: (!lingers).then(|| format!("loginctl enable-linger {user}")),
    };
    let (ok, detail) = match asked(&service.name).await {
        Ok(state) => (judged(&state), state),
        Err(why) => (None, why),
    };
    let runs = Check { name: "systemd", ok, detail, help: None };
    Ok(vec![unit, boot, runs])
}

/// What the unit does at boot: applies what is locked of the models that are served on this machine.
/// None where there are none any more.
pub async fn start(
    site: &Site,
    frontend: &dyn Frontend,
    interrupt: &Interrupt,
) -> Result<Option<Applied>, Report> {
    let mut site = site.clone();
    // What nobody has seen is not chosen while nobody looks.
    site.settings.locked = true;
    let (workspace, _) = open::anyway(&site, frontend)?;
    let models = served_here(&workspace);
    drop(workspace);
    if models.is_empty() {
        return Ok(None);
    }
    let request = Request { models, ..Request::default() };
    let agreed = Agreed { all: true, ..Agreed::default() };
    let asked = Asked { request, refresh: false, agreed, keep_going: true };
    apply::apply(&site, frontend, asked, interrupt).await.map(Some)
}

/// Stops what is served on this machine, and forgets none of it: the next apply starts it again.
pub async fn stop(site: &Site, frontend: &dyn Frontend) -> Result<(), Report> {
    let (workspace, _) = open::anyway(site, frontend)?;
    let _locks = open::lock(&workspace, site, frontend, "service stop").await?;
    workspace.look().await?;
    for target in workspace.targets.all().filter(|target| target.is_here()) {
        let models = target.live().into_iter().map(|live| live.model);
        let stopped = join_all(models.map(async |model| {
            let stopped = target.halt(&model).await;
            (model, stopped)
        }));
        let mut failed = None;
        for (model, stopped) in stopped.await {
            match stopped {
                Ok(true) => frontend.note(&format!("{model}: stopped")),
                Ok(false) => {}
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(())
}

/// The models of a project that this machine serves.
fn served_here(workspace: &Workspace) -> Vec<String> {
    let models = workspace.project.models.values();
    let here = models.filter(|model| workspace.targets.of(model).is_here());
    here.map(|model| model.name.to_string()).collect()
}

/// The service of a project and environment, in whose name its directory is, too.
fn service(
    workspace: &Workspace,
    settings: &Path,
    every: Option<u32>,
) -> Result<Service, ServiceError> {
    let root = workspace
        .root
        .canonicalize()
        .map_err(|source| ServiceError::File { path: workspace.root.clone(), source })?;
    let text = |path: &Path| match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(ServiceError::Unspeakable { path: path.to_owned(), why: "it is not UTF-8" }),
    };
    let owner = workspace.project.owner();
    let hash = blake3::hash(root.as_os_str().as_encoded_bytes()).to_hex();
    let name = format!("goatbuild-{}-{}", owner.replace('/', "-"), &hash[..HASH]);
    let file = settings.join("goatbuild").join(format!("{name}.env"));
    let variables_file = text(&file)?;
    if variables_file.contains(char::is_control) {
        return Err(ServiceError::Unspeakable { path: file, why: "it holds a line break" });
    }
    // It takes no such program, however it is written; its arguments may be anything.
    let program = text(&workspace.settings.program)?;
    if program.contains(|letter: char| "\"'\\".contains(letter) || letter.is_control()) {
        let path = workspace.settings.program.clone();
        return Err(ServiceError::Unspeakable { path, why: "systemd runs no program so called" });
    }
    // Where it is, absolutely: what a variable says of it may hold in this directory alone.
    let mut variables = vec![(STATE, text(&workspace.settings.state)?)];
    let variable = |name: &'static str| Some((name, (workspace.settings.variable)(name)?));
    variables.extend(VARIABLES.into_iter().filter_map(variable));
    Ok(Service {
        name,
        owner,
        program,
        root: text(&root)?,
        environment: workspace.project.environment.as_ref().map(ToString::to_string),
        variables,
        variables_file,
        every,
    })
}

/// The user's directory of settings.
fn settings(workspace: &Workspace) -> Result<PathBuf, ServiceError> {
    let own = (workspace.settings.variable)("XDG_CONFIG_HOME").map(PathBuf::from);
    let own = own.filter(|path| path.is_absolute());
    own.or_else(|| usual_settings(workspace)).ok_or(ServiceError::NoHome)
}

/// Where that directory is unless a variable says otherwise.
fn usual_settings(workspace: &Workspace) -> Option<PathBuf> {
    let home = (workspace.settings.variable)("HOME")?;
    Some(Path::new(&home).join(".config"))
}

/// The variables in which secrets are looked for on this machine, each with one of those.
fn variables_of_secrets(project: &Project) -> BTreeMap<&str, &str> {
    let found = project.secrets.iter().filter_map(|(name, secret)| match secret.from.as_ref()? {
        SecretSource::Env(variable) => Some((variable.as_str(), name.as_str())),
        SecretSource::File(_) | SecretSource::Command(_) => None,
    });
    found.collect()
}

/// After how many minutes a timer looks again.
fn minutes(timer: &str) -> Option<u32> {
    let line = timer.lines().find_map(|line| line.strip_prefix("OnActiveSec="))?;
    line.strip_suffix("min")?.parse().ok()
}

/// What a unit says apart from its variables: the shell that asks may have others than the one that
/// installed it.
fn without_variables(unit: &str) -> impl Iterator<Item = &str> {
    unit.lines().filter(|line| !line.starts_with("Environment="))
}

/// Whether what systemd says of a unit is in order; none while it is at work on it.
fn judged(state: &str) -> Option<bool> {
    match state {
        "active" => Some(true),
        "activating" | "reloading" => None,
        _ => Some(false),
    }
}

fn user() -> String {
    let found = User::from_uid(geteuid()).ok().flatten();
    found.map_or_else(|| geteuid().to_string(), |user| user.name)
}

/// What serves at boot without systemd: a command line for cron, which gives it hardly any variables.
fn line_for_cron(service: &Service) -> String {
    let mut words = vec!["env".to_owned()];
    words.extend(service.variables.iter().map(|(name, value)| format!("{name}={value}")));
    words.push(service.program.clone());
    words.extend(service.words("start"));
    let words: Vec<String> = words.iter().map(|word| for_cron(word)).collect();
    words.join(" ")
}

/// A word of a line of cron's, where `%` is the end of it.
fn for_cron(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=".contains(letter);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''").replace('%', "\\%"))
    }
}

/// How systemd says that a unit is.
async fn asked(name: &str) -> Result<String, String> {
    let mut command = tokio::process::Command::new("systemctl");
    command.args(["--user", "is-active"]).arg(format!("{name}.service"));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("systemctl can't be run: {error}")),
        Err(_) => return Err("systemctl does not answer".to_owned()),
    };
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if state.is_empty() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_gets_the_variables_that_systemd_gets() {
        let service = Service {
            name: "goatbuild-goat-7f3a91-0123abcd".to_owned(),
            owner: "goat-7f3a91".to_owned(),
            program: "/usr/local/bin/goatbuild".to_owned(),
            root: "/srv/our goats".to_owned(),
            environment: None,
            variables: vec![
                ("GOATBUILD_STATE_DIR", "/srv/100%".to_owned()),
                ("PATH", "/usr/local/bin:/usr/bin".to_owned()),
            ],
            variables_file: String::new(),
            every: None,
        };
        assert_eq!(
            line_for_cron(&service),
            r"env 'GOATBUILD_STATE_DIR=/srv/100\%' PATH=/usr/local/bin:/usr/bin /usr/local/bin/goatbuild -C '/srv/our goats' service start"
        );
    }

    #[test]
    fn what_systemd_is_at_work_on_is_neither_good_nor_bad() {
        for (state, expected) in [
            ("active", Some(true)),
            ("activating", None),
            ("reloading", None),
            ("inactive", Some(false)),
            ("failed", Some(false)),
        ] {
            assert_eq!(judged(state), expected, "{state}");
        }
    }
}
