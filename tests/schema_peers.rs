//! The published schemas, by validators that nobody here wrote, beside what the reader says.

use crate::support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use goatbuild::spec::{Document, EnvironmentName, Problem, SourceFile, Sources, read};
use serde_json::{Value as Json, json};
use support::project::ran;
use support::{installed, peers};
use toml::{Table, Value as Toml};

const COMPLETE: [&str; 3] = [
    r#"
project = { id = "schema-1", app-prefix = "a-" }
defaults = { serve = { max-inputs = 3 } }
target = { modal = { environment = "goat", builder = "oci" }, local = { runtime = "auto" } }
volumes = { data = { name = "x", mount = "/data" }, model-cache = { name = "y" } }
gpu = { X1 = { vram-gib = 1, usd-per-hour = 1.5 }, H100 = { usd-per-hour = 4 } }
gateway = { litellm = { config = "litellm.yaml", mirror = "b.yaml", reload = ["true"] } }
registries = { plain-http = ["localhost:5000"] }
environment = { staging = { model = { tiny = { env = { OTHER = "x" } } } } }
"#,
    r#"
image = "one"
target = "local"
env = { NAME = "value" }
model = { source = "hf:org/name", ignore = ["original/*"] }
draft = { source = "hf:org/draft", method = "eagle3", num-speculative-tokens = 7 }
hardware = { gpu = "H100", count = 2 }
engine = { name = "vllm", max-model-len = 8192, compilation-config = { mode = 3, x = [1.5, true] } }
serve = { port = 8000, max-inputs = 4, timeout = "1h30m", fast-boot = true, smoke = "never" }
gateway = { alias = "tiny" }
unset = ["serve.max-inputs"]
"#,
    r#"
platform = "linux/arm64"
base = { debian = "bookworm", packages = ["python3"] }
python = "3.12"
requirements = ["vllm==0.13.0"]
overrides = ["torch==2.9.1"]
env = { NAME = "value" }
builder = "oci"
"#,
];

/// Values of all types, some of which fit somewhere.
fn probes() -> Vec<Toml> {
    let texts = [
        "",
        "a b",
        "..",
        "/x",
        "a",
        "A_1",
        "ä",
        "1.2",
        "5m",
        "1h1s",
        "5m1h",
        "hf:a/b",
        "path:x",
        "oci:x",
        "vllm",
        "never",
        "linux/amd64",
        "debian:bookworm",
        "a@b",
    ];
    let mut probes: Vec<Toml> = texts.into_iter().map(|text| Toml::String(text.into())).collect();
    probes.push(Toml::String("a".repeat(64)));
    probes.extend([-1, 0, 1, 8, 9, 1001, 65_536].map(Toml::Integer));
    probes.extend([Toml::Float(1.5), Toml::Float(-0.5), Toml::Boolean(true)]);
    probes.push(Toml::Array(Vec::new()));
    probes.push(Toml::Array(vec!["x".into()]));
    probes.push(Toml::Array(vec![Toml::Integer(1)]));
    probes.push(Toml::Table(Table::new()));
    let table =
        |key: &str, value: Toml| Toml::Table([(key.to_owned(), value)].into_iter().collect());
    probes.push(table("nobody-knows", Toml::Boolean(true)));
    probes.push(table("NAME", Toml::String("x".into())));
    probes.push(table("name", Toml::String("command".into())));
    probes
}

/// The paths of all fields below a schema, names of the user's own as in [`COMPLETE`].
fn paths(schema: &Json, path: &[String], found: &mut Vec<Vec<String>>) {
    let each = &schema["additionalProperties"];
    let own = match path.last().map(String::as_str) {
        _ if !each["type"].is_string() => None,
        Some("volumes") => Some("data"),
        Some("gpu") => Some("X1"),
        Some("environment") => Some("staging"),
        Some("model") => Some("tiny"),
        _ => Some("NAME"),
    };
    let own = own.map(|own| (own.to_owned(), each));
    let fields = schema["properties"].as_object().into_iter().flatten();
    for (name, field) in fields.map(|(name, field)| (name.clone(), field)).chain(own) {
        let inner = [path, &[name]].concat();
        found.push(inner.clone());
        paths(field, &inner, found);
    }
}

/// A complete file with another value at a path.
fn edited(text: &str, path: &[String], value: &Toml) -> Table {
    let mut root: Table = text.parse().unwrap();
    let (last, tables) = path.split_last().unwrap();
    let mut table = &mut root;
    for key in tables {
        let inner = table.entry(key).or_insert_with(|| Toml::Table(Table::new()));
        table = inner.as_table_mut().unwrap();
    }
    table.insert(last.clone(), value.clone());
    root
}

/// What the reader finds wrong in three files.
fn problems(texts: &[String; 3]) -> Vec<Problem> {
    let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
    let sources = Sources {
        project: file("goatbuild.toml", &texts[0]),
        specs: vec![file("specs/tiny.toml", &texts[1])],
        images: vec![file("images/one.toml", &texts[2])],
        mistakes: Vec::new(),
        kinds: goatbuild::project::kinds(),
    };
    match read(&sources, Some(&EnvironmentName::new("staging").unwrap())) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.errors().iter().map(|error| error.problem.clone()).collect(),
    }
}

/// Which documents Python's jsonschema accepts; each is given with the place of its schema.
fn accepted(documents: &[(usize, Json)]) -> Option<Vec<bool>> {
    let venv = peers::venv("jsonschema", &["jsonschema==4.26.0"])?;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("documents.json");
    let schemas = Document::ALL
        .map(|it| serde_json::from_str::<Json>(&it.schema(&goatbuild::project::kinds())).unwrap());
    fs::write(&file, json!({ "schemas": schemas, "documents": documents }).to_string()).unwrap();
    let program = "import json, sys, jsonschema\n\
                   given = json.load(open(sys.argv[1]))\n\
                   checks = []\n\
                   for schema in given['schemas']:\n \
                     jsonschema.Draft7Validator.check_schema(schema)\n \
                     checks.append(jsonschema.Draft7Validator(schema))\n\
                   print(json.dumps([checks[at].is_valid(it) for at, it in given['documents']]))";
    let said = ran(Command::new(venv.join("bin/python")).args(["-c", program]).arg(&file)).done();
    let verdicts: Vec<bool> = serde_json::from_str(&said).unwrap();
    assert_eq!(verdicts.len(), documents.len(), "{said}");
    Some(verdicts)
}

#[test]
fn schemas_accept_what_the_reader_accepts_and_refuse_what_it_does_not_know() {
    let mut cases = Vec::new();
    let mut documents = Vec::new();
    for (place, document) in Document::ALL.iter().enumerate() {
        let schema: Json =
            serde_json::from_str(&document.schema(&goatbuild::project::kinds())).unwrap();
        let mut found = Vec::new();
        paths(&schema, &[], &mut found);
        // In a project, flags of another engine would only be wrong together with the spec's own.
        found.retain(|path| place != 0 || path.last().is_none_or(|last| last != "engine"));
        for path in found {
            for value in probes() {
                let root = edited(COMPLETE[place], &path, &value);
                documents.push((place, serde_json::to_value(&root).unwrap()));
                let mut texts = COMPLETE.map(str::to_owned);
                texts[place] = root.to_string();
                cases.push((path.clone(), value, problems(&texts)));
            }
        }
    }
    assert_eq!(problems(&COMPLETE.map(str::to_owned)), []);
    let Some(verdicts) = accepted(&documents) else { return };
    let mut wrong = Vec::new();
    let (mut both, mut neither) = (0, 0);
    for ((path, value, problems), accepted) in cases.iter().zip(verdicts) {
        // What one file alone can't tell: whether a name exists, and what defaults give.
        let alone: Vec<_> = problems
            .iter()
            .filter(|it| !matches!(it, Problem::DanglingName { .. } | Problem::MissingField { .. }))
            .collect();
        let is_shape =
            |it: &&Problem| matches!(it, Problem::WrongType { .. } | Problem::UnknownField { .. });
        match (problems.is_empty(), accepted) {
            (true, true) => both += 1,
            (true, false) => wrong.push(format!("refused: {path:?} = {value}")),
            (false, false) => neither += 1,
            (false, true) if alone.iter().copied().any(|it| is_shape(&it)) => {
                wrong.push(format!("accepted: {path:?} = {value}: {alone:?}"));
            }
            // A value that only the reader can judge.
            (false, true) => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(both > 500 && neither > 2000, "{both} accepted and {neither} refused by both");
}

/// Every project file of this repository, by the place of its schema.
fn committed() -> Vec<(usize, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git", "cache", "template"].contains(&file.as_str()) {
                    open.push(path);
                }
                continue;
            }
            let toml = path.extension().is_some_and(|extension| extension == "toml");
            let place = match (name.as_str(), file.as_str()) {
                (_, "goatbuild.toml") => 0,
                ("specs", _) if toml => 1,
                ("images", _) if toml && !file.contains("pylock") => 2,
                _ => continue,
            };
            found.push((place, path));
        }
    }
    found
}

#[test]
fn every_committed_project_is_valid() {
    let files = committed();
    assert!(files.len() >= 6, "{files:?}");
    let documents: Vec<(usize, Json)> = files
        .iter()
        .map(|(place, path)| {
            let table: Table = fs::read_to_string(path).unwrap().parse().unwrap();
            (*place, serde_json::to_value(table).unwrap())
        })
        .collect();
    let Some(verdicts) = accepted(&documents) else { return };
    let refused: Vec<_> = files.iter().zip(verdicts).filter(|(_, fine)| !fine).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn editors_find_the_schemas_of_a_new_project() {
    // The language server of TOML that editors use, as a command.
    let Some(venv) = peers::venv("taplo", &["taplo==0.9.3"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut init = installed::goatbuild();
    ran(init.arg("init").arg(directory.path().join("new"))).done();
    let check = || {
        let mut taplo = Command::new(venv.join("bin/taplo"));
        taplo.args(["check", "--no-auto-config"]).current_dir(directory.path().join("new"));
        ran(taplo.args(["goatbuild.toml", "specs/tiny-qwen3.toml", "images/mlx.toml"]))
    };
    let fine = check();
    assert_eq!(fine.code, 0, "{}", fine.stderr);
    let spec = directory.path().join("new/specs/tiny-qwen3.toml");
    let text = fs::read_to_string(&spec).unwrap();
    for (from, to, said) in [
        ("target = \"local\"", "target = \"moon\"", "\"moon\" is not one of"),
        ("target = \"local\"", "taget = \"local\"", "taget"),
        ("source = \"path:models/tiny-qwen3\"", "source = 1", "not of type \"string\""),
    ] {
        fs::write(&spec, text.replace(from, to)).unwrap();
        let refused = check();
        assert_eq!(refused.code, 1, "{to} is fine: {}", refused.stderr);
        assert!(refused.stderr.contains(said), "{to}: {}", refused.stderr);
    }
}
