//! Commands that tell something and change nothing.

use std::cmp::Ordering;

use super::System;
use super::text::{basename, cut, seq};
use crate::debian::shell::{Answer, Call, Doubt, Status, Value, World as _};
use crate::debian::tree::Node;
use crate::debian::version;

/// Those whose answer only a run would tell.
const TELL: [&str; 44] = [
    "a2query",
    "apt-config",
    "awk",
    "cmp",
    "comm",
    "cut",
    "date",
    "diff",
    "dpkg-architecture",
    "dpkg-query",
    "du",
    "egrep",
    "expr",
    "fgrep",
    "file",
    "find",
    "findmnt",
    "gawk",
    "getcap",
    "grep",
    "groups",
    "head",
    "hostname",
    "ls",
    "locale",
    "lsmod",
    "mawk",
    "md5sum",
    "mountpoint",
    "pgrep",
    "pidof",
    "ps",
    "pwd",
    "realpath",
    "seq",
    "sha256sum",
    "sort",
    "tac",
    "tail",
    "tr",
    "tty",
    "uname",
    "uniq",
    "wc",
];

/// Where programs are, in the order of `PATH`.
const DIRECTORIES: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// What the shell has of its own, for `command -v`.
const OWN: [&str; 8] = ["cd", "command", "echo", "printf", "set", "test", "true", "type"];

impl System<'_> {
    /// Answers a command that tells something; none where it isn't one.
    pub(super) fn asked(&mut self, name: &str, call: &Call<'_>) -> Result<Option<Answer>, String> {
        let mut arguments = Vec::new();
        for argument in call.arguments {
            match argument {
                Value::Is(text) => arguments.push(text.as_str()),
                unknown => {
                    let asks = TELL.contains(&name) || ANSWERED.contains(&name);
                    let doubt = unknown.doubt().unwrap_or(Doubt::Later);
                    // `find … -exec` changes something.
                    let asks = asks && !(name == "find" && changes(call));
                    let sets = name.starts_with("db_").then(|| ("RET", doubt.value()));
                    return Ok(asks.then(|| Answer { sets, ..Answer::unknown(&doubt) }));
                }
            }
        }
        let answer = match name {
            "command" | "type" | "which" => self.which(&arguments),
            "dpkg" => return self.dpkg(&arguments, call).map(Some),
            "cat" => self.cat(&arguments, call),
            "basename" | "dirname" => basename(name, &arguments),
            "readlink" => self.readlink(&arguments),
            "getent" => self.getent(&arguments),
            "id" => self.id(&arguments),
            "stat" => self.stat(&arguments),
            "db_get" | "db_fget" | "db_metaget" => self.debconf(name, &arguments),
            "ischroot" => Ok(Answer::ok()),
            "sed" if arguments.iter().any(|it| in_place(it)) => return Ok(None),
            // Scripts start there.
            "cd" if arguments == ["/"] => Ok(Answer::ok()),
            "." | "source" if arguments.len() == 1 => Ok(Answer::ok()),
            // These write files.
            "sort" if arguments.iter().any(|it| it.starts_with("-o")) => return Ok(None),
            "uniq" if arguments.iter().filter(|it| !it.starts_with('-')).count() > 1 => {
                return Ok(None);
            }
            "awk" | "gawk" | "mawk"
                if arguments.iter().any(|it| it.contains(['>', '|']) || it.contains("system")) =>
            {
                return Ok(None);
            }
            "aa-enabled" | "selinuxenabled" => Ok(Answer::ended(Status::Is(1))),
            "find" if !changes(call) => match self.find(&arguments) {
                Some(answer) => answer,
                None => Err(Doubt::Never(call.shown())),
            },
            "find" => return Ok(None),
            "seq" => seq(&arguments),
            // As in debootstrap's.
            "mountpoint" => Ok(Answer::ended(Status::of(arguments.last() == Some(&"/proc")))),
            "cut" if call.input.is_some_and(|input| input.known().is_some()) => {
                cut(&arguments, call)
            }
            "grep" | "fgrep" => self.grep(name, &arguments, call),
            // A package that is about to be unpacked isn't one that dpkg knows.
            "dpkg-query" if self.is_packed => Ok(Answer::ended(Status::Is(1))),
            "cut" | "tr" if call.input.is_some_and(|input| input.known() == Some("")) => {
                Ok(Answer::ok())
            }
            _ if TELL.contains(&name) || name == "sed" => Err(Doubt::Never(call.shown())),
            _ => return Ok(None),
        };
        Ok(Some(answer.unwrap_or_else(|doubt| Answer::unknown(&doubt))))
    }

    fn which(&mut self, arguments: &[&str]) -> Result<Answer, Doubt> {
        let mut found = String::new();
        for name in arguments.iter().filter(|it| !it.starts_with('-')) {
            if OWN.contains(name) {
                found = format!("{name}\n");
                continue;
            }
            let paths: Vec<String> = if name.contains('/') {
                vec![(*name).to_owned()]
            } else {
                DIRECTORIES.iter().map(|directory| format!("{directory}/{name}")).collect()
            };
            let mut there = None;
            for path in paths {
                if there.is_none() && self.tests('x', &path)? {
                    there = Some(path);
                }
            }
            let Some(path) = there else { return Ok(Answer::ended(Status::Is(1))) };
            found.push_str(&path);
            found.push('\n');
        }
        Ok(Answer::printed(Value::Is(found)))
    }

    fn dpkg(&mut self, arguments: &[&str], call: &Call<'_>) -> Result<Answer, String> {
        Ok(match arguments {
            ["--print-architecture"] => {
                Answer::printed(Value::Is(format!("{}\n", self.architecture.name())))
            }
            ["--compare-versions", left, operator, right] => match compare(left, operator, right) {
                Some(holds) => Answer::ended(Status::of(holds)),
                None => return Err(call.shown()),
            },
            ["--assert-multi-arch" | "--assert-working-epoch" | "--assert-long-filenames"] => {
                Answer::ok()
            }
            ["--print-foreign-architectures"] => Answer::ok(),
            [
                "-l" | "-L" | "-s" | "-S" | "--list" | "--listfiles" | "--search" | "--status"
                | "--get-selections",
                ..,
            ] => Answer::unknown(&Doubt::Never(call.shown())),
            _ => return Err(call.shown()),
        })
    }

    fn cat(&mut self, arguments: &[&str], call: &Call<'_>) -> Result<Answer, Doubt> {
        let mut text = Value::is("");
        let mut status = Status::OK;
        let paths: Vec<&&str> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
        if paths.is_empty() {
            text = call.input.cloned().unwrap_or(Value::Never("cat".to_owned()));
        }
        for path in paths {
            match self.reads(path)? {
                Some(more) => text.push(&Value::Is(more)),
                None => status = Status::Is(1),
            }
        }
        Ok(Answer { status, output: text, sets: None })
    }

    fn readlink(&mut self, arguments: &[&str]) -> Result<Answer, Doubt> {
        let paths: Vec<&&str> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
        let flags: Vec<&&str> = arguments.iter().filter(|it| it.starts_with('-')).collect();
        let [path] = paths[..] else { return Err(Doubt::Never("readlink".to_owned())) };
        let tree = self.tree.as_deref().ok_or(Doubt::Later)?;
        let text = match flags[..] {
            [] => match tree.lookup(path).map(|entry| &entry.node) {
                Some(Node::Symlink(target)) => Some(String::from_utf8_lossy(target).into_owned()),
                _ => None,
            },
            [flag] if matches!(*flag, "-f" | "-e" | "-m" | "--canonicalize") => tree
                .follow(path.as_bytes())
                .map(|place| format!("/{}", String::from_utf8_lossy(&place))),
            _ => return Err(Doubt::Never("readlink".to_owned())),
        };
        Ok(match text {
            Some(text) => Answer::printed(Value::Is(text + "\n")),
            None => Answer::ended(Status::Is(1)),
        })
    }

    fn getent(&mut self, arguments: &[&str]) -> Result<Answer, Doubt> {
        let [database @ ("passwd" | "group" | "shadow" | "gshadow"), name] = arguments else {
            return Err(Doubt::Never("getent".to_owned()));
        };
        let text = self.reads(&format!("/etc/{database}"))?.unwrap_or_default();
        let number = |line: &str| line.split(':').nth(2) == Some(name);
        let line = text.lines().find(|line| line.split(':').next() == Some(name) || number(line));
        Ok(match line {
            Some(line) => Answer::printed(Value::Is(format!("{line}\n"))),
            None => Answer::ended(Status::Is(2)),
        })
    }

    fn id(&mut self, arguments: &[&str]) -> Result<Answer, Doubt> {
        let unknown = || Doubt::Never("id".to_owned());
        let names: Vec<&str> =
            arguments.iter().copied().filter(|it| !it.starts_with('-')).collect();
        let [name] = names[..] else {
            // Scripts are run as root.
            return match arguments {
                ["-u" | "-g"] => Ok(Answer::printed(Value::is("0\n"))),
                _ => Err(unknown()),
            };
        };
        let text = self.reads("/etc/passwd")?.unwrap_or_default();
        let Some(line) = text.lines().find(|line| line.split(':').next() == Some(name)) else {
            return Ok(Answer::ended(Status::Is(1)));
        };
        let mut fields = line.split(':').skip(2);
        let (user, group) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let flags: Vec<&str> = arguments.iter().copied().filter(|it| it.starts_with('-')).collect();
        Ok(Answer::printed(match flags[..] {
            ["-u"] => Value::Is(format!("{user}\n")),
            ["-g"] => Value::Is(format!("{group}\n")),
            [] => Value::Never("id".to_owned()),
            _ => return Err(unknown()),
        }))
    }

    /// `stat -c FORMAT PATH`, for formats that ask one thing.
    fn stat(&mut self, arguments: &[&str]) -> Result<Answer, Doubt> {
        let unknown = || Doubt::Never(format!("stat {}", arguments.join(" ")));
        let follows = arguments.contains(&"-L");
        let rest: Vec<&str> = arguments.iter().copied().filter(|it| *it != "-L").collect();
        let (format, path) = match rest[..] {
            ["-c" | "--format" | "--printf", format, path] => (format, path),
            [format, path] => {
                let format = format.strip_prefix("-c").or_else(|| format.strip_prefix("--format="));
                (format.ok_or_else(unknown)?, path)
            }
            _ => return Err(unknown()),
        };
        let tree = self.tree.as_deref().ok_or(Doubt::Later)?;
        let entry = if follows { tree.entry(path) } else { tree.lookup(path) };
        let Some(entry) = entry else { return Ok(Answer::ended(Status::Is(1))) };
        let text = match format.trim_end_matches("\\n") {
            "%a" => format!("{:o}", entry.mode),
            "%u" | "%g" => "0".to_owned(),
            "%U" | "%G" => "root".to_owned(),
            "%u:%g" => "0:0".to_owned(),
            "%U:%G" => "root:root".to_owned(),
            _ => return Err(unknown()),
        };
        Ok(Answer::printed(Value::Is(text + "\n")))
    }

    fn debconf(&mut self, name: &str, arguments: &[&str]) -> Result<Answer, Doubt> {
        if self.answers_later {
            return Ok(self.later(name));
        }
        let value = match (name, arguments) {
            ("db_get", [question]) => {
                let Some(value) = self.answers.get(*question) else {
                    // What debconf answers of a question that doesn't exist.
                    let sets = Some(("RET", Value::is("")));
                    return Ok(Answer { status: Status::Is(10), output: Value::is(""), sets });
                };
                value.clone()
            }
            ("db_fget", _) => "false".to_owned(),
            _ => return Err(Doubt::Never(name.to_owned())),
        };
        let sets = Some(("RET", Value::Is(value)));
        Ok(Answer { status: Status::OK, output: Value::is(""), sets })
    }
}

/// What is answered here, where all arguments are known.
const ANSWERED: [&str; 13] = [
    "basename",
    "cat",
    "command",
    "db_fget",
    "db_get",
    "db_metaget",
    "dirname",
    "getent",
    "id",
    "readlink",
    "stat",
    "type",
    "which",
];

/// Commands that are answered here for some of their arguments.
const ANSWERED_SOMETIMES: [&str; 12] = [
    ".",
    "aa-enabled",
    "cd",
    "dpkg",
    "ischroot",
    "sed",
    "selinuxenabled",
    "source",
    "sort",
    "uniq",
    "awk",
    "mountpoint",
];

/// Whether a command is one that may be answered here.
pub(super) fn asks(name: &str) -> bool {
    TELL.contains(&name) || ANSWERED.contains(&name) || ANSWERED_SOMETIMES.contains(&name)
}

/// Whether a `find` does something with what it finds.
fn changes(call: &Call<'_>) -> bool {
    let actions = ["-delete", "-exec", "-execdir", "-fprint", "-ok"];
    call.arguments.iter().filter_map(Value::known).any(|it| actions.contains(&it))
}

fn in_place(argument: &str) -> bool {
    argument.starts_with("--in-place")
        || (argument.starts_with('-') && !argument.starts_with("--") && argument.contains('i'))
}

/// dpkg's comparison; an empty version is older than all, but for the operators that end in `-nl`.
fn compare(left: &str, operator: &str, right: &str) -> Option<bool> {
    let empty_is_newest = operator.ends_with("-nl");
    let order = match (left.is_empty(), right.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) if empty_is_newest => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, true) if empty_is_newest => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => version::compare(left, right),
    };
    Some(match operator {
        "lt" | "lt-nl" | "<<" => order.is_lt(),
        // An old spelling, which dpkg still reads as "or equal".
        "le" | "le-nl" | "<=" | "<" => order.is_le(),
        "eq" | "=" => order.is_eq(),
        "ne" => order.is_ne(),
        "ge" | "ge-nl" | ">=" | ">" => order.is_ge(),
        "gt" | "gt-nl" | ">>" => order.is_gt(),
        _ => return None,
    })
}
