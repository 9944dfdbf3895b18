//! Where a model of a plan is served, and for how much.

use std::fmt;
use std::iter::Sum;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The hours of a month: a year of 365 days has twelve of them.
const HOURS_OF_A_MONTH: u64 = 730;

/// A price for one hour, in millionths of a US dollar: exact, so that totals add up, and fine enough
/// for a GiB of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsdPerHour(u64);

impl UsdPerHour {
    /// The price that a project's file states in dollars; millionths are the last that counts.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    pub fn new(dollars: f64) -> Self {
        Self((dollars * 1e6).round().clamp(0.0, 1e12) as u64)
    }

    /// What so much time costs, in dollars.
    pub fn dollars(self, time: Duration) -> f64 {
        self.of_an_hour() * time.as_secs_f64() / 3600.0
    }

    #[expect(clippy::cast_precision_loss, reason = "far below what a double holds exactly")]
    fn of_an_hour(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The price of so many.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self(self.0.saturating_mul(u64::from(count)))
    }

    /// The price of a part, or of a whole and a part.
    #[must_use]
    pub fn by(self, factor: f64) -> Self {
        Self::new(self.of_an_hour() * factor)
    }

    /// What never stopping costs.
    pub fn by_the_month(self) -> UsdPerMonth {
        UsdPerMonth(self.0.saturating_mul(HOURS_OF_A_MONTH))
    }
}

/// A price for 730 hours, in millionths of a US dollar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsdPerMonth(u64);

impl UsdPerMonth {
    /// The same in dollars.
    #[expect(clippy::cast_precision_loss, reason = "far below what a double holds exactly")]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// How much more it is than another one.
    #[must_use]
    pub fn beyond(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for UsdPerMonth {
    fn sum<I: Iterator<Item = Self>>(prices: I) -> Self {
        Self(prices.map(|price| price.0).sum())
    }
}

impl fmt::Display for UsdPerMonth {
    /// Whole dollars: `$6,570`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = ((self.0 + 500_000) / 1_000_000).to_string();
        let mut text = String::from("$");
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        formatter.pad(&text)
    }
}

impl Serialize for UsdPerMonth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.dollars())
    }
}

impl<'de> Deserialize<'de> for UsdPerMonth {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let dollars = f64::deserialize(deserializer)?;
        Ok(Self((dollars * 1e6).round().clamp(0.0, 1e15) as u64))
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
        let thousandths = (self.0 + 500) / 1000;
        let (dollars, rest) = (thousandths / 1000, thousandths % 1000);
        let text = match rest % 10 {
            0 => format!("${dollars}.{:02}", rest / 10),
            _ => format!("${dollars}.{rest:03}"),
        };
        formatter.pad(&text)
    }
}

impl Serialize for UsdPerHour {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.of_an_hour())
    }
}

impl<'de> Deserialize<'de> for UsdPerHour {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self::new)
    }
}

/// Replicas that stay up though nobody asks anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlwaysOn {
    /// How many.
    pub replicas: u32,
    /// What all of them cost together.
    pub usd_per_month: UsdPerMonth,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(count: &u32) -> bool {
    *count == 0
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
    /// The replicas that stay up though nobody asks anything, where any do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub always_on: Option<AlwaysOn>,
    /// As many more replicas than are busy are up while somebody asks.
    #[serde(default, skip_serializing_if = "is_none")]
    pub in_reserve: u32,
    /// What else people should know of it.
    pub notes: Vec<String>,
}

impl PlannedModel {
    /// How many replicas are up, at most, while one request is answered.
    pub fn replicas_asked(&self) -> u32 {
        let always = self.always_on.map_or(0, |it| it.replicas);
        always.max(1).saturating_add(self.in_reserve)
    }

    /// The accelerators of so many replicas: `2 × H100`, or `2 × 4 H100`.
    pub fn accelerators_of(&self, replicas: u32) -> String {
        match (&self.gpu, self.gpu_count) {
            (None, _) if replicas == 1 => "1 replica".to_owned(),
            (None, _) => format!("{replicas} replicas"),
            (Some(gpu), 1) => format!("{replicas} × {gpu}"),
            (Some(gpu), count) => format!("{replicas} × {count} {gpu}"),
        }
    }

    /// What stays up, for people: `2 × H100 ≈ $6,570 a month`.
    pub fn told_always_on(&self) -> Option<String> {
        let AlwaysOn { replicas, usd_per_month } = self.always_on?;
        Some(format!("{} ≈ {usd_per_month} a month", self.accelerators_of(replicas)))
    }
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
    fn a_month_has_730_hours_and_what_costs_little_by_the_hour_is_not_lost() {
        let h100 = UsdPerHour::new(4.5);
        assert_eq!(h100.times(2).by_the_month().to_string(), "$6,570");
        assert_eq!(h100.by_the_month().beyond(h100.times(2).by_the_month()).to_string(), "$0");
        // 64 GiB at Modal's price of one: 64 times a rounded thousandth would be $0.512.
        assert_eq!(UsdPerHour::new(0.007_992).by(64.0), UsdPerHour::new(0.511_488));
        let much = UsdPerHour::new(1400.0).by_the_month();
        assert_eq!(much.to_string(), "$1,022,000");
        let read: UsdPerMonth =
            serde_json::from_str(&serde_json::to_string(&much).unwrap()).unwrap();
        assert_eq!(read, much);
    }

    #[test]
    fn a_price_that_is_none_costs_nothing() {
        assert_eq!(UsdPerHour::new(-1.0), UsdPerHour::default());
        assert_eq!(UsdPerHour::new(f64::NAN).to_string(), "$0.00");
    }
}
