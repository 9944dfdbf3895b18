//! systemd itself, as the manager of a user's services, in namespaces of its own: it begins, which is a
//! boot, and it ends with everything that it started, which is a power cut.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{at_home, names, service, units};
use crate::support::installed;
use crate::support::peers::skipped;
use crate::support::project::{Project, ran};

/// Where Debian and others have it.
const SYSTEMD: &str = "/usr/lib/systemd/systemd";

/// What it is called where it can't be had.
const MANAGER: &str = "systemd as a user's manager";

/// Puts what is behind it in a cgroup of its own, outside of which it sees and moves nothing.
const APART: &str = r#"
echo $$ > "$0/cgroup.procs"
exec unshare --mount --cgroup --pid --fork --kill-child --mount-proc sh -euc "$@"
"#;

/// Begins the manager, and waits until it has started what it starts at boot.
const BOOT: &str = r#"
# To systemd, empty is not unset.
unset XDG_CONFIG_HOME
mount -t tmpfs none /run
mkdir -p /run/systemd/system /run/user
chmod 700 /run/user
umount --recursive /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
export XDG_RUNTIME_DIR=/run/user SYSTEMD_LOG_TARGET=console
"$0" --user > "$HOME/systemd.log" 2>&1 &
for attempt in $(seq 600); do
    systemctl --user is-active default.target > /dev/null 2>&1 && break
    sleep 0.1
done
"#;

/// The cgroup of a boot, removed once all in it has ended.
struct Cgroup(PathBuf);

impl Cgroup {
    fn make() -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
        let unified = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let place = fields.next()?;
            (fields.next()? == "cgroup2").then(|| Path::new(place).to_owned())
        })?;
        let name = format!("goatbuild-test-{}", std::process::id());
        let (mut at, mut number) = (unified.join(&name), 0);
        while std::fs::create_dir(&at).is_err() {
            number += 1;
            at = unified.join(format!("{name}-{number}"));
            if number > 100 {
                return None;
            }
        }
        Some(Self(at))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for _ in 0..100 {
            for entry in walkdir::WalkDir::new(&self.0).contents_first(true).into_iter().flatten() {
                if entry.file_type().is_dir() {
                    let _ = std::fs::remove_dir(entry.path());
                }
            }
            if !self.0.exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

/// Boots, does what the script says, and ends as by a power cut. What the script printed; none, loudly,
/// where systemd can't be had.
#[track_caller]
fn boot(project: &Project, script: &str) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        skipped(MANAGER, "only root can give it a cgroup");
        return None;
    }
    if !Path::new(SYSTEMD).exists() {
        skipped(MANAGER, "it is not installed");
        return None;
    }
    let Some(cgroup) = Cgroup::make() else {
        skipped(MANAGER, "no cgroup can be made");
        return None;
    };
    let mut command = Command::new("sh");
    project.prepare(command.args(["-c", APART]).arg(&cgroup.0));
    command.arg(format!("{BOOT}\n{script}")).arg(SYSTEMD);
    let path = installed::path();
    command.env("PATH", path).env("GOATBUILD", installed::GOATBUILD);
    let ran = ran(&mut command);
    let log = project.directory().join("systemd.log");
    let log = std::fs::read_to_string(log).unwrap_or_default();
    assert_eq!(ran.code, 0, "{}\n{}\n{log}", ran.stdout, ran.stderr);
    Some(format!("{}\n{}", ran.stdout, ran.stderr))
}

#[test]
fn models_are_served_from_boot_to_shutdown_and_after_a_power_cut() {
    let Some(written) = at_home() else { return };
    let Some(mut project) = Project::applied() else { return };
    let home = project.directory().to_str().expect("UTF-8").to_owned();
    project.variable("HOME", &home);
    project.variable("XDG_CONFIG_HOME", "");
    let own = std::mem::replace(&mut project.wrapper, written.wrapper.clone());
    project.run("service install --every 60").exits(0);
    project.wrapper = own;
    let name = service(&project);
    assert_eq!(names(&units(&project)).len(), 5);
    // There is no journal.
    let own = units(&project).join(format!("{name}.service.d"));
    let log = project.directory().join("service.log");
    std::fs::create_dir_all(&own).expect("a directory");
    let text = format!("[Service]\nStandardOutput=append:{}\n", log.display());
    std::fs::write(own.join("log.conf"), text).expect("a file");
    // What a power cut leaves: a state that tells of processes, of which there are none.
    project.kill("tiny");
    let Some(said) = boot(
        &project,
        &format!(
            "systemctl --user show {name} --property ActiveState --property Result\n\
             $GOATBUILD status\n\
             $GOATBUILD service status || true\n\
             grep -l {name} /proc/[0-9]*/cgroup | wc -l\n"
        ),
    ) else {
        return;
    };
    for part in ["ActiveState=active", "Result=success", "tiny  running", "✓ systemd: active"] {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        assert!(said.contains(part), "no {part} in {said}\n{log}");
    }
    // And once more. What looks again starts a server that ended, and all end with the service.
    let ended = "pid=$($GOATBUILD status --json | sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')\n\
         kill -KILL $pid\n\
         sleep 0.5\n\
         $GOATBUILD status\n";
    let said = boot(
        &project,
        &format!(
            "$GOATBUILD status\n{ended}systemctl --user start {name}-again\n$GOATBUILD status\n\
             systemctl --user stop {name}\n$GOATBUILD status\n\
             ! grep -l {name} /proc/[0-9]*/cgroup\n\
             systemctl --user start {name}\n$GOATBUILD status\n"
        ),
    );
    let said = said.expect("it was there");
    let states: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("tiny  "))
        .map(|line| line.split_whitespace().next().unwrap_or_default())
        .collect();
    assert_eq!(states, ["running", "stopped", "running", "stopped", "running"], "{said}");
}
