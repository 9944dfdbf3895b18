//! A test that ends early without a word looks as if it had passed.

use std::collections::BTreeMap;

use super::functions::{Function, calls, functions, read, texts};

/// Tells that something can't be had, and so that a test goes without it: what it prints is counted.
const TELLS: &str = "skipped";

/// What a test may depend on in the machine that it is compiled for: CI's has all of it.
const MACHINES: [&str; 2] = ["target_os = \"linux\"", "target_arch = \"x86_64\""];

/// The functions that give nothing only after somebody was told: by their types and names.
struct Told<'f> {
    functions: &'f [Function],
    are: Vec<bool>,
    by_name: BTreeMap<&'f str, Vec<usize>>,
}

impl<'f> Told<'f> {
    fn of(functions: &'f [Function]) -> Self {
        let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, function) in functions.iter().enumerate() {
            by_name.entry(&function.name).or_default().push(at);
        }
        let mut told = Self { functions, are: vec![false; functions.len()], by_name };
        loop {
            let news: Vec<usize> = (0..functions.len())
                .filter(|at| !told.are[*at] && functions[*at].signature.contains("-> Option<"))
                .filter(|at| told.tells(&functions[*at], &functions[*at].body) > 0)
                .collect();
            if news.is_empty() {
                return told;
            }
            for at in news {
                told.are[at] = true;
            }
        }
    }

    /// How often this code, of this function, calls what tells, or what gives nothing but then.
    fn tells(&self, of: &Function, code: &str) -> usize {
        let is_told = |(owner, name): &(&str, &str)| {
            if *name == TELLS {
                return true;
            }
            let owner = if *owner == "Self" { &*of.owner } else { *owner };
            let is_type = owner.starts_with(char::is_uppercase);
            let known = self.by_name.get(name).into_iter().flatten().copied();
            let fits = known.filter(|at| match owner {
                "." => !self.functions[*at].owner.is_empty(),
                _ if is_type => self.functions[*at].owner == owner,
                _ => self.functions[*at].owner.is_empty(),
            });
            let mut fits: Vec<usize> = fits.collect();
            // What is in the same file is meant.
            if owner.is_empty() && fits.iter().any(|at| self.functions[*at].file == of.file) {
                fits.retain(|at| self.functions[*at].file == of.file);
            }
            fits.iter().any(|at| self.are[*at])
        };
        calls(code).iter().filter(|call| is_told(call)).count()
    }

    /// Where `?` ends this function with nothing, and nobody was told anything.
    fn unasked(&self, function: &Function) -> Vec<String> {
        let body = &function.body;
        let asked = body.match_indices(")?").filter_map(|(end, _)| {
            let open = open_before(body, end, ['(', ')'])?;
            let start = body[..open].rfind(|it: char| !it.is_alphanumeric() && !"_:.".contains(it));
            Some(&body[start.map_or(0, |at| at + 1)..=open])
        });
        let untold = asked.filter(|call| self.tells(function, call) == 0);
        untold.map(|call| format!("{}: {}: {call}…)?", function.file, function.name)).collect()
    }

    /// Ends of this function at which nobody was told anything.
    fn untold(&self, function: &Function, end: &str) -> Vec<String> {
        let body = &function.body;
        let is_end = |at: &usize| {
            let after = body[at + end.len()..].trim_start();
            let before = &body[..*at];
            let is_word = before.ends_with(char::is_whitespace) && !before.ends_with("return ");
            is_word && after.starts_with([';', '}', ','])
        };
        let ends = body.match_indices(end).map(|(at, _)| at).filter(is_end);
        let untold = ends.filter(|at| {
            let opens = open_before(body, *at, ['{', '}']).unwrap_or(0);
            if self.tells(function, &body[opens..*at]) > 0 {
                return false;
            }
            // `let Some(…) = … else { return };`
            let head = body[..opens].trim_end();
            let Some(head) = head.strip_suffix("else") else { return true };
            let Some((pattern, value)) = head[let_before(head)..].split_once('=') else {
                return true;
            };
            self.tells(function, value) < pattern.matches("Some(").count().max(1)
        });
        let line = |at: usize| body[..at].rsplit('\n').next().unwrap_or_default().trim_start();
        untold
            .map(|at| format!("{}: {}: {}{end}", function.file, function.name, line(at)))
            .collect()
    }
}

/// Where the bracket is that this place is behind, if it is behind one.
fn open_before(code: &str, at: usize, [open, close]: [char; 2]) -> Option<usize> {
    let mut depth = 0;
    let found = code[..at].char_indices().rev().find(|(_, letter)| {
        depth += i32::from(*letter == close) - i32::from(*letter == open);
        depth < 0
    });
    found.map(|(at, _)| at)
}

/// Where the last `let` stands that is not in another block.
fn let_before(code: &str) -> usize {
    let lets = code.match_indices("let ").map(|(at, _)| at).collect::<Vec<_>>();
    let is_outside = |at: &&usize| {
        let depth =
            |open, close| code[**at..].matches(open).count() == code[**at..].matches(close).count();
        depth('{', '}') && depth('(', ')')
    };
    lets.iter().rev().find(is_outside).copied().unwrap_or(0)
}

/// What these tests, and what provides for them, end with and tell nobody; and how many tests there are.
fn silent(functions: &[Function]) -> (usize, Vec<String>) {
    let told = Told::of(functions);
    let is_test = |function: &&Function| {
        function.attributes.contains("test]") || function.attributes.contains("test(")
    };
    let tests: Vec<&Function> = functions.iter().filter(is_test).collect();
    let mut silent: Vec<String> =
        tests.iter().flat_map(|test| told.untold(test, "return")).collect();
    for (provider, _) in functions.iter().zip(&told.are).filter(|(_, are)| **are) {
        silent.extend(told.untold(provider, "return None"));
        silent.extend(told.untold(provider, "None"));
        silent.extend(told.unasked(provider));
    }
    (tests.len(), silent)
}

#[test]
fn a_test_that_ends_early_is_counted_as_skipped() {
    let (tests, silent) = silent(&functions());
    assert!(tests > 800, "{tests} tests");
    assert!(silent.is_empty(), "nobody is told:\n{}", silent.join("\n"));
}

/// CI's machine has all of it, so that a test is compiled there and runs, or is counted as ignored.
#[test]
fn a_test_that_is_left_out_has_a_reason() {
    let mut wrong = Vec::new();
    for function in functions() {
        for attribute in function.attributes.split("#[").filter(|it| it.starts_with("ignore")) {
            let reason = attribute.split('"').nth(1).unwrap_or_default();
            if reason.len() < 10 {
                wrong.push(format!("{}: {}: #[{attribute}", function.file, function.name));
            }
        }
    }
    for (file, text) in texts().iter().filter(|(file, _)| file.starts_with("tests/")) {
        for line in text.lines().map(str::trim_start) {
            let Some(cfg) = line.strip_prefix("#![cfg(").or(line.strip_prefix("#[cfg(")) else {
                continue;
            };
            let left = MACHINES.iter().fold(cfg.to_owned(), |cfg, it| cfg.replace(it, ""));
            if !["all(, ))]", ")]"].contains(&&*left) {
                wrong.push(format!("{file}: {line}"));
            }
        }
    }
    assert!(wrong.is_empty(), "no reason, or none for CI's machine:\n{}", wrong.join("\n"));
}

#[test]
fn this_check_tells_who_was_told_from_who_was_not() {
    let text = r#"
fn peer() -> Option<Peer> {
    match found() {
        Some(peer) => Some(peer),
        None => {
            peers::skipped("a peer", "it is not here");
            None
        }
    }
}

impl World {
    fn new() -> Option<Self> {
        Some(Self(peer()?))
    }

    fn found(&self) -> Option<u8> {
        None
    }
}

#[test]
fn counted() {
    let (Some(world), 3) = (World::new(), 3) else { return };
    if world.is_lame() {
        skipped("legs", "it has none");
        return;
    }
}

#[test]
fn silent_for_want_of_a_file() {
    let Some(world) = World::new() else { return };
    let Some(found) = world.found() else { return };
}

#[tokio::test]
async fn silent_on_a_whim() {
    let said = "peers::skipped(a, b)"; // peers::skipped(a, b)
    if said.is_empty() {
        return;
    }
}

fn half() -> Option<Peer> {
    let world = World::new()?;
    let text = std::fs::read_to_string("x").ok()?;
    if text.is_empty() {
        return None;
    }
    Some(world.0)
}
"#;
    let mut functions = Vec::new();
    read("t.rs", text, &mut functions);
    let (tests, silent) = silent(&functions);
    assert_eq!(tests, 3);
    assert_eq!(
        silent,
        [
            "t.rs: silent_for_want_of_a_file: let Some(found) = world.found() else { return",
            "t.rs: silent_on_a_whim: return",
            "t.rs: half: return None",
            "t.rs: half: .ok(…)?",
        ]
    );
}
