//! Generic names and the programs that they may stand for, as update-alternatives keeps them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::DebianError;
use super::tree::Tree;
use crate::platform::Architecture;

/// One candidate for a generic name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Alternative {
    pub(super) link: String,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) priority: i32,
    #[serde(default)]
    pub(super) slaves: Vec<Slave>,
}

impl Alternative {
    /// The same with the paths of an architecture.
    pub(super) fn at(&self, architecture: Architecture) -> Self {
        let here = |text: &str| text.replace("{multiarch}", architecture.multiarch());
        let slave = |slave: &Slave| Slave {
            link: here(&slave.link),
            name: here(&slave.name),
            path: here(&slave.path),
        };
        Self {
            link: here(&self.link),
            name: here(&self.name),
            path: here(&self.path),
            priority: self.priority,
            slaves: self.slaves.iter().map(slave).collect(),
        }
    }
}

/// A link that goes along with an alternative, when its file is there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slave {
    pub(super) link: String,
    pub(super) name: String,
    pub(super) path: String,
}

/// Links a generic name to its best candidate, and tells `update-alternatives` about all.
pub(super) fn choose(
    tree: &mut Tree,
    name: &str,
    mut candidates: Vec<&Alternative>,
) -> Result<(), DebianError> {
    candidates.retain(|it| tree.exists(&it.path));
    candidates.sort_by(|left, right| {
        right.priority.cmp(&left.priority).then_with(|| left.path.cmp(&right.path))
    });
    let Some(best) = candidates.first() else { return Ok(()) };
    link(tree, &best.link, name, &best.path);
    let mut slaves = BTreeMap::new();
    for slave in candidates.iter().flat_map(|candidate| &candidate.slaves) {
        slaves.entry(slave.name.as_str()).or_insert(slave.link.as_str());
    }
    for slave in &best.slaves {
        if tree.exists(&slave.path) {
            link(tree, &slave.link, &slave.name, &slave.path);
        }
    }
    let mut state = format!("auto\n{}\n", best.link);
    for (name, link) in &slaves {
        let _ = write!(state, "{name}\n{link}\n");
    }
    state.push('\n');
    // update-alternatives keeps them sorted by path.
    candidates.sort_by(|left, right| left.path.cmp(&right.path));
    for candidate in candidates {
        let _ = write!(state, "{}\n{}\n", candidate.path, candidate.priority);
        for name in slaves.keys() {
            let slave = candidate.slaves.iter().find(|slave| slave.name == *name);
            let _ = writeln!(state, "{}", slave.map(|it| it.path.as_str()).unwrap_or_default());
        }
    }
    state.push('\n');
    tree.put_file(&format!("var/lib/dpkg/alternatives/{name}"), 0o644, state.as_bytes())
}

fn link(tree: &mut Tree, link: &str, name: &str, path: &str) {
    tree.put_link(link, &format!("/etc/alternatives/{name}"));
    tree.put_link(&format!("etc/alternatives/{name}"), path);
}

/// Links that scripts find of alternatives before all are known.
#[derive(Debug, Default)]
pub(super) struct StandIns {
    places: Vec<Vec<u8>>,
}

impl StandIns {
    /// Links a name to the first program that there is of it.
    pub(super) fn add(&mut self, tree: &mut Tree, alternative: &Alternative) {
        let Alternative { link, name, path, .. } = alternative;
        if !tree.exists(path) || tree.make_directory("/etc/alternatives", 0o755, true).is_err() {
            return;
        }
        let chosen = format!("/etc/alternatives/{name}");
        for (link, target) in [(&chosen, path), (link, &chosen)] {
            if tree.make_link(link, target, false).is_ok() {
                self.places.extend(tree.place(link));
            }
        }
    }

    /// Takes them away again.
    pub(super) fn remove(self, tree: &mut Tree) {
        for place in self.places {
            tree.entries.remove(&place);
        }
    }
}
