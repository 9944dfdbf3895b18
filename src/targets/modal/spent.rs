//! What was spent at Modal today, by its bill and by what is up.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::price::Paid;
use super::serve::understood;
use super::spec::{CANDIDATE, Replicas};
use super::{Modal, ModalError};
use crate::clock::written;
use crate::event::Reporter;
use crate::plan::UsdPerHour;
use crate::step::StepError;
use crate::targets::{Bills, Running, Spent};

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;

/// What the driver tells.
#[derive(Deserialize)]
struct Told {
    /// Seconds since 1970, as the others.
    now: f64,
    running: Vec<Task>,
    bill: Option<Vec<Billed>>,
    refused: Option<String>,
}

#[derive(Deserialize)]
struct Task {
    app: String,
    /// 0 for one that hasn't started yet.
    since: f64,
}

#[derive(Deserialize)]
struct Billed {
    usd: String,
}

/// The replicas of an app.
#[derive(Default)]
struct Up {
    replicas: u32,
    since: f64,
    /// Seconds since midnight, of all replicas together.
    today: f64,
    /// Seconds since the last whole hour, which no bill has yet.
    unbilled: f64,
}

#[async_trait]
impl Bills for Modal {
    async fn spent(&self) -> Result<Spent, StepError> {
        if !self.credentials.are_there() {
            return Err(ModalError::NoCredentials { what: vec!["what was spent".into()] }.into());
        }
        let reporter = Reporter::silent();
        let answer = self.client.call("what was spent", "spent", json!({}), &reporter).await?;
        let told: Told = understood(answer)?;
        let place = format!("Modal's environment {}", self.settings.environment);
        let of_app = |app: &str| {
            let model = self.model_of(app);
            let price = model.as_deref().and_then(|model| self.price_of_deployed(model));
            (model, price)
        };
        Ok(told.sum(place, of_app))
    }
}

impl Told {
    /// Adds it up, with the model of each app and the price of a replica of it.
    fn sum(
        self,
        place: String,
        of_app: impl Fn(&str) -> (Option<String>, Option<UsdPerHour>),
    ) -> Spent {
        let Self { now, running, bill, refused } = self;
        let mut apps: BTreeMap<String, Up> = BTreeMap::new();
        for Task { app, since } in running {
            let since = if since > 0.0 { since.min(now) } else { now };
            let up = apps.entry(app).or_default();
            up.since = if up.replicas == 0 { since } else { up.since.min(since) };
            up.replicas += 1;
            up.today += now - since.max(now - now % DAY);
            up.unbilled += now - since.max(now - now % HOUR);
        }
        let (mut today, mut unbilled) = (0.0, 0.0);
        let mut running = Vec::new();
        for (app, up) in apps {
            let (model, price) = of_app(&app);
            let cost = |seconds: f64| {
                price.map_or(0.0, |it| it.dollars(Duration::from_secs_f64(seconds.max(0.0))))
            };
            let usd = cost(up.today);
            today += usd;
            unbilled += cost(up.unbilled);
            running.push(Running {
                app,
                model,
                replicas: up.replicas,
                since: written(up.since),
                usd_per_hour: price.map(|price| price.times(up.replicas)),
                usd,
            });
        }
        running.sort_by(|one, other| other.usd.total_cmp(&one.usd));
        let dollars = |row: &Billed| row.usd.parse::<f64>().unwrap_or_default();
        let billed = bill.map(|rows| rows.iter().map(dollars).fold(0.0, |sum, usd| sum + usd));
        let billed = billed.ok_or_else(|| refused.unwrap_or_default());
        let known = billed.as_ref().map_or(0.0, |billed| billed + unbilled);
        Spent { place, billed, running, usd: known.max(today) }
    }
}

impl Modal {
    /// The model that an app serves, or tries out.
    fn model_of(&self, app: &str) -> Option<String> {
        let name = app.strip_prefix(&self.app_prefix)?;
        let is_ours = |model: &str| {
            self.specs.contains_key(model) || self.kept(|kept| kept.deployments.contains_key(model))
        };
        let names = [Some(name), name.strip_suffix(CANDIDATE)];
        names.into_iter().flatten().find(|model| is_ours(model)).map(str::to_owned)
    }

    /// What a replica costs of what is deployed of a model; as its spec has it where nothing is kept.
    fn price_of_deployed(&self, model: &str) -> Option<UsdPerHour> {
        if let Some(deployed) = self.deployed(model) {
            return self.price(Paid::of_applied(&deployed.applied)?);
        }
        let spec = self.specs.get(model)?;
        let replicas: &Replicas = spec.serve.own.get();
        self.price(Paid::of(spec, replicas.region.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 13:30 of some day.
    const NOW: f64 = 20_000.0 * DAY + 13.5 * HOUR;

    fn spent(running: &[(&str, f64)], bill: Option<&[&str]>) -> Spent {
        let running =
            running.iter().map(|(app, since)| Task { app: (*app).to_owned(), since: *since });
        let bill =
            bill.map(|rows| rows.iter().map(|usd| Billed { usd: (*usd).to_owned() }).collect());
        let told =
            Told { now: NOW, running: running.collect(), bill, refused: Some("no".to_owned()) };
        told.sum("here".to_owned(), |app| match app {
            "m" => (Some("m".to_owned()), Some(UsdPerHour::new(4.0))),
            _ => (None, None),
        })
    }

    #[test]
    fn what_runs_in_an_hour_that_is_not_over_is_added_to_the_bill() {
        // Up for an hour and a half, of which the bill has one.
        let told = spent(&[("m", NOW - 1.5 * HOUR)], Some(&["4.00", "10.50"]));
        assert!((told.usd - 16.5).abs() < 1e-6, "{told:?}");
        assert_eq!(told.billed, Ok(14.5));
        // A bill that comes late is not waited for.
        let told = spent(&[("m", NOW - 1.5 * HOUR)], Some(&[]));
        assert!((told.usd - 6.0).abs() < 1e-6, "{told:?}");
    }

    #[test]
    fn without_a_bill_what_is_up_counts_from_midnight_by_each_replica() {
        let told = spent(&[("m", NOW - 3.0 * DAY), ("m", NOW - HOUR), ("x", NOW - HOUR)], None);
        assert_eq!(told.billed, Err("no".to_owned()));
        assert!((told.usd - 4.0 * 14.5).abs() < 1e-6, "{told:?}");
        let [first, second] = &told.running[..] else { panic!("{told:?}") };
        assert_eq!((first.app.as_str(), first.replicas), ("m", 2));
        assert_eq!(first.since, written(NOW - 3.0 * DAY));
        assert_eq!(first.usd_per_hour, Some(UsdPerHour::new(8.0)));
        assert_eq!((second.app.as_str(), second.usd_per_hour), ("x", None));
    }

    #[test]
    fn what_has_not_started_yet_costs_nothing_yet() {
        let told = spent(&[("m", 0.0)], None);
        assert!(told.usd.abs() < 1e-6, "{told:?}");
        assert_eq!(told.running[0].replicas, 1);
    }
}
