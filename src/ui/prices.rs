//! What a target says that it bills, beside what goatbuild counts with.

use super::out::outln;
use super::{BOLD, FAINT, WARN};
use crate::targets::{TakenPrice, ToldPrice};

/// Prints what was taken and where it differs, then what was not and why.
pub fn print_prices(title: &str, prices: &[ToldPrice]) {
    outln!("{BOLD}prices of {title}{BOLD:#}");
    let taken = |it: &&ToldPrice| it.taken.is_ok();
    let width = prices.iter().map(|it| it.key.len()).max().unwrap_or_default();
    let of = |it: &ToldPrice| {
        it.taken.as_ref().map(|it| it.of.names().join(", ").len()).unwrap_or_default()
    };
    let of_width = prices.iter().map(of).max().unwrap_or_default();
    for it in prices.iter().filter(taken) {
        let Ok(taken) = &it.taken else { continue };
        let names = taken.of.names().join(", ");
        let (usd, beside) = (taken.usd_per_hour, beside(taken));
        outln!("  {:<width$}  {names:<of_width$}  ${usd}/h{WARN}{beside}{WARN:#}", it.key);
    }
    for it in prices {
        if let Err(why) = &it.taken {
            outln!("  {:<width$}  {FAINT}{}, not taken: {why}{FAINT:#}", it.key, it.told);
        }
    }
}

/// What else says something of a price, where it says something else.
fn beside(taken: &TakenPrice) -> String {
    let TakenPrice { usd_per_hour, listed, stated, .. } = taken;
    let differs = |other: &&f64| (*other - usd_per_hour).abs() > 1e-9;
    let listed = listed.as_ref().filter(differs).map(|listed| {
        let percent = (usd_per_hour / listed - 1.0) * 100.0;
        let word = if percent > 0.0 { "more" } else { "less" };
        format!(", {:.1} % {word} than the ${listed} of goatbuild's list", percent.abs())
    });
    let stated = stated.as_ref().filter(differs);
    let stated = stated.map(|stated| format!("; goatbuild.toml says ${stated}, which wins"));
    [listed, stated].into_iter().flatten().collect()
}
