//! The commands of coreutils that change files.

use super::mode::Mode;
use super::{Done, System};
use crate::debian::edit::Failed;
use crate::debian::shell::{Answer, Call, Status, Value, World as _};
use crate::debian::tree::Node;

/// What a command was given: flags, by letter or long name, their values, and the rest.
struct Given<'a> {
    flags: Vec<&'a str>,
    values: Vec<(&'a str, &'a str)>,
    rest: Vec<&'a str>,
}

impl<'a> Given<'a> {
    /// Reads arguments, of whose flags `valued` take a value; none where one isn't in `known`.
    fn read(arguments: &[&'a str], known: &[&'a str], valued: &[&'a str]) -> Option<Self> {
        let mut given = Self { flags: Vec::new(), values: Vec::new(), rest: Vec::new() };
        let mut arguments = arguments.iter().copied();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                given.rest.extend(arguments);
                break;
            }
            let Some(name) = argument.strip_prefix('-').filter(|it| !it.is_empty()) else {
                given.rest.push(argument);
                continue;
            };
            if let Some(name) = name.strip_prefix('-') {
                // `--preserve` has a value only behind an equals sign.
                let name = name.strip_prefix("preserve=").map_or(name, |_| "preserve");
                let (name, value) =
                    name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
                if valued.contains(&name) {
                    given.values.push((name, value.or_else(|| arguments.next())?));
                } else if known.contains(&name) && value.is_none() {
                    given.flags.push(name);
                } else {
                    return None;
                }
                continue;
            }
            for (at, letter) in name.char_indices() {
                let flag = &name[at..at + letter.len_utf8()];
                if valued.contains(&flag) {
                    let value = &name[at + letter.len_utf8()..];
                    let value = if value.is_empty() { arguments.next()? } else { value };
                    given.values.push((flag, value));
                    break;
                }
                if !known.contains(&flag) {
                    return None;
                }
                given.flags.push(flag);
            }
        }
        Some(given)
    }

    fn has(&self, flags: &[&str]) -> bool {
        self.flags.iter().any(|flag| flags.contains(flag))
    }

    fn value(&self, flags: &[&str]) -> Option<&'a str> {
        self.values.iter().rev().find(|(flag, _)| flags.contains(flag)).map(|(_, value)| *value)
    }
}

impl System<'_> {
    pub(super) fn files(&mut self, name: &str, arguments: &[&str], call: &Call<'_>) -> Done {
        let outcome = match name {
            "mkdir" => self.mkdir(arguments),
            "rm" | "unlink" => self.rm(arguments),
            "rmdir" => self.rmdir(arguments),
            "ln" => self.ln(arguments),
            "cp" => self.cp(arguments),
            "mv" => self.mv(arguments),
            "install" => self.install(arguments),
            "chmod" => self.chmod(arguments),
            "touch" => self.touch(arguments),
            "tee" => return self.tee(arguments, call),
            "add-shell" => Some(self.add_shells(arguments)),
            "systemd-tmpfiles" => self.tmpfiles(arguments),
            _ => None,
        };
        outcome.map(Self::outcome).ok_or_else(|| call.shown())
    }

    fn mkdir(&mut self, arguments: &[&str]) -> Option<Result<(), Failed>> {
        let known = ["p", "v", "Z", "parents", "verbose"];
        let given = Given::read(arguments, &known, &["m", "mode"])?;
        let mode = match given.value(&["m", "mode"]) {
            Some(mode) => u32::from_str_radix(mode, 8).ok()? & 0o1777,
            None => 0o755,
        };
        let Some(tree) = self.tree.as_deref_mut() else { return Some(Ok(())) };
        let parents = given.has(&["p", "parents"]);
        let outcomes = given.rest.iter().map(|path| tree.make_directory(path, mode, parents));
        Some(all(outcomes.collect()))
    }

    fn rm(&mut self, arguments: &[&str]) -> Option<Result<(), Failed>> {
        let known = ["f", "r", "R", "v", "d", "force", "recursive", "verbose", "one-file-system"];
        let given = Given::read(arguments, &known, &[])?;
        let Some(tree) = self.tree.as_deref_mut() else { return Some(Ok(())) };
        let (all_below, forced) = (given.has(&["r", "R", "recursive"]), given.has(&["f", "force"]));
        let gone = given.rest.iter().map(|path| {
            let is_directory = tree.lookup(path).is_some_and(|it| it.node == Node::Directory);
            match tree.lookup(path) {
                None if forced => Ok(()),
                Some(_) if is_directory && !all_below => Err("Is a directory"),
                _ => tree.remove(path, all_below),
            }
        });
        Some(all(gone.collect()))
    }

    fn rmdir(&mut self, arguments: &[&str]) -> Option<Result<(), Failed>> {
        let known = ["p", "v", "parents", "verbose", "ignore-fail-on-non-empty"];
        let given = Given::read(arguments, &known, &[])?;
        let Some(tree) = self.tree.as_deref_mut() else { return Some(Ok(())) };
        let forgives = given.has(&["ignore-fail-on-non-empty"]);
        let gone = given.rest.iter().map(|path| match tree.lookup(path).map(|it| &it.node) {
            Some(Node::Directory) => match tree.remove(path, false) {
                Err(_) if forgives => Ok(()),
                outcome => outcome,
            },
            _ => Err("Not a directory"),
        });
        Some(all(gone.collect()))
    }

    fn ln(&mut self, arguments: &[&str]) -> Option<Result<(), Failed>> {
        let known = ["s", "f", "n", "T", "v", "r", "symbolic", "force", "no-dereference"];
        let given = Given::read(arguments, &known, &["t"])?;
        let Some(tree) = self.tree.as_deref_mut() else { return Some(Ok(())) };
        if !given.has(&["s", "symbolic"]) || given.has(&["r"]) || given.value(&["t"]).is_some() {
            return None;
        }
        let force = given.has(&["f", "force"]);
        let whole = given.has(&["n", "T", "no-dereference"]);
        let (targets, to) = match given.rest[..] {
            [target] => (vec![target], target.rsplit('/').next()?),
            [ref targets @ .., to] => (targets.to_vec(), to),
            [] => return None,
        };
        let within = tree.leads_to_directory(to)
            && !(whole && matches!(tree.lookup(to)?.node, Node::Symlink(_)));
        let outcomes = targets.into_iter().map(|target| {
            if within {
                let name = target.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                tree.make_link(&format!("{to}/{name}"), target, force)
            } else {
                tree.make_link(to, target, force)
            }
        });
        Some(all(outcomes.collect()))
    }

    fn cp(&mut self, arguments: &[&str]) -> Option<Result<(), Failed>> {
        let known = [
            "a",
            "p",
            "f",
            "r",
            "R",
            "d",
            "P",
            "n",
            "u",
            "v",
            "L",
            "T",
            "Z",
            "archive",
            "preserve",
            "no-clobber",
            "update",
            "force",
            "recursive",
            "dereference",
            "remove-destination",
        ];
        let given = Given::read(arguments, &known, &[])?;
        let Some(tree) = self.tree.as_deref_mut() else { return Some(Ok(())) };
        let [ref sources @ .., to] = given.rest[..] else { return None };
        let keeps = given.has(&["n", "u", "no-clobber", "update"]);
        let within = tree.leads_to_directory(to) && !given.has(&["T"]);
        let links = given.has(&["a", "d", "P", "archive"]);
        let mut outcomes = Vec::new();
        for source in sources {
            let from = if links { tree.place(source).ok() } else { tree.follow(source.as_bytes()) };
            let from = from.filter(|from| tree.entries.contains_key(from));
            let name = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let to = if within { format!("{to}/{name}") } else { to.to_owned() };
            if *source == "/dev/null" {
                outcomes.push(tree.make_empty(&to));
                continue;
            }
            let (Some(from), Ok(place)) = (from, tree.place(&to)) else {
                outcomes.push(Err("No such file or directory"));
                continue;
            };
            if tree.entries[&from].node == Node::Directory {
                // Whole trees are copied by nobody who was seen.
                return None;
            }
            let place = tree.follow(to.as_bytes()).unwrap_or(place);
            if !(keeps && tree.entries.contains_key(&place)) {
                outcomes.push(tree.copy(&from, place));
            }
        }
        Some(all(outcomes))
    }

    fn mv(&mut self, arguments: &[&str]) -> Option<Result<(), Failed>> {
        let known = ["f", "n", "v", "T", "Z", "force", "no-clobber"];
        let given = Given::read(arguments, &known, &[])?;
        let Some(tree) = self.tree.as_deref_mut() else { return Some(Ok(())) };
        let [ref sources @ .., to] = given.rest[..] else { return None };
        let within = tree.leads_to_directory(to) && !given.has(&["T"]);
        let moved = sources.iter().map(|source| {
            let name = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let to = if within { format!("{to}/{name}") } else { to.to_owned() };
            if given.has(&["n", "no-clobber"]) && tree.lookup(&to).is_some() {
                return Ok(());
            }
            tree.rename(source, &to)
        });
        Some(all(moved.collect()))
    }

    fn install(&mut self, arguments: &[&str]) -> Option<Result<(), Failed>> {
        let known = ["d", "D", "p", "v", "C", "directory", "compare"];
        let valued = ["m", "o", "g", "mode", "owner", "group"];
        let given = Given::read(arguments, &known, &valued)?;
        let mode = match given.value(&["m", "mode"]) {
            Some(mode) => u32::from_str_radix(mode, 8).ok()?,
            None => 0o755,
        };
        let mode = mode & 0o1777;
        let Some(tree) = self.tree.as_deref_mut() else { return Some(Ok(())) };
        if given.has(&["d", "directory"]) {
            let outcomes = given.rest.iter().map(|path| {
                tree.make_directory(path, mode, true)?;
                let place = tree.follow(path.as_bytes()).ok_or("No such file or directory")?;
                tree.change_mode(&place, |_, _| mode)
            });
            return Some(all(outcomes.collect()));
        }
        let [from, to] = given.rest[..] else { return None };
        let name = from.rsplit('/').next().unwrap_or_default();
        let to = if tree.leads_to_directory(to) { format!("{to}/{name}") } else { to.to_owned() };
        if given.has(&["D"])
            && let Some((above, _)) = to.rsplit_once('/')
            && let Err(failed) = tree.make_directory(above, 0o755, true)
        {
            return Some(Err(failed));
        }
        if from == "/dev/null" {
            let place = tree.make_empty(&to).and_then(|()| tree.place(&to));
            return Some(place.and_then(|place| tree.change_mode(&place, |_, _| mode)));
        }
        let copied = tree.follow(from.as_bytes()).ok_or("No such file or directory");
        Some(copied.and_then(|from| {
            let place = tree.place(&to)?;
            tree.copy(&from, place.clone())?;
            tree.change_mode(&place, |_, _| mode)
        }))
    }

    fn chmod(&mut self, arguments: &[&str]) -> Option<Result<(), Failed>> {
        // A mode may begin with a dash: `-x`.
        let (flags, rest): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|argument| {
            argument.strip_prefix('-').is_some_and(|it| it.chars().all(|it| "Rfcv-".contains(it)))
        });
        let (mode, paths) = rest.split_first()?;
        let change = Mode::read(mode)?;
        let recursive = flags.iter().any(|flag| flag.contains('R'));
        let Some(tree) = self.tree.as_deref_mut() else { return Some(Ok(())) };
        let mut outcomes = Vec::new();
        for path in paths {
            let Some(place) = tree.follow(path.as_bytes()) else {
                outcomes.push(Err("No such file or directory"));
                continue;
            };
            let below = if recursive { tree.below(&place) } else { Vec::new() };
            for place in [place].into_iter().chain(below) {
                let is_link = matches!(tree.entries.get(&place), Some(it) if matches!(it.node, Node::Symlink(_)));
                if !is_link {
                    outcomes.push(tree.change_mode(&place, |mode, directory| {
                        change.iter().fold(mode, |mode, change| change.apply(mode, directory))
                    }));
                }
            }
        }
        Some(all(outcomes))
    }

    fn touch(&mut self, arguments: &[&str]) -> Option<Result<(), Failed>> {
        let given = Given::read(arguments, &["a", "c", "m"], &["d", "r", "t", "date"])?;
        let outcomes = given.rest.iter().map(|path| {
            let there = self.tree.as_deref().is_none_or(|tree| tree.entry(path).is_some());
            if there || given.has(&["c"]) { Ok(()) } else { self.write(path, b"", 0o644) }
        });
        Some(all(outcomes.collect()))
    }

    fn tee(&mut self, arguments: &[&str], call: &Call<'_>) -> Done {
        let given = Given::read(arguments, &[], &[]).ok_or_else(|| call.shown())?;
        let text = match call.input {
            Some(Value::Is(text)) => text.clone(),
            Some(Value::Later) => return Ok(Answer::ok()),
            _ => return Err(call.shown()),
        };
        for path in given.rest {
            if path.starts_with("/dev/") {
                continue;
            }
            if self.write(path, text.as_bytes(), 0o644).is_err() {
                return Ok(Answer::ended(Status::Is(1)));
            }
        }
        Ok(Answer::printed(Value::Is(text)))
    }

    fn add_shells(&mut self, arguments: &[&str]) -> Result<(), Failed> {
        let mut text = self.reads("/etc/shells").ok().flatten().unwrap_or_default();
        for shell in arguments {
            if !text.lines().any(|line| line == *shell) {
                text.push_str(shell);
                text.push('\n');
            }
        }
        self.write("/etc/shells", text.as_bytes(), 0o644)
    }
}

/// The first failure, where there is one.
fn all(outcomes: Vec<Result<(), Failed>>) -> Result<(), Failed> {
    outcomes.into_iter().collect()
}
