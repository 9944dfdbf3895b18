//! Where a model of a plan is served, and for how much.

use std::fmt;
use std::iter::Sum;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A price for one hour, in thousandths of a US dollar: exact, so that totals add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsdPerHour(u64);

impl UsdPerHour {
    /// The price that a project's file states in dollars; thousandths are the last that counts.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    pub fn new(dollars: f64) -> Self {
        Self((dollars * 1000.0).round().clamp(0.0, 1e12) as u64)
    }

    /// What so much time costs, in dollars.
    #[expect(clippy::cast_precision_loss, reason = "far below what a double holds exactly")]
    pub fn dollars(self, time: Duration) -> f64 {
        self.0 as f64 / 1000.0 * time.as_secs_f64() / 3600.0
    }

    /// The price of so many.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self(self.0 * u64::from(count))
    }
}

impl Sum for UsdPerHour {
    fn sum<I: Iterator<Item = Self>>(prices: I) -> Self {
        Self(prices.map(|price| price.0).sum())
    }
}

impl fmt::Display for UsdPerHour {
    /// Dollars and cents, with thousandths only where there are any: `$4.50`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, rest) = (self.0 / 1000, self.0 % 1000);
        let text = match rest % 10 {
            0 => format!("${dollars}.{:02}", rest / 10),
            _ => format!("${dollars}.{rest:03}"),
        };
        formatter.pad(&text)
    }
}

impl Serialize for UsdPerHour {
    #[expect(clippy::cast_precision_loss, reason = "far below what a double holds exactly")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 1000.0)
    }
}

impl<'de> Deserialize<'de> for UsdPerHour {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self::new)
    }
}

/// One model of a plan, as its target will serve it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedModel {
    /// The model.
    pub model: String,
    /// The target's name.
    pub target: String,
    /// What the target calls it; none where the target has no such names.
    pub app: Option<String>,
    /// Where it will answer, as far as that is known.
    pub url: Option<String>,
    /// The GPU of one replica; none for a model without.
    pub gpu: Option<String>,
    /// How many of them one replica has.
    pub gpu_count: u32,
    /// What one replica costs while it is up; none where nothing is billed.
    pub usd_per_hour: Option<UsdPerHour>,
    /// What else people should know of it.
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_add_up_exactly_and_read_like_prices() {
        let a10g = UsdPerHour::new(1.10);
        assert_eq!(a10g.to_string(), "$1.10");
        let sum: UsdPerHour = [a10g, a10g, a10g, UsdPerHour::new(4.5).times(4)].into_iter().sum();
        assert_eq!(sum.to_string(), "$21.30");
        assert_eq!(UsdPerHour::new(0.625).to_string(), "$0.625");
        assert_eq!(format!("{a10g:>8}"), "   $1.10");
        assert_eq!(serde_json::to_string(&sum).unwrap(), "21.3");
    }

    #[test]
    fn a_price_that_is_none_costs_nothing() {
        assert_eq!(UsdPerHour::new(-1.0), UsdPerHour::default());
        assert_eq!(UsdPerHour::new(f64::NAN).to_string(), "$0.00");
    }
}
