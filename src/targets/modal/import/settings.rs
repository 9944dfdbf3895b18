//! What decorators say of how something is served.

use std::time::Duration;

use super::{Gpus, is_server};
use crate::import::{Call, Definition, Found, Value, What};
use crate::spec::{CORES, GIB, duration_text};

/// What Modal does where a script says nothing, in seconds, and in requests.
const SCALEDOWN: f64 = 60.0;
const TIMEOUT: f64 = 5.0 * 60.0;
const STARTUP: f64 = 5.0;
const INPUTS: i64 = 1;

/// How long a server may take to start, in seconds: `app.server` of the client 1.6.4.
const SERVER_STARTUP: f64 = 30.0;

/// The longest that a start or a request may take.
const DAY: f64 = 24.0 * 60.0 * 60.0;

/// Arguments of functions that nothing here is made of, and what to say of each.
const LOST: [(&str, &str); 16] = [
    ("ephemeral_disk", "specs have no such setting"),
    ("retries", "Modal doesn't retry requests of a web server either"),
    ("network_file_systems", "models have volumes"),
    ("mounts", "the image has what it needs"),
    ("proxy", "specs have no such setting"),
    ("experimental_options", "specs have no such setting"),
    ("schedule", "what goatbuild deploys answers requests"),
    ("single_use_containers", "specs have no such setting"),
    ("max_inputs", "specs have no such setting"),
    ("restrict_modal_access", "specs have no such setting"),
    ("block_network", "specs have no such setting"),
    ("nonpreemptible", "specs have no such setting"),
    ("i6pn", "one model has one container"),
    ("enable_gpu_snapshot", "`snapshot = true` in [serve] is goatbuild's way"),
    ("checkpointing_enabled", "`snapshot = true` in [serve] is goatbuild's way"),
    ("name", "the function is called `serve`"),
];

/// Arguments of functions that are read, or that say nothing of what is served.
const FUNCTION: [&str; 29] = [
    "image",
    "env",
    "secret",
    "secrets",
    "volumes",
    "gpu",
    "cpu",
    "memory",
    "timeout",
    "startup_timeout",
    "scaledown_window",
    "container_idle_timeout",
    "min_containers",
    "keep_warm",
    "max_containers",
    "concurrency_limit",
    "buffer_containers",
    "allow_concurrent_inputs",
    "enable_memory_snapshot",
    "region",
    "cloud",
    "serialized",
    "include_source",
    "is_generator",
    "port",
    "unauthenticated",
    "target_concurrency",
    "max_concurrency",
    "compute_region",
];

/// The same of what makes a function answer requests.
const ANSWERS: [&str; 6] =
    ["port", "startup_timeout", "requires_proxy_auth", "custom_domains", "label", "docs"];

/// Modal's environment, as far as a script names it: of its volumes and secrets, say.
pub(super) fn place(call: &Call, found: &mut Found) {
    let volumes = call.named("volumes").map_or(&[][..], Value::pairs).iter().map(|(_, it)| it);
    let secrets = call.named("secrets").and_then(Value::items).unwrap_or_default();
    let named = |value: &Value| value.call()?.named("environment_name")?.text().map(str::to_owned);
    let environment = volumes.chain(secrets).find_map(named).unwrap_or_else(|| {
        let why = "the script doesn't say which environment of Modal's it is deployed to: `main` is \
                   written";
        found.remarks.lose(0, why);
        "main".to_owned()
    });
    found.settings.insert("environment".to_owned(), environment.into());
}

/// What makes it answer requests.
pub(super) fn web(decorator: &Value, found: &mut Found) {
    let Some(call) = decorator.call() else { return open(None, decorator.line, found) };
    let kind = call.name().unwrap_or_default();
    if is_server(kind) {
        let startup = call.named("startup_timeout").and_then(Value::number);
        duration(found, "startup-timeout", startup.unwrap_or(SERVER_STARTUP).max(1.0), call.line);
        let is_open = call.named("unauthenticated").and_then(Value::boolean);
        // The one of early 2026 asked nobody for a token.
        return open(Some(!is_open.unwrap_or(kind != "server")), call.line, found);
    }
    if !["web_server", "http_server"].contains(&kind) {
        let why =
            format!("`{kind}` answers in the script's own way; the engine's server does instead");
        found.remarks.lose(call.line, why);
    }
    unknown(call, &ANSWERS, found);
    let startup = call.named("startup_timeout").and_then(Value::number).unwrap_or(STARTUP);
    duration(found, "startup-timeout", startup.max(1.0), call.line);
    for (name, why) in [
        ("custom_domains", "goatbuild gives a model Modal's own address"),
        ("label", "goatbuild gives a model Modal's own label: the URL changes"),
    ] {
        let Some(value) = call.named(name).filter(|it| it.what != What::None) else { continue };
        found.remarks.lose(value.line, why);
        if let Some(label) = value.text() {
            found.labels.push(label.to_owned());
        }
    }
    open(call.named("requires_proxy_auth").and_then(Value::boolean), call.line, found);
}

/// Who may ask it.
fn open(proxy: Option<bool>, line: usize, found: &mut Found) {
    if proxy == Some(true) {
        found.serve.insert("auth".to_owned(), "proxy".into());
    } else if found.written.key.is_none() {
        found.serve.insert("auth".to_owned(), "none".into());
        let what = "anybody may ask it, and have a GPU started. Without `auth = \"none\"` Modal turns \
                    away who has no proxy token: direct callers then get 401";
        found.remarks.suggest(line, what);
    }
}

/// How its function is made.
pub(super) fn function(call: &Call, (definition, gpus): (&Definition, Gpus), found: &mut Found) {
    let line = call.line;
    let number = |names: &[&str]| {
        let value = names.iter().find_map(|name| call.named(name))?;
        value.number().map(|number| (number, value.line))
    };
    let (scaledown, at) =
        number(&["scaledown_window", "container_idle_timeout"]).unwrap_or((SCALEDOWN, line));
    duration(found, "scaledown-window", scaledown.clamp(2.0, 3600.0), at);
    if is_server(call.name().unwrap_or_default()) {
        limits(call, found);
    } else {
        requests(call, definition, found);
    }
    for (field, names) in [
        ("min-containers", ["min_containers", "keep_warm"]),
        ("max-containers", ["max_containers", "concurrency_limit"]),
        ("buffer-containers", ["buffer_containers", "buffer_containers"]),
    ] {
        let Some(value) = names.iter().find_map(|name| call.named(name)) else { continue };
        if let Some(count) = value.integer().filter(|count| (1..=1000).contains(count)) {
            found.comes_from(value.line, format!("serve.{field}"));
            found.serve.insert(field.to_owned(), count.into());
        }
    }
    for field in ["region", "cloud"] {
        let value = call.named(field).or_else(|| call.named(&format!("compute_{field}")));
        let Some(value) = value.filter(|it| it.what != What::None) else { continue };
        found.comes_from(value.line, format!("serve.{field}"));
        match (value.text(), value.items()) {
            (Some(text), _) => _ = found.serve.insert(field.to_owned(), text.into()),
            (None, Some([first, ..])) if first.text().is_some() => {
                let first = first.text().unwrap_or_default();
                found.serve.insert(field.to_owned(), first.into());
                found.remarks.lose(value.line, format!("a spec names one {field}: `{first}`"));
            }
            _ => found.remarks.lose(value.line, "only a run would tell that"),
        }
    }
    for (name, why) in LOST {
        if let Some(value) = call.named(name).filter(|it| it.what != What::None) {
            found.remarks.lose(value.line, format!("`{name}`: {why}"));
        }
    }
    if let Some(value) =
        call.named("enable_memory_snapshot").filter(|it| it.boolean() == Some(true))
    {
        found
            .remarks
            .lose(value.line, "`snapshot = true` in [serve] is goatbuild's way; it is alpha");
    }
    unknown(call, &FUNCTION, found);
    gpu(call, gpus, found);
    reserved(call, found);
    volumes(call, found);
}

/// How long a request and a start may take, and how many a container takes at once.
fn requests(call: &Call, definition: &Definition, found: &mut Found) {
    let line = call.line;
    let number = |names: &[&str]| {
        let value = names.iter().find_map(|name| call.named(name))?;
        value.number().map(|number| (number, value.line))
    };
    let (timeout, at) = number(&["timeout"]).unwrap_or((TIMEOUT, line));
    duration(found, "timeout", timeout.clamp(1.0, DAY), at);
    if !definition.methods.is_empty() || call.named("startup_timeout").is_some() {
        // What `@modal.enter` does has as long as this says.
        let (startup, at) = number(&["startup_timeout"]).unwrap_or((timeout, at));
        longest(found, startup, at);
    }
    let concurrent = definition
        .decorator("modal.concurrent")
        .or_else(|| definition.methods.iter().find_map(|it| it.decorator("modal.concurrent")));
    let inputs = concurrent
        .and_then(Value::call)
        .and_then(|call| call.argument("max_inputs", 0))
        .or_else(|| call.named("allow_concurrent_inputs"));
    let inputs = inputs.and_then(Value::integer).unwrap_or(INPUTS).clamp(1, 100_000);
    found.serve.insert("max-inputs".to_owned(), inputs.into());
    if let Some(target) = concurrent.and_then(|it| it.call()?.named("target_inputs")) {
        found
            .remarks
            .lose(target.line, "specs have no such setting: replicas are added at `max-inputs`");
    }
}

/// The same of a server, whose requests have no limits but these.
fn limits(call: &Call, found: &mut Found) {
    let most = call.named("max_concurrency").filter(|it| it.integer() != Some(0));
    let target = call.named("target_concurrency").filter(|it| it.number() != Some(0.0));
    if let (Some(_), Some(target)) = (most, target) {
        let why = "specs have no such setting: replicas are added at `max-inputs`";
        found.remarks.lose(target.line, why);
    }
    let Some((number, line)) = most.or(target).and_then(|it| Some((it.number()?, it.line))) else {
        let why = "nothing limits how many requests it takes at once: `max-inputs` is goatbuild's default";
        return found.remarks.lose(call.line, why);
    };
    #[expect(clippy::cast_possible_truncation, reason = "it is in a range")]
    let inputs = number.ceil().clamp(1.0, 100_000.0) as i64;
    found.comes_from(line, "serve.max-inputs");
    found.serve.insert("max-inputs".to_owned(), inputs.into());
}

fn duration(found: &mut Found, field: &str, seconds: f64, line: usize) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in a range")]
    let whole = seconds.clamp(1.0, DAY).ceil() as u32;
    if (f64::from(whole) - seconds).abs() > 0.001 {
        let why = format!("`{field}` is whole seconds, at most a day: {whole}s is written");
        found.remarks.lose(line, why);
    }
    let text = duration_text(Duration::from_secs(whole.into()));
    found.serve.insert(field.to_owned(), text.trim_matches('"').into());
    found.comes_from(line, format!("serve.{field}"));
}

/// Takes a longer time to start, if it is.
fn longest(found: &mut Found, seconds: f64, line: usize) {
    let before = found.serve.get("startup-timeout").cloned();
    duration(found, "startup-timeout", seconds, line);
    let seconds_of = |value: &toml::Value| crate::spec::seconds(value.as_str().unwrap_or_default());
    if let Some(before) = before
        && seconds_of(&before) > found.serve.get("startup-timeout").and_then(seconds_of)
    {
        found.serve.insert("startup-timeout".to_owned(), before);
    }
}

/// Tells of the arguments that nothing here reads.
fn unknown(call: &Call, known: &[&str], found: &mut Found) {
    for (name, value) in &call.named {
        let is_known = known.contains(&&**name)
            || LOST.iter().any(|(lost, _)| lost == name)
            || value.what == What::None;
        if !is_known {
            found.remarks.lose(value.line, format!("`{name}`: specs have no such setting"));
        }
    }
}

fn gpu(call: &Call, gpus: Gpus, found: &mut Found) {
    let Some(value) = call.named("gpu").filter(|it| it.what != What::None) else { return };
    let first = match value.items() {
        Some([first, others @ ..]) => {
            if !others.is_empty() {
                found.remarks.lose(value.line, "a spec names one GPU: the first is written");
            }
            first
        }
        _ => value,
    };
    let (name, count) = match (first.text(), first.call()) {
        (Some(text), _) => {
            let (name, count) = text.split_once(':').unwrap_or((text, "1"));
            (name.to_owned(), count.trim().parse().ok())
        }
        // `modal.gpu.A100(size="80GB", count=2)`
        (None, Some(call)) => {
            let name = call.name().unwrap_or_default();
            let size = call.named("size").and_then(Value::text).map(str::to_owned);
            let memory = call.named("memory").and_then(Value::integer);
            let size = size.or_else(|| memory.map(|memory| format!("{memory}GB")));
            let name = size.map_or(name.to_owned(), |size| format!("{name}-{size}"));
            (name, call.named("count").map_or(Some(1), Value::integer))
        }
        _ => return found.remarks.lose(value.line, "only a run would tell which GPU that is"),
    };
    let name = name.trim().to_ascii_uppercase();
    found.comes_from(value.line, "hardware.gpu");
    if !gpus.iter().any(|(known, ..)| *known == name) {
        return found.remarks.lose(value.line, format!("goatbuild knows no GPU `{name}`"));
    }
    let count = count.filter(|count| (1..=8).contains(count)).unwrap_or_else(|| {
        found
            .remarks
            .lose(value.line, "only a run would tell how many GPUs that are: 1 is written");
        1
    });
    found.hardware.insert("gpu".to_owned(), name.into());
    if count != 1 {
        found.hardware.insert("count".to_owned(), count.into());
    }
    match found.written.spread {
        Some((spread, line)) if spread != count => {
            let why = format!("it is spread over {spread} of {count} GPUs; goatbuild uses all");
            found.remarks.lose(line, why);
        }
        None if count > 1 => {
            let why = format!("nothing spreads it over the {count} GPUs; goatbuild uses all");
            found.remarks.lose(value.line, why);
        }
        _ => {}
    }
}

/// What a container has of a machine beside its GPU. Modal has memory in MiB, and specs have it in GiB.
fn reserved(call: &Call, found: &mut Found) {
    let has_gpu = found.hardware.contains_key("gpu");
    for (name, parts, (least, most), unit) in
        [("cpu", 1.0, CORES, "cores"), ("memory", 1024.0, GIB, "GiB")]
    {
        let Some(value) = call.named(name).filter(|it| it.what != What::None) else { continue };
        let number = value.number().map(|number| number / parts);
        let Some(number) = number.filter(|it| has_gpu && (least..=most).contains(it)) else {
            let why = format!(
                "`{name}`: a spec says one number beside a GPU, of {least} to {most} {unit}, and no limit"
            );
            found.remarks.lose(value.line, why);
            continue;
        };
        #[expect(clippy::cast_possible_truncation, reason = "it is in a range")]
        let whole = number as i64;
        let number: toml::Value = if number.fract() == 0.0 { whole.into() } else { number.into() };
        found.comes_from(value.line, format!("hardware.{name}"));
        found.hardware.insert(name.to_owned(), number);
    }
}

fn volumes(call: &Call, found: &mut Found) {
    let Some(volumes) = call.named("volumes") else { return };
    for (mount, volume) in volumes.pairs() {
        let name = volume.call().filter(|it| {
            let makes = ["modal.Volume.from_name", "modal.Volume.persisted", "modal.Volume.lookup"];
            it.path().is_some_and(|path| makes.contains(&path))
        });
        let name = name.and_then(|it| it.argument("name", 0)).and_then(Value::text);
        match (mount.text(), name) {
            (Some(mount), Some(name)) => {
                let mount = mount
                    .trim_end_matches('/')
                    .replace("/root/.cache/huggingface/hub", "/root/.cache/huggingface");
                found.comes_from(volume.line, format!("volume {mount}"));
                found.volumes.push((mount, name.to_owned()));
            }
            _ => found.remarks.lose(mount.line, "only a run would tell which volume that is"),
        }
    }
    if volumes.pairs().is_empty() && volumes.what == What::Unknown {
        found.remarks.lose(volumes.line, "only a run would tell which volumes these are");
    }
}
