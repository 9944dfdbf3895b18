//! What is taken for granted of a target, tried out there with a model that is deployed.

use std::time::Duration;

use miette::{Diagnostic, Report};
use thiserror::Error;

use super::consent::NotAgreed;
use super::open::{self, Site};
use super::test::facts;
use super::{Frontend, Work};
use crate::event::Cancelled;
use crate::exec::Interrupt;
use crate::step::Fact;
use crate::steps;
use crate::targets::{Assumption, Shown, Trials};

/// How often an interruption is looked for.
const GLANCE: Duration = Duration::from_millis(100);

/// It can't be begun.
#[derive(Debug, Error, Diagnostic)]
enum NotTried {
    /// The model's target is known well enough.
    #[error("{model} is served on {target}, of which nothing is taken for granted")]
    #[diagnostic(code(goatbuild::usage::no_trial), help("name a model that is served elsewhere"))]
    Nothing {
        /// The model.
        model: String,
        /// The target.
        target: String,
    },
    /// There is no such row.
    #[error("there is no row `{row}`")]
    #[diagnostic(code(goatbuild::usage::no_row), help("the rows are {}", rows.join(", ")))]
    NoRow {
        /// What was asked for.
        row: String,
        /// What there is.
        rows: Vec<&'static str>,
    },
    /// Nobody has said what a replica costs.
    #[error("what {model} costs by the hour is not known")]
    #[diagnostic(
        code(goatbuild::plan::no_price),
        help("`[gpu]` in goatbuild.toml has the prices by the hour. Nothing was tried")
    )]
    NoPrice {
        /// The model.
        model: String,
    },
}

/// What is to be tried.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The model: deployed, and asked once.
    pub model: &'a str,
    /// The rows; all without any.
    pub rows: &'a [String],
    /// The most that it may cost, in US dollars.
    pub max_cost: f64,
}

/// Tries out what is taken for granted of the target of a model; `tell` hears of each row as it is
/// settled. Says whether nothing turned out to be otherwise.
pub async fn try_out(
    site: &Site,
    frontend: &dyn Frontend,
    wanted: &Wanted<'_>,
    tell: &dyn Fn(&Assumption, &Shown),
    interrupt: &Interrupt,
) -> Result<bool, Report> {
    let (workspace, model) = open::model(site, frontend, wanted.model)?;
    let name = wanted.model;
    let target = workspace.targets.of(&model);
    let Some(trials) = target.trials() else {
        let (model, target) = (name.to_owned(), target.name().to_owned());
        return Err(NotTried::Nothing { model, target }.into());
    };
    let chosen = chosen(trials, wanted.rows)?;
    target.check(&[format!("trial of {name}")]).await?;
    target.look().await?;
    let asks = chosen.iter().any(|row| row.of_model);
    if asks {
        let planned = target.plan_model(&model);
        let no_price = || NotTried::NoPrice { model: name.to_owned() };
        let price = target.most_per_hour(&model).ok_or_else(no_price)?;
        let price = price.times(planned.replicas_asked());
        let most = price.dollars(steps::asking(&model));
        if most > wanted.max_cost {
            let steps = vec![format!("asking {name} ${most:.2}")];
            return Err(
                NotAgreed::Cost { most, allowed: wanted.max_cost, spent: 0.0, steps }.into()
            );
        }
        // Whether it is there is known before anything is tried.
        facts(name, target.observe_deployment(name))?;
    }
    let mut all_held = true;
    let mut asked = false;
    let tried = async {
        for row in chosen {
            if row.of_model && !asked {
                frontend
                    .showing(Work::Prepares, async |reporter| {
                        reporter.message(format!("asking {name}, which starts a replica"));
                        let facts = facts(name, target.observe_deployment(name))?;
                        let (url, id) =
                            (Fact::URL.text_of(&facts), Fact::SERVED_NAME.text_of(&facts));
                        let headers = target.headers_of_deployed(&model);
                        let server = steps::server(target, &model, url, headers, None).await?;
                        server.chat(id).await?;
                        Ok::<_, Report>(())
                    })
                    .await?;
                asked = true;
            }
            let shown = frontend.showing(Work::Prepares, async |reporter| {
                reporter.message(format!("trying out {}", row.name));
                trials.try_out(row, &model, reporter).await
            });
            let shown = shown.await?;
            all_held &= shown.held != Some(false);
            tell(row, &shown);
        }
        Ok::<_, Report>(())
    };
    // Whoever interrupts waits until nothing of it is left there.
    let attended = interrupt.attend();
    let tried = tokio::select! {
        tried = tried => tried,
        () = asked_to_stop(interrupt) => Err(Cancelled.into()),
    };
    let tidied = frontend.showing(Work::Prepares, async |reporter| {
        reporter.message("removing what was tried out");
        trials.tidy(&reporter.unstoppable()).await
    });
    let tidied = tidied.await;
    drop(attended);
    tried?;
    tidied?;
    Ok(all_held)
}

async fn asked_to_stop(interrupt: &Interrupt) {
    while !interrupt.asked() {
        tokio::time::sleep(GLANCE).await;
    }
}

/// The rows that somebody wants, in the order in which they are tried.
fn chosen(trials: &dyn Trials, rows: &[String]) -> Result<Vec<&'static Assumption>, NotTried> {
    let all = trials.assumptions();
    if let Some(row) = rows.iter().find(|row| all.iter().all(|known| known.name != **row)) {
        let rows = all.iter().map(|known| known.name).collect();
        return Err(NotTried::NoRow { row: row.clone(), rows });
    }
    let is_wanted = |row: &&Assumption| rows.is_empty() || rows.iter().any(|it| it == row.name);
    Ok(all.iter().filter(is_wanted).collect())
}
