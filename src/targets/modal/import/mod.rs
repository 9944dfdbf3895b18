//! What somebody's own script deploys to Modal, as specs say it: decorators, images, commands. Read,
//! never run (`crate::import`).

mod image;
mod key;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod workspace;

use super::address::label;
use crate::engine::Engines;
use crate::import::{Call, Definition, Found, Reading, Remarks, Script, Value};
use crate::targets::Imported;

/// What makes an app, in clients of today and of 2024.
const APPS: [&str; 2] = ["modal.App", "modal.Stub"];

/// What makes a function answer requests.
const WEB: [&str; 6] = [
    "modal.web_server",
    "modal.asgi_app",
    "modal.wsgi_app",
    "modal.fastapi_endpoint",
    "modal.web_endpoint",
    "modal.experimental.http_server",
];

/// What makes a class a server, which answers requests without a decorator more: today's name, and the one
/// of early 2026.
const SERVERS: [&str; 2] = ["server", "_experimental_server"];

/// The GPUs that are known, with their memory and price.
pub(super) type Gpus = &'static [(&'static str, f64, f64)];

/// Reads a script for all that it deploys.
pub(super) fn script(
    script: &Script,
    addresses: &[String],
    engines: Engines,
    gpus: Gpus,
) -> Imported {
    let mut imported = Imported::default();
    for reading in script.readings() {
        imported.is_ours |= is_ours(&reading);
        let before = imported.found.len();
        let mut others = Vec::new();
        for definition in &reading.definitions {
            let Some((app, settings)) = function(definition) else { continue };
            if !definition.is_own {
                if web(definition).is_some() {
                    let why = "the script imports what is served there: name that file, too";
                    imported.remarks.lose(definition.line, why);
                }
                continue;
            }
            let mut found = Found {
                script: script.path.clone(),
                row: reading.row.clone(),
                target: "modal",
                function: definition.name.clone(),
                ..Found::default()
            };
            if read(&reading, (definition, app, settings), (engines, gpus), &mut found) {
                workspace::find(script, addresses, &mut found);
                asides(&reading, definition, &mut found.remarks);
                imported.found.push(found);
            } else if web(definition).is_some() || !found.engine.is_empty() {
                imported.remarks.lost.extend(found.remarks.lost);
            } else if !server::fetches(definition) {
                others.push(definition);
            }
        }
        if imported.found.len() > before {
            imported.remarks.lost.extend(others.into_iter().map(left_out));
        }
        imported.secrets.push(reading.secrets);
    }
    imported.remarks.lost.sort();
    imported.remarks.lost.dedup();
    imported
}

/// Whether a script speaks of Modal at all.
fn is_ours(reading: &Reading) -> bool {
    let speaks = |value: &Value| {
        let path = value.path().or_else(|| value.call()?.path());
        path.is_some_and(|path| path == "modal" || path.starts_with("modal."))
    };
    reading.names.values().any(speaks)
}

/// The app and the settings of a definition that is a function or a class of an app.
fn function(definition: &Definition) -> Option<(&Value, &Call)> {
    definition.decorators.iter().find_map(|decorator| {
        let call = decorator.call()?;
        let name = call.name()?;
        if !["function", "cls"].contains(&name) && !SERVERS.contains(&name) {
            return None;
        }
        // `app` may come from another file.
        let app = call.receiver().unwrap_or(&call.callee);
        Some((app, call))
    })
}

/// What to say of a function that isn't part of what goatbuild deploys.
fn left_out(definition: &Definition) -> (usize, String) {
    let why = format!(
        "`{}` serves no model: an app that goatbuild has taken over no longer has it",
        definition.name
    );
    (definition.line, why)
}

fn is_server(name: &str) -> bool {
    SERVERS.contains(&name)
}

/// What makes a definition answer requests, with what it is called with.
fn web(definition: &Definition) -> Option<(&Value, &Definition)> {
    let is_server = |it: &&Value| it.call().and_then(Call::name).is_some_and(is_server);
    if let Some(decorator) = definition.decorators.iter().find(is_server) {
        return Some((decorator, definition));
    }
    let of = |it: &Definition| WEB.iter().find_map(|path| it.decorator(path)).is_some();
    let all = || std::iter::once(definition).chain(&definition.methods);
    let serving = all().find(|it| of(it))?;
    let decorator = WEB.iter().find_map(|path| serving.decorator(path))?;
    Some((decorator, serving))
}

/// Reads one function or class; says whether it serves a model.
fn read(
    reading: &Reading,
    (definition, app, settings): (&Definition, &Value, &Call),
    (engines, gpus): (Engines, Gpus),
    found: &mut Found,
) -> bool {
    found.app = app
        .call()
        .filter(|call| call.path().is_some_and(|path| APPS.contains(&path)))
        .and_then(|call| call.argument("name", 0)?.text())
        .map(str::to_owned);
    let Some((decorator, serving)) = web(definition) else {
        // A function that fetches weights isn't missed.
        let starts = server::command(reading, definition, engines, found).is_some();
        if starts {
            let why = "it answers no requests over HTTP: goatbuild serves what clients of the OpenAI \
                       API ask";
            found.remarks.lose(definition.line, why);
        }
        return false;
    };
    if serving.line != definition.line {
        found.function.clone_from(&definition.name);
    }
    let Some(()) = server::command(reading, definition, engines, found) else {
        let why = "it starts no engine that goatbuild knows how to start";
        found.remarks.lose(definition.line, why);
        return false;
    };
    if found.app.is_none() {
        let why = "only a run would tell the app's name: what stands isn't recognised";
        found.remarks.lose(app.line, why);
    }
    settings::place(settings, found);
    let image = settings.named("image").or_else(|| app.call()?.named("image"));
    key::find(settings, image, definition, found);
    settings::web(decorator, found);
    settings::function(settings, (definition, gpus), found);
    match image {
        Some(image) => {
            let name = reading.names.iter().find(|(_, value)| value.what == image.what);
            found.image.name = name.map(|(name, _)| name.clone());
            image::read(reading, image, engines, found);
        }
        None => found.remarks.lose(settings.line, "it has Modal's own image, without an engine"),
    }
    let set = server::variables(reading, settings, definition, found.key_variable);
    image::variables(reading, &set, engines, found);
    key::secrets(settings, found);
    server::weights(reading, definition, found);
    let app = found.app.clone().unwrap_or_default();
    // A class's method is part of the name, too.
    let name = if serving.line == definition.line {
        format!("{app}-{}", definition.name)
    } else {
        format!("{app}-{}-{}", definition.name, serving.name)
    };
    let (today, ours) = (label(&name), label(&format!("{app}-serve")));
    if settings.name().is_some_and(is_server) {
        let why = format!(
            "clients find it under modal.direct today, and at …--{ours}.modal.run once goatbuild has deployed it"
        );
        found.remarks.lose(definition.line, why);
    } else if found.app.is_some() && today != ours {
        let why = format!(
            "clients find it at …--{today}.modal.run today, and at …--{ours}.modal.run once goatbuild \
             has deployed it"
        );
        found.remarks.lose(definition.line, why);
    }
    found.labels.insert(0, today);
    let is_whole = found.hardware.contains_key("gpu");
    if !is_whole {
        let why = "no GPU that goatbuild knows is named: it isn't written; `goatbuild add` writes a \
                   spec of it";
        found.remarks.lose(settings.line, why);
    }
    is_whole
}

/// What only whoever runs the script can tell.
fn asides(reading: &Reading, definition: &Definition, remarks: &mut Remarks) {
    for asides in [&reading.asides, &definition.asides] {
        for (line, row, others) in &asides.rows {
            if !others.is_empty() {
                let others = others.join(", ");
                let why = format!("the row `{row}` is chosen there, and written; not {others}");
                remarks.lose(*line, why);
            }
        }
        for (variable, (line, taken)) in &asides.variables {
            let Some(taken) = taken.as_deref().filter(|_| !crate::import::is_name(variable)) else {
                continue;
            };
            let taken = reading.secrets.hide(taken);
            let why = format!("a variable says it where the script is run; `{taken}` is written");
            remarks.lose(*line, why);
        }
        for line in &asides.undecided {
            let why = "only a run decides that: what stands under it is left out";
            remarks.lose(*line, why);
        }
    }
}
