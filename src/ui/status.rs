//! One step explained, and what is served right now.

use serde_json::json;

use super::out::outln;
use super::plan::{reason, style};
use super::words::{duration, milliseconds_to_token, seconds};
use super::{BOLD, FAINT, GOOD, WARN};
use crate::fingerprint::{Fingerprint, Key};
use crate::plan::PlannedStep;
use crate::spec::Auth;
use crate::step::Facts;
use crate::store::Attempt;
use crate::targets::Live;

/// A deployment beside what its spec wants.
#[derive(Debug, Clone)]
pub struct StatusRow {
    /// How it is.
    pub live: Live,
    /// The gateway's name for it, when its spec has one.
    pub alias: Option<String>,
    /// The key that the spec gives, when it is known.
    pub wanted: Option<Key>,
    /// Who may ask it, as the spec has it; none where the target has no such thing.
    pub auth: Option<Auth>,
    /// What stands around it.
    pub parts: Parts,
    /// How the two compare.
    pub verdict: Verdict,
}

/// What stands around a deployment, beside what its spec wants; none where nobody knows, or there
/// is to be nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parts {
    /// Its weights, as they are locked.
    pub weights: Option<Part>,
    /// Its compile caches.
    pub warmup: Option<Part>,
    /// Its entry in the gateway.
    pub gateway: Option<Part>,
}

/// Whether something is as it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// It is.
    AsWanted,
    /// Something else is there.
    Drifted,
    /// It is not there.
    Missing,
}

/// How a deployment compares with its spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It serves what the spec wants, and passed its smoke test if it has one.
    AsSpecified,
    /// It serves what the spec wants; the smoke test has not passed.
    Untested,
    /// Its start has not come to an end.
    Starting,
    /// It served what the spec wants, and ended.
    Stopped,
    /// The spec wants something else.
    Differs,
    /// Whatever the spec wants, it is left as it is.
    Held,
    /// Its spec says that it is to go.
    Leaving,
    /// No spec wants it.
    Unwanted,
    /// It can't be compared: specs or lock can't be read.
    Unknown,
    /// Something of somebody else is in its place.
    InTheWay,
    /// It is not there.
    Absent,
    /// Its place was not looked at.
    Unobserved,
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::AsSpecified => "as specified",
            Self::Untested => {
                "as specified, but its smoke test has not passed: `goatbuild apply` runs it"
            }
            Self::Starting => {
                "not healthy yet; when no apply is at work, `goatbuild apply` starts it anew"
            }
            Self::Stopped => "as specified, but it ended: `goatbuild apply` starts it again",
            Self::Differs => "differs from its spec: `goatbuild plan` tells how",
            Self::Held => "held, whatever its spec wants: `goatbuild release` ends that",
            Self::Leaving => "its spec says absent: `goatbuild apply` stops it",
            Self::Unwanted => "no spec wants it: `goatbuild destroy` stops it",
            Self::Unknown => "not compared: the specs have mistakes or the lock is incomplete",
            Self::InTheWay => {
                "not deployed: something of somebody else is in its place, which `goatbuild apply \
                 --adopt MODEL` takes over"
            }
            Self::Absent => "not deployed: `goatbuild apply` does it",
            Self::Unobserved => "not looked at, so nobody knows what is deployed",
        }
    }
}

impl StatusRow {
    /// A model whose place was not looked at, and why.
    pub fn unobserved(model: &str, why: String) -> Self {
        let absent = Self::absent(model);
        let live = Live { state: "unknown", detail: why, ..absent.live };
        Self { live, verdict: Verdict::Unobserved, ..absent }
    }

    /// A model in the place of which there is something of somebody else.
    pub fn foreign(model: &str, owner: String) -> Self {
        let absent = Self::absent(model);
        let live = Live { detail: owner, ..absent.live };
        Self { live, verdict: Verdict::InTheWay, ..absent }
    }

    /// A model that is not served anywhere.
    pub fn absent(model: &str) -> Self {
        let live = Live {
            model: model.to_owned(),
            key: None,
            state: "absent",
            url: String::new(),
            pid: None,
            since: String::new(),
            version: None,
            replicas: None,
            auth: None,
            measured: None,
            detail: String::new(),
        };
        Self {
            live,
            alias: None,
            wanted: None,
            auth: None,
            parts: Parts::default(),
            verdict: Verdict::Absent,
        }
    }
}

impl StatusRow {
    /// The key that stands beside the wanted one, and what stands around it.
    fn around(&self) -> String {
        let short = |key: Option<Key>| key.map_or_else(|| "none".to_owned(), |key| key.short());
        let mut words = vec![match (self.live.key, self.wanted) {
            (key, Some(wanted)) if key != Some(wanted) => {
                format!("key {}, wanted {}", short(key), wanted.short())
            }
            (key, _) => format!("key {}", short(key)),
        }];
        let alias = self.alias.as_deref().unwrap_or_default();
        let word = |part: Part, words: [&str; 3]| match part {
            Part::AsWanted => words[0].to_owned(),
            Part::Drifted => words[1].to_owned(),
            Part::Missing => words[2].to_owned(),
        };
        let receipts = ["weights there", "weights differ", "weights missing"];
        words.extend(self.parts.weights.map(|part| word(part, receipts)));
        let receipts = ["caches warm", "caches differ", "caches cold"];
        words.extend(self.parts.warmup.map(|part| word(part, receipts)));
        let gateway = ["in the gateway", "drifted in the gateway", "missing in the gateway"];
        words.extend(self.parts.gateway.map(|part| format!("{alias} {}", word(part, gateway))));
        words.join(", ")
    }

    /// Who may ask it, and how quickly it answered.
    fn asking(&self) -> Option<String> {
        let deployed = self.live.auth?;
        let who = match deployed {
            Auth::Proxy => "for who has a proxy token",
            Auth::ApiKey => "for who has the key",
            Auth::Open => "open to anyone",
        };
        let wanted = self.auth.filter(|wanted| *wanted != deployed);
        let wanted = wanted.map(|wanted| format!(", wanted auth {wanted}")).unwrap_or_default();
        let measured = self.live.measured.map(|it| format!("; {}", super::words::measured(it)));
        Some(format!("auth {deployed}: {who}{wanted}{}", measured.unwrap_or_default()))
    }
}

/// Prints what is served.
pub fn print_status(rows: &[StatusRow], as_json: bool) {
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
                    "weights": row.parts.weights,
                    "warmup": row.parts.warmup,
                    "gateway": row.parts.gateway,
                })
            })
            .collect();
        outln!("{}", json!({ "format_version": 1, "models": models }));
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
        outln!("{}  {FAINT}{since}{}{FAINT:#}", " ".repeat(width), verdict.words());
        if live.version.is_some() {
            outln!("{}  {FAINT}{}{FAINT:#}", " ".repeat(width), row.around());
        }
        if let Some(asking) = row.asking() {
            outln!("{}  {FAINT}{asking}{FAINT:#}", " ".repeat(width));
        }
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
        section("hashed into the key", fingerprint.pairs());
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
