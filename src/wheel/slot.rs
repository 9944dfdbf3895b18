//! Which wheels share a layer, so that an upgrade moves little.

use std::collections::{BTreeMap, BTreeSet};

use crate::lock::pylock::normalised;

/// Into how many groups small wheels fall.
const GROUPS: usize = 32;

/// From this size on, a wheel has a layer of its own.
const LARGE: u64 = 1 << 20;

/// What decides a wheel's slot. Its version doesn't, unless its size crosses a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelRef {
    /// The distribution's name, in any spelling.
    pub name: String,
    /// Of the wheel, in bytes.
    pub size: u64,
}

/// One layer to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The distribution's normalised name, or `group-00` to `group-31`.
    pub name: String,
    /// Indices of the wheels, ascending.
    pub wheels: Vec<usize>,
}

/// Distributes wheels over at most `free_layers` slots (but at least one), sorted by name.
///
/// A large wheel has its own slot; the others fall into groups by a hash of their name. Where that
/// is too many, the smallest large wheels join groups, and only when none is left are groups
/// halved.
pub fn slots(wheels: &[WheelRef], free_layers: usize) -> Vec<Slot> {
    let names: Vec<String> = wheels.iter().map(|wheel| normalised(&wheel.name)).collect();
    let mut large: BTreeSet<(u64, &str, usize)> = wheels
        .iter()
        .zip(&names)
        .enumerate()
        .filter(|(_, (wheel, name))| wheel.size >= LARGE && !looks_like_group(name))
        .map(|(index, (wheel, name))| (wheel.size, &**name, index))
        .collect();
    let is_large: BTreeSet<usize> = large.iter().map(|(_, _, index)| *index).collect();
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, name) in names.iter().enumerate().filter(|(index, _)| !is_large.contains(index)) {
        groups.entry(group(name)).or_default().push(index);
    }
    while large.len() + groups.len() > free_layers {
        let Some((_, name, index)) = large.pop_first() else { break };
        groups.entry(group(name)).or_default().push(index);
    }
    let mut modulus = GROUPS;
    while groups.len() > free_layers.max(1) {
        modulus /= 2;
        let finer = std::mem::take(&mut groups);
        for (number, members) in finer {
            groups.entry(number % modulus).or_default().extend(members);
        }
    }
    let own = large.into_iter().map(|(_, name, index)| (name.to_owned(), vec![index]));
    let shared =
        groups.into_iter().map(|(number, members)| (format!("group-{number:02}"), members));
    let mut slots: Vec<Slot> =
        own.chain(shared).map(|(name, wheels)| Slot { name, wheels }).collect();
    for slot in &mut slots {
        slot.wheels.sort_unstable();
    }
    slots.sort_by(|left, right| left.name.cmp(&right.name));
    slots
}

/// A distribution that is named as a group is never a slot of that name.
fn looks_like_group(name: &str) -> bool {
    name.strip_prefix("group-").is_some_and(|rest| rest.len() == 2)
}

fn group(name: &str) -> usize {
    usize::from(blake3::hash(name.as_bytes()).as_bytes()[0]) % GROUPS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wheel(name: &str, size: u64) -> WheelRef {
        WheelRef { name: name.to_owned(), size }
    }

    #[test]
    fn large_wheels_stand_alone_and_small_ones_share() {
        let wheels = [wheel("Torch", 800 << 20), wheel("idna", 70_000), wheel("Num_Py", 1 << 20)];
        let found = slots(&wheels, 100);
        let names: Vec<&str> = found.iter().map(|slot| &*slot.name).collect();
        assert_eq!(names, ["group-28", "num-py", "torch"]);
    }

    #[test]
    fn over_the_limit_the_smallest_large_wheels_join_groups() {
        let wheels: Vec<_> = (0..200).map(|n| wheel(&format!("w{n}"), (n + 1) << 20)).collect();
        let found = slots(&wheels, 100);
        assert!(found.len() <= 100);
        assert!(found.iter().any(|slot| slot.name == "w199"));
        assert!(!found.iter().any(|slot| slot.name == "w0"));
    }

    #[test]
    fn an_upgrade_moves_no_other_wheel() {
        let mut wheels: Vec<_> = (0..60).map(|n| wheel(&format!("w{n}"), n * 40_000)).collect();
        let before = slots(&wheels, 100);
        wheels[3].size += 1;
        wheels[59].size += 1;
        assert_eq!(slots(&wheels, 100), before);
    }

    proptest! {
        #[test]
        fn every_wheel_has_exactly_one_slot(sizes in prop::collection::vec(0u64..4 << 20, 1..200), limit in 0usize..120) {
            let wheels: Vec<_> = sizes.iter().enumerate().map(|(n, size)| wheel(&format!("w{n}"), *size)).collect();
            let found = slots(&wheels, limit);
            prop_assert!(found.len() <= limit.max(1));
            let mut all: Vec<usize> = found.iter().flat_map(|slot| slot.wheels.clone()).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..wheels.len()).collect::<Vec<_>>());
            let names: BTreeSet<&str> = found.iter().map(|slot| &*slot.name).collect();
            prop_assert_eq!(names.len(), found.len());
        }
    }
}
