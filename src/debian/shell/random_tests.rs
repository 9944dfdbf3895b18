//! Random scripts: what is said to be known of one holds in `dash` and `bash`, whatever is unknown turns out to be.

use std::collections::BTreeMap;
use std::process::Command;

use super::random_scripts::Author;
use super::*;

/// What the words of a random script are in a shell: `perhaps` and `tell` take a bit of `$B` each.
const PRELUDE: &str = r#"
ulimit -t 5
B=$1 D=$2; set --
perhaps() { case $B in 0*) B=${B#?}; return 0 ;; *) B=${B#?}; return 1 ;; esac; }
tell() { case $B in 0*) B=${B#?}; echo 'a b' ;; *) B=${B#?}; return 2 ;; esac; }
buffer() { b=$(cat; echo x); printf '%s' "${b%x}"; }
note() { r=$1; shift; [ $# -gt 0 ] || set -- ''; for x; do r="$r [$x]"; done; printf '%s\036' "$r" >&3; }
make() { note make "$@"; }
report() { note report "$@"; }
V=a W= X='a b'
"#;

/// How much is known of what `perhaps` and `tell` come to.
#[derive(Default)]
enum Oracle {
    /// Only a run would tell.
    #[default]
    Never,
    /// Files will tell, which aren't there yet.
    Later,
    /// All is, by one bit after the other.
    Told(u64),
}

/// What certainly happened.
#[derive(Default)]
struct Watched {
    oracle: Oracle,
    /// Commands that certainly ran.
    events: Vec<(String, Vec<Value>)>,
    files: BTreeMap<String, String>,
}

impl World for Watched {
    fn tests(&mut self, _: char, _: &str) -> Result<bool, Doubt> {
        Ok(false)
    }

    fn reads(&mut self, path: &str) -> Result<Option<String>, Doubt> {
        Ok(self.files.get(path).cloned())
    }

    fn finds(&mut self, _: &str) -> Result<Vec<String>, Doubt> {
        Ok(Vec::new())
    }

    fn runs(&mut self, call: &Call<'_>) -> Result<Answer, String> {
        let doubt = match self.oracle {
            Oracle::Later => Doubt::Later,
            _ => Doubt::Never(call.name.to_owned()),
        };
        if let (Oracle::Told(bits), "perhaps" | "tell") = (&mut self.oracle, call.name) {
            let good = *bits & 1 == 0;
            *bits = *bits >> 1 | 1 << 63;
            let output = if good && call.name == "tell" { "a b\n" } else { "" };
            return Ok(Answer { output: Value::is(output), ..Answer::ended(Status::of(good)) });
        }
        // What files decide is left open until they do.
        let later = call.doubt == Some(&Doubt::Later) || call.arguments.contains(&Value::Later);
        match call.name {
            "make" if later => Ok(Answer::unknown(&Doubt::Later)),
            "perhaps" => Ok(Answer { output: Value::is(""), ..Answer::unknown(&doubt) }),
            "tell" => Ok(Answer::unknown(&doubt)),
            "buffer" => Ok(match call.input {
                Some(input) => Answer::printed(input.clone()),
                None => Answer::unknown(&doubt),
            }),
            "report" if call.doubt.is_some() => Ok(Answer::ok()),
            "make" if call.doubt.is_some() => Err("perhaps made".to_owned()),
            "make" if call.arguments.iter().any(|it| it.known().is_none()) => {
                Err("makes what isn't known".to_owned())
            }
            "make" | "report" => {
                self.events.push((call.name.to_owned(), call.arguments.to_vec()));
                Ok(Answer::ok())
            }
            _ => Err(call.shown()),
        }
    }

    fn writes(
        &mut self,
        path: &Value,
        text: &Value,
        append: bool,
        doubt: Option<&Doubt>,
    ) -> Result<(), String> {
        let later = [path, text].contains(&&Value::Later) || doubt == Some(&Doubt::Later);
        if later {
            return Ok(());
        }
        let (Value::Is(path), Value::Is(text), None) = (path, text, doubt) else {
            return Err("perhaps written".to_owned());
        };
        let file = self.files.entry(path.clone()).or_default();
        if !append {
            file.clear();
        }
        file.push_str(text);
        Ok(())
    }
}

/// What the prelude sets.
const VARIABLES: [(&str, &str); 4] = [("V", "a"), ("W", ""), ("X", "a b"), ("D", "/d")];

/// What is wrong with what is said of a script, if anything is; and whether it was followed to its end.
fn judged(seed: u64) -> (bool, Option<String>) {
    let script = Author::new(seed).whole();
    let mut world = Watched::default();
    let text = format!("#!/bin/sh\n{script}");
    if follow(&text, &[], &VARIABLES, &mut world).is_err() {
        return (false, None);
    }
    let bits = ["", "0000000000000000", "0101010101010101", "1011001110001011"];
    for (at, shell) in ["dash", "bash", "dash", "bash"].into_iter().enumerate() {
        let bits = bits[(at + usize::try_from(seed % 4).unwrap()) % 4];
        let directory = tempfile::tempdir().unwrap();
        let whole = format!("exec 3>>\"$2/log\"\n{PRELUDE}{script}");
        let judge = Command::new(shell)
            .args(["-c", &whole, "sh", bits])
            .arg(directory.path())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        // What fails isn't installed.
        // bash 5.2 can't read some documents within substitutions again.
        let unread = String::from_utf8_lossy(&judge.stderr).contains("syntax error");
        if unread || !judge.status.success() {
            continue;
        }
        let said = std::fs::read_to_string(directory.path().join("log")).unwrap();
        if let Some(wrong) = contradicted(&world, &said, directory.path()) {
            let errors = String::from_utf8_lossy(&judge.stderr).into_owned();
            return (
                true,
                Some(format!("seed {seed}, {shell}, {bits}: {wrong}\n{errors}{said}---\n{script}")),
            );
        }
    }
    (true, None)
}

/// What a shell's log says against what was certain.
fn contradicted(world: &Watched, said: &str, directory: &std::path::Path) -> Option<String> {
    let said: Vec<&str> = said.split_terminator('\u{1e}').collect();
    let made = said.iter().filter(|it| it.starts_with("make")).count();
    let makes = world.events.iter().filter(|it| it.0 == "make").count();
    if made != makes {
        return Some(format!("{makes} are made"));
    }
    let mut said = said;
    // The commands of a pipeline run beside each other. What is known whole is looked for first.
    let mut events: Vec<_> = world.events.iter().collect();
    events
        .sort_by_key(|(_, arguments)| !arguments.iter().filter(|it| it.known().is_some()).count());
    for (name, arguments) in events {
        let mut wanted = name.clone();
        for argument in arguments {
            // What isn't known may be several, or none.
            let known = argument.known().map(|it| pattern::quote(&format!(" [{it}]")));
            wanted.push_str(known.as_deref().unwrap_or("*"));
        }
        if arguments.is_empty() {
            wanted.push_str(&pattern::quote(" []"));
        }
        match said.iter().position(|line| matches(&wanted, line)) {
            Some(at) => drop(said.swap_remove(at)),
            None => return Some(format!("{name} {arguments:?} is certain")),
        }
    }
    for name in ["a", "b"] {
        let real = std::fs::read_to_string(directory.join(name)).ok();
        if real.as_ref() != world.files.get(&format!("/d/{name}")) {
            return Some(format!(
                "{name} is {real:?}, not {:?}",
                world.files.get(&format!("/d/{name}"))
            ));
        }
    }
    None
}

#[test]
fn what_is_known_of_random_scripts_holds_in_shells_whatever_is_unknown() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let first = variable("GOATBUILD_TEST_SEED").unwrap_or(0);
    let many = variable("GOATBUILD_TEST_SCRIPTS").unwrap_or(150);
    let (mut followed, mut wrong) = (0, Vec::new());
    for seed in first..first + many {
        let (whole, fault) = judged(seed);
        followed += usize::from(whole);
        wrong.extend(fault);
        if wrong.len() > 30 {
            break;
        }
    }
    wrong.sort_by_key(String::len);
    wrong.truncate(3);
    eprintln!("{followed} of {many} were followed");
    assert!(wrong.is_empty(), "{}", wrong.join("\n====\n"));
    assert!(first > 0 || followed > 50, "{followed}");
}

/// What is refused before files are there is refused whatever they turn out to be.
#[test]
fn what_is_refused_of_random_scripts_before_anything_is_known_is_refused_then() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let many = variable("GOATBUILD_TEST_SCRIPTS").unwrap_or(600);
    let mut refused = 0;
    for seed in 0..many {
        let text = format!("#!/bin/sh\n{}", Author::new(seed).whole());
        let early = |oracle| {
            let mut world = Watched { oracle, ..Watched::default() };
            follow(&text, &[], &VARIABLES, &mut world)
        };
        let Err(error) = early(Oracle::Later) else { continue };
        refused += 1;
        for bits in
            [0, u64::MAX, 0x5555_5555_5555_5555, 0x1234_5678_9ABC_DEF0, 0xFF00_F0F0_CCCC_AAAA]
        {
            let told = early(Oracle::Told(bits));
            assert!(told.is_err(), "seed {seed}, {bits:x}: {error:?}\n{text}");
        }
    }
    assert!(refused > 10, "{refused} of {many}");
}
