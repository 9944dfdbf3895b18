//! The system that maintainer scripts find, and change: the packages' files, before anything ever ran.
//!
//! Where there are no files yet, it answers what hangs on none, and tells what it would refuse.

mod accounts;
mod ask;
mod files;
mod find;
mod grep;
mod mode;
mod nothing;
mod packaging;
mod sysusers;
mod text;
mod tmpfiles;

use std::collections::{BTreeMap, BTreeSet};

use super::alternatives::Alternative;
use super::edit::Failed;
use super::shell::{Answer, Call, Doubt, Status, Value, World, matches};
use super::tree::{Entry, Node, Tree};
use super::{Architecture, DebianError};

/// What one package's scripts are followed in.
pub(super) struct System<'t> {
    /// The files of all packages; none before they are there.
    tree: Option<&'t mut Tree>,
    pub(super) architecture: Architecture,
    /// The package whose scripts these are.
    package: String,
    /// What isn't unpacked yet while a `preinst` is at work.
    packed: Vec<(Vec<u8>, Entry)>,
    /// Whether the package is still to be unpacked: a `preinst` is at work.
    is_packed: bool,
    /// How many temporary files were made.
    temporary: usize,
    /// Answers to debconf's questions: what nobody was asked has its default.
    answers: BTreeMap<String, String>,
    /// Whether one was perhaps given that isn't known yet.
    answers_later: bool,
    /// What was told to update-alternatives.
    pub(super) alternatives: Vec<Alternative>,
    /// What was left undone, for people.
    pub(super) left_out: BTreeSet<&'static str>,
    /// What went wrong that isn't the script's business: a full disk.
    pub(super) failed: Option<DebianError>,
}

/// What became of a command that changes something.
type Done = Result<Answer, String>;

impl<'t> System<'t> {
    /// The system in which a package with these templates of debconf's is configured.
    pub(super) fn new(
        package: &str,
        tree: Option<&'t mut Tree>,
        architecture: Architecture,
        templates: &str,
    ) -> Self {
        Self {
            tree,
            architecture,
            package: package.to_owned(),
            packed: Vec::new(),
            is_packed: false,
            temporary: 0,
            answers: packaging::defaults(templates),
            answers_later: false,
            alternatives: Vec::new(),
            left_out: BTreeSet::new(),
            failed: None,
        }
    }

    /// Takes the package's own files out: they aren't unpacked while a `preinst` is at work.
    pub(super) fn pack(&mut self) {
        self.is_packed = true;
        let Some(tree) = self.tree.as_deref_mut() else { return };
        let own = |entry: &Entry| entry.owner == self.package && entry.node != Node::Directory;
        let paths: Vec<Vec<u8>> =
            tree.entries.iter().filter(|it| own(it.1)).map(|(path, _)| path.clone()).collect();
        for path in paths {
            if let Some(entry) = tree.entries.remove(&path) {
                self.packed.push((path, entry));
            }
        }
    }

    /// Unpacks them, over what was made there.
    pub(super) fn unpack(&mut self) {
        self.is_packed = false;
        if let Some(tree) = self.tree.as_deref_mut() {
            tree.entries.extend(self.packed.drain(..));
        }
    }

    fn there(&self, path: &str) -> Result<Option<&Entry>, Doubt> {
        let tree = self.tree.as_deref().ok_or(Doubt::Later)?;
        Ok(tree.entry(path))
    }

    /// Ends a command as the programs of a system end: 1, and a word on standard error.
    fn outcome(outcome: Result<(), Failed>) -> Answer {
        Answer::ended(Status::of(outcome.is_ok()))
    }
}

impl World for System<'_> {
    fn tests(&mut self, test: char, path: &str) -> Result<bool, Doubt> {
        // Nothing runs, and nothing is mounted.
        if ["/run/", "/proc/", "/sys/", "/dev/"].iter().any(|it| path.starts_with(it)) {
            return Ok(path == "/dev/null" && matches!(test, 'e' | 'c' | 'r' | 'w'));
        }
        if path.trim_end_matches('/').is_empty() {
            return Ok(matches!(test, 'e' | 'd' | 'r' | 'w' | 'x'));
        }
        if matches!(test, 'L' | 'h') {
            let tree = self.tree.as_deref().ok_or(Doubt::Later)?;
            return Ok(tree
                .lookup(path)
                .is_some_and(|entry| matches!(entry.node, Node::Symlink(_))));
        }
        let Some(entry) = self.there(path)? else { return Ok(false) };
        Ok(match (test, &entry.node) {
            ('s', Node::File { content, .. }) => content.size > 0,
            ('e' | 'r' | 'w' | 's', _)
            | ('d' | 'x', Node::Directory)
            | ('f', Node::File { .. }) => true,
            ('x', _) => entry.mode & 0o111 != 0,
            ('u', _) => entry.mode & 0o4000 != 0,
            ('g', _) => entry.mode & 0o2000 != 0,
            ('k', _) => entry.mode & 0o1000 != 0,
            ('d' | 'f' | 'p' | 'S' | 'b' | 'c', _) => false,
            _ => return Err(Doubt::Never(format!("test -{test}"))),
        })
    }

    fn reads(&mut self, path: &str) -> Result<Option<String>, Doubt> {
        if self.there(path)?.is_none() {
            return Ok(None);
        }
        let tree = self.tree.as_deref_mut().ok_or(Doubt::Later)?;
        Ok(tree.read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn finds(&mut self, pattern: &str) -> Result<Vec<String>, Doubt> {
        let Some(tree) = self.tree.as_deref() else { return Err(Doubt::Later) };
        let Some(rest) = pattern.strip_prefix('/') else { return Ok(Vec::new()) };
        let mut found = vec![String::new()];
        for part in rest.split('/') {
            let mut next = Vec::new();
            for above in found {
                let Some(place) = tree.follow(above.as_bytes()) else { continue };
                let names = tree.below(&place).into_iter().filter_map(|path| {
                    let skipped = if place.is_empty() { 0 } else { place.len() + 1 };
                    let name = String::from_utf8(path[skipped..].to_vec()).ok()?;
                    (!name.contains('/')).then_some(name)
                });
                // A name that begins with a dot has to be asked for by that.
                let names = names.filter(|name| !name.starts_with('.') || part.starts_with('.'));
                let names = names.filter(|name| matches(part, name));
                next.extend(names.map(|name| format!("{above}/{name}")));
            }
            found = next;
        }
        Ok(found)
    }

    fn runs(&mut self, call: &Call<'_>) -> Result<Answer, String> {
        let plain = ["/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/"];
        let name = plain.iter().find_map(|it| call.name.strip_prefix(it)).unwrap_or(call.name);
        if let Some(what) = nothing::left_out(name) {
            self.left_out.insert(what);
            return Ok(Answer::ok());
        }
        if hangs_on_files(call) && (CHANGES.contains(&name) || ask::asks(name)) {
            return Ok(self.later(name));
        }
        if let Some(answer) = self.asked(name, call)? {
            return Ok(answer);
        }
        if !CHANGES.contains(&name) {
            return Err(call.shown());
        }
        if packaging::undoes(name, call.arguments) {
            return Ok(Answer::ok());
        }
        let mut arguments = Vec::new();
        for argument in call.arguments {
            match argument.known() {
                Some(text) => arguments.push(text),
                None => return Err(hangs_on(&call.shown(), argument.doubt())),
            }
        }
        if let Some(doubt) = call.doubt {
            return Err(hangs_on(&call.shown(), Some(doubt.clone())));
        }
        let answer = self.changed(name, &arguments, call)?;
        // Whether a change goes well hangs on what is there.
        let told = self.tree.is_some() || name == "db_set";
        Ok(if told { answer } else { Answer::unknown(&Doubt::Later) })
    }

    fn writes(
        &mut self,
        path: &Value,
        text: &Value,
        append: bool,
        doubt: Option<&Doubt>,
    ) -> Result<(), String> {
        let shown = format!("writes {}", path.known().unwrap_or("a file"));
        let doubts = [path.doubt(), text.doubt(), doubt.cloned()];
        if doubts.contains(&Some(Doubt::Later)) {
            return Ok(());
        }
        if let Some(doubt) = doubts.into_iter().flatten().next() {
            return Err(hangs_on(&shown, Some(doubt)));
        }
        let (Value::Is(path), Value::Is(text)) = (path, text) else { return Ok(()) };
        let before = if append { self.reads(path).ok().flatten() } else { None };
        let text = before.unwrap_or_default() + text;
        match self.write(path, text.as_bytes(), 0o644) {
            Ok(()) => Ok(()),
            Err(failed) => Err(format!("{shown}: {failed}")),
        }
    }
}

/// The commands that change something, all of them known here.
const CHANGES: [&str; 29] = [
    "add-shell",
    "addgroup",
    "adduser",
    "chmod",
    "cp",
    "db_set",
    "dpkg-divert",
    "dpkg-statoverride",
    "find",
    "gpasswd",
    "groupadd",
    "install",
    "ln",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "rmdir",
    "systemd-sysusers",
    "systemd-tmpfiles",
    "tee",
    "touch",
    "ucf",
    "unlink",
    "update-alternatives",
    "update-shells",
    "useradd",
    "usermod",
    "remove-shell",
];

impl System<'_> {
    /// Leaves open what a command comes to.
    fn later(&mut self, name: &str) -> Answer {
        if name == "db_set" {
            self.answers_later = true;
        }
        let sets = name.starts_with("db_").then_some(("RET", Value::Later));
        Answer { sets, ..Answer::unknown(&Doubt::Later) }
    }

    fn changed(&mut self, name: &str, arguments: &[&str], call: &Call<'_>) -> Done {
        match name {
            "update-alternatives" => self.update_alternatives(arguments, call),
            "dpkg-divert" => self.divert(arguments, call),
            "dpkg-statoverride" => self.statoverride(arguments, call),
            "ucf" => self.ucf(arguments, call),
            "mktemp" => self.mktemp(arguments, call),
            "find" => match self.find(arguments) {
                Some(answer) => Ok(answer.unwrap_or_else(|doubt| Answer::unknown(&doubt))),
                None => Err(call.shown()),
            },
            "db_set" => {
                if let [question, rest @ ..] = arguments {
                    self.answers.insert((*question).to_owned(), rest.join(" "));
                }
                Ok(Answer::ok())
            }
            "adduser" | "addgroup" | "useradd" | "groupadd" | "usermod" | "gpasswd"
            | "systemd-sysusers" => self.accounts(name, arguments, call),
            // /etc/shells is made of what the packages list.
            "update-shells" | "remove-shell" => Ok(Answer::ok()),
            _ => self.files(name, arguments, call),
        }
    }

    /// Writes a file; what the system would say is the error.
    fn write(&mut self, path: &str, bytes: &[u8], mode: u32) -> Result<(), Failed> {
        let Some(tree) = self.tree.as_deref_mut() else { return Ok(()) };
        match tree.write_file(path, bytes, mode) {
            Ok(outcome) => outcome,
            Err(error) => {
                self.failed = Some(error);
                Err("Input/output error")
            }
        }
    }
}

/// Whether it isn't known yet what a command is told, or whether it is run.
fn hangs_on_files(call: &Call<'_>) -> bool {
    call.arguments.contains(&Value::Later)
        || call.input == Some(&Value::Later)
        || call.doubt == Some(&Doubt::Later)
}

fn hangs_on(what: &str, doubt: Option<Doubt>) -> String {
    match doubt {
        Some(Doubt::Never(why)) => format!("{what}, which hangs on `{why}`"),
        _ => what.to_owned(),
    }
}
