//! Two files that import each other are one file in two places. What a room's own `mod.rs` shares with
//! the files below it is no circle: they are parts of it.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::sources;

/// A module: the names that lead to it.
type Module = Vec<String>;

/// Circles that are left: where they are, and who is in them. Each is a decision.
const KNOWN: &[(&str, &[&str])] = &[
    // A model has its engine, and an engine looks at models.
    ("", &["engine", "spec"]),
    // A call may lead into a method, and following a method meets calls: one recursion in two files.
    ("engines/vllm/read", &["calls", "follow"]),
    // A model is read field by field, and each file of fields knows the model that it is part of.
    (
        "spec",
        &[
            "assemble",
            "auth",
            "environment",
            "fields",
            "gateway",
            "hardware",
            "image_file",
            "kinds",
            "left_out",
            "local",
            "model",
            "model_file",
            "named",
            "project_file",
            "read",
            "rollout",
            "schema",
            "serve",
            "served_name",
            "target",
            "unique",
        ],
    ),
    // Both serve the same thing: one for good, one to fill its caches or to go first.
    ("steps", &["candidate", "deploy", "warmup"]),
    // What serves is written down, and what is written down says what serves.
    ("targets/local", &["environments", "mounts", "runner", "server", "spec", "state"]),
];

/// Whom each module's neighbours import: of every module, its children and their imports of each other.
#[derive(Default)]
struct Imports {
    of: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>>,
}

/// All modules with their code, and what their `pub use` lines pass on.
struct Crate {
    modules: BTreeMap<Module, Vec<(Module, bool)>>,
    passed_on: BTreeMap<Module, BTreeMap<String, Module>>,
}

impl Crate {
    fn read() -> Self {
        let sources: Vec<(Module, String)> = sources()
            .into_iter()
            .filter(|source| source.path.to_str() != Some("main.rs"))
            .map(|source| {
                let path = source.path.with_extension("");
                let mut module: Module =
                    path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
                if module.last().is_some_and(|last| last == "mod" || module == ["lib"]) {
                    module.pop();
                }
                (module, source.code)
            })
            .collect();
        let names: BTreeSet<Module> = sources.iter().map(|(module, _)| module.clone()).collect();
        let mut modules = BTreeMap::new();
        let mut passed_on: BTreeMap<Module, BTreeMap<String, Module>> = BTreeMap::new();
        for (module, code) in sources {
            let mut imports = Vec::new();
            for import in paths(&code) {
                let Some(whole) = absolute(&names, &module, &import.path) else { continue };
                if import.is_public {
                    passed_on.entry(module.clone()).or_default().insert(import.name, whole.clone());
                }
                imports.push((whole, import.is_public));
            }
            modules.insert(module, imports);
        }
        Self { modules, passed_on }
    }

    /// The module in which the thing at a path is at home.
    fn home(&self, path: &[String]) -> Module {
        let mut path = path.to_vec();
        for _ in 0..8 {
            let known = (0..=path.len()).rev().find(|end| self.modules.contains_key(&path[..*end]));
            let (module, rest) = path.split_at(known.unwrap_or(0));
            let passed = rest.first().and_then(|name| self.passed_on.get(module)?.get(name));
            match passed {
                Some(whole) if *whole != path => path = [whole, &rest[1..]].concat(),
                _ => return module.to_vec(),
            }
        }
        panic!("{path:?} is passed on in a circle");
    }

    fn imports(&self) -> Imports {
        let mut imports = Imports::default();
        for (module, paths) in &self.modules {
            for (path, _) in paths {
                let home = self.home(path);
                let shared =
                    module.iter().zip(&home).take_while(|(one, other)| one == other).count();
                if let (Some(from), Some(to)) = (module.get(shared), home.get(shared)) {
                    let children = imports.of.entry(module[..shared].to_vec()).or_default();
                    children.entry(from.clone()).or_default().insert(to.clone());
                }
            }
        }
        imports
    }
}

struct Import {
    path: Vec<String>,
    /// What it is called here.
    name: String,
    is_public: bool,
}

/// Every path in a file's code, those in braces one by one.
fn paths(code: &str) -> Vec<Import> {
    let mut found = Vec::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let bare = line.trim_start();
        let visible = bare.strip_prefix("pub").map(|rest| {
            let rest = rest
                .strip_prefix('(')
                .and_then(|rest| rest.split_once(')'))
                .map_or(rest, |it| it.1);
            rest.trim_start()
        });
        if let Some(tree) = visible.unwrap_or(bare).strip_prefix("use ") {
            let mut tree = tree.to_owned();
            while !tree.contains(';') {
                tree.push_str(lines.next().unwrap_or(";"));
            }
            expand(tree.split(';').next().unwrap_or(""), &[], visible.is_some(), &mut found);
            continue;
        }
        for chain in line.split(|letter: char| !letter.is_alphanumeric() && !"_:".contains(letter))
        {
            let path: Vec<String> = chain.split("::").map(str::to_owned).collect();
            if path.len() > 1 {
                let name = path[path.len() - 1].clone();
                found.push(Import { path, name, is_public: false });
            }
        }
    }
    found
}

fn expand(tree: &str, before: &[String], is_public: bool, found: &mut Vec<Import>) {
    let split = |path: &str| -> Vec<String> {
        let parts = path.split("::").map(str::trim).filter(|part| !part.is_empty());
        before.iter().cloned().chain(parts.map(str::to_owned)).collect()
    };
    let Some((head, list)) = tree.split_once('{') else {
        let (path, called) = tree.split_once(" as ").unwrap_or((tree, ""));
        let mut path = split(path);
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
        }
        let last = path.last().cloned().unwrap_or_default();
        let name = if called.is_empty() { last } else { called.trim().to_owned() };
        found.push(Import { path, name, is_public });
        return;
    };
    let head = split(head);
    let (mut depth, mut from) = (0, 0);
    let list = list.trim_end().strip_suffix('}').unwrap_or(list);
    for (at, letter) in list.char_indices().chain([(list.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !list[from..at].trim().is_empty() {
                    expand(list[from..at].trim(), &head, is_public, found);
                }
                from = at + 1;
            }
            _ => {}
        }
    }
}

/// A path from the crate's root, if it leads into the crate.
fn absolute(names: &BTreeSet<Module>, module: &[String], path: &[String]) -> Option<Module> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" => {
            let ups = path.iter().take_while(|part| *part == "super").count();
            Some([&module[..module.len().checked_sub(ups)?], &path[ups..]].concat())
        }
        child if names.contains(&[module, &[child.to_owned()]].concat()) => {
            Some([module, path].concat())
        }
        _ => None,
    }
}

/// Groups of neighbours each of which imports, over others, all others.
fn circles(imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let reached = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut left = vec![from];
        while let Some(next) = left.pop() {
            left.extend(
                imports.get(next).into_iter().flatten().filter(|to| seen.insert((*to).clone())),
            );
        }
        seen
    };
    let all: BTreeMap<&String, BTreeSet<String>> =
        imports.keys().map(|name| (name, reached(name))).collect();
    let mut found: Vec<BTreeSet<String>> = Vec::new();
    for (name, to) in &all {
        let back = |other: &&String| all.get(other).is_some_and(|theirs| theirs.contains(*name));
        let circle: BTreeSet<String> = to.iter().filter(back).cloned().collect();
        if circle.len() > 1 && !found.contains(&circle) {
            found.push(circle);
        }
    }
    found
}

#[test]
fn no_two_files_of_a_room_need_each_other() {
    let imports = Crate::read().imports();
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for (parent, children) in &imports.of {
        let parent = parent.join("/");
        for circle in circles(children) {
            let known = KNOWN.iter().position(|(place, members)| {
                *place == parent && circle.iter().all(|it| members.contains(&it.as_str()))
            });
            match known {
                Some(known) => _ = used.insert(known),
                None => wrong.push(format!("src/{parent}: {circle:?} import each other")),
            }
        }
    }
    let left = (0..KNOWN.len()).filter(|known| !used.contains(known));
    wrong.extend(left.map(|known| format!("{:?} is no circle any more", KNOWN[known])));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn this_test_finds_a_circle_through_a_name_that_is_passed_on() {
    let found: Vec<String> = paths("pub use a::{B, c::{self, D as E}};\nlet x = super::f::g(1);")
        .iter()
        .map(|it| format!("{} {} {}", it.path.join("::"), it.name, it.is_public))
        .collect();
    assert_eq!(found, ["a::B B true", "a::c c true", "a::c::D E true", "super::f::g g false"]);
    let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>();
    let imports = [("a", names(&["b", "d"])), ("b", names(&["c"])), ("c", names(&["a"]))];
    let imports = imports.map(|(from, to)| (from.to_owned(), to)).into();
    assert_eq!(circles(&imports), [names(&["a", "b", "c"])]);
}
