//! What the server can't do any more: rights given up, limits set, system calls refused.

use std::collections::BTreeMap;

use landlock::{Ruleset, RulesetAttr as _, RulesetCreated, Scope};
use linux_raw_sys::general as sys;
use nix::sys::stat::{Mode, umask};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use super::messages::Failure;
use super::syscalls::{ALLOWED, ALLOWED_HERE, ALLOWED_TOO, REFUSED, REFUSED_HERE};

/// The kernel has 41 capabilities in 2026, and room for 64.
const CAPABILITIES: u32 = 64;

/// The bits of `clone` that ask for a new namespace: cgroup, uts, ipc, user, pid, net, and mounts.
const NEW_NAMESPACES: [u64; 7] =
    [0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000, 0x0002_0000];

/// Families of sockets that reach past the machine's network: the kernel's cryptography, through which
/// it was taken over more than once, and the hypervisor.
const SOCKETS: [u64; 2] = [linux_raw_sys::net::AF_ALG as u64, linux_raw_sys::net::AF_VSOCK as u64];

/// What `personality` may be asked for: nothing, 32-bit addresses and an old version's name, and what
/// it is.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// What types into a terminal (`TIOCSTI`), and what a console is driven by (`TIOCLINUX`).
const TYPING: [u64; 2] =
    [linux_raw_sys::ioctl::TIOCSTI as u64, linux_raw_sys::ioctl::TIOCLINUX as u64];

/// The bits that lend a program the rights of its file's owner, or of its group.
const SET_ID: [u32; 2] = [sys::S_ISUID, sys::S_ISGID];

/// Calls that say what may be done with a file, and the argument in which they do.
const SET_MODE: &[(u32, u8)] = &[
    (sys::__NR_fchmod, 1),
    (sys::__NR_fchmodat, 2),
    (sys::__NR_fchmodat2, 2),
    (sys::__NR_mknodat, 2),
];

/// The same, on this processor alone.
#[cfg(target_arch = "x86_64")]
const SET_MODE_HERE: &[(u32, u8)] =
    &[(sys::__NR_chmod, 1), (sys::__NR_creat, 1), (sys::__NR_mknod, 1)];

/// The same, on this processor alone.
#[cfg(not(target_arch = "x86_64"))]
const SET_MODE_HERE: &[(u32, u8)] = &[];

/// Calls that may make a file, and the argument that says so; the mode is in the next one. `openat2` says
/// both where a filter can't look.
const CREATE: &[(u32, u8)] = &[(sys::__NR_openat, 2)];

/// The same, on this processor alone.
#[cfg(target_arch = "x86_64")]
const CREATE_HERE: &[(u32, u8)] = &[(sys::__NR_open, 1)];

/// The same, on this processor alone.
#[cfg(not(target_arch = "x86_64"))]
const CREATE_HERE: &[(u32, u8)] = &[];

/// The bit of `O_TMPFILE` that isn't `O_DIRECTORY`'s: makes a file without a name.
const TEMPORARY: u32 = 0o20_000_000;

/// Gives up every capability for good, of programs that are executed later too.
pub(super) fn give_up_capabilities() -> Result<(), Failure> {
    let failed = |error: Errno| Failure::setup("giving up capabilities")(error);
    for bit in 0..CAPABILITIES {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            // Past the last one that this kernel has.
            Err(Errno::INVAL) => break,
            done => done.map_err(failed)?,
        }
    }
    // Not every kernel has ambient ones.
    let _ = clear_ambient_capability_set();
    // Root is nobody special: executing a program, or becoming root, gives nothing back.
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED;
    set_capabilities_secure_bits(bits).map_err(failed)?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(failed)
}

/// No file for others to write, and no image of memory, which may hold keys, when it crashes.
pub(super) fn limit() -> Result<(), Failure> {
    let inherited = umask(Mode::from_bits_truncate(0o022));
    umask(inherited | Mode::from_bits_truncate(0o022));
    // One byte, unlike none, also keeps it from the program that the machine may have for it
    // (`fs/coredump.c`). Where none at all is inherited, nobody without rights may raise it.
    let most = Some(getrlimit(Resource::Core).maximum.map_or(1, |most| most.min(1)));
    let least = Rlimit { current: most, maximum: most };
    setrlimit(Resource::Core, least).map_err(Failure::setup("forbidding core dumps"))
}

/// Keeps it from processes and abstract sockets that aren't a server's own, where the kernel knows how
/// (Linux 6.12, with Landlock): the network is the machine's, and so are such sockets, of desktop
/// sessions and of container engines.
pub(super) fn scope() -> Result<(), Failure> {
    Ruleset::default()
        .scope(Scope::AbstractUnixSocket | Scope::Signal)
        .and_then(Ruleset::create)
        .and_then(RulesetCreated::restrict_self)
        .map(drop)
        .map_err(Failure::setup("keeping to its own sockets and processes"))
}

/// Refuses system calls from here on, also to all programs that are executed later.
pub(super) fn filter_system_calls() -> Result<(), Failure> {
    let failed = "filtering system calls";
    for filter in filters().map_err(Failure::setup(failed))? {
        apply_filter(&filter).map_err(Failure::setup(failed))?;
    }
    Ok(())
}

/// Two filters, of which the kernel heeds the stricter one: whether there is such a call, and whether
/// it is permitted.
fn filters() -> Result<[BpfProgram; 2], BackendError> {
    let processor: TargetArch = std::env::consts::ARCH.try_into()?;
    let listed = [ALLOWED, ALLOWED_HERE, ALLOWED_TOO, REFUSED, REFUSED_HERE];
    let known = listed.into_iter().flatten().map(|call| (i64::from(*call), Vec::new())).collect();
    let refused = [REFUSED, REFUSED_HERE].into_iter().flatten();
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> =
        refused.map(|call| (i64::from(*call), Vec::new())).collect();
    for (call, rules) in conditions()? {
        refused.insert(i64::from(call), rules);
    }
    let unknown = SeccompAction::Errno(linux_raw_sys::errno::ENOSYS);
    let forbidden = SeccompAction::Errno(linux_raw_sys::errno::EPERM);
    let known = SeccompFilter::new(known, unknown, SeccompAction::Allow, processor)?;
    let refused = SeccompFilter::new(refused, SeccompAction::Allow, forbidden, processor)?;
    Ok([known.try_into()?, refused.try_into()?])
}

/// Calls that are refused for what they ask.
fn conditions() -> Result<Vec<(u32, Vec<SeccompRule>)>, BackendError> {
    // The kernel looks at the lower half of each of these arguments alone, whatever the upper one is.
    let one = |argument, operator, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
    };
    let any = |argument, values: &[u64]| {
        let rule = |value: &u64| SeccompRule::new(vec![one(argument, SeccompCmpOp::Eq, *value)?]);
        values.iter().map(rule).collect::<Result<Vec<_>, _>>()
    };
    let namespaces = NEW_NAMESPACES
        .iter()
        .map(|bit| SeccompRule::new(vec![one(0, SeccompCmpOp::MaskedEq(*bit), *bit)?]))
        .collect::<Result<Vec<_>, _>>()?;
    let personality = PERSONALITIES
        .iter()
        .map(|value| one(0, SeccompCmpOp::Ne, *value))
        .collect::<Result<Vec<_>, _>>()?;
    let mut conditions = vec![
        (sys::__NR_clone, namespaces),
        (sys::__NR_socket, any(0, &SOCKETS)?),
        (sys::__NR_personality, vec![SeccompRule::new(personality)?]),
        (sys::__NR_ioctl, any(1, &TYPING)?),
    ];
    // A program in a volume that others can look into would make them the user who runs the server, or
    // one of that user's group.
    let has =
        |argument: u8, bit: u32| one(argument, SeccompCmpOp::MaskedEq(bit.into()), bit.into());
    for (call, mode) in SET_MODE.iter().chain(SET_MODE_HERE) {
        let rules = SET_ID.map(|bit| SeccompRule::new(vec![has(*mode, bit)?]));
        conditions.push((*call, rules.into_iter().collect::<Result<_, _>>()?));
    }
    for (call, flags) in CREATE.iter().chain(CREATE_HERE) {
        let rules = [sys::O_CREAT, TEMPORARY].into_iter().flat_map(|flag| {
            SET_ID.map(|bit| SeccompRule::new(vec![has(*flags, flag)?, has(*flags + 1, bit)?]))
        });
        conditions.push((*call, rules.collect::<Result<_, _>>()?));
    }
    Ok(conditions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_allowed_or_refused_once_and_the_filters_are_as_long_as_the_kernel_takes() {
        let mut seen = std::collections::BTreeSet::new();
        let all = [ALLOWED, ALLOWED_HERE, ALLOWED_TOO, REFUSED, REFUSED_HERE];
        for call in all.into_iter().flatten() {
            assert!(seen.insert(call), "{call} twice");
        }
        // `BPF_MAXINSNS`.
        for filter in filters().expect("filters") {
            assert!(filter.len() <= 4096, "{}", filter.len());
        }
    }
}
