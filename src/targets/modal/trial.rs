//! What is taken for granted of Modal, and can be seen on a real account alone: tried out there.
//!
//! Most of it is tried with an app of its own without a GPU, by `trial/rows.py`; the rest is read from what a
//! model that is deployed says once it has been asked. The rows are those of docs/modal.md.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Modal;
use super::app::tags;
use super::serve::understood;
use crate::event::Reporter;
use crate::spec::Model;
use crate::step::StepError;
use crate::targets::{Assumption, Shown, Trials};

/// The rows that need no model.
const ROWS: &str = include_str!("trial/rows.py");

/// What they deploy.
const APP: &str = include_str!("trial/app.py");

/// The files that are installed beside the driver, by path.
pub(super) const FILES: [(&str, &str); 2] = [("trial/rows.py", ROWS), ("trial/app.py", APP)];

const fn alone(name: &'static str, taken: &'static str) -> Assumption {
    Assumption { name, taken, of_model: false }
}

const fn of_model(name: &'static str, taken: &'static str) -> Assumption {
    Assumption { name, taken, of_model: true }
}

/// In the order in which they are tried: what takes long comes late.
const ASSUMPTIONS: [Assumption; 18] = [
    alone("order", "what refers to something that isn't there is refused"),
    alone("gpu", "a GPU that Modal doesn't have is refused"),
    alone("max-inputs", "a replica takes at most 1000 requests at once"),
    alone("prices", "billing rates name each GPU, `cpu` and `mem_gib`, by the hour"),
    alone("label", "the address is workspace, suffix, app and function"),
    alone("auth", "without a token: 401, and no replica is started"),
    alone("tag", "another tag alone is a new version"),
    alone("rollback", "an earlier version stands again, with its tag"),
    alone("rolling", "old replicas go after a deployment"),
    alone("crash", "a replica whose server ended is gone"),
    alone("volume", "what is committed is seen; read-only refuses to be written to"),
    alone("lease", "an entry is put once"),
    alone("redirect", "a request that waits for 150 s is sent on"),
    alone("killed", "what runs ends with its client"),
    of_model("builder", "Modal builds an image of the locked wheels"),
    of_model("second-start", "with warm caches a start compiles nothing"),
    of_model("environ", "the key can be wiped from the environment"),
    of_model("snapshot", "replicas start from a snapshot"),
];

/// How long a server of a trial takes to start so that a request is sent on: Modal does that after 150 s.
const SLOW_SECONDS: u32 = 170;

/// How long something may take that isn't said to take so long.
const PATIENCE_SECONDS: u32 = 300;

/// How long a container may take to be seen that should not have been started.
const PAUSE_SECONDS: u32 = 10;

/// How many answers in a row have to be the new version's.
const ANSWERS: u32 = 20;

/// How many of the last lines that a model's replicas wrote are read.
const LINES: usize = 2_000;

/// What replicas tell of themselves begins so.
const MARK: &str = "goatbuild-replica: ";

/// How long they may take to come.
const LAST_WORDS: Duration = Duration::from_secs(60);

/// What a row gives.
#[derive(Deserialize)]
struct Row {
    held: Option<bool>,
    detail: String,
}

#[async_trait]
impl Trials for Modal {
    fn assumptions(&self) -> &'static [Assumption] {
        &ASSUMPTIONS
    }

    async fn try_out(
        &self,
        assumption: &Assumption,
        model: &Model,
        reporter: &Reporter,
    ) -> Result<Shown, StepError> {
        if assumption.of_model {
            return self.read_off(assumption.name, model).await;
        }
        if assumption.name == "prices" {
            return self.try_prices().await;
        }
        let row: Row = understood(self.row(assumption.name, reporter).await?)?;
        Ok(Shown { held: row.held, detail: row.detail })
    }

    async fn tidy(&self, reporter: &Reporter) -> Result<(), StepError> {
        self.row("end", reporter).await.map(drop)
    }
}

impl Modal {
    /// Has the driver try one out.
    async fn row(&self, row: &str, reporter: &Reporter) -> Result<Value, StepError> {
        self.settle_account(reporter).await?;
        let app = self.helper("trial");
        let directory: PathBuf = self.programs.join("trial");
        let expected = self.address(&app).url();
        let request = json!({
            "row": row,
            "app": app,
            "tags": tags(&self.owner),
            "directory": directory,
            "expected": expected.as_deref().unwrap_or_default().trim_end_matches("/v1"),
            "slow": SLOW_SECONDS,
            "pause": PAUSE_SECONDS,
            "patience_seconds": PATIENCE_SECONDS,
            "answers": ANSWERS,
        });
        self.client.call(&app, "trial", request, reporter).await
    }

    /// What can be told of a model that stands and has just answered.
    async fn read_off(&self, name: &str, model: &Model) -> Result<Shown, StepError> {
        let said = |held: bool, detail: &str| Shown { held: Some(held), detail: detail.to_owned() };
        let not_shown = |why: &str| Shown { held: None, detail: why.to_owned() };
        let Some(deployed) = self.deployed(model.name.as_str()) else {
            return Ok(not_shown("the model is not deployed"));
        };
        let is = |field: &str| deployed.applied.get(field);
        let shown = match name {
            "builder" if is("image").is_some_and(|image| image.starts_with("im-")) => {
                said(true, "the image that is served was built there")
            }
            "builder" => not_shown("the image that is served comes from a registry"),
            "second-start" if model.engine.kind.compiles(model) => {
                if self.has_warmed(model.name.as_str()).await? {
                    said(true, "the receipt of its warm-up is there")
                } else {
                    not_shown("there is no receipt of a warm-up of its own")
                }
            }
            "second-start" => not_shown("the model compiles nothing"),
            "environ" if is("modal.guard").is_some() => {
                let words = self.last_words(&deployed.app).await?;
                match words.lines().find(|line| line.contains("is still in /proc/")) {
                    Some(line) => said(false, line),
                    // What replicas tell of themselves: that one was up at all.
                    None if words.contains(MARK) => said(true, "no replica says otherwise"),
                    None => not_shown("no replica has said anything"),
                }
            }
            "environ" => not_shown("no replica of the model takes a key"),
            "snapshot" if model.serve.snapshot => {
                let words = self.last_words(&deployed.app).await?;
                said(words.contains("memory snapshot"), "as its log tells")
            }
            "snapshot" => not_shown("the model starts without one"),
            _ => panic!("BUG: {name} is no row of a model"),
        };
        Ok(shown)
    }

    /// What an app's containers wrote last.
    async fn last_words(&self, app: &str) -> Result<String, StepError> {
        let said = Mutex::new(Vec::new());
        let keep = |bytes: &[u8]| {
            said.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        };
        let request = json!({"app": app, "lines": LINES, "follow": false});
        let stop = tokio::time::sleep(LAST_WORDS);
        self.client.print(app, "logs", request, &keep, stop).await?;
        let said = said.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}
