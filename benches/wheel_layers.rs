//! Layers of a directory of wheels, against what one would do without splicing.
//!
//! `GOATBUILD_BENCH_WHEELS=DIR cargo bench --bench wheel_layers` (or `-- DIR`) prints, for each way
//! to make layers of all wheels on two cores, wall time, CPU time, peak memory and bytes. Each way
//! is a process of its own; the median of `GOATBUILD_BENCH_RUNS` (default 3) counts. The kernel's
//! peak (`VmHWM`) and CPU counters of the child are the source of the figures. `cargo test --bench
//! wheel_layers` tries it out with wheels that it makes, once.

mod toy;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use goatbuild::event::Reporter;
use goatbuild::oci::Layout;
use goatbuild::platform::MajorMinor;
use goatbuild::wheel::{Scheme, WheelFile, WheelRef, build_layer, slots};

const CORES: usize = 2;

/// Unzips every wheel and compresses its tree, as an installer and a gzip at `$LEVEL` would.
const PEER: &str = r#"
cd "$OUT"
ls "$WHEELS"/*.whl | xargs -P 2 -I{} sh -c '
  name=$(basename "{}")
  mkdir "$name" && python3 -m zipfile -e "{}" "$name" &&
  tar -C "$name" --sort=name --mtime=@0 --owner=0 --group=0 -cf - . | gzip -n -"$LEVEL" > "$name.tar.gz" &&
  sha256sum "$name.tar.gz" > /dev/null && rm -r "$name"'
"#;

struct Run {
    wall: f64,
    cpu: f64,
    /// MiB; of the process itself, so not of a peer's children.
    peak: Option<f64>,
    bytes: u64,
}

fn main() {
    let (arguments, toy) = toy::arguments();
    let mut arguments = arguments.into_iter();
    let wheels = arguments.next().or_else(|| std::env::var("GOATBUILD_BENCH_WHEELS").ok());
    let made = wheels.is_none().then(scratch);
    let wheels = match (&made, wheels) {
        (_, Some(wheels)) => PathBuf::from(wheels),
        (Some(made), None) if toy => {
            make_wheels(made.path());
            made.path().to_owned()
        }
        _ => {
            println!("SKIPPED: name a directory of wheels in GOATBUILD_BENCH_WHEELS");
            return;
        }
    };
    if let Some(out) = arguments.next() {
        splice(&wheels, Path::new(&out));
        return;
    }
    let runs = toy::runs(if toy { 1 } else { 3 });
    let peers = std::env::var("GOATBUILD_BENCH_PEERS").unwrap_or_else(|_| "1 6".to_owned());
    let ours = median(runs, || {
        let this = std::env::current_exe().expect("this program's path");
        let scratch = scratch();
        let mut command = Command::new(this);
        command.arg(&wheels).arg(scratch.path());
        measured(&mut command, scratch.path())
    });
    let mut report = String::new();
    for level in peers.split_whitespace() {
        let peer = median(1, || {
            let scratch = scratch();
            let mut command = Command::new("sh");
            let (wheels, out) = (fs::canonicalize(&wheels).expect("wheels"), scratch.path());
            command.args(["-ec", PEER]).env("WHEELS", wheels).env("OUT", out).env("LEVEL", level);
            measured(&mut command, scratch.path())
        });
        println!(
            "{:.2}x CPU, {:.2}x wall of unzip + gzip -{level}",
            peer.cpu / ours.cpu,
            peer.wall / ours.wall
        );
        line(&mut report, &format!("unzip + gzip -{level}"), &peer);
    }
    println!("{:20} {:>8} {:>8} {:>9} {:>9}", "", "wall s", "CPU s", "peak MiB", "MB");
    let mut own = String::new();
    line(&mut own, "goatbuild", &ours);
    print!("{own}{report}");
}

fn line(report: &mut String, name: &str, run: &Run) {
    let peak = run.peak.map_or("-".to_owned(), |peak| format!("{peak:.0}"));
    let _ = writeln!(
        report,
        "{name:20} {:8.1} {:8.1} {peak:>9} {:9}",
        run.wall,
        run.cpu,
        run.bytes / 1_000_000
    );
}

/// A wheel that is a layer of its own, and three that share layers.
fn make_wheels(into: &Path) {
    for (name, members) in [("large", 2000), ("small", 3), ("tiny", 1), ("other", 2)] {
        let file = fs::File::create(into.join(format!("{name}-1.0-py3-none-any.whl")));
        let mut wheel = zip::ZipWriter::new(file.expect("a wheel"));
        let mut add = |path: String, text: &[u8]| {
            wheel.start_file(path, zip::write::SimpleFileOptions::default()).expect("a member");
            wheel.write_all(text).expect("a member");
        };
        for member in 0..members {
            // Hashes compress by half, as far as they are written in hexadecimal.
            let lines =
                (0..100).map(|line| blake3::hash(&[member, line].map(u32::to_le_bytes).concat()));
            let lines: Vec<String> = lines.map(|hash| format!("x = \"{hash}\"\n")).collect();
            add(format!("{name}/m{member}.py"), lines.concat().as_bytes());
        }
        let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
        let tags =
            "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
        for (file, text) in [("METADATA", &*metadata), ("WHEEL", tags), ("RECORD", "")] {
            add(format!("{name}-1.0.dist-info/{file}"), text.as_bytes());
        }
        wheel.finish().expect("a wheel");
    }
}

/// Makes all layers, two at a time, the largest first.
fn splice(wheels: &Path, out: &Path) {
    let mut files: Vec<WheelFile> = Vec::new();
    let mut references = Vec::new();
    for entry in fs::read_dir(wheels).expect("a directory of wheels") {
        let entry = entry.expect("a directory of wheels");
        let filename = entry.file_name().into_string().expect("UTF-8 names");
        if !filename.to_ascii_lowercase().ends_with(".whl") {
            continue;
        }
        let name = filename.split('-').next().unwrap_or_default().to_owned();
        references.push(WheelRef { name, size: entry.metadata().expect("a file").len() });
        files.push(WheelFile::alone(entry.path(), filename));
    }
    let size = |slot: &[usize]| slot.iter().map(|index| references[*index].size).sum::<u64>();
    let mut queue = slots(&references, 120);
    queue.sort_by_key(|slot| size(&slot.wheels));
    let layers = queue.len();
    let queue = Mutex::new(queue);
    let scheme = Scheme { python: MajorMinor { major: 3, minor: 11 }, epoch: 0 };
    let layout = Layout::open(out).expect("a layout");
    std::thread::scope(|scope| {
        for _ in 0..CORES {
            scope.spawn(|| {
                loop {
                    let Some(slot) = queue.lock().expect("no panics").pop() else { break };
                    let chosen: Vec<WheelFile> =
                        slot.wheels.iter().map(|index| files[*index].clone()).collect();
                    let mut writer = layout.blobs().layer_writer().expect("a blob");
                    let layer = build_layer(&chosen, &scheme, &mut writer, &Reporter::silent())
                        .unwrap_or_else(|error| panic!("{error}"));
                    writer.commit(&layer).expect("a committed blob");
                }
            });
        }
    });
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    println!("{} of {layers} layers", peak.trim());
}

fn measured(command: &mut Command, out: &Path) -> Run {
    let cpu = children_cpu();
    let start = Instant::now();
    let output = command.output().expect("the command starts");
    let wall = start.elapsed().as_secs_f64();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    let peak = said.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
    let bytes = walkdir::WalkDir::new(out)
        .into_iter()
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|data| data.len())
        .sum();
    Run { wall, cpu: children_cpu() - cpu, peak: peak.map(|kib| kib / 1024.0), bytes }
}

/// CPU seconds, user and system, of all children that ended (fields 16 and 17 of proc(5)'s stat).
fn children_cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("procfs");
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u32 = fields
        .split_whitespace()
        .skip(13)
        .take(2)
        .map(|field| field.parse::<u32>().unwrap_or(0))
        .sum();
    f64::from(ticks) / 100.0
}

fn median(runs: usize, run: impl FnMut() -> Run) -> Run {
    let mut all: Vec<Run> = std::iter::repeat_with(run).take(runs).collect();
    all.sort_by(|left, right| left.cpu.total_cmp(&right.cpu));
    all.swap_remove(runs / 2)
}

/// A directory on the disk that the build uses, since `/tmp` may be memory.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch directory")
}
