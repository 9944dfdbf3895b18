//! `[serve]` of a model: how it is served.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::auth::{Auth, auth};
use super::context::Rank;
use super::model::TargetKind;
use super::read::Shared;
use super::rollout::{Rollout, rollout};
use super::served_name::{ServedNames, served_names};
use super::source::Located;
use super::table::Table;
use super::value::{duration_text, quoted};
use crate::engine::Engine;

/// `[serve]`: how a model is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// The port on this machine, if it is to be a certain one. Local target only.
    pub port: Option<Located<u16>>,
    /// What requests call the model.
    pub served_names: ServedNames,
    /// Who may ask it.
    pub auth: Auth,
    /// How many requests one replica takes at once; at least 1.
    pub max_inputs: u32,
    /// How long an idle replica stays.
    pub scaledown_window: Duration,
    /// How long a request may take.
    pub timeout: Duration,
    /// How long a start may take.
    pub startup_timeout: Duration,
    /// How many replicas, and where. Modal only.
    pub replicas: Replicas,
    /// No compilation: a faster start, slower tokens.
    pub fast_boot: bool,
    /// Replicas start from a snapshot of the GPU's memory. Modal only, and engines that can sleep.
    pub snapshot: bool,
    /// Whether caches are warmed before a deploy.
    pub warmup: When,
    /// Whether a deployment is tried out.
    pub smoke: When,
    /// How it takes the place of what stands.
    pub rollout: Rollout,
}

/// How many replicas of a model there are, and where; what isn't said is the target's own choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replicas {
    /// As many stay up though nobody asks anything.
    pub min: Option<u32>,
    /// More are never up.
    pub max: Option<u32>,
    /// As many more than are busy are kept up while there are requests.
    pub buffer: Option<u32>,
    /// The region, such as `us-east`.
    pub region: Option<String>,
    /// The provider, such as `aws`.
    pub cloud: Option<String>,
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

/// Reads `[serve]`.
pub(super) fn serve(
    mut table: Table<'_, '_>,
    name: &str,
    repository: Option<&str>,
    (target, engine): (TargetKind, Option<&dyn Engine>),
    shared: &Shared<'_>,
) -> Option<Serve> {
    /// The longest that Modal lets a request or a start take, in seconds.
    const DAY: u64 = 24 * 60 * 60;
    let port = table.integer("port", 1..65536);
    let port = port.and_then(|(port, spot)| {
        Some(Located { value: u16::try_from(port).ok()?, place: spot.place() })
    });
    let served_names = served_names(&mut table, name, engine, repository);
    let auth = auth(&mut table, target, shared);
    let max_inputs = table.integer("max-inputs", 1..100_001);
    if !table.has("max-inputs") {
        table.built_in("max-inputs", || "32".to_owned());
    }
    let mut duration = |key, seconds, modal: RangeInclusive<u64>| {
        let default = Duration::from_secs(seconds);
        if !table.has(key) {
            table.built_in(key, || duration_text(default));
        }
        let duration = table.duration(key).unwrap_or(default);
        if target == TargetKind::Modal && !modal.contains(&duration.as_secs()) {
            let [least, most] = [modal.start(), modal.end()]
                .map(|seconds| duration_text(Duration::from_secs(*seconds)));
            let expected = format!("on Modal, at least {least} and at most {most}");
            let spot = table.every(key).next().map_or_else(|| table.spot.clone(), |it| it.spot());
            table.bad(key, &duration_text(duration), &expected, &spot);
        }
        duration
    };
    // What Modal's own client checks.
    let scaledown_window = duration("scaledown-window", 5 * 60, 2..=60 * 60);
    let timeout = duration("timeout", 60 * 60, 1..=DAY);
    let startup_timeout = duration("startup-timeout", 10 * 60, 1..=DAY);
    let replicas = replicas(&mut table);
    let fast_boot = table.boolean("fast-boot", false);
    let snapshot = snapshot(&mut table, target, engine, shared);
    let when = [("auto", When::Auto), ("never", When::Never)];
    let warmup = table.choice("warmup", &when);
    let smoke = table.choice("smoke", &when);
    let rollout = rollout(&mut table, target, smoke);
    table.finish();
    Some(Serve {
        port,
        served_names: served_names?,
        auth,
        max_inputs: max_inputs.and_then(|(number, _)| u32::try_from(number).ok()).unwrap_or(32),
        scaledown_window,
        timeout,
        startup_timeout,
        replicas,
        fast_boot,
        snapshot,
        warmup,
        smoke,
        rollout,
    })
}

fn replicas(table: &mut Table<'_, '_>) -> Replicas {
    /// More than Modal gives anybody.
    const MOST: i64 = 1001;
    let mut count = |key, least| {
        let (count, _) = table.integer(key, least..MOST)?;
        u32::try_from(count).ok()
    };
    let (min, max, buffer) =
        (count("min-containers", 0), count("max-containers", 1), count("buffer-containers", 0));
    let mut text = |key| {
        let text = table.string(key)?;
        if text.value.is_empty()
            || !text.value.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-')
        {
            table.bad(key, &quoted(text.value), "letters, digits and -", &text.spot);
            return None;
        }
        Some(text.value.to_owned())
    };
    let (region, cloud) = (text("region"), text("cloud"));
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        let spot = table.spot.clone();
        table.bad("max-containers", &max.to_string(), "no fewer than `min-containers`", &spot);
    }
    Replicas { min, max, buffer, region, cloud }
}

/// Reads `snapshot`, which is for an engine that can sleep, at a target that can wake it.
fn snapshot(
    table: &mut Table<'_, '_>,
    target: TargetKind,
    engine: Option<&dyn Engine>,
    shared: &Shared<'_>,
) -> bool {
    let written = table.every("snapshot").next();
    let wanted = table.boolean("snapshot", false);
    let expected = match (target, engine) {
        // What engine it is couldn't be read, which is told already.
        (TargetKind::Modal, engine) if engine.is_none_or(Engine::can_sleep) => return wanted,
        (TargetKind::Modal, _) => {
            let can = shared.engines.iter().filter(|engine| engine.can_sleep());
            let names: Vec<_> = can.map(|can| format!("`name = {}`", quoted(can.name()))).collect();
            format!("only false: {} in [engine] alone can be put to sleep", names.join(" or "))
        }
        (TargetKind::Local, _) => {
            "only false for a model on this machine; snapshots are for `target = \"modal\"`"
                .to_owned()
        }
    };
    // What the defaults say is for the models of which it can be said.
    if let Some(found) = written.filter(|it| wanted && it.layer.rank != Rank::Defaults) {
        table.bad("snapshot", "true", &expected, &found.spot());
    }
    false
}
