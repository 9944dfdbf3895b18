//! Reads what `goatbuild.toml` says about the project itself.

use std::collections::BTreeMap;

use super::context::Text;
use super::fields::Fields;
use super::gateway::{GatewaySettings, GatewayTypes};
use super::kinds::Kinds;
use super::model::{Gpu, Volume};
use super::model_file::{WORD, in_word};
use super::name::{ProjectId, VolumeName};
use super::path::is_mount;
use super::problem::{Problem, SpecError};
use super::reference::ImageReference;
use super::secret::Secret;
use super::secret_table::secrets;
use super::source::Place;
use super::table::Table;
use super::target::{TargetSettings, TargetTypes};
use super::value::quoted;
use crate::engine::{Cache, Engines};

/// The GPUs that need no project, by name.
pub fn known_gpus(types: &TargetTypes) -> Vec<String> {
    types.gpus().map(|(name, ..)| name.to_owned()).collect()
}

/// Volumes that every project has: the weights', and those of its engines.
pub(super) fn built_in_volumes(engines: Engines) -> Vec<Cache> {
    let mut volumes = vec![Cache { volume: "model-cache", mount: "/root/.cache/huggingface" }];
    volumes.extend(engines.caches());
    volumes
}

/// What the project's own file says, for one environment.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) id: Option<ProjectId>,
    pub(super) app_prefix: String,
    pub(super) targets: TargetSettings,
    pub(super) volumes: BTreeMap<VolumeName, Volume>,
    pub(super) gpus: BTreeMap<String, Gpu>,
    pub(super) secrets: BTreeMap<String, Secret>,
    /// The secrets that settings of targets name.
    pub(super) named_secrets: Vec<String>,
    pub(super) plain_http: Vec<String>,
    pub(super) gateway: Option<GatewaySettings>,
}

/// Reads the whole file, with the overrides of one environment over it.
pub(super) fn settings<'a>(
    root: &mut Table<'a, '_>,
    kinds: &Kinds,
    environment: Option<&mut Table<'a, '_>>,
) -> Settings {
    let Kinds { engines, targets: types, gateways } = kinds;
    let mut target = root.table("target");
    let mut volumes = root.table("volumes");
    let mut gateway = root.table("gateway");
    let mut prefix = None;
    let mut own_secrets = root.table("secrets");
    if let Some(environment) = environment {
        // The id is the project's in all of them.
        let mut project = environment.table("project");
        prefix = app_prefix(&mut project);
        project.finish();
        target = environment.table("target").over(target);
        volumes = environment.table("volumes").over(volumes);
        gateway = environment.table("gateway").over(gateway);
        own_secrets = environment.table("secrets").over(own_secrets);
    }
    let mut project = root.table("project");
    let id = project_id(&mut project);
    let own = app_prefix(&mut project);
    let app_prefix = match (prefix.or(own), &id) {
        (Some(prefix), _) => prefix.value.to_owned(),
        (None, Some(id)) => {
            let made = format!("{id}-");
            project.built_in("app-prefix", || quoted(&made));
            made
        }
        (None, None) => String::new(),
    };
    project.finish();
    let volumes = read_volumes(volumes, *engines, id.as_ref().map_or("", ProjectId::as_str));
    let (targets, named_secrets) = targets(target, types);
    let secrets = secrets(own_secrets);
    let gateway = read_gateway(gateway, gateways);
    let plain_http = plain_http(root.table("registries"));
    let gpus = gpus(root.table("gpu"), types);
    Settings { id, app_prefix, targets, volumes, gpus, secrets, named_secrets, plain_http, gateway }
}

/// What stands before the names of apps, when it is said.
fn app_prefix<'a>(project: &mut Table<'a, '_>) -> Option<Text<'a>> {
    let text = project.string("app-prefix")?;
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_prefix = text.value.bytes().all(inner) && !text.value.starts_with('-');
    if !is_prefix || text.value.len() > 40 {
        let expected = "at most 40 lowercase letters, digits and `-`";
        project.bad("app-prefix", &quoted(text.value), expected, &text.spot);
    }
    is_prefix.then_some(text)
}

/// Registries without TLS, as `host` or `host:port`.
fn plain_http(mut table: Table<'_, '_>) -> Vec<String> {
    let mut kept = Vec::new();
    for Text { value, spot } in
        table.strings("plain-http").map(|(texts, _)| texts).unwrap_or_default()
    {
        // A repository below it has to be a reference of that registry.
        let below = format!("{value}/x").parse::<ImageReference>();
        if below.is_ok_and(|reference| reference.registry == value) {
            kept.push(value.to_owned());
        } else {
            let expected = "a registry like \"registry.lan:5000\"";
            table.bad("plain-http", &quoted(value), expected, &spot);
        }
    }
    table.finish();
    kept
}

fn project_id(project: &mut Table<'_, '_>) -> Option<ProjectId> {
    let text = project.required("id", "id = \"goat-7f3a91\"")?;
    match ProjectId::new(text.value) {
        Ok(id) => Some(id),
        Err(error) => {
            project.bad("id", &quoted(text.value), error.expected, &text.spot);
            None
        }
    }
}

/// Also gives the secrets that are named, in any layer.
fn targets(mut table: Table<'_, '_>, types: &TargetTypes) -> (TargetSettings, Vec<String>) {
    let (mut settings, mut named) = (TargetSettings::default(), Vec::new());
    // As long as there were two, this machine was the last.
    for target in types.iter().rev() {
        let mut own = table.table(target.name());
        let found = target.secrets().iter().flat_map(|key| own.every(key));
        named.extend(found.filter_map(|it| it.value.get_ref().as_str().map(str::to_owned)));
        let read = target.settings(&mut Fields::reading(&mut own));
        if own.is_present() || target.needed().is_none() {
            settings.0.insert(target.name(), read);
        }
        own.finish();
    }
    table.finish();
    (settings, named)
}

fn read_volumes(
    mut table: Table<'_, '_>,
    engines: Engines,
    id: &str,
) -> BTreeMap<VolumeName, Volume> {
    let built_in = built_in_volumes(engines);
    let mut volumes = BTreeMap::new();
    let mut mounts: BTreeMap<String, (&str, Place)> = BTreeMap::new();
    let mut names: Vec<(&str, Place)> =
        table.other_keys().into_iter().map(|key| (key.value, key.spot.place())).collect();
    for Cache { volume, .. } in &built_in {
        if !names.iter().any(|(other, _)| other == volume) {
            names.push((volume, table.spot.place()));
        }
    }
    for (key, place) in names {
        let name = match VolumeName::new(key) {
            Ok(name) => name,
            Err(error) => {
                let (kind, name) = ("a volume", key.to_owned());
                let problem = Problem::BadName { kind, name, expected: error.expected };
                table.context.push(SpecError::new(problem, place));
                continue;
            }
        };
        let built_in = built_in.iter().find(|it| it.volume == key).map(|it| it.mount);
        let mut volume = table.table(key);
        let own = volume.string("name");
        if let Some(Text { value, spot }) = &own
            && !is_volume_name(value)
        {
            volume.bad("name", &quoted(value), VOLUME_NAME, spot);
        }
        let own = own.map(|text| text.value.to_owned());
        let own = own.unwrap_or_else(|| {
            let made = format!("{id}-{key}");
            volume.built_in("name", || quoted(&made));
            made
        });
        let mount = volume.string("mount");
        if let (None, Some(built_in)) = (&mount, built_in) {
            volume.built_in("mount", || quoted(built_in));
        }
        if mount.is_none() && built_in.is_none() && !volume.has("mount") {
            volume.missing("mount", "mount = \"/data\"");
        }
        if let Some(Text { value, spot }) = &mount
            && !is_mount(value)
        {
            volume.bad("mount", &quoted(value), "an absolute path like \"/data\"", spot);
        }
        let place = mount.as_ref().map_or(place, |text| text.spot.place());
        volume.finish();
        let Some(mount) = mount.map(|text| text.value).or(built_in) else { continue };
        if let Some((first, first_place)) = mounts.get(mount) {
            let (first, second) = ((*first).to_owned(), key.to_owned());
            let problem = Problem::DuplicateMount { mount: mount.to_owned(), first, second };
            table.context.push(SpecError::new(problem, place).with_first(first_place.clone()));
        } else {
            mounts.insert(mount.to_owned(), (key, place));
        }
        volumes.insert(name, Volume { name: own, mount: mount.to_owned() });
    }
    volumes
}

fn gpus(mut table: Table<'_, '_>, types: &TargetTypes) -> BTreeMap<String, Gpu> {
    let built_in = |(name, vram_gib, usd_per_hour): (&str, f64, f64)| {
        (name.to_owned(), Gpu { vram_gib, usd_per_hour, is_stated: false })
    };
    let mut gpus: BTreeMap<_, _> = types.gpus().map(built_in).collect();
    let keys = table.other_keys();
    for key in &keys {
        let known = gpus.get(key.value).copied();
        let mut gpu = table.table(key.value);
        let mut number = |field, known: Option<f64>, example: &str| {
            if known.is_none() && !gpu.has(field) {
                gpu.missing(field, example);
            }
            gpu.number(field).or(known)
        };
        let vram_gib = number("vram-gib", known.map(|gpu| gpu.vram_gib), "vram-gib = 80");
        let usd_per_hour =
            number("usd-per-hour", known.map(|gpu| gpu.usd_per_hour), "usd-per-hour = 4.50");
        let is_stated = gpu.has("usd-per-hour");
        gpu.finish();
        if let (Some(vram_gib), Some(usd_per_hour)) = (vram_gib, usd_per_hour) {
            gpus.insert(key.value.to_owned(), Gpu { vram_gib, usd_per_hour, is_stated });
        }
    }
    let is_stated = |name: &str| keys.iter().any(|key| key.value == name);
    for (other, today) in types.other_names() {
        for (from, to) in [(other, today), (today, other)] {
            if is_stated(from) && !is_stated(to) {
                gpus.extend(gpus.get(from).map(|gpu| (to.to_owned(), *gpu)));
            }
        }
    }
    gpus
}

fn read_gateway(mut table: Table<'_, '_>, types: &GatewayTypes) -> Option<GatewaySettings> {
    let alias_suffix = alias_suffix(&mut table);
    let mut settings = None;
    for kind in types.iter() {
        let mut own = table.table(kind.name());
        if own.is_present() {
            let read = kind.settings(&mut Fields::reading(&mut own));
            let read =
                read.map(|own| GatewaySettings { alias_suffix: alias_suffix.clone(), kind, own });
            settings = settings.or(read);
        }
        own.finish();
    }
    table.finish();
    settings
}

/// The end of an alias may also be none.
fn alias_suffix(gateway: &mut Table<'_, '_>) -> String {
    const USUAL: &str = "-local";
    let text = gateway.string("alias-suffix").filter(|text| {
        let is_word = text.value.bytes().all(in_word);
        if !is_word {
            gateway.bad("alias-suffix", &quoted(text.value), WORD, &text.spot);
        }
        is_word
    });
    text.map_or(USUAL, |text| text.value).to_owned()
}

/// What a target can call a volume: a directory here, and what Modal's client takes.
const VOLUME_NAME: &str =
    "letters, digits, `-`, `_` and `.`, not starting with `.`, at most 63 characters";

/// Says whether `name` is as [`VOLUME_NAME`] says.
fn is_volume_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=63).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(inner)
}
