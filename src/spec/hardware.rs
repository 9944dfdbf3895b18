//! Reads `[hardware]`: the GPUs to serve on, and what a replica has of a machine beside them.

use super::context::Rank;
use super::devices::devices;
use super::model::{Hardware, Reserved};
use super::problem::{Problem, nearest};
use super::read::Shared;
use super::table::Table;
use super::target::TargetType;
use super::value::key_text;

/// The least and the most that is asked for of a machine's processor, in cores.
pub(crate) const CORES: (f64, f64) = (0.125, 192.0);

/// The same of its memory, in GiB.
pub(crate) const GIB: (f64, f64) = (0.125, 2048.0);

/// Reads the whole table. Nothing is there of GPUs where none is named.
pub(super) fn hardware(
    mut table: Table<'_, '_>,
    target: &'static dyn TargetType,
    shared: &Shared<'_>,
) -> (Option<Hardware>, Reserved) {
    if !table.is_present() {
        return (None, Reserved::default());
    }
    let reserved = Reserved {
        milli_cpu: part(&mut table, "cpu", CORES, 1000.0, "cores"),
        memory_mib: part(&mut table, "memory", GIB, 1024.0, "GiB"),
    };
    if asks_for_none(&table) {
        if table.has("exact") {
            table.boolean("exact", false);
        }
        table.finish();
        return (None, reserved);
    }
    (gpus(table, target, shared), reserved)
}

/// Whether nothing in the table asks for a GPU. Whoever says how much of a machine without one there is
/// to be needs none, and what the defaults say of GPUs is for the models that have one.
pub(super) fn asks_for_none(table: &Table<'_, '_>) -> bool {
    let exact = table.every("exact").next().map(|found| found.layer.rank);
    let is_said = ["gpu", "count", "devices"].into_iter().any(|key| table.has(key))
        || exact.is_some_and(|rank| rank != Rank::Defaults);
    let has_others = exact.is_some() || ["cpu", "memory"].into_iter().any(|key| table.has(key));
    !is_said && (has_others || !table.is_present())
}

fn gpus(
    mut table: Table<'_, '_>,
    target: &'static dyn TargetType,
    shared: &Shared<'_>,
) -> Option<Hardware> {
    let gpu = table.required("gpu", "gpu = \"H100\"");
    let gpu = gpu.filter(|text| {
        shared.has_gpu(text.value) || {
            let problem = Problem::DanglingName {
                kind: "GPU",
                name: text.value.to_owned(),
                nearest: meant(text.value, shared.gpu_names()),
                make: format!(
                    "add `{} = {{ vram-gib = …, usd-per-hour = … }}` to [gpu] in goatbuild.toml",
                    key_text(text.value)
                ),
            };
            table.context.report(problem, &text.spot);
            false
        }
    });
    let most = if gpu
        .as_ref()
        .is_some_and(|gpu| gpu.value.starts_with("A10") && !gpu.value.starts_with("A100"))
    {
        5
    } else {
        9
    };
    let devices = devices(&mut table, (!target.is_here()).then(|| target.title()));
    let all = i64::try_from(devices.len().max(1)).unwrap_or(i64::MAX);
    let count = table.integer("count", 1..most);
    if !table.has("count") {
        table.built_in("count", || all.to_string());
    }
    if let Some((count, spot)) = &count
        && !devices.is_empty()
        && *count != all
    {
        let expected = format!("{all}, as many as `devices` names; or leave it out");
        table.bad("count", &count.to_string(), &expected, spot);
    }
    if all >= most {
        let expected = format!("at most {} of them", most - 1);
        table.bad("devices", &format!("{all} GPUs"), &expected, &table.spot_of("devices"));
    }
    let gpu = gpu.map(|gpu| gpu.value.to_owned());
    let exact = exact(&mut table, gpu.as_deref(), target);
    table.finish();
    let count = u32::try_from(count.map_or(all, |(count, _)| count)).unwrap_or(1);
    Some(Hardware { gpu: gpu?, count, exact, devices })
}

/// Reads `exact`, which is for GPUs that a target gives a better one for unless it is told.
fn exact(table: &mut Table<'_, '_>, gpu: Option<&str>, target: &'static dyn TargetType) -> bool {
    let written = table.every("exact").next();
    let exact = table.boolean("exact", false);
    let names = target.exact_gpus();
    let Some(gpu) = gpu.filter(|gpu| exact && !names.contains(gpu)) else { return exact };
    let title = target.title();
    let expected = match names {
        [] => format!("only false for a model on {title}"),
        names => format!("only false for {gpu}: {title} can be held to {}", names.join(", ")),
    };
    // What the defaults say is for the models of which it can be said.
    if let Some(found) = written.filter(|found| found.layer.rank != Rank::Defaults) {
        table.bad("exact", "true", &expected, &found.spot());
    }
    false
}

/// The GPU that was meant: first of those that are told apart by their memory alone, as `H100-80GB` means
/// `H100` and no `A100-80GB`.
fn meant<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let family = |name: &str| {
        let end = name.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(name.len());
        name[..end].to_ascii_uppercase()
    };
    let known: Vec<&str> = known.collect();
    let related: Vec<&str> =
        known.iter().copied().filter(|it| family(it) == family(typed)).collect();
    let found = nearest(typed, related.iter().copied());
    let found = found.or_else(|| related.first().copied());
    found.or_else(|| nearest(typed, known.iter().copied())).map(str::to_owned)
}

/// So much of a machine, in parts of which a whole has `parts`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in range")]
fn part<'a>(
    table: &mut Table<'a, '_>,
    key: &'a str,
    (least, most): (f64, f64),
    parts: f64,
    unit: &str,
) -> Option<u32> {
    let number = table.number(key)?;
    if !(least..=most).contains(&number) {
        table.bad(
            key,
            &number.to_string(),
            &format!("{least} to {most} {unit}"),
            &table.spot_of(key),
        );
        return None;
    }
    Some((number * parts).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Project, SourceFile, Sources, SpecErrors, read};

    /// A project whose one model has this in `[hardware]`, with more in its own file.
    fn project(target: &str, hardware: &str, more: &str) -> Result<Project, SpecErrors> {
        let file = |path: &str, text: String| SourceFile { path: path.into(), text: text.into() };
        let spec = format!(
            "image = \"one\"\ntarget = \"{target}\"\nmodel.source = \"hf:a/b\"\n\
             [hardware]\n{hardware}\n"
        );
        let image = "base = { debian = \"bookworm\" }\nrequirements = [\"vllm==0.13.0\"]\n";
        let sources = Sources {
            project: file(
                "goatbuild.toml",
                format!("project.id = \"a\"\ntarget.modal = {{}}\n{more}"),
            ),
            specs: vec![file("specs/m.toml", spec)],
            images: vec![file("images/one.toml", image.to_owned())],
            mistakes: Vec::new(),
            kinds: crate::project::kinds(),
        };
        read(&sources, None)
    }

    fn reserved(hardware: &str) -> Reserved {
        project("modal", hardware, "").unwrap().models["m"].reserved
    }

    #[track_caller]
    fn refuses(target: &str, hardware: &str, why: &str) {
        let told = format!("{:?}", project(target, hardware, "").unwrap_err());
        assert!(told.contains(why), "{told}");
    }

    #[test]
    fn cores_and_memory_are_asked_for_beside_a_gpu() {
        let both = reserved("gpu = \"H100\"\ncpu = 8.5\nmemory = 64");
        assert_eq!(both, Reserved { milli_cpu: Some(8500), memory_mib: Some(65_536) });
        assert_eq!(format!("{:?} {:?}", both.cores(), both.gib()), "Some(8.5) Some(64.0)");
        assert_eq!(reserved("gpu = \"H100\""), Reserved::default());
        refuses("modal", "gpu = \"H100\"\ncpu = 0", "0.125 to 192 cores");
        refuses("modal", "gpu = \"H100\"\nmemory = 65536", "0.125 to 2048 GiB");
        refuses("modal", "gpu = \"H100\"\ncpu = \"8\"", "a number");
    }

    #[test]
    fn exactly_a_gpu_is_asked_for_where_a_target_gives_others_for_it() {
        let exact = |more: &str| {
            let hardware = format!("gpu = \"H100\"{more}");
            project("modal", &hardware, "").unwrap().models["m"].hardware.as_ref().unwrap().exact
        };
        assert!(exact("\nexact = true") && !exact("\nexact = false") && !exact(""));
        let held = "only false for H200: Modal can be held to H100";
        refuses("modal", "gpu = \"H200\"\nexact = true", held);
        refuses("local", "gpu = \"H100\"\nexact = true", "only false for a model on");
    }

    #[test]
    fn defaults_are_for_the_gpus_that_a_target_can_be_held_to() {
        let defaults = "defaults.hardware.exact = true\n";
        let exact = |target: &str, hardware: &str| {
            let read = project(target, hardware, defaults).unwrap();
            read.models["m"].hardware.as_ref().map(|hardware| hardware.exact)
        };
        assert_eq!(exact("modal", "gpu = \"H100\""), Some(true));
        assert_eq!(exact("modal", "gpu = \"H200\""), Some(false));
        assert_eq!(exact("local", "gpu = \"H100\""), Some(false));
        assert_eq!(exact("local", ""), None);
        let told = format!("{:?}", project("modal", "", defaults).unwrap_err());
        assert!(told.contains("hardware.gpu"), "{told}");
    }

    #[test]
    fn an_engine_that_needs_a_gpu_is_not_served_by_cores_alone() {
        refuses("modal", "cpu = 8", "hardware.gpu");
        // This machine has what it has.
        let here = project("local", "cpu = 8", "").unwrap();
        assert_eq!(here.models["m"].hardware, None);
    }

    #[test]
    fn one_price_serves_both_names_of_a_gpu_and_its_own_wins() {
        let prices = |more: &str| {
            let project = project("modal", "gpu = \"A10\"", more).unwrap();
            ["A10", "A10G"].map(|name| project.gpus[name].usd_per_hour.to_string())
        };
        assert_eq!(prices("gpu.A10.usd-per-hour = 2"), ["2", "2"]);
        assert_eq!(prices("gpu.A10G.usd-per-hour = 3"), ["3", "3"]);
        assert_eq!(prices("[gpu]\nA10.usd-per-hour = 2\nA10G.usd-per-hour = 3"), ["2", "3"]);
        assert_eq!(prices(""), ["1.1", "1.1"]);
    }

    #[test]
    fn the_nearest_gpu_is_suggested_and_a_machine_has_at_most_four_of_an_a10() {
        for (typed, meant) in
            [("a10g", "A10G"), ("A-10", "A10"), ("H100-80GB", "H100"), ("h200", "H200")]
        {
            refuses("modal", &format!("gpu = \"{typed}\""), &format!("nearest: Some(\"{meant}\")"));
        }
        refuses("modal", "gpu = \"A10\"\ncount = 5", "1 to 4");
        refuses("modal", "gpu = \"A10G\"\ncount = 5", "1 to 4");
    }
}
