//! The committed quickstart as a newcomer runs it: the real binary, the real mlx-lm in the image
//! that goatbuild built, and the real `LiteLLM` proxy in front.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use crate::support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::litellm::{self, Proxy};
use support::project::{Project, ran};
use support::quickstart::{built, copy, quickstart, url};
use support::{installed, peers};

const MODEL: &str = "tiny-qwen3";

/// Asks as plainly as can be, over HTTP/1.0, where the body ends with the connection.
fn ask(url: &str, stream: bool) -> String {
    let body = json!({
        "model": MODEL, "max_tokens": 8, "stream": stream,
        "messages": [{"role": "user", "content": "Hello"}],
    })
    .to_string();
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let length = body.len();
    write!(
        connection,
        "POST /{path}/chat/completions HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.lines().next().unwrap().contains(" 200 "), "{answer}");
    body.to_owned()
}

#[track_caller]
fn assert_answers(url: &str) {
    let answer: Value = serde_json::from_str(&ask(url, false)).unwrap();
    assert_eq!(answer["object"], "chat.completion", "{answer}");
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant", "{answer}");
    assert!(answer["usage"]["completion_tokens"].as_u64() > Some(0), "{answer}");

    let streamed = ask(url, true);
    let pieces: Vec<&str> =
        streamed.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert!(pieces.len() >= 3 && pieces.last() == Some(&"[DONE]"), "{streamed}");
    let first: Value = serde_json::from_str(pieces[0]).unwrap();
    assert_eq!(first["object"], "chat.completion.chunk", "{streamed}");
}

#[test]
fn the_quickstart_serves_answers_and_goes_without_a_trace() {
    let Some(quickstart) = quickstart("project") else { return };
    let locks = ["goatbuild.lock", "images/mlx.pylock.toml"].map(|lock| quickstart.read(lock));

    let printed = quickstart.run(&["apply"]).done();
    let url = url(&quickstart);
    assert!(printed.contains(&format!("{MODEL}  {url}  ({MODEL}-local in litellm.yaml)")));
    assert_answers(&url);

    let line = printed.lines().find(|line| line.starts_with("  curl ")).unwrap();
    if Command::new("curl").arg("--version").output().is_ok() {
        let answer =
            ran(Command::new("sh").args(["-c", line]).env_clear().env("PATH", installed::path()));
        let answer: Value = serde_json::from_str(&answer.done()).unwrap();
        assert_eq!(answer["choices"][0]["message"]["role"], "assistant", "{answer}");
    } else {
        peers::skipped("curl", "it is not installed");
    }

    let again = quickstart.run(&["apply", "--json"]).finished();
    for list in ["ran", "cut_off", "failed", "blocked", "removed"] {
        assert_eq!(again[list], json!([]), "{again}");
    }
    assert!(quickstart.run(&["apply"]).done().contains(&url), "it says again where it is");
    let kept = ["goatbuild.lock", "images/mlx.pylock.toml"].map(|lock| quickstart.read(lock));
    assert_eq!(kept, locks, "the committed locks are what the quickstart builds");

    let status = quickstart.run(&["status"]).done();
    assert!(status.contains("running") && status.contains("as specified"), "{status}");
    assert!(quickstart.run(&["logs", MODEL]).done().contains("POST /v1/chat/completions"));
    quickstart.run(&["logs", "image:mlx"]).done();
    in_front_of_it_is_litellm(&quickstart, &url);

    let status: Value =
        serde_json::from_str(&quickstart.run(&["status", "--json"]).done()).unwrap();
    // Nothing in it names the place: it has no environment.
    let supervisor = format!("/proc/{}/cmdline", status["models"][0]["pid"]);
    // What nobody has waited for yet has no words left.
    let supervises = || std::fs::read(&supervisor).is_ok_and(|words| !words.is_empty());
    assert!(supervises() && quickstart.processes() >= 1, "supervisor and server: {status}");
    quickstart.run(&["destroy", MODEL, "--yes"]).done();
    assert_eq!((supervises(), quickstart.processes()), (false, 0));
    assert!(TcpStream::connect(url.split('/').nth(2).unwrap()).is_err());
    assert!(!quickstart.read("litellm.yaml").contains(MODEL), "the entry went too");
    let status = quickstart.run(&["status"]).done();
    assert!(status.contains("absent"), "{status}");
    quickstart.run(&["destroy", MODEL, "--yes"]).done();
}

/// The file that `apply` wrote, as the proxy reads it, and a chat all the way through.
fn in_front_of_it_is_litellm(quickstart: &Project, url: &str) {
    let config = quickstart.path("litellm.yaml");
    let Some(said) = litellm::validate(&config) else { return };
    assert!(said.contains("config OK (1 models)"), "{said}");
    // As its README says.
    let readme = quickstart.read("README.md");
    let instructions = readme.rsplit("```sh\n").next().and_then(|rest| rest.split("```").next());
    if Command::new("curl").arg("--version").output().is_err() {
        peers::skipped("curl", "it is not installed");
        return;
    }
    let Some((proxy, answer)) = Proxy::start_by(instructions.unwrap(), &quickstart.root()) else {
        return;
    };
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant", "{answer}");
    let (status, info) = proxy.request("GET", "/model/info", "");
    assert_eq!(status, 200, "{info}");
    assert_eq!(info["data"].as_array().map(Vec::len), Some(1), "{info}");
    let entry = &info["data"][0];
    assert_eq!(entry["model_name"], format!("{MODEL}-local"), "{info}");
    assert_eq!(entry["litellm_params"]["api_base"], url, "{info}");
    let marker = &entry["model_info"]["goatbuild"];
    assert_eq!(
        (&marker["project"], &marker["model"]),
        (&json!("quickstart-3f8a1c"), &json!(MODEL))
    );
    assert!(marker["key"].as_str().unwrap().starts_with("gb1-"), "{info}");

    let chat = json!({
        "model": format!("{MODEL}-local"), "max_tokens": 8,
        "messages": [{"role": "user", "content": "Hello"}],
    });
    let (status, answer) = proxy.request("POST", "/v1/chat/completions", &chat.to_string());
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant", "{answer}");
    assert!(answer["usage"]["completion_tokens"].as_u64() > Some(0), "{answer}");

    // OpenAI's own client, which comes with the proxy, straight to what is served.
    let code = "import sys, openai\n\
        client = openai.OpenAI(base_url=sys.argv[1], api_key='none')\n\
        ask = dict(model=sys.argv[2], max_tokens=8, messages=[{'role': 'user', 'content': 'hi'}])\n\
        print(client.chat.completions.create(**ask).choices[0].message.role)\n\
        print(len(list(client.chat.completions.create(stream=True, **ask))))";
    let Some(venv) = litellm::venv() else { return };
    let mut client = Command::new(venv.join("bin/python"));
    client.args(["-c", code, url, MODEL]).env("NO_PROXY", "127.0.0.1");
    let said = ran(&mut client).done();
    let (role, pieces) = said.trim().split_once('\n').unwrap();
    assert!(role == "assistant" && pieces.parse::<u32>().unwrap() > 1, "{said}");
}

/// Who else runs the quickstart, and what /proc looks like to them.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    /// A user without any rights.
    User,
    /// The same, and parts of /proc are masked, as container engines do.
    MaskedUser,
    /// Root with the capabilities that container engines leave, and parts of /proc are masked.
    Container,
}

/// Deploys, asks and destroys as somebody else, with an image that root built.
///
/// Only root can make these environments; anyone else has run the first test without rights.
fn served_for(who: Who) {
    if !nix::unistd::geteuid().is_root() {
        peers::skipped("another user", "only root can become one");
        return;
    }
    let Some(mut quickstart) = built().map(|built| copy(&built)) else { return };
    let program = quickstart.directory().join("goatbuild");
    std::fs::copy(installed::GOATBUILD, &program).unwrap();
    if who != Who::Container {
        own(quickstart.directory());
    }
    // The kernel must then refuse a fresh procfs: otherwise this would test nothing.
    let mask = "mount --bind /dev/null /proc/interrupts && ! unshare -Urpf --mount-proc true && ";
    let mask = if who == Who::User { "" } else { mask };
    let identity = match who {
        Who::User | Who::MaskedUser => "--reuid 65534 --regid 65534 --clear-groups",
        Who::Container => {
            "--inh-caps=-all --bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+kill,\
             +setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,\
             +audit_write,+setfcap"
        }
    };
    let script = format!("{mask}exec setpriv {identity} \"$0\" \"$@\"");
    quickstart.wrapper = ["unshare", "--mount", "sh", "-c", &script]
        .map(str::to_owned)
        .into_iter()
        .chain([program.to_str().unwrap().to_owned()])
        .collect();
    let ran = quickstart.run(&["apply", "--json"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let ran = ran.finished()["ran"].to_string();
    assert!(ran.contains("deploy:") && !ran.contains("wheels:"), "{ran}");
    assert_answers(&url(&quickstart));
    quickstart.run(&["destroy", MODEL, "--yes"]).done();
    assert_eq!(quickstart.processes(), 0);
}

fn own(path: &Path) {
    std::os::unix::fs::lchown(path, Some(65534), Some(65534)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in std::fs::read_dir(path).unwrap() {
            own(&entry.unwrap().path());
        }
    }
}

#[test]
fn the_quickstart_serves_for_an_ordinary_user() {
    served_for(Who::User);
}

#[test]
fn the_quickstart_serves_for_an_ordinary_user_where_proc_is_masked() {
    served_for(Who::MaskedUser);
}

#[test]
fn the_quickstart_serves_for_root_in_an_unprivileged_container() {
    served_for(Who::Container);
}

#[test]
fn the_tiny_model_is_what_its_script_makes() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
    let script = std::fs::read_to_string(example.join("make_tiny_model.py")).unwrap();
    let line = script.lines().find_map(|line| line.split_once("pip install ")).unwrap();
    let requirements: Vec<&str> = line.1.split_whitespace().collect();
    let Some(venv) = peers::venv("tiny-model", &requirements) else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut python = Command::new(venv.join("bin/python"));
    python.arg(example.join("make_tiny_model.py")).arg(directory.path());
    ran(&mut python).done();
    let files = |directory: &Path| {
        let mut files: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()))
            .collect();
        files.sort();
        files
    };
    let (made, committed) = (files(directory.path()), files(&example.join("tiny-qwen3")));
    let names = |files: &[(std::ffi::OsString, Vec<u8>)]| {
        files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&made), names(&committed));
    for (one, other) in made.iter().zip(&committed) {
        assert!(one == other, "{:?} differs", one.0);
    }
}
