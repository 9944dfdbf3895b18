//! dpkg's, debconf's and ucf's commands.

use std::collections::BTreeMap;

use super::{Done, System};
use crate::debian::alternatives::{Alternative, Slave};
use crate::debian::shell::{Answer, Call, Doubt, Status, Value};

/// The defaults of debconf's templates.
pub(super) fn defaults(templates: &str) -> BTreeMap<String, String> {
    let mut answers = BTreeMap::new();
    let mut template = None;
    for line in templates.lines() {
        match line.split_once(':') {
            Some(("Template", name)) => {
                let name = name.trim().to_owned();
                answers.insert(name.clone(), String::new());
                template = Some(name);
            }
            Some(("Default", value)) => {
                if let Some(name) = &template {
                    answers.insert(name.clone(), value.trim().to_owned());
                }
            }
            _ => {}
        }
    }
    answers
}

/// Whether a command takes back what an earlier version did: there is none.
pub(super) fn undoes(name: &str, arguments: &[Value]) -> bool {
    let known = || arguments.iter().filter_map(Value::known);
    match name {
        "update-alternatives" => {
            known().any(|it| matches!(it, "--remove" | "--remove-all" | "--auto"))
        }
        "dpkg-divert" | "dpkg-statoverride" => known().any(|it| it == "--remove"),
        _ => false,
    }
}

impl System<'_> {
    pub(super) fn update_alternatives(&mut self, arguments: &[&str], call: &Call<'_>) -> Done {
        let mut installed = None;
        let mut slaves = Vec::new();
        let mut rest = arguments.iter().copied();
        while let Some(argument) = rest.next() {
            let mut next = || rest.next().ok_or_else(|| call.shown());
            match argument {
                "--install" => {
                    let (link, name, path) = (next()?, next()?, next()?);
                    let priority = next()?.parse().map_err(|_| call.shown())?;
                    installed = Some((link, name, path, priority));
                }
                "--slave" => {
                    let [link, name, path] = [next()?, next()?, next()?].map(str::to_owned);
                    slaves.push(Slave { link, name, path });
                }
                "--quiet" | "--verbose" | "--force" | "--skip-auto" => {}
                "--admindir" | "--altdir" | "--log" => drop(next()?),
                "--list" | "--display" | "--query" => {
                    return Ok(Answer::unknown(&Doubt::Never(call.shown())));
                }
                _ => return Err(call.shown()),
            }
        }
        let Some((link, name, path, priority)) = installed else { return Err(call.shown()) };
        let plain = |path: &str| {
            path.starts_with('/')
                && !path.contains(['\n', ' '])
                && path.split('/').all(|part| part != "..")
        };
        let named = |name: &str| !name.is_empty() && !name.contains(['/', '\n', ' ', '\t']);
        let slaves_are_plain = slaves
            .iter()
            .all(|Slave { link, name, path }: &Slave| plain(link) && named(name) && plain(path));
        if !(plain(link) && named(name) && plain(path) && slaves_are_plain) {
            return Err(call.shown());
        }
        if let Some(tree) = self.tree.as_deref()
            && !tree.exists(path)
        {
            // update-alternatives refuses a path that isn't there.
            return Ok(Answer::ended(Status::Is(2)));
        }
        let [link, name, path] = [link, name, path].map(str::to_owned);
        self.alternatives.retain(|known| (&known.name, &known.path) != (&name, &path));
        self.alternatives.push(Alternative { link, name, path, priority, slaves });
        Ok(Answer::ok())
    }

    /// Files of other packages that are put away for a package's own.
    ///
    /// All packages are unpacked before. A file that two of them have at one path was refused then, so that
    /// only what the package makes itself later is made room for.
    pub(super) fn divert(&mut self, arguments: &[&str], call: &Call<'_>) -> Done {
        let (mut renames, mut to) = (true, None);
        let mut paths = Vec::new();
        let mut rest = arguments.iter().copied();
        while let Some(argument) = rest.next() {
            match argument {
                "--truename" => {
                    let path = rest.next().ok_or_else(|| call.shown())?;
                    return Ok(Answer::printed(Value::Is(format!("{path}\n"))));
                }
                // There is none yet.
                "--list" | "--listpackage" => return Ok(Answer::ok()),
                "--divert" => to = rest.next(),
                "--package" => drop(rest.next()),
                "--rename" => renames = true,
                "--no-rename" => renames = false,
                "--add" | "--quiet" | "--local" => {}
                flag if flag.starts_with('-') => return Err(call.shown()),
                path => paths.push(path),
            }
        }
        let [path] = paths[..] else { return Err(call.shown()) };
        let to = to.map_or_else(|| format!("{path}.distrib"), str::to_owned);
        let Some(tree) = self.tree.as_deref_mut() else { return Ok(Answer::ok()) };
        if renames && tree.lookup(path).is_some() {
            return Ok(Self::outcome(tree.rename(path, &to)));
        }
        Ok(Answer::ok())
    }

    /// A temporary file, or with `-d` a directory.
    pub(super) fn mktemp(&mut self, arguments: &[&str], call: &Call<'_>) -> Done {
        let mut template = "/tmp/tmp.XXXXXXXXXX";
        let mut is_directory = false;
        for argument in arguments {
            match *argument {
                "-d" => is_directory = true,
                "-t" | "-q" | "--tmpdir" => {}
                flag if flag.starts_with('-') => return Err(call.shown()),
                path => template = path,
            }
        }
        if self.tree.is_none() {
            return Ok(Answer::unknown(&Doubt::Later));
        }
        self.temporary += 1;
        let stem = template.trim_end_matches('X');
        let above = if stem.contains('/') { "" } else { "/tmp/" };
        let path = format!("{above}{stem}goatbuild{}", self.temporary);
        let made = match self.tree.as_deref_mut() {
            Some(tree) if is_directory => tree.make_directory(&path, 0o700, true),
            _ => self.write(&path, b"", 0o600),
        };
        Ok(match made {
            Ok(()) => Answer::printed(Value::Is(path + "\n")),
            Err(_) => Answer::ended(Status::Is(1)),
        })
    }

    pub(super) fn statoverride(&mut self, arguments: &[&str], call: &Call<'_>) -> Done {
        let rest: Vec<&str> =
            arguments.iter().copied().filter(|it| *it != "--quiet" && *it != "--force").collect();
        match rest[..] {
            // There is none yet.
            ["--list", ..] => Ok(Answer::ended(Status::Is(1))),
            ["--update", "--add", _, _, mode, path] | ["--add", "--update", _, _, mode, path]
                if mode.bytes().all(|byte| (b'0'..b'8').contains(&byte)) =>
            {
                self.files("chmod", &[mode, path], call)
            }
            _ => Err(call.shown()),
        }
    }

    /// Configuration that is copied once, and its owner's from then on.
    pub(super) fn ucf(&mut self, arguments: &[&str], call: &Call<'_>) -> Done {
        let mut files = Vec::new();
        let mut rest = arguments.iter().copied();
        while let Some(argument) = rest.next() {
            match argument {
                "--sum-file" | "--src-dir" => drop(rest.next()),
                "--three-way" | "--debconf-ok" | "-d" => {}
                flag if flag.starts_with('-') => return Err(call.shown()),
                path => files.push(path),
            }
        }
        let [from, to] = files[..] else { return Err(call.shown()) };
        let Some(tree) = self.tree.as_deref_mut() else { return Ok(Answer::ok()) };
        if tree.entry(to).is_some() {
            return Ok(Answer::ok());
        }
        let Some(bytes) = tree.read(from) else { return Ok(Answer::ended(Status::Is(1))) };
        Ok(Self::outcome(self.write(to, &bytes, 0o644)))
    }
}
