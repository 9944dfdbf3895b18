//! What somebody agreed to before an apply plans, and what is left of it when it plans once more.

use std::collections::BTreeSet;

use crate::step::StepId;

/// What somebody agreed to before an apply plans.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Agreed {
    /// All that the plan says.
    pub all: bool,
    /// But no more than this while it lasts, in US dollars.
    pub max_cost: Option<f64>,
    /// And no more than this a month for what stays up beyond it; where only the other is said, a month
    /// counts there.
    pub max_monthly: Option<f64>,
    /// What was allowed beside these, and may be spent by what the same apply has begun.
    pub spent: f64,
}

/// The most that each step of a plan can cost.
#[derive(Debug, Default)]
pub struct Bounds {
    /// While it runs, in US dollars.
    pub steps: Vec<(StepId, f64)>,
    /// A month, for what it newly leaves up, in US dollars.
    pub left_up: Vec<(StepId, f64)>,
}

impl Agreed {
    /// What is left for another round of the same apply, of whose plan these steps were begun: each may have
    /// cost all that it can.
    #[must_use]
    pub fn after(self, bounds: &Bounds, begun: &BTreeSet<StepId>) -> Self {
        let of = |all: &[(StepId, f64)]| -> f64 {
            all.iter().filter(|(step, _)| begun.contains(step)).map(|(_, dollars)| dollars).sum()
        };
        let (cost, monthly) = (of(&bounds.steps), of(&bounds.left_up));
        let less = |allowed: Option<f64>, by: f64| allowed.map(|allowed| (allowed - by).max(0.0));
        let spent = self.spent + cost + monthly;
        match self.max_monthly {
            Some(_) => Self {
                max_cost: less(self.max_cost, cost),
                max_monthly: less(self.max_monthly, monthly),
                spent,
                ..self
            },
            None => Self { max_cost: less(self.max_cost, cost + monthly), spent, ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_apply_has_begun_is_off_what_it_may_spend_when_it_plans_again() {
        let [one, two] = ["one", "two"].map(StepId::deploy);
        let bounds = Bounds {
            steps: vec![(one.clone(), 2.0), (two.clone(), 40.0)],
            left_up: vec![(one.clone(), 300.0)],
        };
        let agreed = Agreed { all: true, max_cost: Some(5.0), ..Agreed::default() };
        assert_eq!(agreed.after(&bounds, &BTreeSet::new()), agreed, "nothing was begun");
        let begun = BTreeSet::from([one]);
        // A month counts there, where nothing else is said.
        let left = agreed.after(&bounds, &begun);
        assert_eq!((left.max_cost, left.max_monthly, left.spent), (Some(0.0), None, 302.0));
        let left = Agreed { max_monthly: Some(1000.0), ..agreed }.after(&bounds, &begun);
        assert_eq!((left.max_cost, left.max_monthly), (Some(3.0), Some(700.0)));
        // Once more: of what is left.
        let left = left.after(&bounds, &begun);
        assert_eq!((left.max_cost, left.max_monthly), (Some(1.0), Some(400.0)));
        assert_eq!(left.after(&bounds, &BTreeSet::from([two])).max_cost, Some(0.0));
        let unbounded = Agreed { all: true, ..Agreed::default() };
        assert_eq!(unbounded.after(&bounds, &begun).max_cost, None);
    }
}
