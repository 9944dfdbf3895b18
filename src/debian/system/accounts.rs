//! Users and groups of packages, as adduser, shadow's tools and systemd-sysusers make them.
//!
//! Nobody can log in as one. Numbers are the first free ones of the range that Debian's policy (9.2.2) leaves
//! to packages, in the order in which the packages are configured; adduser counts up from 100, the others
//! down from 999.

use super::{Done, System};
use crate::debian::edit::Failed;
use crate::debian::shell::{Answer, Call, Status, World as _};

const FIRST: u32 = 100;
const LAST: u32 = 999;
const NOGROUP: u32 = 65534;

/// A user that is asked for.
#[derive(Default)]
pub(super) struct User<'a> {
    pub(super) name: &'a str,
    pub(super) id: Option<u32>,
    /// The group's number; a group of its own where there is none.
    pub(super) group: Option<u32>,
    pub(super) comment: &'a str,
    pub(super) home: &'a str,
    pub(super) shell: &'a str,
    pub(super) makes_home: bool,
}

/// From which end free numbers are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Up,
    Down,
}

impl System<'_> {
    pub(super) fn accounts(&mut self, name: &str, arguments: &[&str], call: &Call<'_>) -> Done {
        if self.tree.is_none() {
            return Ok(Answer::ok());
        }
        let outcome = match name {
            "adduser" => self.adduser(arguments),
            "addgroup" => self.addgroup(arguments),
            "useradd" => self.useradd(arguments),
            "groupadd" => self.groupadd(arguments),
            "usermod" | "gpasswd" => self.join_groups(name, arguments),
            _ => self.sysusers(arguments),
        };
        match outcome {
            Some(Ok(())) => Ok(Answer::ok()),
            Some(Err(_)) => Ok(Answer::ended(Status::Is(1))),
            None => Err(call.shown()),
        }
    }

    fn adduser(&mut self, arguments: &[&str]) -> Option<Result<(), Failed>> {
        let mut user = User {
            home: "/nonexistent",
            shell: "/usr/sbin/nologin",
            group: Some(NOGROUP),
            makes_home: true,
            ..User::default()
        };
        let (mut is_system, mut has_group) = (false, false);
        let mut names = Vec::new();
        let mut rest = arguments.iter().copied();
        while let Some(argument) = rest.next() {
            let (flag, value) =
                argument.split_once('=').map_or((argument, None), |(flag, it)| (flag, Some(it)));
            let mut value = || value.or_else(|| rest.next());
            match flag {
                "--system" => is_system = true,
                "--group" => has_group = true,
                "--no-create-home" => user.makes_home = false,
                "--quiet"
                | "--force-badname"
                | "--allow-badname"
                | "--allow-bad-names"
                | "--disabled-password"
                | "--disabled-login"
                | "--allow-all-names" => {}
                "--home" => user.home = value()?,
                "--shell" => user.shell = value()?,
                "--gecos" | "--comment" => user.comment = value()?,
                "--ingroup" => user.group = Some(self.group_id(value()?)?),
                "--uid" => user.id = Some(value()?.parse().ok()?),
                "--gid" => user.group = Some(value()?.parse().ok()?),
                flag if flag.starts_with('-') => return None,
                name => names.push(name),
            }
        }
        match names[..] {
            [name, group] if !is_system => Some(self.join(name, group)),
            // `adduser --system --group` makes both, `adduser --group` a group.
            [name] if is_system => {
                user.name = name;
                if has_group {
                    user.group = None;
                }
                user.home = if user.home.is_empty() { "/nonexistent" } else { user.home };
                Some(self.add_user(&user, Order::Up))
            }
            [name] if has_group => Some(self.add_group(name, None, Order::Up).map(drop)),
            _ => None,
        }
    }

    fn addgroup(&mut self, arguments: &[&str]) -> Option<Result<(), Failed>> {
        let (mut id, mut is_system) = (None, false);
        let mut names = Vec::new();
        let mut rest = arguments.iter().copied();
        while let Some(argument) = rest.next() {
            match argument {
                "--system" => is_system = true,
                "--gid" => id = Some(rest.next()?.parse().ok()?),
                "--quiet" | "--force-badname" | "--allow-bad-names" | "--allow-badname" => {}
                flag if flag.starts_with('-') => return None,
                name => names.push(name),
            }
        }
        match names[..] {
            [name] if is_system || id.is_some() => {
                Some(self.add_group(name, id, Order::Up).map(drop))
            }
            [user, group] if !is_system => Some(self.join(user, group)),
            _ => None,
        }
    }

    fn useradd(&mut self, arguments: &[&str]) -> Option<Result<(), Failed>> {
        let mut user = User { shell: "/bin/sh", home: "", ..User::default() };
        let mut is_system = false;
        let mut groups = Vec::new();
        let mut rest = arguments.iter().copied();
        while let Some(argument) = rest.next() {
            let (flag, value) =
                argument.split_once('=').map_or((argument, None), |(flag, it)| (flag, Some(it)));
            let mut value = || value.or_else(|| rest.next());
            match flag {
                "-r" | "--system" => is_system = true,
                "-M" | "--no-create-home" | "-U" | "--user-group" => {}
                "-m" | "--create-home" => user.makes_home = true,
                "-d" | "--home-dir" | "--home" => user.home = value()?,
                "-s" | "--shell" => user.shell = value()?,
                "-c" | "--comment" => user.comment = value()?,
                "-u" | "--uid" => user.id = Some(value()?.parse().ok()?),
                "-g" | "--gid" => user.group = Some(self.group_id(value()?)?),
                "-G" | "--groups" => groups.extend(value()?.split(',')),
                flag if flag.starts_with('-') => return None,
                name if user.name.is_empty() => user.name = name,
                _ => return None,
            }
        }
        if !is_system || user.name.is_empty() {
            return None;
        }
        let home = format!("/home/{}", user.name);
        if user.home.is_empty() {
            user.home = &home;
        }
        let added = self.add_user(&user, Order::Down);
        let name = user.name;
        Some(added.and_then(|()| groups.into_iter().try_for_each(|group| self.join(name, group))))
    }

    fn groupadd(&mut self, arguments: &[&str]) -> Option<Result<(), Failed>> {
        let (mut id, mut is_system, mut name, mut forgives) = (None, false, None, false);
        let mut rest = arguments.iter().copied();
        while let Some(argument) = rest.next() {
            match argument {
                "-r" | "--system" => is_system = true,
                "-f" | "--force" => forgives = true,
                "-g" | "--gid" => id = Some(rest.next()?.parse().ok()?),
                flag if flag.starts_with('-') => return None,
                given if name.is_none() => name = Some(given),
                _ => return None,
            }
        }
        let name = name.filter(|_| is_system || id.is_some())?;
        if self.group_id(name).is_some() && !forgives {
            return Some(Err("File exists"));
        }
        Some(self.add_group(name, id, Order::Down).map(drop))
    }

    /// `usermod -aG groups user` and `gpasswd -a user group`.
    fn join_groups(&mut self, command: &str, arguments: &[&str]) -> Option<Result<(), Failed>> {
        match (command, arguments) {
            ("usermod", ["-aG" | "-a" | "-G" | "--append" | "--groups", .., user]) => {
                let appends = ["-aG", "-a", "--append"];
                if !arguments.iter().any(|it| appends.contains(it)) {
                    return None;
                }
                let groups =
                    arguments[..arguments.len() - 1].iter().filter(|it| !it.starts_with('-'));
                let mut groups = groups.flat_map(|it| it.split(','));
                Some(groups.try_for_each(|group| self.join(user, group)))
            }
            ("gpasswd", ["-a", user, group]) => Some(self.join(user, group)),
            _ => None,
        }
    }

    /// The number of a group, by its name or number.
    pub(super) fn group_id(&mut self, group: &str) -> Option<u32> {
        let text = self.reads("/etc/group").ok()??;
        id_of(&text, group).or_else(|| group.parse().ok())
    }

    pub(super) fn add_group(
        &mut self,
        name: &str,
        id: Option<u32>,
        order: Order,
    ) -> Result<u32, Failed> {
        let groups = self.text("/etc/group");
        if let Some(id) = id_of(&groups, name) {
            return Ok(id);
        }
        let taken = |id: u32| has_id(&groups, id);
        let id = match id {
            Some(id) if taken(id) => return Err("File exists"),
            Some(id) => id,
            None => free(order, &taken)?,
        };
        self.append("/etc/group", &format!("{name}:x:{id}:"), 0o644)?;
        self.append("/etc/gshadow", &format!("{name}:!::"), 0o640)?;
        Ok(id)
    }

    pub(super) fn add_user(&mut self, user: &User<'_>, order: Order) -> Result<(), Failed> {
        let users = self.text("/etc/passwd");
        if id_of(&users, user.name).is_some() {
            return Ok(());
        }
        let groups = self.text("/etc/group");
        let own = user.group.is_none().then(|| id_of(&groups, user.name));
        // useradd gives a user and its new group one number, adduser the first free one to each.
        let alike = own == Some(None) && order == Order::Down;
        let taken = |id: u32| has_id(&users, id) || (alike && has_id(&groups, id));
        let id = match user.id {
            Some(id) if has_id(&users, id) => return Err("File exists"),
            Some(id) => id,
            None => free(order, &taken)?,
        };
        let group = match (user.group, own) {
            (Some(group), _) | (None, Some(Some(group))) => group,
            (None, _) => self.add_group(user.name, alike.then_some(id), order)?,
        };
        let User { name, comment, home, shell, .. } = user;
        let line = format!("{name}:x:{id}:{group}:{comment}:{home}:{shell}");
        self.append("/etc/passwd", &line, 0o644)?;
        self.append("/etc/shadow", &format!("{name}:!:::::::"), 0o640)?;
        match self.tree.as_deref_mut() {
            Some(tree) if user.makes_home && *home != "/nonexistent" => {
                tree.make_directory(home, 0o755, true)
            }
            _ => Ok(()),
        }
    }

    /// Adds a user to a group.
    pub(super) fn join(&mut self, user: &str, group: &str) -> Result<(), Failed> {
        for (path, mode) in [("/etc/group", 0o644), ("/etc/gshadow", 0o640)] {
            let mut found = false;
            let lines: Vec<String> = self
                .text(path)
                .lines()
                .map(|line| {
                    let (before, members) = line.rsplit_once(':').unwrap_or((line, ""));
                    if line.split(':').next() != Some(group) {
                        return line.to_owned();
                    }
                    found = true;
                    if members.split(',').any(|member| member == user) {
                        return line.to_owned();
                    }
                    let comma = if members.is_empty() { "" } else { "," };
                    format!("{before}:{members}{comma}{user}")
                })
                .collect();
            if !found {
                return Err("No such group");
            }
            self.write(path, (lines.join("\n") + "\n").as_bytes(), mode)?;
        }
        Ok(())
    }

    fn text(&mut self, path: &str) -> String {
        self.reads(path).ok().flatten().unwrap_or_default()
    }

    fn append(&mut self, path: &str, line: &str, mode: u32) -> Result<(), Failed> {
        let text = self.text(path) + line + "\n";
        self.write(path, text.as_bytes(), mode)
    }
}

fn id_of(text: &str, name: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

fn has_id(text: &str, id: u32) -> bool {
    text.lines().any(|line| line.split(':').nth(2).and_then(|it| it.parse().ok()) == Some(id))
}

fn free(order: Order, taken: &dyn Fn(u32) -> bool) -> Result<u32, Failed> {
    let found = match order {
        Order::Up => (FIRST..=LAST).find(|id| !taken(*id)),
        Order::Down => (FIRST..=LAST).rev().find(|id| !taken(*id)),
    };
    found.ok_or("no number is free")
}
