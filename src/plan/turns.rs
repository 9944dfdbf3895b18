//! One change that reaches several models which are up does so in turn: the cheapest shows first
//! whether it is any good.

use std::collections::{BTreeSet, HashMap};

use super::{Action, Plan, PlannedModel, PlannedStep, ReasonKind, UsdPerHour};
use crate::step::StepId;

/// What a deployment is replaced for, as far as others can be for the same.
type Causes<'a> = BTreeSet<(&'a str, &'a str, &'a str)>;

impl Plan {
    /// Has the deployments of models that are up, by `is_up`, go one after the other as far as they have a
    /// cause in common: the cheapest first, each once the one before was tried out.
    pub fn take_turns(&mut self, is_up: impl Fn(&str) -> bool) {
        let steps: HashMap<&StepId, &PlannedStep> =
            self.steps.iter().map(|step| (&step.id, step)).collect();
        let prices: HashMap<&str, UsdPerHour> =
            self.models.iter().map(|planned| (planned.model.as_str(), price(planned))).collect();
        let price_of =
            |model: &str| prices.get(model).copied().unwrap_or(UsdPerHour::new(f64::MAX));
        // The step that tells whether a model's deployment is any good.
        let tried = |model: &str| {
            let smoke = StepId::smoke(model);
            if steps.contains_key(&smoke) { smoke } else { StepId::deploy(model) }
        };
        let mut models: Vec<(UsdPerHour, &str)> = self
            .steps
            .iter()
            .filter(|step| step.kind.serves())
            .filter(|step| matches!(step.action, Action::Run | Action::Pending))
            .filter_map(|step| step.models.first())
            .filter(|model| is_up(model))
            .map(|model| (price_of(model), model.as_str()))
            .collect();
        models.sort_unstable();
        let mut turns: HashMap<StepId, Vec<StepId>> = HashMap::new();
        // Those that have gone, by what they have in common.
        let mut groups: Vec<(Causes<'_>, &str)> = Vec::new();
        for (_, model) in models {
            let id = StepId::deploy(model);
            let mut causes = steps.get(&id).map(|step| causes(step)).unwrap_or_default();
            let (related, others): (Vec<_>, Vec<_>) =
                groups.into_iter().partition(|(known, _)| !known.is_disjoint(&causes));
            groups = others;
            for (known, last) in related {
                causes.extend(known);
                turns.entry(id.clone()).or_default().push(tried(last));
            }
            groups.push((causes, model));
        }
        for step in &mut self.steps {
            step.after.extend(turns.remove(&step.id).into_iter().flatten());
        }
    }
}

/// What one replica costs; where nobody knows it, more than anything.
fn price(planned: &PlannedModel) -> UsdPerHour {
    match planned {
        PlannedModel { usd_per_hour: Some(price), .. } => *price,
        PlannedModel { gpu: None, .. } => UsdPerHour::default(),
        PlannedModel { .. } => UsdPerHour::new(f64::MAX),
    }
}

fn causes(step: &PlannedStep) -> Causes<'_> {
    let shared = |kind| matches!(kind, ReasonKind::Changed | ReasonKind::Input);
    let reasons = step.reasons.iter().filter(|reason| shared(reason.kind));
    reasons
        .map(|it| (text(it.field.as_ref()), text(it.old.as_ref()), text(it.new.as_ref())))
        .collect()
}

fn text(value: Option<&String>) -> &str {
    value.map(String::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Reason, StepKind};
    use crate::step::{At, Facts};

    fn planned(kind: StepKind, id: StepId, model: &str, reasons: Vec<Reason>) -> PlannedStep {
        PlannedStep {
            id,
            kind,
            at: At::Target,
            engine: None,
            errand: std::time::Duration::ZERO,
            models: vec![model.to_owned()],
            action: Action::Run,
            observed: true,
            key: None,
            reasons,
            inputs: Vec::new(),
            after: Vec::new(),
            note: None,
            held: None,
            facts: Facts::new(),
        }
    }

    fn changed(field: &str, new: &str) -> Reason {
        let new = Some(new.to_owned());
        Reason { new, ..Reason::about(ReasonKind::Changed, field) }
    }

    /// A plan of models, each with its price, and what it is deployed for.
    fn plan(models: &[(&str, Option<f64>, Vec<Reason>)]) -> Plan {
        let mut plan = Plan::default();
        for (model, price, reasons) in models {
            let (deploy, smoke) = (StepId::deploy(model), StepId::smoke(model));
            plan.steps.push(planned(StepKind::Deploy, deploy, model, reasons.clone()));
            plan.steps.push(planned(StepKind::Smoke, smoke, model, Vec::new()));
            plan.models.push(PlannedModel {
                model: (*model).to_owned(),
                target: "modal".to_owned(),
                app: None,
                url: None,
                gpu: Some("H100".to_owned()),
                gpu_count: 1,
                usd_per_hour: price.map(UsdPerHour::new),
                always_on: None,
                in_reserve: 0,
                notes: Vec::new(),
            });
        }
        plan
    }

    fn turns(plan: &Plan) -> Vec<(&str, Vec<&str>)> {
        let deploys = plan.steps.iter().filter(|step| !step.after.is_empty());
        let after = |step: &PlannedStep| step.after.iter().map(|it| it.name().to_owned()).collect();
        let told = deploys.map(|step| (step.id.name(), after(step)));
        let told: Vec<(&str, Vec<String>)> = told.collect();
        let leak = |names: Vec<String>| names.into_iter().map(|it| &*it.leak()).collect();
        told.into_iter().map(|(name, after)| (name, leak(after))).collect()
    }

    #[test]
    fn the_cheapest_goes_first_and_names_break_ties() {
        let image = || vec![changed("image", "sha256:2")];
        let mut plan = plan(&[
            ("unknown", None, image()),
            ("big", Some(18.0), image()),
            ("b", Some(1.1), image()),
            ("a", Some(1.1), image()),
        ]);
        plan.take_turns(|_| true);
        assert_eq!(turns(&plan), [("unknown", vec!["big"]), ("big", vec!["b"]), ("b", vec!["a"])]);
        assert_eq!(plan.get(&StepId::deploy("b")).unwrap().after, [StepId::smoke("a")]);
    }

    #[test]
    fn what_has_nothing_in_common_or_is_not_up_waits_for_nobody() {
        let both = vec![changed("image", "sha256:2"), changed("serve.max-inputs", "8")];
        let mut plan = plan(&[
            ("a", Some(1.0), vec![changed("image", "sha256:2")]),
            ("b", Some(2.0), vec![changed("serve.max-inputs", "8")]),
            ("c", Some(3.0), vec![changed("serve.max-inputs", "9")]),
            ("d", Some(4.0), both.clone()),
            ("e", Some(5.0), vec![changed("image", "sha256:2")]),
            ("new", Some(0.5), both),
        ]);
        plan.take_turns(|model| model != "new");
        // What two changes have in common goes behind both.
        assert_eq!(turns(&plan), [("d", vec!["a", "b"]), ("e", vec!["d"])]);
    }

    #[test]
    fn what_is_not_known_yet_is_a_cause_in_common() {
        let input = || vec![Reason::about(ReasonKind::Input, "image:one")];
        let mut plan = plan(&[("a", Some(2.0), input()), ("b", Some(1.0), input())]);
        plan.steps.retain(|step| step.id != StepId::smoke("b"));
        plan.take_turns(|_| true);
        assert_eq!(plan.get(&StepId::deploy("a")).unwrap().after, [StepId::deploy("b")]);
    }
}
