//! What was spent today, and on whom, beside what may be.

use serde_json::{Value, json};

use super::out::outln;
use super::words::count;
use super::{BAD, BOLD, GOOD, WARN};
use crate::served::Spending;

/// Dollars, to the cent.
fn cents(dollars: f64) -> f64 {
    (dollars * 100.0).round() / 100.0
}

/// The same for programs.
pub(super) fn to_json(spending: &Spending) -> Value {
    let spent = spending.spent.iter().map(|spent| {
        let running = spent.running.iter().map(|it| {
            json!({
                "app": it.app,
                "model": it.model,
                "replicas": it.replicas,
                "since": it.since,
                "usd_per_hour": it.usd_per_hour,
                "usd_today": cents(it.usd),
            })
        });
        json!({
            "place": spent.place,
            "billed_usd": spent.billed.as_ref().ok().copied().map(cents),
            "not_billed_why": spent.billed.as_ref().err(),
            "running": running.collect::<Vec<_>>(),
            "usd": cents(spent.usd),
        })
    });
    json!({
        "budget_usd": spending.budget,
        "usd": cents(spending.usd()),
        "is_at_least": spending.is_at_least(),
        "is_over": spending.is_over(),
        "spent": spent.collect::<Vec<_>>(),
    })
}

/// Prints what was spent today, and on whom.
pub(super) fn print(spending: &Spending) {
    let (usd, budget) = (spending.usd(), spending.budget);
    let (style, word) = if spending.is_over() { (BAD, "over") } else { (GOOD, "within") };
    let least = if spending.is_at_least() { "at least " } else { "" };
    outln!(
        "\n{BOLD}today (UTC): {least}${usd:.2}{BOLD:#}, {style}{word}{style:#} the budget of ${budget:.2}"
    );
    for spent in &spending.spent {
        match &spent.billed {
            Ok(billed) => outln!("  {}: ${billed:.2} billed, for whole hours", spent.place),
            Err(why) => outln!(
                "  {WARN}{}: no bill is told ({why}), so that only what is up is counted{WARN:#}",
                spent.place
            ),
        }
        for it in &spent.running {
            let price = it
                .usd_per_hour
                .map_or("at a price that is not known, and not counted".to_owned(), |price| {
                    format!("{price}/h, ${:.2} of it today", it.usd)
                });
            let replicas = count(it.replicas as usize, "replica");
            outln!("    {}: {replicas} up since {}, {price}", it.app, it.since);
        }
    }
}
