//! Directories and links of tmpfiles.d(5), where they last: below neither `/run` nor `/tmp`.

use super::System;
use crate::debian::edit::Failed;
use crate::debian::shell::World as _;

impl System<'_> {
    pub(super) fn tmpfiles(&mut self, arguments: &[&str]) -> Option<Result<(), Failed>> {
        let mut files = Vec::new();
        for argument in arguments {
            match *argument {
                "--create" | "--remove" | "--boot" | "--prefix=/dev" => {}
                flag if flag.starts_with('-') => return None,
                path if path.starts_with('/') => files.push(path.to_owned()),
                name => files.push(format!("/usr/lib/tmpfiles.d/{name}")),
            }
        }
        for file in files {
            let Some(text) = self.reads(&file).ok().flatten() else { continue };
            for line in text.lines() {
                if let Err(failed) = self.made_of(line) {
                    return Some(Err(failed));
                }
            }
        }
        Some(Ok(()))
    }

    fn made_of(&mut self, line: &str) -> Result<(), Failed> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [kind, path, ref rest @ ..] = fields[..] else { return Ok(()) };
        let passes = ["/run", "/tmp", "/var/run", "/var/tmp", "/dev", "/sys", "/proc"];
        let passes = passes.iter().any(|it| {
            path.strip_prefix(it).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let Some(tree) = self.tree.as_deref_mut() else { return Ok(()) };
        // A specifier stands for something of the running machine.
        if passes || path.contains('%') {
            return Ok(());
        }
        let mode =
            rest.first().and_then(|it| u32::from_str_radix(it.trim_start_matches('~'), 8).ok());
        match kind.trim_end_matches(['!', '-', '=']) {
            "d" | "D" | "v" | "q" | "Q" => {
                tree.make_directory(path, mode.unwrap_or(0o755) & 0o1777, true)
            }
            "L" | "L+" if tree.lookup(path).is_none() => match rest.get(4) {
                Some(target) => tree.make_link(path, target, false),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
