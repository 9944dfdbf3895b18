//! Whether servers that run answer. They are asked on this machine alone, where that wakes nothing and
//! costs nothing; only those that say nothing make anybody wait.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::server::Running;
use super::state::Served;
use super::{Life, Local};
use crate::fingerprint::Key;
use crate::openai::Server;
use crate::runtime;
use crate::step::{Facts, StepError};

/// How often a server is asked that gives no answer.
const TRIES: u32 = 3;

/// How long one try may take, so that all of them are over within 15 seconds.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long after a try that failed sooner the next one is, where many may be asked; and how long one has to
/// answer that was stopped.
const PAUSE: Duration = Duration::from_secs(1);

/// What came of asking a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// This HTTP status; whatever it is, somebody is there.
    Status(u16),
    /// Nothing: somebody stopped it (SIGSTOP), and nobody let it go on.
    Stopped,
    /// Nothing at all, however often it was asked.
    Nothing,
}

impl Local {
    /// What came of asking this server last.
    pub(super) fn answer_of(&self, served: &Served) -> Option<Answer> {
        let answers = self.answers.read().unwrap_or_else(PoisonError::into_inner);
        answers.get(served.instance_id()).copied()
    }

    /// Whether a server that runs is of any use, as far as that was asked.
    pub(super) fn life_by_answer(&self, served: &Served) -> Life {
        match self.answer_of(served) {
            Some(Answer::Stopped) => Life::Hangs("stopped"),
            Some(Answer::Nothing) => Life::Hangs("answers nothing"),
            Some(Answer::Status(_)) | None => Life::Runs,
        }
    }

    fn answered(&self, served: &Served, answer: Option<Answer>) {
        let mut answers = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Some(answer) => answers.insert(served.instance_id().to_owned(), answer),
            None => answers.remove(served.instance_id()),
        };
    }

    /// Looks for servers that were stopped, and for those that go on again.
    pub(super) fn look_for_stopped(&self) {
        for served in self.seen(|state| state.served.values().cloned().collect::<Vec<_>>()) {
            match (is_stopped(&served), self.answer_of(&served)) {
                (true, _) => self.answered(&served, Some(Answer::Stopped)),
                (false, Some(Answer::Stopped)) => self.answered(&served, None),
                (false, _) => {}
            }
        }
    }

    /// Asks the servers of these models, or of all, whether they answer: all at once. Those that have
    /// ended, or have not started yet, have nothing to say.
    pub(super) async fn ask_servers(&self, models: &[String]) -> Result<(), StepError> {
        let is_meant = |model: &String| models.is_empty() || models.contains(model);
        let servers: Vec<Served> = self.seen(|state| {
            let meant = state.served.iter().filter(|(model, _)| is_meant(model));
            meant.map(|(_, served)| served.clone()).collect()
        });
        let up = |served: &&Served| served.healthy && !matches!(self.life(served), Life::Ended(_));
        let Some(first) = servers.iter().find(up) else { return Ok(()) };
        // All of them are asked through one client: making one takes longer than an answer.
        let client = Server::local(&first.url(), "", DEADLINE)?;
        let asked = servers.iter().filter(up).map(|served| async {
            let answer = answer(&client, served, PAUSE).await;
            self.answered(served, Some(answer));
        });
        join_all(asked).await;
        Ok(())
    }

    /// The facts of the server of this key that gave no answer when it was asked last, and does now:
    /// somebody was slow, or let it go on.
    pub(super) async fn recovered(
        &self,
        model: &str,
        key: Key,
    ) -> Result<Option<Facts>, StepError> {
        let Some(served) = self.served(model).filter(|served| served.healthy && served.key == key)
        else {
            return Ok(None);
        };
        if !matches!(self.life(&served), Life::Hangs(_)) || !self.mount_changes(&served).is_empty()
        {
            return Ok(None);
        }
        let client = Server::local(&served.url(), model, DEADLINE)?;
        // It is about to be started anew: one that refuses connections has as long as one that takes them.
        let answer = answer(&client, &served, DEADLINE).await;
        self.answered(&served, Some(answer));
        let answers = matches!(answer, Answer::Status(_)) && self.is_alive(&served).await?;
        Ok(answers.then_some(served.facts))
    }
}

/// Whether the engine itself was stopped: what it has beside it may be, and it answers all the same.
fn is_stopped(served: &Served) -> bool {
    matches!(
        &served.instance,
        Some(Running::Embedded(process))
            if runtime::is_stopped(process) && has_stopped_engine(process.pid)
    )
}

/// Whether the engine below this supervisor was stopped, which the supervisor's only child starts. What a
/// debugger looks at, `t`, was not.
fn has_stopped_engine(supervisor: i32) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = processes.filter_map(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (pid, rest) = stat.split_once(' ')?;
        // The name between may have anything in it.
        let (_, rest) = rest.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let (state, parent) = (fields.next()?.to_owned(), fields.next()?.parse::<i32>().ok()?);
        Some((pid.parse::<i32>().ok()?, parent, state))
    });
    let all: Vec<(i32, i32, String)> = stats.collect();
    let has_started =
        |parent: i32, child: i32| all.iter().any(|(pid, by, _)| *pid == child && *by == parent);
    all.iter().any(|(_, parent, state)| state == "T" && has_started(supervisor, *parent))
}

/// Asks a server until it answers; `pause` after a try the next one is, if that failed sooner.
async fn answer(client: &Server, served: &Served, pause: Duration) -> Answer {
    let api = client.at(&served.url());
    for tried in 1..=TRIES {
        let began = Instant::now();
        // What it has started may answer in its place.
        let within = if is_stopped(served) { PAUSE } else { DEADLINE };
        let asked = tokio::time::timeout(within, api.status(&served.health));
        if let Ok(Some(status)) = asked.await {
            return Answer::Status(status);
        }
        if is_stopped(served) {
            return Answer::Stopped;
        }
        if tried < TRIES {
            tokio::time::sleep(pause.saturating_sub(began.elapsed())).await;
        }
    }
    Answer::Nothing
}
