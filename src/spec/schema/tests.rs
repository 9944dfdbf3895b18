//! The reader is asked, field by field, what it knows and expects: a field that is added to one side
//! alone fails here.

use std::collections::BTreeSet;

use toml::{Table, Value as Toml};

use super::spec::engine;
use super::*;
use crate::spec::TargetTypes;
use crate::spec::{
    EnvironmentName, ModelName, Origin, Problem, SourceFile, Sources, effective, read,
};
use crate::{engines, targets};

fn types() -> TargetTypes {
    targets::built_in().types()
}

const PROJECT: &str = r#"
project = { id = "schema-1" }
target = { modal = { hf-secret = "hub" }, local = {} }
volumes = { data = { mount = "/data" } }
gpu = { X1 = { vram-gib = 1, usd-per-hour = 1 } }
gateway = { litellm = { config = "litellm.yaml" } }
environment = { staging = { model = { tiny = {} } } }
"#;
const SPEC: &str = r#"
image = "one"
model = { source = "hf:org/name" }
draft = { source = "hf:org/draft", method = "eagle3", num-speculative-tokens = 7 }
hardware = { gpu = "H100" }
"#;
const IMAGE: &str = "base = { debian = \"bookworm\" }\n";
const COMMAND: &str = "engine = { name = \"command\", command = [\"serve\"] }\n";

/// Names for things whose names are the user's, by where they stand.
fn sample(path: &[&str]) -> &'static str {
    match path.last() {
        Some(&"volumes") => "data",
        Some(&"gpu") => "X1",
        Some(&"secrets") => "hub",
        Some(&"environment") => "staging",
        Some(&"model") => "tiny",
        _ => "NAME",
    }
}

/// The three files, one of which is about to get something wrong.
struct Files {
    document: Document,
    texts: [String; 3],
}

impl Files {
    fn new(document: Document) -> Self {
        Self { document, texts: [PROJECT, SPEC, IMAGE].map(str::to_owned) }
    }

    fn place(&self) -> usize {
        Document::ALL.iter().position(|other| *other == self.document).expect("is one of them")
    }

    /// What the reader finds wrong when the value at a path is this one.
    fn problems(&self, path: &[&str], value: Toml) -> Vec<Problem> {
        let mut texts = self.texts.clone();
        let mut root: Table = texts[self.place()].parse().expect("TOML");
        let (last, tables) = path.split_last().expect("a path");
        let mut table = &mut root;
        for key in tables {
            let inner = table.entry(*key).or_insert_with(|| Toml::Table(Table::new()));
            table = inner.as_table_mut().expect("a table");
        }
        table.insert((*last).to_owned(), value);
        texts[self.place()] = root.to_string();
        let staging = EnvironmentName::new("staging").expect("a name");
        match read(&sources(&texts), Some(&staging)) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.errors().iter().map(|error| error.problem.clone()).collect(),
        }
    }
}

fn sources([project, spec, image]: &[String; 3]) -> Sources {
    let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
    Sources {
        project: file("goatbuild.toml", project),
        specs: vec![file("specs/tiny.toml", spec)],
        images: vec![file("images/one.toml", image)],
        mistakes: Vec::new(),
        kinds: crate::project::kinds(),
    }
}

/// What the reader may call a field: overrides are reported as what they override.
fn names(path: &[&str]) -> Vec<String> {
    let shown = |path: &[&str]| {
        let keys = path.iter().map(|key| crate::spec::value::key_text(key));
        keys.collect::<Vec<_>>().join(".")
    };
    let own = match path {
        ["environment", _, "model", _, own @ ..]
        | ["environment", _, own @ ..]
        | ["defaults", own @ ..]
        | own => own,
    };
    vec![shown(path), shown(own)]
}

/// Compares the reader with what the schema says of one field; gives what differs.
fn differences(files: &Files, path: &[&str], schema: &Value, wrong: &mut Vec<String>) {
    let names = names(path);
    let mut complain = |what: String| wrong.push(format!("{:?} {path:?}: {what}", files.document));
    let is_here = |field: &String| names.contains(field);
    let date = || Toml::Datetime("2026-01-01".parse().expect("a date"));
    let expected = match (schema["type"].as_str(), schema.get("pattern")) {
        (Some("string"), Some(pattern))
            if pattern.as_str().is_some_and(|it| it.contains("h)?")) =>
        {
            "a duration"
        }
        (Some("string"), _) => "a string",
        (Some("integer"), _) => "an integer",
        (Some("number"), _) => "a number",
        (Some("boolean"), _) => "a boolean",
        (Some("array"), _) if schema["items"]["anyOf"].is_array() => "a list of indices or UUIDs",
        (Some("array"), _) if schema["items"]["type"] == "object" => "a list of tables",
        (Some("array"), _) => "a list of strings",
        (Some("object"), _) => "a table",
        // Values of flags, and what is one of several things.
        _ => return,
    };
    if !path.is_empty() {
        let found = files.problems(path, date());
        let said = found.iter().find_map(|problem| match problem {
            Problem::WrongType { field, expected, .. } if is_here(field) => Some(*expected),
            _ => None,
        });
        // A base is a string or a table; of what is neither, the reader asks for the first.
        let either = path == ["base"] && said == Some("a string");
        if said != Some(expected) && !either {
            complain(format!("a date here should be `{expected}`, the reader says {said:?}"));
        }
    }
    let bad_value = |value: Toml| {
        files.problems(path, value).into_iter().find_map(|problem| match problem {
            Problem::BadValue { field, expected, .. } if is_here(&field) => Some(expected),
            _ => None,
        })
    };
    if let Some(words) = schema["enum"].as_array() {
        let quoted: Vec<String> = words.iter().map(Value::to_string).collect();
        let expected = format!("one of {}", quoted.join(", "));
        let said = bad_value(Toml::String("=".to_owned()));
        if said.as_ref() != Some(&expected) {
            complain(format!("{expected}; the reader says {said:?}"));
        }
        // The reader's default is the first word.
        if schema.get("default").is_some_and(|default| *default != words[0]) {
            complain("the default is not the first word".to_owned());
        }
    }
    if let (Some(least), Some(most)) = (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
        let said = bad_value(Toml::Integer(i64::MAX));
        if said != Some(format!("a number from {least} to {most}")) {
            complain(format!("{least} to {most}; the reader says {said:?}"));
        }
    }
    if schema["additionalProperties"] == false {
        let mut inner = path.to_vec();
        inner.push("nobody-knows");
        let found = files.problems(&inner, Toml::Boolean(true));
        let field = self::names(&inner);
        let known = found.into_iter().find_map(|problem| match problem {
            Problem::UnknownField { field: unknown, known, .. } if field.contains(&unknown) => {
                Some(known.into_iter().collect::<BTreeSet<_>>())
            }
            _ => None,
        });
        let properties = schema["properties"].as_object().expect("fields");
        let properties: BTreeSet<String> = properties.keys().cloned().collect();
        if known.as_ref() != Some(&properties) {
            complain(format!("fields {properties:?}; the reader knows {known:?}"));
        }
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        let mut field = path.to_vec();
        field.push(required.as_str().expect("a name"));
        let empty = Toml::Table(Table::new());
        let found = if path.is_empty() { continue } else { files.problems(path, empty) };
        let is_missing = |problem: &Problem| {
            matches!(problem, Problem::MissingField { field: missing, .. }
                if self::names(&field).contains(missing))
        };
        if !found.iter().any(is_missing) {
            complain(format!("{field:?} is required; the reader goes without"));
        }
    }
}

/// Visits every field below a schema.
fn walk(files: &Files, path: &[&str], schema: &Value, wrong: &mut Vec<String>) {
    differences(files, path, schema, wrong);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let mut inner = path.to_vec();
        inner.push(name);
        walk(files, &inner, field, wrong);
    }
    let each = &schema["additionalProperties"];
    if each["type"].is_string() {
        let mut inner = path.to_vec();
        inner.push(sample(path));
        walk(files, &inner, each, wrong);
    }
}

fn assert_same(wrong: &[String]) {
    assert!(
        wrong.is_empty(),
        "src/spec/schema says something else than the reader:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn schemas_know_what_the_reader_knows() {
    let mut wrong = Vec::new();
    for (document, schema) in [
        (Document::Project, project(&crate::project::kinds())),
        (Document::Spec, spec(engines::built_in(), &types())),
        (Document::Image, image(&types())),
    ] {
        walk(&Files::new(document), &[], &schema, &mut wrong);
    }
    assert_same(&wrong);
}

#[test]
fn schemas_know_the_command_engine_and_all_bases() {
    let mut wrong = Vec::new();
    let mut files = Files::new(Document::Spec);
    files.texts[1].push_str(COMMAND);
    walk(&files, &["engine"], &engine(engines::built_in())["then"], &mut wrong);
    let image = image(&types());
    let bases = image["properties"]["base"]["anyOf"].as_array().expect("several");
    let mut files = Files::new(Document::Image);
    walk(&files, &["base"], &bases[1], &mut wrong);
    files.texts[2] = "base = \"debian:bookworm\"\n".to_owned();
    walk(&files, &["base"], &bases[0], &mut wrong);
    assert_same(&wrong);
}

/// Every default below a schema, by the name of its field.
fn defaults(schema: &Value, path: &str, found: &mut Vec<(String, String)>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{name}");
        if let Some(default) = field.get("default") {
            found.push((path.clone(), default.to_string()));
        }
        defaults(field, &format!("{path}."), found);
    }
}

#[test]
fn defaults_are_those_of_the_reader() {
    let name = ModelName::new("tiny").expect("a name");
    let mut texts = Files::new(Document::Spec).texts;
    let mut built_in = BTreeSet::new();
    for spec in [SPEC.to_owned(), format!("{SPEC}{COMMAND}")] {
        texts[1] = spec;
        let values = effective(&sources(&texts), None, &name).expect("reads").expect("is there");
        let values = values.into_iter().filter(|value| value.origin == Origin::BuiltIn);
        built_in.extend(values.map(|value| (value.field, value.value)));
    }
    let mut said = Vec::new();
    defaults(&spec(engines::built_in(), &types()), "", &mut said);
    defaults(&engine(engines::built_in())["then"], "engine.", &mut said);
    defaults(&image(&types()), "image:", &mut said);
    for default in &said {
        assert!(built_in.contains(default), "{default:?} is not among {built_in:#?}");
    }
    // These depend on the model's name, and on the project's id and GPUs, which a schema can't know.
    let named = ["serve.served-name", "gateway.alias"];
    let is_known = |field: &str| !named.contains(&field) && !field.starts_with("project:");
    for (field, value) in built_in.iter().filter(|(field, _)| is_known(field)) {
        assert!(said.contains(&(field.clone(), value.clone())), "{field} = {value} is not said");
    }
}

#[test]
fn every_field_says_what_it_is() {
    fn silent(schema: &Value, path: &str, found: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let about = field["description"].as_str().unwrap_or_default();
            if !about.ends_with(['.', ':']) && field.get("const").is_none() {
                found.push(path.clone());
            }
            silent(field, &path, found);
        }
    }
    let mut found = Vec::new();
    for schema in [
        project(&crate::project::kinds()),
        spec(engines::built_in(), &types()),
        image(&types()),
        engine(engines::built_in())["then"].clone(),
    ] {
        silent(&schema, "", &mut found);
    }
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn what_is_published_is_what_is_printed() {
    for document in Document::ALL {
        let path = format!("{}/schemas/{}", env!("CARGO_MANIFEST_DIR"), document.file_name());
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            published == document.schema(&crate::project::kinds()),
            "schemas/{} is out of date: print it anew with `goatbuild schema --write schemas`",
            document.file_name()
        );
    }
}
