//! `[serve]` of a model: how it is served.

use std::time::Duration;

use super::api::{APIS, Api};
use super::auth::{Auth, auth};
use super::context::Rank;
use super::fields::Fields;
use super::own::Own;
use super::read::Shared;
use super::rollout::{Rollout, rollout};
use super::served_name::{ServedNames, served_names};
use super::source::Located;
use super::table::Table;
use super::target::TargetType;
use super::value::{duration_text, quoted};
use crate::engine::Engine;

/// `[serve]`: how a model is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// The port on this machine, if it is to be a certain one. Local target only.
    pub port: Option<Located<u16>>,
    /// What requests call the model.
    pub served_names: ServedNames,
    /// What it is asked for, where that is not told by what it is. No key depends on it.
    pub api: Option<Api>,
    /// Who may ask it.
    pub auth: Auth,
    /// Whether its spec or the defaults say that.
    pub auth_is_said: bool,
    /// How many requests one replica takes at once; at least 1.
    pub max_inputs: u32,
    /// How long an idle replica stays.
    pub scaledown_window: Duration,
    /// How long a request may take.
    pub timeout: Duration,
    /// How long a start may take.
    pub startup_timeout: Duration,
    /// What its target alone understands.
    pub own: Own,
    /// No compilation: a faster start, slower tokens.
    pub fast_boot: bool,
    /// Replicas start from a snapshot of the GPU's memory: at targets that have such, with engines
    /// that can sleep.
    pub snapshot: bool,
    /// Whether caches are warmed before a deploy.
    pub warmup: When,
    /// Whether a deployment is tried out.
    pub smoke: Smoke,
    /// How it takes the place of what stands, where anything says that.
    pub rollout: Option<Rollout>,
}

/// Whether an optional step takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum When {
    /// When it is of use.
    #[default]
    Auto,
    /// Never.
    Never,
}

/// Whether a deployment is tried out, and what it means when that can't tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Smoke {
    /// It is; what could not be proven neither passed nor failed.
    #[default]
    Auto,
    /// It is; what could not be proven failed.
    Always,
    /// It is not.
    Never,
}

/// How many requests a replica is given at once where nothing says it, and at most where its target
/// has no limit of its own.
const INPUTS: (u32, u32) = (32, 100_000);

/// As specs write it.
pub(super) const SMOKES: [(&str, Smoke); 3] =
    [("auto", Smoke::Auto), ("always", Smoke::Always), ("never", Smoke::Never)];

/// Reads `[serve]`.
pub(super) fn serve(
    mut table: Table<'_, '_>,
    name: &str,
    repository: Option<&str>,
    (target, engine): (&'static dyn TargetType, Option<&dyn Engine>),
    shared: &Shared<'_>,
) -> Option<Serve> {
    let port = table.integer("port", 1..65536);
    let port = port.and_then(|(port, spot)| {
        Some(Located { value: u16::try_from(port).ok()?, place: spot.place() })
    });
    let served_names = served_names(&mut table, name, engine, repository);
    let api = table.optional_choice("api", &APIS);
    let (auth, auth_is_said) = auth(&mut table, target, shared);
    let max_inputs = max_inputs(&mut table, target);
    let mut duration = |key, seconds| {
        let default = Duration::from_secs(seconds);
        if !table.has(key) {
            table.built_in(key, || duration_text(default));
        }
        let duration = table.duration(key).unwrap_or(default);
        if let Some(expected) = target.refuses(key, duration) {
            let spot = table.every(key).next().map_or_else(|| table.spot.clone(), |it| it.spot());
            table.bad(key, &duration_text(duration), &expected, &spot);
        }
        duration
    };
    let scaledown_window = duration("scaledown-window", 5 * 60);
    let timeout = duration("timeout", 60 * 60);
    let startup_timeout = duration("startup-timeout", 10 * 60);
    let mut own = Own::default();
    // What `[defaults]` say for one target is there for the models of another, too.
    for other in shared.kinds.targets.iter() {
        let read = other.serve(&mut Fields::reading(&mut table));
        if other == target {
            own = read;
        }
    }
    let fast_boot = table.boolean("fast-boot", false);
    let snapshot = snapshot(&mut table, target, engine, shared);
    let warmup = table.choice("warmup", &[("auto", When::Auto), ("never", When::Never)]);
    let smoke = table.choice("smoke", &SMOKES);
    let rollout = rollout(&mut table, target, smoke, shared);
    table.finish();
    Some(Serve {
        port,
        served_names: served_names?,
        api,
        auth,
        auth_is_said,
        max_inputs,
        scaledown_window,
        timeout,
        startup_timeout,
        own,
        fast_boot,
        snapshot,
        warmup,
        smoke,
        rollout,
    })
}

/// Reads `max-inputs`, of which targets have limits.
fn max_inputs(table: &mut Table<'_, '_>, target: &'static dyn TargetType) -> u32 {
    let (default, any) = INPUTS;
    let most = target.most_inputs().unwrap_or(any);
    // What the defaults say is for the models of which it can be said.
    let written = table.every("max-inputs").next();
    let is_default = written.is_some_and(|found| found.layer.rank == Rank::Defaults);
    let end = if is_default { any } else { most };
    let number = table.integer("max-inputs", 1..i64::from(end) + 1);
    if written.is_none() {
        table.built_in("max-inputs", || default.to_string());
    }
    let number = number.and_then(|(number, _)| u32::try_from(number).ok());
    number.filter(|number| *number <= most).unwrap_or(default)
}

/// Reads `snapshot`, which is for an engine that can sleep, at a target that can wake it.
fn snapshot(
    table: &mut Table<'_, '_>,
    target: &'static dyn TargetType,
    engine: Option<&dyn Engine>,
    shared: &Shared<'_>,
) -> bool {
    let written = table.every("snapshot").next();
    let wanted = table.boolean("snapshot", false);
    let expected = match (target.has_snapshots(), engine) {
        // What engine it is couldn't be read, which is told already.
        (true, engine) if engine.is_none_or(Engine::can_sleep) => return wanted,
        (true, _) => {
            let can = shared.kinds.engines.iter().filter(|engine| engine.can_sleep());
            let names: Vec<_> = can.map(|can| format!("`name = {}`", quoted(can.name()))).collect();
            format!("only false: {} in [engine] alone can be put to sleep", names.join(" or "))
        }
        (false, _) => {
            let others = shared.kinds.targets.fields(TargetType::has_snapshots);
            format!("only false for a model on {}; snapshots are for {others}", target.title())
        }
    };
    // What the defaults say is for the models of which it can be said.
    if let Some(found) = written.filter(|it| wanted && it.layer.rank != Rank::Defaults) {
        table.bad("snapshot", "true", &expected, &found.spot());
    }
    false
}

#[cfg(test)]
mod tests {
    use crate::spec::{Project, SourceFile, Sources, SpecErrors, read};

    const MODAL: &str =
        "image = \"one\"\ntarget = \"modal\"\nhardware.gpu = \"H100\"\nmodel.source = \"hf:a/b\"\n";
    const LOCAL: &str = "image = \"one\"\nmodel.source = \"path:tiny\"\n";

    fn project(defaults: &str, spec: &str) -> Result<Project, SpecErrors> {
        let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
        let image = "base = { debian = \"bookworm\" }\nrequirements = [\"vllm==0.13.0\"]\n";
        let sources = Sources {
            project: file(
                "goatbuild.toml",
                &format!("project.id = \"a\"\ntarget.modal = {{}}\n{defaults}"),
            ),
            specs: vec![file("specs/m.toml", spec)],
            images: vec![file("images/one.toml", image)],
            mistakes: Vec::new(),
            kinds: crate::project::kinds(),
        };
        read(&sources, None)
    }

    #[test]
    fn defaults_beyond_a_targets_limit_are_for_the_models_of_others() {
        let many = "defaults.serve.max-inputs = 2000\n";
        let inputs = |spec: &str| project(many, spec).unwrap().models["m"].serve.max_inputs;
        assert_eq!(inputs(LOCAL), 2000);
        assert_eq!(inputs(MODAL), 32);
        assert_eq!(inputs(&format!("{MODAL}serve.max-inputs = 1000\n")), 1000);
        let said = format!("{MODAL}serve.max-inputs = 2000\n");
        let told = format!("{:?}", project("", &said).unwrap_err());
        assert!(told.contains("a number from 1 to 1000"), "{told}");
        assert!(project("defaults.serve.max-inputs = 0\n", LOCAL).is_err());
    }
}
