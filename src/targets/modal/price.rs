//! What Modal bills for, beside GPUs: a machine's processor and memory, and where it is.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Modal;
use crate::fingerprint::Fingerprint;
use crate::lock::LockedPrices;
use crate::plan::{AlwaysOn, UsdPerHour};
use crate::spec::{Fields, Gpu, Model, Reserved};

/// What Modal reserves where nobody says how much; it bills what is reserved or used, whichever is
/// more (its guide on CPU, memory and disk, read in November 2026).
const DEFAULT: Reserved = Reserved { milli_cpu: Some(125), memory_mib: Some(128) };

/// What the function that fetches weights reserves, as `runtime/weights.py` says, which also holds it to so many
/// cores.
const FETCHING: Reserved = Reserved { milli_cpu: Some(4000), memory_mib: Some(4096) };

/// The cores that a replica may use beyond what it reserves: "a default soft CPU limit that is set at 16 physical
/// cores above the CPU request", above which the host throttles (Modal's guide on CPU, memory and disk). Memory has
/// no such limit.
const BURST_MILLI_CPU: u32 = 16_000;

/// How long an image is taken to be built at most. Modal tells neither a limit nor what a build is
/// given: an assumption, with what a function has that fetches.
pub(super) const BUILD: Duration = Duration::from_secs(60 * 60);

/// The longest that Modal lets a function run.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The slowest that weights may come, in bytes per second: a hundredth of what is usual.
const SLOWEST: u64 = 10_000_000;

/// What a fetch may take besides: it hashes what is there already.
const BESIDE: Duration = Duration::from_secs(30 * 60);

/// The longest that a fetch of so many bytes may take; what has come is kept, and the next one goes on
/// with it. As long as Modal allows where nobody knows how many.
pub(super) fn time_to_fetch(bytes: Option<u64>) -> Duration {
    let Some(bytes) = bytes else { return LONGEST };
    (BESIDE + Duration::from_secs(bytes.div_ceil(SLOWEST))).min(LONGEST)
}

/// A physical core for an hour, and a GiB of memory for one: $0.0000131 and $0.00000222 a second
/// (modal.com/pricing as quoted on 2026-06-27).
pub(super) const CORE: f64 = 0.04716;

/// See [`CORE`].
pub(super) const MEMORY: f64 = 0.007_992;

/// A price, and whether the project's file says it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Price {
    usd_per_hour: f64,
    is_stated: bool,
}

impl Price {
    fn read(fields: &mut Fields<'_, '_, '_>, name: &'static str, listed: f64, about: &str) -> Self {
        let usd_per_hour = fields.number_or(name, listed, about);
        Self { usd_per_hour, is_stated: fields.says(name) }
    }

    fn stated(self) -> Option<f64> {
        self.is_stated.then_some(self.usd_per_hour)
    }

    /// Takes what Modal said, unless the project's file says otherwise.
    fn take(&mut self, told: Option<f64>) {
        if let Some(told) = told.filter(|_| !self.is_stated) {
            self.usd_per_hour = told;
        }
    }
}

/// What is paid beside GPUs; `[target.modal.prices]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prices {
    /// A physical core, for an hour.
    cpu: Price,
    /// A GiB of memory, for an hour.
    memory: Price,
    /// The factor of all of it in a wide region, such as `us`.
    wide_region: f64,
    /// The same in a narrow one, such as `us-east`.
    narrow_region: f64,
}

/// Takes the prices that Modal told, where the project's file says none.
pub(super) fn take(locked: &LockedPrices, gpus: &mut BTreeMap<String, Gpu>, prices: &mut Prices) {
    for (name, gpu) in gpus.iter_mut().filter(|(_, gpu)| !gpu.is_stated) {
        gpu.usd_per_hour = locked.gpu.get(name).copied().unwrap_or(gpu.usd_per_hour);
    }
    prices.cpu.take(locked.cpu);
    prices.memory.take(locked.memory);
}

impl Prices {
    /// As files say it. The defaults are Modal's, with the factors of its guide on regions.
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Self {
        let about = "What Modal bills beside GPUs, in US dollars. Prices change no key.";
        fields.table("prices", about, |fields| Self {
            cpu: Price::read(fields, "cpu", CORE, "One physical core for one hour."),
            memory: Price::read(fields, "memory", MEMORY, "One GiB of memory for one hour."),
            wide_region: fields.number_or(
                "wide-region",
                1.5,
                "The factor of all prices where `region` is a wide one, such as `us`.",
            ),
            narrow_region: fields.number_or(
                "narrow-region",
                1.75,
                "The factor of all prices where `region` is a narrow one, such as `us-east`.",
            ),
        })
    }

    /// What the project's file says of a core.
    pub(super) fn stated_core(self) -> Option<f64> {
        self.cpu.stated()
    }

    /// What it says of a GiB of memory.
    pub(super) fn stated_memory(self) -> Option<f64> {
        self.memory.stated()
    }

    /// So much of a machine.
    fn of(self, reserved: Reserved) -> UsdPerHour {
        let cores = self.cpu.usd_per_hour * reserved.cores().unwrap_or_default();
        UsdPerHour::new(cores + self.memory.usd_per_hour * reserved.gib().unwrap_or_default())
    }

    fn factor(self, region: Option<&str>) -> f64 {
        match region {
            None => 1.0,
            Some(region) if region.contains('-') => self.narrow_region,
            Some(_) => self.wide_region,
        }
    }
}

/// What a replica is made with that is paid for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Paid<'a> {
    /// Which GPUs, and how many.
    pub(super) gpu: Option<(&'a str, u32)>,
    pub(super) reserved: Reserved,
    pub(super) region: Option<&'a str>,
}

impl<'a> Paid<'a> {
    pub(super) fn of(model: &'a Model, region: Option<&'a str>) -> Self {
        Self {
            gpu: model.hardware.as_ref().map(|it| (it.gpu.as_str(), it.count)),
            reserved: model.reserved,
            region,
        }
    }

    /// The same of what is deployed; none of what somebody else did, of which nothing is known.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was in range")]
    pub(super) fn of_applied(applied: &'a Fingerprint) -> Option<Self> {
        // Every deployment of goatbuild's says it.
        applied.get("serve.max-inputs")?;
        let number = |field| applied.get(field)?.parse::<f64>().ok();
        let parts = |field, parts: f64| Some((number(field)? * parts).round() as u32);
        let count = || applied.get("hardware.count")?.parse().ok();
        Some(Self {
            gpu: applied.get("hardware.gpu").map(|gpu| (gpu, count().unwrap_or(1))),
            reserved: Reserved {
                milli_cpu: parts("hardware.cpu", 1000.0),
                memory_mib: parts("hardware.memory", 1024.0),
            },
            region: applied.get("serve.region"),
        })
    }
}

impl Modal {
    /// The price of one replica; none where that of its GPU isn't known. What is used beyond what is
    /// reserved is billed too, and nobody knows how much that will be: beside a GPU, it is what a spec
    /// reserves that counts.
    pub(super) fn price(&self, paid: Paid<'_>) -> Option<UsdPerHour> {
        let Paid { gpu, reserved, region } = paid;
        let (gpu, reserved) = if let Some((gpu, count)) = gpu {
            (UsdPerHour::new(self.gpus.get(gpu)?.usd_per_hour).times(count), reserved)
        } else {
            let reserved = Reserved {
                milli_cpu: reserved.milli_cpu.or(DEFAULT.milli_cpu),
                memory_mib: reserved.memory_mib.or(DEFAULT.memory_mib),
            };
            (UsdPerHour::default(), reserved)
        };
        let prices = self.settings.prices;
        let whole: UsdPerHour = [gpu, prices.of(reserved)].into_iter().sum();
        Some(whole.by(prices.factor(region)))
    }

    /// The most that one replica is billed: its GPU, all the cores that Modal lets it use, and the memory that it
    /// reserves.
    pub(super) fn most(&self, paid: Paid<'_>) -> Option<UsdPerHour> {
        let Reserved { milli_cpu, memory_mib } = paid.reserved;
        let milli_cpu = milli_cpu.or(DEFAULT.milli_cpu).map(|it| it + BURST_MILLI_CPU);
        let reserved = Reserved { milli_cpu, memory_mib: memory_mib.or(DEFAULT.memory_mib) };
        self.price(Paid { reserved, ..paid })
    }

    /// The price of a function without a GPU that prepares something.
    pub(super) fn price_of_errand(&self) -> UsdPerHour {
        self.settings.prices.of(FETCHING)
    }

    /// What so many replicas cost that stay up.
    pub(super) fn always_on(replicas: u32, price: Option<UsdPerHour>) -> Option<AlwaysOn> {
        let usd_per_month = price.unwrap_or_default().times(replicas).by_the_month();
        (replicas > 0).then_some(AlwaysOn { replicas, usd_per_month })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICES: Prices = Prices {
        cpu: Price { usd_per_hour: CORE, is_stated: false },
        memory: Price { usd_per_hour: MEMORY, is_stated: false },
        wide_region: 1.5,
        narrow_region: 1.75,
    };

    #[test]
    fn a_fetch_has_as_long_as_its_bytes_may_take_and_never_longer_than_a_function() {
        let hours = |bytes| time_to_fetch(bytes).as_secs_f64() / 3600.0;
        assert!((hours(Some(0)) - 0.5).abs() < 1e-9);
        // 16 GB, as eight billion parameters have: 27 minutes at 10 MB/s.
        assert!((0.9..1.0).contains(&hours(Some(16_000_000_000))));
        assert!((hours(Some(10_u64.pow(13))) - 24.0).abs() < 1e-9);
        assert!((hours(None) - 24.0).abs() < 1e-9);
    }

    #[test]
    fn a_region_multiplies_what_a_machine_costs() {
        // The example of Modal's guide: `us-west` is a narrow region, and 1.75 times as dear.
        let reserved = Reserved { milli_cpu: Some(1000), memory_mib: Some(1024) };
        let price = PRICES.of(reserved);
        assert_eq!(price, UsdPerHour::new(0.055_152));
        assert_eq!(price.by(PRICES.factor(Some("us-west"))), UsdPerHour::new(0.096_516));
        assert_eq!(price.by(PRICES.factor(Some("us"))), UsdPerHour::new(0.082_728));
        assert_eq!(price.by(PRICES.factor(None)), price);
    }

    #[test]
    fn what_files_say_wins_over_what_modal_told_and_that_over_the_list() {
        let gpu = |usd_per_hour, is_stated| Gpu { vram_gib: 80.0, usd_per_hour, is_stated };
        let named = |(name, gpu): (&str, Gpu)| (name.to_owned(), gpu);
        let known =
            [("H100", gpu(3.0, true)), ("H200", gpu(4.54, false)), ("T4", gpu(0.59, false))];
        let mut gpus: BTreeMap<String, Gpu> = known.map(named).into();
        let mut prices = PRICES;
        prices.memory = Price { usd_per_hour: 0.01, is_stated: true };
        let locked = LockedPrices {
            asked: "2026-11-30T00:00:00Z".to_owned(),
            cpu: Some(0.05),
            memory: Some(0.02),
            gpu: [("H100".to_owned(), 4.0), ("H200".to_owned(), 5.0)].into(),
        };
        take(&locked, &mut gpus, &mut prices);
        let usd: Vec<f64> = gpus.values().map(|gpu| gpu.usd_per_hour).collect();
        assert_eq!(usd, [3.0, 5.0, 0.59]);
        let beside = (prices.cpu.usd_per_hour, prices.memory.usd_per_hour);
        assert_eq!(beside, (0.05, 0.01));
    }

    #[test]
    fn what_is_deployed_is_paid_for_as_it_was_described() {
        let mut applied = Fingerprint::new("deploy", 2);
        applied
            .field("hardware.gpu", "H100")
            .field("hardware.count", 2)
            .optional("hardware.cpu", Some(8.5))
            .optional("hardware.memory", Some(0.5))
            .field("serve.max-inputs", 32)
            .field("serve.region", "eu");
        let paid = Paid::of_applied(&applied).unwrap();
        assert_eq!((paid.gpu, paid.region), (Some(("H100", 2)), Some("eu")));
        let reserved = Reserved { milli_cpu: Some(8500), memory_mib: Some(512) };
        assert_eq!(paid.reserved, reserved);
        let mut by_hand = Fingerprint::new("made by hand", 1);
        by_hand.field("serve.auth", "none");
        assert!(Paid::of_applied(&by_hand).is_none(), "nobody knows what it runs on");
    }
}
