//! Commands that are killed wherever they just are, one after the other, in one project: whatever a kill
//! leaves, the next `plan` can read, and the next `apply` ends as if nothing had been killed.
//!
//! Fifty kills are a test like any other. For more, and for others:
//!
//! ```text
//! GOATBUILD_KILLS=1000 GOATBUILD_SEED=7 cargo test --test all a_thousand_kills -- --ignored --nocapture
//! ```

mod turns;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use self::turns::{KINDS, Kind};
use self::world::{World, assert_same, assert_whole};
use super::downloaded;
use crate::support::project::{Project, eventually};

/// After so many kills, one apply may come to its end.
const STRETCH: u32 = 10;

/// What a project's own files say, which a turn may change.
const FILES: [&str; 4] =
    ["goatbuild.toml", "images/tiny.toml", "specs/tiny.toml", "model/server.py"];

#[test]
fn fifty_kills_at_any_moment_end_like_none() {
    campaign(50, 1);
}

#[test]
#[ignore = "takes the better part of an hour: run it by name"]
fn a_thousand_kills_at_any_moment_end_like_none() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let kills = number("GOATBUILD_KILLS").unwrap_or(1000);
    campaign(kills.try_into().expect("a number of kills"), number("GOATBUILD_SEED").unwrap_or(1));
}

/// `SplitMix64`, which is as good as any here.
pub(super) struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A project in which things are killed.
struct Campaign {
    project: Project,
    /// What its files say when nothing is to be changed.
    files: Vec<(&'static str, String)>,
    undisturbed: World,
    chance: Chance,
    /// How long each kind of turn takes when nobody kills it.
    lasts: BTreeMap<&'static str, Duration>,
    /// Where kills struck, and how often.
    struck: BTreeMap<String, u32>,
}

fn campaign(kills: u32, seed: u64) {
    let Some(project) = downloaded() else { return };
    println!("seed {seed}");
    let began = Instant::now();
    project.run("apply").exits(0);
    let files = FILES.map(|file| (file, project.read(file))).into();
    let undisturbed = World::of(&project);
    let (lasts, struck) = (BTreeMap::new(), BTreeMap::new());
    let mut campaign =
        Campaign { project, files, undisturbed, chance: Chance(seed), lasts, struck };
    let (mut killed, mut turn) = (0, 0);
    while killed < kills {
        turn += 1;
        killed += u32::from(campaign.turn(turn));
        assert!(turn < 20 * kills, "{killed} kills in {turn} turns");
        if killed % STRETCH == 0 || killed == kills {
            campaign.converges();
        }
        if killed % 50 == 0 && turn % 5 == 0 {
            println!("{killed} kills in {:.0?}", began.elapsed());
        }
    }
    println!("{killed} kills in {turn} turns and {:.0?}, seed {seed}", began.elapsed());
    println!("{}", campaign.histogram());
}

impl Campaign {
    /// One command, killed unless it comes to its end before; says which.
    fn turn(&mut self, turn: u32) -> bool {
        self.restore();
        let kind = self.kind();
        (kind.prepare)(&self.project, turn);
        let lasts = *self.lasts.entry(kind.name).or_insert(Duration::from_secs(1));
        let share = u32::try_from(self.chance.below(1000)).expect("small");
        let delay = lasts * share / 1000;
        let began = Instant::now();
        let command = self.project.start(kind.command);
        std::thread::sleep(delay);
        let events = command.killed();
        let took = began.elapsed();
        let was_killed = events.is_some();
        if let Some(events) = events {
            let phase = kind.phase(&events, share);
            println!("{turn}: {} after {delay:.0?}: {phase}", kind.name);
            *self.struck.entry(phase).or_default() += 1;
            // Else its end would never be seen again, where the machine was quick once.
            self.lasts.insert(kind.name, lasts * 21 / 20);
        } else {
            println!("{turn}: {} came to its end", kind.name);
            self.lasts.insert(kind.name, took);
        }
        self.project.run("plan --json").exits(0);
        self.project.run("status").exits(0);
        // What is being stopped may take a moment.
        eventually("no more than one server", || self.project.servers() <= 1);
        was_killed
    }

    /// Which one is next.
    fn kind(&mut self) -> &'static Kind {
        let all: u64 = KINDS.iter().map(|kind| kind.weight).sum();
        let mut at = self.chance.below(all);
        for kind in &KINDS {
            match at.checked_sub(kind.weight) {
                Some(rest) => at = rest,
                None => return kind,
            }
        }
        unreachable!("it is below the sum")
    }

    /// Writes the files as they were.
    fn restore(&self) {
        for (file, text) in &self.files {
            self.project.write(file, text);
        }
    }

    /// An apply that nobody kills ends as the first one did.
    fn converges(&self) {
        self.restore();
        self.project.run("apply").exits(0);
        self.project.run("gc --keep-runs 0").exits(0);
        self.project.run("apply").ran_nothing();
        eventually("one server", || self.project.servers() == 1);
        assert_whole(&self.project);
        assert_same(&World::of(&self.project), &self.undisturbed);
    }

    fn histogram(&self) -> String {
        let mut text = String::new();
        for (phase, times) in &self.struck {
            let _ = writeln!(text, "{times:5}  {phase}");
        }
        text
    }
}
