//! What Modal says that it bills, name by name: what of it is a price that goatbuild counts with, by the
//! hour, and why the rest isn't.
//!
//! The client tells neither names nor units. What several people have written down of `modal billing rates`
//! between August and October 2026 agrees: `gpu_hour_cost_h100`, `gpu_hour_cost_a100_80gb`, `cpu_hour_cost`,
//! `mem_gib_hour_cost`, in dollars by the hour, the same with `_sandbox`, and `volume_storage_gib_month_cost`.
//! That is an assumption all the same, so that nothing is taken that its own words or goatbuild's list don't bear
//! out.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::serve::understood;
use super::spec::{GPUS, ModalType};
use super::{Modal, ModalError, price};
use crate::event::Reporter;
use crate::spec::{Gpu, TargetType};
use crate::step::StepError;
use crate::targets::{PriceLists, Priced, Shown, TakenPrice, ToldPrice};

/// How far a price may be from goatbuild's list, either way. An hour has 3600 seconds, so that no price is
/// as near by the second as by the hour.
const FAR: f64 = 10.0;

/// Words of a name that say nothing of what is billed.
const FILLING: [&str; 6] = ["per", "cost", "price", "rate", "usd", "nvidia"];

/// What the driver tells.
#[derive(Deserialize)]
struct Told {
    rates: Option<BTreeMap<String, String>>,
    refused: Option<String>,
}

/// What time a price is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Hour,
    Second,
}

#[async_trait]
impl PriceLists for Modal {
    fn title(&self) -> &'static str {
        ModalType.title()
    }

    async fn prices(&self) -> Result<Vec<ToldPrice>, StepError> {
        if !self.credentials.are_there() {
            return Err(ModalError::NoCredentials { what: vec!["its prices".into()] }.into());
        }
        let reporter = Reporter::silent();
        let answer = self.client.call("its prices", "rates", json!({}), &reporter).await?;
        let Told { rates, refused } = understood(answer)?;
        let Some(rates) = rates else {
            let message = refused.unwrap_or_default();
            return Err(ModalError::NoPrices { message }.into());
        };
        let mut told = read(&rates, &self.gpus);
        self.note_stated(&mut told);
        Ok(told)
    }
}

impl Modal {
    /// Adds what the project's file says, which wins.
    fn note_stated(&self, told: &mut [ToldPrice]) {
        for taken in told.iter_mut().filter_map(|it| it.taken.as_mut().ok()) {
            taken.stated = match &taken.of {
                Priced::Core => self.settings.prices.stated_core(),
                Priced::Memory => self.settings.prices.stated_memory(),
                Priced::Gpus(names) => {
                    let stated = names.iter().filter_map(|name| self.gpus.get(name));
                    stated.filter(|gpu| gpu.is_stated).map(|gpu| gpu.usd_per_hour).next()
                }
            };
        }
    }

    /// Whether Modal tells the prices that the project's models need, under names that are understood.
    pub(super) async fn try_prices(&self) -> Result<Shown, StepError> {
        let told = match self.prices().await {
            Ok(told) => told,
            Err(error) => return Ok(Shown { held: None, detail: error.to_string() }),
        };
        let taken: Vec<&Priced> =
            told.iter().filter_map(|it| Some(&it.taken.as_ref().ok()?.of)).collect();
        let models = self.specs.values().filter_map(|model| model.hardware.as_ref());
        let mut lacking: Vec<&str> = models
            .map(|hardware| hardware.gpu.as_str())
            .filter(|gpu| !taken.iter().any(|it| it.names().contains(gpu)))
            .collect();
        let beside = [(Priced::Core, "cpu"), (Priced::Memory, "memory")];
        lacking.extend(beside.iter().filter(|(of, _)| !taken.contains(&of)).map(|(_, name)| name));
        let names: Vec<&str> = told.iter().map(|it| it.key.as_str()).collect();
        let not_told = match &*lacking {
            [] => String::new(),
            _ => format!("none of {}; ", lacking.join(", ")),
        };
        let detail =
            format!("{not_told}{} of {} taken: {}", taken.len(), told.len(), names.join(", "));
        Ok(Shown { held: Some(lacking.is_empty()), detail })
    }
}

/// What of these is taken, and for what; `gpus` are those that the project knows.
fn read(rates: &BTreeMap<String, String>, gpus: &BTreeMap<String, Gpu>) -> Vec<ToldPrice> {
    let told = |(key, told): (&String, &String)| ToldPrice {
        key: key.clone(),
        told: told.clone(),
        taken: taken(key, told, gpus),
    };
    let mut all: Vec<ToldPrice> = rates.iter().map(told).collect();
    // Where two say different things of one, nobody knows which it is.
    let prices: Vec<(Priced, f64, String)> = all
        .iter()
        .filter_map(|it| {
            let taken = it.taken.as_ref().ok()?;
            Some((taken.of.clone(), taken.usd_per_hour, it.key.clone()))
        })
        .collect();
    for it in &mut all {
        let Ok(taken) = &it.taken else { continue };
        let differs = |(of, usd, _): &&(Priced, f64, String)| {
            of.meets(&taken.of) && (usd - taken.usd_per_hour).abs() > 1e-9
        };
        if let Some((_, _, other)) = prices.iter().find(differs) {
            it.taken = Err(format!("{other} says otherwise"));
        }
    }
    all
}

/// What a name and a number are the price of.
fn taken(key: &str, told: &str, gpus: &BTreeMap<String, Gpu>) -> Result<TakenPrice, String> {
    let words = words(key);
    let of = subject(&words, gpus)?;
    let listed = match &of {
        Priced::Core => Some(price::CORE),
        Priced::Memory => Some(price::MEMORY),
        Priced::Gpus(names) => {
            let listed = |name: &String| GPUS.iter().find(|(known, ..)| known == name);
            names.iter().find_map(listed).map(|(_, _, usd)| *usd)
        }
    };
    let usd: f64 = told.trim().parse().map_err(|_| "it is no number".to_owned())?;
    if !usd.is_finite() || usd <= 0.0 {
        return Err("it is no price".to_owned());
    }
    let usd_per_hour = by_the_hour(usd, unit(&words)?, listed)?;
    Ok(TakenPrice { of, usd_per_hour, listed, stated: None })
}

/// The words of a name, in lower case.
fn words(key: &str) -> Vec<String> {
    let parts = key.split(|letter: char| !letter.is_ascii_alphanumeric());
    parts.filter(|part| !part.is_empty()).map(str::to_ascii_lowercase).collect()
}

fn unit_of(word: &str) -> Option<Unit> {
    match word {
        "hour" | "hours" | "hourly" | "hr" => Some(Unit::Hour),
        "second" | "seconds" | "sec" => Some(Unit::Second),
        _ => None,
    }
}

/// What time it is for, where its words say so; fails where they say two things.
fn unit(words: &[String]) -> Result<Option<Unit>, String> {
    let mut units = words.iter().filter_map(|word| unit_of(word));
    let first = units.next();
    if units.any(|unit| Some(unit) != first) {
        return Err("its name says both hour and second".to_owned());
    }
    Ok(first)
}

/// What is billed, by the words of its name.
fn subject(words: &[String], gpus: &BTreeMap<String, Gpu>) -> Result<Priced, String> {
    let mut rest: Vec<&str> = words.iter().map(String::as_str).collect();
    rest.retain(|word| unit_of(word).is_none() && !FILLING.contains(word));
    let is_only = |words: &[&str]| rest.iter().all(|word| words.contains(word));
    if rest.contains(&"cpu") && is_only(&["cpu", "physical", "core", "cores"]) {
        return Ok(Priced::Core);
    }
    if ["mem", "memory", "ram"].iter().any(|word| rest.contains(word))
        && is_only(&["mem", "memory", "ram", "gib"])
    {
        return Ok(Priced::Memory);
    }
    let is_gpu = rest.contains(&"gpu");
    rest.retain(|word| *word != "gpu");
    let name = plain(&rest.concat());
    let mut names: Vec<String> = gpus.keys().filter(|gpu| plain(gpu) == name).cloned().collect();
    let others: Vec<&str> = ModalType
        .other_names()
        .iter()
        .flat_map(|(one, other)| [(*one, *other), (*other, *one)])
        .filter(|(one, other)| {
            names.iter().any(|name| name == one) && !names.iter().any(|name| name == other)
        })
        .map(|(_, other)| other)
        .collect();
    names.extend(others.into_iter().map(str::to_owned));
    match (names.is_empty(), is_gpu) {
        (false, _) => {
            names.sort();
            Ok(Priced::Gpus(names))
        }
        (true, true) => Err("goatbuild knows no such GPU: [gpu] can name it".to_owned()),
        (true, false) => Err("nothing that goatbuild counts".to_owned()),
    }
}

/// A GPU's name without what people write in different ways: `A100-80GB` and `a100_80gb`, `RTX-PRO-6000` and
/// `rtx6000`.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let plain = letters.collect::<String>().to_ascii_lowercase();
    plain.replace("rtxpro", "rtx")
}

/// A price by the hour: as its name says, and near enough to the list; where it says nothing, as the list
/// has it.
fn by_the_hour(usd: f64, unit: Option<Unit>, listed: Option<f64>) -> Result<f64, String> {
    let candidates: &[f64] = match unit {
        Some(Unit::Hour) => &[usd],
        Some(Unit::Second) => &[usd * 3600.0],
        None => &[usd, usd * 3600.0],
    };
    match (listed, candidates) {
        (None, [one]) => Ok(*one),
        (None, _) => Err("it doesn't say for how long that is".to_owned()),
        (Some(listed), _) => {
            let is_near = |usd: &&f64| (1.0 / FAR..=FAR).contains(&(**usd / listed));
            candidates.iter().find(is_near).copied().ok_or_else(|| {
                format!(
                    "too far from the ${listed} an hour of goatbuild's list to be the same thing"
                )
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `modal billing rates --json`, as somebody kept it on 2026-08-15 (the same names and numbers are in two
    /// other public snapshots, of 2026-09-20 and of September).
    const KEPT: [(&str, &str); 16] = [
        ("cpu_hour_cost", "0.04730"),
        ("cpu_hour_cost_sandbox", "0.141900"),
        ("gpu_hour_cost_a100_40gb", "2.10000"),
        ("gpu_hour_cost_a100_80gb", "2.50000"),
        ("gpu_hour_cost_a10g", "1.10000"),
        ("gpu_hour_cost_b200", "6.25000"),
        ("gpu_hour_cost_b300", "7.10000"),
        ("gpu_hour_cost_h100", "3.95000"),
        ("gpu_hour_cost_h200", "4.54000"),
        ("gpu_hour_cost_l4", "0.80000"),
        ("gpu_hour_cost_l40s", "1.95000"),
        ("gpu_hour_cost_rtx6000", "3.03000"),
        ("gpu_hour_cost_t4", "0.59000"),
        ("mem_gib_hour_cost", "0.00800"),
        ("mem_gib_hour_cost_sandbox", "0.024000"),
        ("volume_storage_gib_month_cost", "0.09000"),
    ];

    fn gpus() -> BTreeMap<String, Gpu> {
        let gpu = |(name, vram_gib, usd_per_hour): &(&str, f64, f64)| {
            let gpu = Gpu { vram_gib: *vram_gib, usd_per_hour: *usd_per_hour, is_stated: false };
            ((*name).to_owned(), gpu)
        };
        GPUS.iter().map(gpu).collect()
    }

    fn told(rates: &[(&str, &str)]) -> Vec<ToldPrice> {
        let rates = rates.iter().map(|(key, usd)| ((*key).to_owned(), (*usd).to_owned()));
        read(&rates.collect(), &gpus())
    }

    fn one(key: &str, usd: &str) -> Result<(Vec<String>, f64), String> {
        let taken = told(&[(key, usd)]).remove(0).taken?;
        let names = taken.of.names().into_iter().map(str::to_owned).collect();
        Ok((names, taken.usd_per_hour))
    }

    #[test]
    fn what_modal_was_seen_to_tell_prices_every_gpu_of_the_list() {
        let told = told(&KEPT);
        let taken: Vec<&TakenPrice> = told.iter().filter_map(|it| it.taken.as_ref().ok()).collect();
        for (name, _, usd) in GPUS {
            let of: Vec<_> = taken.iter().filter(|it| it.of.names().contains(&name)).collect();
            assert_eq!(of.len(), 1, "{name}");
            assert!((of[0].usd_per_hour - usd).abs() < 1e-9, "{name}: {of:?}");
        }
        let beside = |of| taken.iter().find(|it| it.of == of).unwrap().usd_per_hour;
        assert!((beside(Priced::Core) - 0.0473).abs() < 1e-9);
        assert!((beside(Priced::Memory) - 0.008).abs() < 1e-9);
        let left: Vec<_> = told.iter().filter(|it| it.taken.is_err()).map(|it| &*it.key).collect();
        let others = [
            "cpu_hour_cost_sandbox",
            "gpu_hour_cost_b300",
            "mem_gib_hour_cost_sandbox",
            "volume_storage_gib_month_cost",
        ];
        assert_eq!(left, others);
    }

    #[test]
    fn a_name_is_known_however_it_is_written_and_says_its_unit() {
        let h100 = |key: &str, usd: &str| {
            let (names, usd) = one(key, usd).unwrap();
            assert_eq!(names, ["H100", "H100!"], "{key}");
            assert!((usd - 3.95).abs() < 0.01, "{key}: {usd}");
        };
        // modal.com/pricing has $0.001097 a second for an H100.
        h100("NVIDIA H100", "0.001097");
        h100("h100", "3.95");
        h100("gpu-h100-per-second", "0.001097");
        h100("GPU_H100_PER_HOUR", "3.95");
        let (names, usd) = one("CPU core per second", "0.0000131").unwrap();
        assert!(names == ["cpu"] && (usd - 0.04716).abs() < 1e-9);
        let (names, usd) = one("Memory (GiB)", "0.00000222").unwrap();
        assert!(names == ["memory"] && (usd - 0.007_992).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_borne_out_is_not_taken() {
        for (key, usd, why) in [
            ("gpu_hour_cost_h100", "0.001097", "too far from the $3.95"),
            ("gpu_second_cost_h100", "3.95", "too far from the $3.95"),
            ("gpu_hour_cost_h100_per_second", "3.95", "both hour and second"),
            ("h100", "50", "too far"),
            ("h100", "0.1", "too far"),
            ("gpu_hour_cost_h100", "0", "no price"),
            ("gpu_hour_cost_h100", "NaN", "no price"),
            ("gpu_hour_cost_h100", "free", "no number"),
            ("gpu_hour_cost_x900", "3", "no such GPU"),
            ("mem_gb_hour_cost", "0.008", "nothing that goatbuild counts"),
            ("", "1", "nothing that goatbuild counts"),
        ] {
            let error = one(key, usd).unwrap_err();
            assert!(error.contains(why), "{key} {usd}: {error}");
        }
        // A GPU that only the project's file has is in no list.
        let mut own = gpus();
        own.insert("B300".to_owned(), Gpu { vram_gib: 288.0, usd_per_hour: 9.0, is_stated: true });
        assert!(taken("b300", "7.1", &own).is_err());
        assert!(taken("gpu_hour_cost_b300", "7.1", &own).is_ok());
    }

    #[test]
    fn of_two_that_contradict_each_other_neither_is_taken() {
        let both = told(&[("gpu_hour_cost_a10", "1.2"), ("gpu_hour_cost_a10g", "1.1")]);
        assert!(both.iter().all(|it| it.taken.is_err()), "{both:?}");
        let both = told(&[("gpu_hour_cost_a10", "1.1"), ("gpu_hour_cost_a10g", "1.1")]);
        assert!(both.iter().all(|it| it.taken.is_ok()), "{both:?}");
    }
}
