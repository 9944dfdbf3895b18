//! Where a plan's models are served, and for how much, for people.

use std::fmt::Write as _;

use super::words::count;
use super::{BOLD, FAINT, WARN};
use crate::plan::{PlannedModel, UsdPerHour, UsdPerMonth};

/// Two lines per model that is billed or has an address of its own; nothing for the others, whose
/// server shows once it runs. Fits 80 columns.
pub(super) fn render(models: &[PlannedModel]) -> String {
    let mut text = String::new();
    let models: Vec<&PlannedModel> =
        models.iter().filter(|model| model.app.is_some() || model.usd_per_hour.is_some()).collect();
    if models.is_empty() {
        return text;
    }
    let names = models.iter().map(|model| model.model.chars().count()).max().unwrap_or(0);
    let hardware: Vec<String> = models.iter().map(|model| accelerators(model)).collect();
    let widest = hardware.iter().map(|text| text.chars().count()).max().unwrap_or(0);
    text.push('\n');
    for (model, hardware) in models.iter().zip(&hardware) {
        let price = match model.usd_per_hour {
            Some(price) => format!("{:>9}", format!("{price}/h")),
            None => " ".repeat(9),
        };
        let app = model.app.as_deref().unwrap_or_default();
        let line =
            format!("  {BOLD}{:<names$}{BOLD:#}  {hardware:<widest$}  {price}  {app}", model.model);
        let _ = writeln!(text, "{}", line.trim_end());
        if let Some(url) = &model.url {
            let _ = writeln!(text, "    {FAINT}{url}{FAINT:#}");
        }
        for line in replicas(model) {
            let _ = writeln!(text, "    {line}");
        }
        for note in &model.notes {
            let _ = writeln!(text, "    {WARN}{note}{WARN:#}");
        }
    }
    let total: UsdPerHour = models.iter().filter_map(|model| model.usd_per_hour).sum();
    let always: UsdPerMonth =
        models.iter().filter_map(|model| model.always_on).map(|it| it.usd_per_month).sum();
    let rest = if always == UsdPerMonth::default() {
        "nothing while all are scaled to zero".to_owned()
    } else {
        format!("{BOLD}{always} a month{BOLD:#} while nobody asks")
    };
    let _ = writeln!(
        text,
        "  {}: {BOLD}{total}/h{BOLD:#} with one replica of each, {rest}\n",
        count(models.len(), "model"),
    );
    text
}

/// What of a model is up besides one replica while somebody asks.
pub(super) fn replicas(model: &PlannedModel) -> Vec<String> {
    let always = model.told_always_on().map(|told| format!("always on: {told}, of 730 hours"));
    let price = model.usd_per_hour.map(|price| format!(", {}", price.times(model.in_reserve)));
    let reserve = (model.in_reserve > 0).then(|| {
        let up = model.accelerators_of(model.in_reserve);
        let price = price.map(|price| format!("{price}/h more")).unwrap_or_default();
        format!("while somebody asks: {up} in reserve{price}")
    });
    always.into_iter().chain(reserve).collect()
}

/// `H100 × 4`.
fn accelerators(model: &PlannedModel) -> String {
    match (&model.gpu, model.gpu_count) {
        (None, _) => "no GPU".to_owned(),
        (Some(gpu), 1) => gpu.clone(),
        (Some(gpu), count) => format!("{gpu} × {count}"),
    }
}
