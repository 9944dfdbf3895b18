//! Docker and Podman out of Debian's packages, started by the tests with a state of their own:
//! nothing is installed, and nothing of this machine's own engines is touched.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::debian::DebianRoot;
use super::{installed, peers};

/// What runs images in a test.
#[derive(Debug)]
pub(crate) struct Engine {
    /// As `[target.local] runtime` says it.
    pub(crate) name: &'static str,
    /// What every command of a test needs in its environment.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// While it is open, the daemon runs.
    _alive: Option<ChildStdin>,
}

impl Engine {
    /// The embedded runtime: no program at all, and neither of the other two in sight.
    pub(crate) fn embedded() -> &'static Self {
        static EMBEDDED: Engine = Engine { name: "embedded", variables: Vec::new(), _alive: None };
        &EMBEDDED
    }

    /// A Docker of this test's own, or loudly nothing.
    pub(crate) fn docker() -> Option<&'static Self> {
        static DOCKER: OnceLock<Result<Engine, String>> = OnceLock::new();
        loudly("docker", DOCKER.get_or_init(start_docker))
    }

    /// A Podman of this test's own, or loudly nothing.
    pub(crate) fn podman() -> Option<&'static Self> {
        static PODMAN: OnceLock<Result<Engine, String>> = OnceLock::new();
        loudly("podman", PODMAN.get_or_init(start_podman))
    }

    /// The two that run containers, as far as they can be had.
    pub(crate) fn with_containers() -> Vec<&'static Self> {
        [Self::docker(), Self::podman()].into_iter().flatten().collect()
    }

    /// All three, as far as they can be had.
    pub(crate) fn all() -> Vec<&'static Self> {
        let mut all = vec![Self::embedded()];
        all.extend(Self::with_containers());
        all
    }

    /// Runs the engine's own program; gives what it prints, without the end of the line.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let output = self.try_ask(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {arguments:?}: {said}", self.name);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn try_ask(&self, arguments: &[&str]) -> Output {
        // The program is looked up in the path that the command gets.
        let mut command = Command::new(self.name);
        command.args(arguments).stdin(Stdio::null());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.output().unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// The containers that carry the label of this state directory, in any state.
    pub(crate) fn containers(&self, state: &Path) -> Vec<String> {
        self.listed(state, &["--all"])
    }

    /// Those of them that run.
    pub(crate) fn running(&self, state: &Path) -> Vec<String> {
        self.listed(state, &[])
    }

    fn listed(&self, state: &Path, options: &[&str]) -> Vec<String> {
        if self.name == "embedded" {
            return Vec::new();
        }
        let filter = format!("label=goatbuild.state={}", state.display());
        let question = ["container", "ls", "--quiet", "--no-trunc", "--filter", &filter];
        let listed = self.ask(&[&question, options].concat());
        listed.split_whitespace().map(str::to_owned).collect()
    }
}

fn loudly(name: &str, engine: &'static Result<Engine, String>) -> Option<&'static Engine> {
    engine.as_ref().map_err(|reason| peers::skipped(name, reason)).ok()
}

/// The libraries of a root but for the C library's own: those have to fit the machine's loader.
fn libraries(root: &DebianRoot, into: &Path) -> Result<(), String> {
    const OF_THE_LOADER: [&str; 14] = [
        "ld-",
        "libc.",
        "libm.",
        "libmvec.",
        "libpthread.",
        "libdl.",
        "librt.",
        "libresolv.",
        "libutil.",
        "libanl.",
        "libnss_",
        "libthread_db.",
        "libnsl.",
        "libBrokenLocale.",
    ];
    fs::create_dir_all(into).map_err(|error| error.to_string())?;
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    for directory in ["lib", "usr/lib"] {
        let directory = root.path(directory).join(&triplet);
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let library = name.contains(".so") && entry.path().is_file();
            if library && !OF_THE_LOADER.iter().any(|own| name.starts_with(own)) {
                let _ = std::os::unix::fs::symlink(entry.path(), into.join(name));
            }
        }
    }
    Ok(())
}

/// A program in `directory` that is another one with these libraries.
fn wrap(directory: &Path, name: &str, program: &Path, libraries: &Path, more: &str) {
    let text = format!(
        "#!/bin/sh\n{more}LD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n",
        libraries.display(),
        program.display()
    );
    let path = directory.join(name);
    fs::write(&path, text).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// A directory for one engine's state and programs, short enough for a socket's name.
fn place(name: &str) -> Result<PathBuf, String> {
    if !nix_is_root() {
        return Err("the tests start their own, and only root can".to_owned());
    }
    let directory = tempfile::Builder::new().prefix(&format!("goatbuild-{name}-")).tempdir();
    let directory = directory.map_err(|error| error.to_string())?.keep();
    fs::create_dir(directory.join("bin")).map_err(|error| error.to_string())?;
    Ok(directory)
}

fn nix_is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    users.is_some_and(|users| users.split_whitespace().nth(1) == Some("0"))
}

/// Runs a script beside this process, whatever becomes of it: it goes on when this process ends.
fn beside(script: &str, directory: &Path) -> Result<ChildStdin, String> {
    let log = fs::File::create(directory.join("log")).map_err(|error| error.to_string())?;
    let also = log.try_clone().map_err(|error| error.to_string())?;
    let mut child = Command::new("sh")
        .args(["-c", script])
        .env("DIR", directory)
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(also)
        .process_group(0)
        .spawn()
        .map_err(|error| error.to_string())?;
    child.stdin.take().ok_or_else(|| "no input".to_owned())
}

/// `dockerd` without a network of its own; it ends, and all it made goes, when this process ends.
fn start_docker() -> Result<Engine, String> {
    let root = DebianRoot::try_of("docker.io")?;
    let directory = place("docker")?;
    let bin = directory.join("bin");
    let libs = directory.join("lib");
    libraries(&root, &libs)?;
    for (program, of) in [
        ("docker", "usr/bin"),
        ("dockerd", "usr/sbin"),
        ("docker-init", "usr/bin"),
        ("containerd", "usr/bin"),
        ("containerd-shim", "usr/bin"),
        ("containerd-shim-runc-v2", "usr/bin"),
        ("runc", "usr/sbin"),
    ] {
        wrap(&bin, program, &root.path(of).join(program), &libs, "");
    }
    // Is executed inside of containers.
    let init = bin.join("docker-init");
    fs::remove_file(&init).map_err(|error| error.to_string())?;
    let _ = fs::copy(root.path("usr/bin/tini-static"), &init).map_err(|error| error.to_string())?;
    fs::write(directory.join("daemon.json"), "{}").map_err(|error| error.to_string())?;
    let script = "PATH=$DIR/bin:$PATH
dockerd --host unix://$DIR/socket --data-root $DIR/data --exec-root $DIR/exec --pidfile $DIR/pid \
    --config-file $DIR/daemon.json --iptables=false --ip6tables=false --bridge=none < /dev/null &
daemon=$!
cat > /dev/null
kill $daemon
wait $daemon
umount -l $DIR/data $DIR/exec/netns/default
rm -rf $DIR";
    let alive = beside(script, &directory)?;
    let engine = Engine {
        name: "docker",
        variables: vec![
            ("PATH", installed::path_with(&bin)),
            ("DOCKER_HOST", format!("unix://{}/socket", directory.display())),
        ],
        _alive: Some(alive),
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while !engine.try_ask(&["version"]).status.success() {
        if Instant::now() > deadline {
            let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
            let end: Vec<&str> = log.lines().rev().take(3).collect();
            return Err(format!("its daemon does not start: {}", end.join(" | ")));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(engine)
}

/// `podman` with its own storage, and Docker's runc and init.
fn start_podman() -> Result<Engine, String> {
    let (root, tools) = (DebianRoot::try_of("podman")?, DebianRoot::try_of("docker.io")?);
    let directory = place("podman")?;
    let (bin, libs) = (directory.join("bin"), directory.join("lib"));
    libraries(&root, &libs)?;
    libraries(&tools, &libs)?;
    wrap(&bin, "runc", &tools.path("usr/sbin/runc"), &libs, "");
    wrap(&bin, "conmon", &root.path("usr/bin/conmon"), &libs, "");
    let settings = format!(
        "export HOME='{0}' CONTAINERS_CONF='{0}/containers.conf' CONTAINERS_STORAGE_CONF='{0}/storage.conf'\n",
        directory.display()
    );
    wrap(&bin, "podman", &root.path("usr/bin/podman"), &libs, &settings);
    let place = directory.display();
    let containers = format!(
        "[containers]\nseccomp_profile = \"{}\"\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\ninit_path = \"{}\"\n\
         [engine]\nconmon_path = [\"{place}/bin/conmon\"]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\n\
         events_logger = \"file\"\nstatic_dir = \"{place}/static\"\nvolume_path = \"{place}/volumes\"\n\
         tmp_dir = \"{place}/tmp\"\n[engine.runtimes]\nrunc = [\"{place}/bin/runc\"]\n",
        root.path("usr/share/containers/seccomp.json").display(),
        tools.path("usr/bin/tini-static").display(),
    );
    let storage = format!(
        "[storage]\ndriver = \"overlay\"\ngraphroot = \"{place}/store\"\nrunroot = \"{place}/run\"\n"
    );
    let config = directory.join(".config/containers");
    let word = |error: std::io::Error| error.to_string();
    fs::create_dir_all(&config).map_err(word)?;
    fs::write(directory.join("containers.conf"), containers).map_err(word)?;
    fs::write(directory.join("storage.conf"), storage).map_err(word)?;
    fs::write(config.join("policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)
        .map_err(word)?;
    let script = "cat > /dev/null
$DIR/bin/podman rm --all --force
umount -l $DIR/store/overlay
rm -rf $DIR
# What tidies up after a container may still be at work.
sleep 2
rm -rf $DIR";
    let alive = beside(script, &directory)?;
    let engine = Engine {
        name: "podman",
        variables: vec![("PATH", installed::path_with(&bin))],
        _alive: Some(alive),
    };
    let info = engine.try_ask(&["info"]);
    if info.status.success() {
        Ok(engine)
    } else {
        Err(String::from_utf8_lossy(&info.stderr).trim().to_owned())
    }
}
