//! A large file from a hub on loopback into a volume, verified, beside curl and Python's client.
//!
//! `cargo bench --bench hub_fetch` prints rates, their ratios and the peak memory of a process that
//! fetches as `apply` does. In memory, what counts is the work itself; on disk, each way ends when
//! the bytes are on the disk, as goatbuild's does by itself. Curl alone verifies nothing. The ways
//! take turns, and the median of `GOATBUILD_BENCH_RUNS` (default 3) counts;
//! `GOATBUILD_BENCH_BYTES` is the file's size (default 2 GB). `VmHWM` is the source of the memory.
//! `cargo test --bench hub_fetch` tries it out with 40 MB, once.

#[path = "../tests/support/double.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod double;
#[path = "../tests/support/hub.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod hub;
#[path = "../tests/support/peers.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod peers;
mod toy;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use double::Content;
use goatbuild::event::Reporter;
use goatbuild::fetch::Patience;
use goatbuild::hub::{FileDigest, HashCache, Hub, HubSettings, ModelCache};
use hub::{COMMIT, HubDouble};

const REPOSITORY: &str = "acme/large";
const FILE: &str = "model.safetensors";

/// Python's client, which verifies the size and not the hash.
const PYTHON: &str = "import sys
from huggingface_hub import hf_hub_download
repository, file, revision, to = sys.argv[1:]
hf_hub_download(repository, file, revision=revision, cache_dir=to)";

/// Remembers nothing.
struct Forgetful;

impl HashCache for Forgetful {
    fn get(&self, _: &str, _: &str) -> Option<FileDigest> {
        None
    }

    fn put(&self, _: &str, _: &str, _: FileDigest) {}
}

/// One way to get the file into a directory.
struct Way {
    name: &'static str,
    /// Waits for the disk, where there is one.
    synced: bool,
    command: Box<dyn Fn(&Path) -> Command>,
}

struct Run {
    seconds: f64,
    /// MiB, where the process tells.
    peak: Option<f64>,
}

fn main() {
    let (arguments, toy) = toy::arguments();
    if let [word, endpoint, volume] = &arguments[..]
        && word == "fetch"
    {
        fetch(endpoint, Path::new(volume));
        return;
    }
    let bytes = std::env::var("GOATBUILD_BENCH_BYTES")
        .map_or(if toy { 40_000_000 } else { 2_000_000_000 }, |bytes| {
            bytes.parse().expect("GOATBUILD_BENCH_BYTES is a number")
        });
    let runs = toy::runs(if toy { 1 } else { 3 });
    let double = HubDouble::start();
    let block = Content::noise(1, 1 << 20).bytes();
    double.large(REPOSITORY, FILE, &Content::repeated(block, bytes));
    double.small(REPOSITORY, "config.json", "{}");
    let ways = ways(&double);
    let memory = Path::new("/dev/shm");
    let places = [
        ("in memory", memory.is_dir().then(|| memory.to_owned())),
        ("on disk", Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")))),
    ];
    for (place, directory) in places {
        let Some(directory) = directory else {
            println!("SKIPPED {place}: there is no /dev/shm");
            continue;
        };
        let mut all: Vec<Vec<Run>> = ways.iter().map(|_| Vec::new()).collect();
        for _ in 0..runs {
            for (way, runs) in ways.iter().zip(&mut all) {
                runs.push(run(way, &directory, bytes));
            }
        }
        report(place, bytes, &ways, all);
    }
}

fn ways(double: &HubDouble) -> Vec<Way> {
    let endpoint = double.url.clone();
    let this = std::env::current_exe().expect("this program's path");
    let mut ways = vec![Way {
        name: "goatbuild",
        // It does so by itself.
        synced: false,
        command: Box::new({
            let endpoint = endpoint.clone();
            move |to| {
                let mut command = Command::new(&this);
                command.args(["fetch", &endpoint]).arg(to);
                command
            }
        }),
    }];
    let url = format!("{endpoint}/{REPOSITORY}/resolve/{COMMIT}/{FILE}");
    let curl = |name, synced, then: &'static str| {
        let url = url.clone();
        let command = move |to: &Path| {
            let mut command = Command::new("sh");
            command.arg("-ec").arg(format!("curl -sSfL -o \"$0/file\" '{url}'{then}")).arg(to);
            command
        };
        Way { name, synced, command: Box::new(command) }
    };
    ways.push(curl("curl", true, ""));
    ways.push(curl("curl, sha256sum", true, " && sha256sum \"$0/file\" >/dev/null"));
    ways.push(curl("curl, not synced", false, ""));
    if let Some(venv) = peers::venv("huggingface", &["huggingface_hub==0.36.0"]) {
        let command = move |to: &Path| {
            let mut command = Command::new(venv.join("bin/python"));
            command.args(["-c", PYTHON, REPOSITORY, FILE, COMMIT]).arg(to);
            command.env("HF_ENDPOINT", &endpoint).env("HF_HOME", to);
            command.env("HF_HUB_DISABLE_PROGRESS_BARS", "1").env("HF_HUB_DISABLE_XET", "1");
            command
        };
        ways.push(Way { name: "huggingface_hub", synced: true, command: Box::new(command) });
    }
    ways
}

/// What `apply` does for the files of a revision.
fn fetch(endpoint: &str, volume: &Path) {
    let settings = HubSettings {
        endpoint: endpoint.to_owned(),
        token: None,
        caches: Vec::new(),
        offline: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let hub = Hub::new(settings, false, Patience::default()).expect("an endpoint");
        let revision = hub.revision(REPOSITORY, "main").await.expect("a revision");
        let (commit, files) = (&revision.commit, &revision.files);
        let cache = ModelCache::new(volume);
        let reporter = Reporter::silent();
        hub.fetch(REPOSITORY, commit, files, &cache, &Forgetful, &reporter).await.expect("files");
    });
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    println!("{}", peak.trim());
}

fn run(way: &Way, directory: &Path, bytes: u64) -> Run {
    let to = tempfile::tempdir_in(directory).expect("a directory");
    let mut command = (way.command)(to.path());
    let started = Instant::now();
    let output = command.stdin(Stdio::null()).output().expect("the command starts");
    assert!(output.status.success(), "{}: {output:?}", way.name);
    let file = walkdir::WalkDir::new(to.path())
        .into_iter()
        .filter_map(Result::ok)
        .find(|entry| entry.metadata().is_ok_and(|data| data.is_file() && data.len() == bytes))
        .unwrap_or_else(|| panic!("{} brought no such file", way.name));
    if way.synced {
        fs::File::open(file.path()).and_then(|file| file.sync_data()).expect("a disk");
    }
    let seconds = started.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stdout);
    let peak = said.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
    Run { seconds, peak: peak.map(|kib| kib / 1024.0) }
}

fn report(place: &str, bytes: u64, ways: &[Way], all: Vec<Vec<Run>>) {
    println!("{place:20} {:>8} {:>8} {:>9} {:>13}", "seconds", "MB/s", "peak MiB", "our rate is");
    let mut ours = None;
    for (way, mut runs) in ways.iter().zip(all) {
        runs.sort_by(|left, right| left.seconds.total_cmp(&right.seconds));
        let seconds = runs[runs.len() / 2].seconds;
        let peak = runs.iter().filter_map(|run| run.peak).reduce(f64::max);
        let peak = peak.map_or("-".to_owned(), |peak| format!("{peak:.0}"));
        let ours = *ours.get_or_insert(seconds);
        println!(
            "{:20} {seconds:8.2} {:8.0} {peak:>9} {:>11.2} x",
            way.name,
            u32::try_from(bytes / 1_000_000).map_or(0.0, f64::from) / seconds,
            seconds / ours
        );
    }
}
