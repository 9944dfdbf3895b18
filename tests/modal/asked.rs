//! What is asked of models that don't chat, before their caches are kept or a snapshot is taken: the
//! programs as they are rendered, run here with a server that refuses what such a model would refuse.

use std::fs;
use std::process::Command;

use super::programs::complaints;
use super::registry::Shipped;
use super::support::peers;
use crate::local_apis::SERVER;

const SPEC: &str = "specs/qwen3-4b.toml";

/// Both programs, without Modal's client: what it decorates is as it was written. The engine is that
/// server; whether it is healthy, and whether it sleeps, is another matter.
const HARNESS: &str = r#"
import runpy, socket, subprocess, sys, time, types, urllib.request

class Anything:
    def __getattr__(self, name):
        return Anything()

    def __or__(self, other):
        return self

    def __call__(self, *args, **kwargs):
        return args[0] if len(args) == 1 and not kwargs and callable(args[0]) else Anything()

modal = types.ModuleType("modal")
modal.__getattr__ = lambda name: Anything()
sys.modules["modal"] = modal
server, api, programs = sys.argv[1:]
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
start = lambda: subprocess.Popen([sys.executable, server, api, str(port)])

warmup = runpy.run_path(f"{programs}/warmup.py")
warmup["MODEL"] |= {"port": port, "served_name": "tiny"}
warmup["try_out"].__globals__["start"] = start
warmup["try_out"]()

serve = runpy.run_path(f"{programs}/serve.py")
serve["MODEL"] |= {"engine_port": port, "caches": []}
replica = serve["Server"]()
inside = replica.fall_asleep.__func__.__globals__
quiet = lambda: subprocess.Popen(["true"])
inside |= {"start": start, "guard": quiet, "end_with": lambda process, what, port: engines.append(process)}
engines, asked = [], []

def wait():
    for _ in range(300):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
        except OSError:
            time.sleep(0.1)

replica.wait = wait
replica.ask = lambda path, *rest: asked.append(path)
try:
    replica.fall_asleep()
finally:
    for engine in engines:
        engine.kill()
        engine.wait()
assert asked == ["/sleep?level=1"], asked
"#;

#[test]
fn programs_ask_models_for_what_they_are_for() {
    let Some(shipped) = Shipped::with_client() else { return };
    let Some(venv) = peers::venv("ruff-mypy", &["ruff==0.14.9", "mypy==1.19.1", "modal==1.6.4"])
    else {
        return;
    };
    let project = &shipped.project;
    let (server, harness) = (project.path("server.py"), project.path("harness.py"));
    fs::write(&server, SERVER).unwrap();
    fs::write(&harness, HARNESS).unwrap();
    project.edit(SPEC, "enforce-eager = true", "enforce-eager = false");
    let names = "snapshot = true\nserved-name = \"tiny\"\n";
    project.append(SPEC, names);
    let spec = project.read(SPEC);
    let render = |name: &str| {
        let out = project.path(&format!("rendered/{name}"));
        shipped.run(&format!("render qwen3-4b -o {}", out.display()));
        out.join("qwen3-4b")
    };
    let chats = render("chat");
    let lints = ["ruff", "check", "--select", "E,F,I,B,UP,SIM", "--ignore", "E501"];
    for (name, path) in [
        ("completions", "completions"),
        ("embeddings", "embeddings"),
        ("rerank", "rerank"),
        ("transcriptions", "audio/transcriptions"),
    ] {
        project.write(SPEC, &format!("{spec}api = \"{name}\"\n"));
        let programs = render(name);
        let output = Command::new("python3")
            .arg(&harness)
            .args([&server])
            .arg(path)
            .arg(&programs)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        // Each program asks twice: of what was compiled for the first request, the second is made.
        let times = said.matches(&format!("\"POST /v1/{path} HTTP/1.1\" 200")).count();
        assert_eq!(times, 4, "{name}: {said}");
        assert_eq!(complaints(&venv, &lints, &programs), None);
        assert_eq!(
            complaints(&venv, &["mypy", "--strict", "--exclude-gitignore"], &programs),
            None
        );
    }
    // Whoever says so of a model that chats changes nothing.
    project.write(SPEC, &format!("{spec}api = \"chat\"\n"));
    let said = render("said");
    for program in ["serve.py", "warmup.py"] {
        assert_eq!(fs::read(said.join(program)).unwrap(), fs::read(chats.join(program)).unwrap());
    }
}
