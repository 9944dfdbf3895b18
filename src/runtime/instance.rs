//! Who runs: identity, life and end of a sandbox's processes.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::messages::SUBCOMMAND;
use super::{INSTANCE_VARIABLE, Instance, RuntimeError};

/// How long a process may take to vanish after a signal that leaves it no choice.
const VANISH: Duration = Duration::from_secs(5);

/// The few fields of `/proc/<pid>/stat` that matter here.
struct Stat {
    /// Field 3: `Z` and `X` are dead.
    state: char,
    /// Field 4.
    parent: i32,
    /// Field 22, in clock ticks since boot.
    start_time: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the name in parentheses, which may itself hold spaces and parentheses.
        let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
        Some(Self {
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            start_time: fields.nth(17)?.parse().ok()?,
        })
    }
}

/// The identity of the running process `pid`; `None` when it has ended.
pub(super) fn identify(pid: i32, id: &str) -> Option<Instance> {
    Some(Instance {
        boot_id: boot_id(),
        pid,
        start_time: Stat::read(pid)?.start_time,
        id: id.to_owned(),
    })
}

/// Empty where it is hidden: the start time still tells.
fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// True while the supervisor of exactly this instance runs.
///
/// Where processes are shared, a supervisor that was killed may leave some of the server's behind:
/// [`stop`] before the instance is replaced, alive or not.
pub fn is_alive(instance: &Instance) -> bool {
    let runs = Stat::read(instance.pid).is_some_and(|stat| {
        stat.start_time == instance.start_time && !matches!(stat.state, 'Z' | 'X')
    });
    runs && boot_id() == instance.boot_id && names(instance)
}

/// Whether it ran, if it did, since this machine was started last.
pub fn is_of_this_boot(instance: &Instance) -> bool {
    boot_id() == instance.boot_id
}

/// Whether somebody stopped any process of a running instance, and nobody let it go on since: the
/// kernel goes on taking connections for it, and nothing answers them.
pub fn is_stopped(instance: &Instance) -> bool {
    is_alive(instance) && !stopped(instance).is_empty()
}

/// The processes of an instance that were stopped. What a debugger looks at, `t`, is none of them.
fn stopped(instance: &Instance) -> Vec<Pid> {
    let supervisor = Pid::from_raw(instance.pid);
    let mut family = descendants(supervisor);
    family.push(supervisor);
    family.retain(|pid| Stat::read(pid.as_raw()).is_some_and(|stat| stat.state == 'T'));
    family
}

/// The supervisor carries the instance's id in its arguments.
fn names(instance: &Instance) -> bool {
    std::fs::read(format!("/proc/{}/cmdline", instance.pid)).is_ok_and(|arguments| {
        arguments.split(|byte| *byte == 0).any(|argument| argument == instance.id.as_bytes())
    })
}

/// The running instance of this id, whose start was not noted down.
///
/// An apply that is killed right after a start knows nothing but the id that it chose before.
pub fn find(id: &str) -> Option<Instance> {
    let start = [SUBCOMMAND, "start", id];
    let pid = all_processes().find(|pid| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|arguments| {
            let arguments = arguments.split(|byte| *byte == 0).skip(1);
            arguments.take(3).eq(start.iter().map(|argument| argument.as_bytes()))
        })
    })?;
    identify(pid.as_raw(), id)
}

/// Ends an instance and all of its processes; does nothing when there are none.
///
/// SIGTERM, then after `grace` an order to end at once, then SIGKILL. The supervisor itself kills
/// a server 10 s after SIGTERM. Identity is verified before every signal.
pub async fn stop(instance: &Instance, grace: Duration) -> Result<(), RuntimeError> {
    for (signal, patience) in
        [(Signal::SIGTERM, grace), (Signal::SIGINT, VANISH / 2), (Signal::SIGKILL, VANISH)]
    {
        if !is_alive(instance) {
            break;
        }
        // It may end just now, which is what is wanted.
        let _ = kill(Pid::from_raw(instance.pid), signal);
        // What was stopped hears of it only once it goes on.
        for pid in stopped(instance) {
            let _ = kill(pid, Signal::SIGCONT);
        }
        until(patience, || !is_alive(instance)).await;
    }
    // A supervisor that this very process started is a zombie until it is waited for.
    let _ = waitpid(Pid::from_raw(instance.pid), Some(WaitPidFlag::WNOHANG));
    // Without a pid namespace, a supervisor that was killed may have left processes behind.
    let ended = until(VANISH, || {
        let left = remnants(&instance.id);
        for pid in &left {
            let _ = kill(*pid, Signal::SIGKILL);
        }
        left.is_empty()
    })
    .await;
    if ended && !is_alive(instance) {
        Ok(())
    } else {
        Err(RuntimeError::Stop { id: instance.id.clone(), pid: instance.pid })
    }
}

/// Waits until `done`, at most for `patience`; tells whether it is done.
async fn until(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Living processes that carry the instance's id in their environment.
fn remnants(id: &str) -> Vec<Pid> {
    let marker = format!("{INSTANCE_VARIABLE}={id}");
    all_processes()
        .filter(|pid| {
            std::fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).is_ok_and(
                |environment| {
                    environment.split(|byte| *byte == 0).any(|entry| entry == marker.as_bytes())
                },
            )
        })
        .filter(|pid| *pid != nix::unistd::getpid())
        .collect()
}

/// Every living process below `ancestor`.
pub(super) fn descendants(ancestor: Pid) -> Vec<Pid> {
    let parents: Vec<(i32, i32)> = all_processes()
        .filter_map(|pid| {
            let stat = Stat::read(pid.as_raw())?;
            (stat.state != 'Z').then_some((pid.as_raw(), stat.parent))
        })
        .collect();
    let mut family = BTreeSet::from([ancestor.as_raw()]);
    loop {
        let before = family.len();
        for (pid, parent) in &parents {
            if family.contains(parent) {
                family.insert(*pid);
            }
        }
        if family.len() == before {
            family.remove(&ancestor.as_raw());
            return family.into_iter().map(Pid::from_raw).collect();
        }
    }
}

fn all_processes() -> impl Iterator<Item = Pid> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = "42 (a) b) c) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 0 0";
        let stat = Stat::parse(text).expect("parses");
        assert_eq!((stat.state, stat.parent, stat.start_time), ('S', 7, 987_654));
    }

    #[test]
    fn a_reused_process_id_is_another_instance() {
        let me = i32::try_from(std::process::id()).expect("fits");
        let instance = identify(me, "0123").expect("this process runs");
        assert!(!is_alive(&instance), "this process is no supervisor of that id");
        let program = std::env::args().next().expect("has a name");
        let instance = Instance { id: program, ..instance };
        assert!(is_alive(&instance));
        assert!(!is_alive(&Instance { start_time: instance.start_time + 1, ..instance.clone() }));
        assert!(!is_alive(&Instance { boot_id: "another boot".to_owned(), ..instance }));
    }
}
