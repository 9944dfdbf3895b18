//! How an apply ended.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::out::{errln, outln};
use super::words::{bytes, count, duration, milliseconds_to_token, seconds};
use super::{BAD, BOLD, FAINT, GOOD, Mode, WARN, note};
use crate::exec::Report;
use crate::plan::{Action, Plan};
use crate::served::Endpoint;
use crate::spec::{Api, Header};
use crate::step::{Fact, StepId};

/// All that the closing words are made of.
#[derive(Debug)]
pub struct Applied<'a> {
    /// What was planned.
    pub plan: &'a Plan,
    /// What came of it.
    pub report: &'a Report,
    /// What answers now.
    pub endpoints: &'a [Endpoint],
    /// Resources that were taken away.
    pub removed: &'a [StepId],
    /// The gateway's reload command, if it ran.
    pub reloaded: Option<&'a str>,
    /// How long it all took.
    pub took: Duration,
}

impl Applied<'_> {
    /// Prints it.
    pub fn print(&self, mode: Mode) {
        if mode == Mode::Json {
            outln!("{}", self.json());
            return;
        }
        for failed in &self.report.failed {
            errln!("\n{BAD}{} failed{BAD:#}", failed.id);
            super::print_error(&failed.error);
        }
        for open in &self.report.unproven {
            errln!("\n{WARN}{} was left open{WARN:#}", open.id);
            super::print_error(&open.error);
        }
        for (id, before) in &self.report.turns {
            note(&format!("{id} was not begun, since {}", self.why_not(before)));
        }
        if let Some(command) = self.reloaded {
            note(&format!("ran {command}"));
        }
        for id in self.removed {
            note(&format!("removed {id}"));
        }
        self.kept();
        self.counts();
        if self.report.failed.is_empty() && !self.report.interrupted {
            self.endpoints();
        }
    }

    fn json(&self) -> serde_json::Value {
        let ids = |ids: &mut dyn Iterator<Item = &StepId>| {
            ids.map(ToString::to_string).collect::<Vec<_>>()
        };
        let report = self.report;
        let failed: Vec<_> = report
            .failed
            .iter()
            .map(|failed| {
                json!({
                    "id": failed.id,
                    "code": failed.error.code().map(|code| code.to_string()),
                    "error": failed.error.to_string(),
                    "help": failed.error.help().map(|help| help.to_string()),
                })
            })
            .collect();
        let endpoints: Vec<_> = self
            .endpoints
            .iter()
            .map(|endpoint| {
                json!({
                    "model": endpoint.model,
                    "url": endpoint.url,
                    "served_name": endpoint.served_name,
                    "alias": endpoint.alias.as_ref().map(|(alias, _)| alias),
                    "first_answer_seconds": endpoint.measured.map(|it| seconds(it.first_answer)),
                    "first_token_ms": endpoint.measured.map(milliseconds_to_token),
                })
            })
            .collect();
        json!({
            "event": "apply_finished",
            "ran": ids(&mut report.ran.iter().map(|(id, _)| id)),
            "cut_off": ids(&mut report.cut_off.iter()),
            "failed": ids(&mut report.failed.iter().map(|failed| &failed.id)),
            "unproven": ids(&mut report.unproven.iter().map(|open| &open.id)),
            "waiting": ids(&mut report.waiting.iter()),
            "blocked": ids(&mut report.blocked.iter()),
            "out_of_turn": report.turns,
            "removed": ids(&mut self.removed.iter()),
            "interrupted": report.interrupted,
            "seconds": (self.took.as_secs_f64() * 1000.0).round() / 1000.0,
            "bytes_fetched": report.traffic.fetched,
            "bytes_reused": report.traffic.reused + self.layers_kept(),
            "endpoints": endpoints,
            "errors": failed,
        })
    }

    /// What became of a step, for those that were to go after it.
    fn why_not(&self, before: &StepId) -> String {
        if self.report.unproven.iter().any(|open| open.id == *before) {
            format!("{before} is not proven: the next apply asks again, and `--keep-going` goes on")
        } else {
            format!("{before} failed: they go one after the other, and `--keep-going` goes on")
        }
    }

    /// What is still there although no spec wants it.
    fn kept(&self) {
        let unwanted = self.plan.steps.iter().filter(|step| step.action == Action::Remove);
        for step in unwanted.filter(|step| !self.removed.contains(&step.id)) {
            let detail = step.reasons.iter().find_map(|reason| reason.field.as_deref());
            errln!(
                "{WARN}kept{WARN:#} {}: {}; `goatbuild apply --prune` or `goatbuild destroy {}` removes it",
                step.id,
                detail.unwrap_or_default(),
                step.id.name(),
            );
        }
    }

    fn counts(&self) {
        let report = self.report;
        let fresh = self.plan.summary().fresh;
        let (style, word) = if report.interrupted {
            (WARN, "interrupted")
        } else if report.failed.is_empty() {
            (GOOD, "done")
        } else {
            (BAD, "failed")
        };
        let mut parts = vec![format!("{} ran", count(report.ran.len(), "step"))];
        parts.push(format!("{fresh} fresh"));
        if !report.cut_off.is_empty() {
            parts.push(format!("{} unchanged after all", report.cut_off.len()));
        }
        if !report.failed.is_empty() {
            parts.push(format!("{} failed", report.failed.len()));
        }
        if !report.unproven.is_empty() {
            parts.push(format!("{} not proven", report.unproven.len()));
        }
        if !report.waiting.is_empty() {
            parts.push(format!("{} waiting for that", report.waiting.len()));
        }
        if !report.blocked.is_empty() {
            parts.push(format!("{} not started", report.blocked.len()));
        }
        let reused = report.traffic.reused + self.layers_kept();
        for (number, word) in [(report.traffic.fetched, "fetched"), (reused, "reused")] {
            if number > 0 && !report.ran.is_empty() {
                parts.push(format!("{} {word}", bytes(number)));
            }
        }
        outln!("{style}{word}{style:#} in {}: {}", duration(self.took), parts.join(", "));
        if report.interrupted {
            note("what ran is kept: `goatbuild apply` goes on from there");
        }
        self.times();
        for (id, evidence) in &report.evidence {
            if let (Some(layers), Some(size)) = (evidence.get("layers"), evidence.get("size")) {
                let size = bytes(size.parse().unwrap_or(0));
                outln!("  {FAINT}{id}: {layers} layers, {size} compressed{FAINT:#}");
            }
        }
    }

    /// What took long.
    fn times(&self) {
        const MOVED: [(&str, &str); 3] =
            [("bytes-fetched", "fetched"), ("bytes-pushed", "pushed"), ("bytes-reused", "reused")];
        const SHOWN: usize = 8;
        let report = self.report;
        let mut slowest: Vec<&(StepId, Duration)> = report.ran.iter().collect();
        if slowest.len() < 2 {
            return;
        }
        slowest.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
        // A rest of one is no shorter than the one.
        let shown = if slowest.len() == SHOWN + 1 { SHOWN + 1 } else { SHOWN.min(slowest.len()) };
        for (id, took) in &slowest[..shown] {
            let evidence = report.evidence.get(id);
            let moved = |name| evidence.and_then(|evidence| evidence.get(name)?.parse().ok());
            let mut line = format!("{:>12}  {id}", duration(*took));
            for (name, word) in MOVED {
                if let Some(number) = moved(name) {
                    let _ = write!(line, ", {} {word}", bytes(number));
                }
            }
            outln!("{FAINT}{line}{FAINT:#}");
        }
        if let Some(rest) = slowest.get(shown..).filter(|rest| !rest.is_empty()) {
            let took = rest.iter().map(|(_, took)| *took).sum();
            outln!("{FAINT}{:>12}  in {} more{FAINT:#}", duration(took), rest.len());
        }
    }

    /// Bytes of layers that were right as they were, where something else ran.
    fn layers_kept(&self) -> u64 {
        let fresh = self.plan.steps.iter().filter(|step| step.action == Action::Fresh);
        fresh.filter_map(|step| Fact::SIZE.of(&step.facts)?.parse::<u64>().ok()).sum()
    }

    /// Where the models answer, and how to ask one.
    fn endpoints(&self) {
        let mut first = true;
        for Endpoint { model, api, url, headers, served_name, alias, measured } in self.endpoints {
            let alias = match alias {
                Some((alias, file)) => format!("  ({alias} in {file})"),
                None => String::new(),
            };
            outln!("{BOLD}{model}{BOLD:#}  {url}{FAINT}{alias}{FAINT:#}");
            if let Some(measured) = measured {
                outln!("  {FAINT}{}{FAINT:#}", super::words::measured(*measured));
            }
            if std::mem::take(&mut first) {
                let header =
                    |it: &Header| format!(" -H \"{}: {}${}\"", it.name, it.scheme, it.variable);
                let headers: String = headers.iter().map(header).collect();
                // Who starts a server for a request may send it on until that is up.
                let follow = if url.starts_with("https:") { "-L " } else { "" };
                let (path, asked) = (api.path(), example(*api, served_name));
                outln!("  curl {follow}{url}/{path}{headers} {asked}");
            }
        }
    }
}

/// What of a `curl` line asks for this.
fn example(api: Api, served_name: &str) -> String {
    let body = match api {
        Api::Chat => json!({
            "model": served_name,
            "messages": [{ "role": "user", "content": "Hello" }],
            "max_tokens": 16,
        }),
        Api::Completions => json!({ "model": served_name, "prompt": "Hello", "max_tokens": 16 }),
        Api::Embeddings => json!({ "model": served_name, "input": "Hello" }),
        Api::Rerank => {
            json!({ "model": served_name, "query": "Hello", "documents": ["Welcome", "Farewell"] })
        }
        Api::Transcriptions => {
            let name = served_name.replace('\'', "'\\''");
            return format!("-F model='{name}' -F file=@speech.wav");
        }
    };
    let body = body.to_string().replace('\'', "'\\''");
    format!("-H 'Content-Type: application/json' -d '{body}'")
}
