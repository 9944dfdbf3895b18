//! A deployment, asked as clients will ask it, until it is known that it was the one which answered.

use std::time::{Duration, Instant};

use super::failed_starts::too_many;
use crate::event::{Cancelled, Reporter};
use crate::openai::{ApiError, Server, Streamed};
use crate::spec::{Api, Auth, Header, Model};
use crate::step::{Evidence, StepError};
use crate::targets::{Measured, Rolling, Starts, Target, Tried};

/// How often an interruption is looked for.
const GLANCE: Duration = Duration::from_millis(100);

/// What an older version may take to make way, at most.
const MOST: Duration = Duration::from_secs(15 * 60);

/// How often somebody is asked who says that they can't.
const TRIES: u32 = 3;

/// How long after the first such answer they are asked again, at most: each may have taken a whole start.
const MOMENT: Duration = Duration::from_secs(60);

/// Between two questions; it doubles up to [`LONGEST`]: whoever is asked stays up for that.
const SHORTEST: Duration = Duration::from_secs(1);

const LONGEST: Duration = Duration::from_secs(30);

/// How long it is waited for an older version to make way, at most: what a start of the new one may take,
/// and no more than [`MOST`].
pub(super) fn most_for_older(model: &Model) -> Duration {
    model.serve.startup_timeout.min(MOST)
}

/// What asking came to.
pub(super) struct Answered {
    pub(super) measured: Measured,
    /// How many pieces a streamed answer had.
    pieces: usize,
}

impl Answered {
    /// Seconds until the first answer, milliseconds until the first token, and pieces.
    pub(super) fn evidence(&self) -> Evidence {
        let Measured { first_answer, first_token } = self.measured;
        [
            ("first-token-ms", first_token.as_millis().to_string()),
            ("pieces", self.pieces.to_string()),
            ("first-answer-seconds", format!("{:.1}", first_answer.as_secs_f64())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// A client for a deployment that wants these headers, which gives each request as long as this, or as
/// long as a smoke test does; fails where this shell has not what the headers hold.
pub async fn server(
    target: &dyn Target,
    model: &Model,
    url: &str,
    headers: Vec<Header>,
    patience: Option<Duration>,
) -> Result<Server, StepError> {
    let (name, serve) = (model.name.as_str(), &model.serve);
    let usual = serve.timeout.min(Duration::from_secs(600));
    let credentials = target.credentials(model, headers).await?;
    if target.is_here() {
        return Ok(Server::local_with(url, name, patience.unwrap_or(usual), credentials)?);
    }
    // The first request starts a replica.
    let patience = patience.unwrap_or(usual + serve.startup_timeout);
    Ok(Server::remote(url, name, patience, credentials)?)
}

/// A deployment to ask.
pub(super) struct Asking<'a> {
    /// What it is asked for.
    pub(super) api: Api,
    /// Where it is asked.
    pub(super) server: &'a Server,
    /// What is served.
    pub(super) model: &'a Model,
    /// The base of its API.
    pub(super) url: &'a str,
    /// What requests call the model.
    pub(super) served_name: &'a str,
    /// The name that only this deployment answers to, if it has one.
    pub(super) mark: Option<&'a str>,
    /// Who tells whether what it replaces is up still, by its instance.
    pub(super) rolling: Option<(&'a dyn Rolling, &'a str)>,
    /// Who tells of its starts that fail.
    pub(super) starts: Option<(&'a dyn Starts, Tried)>,
    pub(super) reporter: &'a Reporter,
}

impl Asking<'_> {
    /// Asks for the models, for what the model is for, and for a streamed chat where it chats, until somebody interrupts or too many
    /// starts have failed.
    pub(super) async fn ask(&self) -> Result<Answered, StepError> {
        tokio::select! {
            answered = self.questions() => answered,
            failed = too_many(self.starts, self.model.name.as_str(), self.reporter) => Err(failed.into()),
            stopped = interrupted(self.reporter) => Err(stopped.into()),
        }
    }

    async fn questions(&self) -> Result<Answered, StepError> {
        let mut waiting = Waiting::new(self);
        if self.mark.is_none() {
            waiting.until_nothing_is_older().await?;
        }
        let first_answer = self.models(&mut waiting).await?;
        // By a mark it is this version that answers, or none.
        let name = self.mark.unwrap_or(self.served_name);
        let began = Instant::now();
        self.answer(&mut waiting, name).await?;
        let streamed = if self.api == Api::Chat {
            self.reporter.message("a streamed chat completion");
            loop {
                match self.server.stream(name).await {
                    Ok(streamed) => break streamed,
                    Err(error) => waiting.unless_of_this(error, name).await?,
                }
            }
        } else {
            // It comes in one piece.
            Streamed { first: began.elapsed(), pieces: 1 }
        };
        for adapter in &self.model.adapters {
            self.answer(&mut waiting, &adapter.value).await?;
        }
        let measured = Measured { first_answer, first_token: streamed.first };
        Ok(Answered { measured, pieces: streamed.pieces })
    }

    /// Asks for what the model is for, by a name that it answers to.
    async fn answer(&self, waiting: &mut Waiting<'_>, name: &str) -> Result<(), StepError> {
        let what = self.api.path();
        self.reporter.message(format!("POST /v1/{what} as {name}"));
        let answer = loop {
            match self.server.answer(self.api, name).await {
                Ok(answer) => break answer,
                Err(error) => waiting.unless_of_this(error, name).await?,
            }
        };
        self.reporter.log(format!("{what} of {name}: {answer}"));
        Ok(())
    }

    /// Asks for the models until this version tells them; gives how long that took since nothing older
    /// answered.
    async fn models(&self, waiting: &mut Waiting<'_>) -> Result<Duration, StepError> {
        self.reporter.message("GET /v1/models");
        loop {
            let listed = match self.server.models().await {
                Ok(listed) => listed,
                Err(error) => {
                    waiting.for_a_list(error).await?;
                    continue;
                }
            };
            let is_listed = |name| listed.iter().any(|id| id == name);
            if self.mark.is_some_and(|mark| !is_listed(mark)) {
                waiting.for_older().await?;
                continue;
            }
            let adapters = self.model.adapters.iter().map(|adapter| adapter.value.as_str());
            let mut names = self.model.serve.served_names.iter().chain(adapters);
            let are_listed = is_listed(self.served_name) && names.all(is_listed);
            if self.model.engine.kind.lists_served_name() && !are_listed {
                let (url, listed) = (format!("{}/models", self.url), listed.join(", "));
                let expected = "a list with the served name";
                return Err(self.server.unexpected(&url, expected, &listed).into());
            }
            return Ok(waiting.since.elapsed());
        }
    }
}

async fn interrupted(reporter: &Reporter) -> Cancelled {
    loop {
        if let Err(cancelled) = reporter.check() {
            return cancelled;
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// Whether a server on this machine says that it can't, and may be able to in a while.
fn is_of_a_moment(error: &ApiError) -> bool {
    error.is_of_the_moment() || is_too_busy(error)
}

/// Whether a server says no more than that it has too much to do.
pub(super) fn is_too_busy(error: &ApiError) -> bool {
    matches!(error, ApiError::Refused { status: 429 | 503, .. })
}

/// How long it was waited for a version to answer, and for what.
struct Waiting<'a> {
    asking: &'a Asking<'a>,
    began: Instant,
    /// When an older version answered last, or the beginning.
    since: Instant,
    pause: Duration,
    /// The next pause in which an older version is left alone.
    longer: Duration,
    /// How often somebody has said that they can't.
    refused: u32,
    /// When they said so first.
    refused_since: Option<Instant>,
}

impl<'a> Waiting<'a> {
    fn new(asking: &'a Asking<'a>) -> Self {
        let now = Instant::now();
        Self {
            asking,
            began: now,
            since: now,
            pause: SHORTEST,
            longer: SHORTEST,
            refused: 0,
            refused_since: None,
        }
    }

    /// Waits until nothing older than this version is up: it is known by no mark.
    async fn until_nothing_is_older(&mut self) -> Result<(), StepError> {
        let Some((rolling, instance)) = self.asking.rolling else { return Ok(()) };
        let (model, reporter) = (self.asking.model.name.as_str(), self.asking.reporter);
        loop {
            let older = rolling.older(model, instance, reporter).await?;
            if older == 0 {
                return Ok(());
            }
            let rest = self.rest_for_older()?;
            reporter.message("an older version is still up");
            tokio::time::sleep(self.next_pause().min(rest)).await;
            self.since = Instant::now();
        }
    }

    /// Waits before a version is asked again that is not this one: until it is gone, where that can be
    /// told, and not too long.
    async fn for_older(&mut self) -> Result<(), StepError> {
        let rest = self.rest_for_older()?;
        let (model, reporter) = (self.asking.model.name.as_str(), self.asking.reporter);
        reporter.message("an older version still answers");
        // Asking keeps it up: sooner or later it is left alone for long enough to go away.
        let end = Instant::now() + self.longer.min(rest);
        self.longer = (self.longer * 2).min(self.asking.model.serve.scaledown_window + LONGEST);
        let mut glance = SHORTEST;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            tokio::time::sleep(glance.min(left)).await;
            glance = (glance * 2).min(LONGEST);
            if let Some((rolling, instance)) = self.asking.rolling
                && let Ok(0) = rolling.older(model, instance, reporter).await
            {
                break;
            }
        }
        self.since = Instant::now();
        Ok(())
    }

    /// Waits before the models are asked for again; fails where nobody else could answer better.
    async fn for_a_list(&mut self, error: ApiError) -> Result<(), StepError> {
        let is_here = self.asking.model.target.is_here();
        // On this machine it was up before anybody asked it.
        if error.is_of_a_start() && !(is_here && is_of_a_moment(&error)) {
            return self.for_a_start(error).await;
        }
        if self.is_of_older(&error).await {
            return self.for_older().await;
        }
        let may_pass = if is_here { is_of_a_moment(&error) } else { error.is_of_the_moment() };
        if may_pass && self.may_ask_again() {
            self.after(&error).await;
            return Ok(());
        }
        Err(error.into())
    }

    /// Waits before somebody is asked again by a name that this version has told, where an older one may
    /// have answered, or a server on this machine can't for the moment; fails otherwise.
    async fn unless_of_this(&mut self, error: ApiError, name: &str) -> Result<(), StepError> {
        let is_unknown = self.asking.mark.is_some() && error.has_no_model(name);
        if is_unknown || self.is_of_older(&error).await {
            return self.for_older().await;
        }
        let is_here = self.asking.model.target.is_here();
        if is_here && is_of_a_moment(&error) && self.may_ask_again() {
            self.after(&error).await;
            return Ok(());
        }
        Err(error.into())
    }

    /// Whether it may be an older version that answers so: one is up, and such an answer tells of no
    /// mark. Where nobody knows of one, this version is meant.
    async fn is_of_older(&self, error: &ApiError) -> bool {
        let asking = self.asking;
        let is_answer = match error {
            // Modal's proxy turns away on its own.
            ApiError::Denied { .. } => asking.model.serve.auth != Auth::Proxy,
            ApiError::Refused { .. } | ApiError::Unexpected { .. } => error.is_of_the_server(),
            _ => false,
        };
        let Some((rolling, instance)) = asking.rolling.filter(|_| asking.mark.is_some()) else {
            return false;
        };
        let (model, reporter) = (asking.model.name.as_str(), asking.reporter);
        let is_up = is_answer
            && rolling.older(model, instance, reporter).await.is_ok_and(|older| older > 0);
        if is_up {
            reporter.log(format!("an older version may have answered: {error}"));
        }
        is_up
    }

    /// Whether somebody who says that they can't is asked once more.
    fn may_ask_again(&mut self) -> bool {
        let since = *self.refused_since.get_or_insert_with(Instant::now);
        self.refused += 1;
        self.refused < TRIES && since.elapsed() < MOMENT
    }

    /// Waits for somebody to be up, as long as a start may take.
    async fn for_a_start(&mut self, error: ApiError) -> Result<(), StepError> {
        let model = self.asking.model;
        let rest = model.serve.startup_timeout.checked_sub(self.since.elapsed());
        // On this machine it was up before anybody asked it.
        let Some(rest) = rest.filter(|rest| !rest.is_zero() && !model.target.is_here()) else {
            if self.is_of_older(&error).await {
                return self.for_older().await;
            }
            return Err(error.into());
        };
        self.asking.reporter.message("nobody answers yet");
        self.asking.reporter.log(format!("not up yet: {error}"));
        tokio::time::sleep(self.next_pause().min(rest)).await;
        Ok(())
    }

    /// Waits a while after somebody said that they can't.
    async fn after(&mut self, error: &ApiError) {
        self.asking.reporter.log(format!("asked again: {error}"));
        tokio::time::sleep(self.next_pause()).await;
    }

    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST);
        pause
    }

    /// How long it is still waited for an older version to make way.
    fn rest_for_older(&self) -> Result<Duration, ApiError> {
        let asking = self.asking;
        let most = most_for_older(asking.model);
        let rest = most.checked_sub(self.began.elapsed()).filter(|rest| !rest.is_zero());
        let older = || ApiError::Older {
            model: asking.model.name.to_string(),
            waited: self.began.elapsed(),
        };
        rest.ok_or_else(older)
    }
}
