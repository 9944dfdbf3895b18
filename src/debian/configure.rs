//! What the packages' scripts would leave behind on a new system, made as data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::alternatives::{Alternative, StandIns, choose};
use super::deb::Unpacked;
use super::needed::Needs;
use super::scripts::{self, Reviewed, SCRIPTS};
use super::system::System;
use super::tree::{Node, Tree};
use super::{BaseLayout, DebianError, LockedDebian, certificates, loader_cache};

/// Adds users, configuration, alternatives, certificates and the loader's cache; gives what was left out.
///
/// Packages come in the order in which dpkg would configure them.
pub(super) fn configure(
    tree: &mut Tree,
    packages: &[Unpacked<'_>],
    locked: &LockedDebian,
) -> Result<BTreeSet<&'static str>, DebianError> {
    let LockedDebian { architecture, layout, .. } = *locked;
    let mut alternatives: Vec<Alternative> = Vec::new();
    let mut unknown = Vec::new();
    let mut by_name: Vec<&Unpacked<'_>> = packages.iter().collect();
    by_name.sort_by_key(|package| &package.locked.name);
    for package in by_name {
        let Some(reviewed) = scripts::reviewed(&package.locked.name, layout) else { continue };
        if SCRIPTS.iter().all(|script| !package.control.contains_key(*script)) {
            continue;
        }
        unknown.extend(scripts::grown(&package.locked.name, &package.control, reviewed));
        if let Some(essential) = reviewed.essential.as_deref()
            && layout >= BaseLayout::Essential
        {
            apply(tree, &package.locked.name, essential)?;
        }
        apply(tree, &package.locked.name, reviewed)?;
        alternatives.extend(reviewed.alternatives.iter().map(|it| it.at(architecture)));
    }
    users(tree)?;
    shells(tree, layout)?;
    tree.complete()?;
    let mut left_out = BTreeSet::new();
    let mut stand_ins = StandIns::default();
    for alternative in &alternatives {
        stand_ins.add(tree, alternative);
    }
    for package in packages {
        let Unpacked { locked, control, .. } = package;
        if scripts::reviewed(&locked.name, layout).is_some() {
            continue;
        }
        let templates = control.get("templates").map(Vec::as_slice).unwrap_or_default();
        let templates = String::from_utf8_lossy(templates);
        let mut system = System::new(&locked.name, Some(&mut *tree), architecture, &templates);
        unknown.extend(scripts::follow(&locked.name, control, &mut system));
        if let Some(error) = system.failed {
            return Err(error);
        }
        let System { alternatives: more, left_out: leaves, .. } = system;
        left_out.extend(leaves);
        for alternative in &more {
            stand_ins.add(tree, alternative);
        }
        alternatives.extend(more);
    }
    stand_ins.remove(tree);
    if !unknown.is_empty() {
        unknown.sort_by(|one, other| one.package.cmp(&other.package));
        Needs::read(packages.iter().map(|it| (it.locked, &it.control))).tell(&mut unknown, None);
        return Err(DebianError::UnknownScripts { scripts: unknown });
    }
    let mut by_name: BTreeMap<&str, Vec<&Alternative>> = BTreeMap::new();
    for alternative in &alternatives {
        by_name.entry(&alternative.name).or_default().push(alternative);
    }
    for (name, candidates) in by_name {
        choose(tree, name, candidates)?;
    }
    certificates::install(tree)?;
    for (path, mode) in
        [("tmp", 0o1777), ("proc", 0o555), ("sys", 0o555), ("dev", 0o755), ("run", 0o755)]
    {
        tree.put_directory(path, mode);
    }
    tree.put_file("etc/machine-id", 0o444, b"")?;
    loader_cache::install(tree, architecture)?;
    Ok(left_out)
}

fn apply(tree: &mut Tree, package: &str, reviewed: &Reviewed) -> Result<(), DebianError> {
    for (from, to) in &reviewed.moves {
        tree.move_directory(from, to);
    }
    let failed = |reason: String| DebianError::Configure { package: package.to_owned(), reason };
    for (to, from) in &reviewed.copy {
        let bytes = tree.read(from).ok_or_else(|| failed(format!("{from} is missing")))?;
        tree.put_file(to, 0o644, &bytes)?;
    }
    for (path, target) in &reviewed.link {
        tree.put_link(path, target);
    }
    for (path, mode) in &reviewed.directory {
        tree.put_directory(path, octal(mode));
    }
    for (path, content) in &reviewed.write {
        tree.put_file(path, 0o644, content.as_bytes())?;
    }
    for (path, mode) in &reviewed.mode {
        let changed = tree.change_mode(path.as_bytes(), |_, _| octal(mode));
        changed.map_err(|reason| failed(format!("{path}: {reason}")))?;
    }
    Ok(())
}

fn octal(mode: &str) -> u32 {
    u32::from_str_radix(mode, 8)
        .unwrap_or_else(|_| panic!("BUG: {mode} in reviewed.toml is no octal mode"))
}

/// Users and groups from base-passwd's masters; nobody can log in with a password.
fn users(tree: &mut Tree) -> Result<(), DebianError> {
    let has_bash = tree.exists("usr/bin/bash");
    for (name, shadow, rest) in [("passwd", "shadow", "::0:99999:7:::"), ("group", "gshadow", "::")]
    {
        let master = format!("usr/share/base-passwd/{name}.master");
        let master = tree.read(&master).ok_or_else(|| DebianError::Configure {
            package: "base-passwd".to_owned(),
            reason: format!("{master} is missing"),
        })?;
        let (mut open, mut hidden) = (String::new(), String::new());
        for line in String::from_utf8_lossy(&master).lines() {
            let mut fields: Vec<&str> = line.split(':').collect();
            if fields.len() < 3 {
                continue;
            }
            let _ = writeln!(hidden, "{}:*{rest}", fields[0]);
            fields[1] = "x";
            if fields.last() == Some(&"/bin/bash") && !has_bash {
                fields.pop();
                fields.push("/bin/sh");
            }
            let _ = writeln!(open, "{}", fields.join(":"));
        }
        tree.put_file(&format!("etc/{name}"), 0o644, open.as_bytes())?;
        tree.put_file(&format!("etc/{shadow}"), 0o640, hidden.as_bytes())?;
    }
    Ok(())
}

/// `/etc/shells` as `update-shells` makes it: each shell of `/bin` under its name in `/usr`, too. Bases
/// that were locked before have no `/usr/bin/sh`, and each shell of `/usr/bin` in `/bin`, too.
fn shells(tree: &mut Tree, layout: BaseLayout) -> Result<(), DebianError> {
    let Some(first) = tree.read("usr/share/debianutils/shells") else { return Ok(()) };
    let mut text = String::from_utf8_lossy(&first).into_owned();
    let prefix = b"usr/share/debianutils/shells.d/";
    let parts: Vec<_> = tree
        .entries
        .iter()
        .filter(|(path, _)| path.starts_with(prefix))
        .filter_map(|(_, entry)| match entry.node {
            Node::File { content, .. } => Some(content),
            _ => None,
        })
        .collect();
    let mut shells: Vec<String> = text.lines().map(str::to_owned).collect();
    let is_first = layout == BaseLayout::First;
    let mut lists = if is_first { Vec::new() } else { vec![first] };
    for content in parts {
        lists.push(tree.content(content).map_err(DebianError::io("reading shells"))?);
    }
    for list in lists {
        for shell in String::from_utf8_lossy(&list).lines().filter(|it| it.starts_with('/')) {
            let other = match shell.strip_prefix("/usr/bin/") {
                Some(name) if is_first => format!("/bin/{name}"),
                None if is_first || shell.starts_with("/bin/") => format!("/usr{shell}"),
                _ => shell.to_owned(),
            };
            for shell in [shell.to_owned(), other] {
                if !shells.contains(&shell) {
                    let _ = writeln!(text, "{shell}");
                    shells.push(shell);
                }
            }
        }
    }
    tree.put_file("etc/shells", 0o644, text.as_bytes())
}
