//! A plan in which everything is fresh, against `ninja`'s null build of the same graph.
//!
//! `cargo bench --bench plan` (or `-- 1000 10000` for other sizes) prints, for each number of
//! specs, the ratio of wall times first, then seconds and peak memory. Every run is a process of
//! its own, started by a small one (`ru_maxrss` counts what the starter held), and the runs of all
//! contenders alternate; medians of `GOATBUILD_BENCH_RUNS` (default 9) count. `cargo test --bench
//! plan` tries it out with 20 specs, once.
//!
//! Ten thousand servers can't be had, so `plan --no-refresh` is what is compared: it trusts the
//! rows, as `ninja` trusts its log. Ninja looks at every file's time; goatbuild reads every spec.
//! A plan that does look at everything is timed as well, with one process standing for all servers.

#[path = "../toy/mod.rs"]
mod toy;

mod ninja;
#[path = "../../tests/support/peers.rs"]
#[allow(dead_code, reason = "tests use the rest of it")]
mod peers;
mod project;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

/// The first argument of this program as the small process that starts a contender.
const MEASURE: &str = "--measure";

/// One of the commands that are compared.
struct Contender {
    name: &'static str,
    command: Vec<String>,
    directory: std::path::PathBuf,
    /// What it must print: proof that there was nothing to do.
    says: String,
    runs: Vec<Run>,
}

/// Wall seconds and peak KiB of one run.
#[derive(Clone, Copy)]
struct Run {
    seconds: f64,
    peak: i64,
}

fn main() {
    let (arguments, toy) = toy::arguments();
    let runs = toy::runs(if toy { 1 } else { 9 });
    let compare = |size: &str| compare(size, runs);
    match arguments.split_first() {
        Some((first, command)) if first == MEASURE => measure(command),
        None if toy => compare("20"),
        None => ["1000", "10000"].into_iter().for_each(compare),
        Some(_) => arguments.iter().map(String::as_str).for_each(compare),
    }
}

fn compare(size: &str, runs: usize) {
    let models: usize = size.parse().expect("a number of specs");
    // Beside the build, since `/tmp` may be memory. Left there for a profiler to look at.
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("plan-{models}"));
    let _ = std::fs::remove_dir_all(&directory);
    let filled = project::fill(&directory, models);
    let edges: usize = filled.steps.iter().map(|(_, inputs)| inputs.len()).sum();
    let steps = filled.steps.len();
    println!("\n{models} specs: {steps} steps, {edges} edges between them, all fresh");
    let root = directory.join("project");
    let goatbuild = |name, arguments: &[&str], says: String| Contender {
        name,
        command: std::iter::once(env!("CARGO_BIN_EXE_goatbuild"))
            .chain(arguments.iter().copied())
            .map(str::to_owned)
            .collect(),
        directory: root.clone(),
        says,
        runs: Vec::new(),
    };
    let plain = format!("0 to run, 0 pending, {steps} fresh");
    let mut contenders = vec![
        goatbuild("plan --no-refresh", &["plan", "--no-refresh"], plain.clone()),
        goatbuild(
            "plan --no-refresh --json",
            &["plan", "--no-refresh", "--json"],
            format!("\"fresh\":{steps},"),
        ),
        goatbuild("plan", &["plan"], plain),
    ];
    if let Some(ninja) = ninja::build(&directory, &filled) {
        let contender = |name, arguments: &[&str]| Contender {
            name,
            command: std::iter::once(ninja.display().to_string())
                .chain(arguments.iter().map(|argument| (*argument).to_owned()))
                .collect(),
            directory: directory.join("ninja"),
            says: "no work to do".to_owned(),
            runs: Vec::new(),
        };
        contenders.push(contender("ninja", &[]));
        contenders.push(contender("ninja -n", &["-n"]));
    }
    // The first round fills the page cache and checks what is said.
    for contender in &contenders {
        contender.check();
    }
    for _ in 0..runs {
        for contender in &mut contenders {
            let run = contender.run();
            contender.runs.push(run);
        }
    }
    report(&contenders);
}

fn report(contenders: &[Contender]) {
    let ours = &contenders[0];
    for peer in contenders.iter().filter(|contender| contender.name.starts_with("ninja")) {
        let ratio = ours.median().seconds / peer.median().seconds;
        println!("{ratio:.2}x  goatbuild {} / {}", ours.name, peer.name);
    }
    println!("{:28} {:>9} {:>9} {:>9}", "", "median s", "best s", "peak MiB");
    for contender in contenders {
        let Run { seconds, peak } = contender.median();
        let best = contender.runs.iter().map(|run| run.seconds).fold(f64::INFINITY, f64::min);
        let mebibytes = f64::from(i32::try_from(peak).unwrap_or(i32::MAX)) / 1024.0;
        println!("{:28} {seconds:>9.4} {best:>9.4} {mebibytes:>9.1}", contender.name);
    }
}

impl Contender {
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.directory)
            .env("GOATBUILD_STATE_DIR", self.directory.join("../state"))
            .env_remove("CI")
            .env_remove("GOATBUILD_ENV")
            .env_remove("SOURCE_DATE_EPOCH")
            .env_remove("NINJA_STATUS")
            .stdin(Stdio::null());
        command
    }

    fn check(&self) {
        let output = self
            .command(Path::new(&self.command[0]))
            .args(&self.command[1..])
            .output()
            .expect("the contender starts");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains(&self.says),
            "{:?} does not say {:?}: {said:.2000}{:.2000}",
            self.command,
            self.says,
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn run(&self) -> Run {
        let this = std::env::current_exe().expect("this program's path");
        let output =
            self.command(&this).arg(MEASURE).args(&self.command).output().expect("a small process");
        let said = String::from_utf8_lossy(&output.stderr);
        let mut numbers = said.split_whitespace();
        let run = (|| {
            let seconds = numbers.next()?.parse().ok()?;
            Some(Run { seconds, peak: numbers.next()?.parse().ok()? })
        })();
        run.unwrap_or_else(|| panic!("{:?} was not measured: {said}", self.command))
    }

    fn median(&self) -> Run {
        let middle = |mut all: Vec<Run>, order: fn(&Run, &Run) -> std::cmp::Ordering| {
            all.sort_by(order);
            all[all.len() / 2]
        };
        let by_time = middle(self.runs.clone(), |one, other| one.seconds.total_cmp(&other.seconds));
        let by_peak = middle(self.runs.clone(), |one, other| one.peak.cmp(&other.peak));
        Run { seconds: by_time.seconds, peak: by_peak.peak }
    }
}

/// Runs a command into nothing and prints its wall seconds and peak KiB to standard error.
fn measure(command: &[String]) {
    let mut child = Command::new(&command[0]);
    child.args(&command[1..]).stdout(Stdio::null());
    let start = Instant::now();
    let status = child.status().expect("the contender starts");
    let seconds = start.elapsed().as_secs_f64();
    assert!(status.success(), "{command:?}: {status}");
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage");
    eprintln!("{seconds} {}", usage.max_rss());
}
