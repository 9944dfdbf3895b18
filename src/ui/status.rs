//! One step explained, and what is served right now.

use serde_json::json;

use super::out::outln;
use super::plan::{reason, style};
use super::spending;
use super::words::{duration, milliseconds_to_token, seconds};
use super::{BOLD, FAINT, GOOD, WARN};
use crate::fingerprint::{Fingerprint, Key};
use crate::plan::PlannedStep;
use crate::served::{Part, Spending, StatusRow, Verdict};
use crate::spec::Auth;
use crate::step::Facts;
use crate::store::Attempt;
use crate::targets::Replicas;

/// How a deployment compares with its spec, and what to do about it.
fn words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::AsSpecified => "as specified",
        Verdict::Untested => {
            "as specified, but its smoke test has not passed: `goatbuild apply` runs it"
        }
        Verdict::Unproven => {
            "as specified, but not proven: an older version still answered its smoke test; \
                 `goatbuild apply` asks again"
        }
        Verdict::Starting => {
            "not healthy yet; when no apply is at work, `goatbuild apply` waits for it, or starts it anew"
        }
        Verdict::Stopped => "as specified, but it does not run: `goatbuild apply` starts it again",
        Verdict::Silent => {
            "as specified, but it answers nothing: `goatbuild apply` asks again, and starts it anew \
                 if that helps nothing"
        }
        Verdict::Differs => "differs from its spec: `goatbuild plan` tells how",
        Verdict::Held => "held, whatever its spec wants: `goatbuild release` ends that",
        Verdict::Leaving => "its spec says absent: `goatbuild apply` stops it",
        Verdict::Unwanted => "no spec wants it: `goatbuild destroy` stops it",
        Verdict::Unknown => "not compared: the specs have mistakes or the lock is incomplete",
        Verdict::InTheWay => {
            "not deployed: something of somebody else is in its place, which `goatbuild apply \
                 --adopt MODEL` takes over"
        }
        Verdict::Absent => "not deployed: `goatbuild apply` does it",
        Verdict::Unobserved => "not looked at, so nobody knows what is deployed",
    }
}

/// The key that stands beside the wanted one, and what stands around it.
fn around(row: &StatusRow) -> String {
    let short = |key: Option<Key>| key.map_or_else(|| "none".to_owned(), |key| key.short());
    let mut words = vec![match (row.live.key, row.wanted) {
        (key, Some(wanted)) if key != Some(wanted) => {
            format!("key {}, wanted {}", short(key), wanted.short())
        }
        (key, _) => format!("key {}", short(key)),
    }];
    let alias = row.alias.as_deref().unwrap_or_default();
    let word = |part: Part, words: [&str; 3]| match part {
        Part::AsWanted => words[0].to_owned(),
        Part::Drifted => words[1].to_owned(),
        Part::Missing => words[2].to_owned(),
    };
    let receipts = ["weights there", "weights differ", "weights missing"];
    words.extend(row.parts.weights.map(|part| word(part, receipts)));
    let receipts = ["caches warm", "caches differ", "caches cold"];
    words.extend(row.parts.warmup.map(|part| word(part, receipts)));
    let gateway = ["in the gateway", "drifted in the gateway", "missing in the gateway"];
    words.extend(row.parts.gateway.map(|part| format!("{alias} {}", word(part, gateway))));
    words.join(", ")
}

/// Who may ask it, and how quickly it answered.
fn asking(row: &StatusRow) -> Option<String> {
    let deployed = row.live.auth?;
    let who = match deployed {
        Auth::Proxy => "for who has a proxy token",
        Auth::ApiKey => "for who has the key",
        Auth::Open => "open to anyone",
    };
    let wanted = row.auth.filter(|wanted| *wanted != deployed);
    let wanted = wanted.map(|wanted| format!(", wanted auth {wanted}")).unwrap_or_default();
    let measured = row.live.measured.map(|it| format!("; {}", super::words::measured(it)));
    Some(format!("auth {deployed}: {who}{wanted}{}", measured.unwrap_or_default()))
}

/// Prints what is served.
pub fn print_status(rows: &[StatusRow], spending: Option<&Spending>, as_json: bool) {
    if as_json {
        let models: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({
                    "model": row.live.model,
                    "state": row.live.state,
                    "url": row.live.url,
                    "alias": row.alias,
                    "pid": row.live.pid,
                    "since": row.live.since,
                    "key": row.live.key,
                    "wanted": row.wanted,
                    "verdict": row.verdict,
                    "version": row.live.version.as_ref().map(|it| it.number),
                    "tag": row.live.version.as_ref().map(|it| &it.tag),
                    "deployed_by": row.live.version.as_ref().map(|it| &it.by),
                    "deployed_at": row.live.version.as_ref().map(|it| &it.at),
                    "replicas": row.live.replicas,
                    "auth": row.live.auth.map(|it| it.to_string()),
                    "auth_wanted": row.auth.map(|it| it.to_string()),
                    "first_answer_seconds": row.live.measured.map(|it| seconds(it.first_answer)),
                    "first_token_ms": row.live.measured.map(milliseconds_to_token),
                    "failed_starts": row.live.told.as_ref().map(|it| it.failed_starts),
                    "ended_later": row.live.told.as_ref().map(|it| it.ended),
                    "last_end": row.live.told.as_ref().and_then(|it| it.last.as_ref()),
                    "devices": row.live.told.as_ref().map(|it| &it.devices),
                    "weights": row.parts.weights,
                    "warmup": row.parts.warmup,
                    "gateway": row.parts.gateway,
                })
            })
            .collect();
        let mut document = json!({ "format_version": 1, "models": models });
        if let Some(it) = spending {
            document["spending"] = spending::to_json(it);
        }
        outln!("{document}");
        return;
    }
    let width = rows.iter().map(|row| row.live.model.len()).max().unwrap_or(0);
    for row in rows {
        let StatusRow { live, verdict, .. } = row;
        let colour = if live.state == "running" { GOOD } else { WARN };
        let padding = " ".repeat(width - live.model.len());
        outln!(
            "{BOLD}{}{BOLD:#}{padding}  {colour}{}{colour:#}  {}",
            live.model,
            live.state,
            [live.url.as_str(), live.detail.as_str()]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("  "),
        );
        let since = match live.since.as_str() {
            "" => String::new(),
            since => format!("since {since}, "),
        };
        outln!("{}  {FAINT}{since}{}{FAINT:#}", " ".repeat(width), words(*verdict));
        if live.version.is_some() {
            outln!("{}  {FAINT}{}{FAINT:#}", " ".repeat(width), around(row));
        }
        if let Some(asking) = asking(row) {
            outln!("{}  {FAINT}{asking}{FAINT:#}", " ".repeat(width));
        }
        let told = live.told.as_ref();
        if let Some(ends) = told.and_then(Replicas::ends) {
            outln!("{}  {WARN}{ends}{WARN:#}", " ".repeat(width));
        }
        for device in told.map_or(&[][..], |told| &told.devices) {
            outln!("{}  {FAINT}ran on {device}{FAINT:#}", " ".repeat(width));
        }
    }
    if let Some(it) = spending {
        spending::print(it);
    }
}

/// Prints all that is known of one step.
pub fn print_why(
    step: &PlannedStep,
    fingerprint: Option<&Fingerprint>,
    evidence: Option<&Facts>,
    attempt: Option<&Attempt>,
) {
    let colour = style(step.action);
    outln!("{BOLD}{}{BOLD:#}  {colour}{}{colour:#}", step.id, step.action.word());
    for why in &step.reasons {
        outln!("  {}", reason(why));
    }
    if let Some(held) = &step.held {
        outln!("  {held}");
    }
    match &step.key {
        Some(key) => outln!("  key      {key}"),
        None => outln!("  key      not known until its inputs have run"),
    }
    if !step.models.is_empty() {
        outln!("  models   {}", step.models.join(", "));
    }
    let inputs: Vec<String> = step.inputs.iter().map(ToString::to_string).collect();
    if !inputs.is_empty() {
        outln!("  inputs   {}", inputs.join(", "));
    }
    let after: Vec<String> = step.after.iter().map(ToString::to_string).collect();
    if !after.is_empty() {
        outln!("  in turn  after {}", after.join(" and "));
    }
    if let Some(attempt) = attempt {
        let took = duration(std::time::Duration::from_secs_f64(attempt.seconds.max(0.0)));
        outln!(
            "  last     {} at {}, run {}, {took}",
            attempt.outcome,
            attempt.started,
            attempt.run
        );
    }
    section("facts", step.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    if let Some(evidence) = evidence {
        section("evidence", evidence.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    }
    if let Some(fingerprint) = fingerprint {
        section("hashed into the key", fingerprint.shown().pairs());
    }
}

fn section<'a>(title: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    let pairs: Vec<_> = pairs.collect();
    if pairs.is_empty() {
        return;
    }
    outln!("  {FAINT}{title}{FAINT:#}");
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in pairs {
        outln!("    {name}{}  {value}", " ".repeat(width - name.chars().count()));
    }
}
