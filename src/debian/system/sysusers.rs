//! Users and groups as sysusers.d(5) describes them.

use super::System;
use super::accounts::{Order, User};
use crate::debian::edit::Failed;
use crate::debian::shell::World as _;

impl System<'_> {
    /// What sysusers.d(5) describes, of the files that are named, or of all.
    pub(super) fn sysusers(&mut self, arguments: &[&str]) -> Option<Result<(), Failed>> {
        let mut files = Vec::new();
        for argument in arguments {
            match argument.strip_prefix('-') {
                Some(_) => return None,
                None if argument.starts_with('/') => files.push((*argument).to_owned()),
                None => files.push(format!("/usr/lib/sysusers.d/{argument}")),
            }
        }
        if files.is_empty() {
            files = self.finds("/usr/lib/sysusers.d/*.conf").ok()?;
        }
        for file in files {
            let Some(text) = self.reads(&file).ok()? else { return Some(Err("No such file")) };
            let mut joins = Vec::new();
            for line in text.lines() {
                let fields = quoted_fields(line)?;
                let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
                let outcome = match fields[..] {
                    // An `r` keeps numbers free for those that a machine makes.
                    [] | ["r", ..] => Ok(()),
                    ["g", name, ref rest @ ..] => {
                        let id = rest.first().filter(|it| **it != "-");
                        let id = id
                            .map(|it| it.parse::<u32>().ok())
                            .map_or(Some(None), |it| it.map(Some))?;
                        self.add_group(name, id, Order::Down).map(drop)
                    }
                    ["u" | "u!", name, ref rest @ ..] => self.sysuser(name, rest)?,
                    ["m", user, group, ..] => {
                        joins.push((user.to_owned(), group.to_owned()));
                        Ok(())
                    }
                    _ => return None,
                };
                if outcome.is_err() {
                    return Some(outcome);
                }
            }
            for (user, group) in joins {
                if let Err(failed) = self.add_group(&group, None, Order::Down).map(drop) {
                    return Some(Err(failed));
                }
                if let Err(failed) = self.join(&user, &group) {
                    return Some(Err(failed));
                }
            }
        }
        Some(Ok(()))
    }

    /// A line of `u`: its number, comment, home and shell.
    fn sysuser(&mut self, name: &str, rest: &[&str]) -> Option<Result<(), Failed>> {
        let given = |at: usize| rest.get(at).copied().filter(|it| *it != "-");
        let (id, group) = match given(0).map(|it| it.split_once(':').unwrap_or((it, ""))) {
            None => (None, None),
            Some((id, "")) => (Some(id.parse().ok()?), None),
            Some((id, group)) => {
                let group = group.parse().ok().or_else(|| self.group_id(group))?;
                (if id == "-" { None } else { Some(id.parse().ok()?) }, Some(group))
            }
        };
        let user = User {
            name,
            id,
            group,
            comment: given(1).unwrap_or_default(),
            home: given(2).unwrap_or("/"),
            shell: given(3).unwrap_or("/usr/sbin/nologin"),
            makes_home: false,
        };
        Some(self.add_user(&user, Order::Down))
    }
}

/// The fields of a line of sysusers.d: split at blanks, but for what is quoted. None where a quote stays open.
fn quoted_fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut open: Option<String> = None;
    let mut quote = None;
    for letter in line.trim().chars() {
        match (letter, quote) {
            ('#', None) if fields.is_empty() && open.is_none() => return Some(fields),
            (letter, Some(mark)) if letter == mark => quote = None,
            ('"' | '\'', None) => {
                quote = Some(letter);
                open.get_or_insert_default();
            }
            (letter, None) if letter.is_whitespace() => fields.extend(open.take()),
            (letter, _) => open.get_or_insert_default().push(letter),
        }
    }
    fields.extend(open);
    quote.is_none().then_some(fields)
}
