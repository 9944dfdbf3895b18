//! Documents that people really write, and worse ones: what an edit makes of each, byte for byte.

mod access;
mod detour;
mod diagnostics;
mod files;
mod mode;
mod properties;

use super::*;

fn entry() -> Entry {
    Entry {
        alias: "tiny-local".into(),
        served_name: "tiny".into(),
        api_base: "http://127.0.0.1:8000/v1".into(),
        access: Access::open(),
        api: Api::Chat,
        project: "goat-1".into(),
        model: "tiny".into(),
        key: "gb1-00".into(),
    }
}

/// Our entry in lines, its dash behind `indent`.
fn lines(indent: &str) -> String {
    let text = "- model_name: tiny-local\n  litellm_params:\n    model: openai/tiny\n    api_base: http://127.0.0.1:8000/v1\n    api_key: none\n  model_info:\n    goatbuild:\n      project: goat-1\n      model: tiny\n      key: gb1-00\n";
    format!("{indent}{}\n", text.trim_end().replace('\n', &format!("\n{indent}")))
}

const FLOW: &str = r#"{"model_name": "tiny-local", "litellm_params": {"model": "openai/tiny", "api_base": "http://127.0.0.1:8000/v1", "api_key": "none"}, "model_info": {"goatbuild": {"project": "goat-1", "model": "tiny", "key": "gb1-00"}}}"#;

fn parse(text: &str) -> Document {
    Document::parse("config.yaml", text).unwrap()
}

fn put(text: &str) -> String {
    let after = upsert(&parse(text), &entry(), false)
        .unwrap_or_else(|error| panic!("{text}\n{:?}", miette::Report::new(error)));
    let again = upsert(&parse(&after), &entry(), false).unwrap();
    assert_eq!(again, after, "a second upsert changes nothing");
    after
}

/// `@0@` and `@2@` stand for our entry in lines, `@flow@` for it in braces.
#[track_caller]
fn becomes(before: &str, after: &str) {
    let after = after.replace("@0@\n", &lines("")).replace("@2@\n", &lines("  "));
    let after = after.replace("@4@\n", &lines("    ")).replace("@flow@", FLOW);
    assert_eq!(put(before), after);
}

/// Like [`becomes`]; taking the entry away again must give the first text.
#[track_caller]
fn becomes_and_back(before: &str, after: &str) {
    becomes(before, after);
    assert_eq!(remove(&parse(&put(before)), "goat-1", "tiny").unwrap(), before);
}

const OTHER: &str = "- model_name: gpt-4\n  litellm_params: {model: gpt-4}\n";

/// acatton/serde-yaml-ng#16: with 100,000 brackets, both parsers together took minutes.
#[test]
fn brackets_in_brackets_are_refused_before_they_take_minutes() {
    let many = |open: &str, close: &str| {
        let text = format!("model_list: {}{}\n", open.repeat(100_000), close.repeat(100_000));
        Document::parse("config.yaml", &text).unwrap_err()
    };
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("{\"\":[", "]}"), ("[", "")] {
        let error = many(open, close).to_string();
        assert!(error.contains("more than 500 brackets are open"), "{error}");
    }
    // Those in texts are few, and need no partner.
    let text = format!("model_list: []\nnote: '{}'\n", "[({ ".repeat(200));
    assert!(Document::parse("config.yaml", &text).is_ok());
}

#[test]
fn a_missing_list_is_added() {
    becomes("", "model_list:\n@2@\n");
    becomes("# only a comment\n", "# only a comment\nmodel_list:\n@2@\n");
    becomes("---\n", "---\nmodel_list:\n@2@\n");
    becomes("a: 1\n# end\n", "a: 1\n# end\nmodel_list:\n@2@\n");
    becomes("---\na: 1\n...\n", "---\na: 1\nmodel_list:\n@2@\n...\n");
    becomes(" a: 1\n b: 2\n", &format!(" a: 1\n b: 2\n model_list:\n{}", lines("   ")));
    becomes("{}\n", "{\"model_list\": [@flow@]}\n");
    becomes("{\"a\": 1}", "{\"a\": 1, \"model_list\": [@flow@]}");
    becomes("{a: 1, b: , }\n", "{a: 1, b: , \"model_list\": [@flow@], }\n");
}

#[test]
fn an_empty_list_is_filled() {
    becomes("model_list:\n", "model_list:\n@2@\n");
    becomes("model_list: # ours\n# x\na: 1\n", "model_list: # ours\n@2@\n# x\na: 1\n");
    becomes("model_list: ~\na: 1\n", "model_list:\n@2@\na: 1\n");
    becomes_and_back("model_list: []\na: 1\n", "model_list:\n@2@\na: 1\n");
    becomes_and_back("model_list: [] # none\n", "model_list: # none\n@2@\n");
    becomes_and_back(
        "model_list: &all []\nb: *all\n".replace("b: *all\n", "").as_str(),
        "model_list: &all\n@2@\n",
    );
    becomes("model_list: [\n  # none\n  ]\n", "model_list: [@flow@\n  # none\n  ]\n");
    becomes("{\"model_list\": []}", "{\"model_list\": [@flow@]}");
}

#[test]
fn the_list_keeps_its_indentation() {
    becomes_and_back(&format!("model_list:\n{OTHER}"), &format!("model_list:\n{OTHER}@0@\n"));
    let other = "    - model_name: a\n      litellm_params: {model: a}\n";
    becomes_and_back(
        &format!("model_list:\n{other}b: 1\n"),
        &format!("model_list:\n{other}@4@\nb: 1\n"),
    );
    let loose = "  -   model_name: a\n\n      litellm_params:\n       model: a\n\n\n";
    becomes_and_back(
        &format!("model_list:\n\n{loose}b: 1\n"),
        &format!(
            "model_list:\n\n{}@2@\n\n\nb: 1\n",
            loose.trim_end_matches("\n\n\n").to_owned() + "\n"
        ),
    );
    becomes_and_back(
        "model_list:\n-\n  model_name: a\n  litellm_params:\n    model: a\n",
        "model_list:\n-\n  model_name: a\n  litellm_params:\n    model: a\n@0@\n",
    );
}

#[test]
fn comments_stay_with_what_they_speak_of() {
    becomes_and_back(
        "model_list:\n  # first\n  - model_name: a\n    litellm_params: {model: a} # why\n    # inner\n  # next\n\n# settings\ns: 1\n",
        "model_list:\n  # first\n  - model_name: a\n    litellm_params: {model: a} # why\n    # inner\n@2@\n  # next\n\n# settings\ns: 1\n",
    );
    // `- x` within comments, strings and block scalars is no item.
    becomes_and_back(
        "# model_list:\n# - model_name: z\nx: |\n  model_list:\n  - no\nmodel_list:\n# - model_name: tiny-local\n- model_name: \"- x # y\"\n  d: |+\n    # text\n    - text\n\n\n# end\n",
        "# model_list:\n# - model_name: z\nx: |\n  model_list:\n  - no\nmodel_list:\n# - model_name: tiny-local\n- model_name: \"- x # y\"\n  d: |+\n    # text\n    - text\n\n\n@0@\n# end\n",
    );
    let removed = remove(
        &parse(&format!("model_list:\n  # ours:\n{}    # inner\n  # theirs\nx: 1\n", lines("  "))),
        "goat-1",
        "tiny",
    );
    assert_eq!(removed.unwrap(), "model_list: []\n  # ours:\n  # theirs\nx: 1\n");
}

#[test]
fn line_breaks_and_marks_stay() {
    let crlf = format!("\u{feff}# ü\r\nmodel_list:\r\n{}x: 'é'\r\n", OTHER.replace('\n', "\r\n"));
    let after = put(&crlf);
    let wanted = format!("\u{feff}# ü\nmodel_list:\n{OTHER}{}x: 'é'\n", lines(""));
    assert_eq!(after, wanted.replace('\n', "\r\n"));
    assert_eq!(remove(&parse(&after), "goat-1", "tiny").unwrap(), crlf);

    let open = format!("model_list:\n{}", OTHER.trim_end());
    becomes_and_back(&open, &format!("{open}\n{}", lines("").trim_end()));
    becomes_and_back(
        &format!("%YAML 1.1\n---\nmodel_list:\n{OTHER}...\n# after\n"),
        &format!("%YAML 1.1\n---\nmodel_list:\n{OTHER}@0@\n...\n# after\n"),
    );
}

#[test]
fn flow_lists_stay_flow() {
    becomes_and_back("model_list: [{model_name: a}]\n", "model_list: [{model_name: a}, @flow@]\n");
    becomes_and_back(
        "{\n  \"model_list\": [\n    {\"model_name\": \"a\"},\n    {\"model_name\": \"b\"}\n  ],\n  \"x\": 1\n}\n",
        "{\n  \"model_list\": [\n    {\"model_name\": \"a\"},\n    {\"model_name\": \"b\"},\n    @flow@\n  ],\n  \"x\": 1\n}\n",
    );
    becomes_and_back(
        "model_list: [\n  {model_name: a}, # first\n]\n",
        "model_list: [\n  {model_name: a},\n  @flow@, # first\n]\n",
    );
    let first = format!("model_list: [{FLOW}, {{model_name: b}}] # x\n");
    assert_eq!(
        remove(&parse(&first), "goat-1", "tiny").unwrap(),
        "model_list: [{model_name: b}] # x\n"
    );
    let only = format!("model_list: [ {FLOW}, ] # x\n");
    assert_eq!(remove(&parse(&only), "goat-1", "tiny").unwrap(), "model_list: [  ] # x\n");
}

#[test]
fn hand_added_keys_stay_and_ours_are_put_right() {
    becomes(
        "model_list:\n  - model_info: {id: x, goatbuild: {project: goat-1, model: tiny, key: 'gb1-old', note: n}} # i\n    litellm_params:\n        rpm: 10 # limit\n        model:   \"openai/tiny\"\n        api_base: >-\n          http://old\n          /v1\n        # slow\n        timeout: 600\n    model_name: tiny-local\n    x: 1\nb: 1\n",
        "model_list:\n  - model_info: {id: x, goatbuild: {project: goat-1, model: tiny, key: 'gb1-00', note: n}} # i\n    litellm_params:\n        rpm: 10 # limit\n        model:   \"openai/tiny\"\n        api_base: http://127.0.0.1:8000/v1\n        # slow\n        timeout: 600\n        api_key: none\n    model_name: tiny-local\n    x: 1\nb: 1\n",
    );
    // A missing parent, an empty one and a null one.
    let marker = "    model_info:\n      goatbuild: {project: goat-1, model: tiny, key: gb1-00}\n";
    let parameters =
        "model: openai/tiny\n      api_base: http://127.0.0.1:8000/v1\n      api_key: none\n";
    becomes(
        &format!("model_list:\n  - model_name:\n{marker}\nb: 1\n"),
        &format!(
            "model_list:\n  - model_name: tiny-local\n{marker}    litellm_params:\n      {parameters}\nb: 1\n"
        ),
    );
    becomes(
        &format!("model_list:\n  - model_name: tiny-local\n    litellm_params: ~ # none\n{marker}"),
        &format!(
            "model_list:\n  - model_name: tiny-local\n    litellm_params: # none\n      {parameters}{marker}"
        ),
    );
    becomes(
        &format!("model_list:\n  - model_name: tiny-local\n    litellm_params: {{}}\n{marker}"),
        &format!(
            "model_list:\n  - model_name: tiny-local\n    litellm_params: {{\"model\": \"openai/tiny\", \"api_base\": \"http://127.0.0.1:8000/v1\", \"api_key\": \"none\"}}\n{marker}"
        ),
    );
}

#[test]
fn anchors_aliases_and_merges_stay() {
    becomes_and_back(
        "d: &d {rpm: 1}\nmodel_list:\n  - &a\n    model_name: a\n    litellm_params: {<<: *d, model: a}\n  - *a\n",
        "d: &d {rpm: 1}\nmodel_list:\n  - &a\n    model_name: a\n    litellm_params: {<<: *d, model: a}\n  - *a\n@2@\n",
    );
    // Our keys beside a merge are set; a value that is an alias is written out.
    becomes(
        "d: &d {api_base: http://old, rpm: 1}\nk: &k none\nmodel_list:\n- model_name: &n tiny-local\n  litellm_params:\n    <<: *d\n    model: *k\n    api_key: *k\n  model_info: {goatbuild: {project: goat-1, model: tiny, key: gb1-00}}\nn: *n\n",
        "d: &d {api_base: http://old, rpm: 1}\nk: &k none\nmodel_list:\n- model_name: &n tiny-local\n  litellm_params:\n    <<: *d\n    model: openai/tiny\n    api_key: *k\n    api_base: http://127.0.0.1:8000/v1\n  model_info: {goatbuild: {project: goat-1, model: tiny, key: gb1-00}}\nn: *n\n",
    );
}

#[test]
fn an_entry_built_on_ours_is_not_ours() {
    let ours = lines("").replacen("- ", "- &ours\n  ", 1);
    let built = "- <<: *ours\n  model_name: tiny-long\n";
    let text = format!("model_list:\n{ours}{built}");
    assert!(observe(&parse(&text), &entry()).is_current());
    assert_eq!(put(&text), text);
    // Ours cannot go while somebody's stands on it, nor change beneath it.
    let removed = remove(&parse(&text), "goat-1", "tiny");
    assert!(matches!(removed, Err(GatewayError::Damage { .. })));
    let moved = Entry { api_base: "http://new/v1".into(), ..entry() };
    let changed = upsert(&parse(&text), &moved, false);
    assert!(matches!(changed, Err(GatewayError::Damage { .. })));
    let twice = parse(&format!("model_list:\n{ours}- *ours\n"));
    assert_eq!(observe(&twice, &entry()).rivals.len(), 1);
}

#[test]
fn adoption_marks_a_hand_made_entry_in_place() {
    let text = "model_list:\n  # mine\n  - model_name: tiny-local # alias\n    litellm_params:\n      model: openai/old\n      rpm: 5\n    model_info:\n      id: abc\nx: 1\n";
    let found = observe(&parse(text), &entry());
    assert_eq!(found.own, Own::Absent);
    assert!(found.is_adoptable() && !found.is_current());
    assert_eq!(found.rivals[0].line, 3);
    assert!(matches!(upsert(&parse(text), &entry(), false), Err(GatewayError::Conflict { .. })));
    let adopted = upsert(&parse(text), &entry(), true).unwrap();
    assert_eq!(
        adopted,
        "model_list:\n  # mine\n  - model_name: tiny-local # alias\n    litellm_params:\n      model: openai/tiny\n      rpm: 5\n      api_base: http://127.0.0.1:8000/v1\n      api_key: none\n    model_info:\n      id: abc\n      goatbuild:\n        project: goat-1\n        model: tiny\n        key: gb1-00\nx: 1\n"
    );
    assert!(observe(&parse(&adopted), &entry()).is_current());
}

#[test]
fn another_projects_entry_is_a_conflict_and_left_alone() {
    let theirs = lines("").replace("goat-1", "goat-2");
    let document = parse(&format!("model_list:\n{theirs}"));
    let found = observe(&document, &entry());
    assert_eq!(found.rivals[0].owner.as_ref().unwrap().project, "goat-2");
    assert!(owned(&document, "goat-1").is_empty());
    assert!(upsert(&document, &entry(), false).is_err());
    let unchanged = remove(&document, "goat-1", "tiny").unwrap();
    assert_eq!(unchanged, format!("model_list:\n{theirs}"));
}

#[test]
fn duplicates_of_ours_become_one() {
    let second = lines("").replace("    api_key: none\n", "    api_key: none\n    rpm: 3\n");
    let renamed = lines("").replace("tiny-local", "older");
    let text = format!("model_list:\n{renamed}# between\n{second}x: 1\n");
    let found = observe(&parse(&text), &entry());
    assert_eq!(found.own, Own::Duplicated { lines: vec![2, 13] });
    becomes(&text, &format!("model_list:\n# between\n{second}x: 1\n"));
}

#[test]
fn a_hand_edit_is_reported_by_field_and_hides_keys() {
    let text = lines("").replace("8000", "9").replace("api_key: none", "api_key: sk-secret");
    let Own::Present { line: 2, differs } =
        observe(&parse(&format!("model_list:\n{text}")), &entry()).own
    else {
        panic!("BUG: not found");
    };
    let shown: Vec<_> =
        differs.iter().map(|it| (it.field.as_str(), it.old.as_deref(), it.new.as_str())).collect();
    let base = "litellm_params.api_base";
    assert_eq!(
        shown,
        [
            (base, Some("http://127.0.0.1:9/v1"), "http://127.0.0.1:8000/v1"),
            ("litellm_params.api_key", Some("(hidden)"), "none")
        ]
    );
}

#[test]
fn strings_that_yaml_would_read_as_something_else_are_quoted() {
    for odd in [
        "123",
        "1e3",
        "yes",
        "Null",
        "a: b",
        "a #b",
        "é",
        "'",
        "\"\\",
        "a\tb",
        "2001-01-01",
        "x:",
        "",
        " ",
        "-",
        "*a",
        "\u{85}\u{2028}",
    ] {
        for text in ["", "model_list: [{model_name: x}]\n", "model_list:\n- model_name: ''\n"] {
            let access = Access { api_key: odd.into(), ..Access::open() };
            let wanted = Entry { alias: odd.into(), access, ..entry() };
            let wanted = if odd.is_empty() { entry() } else { wanted };
            let after = upsert(&parse(text), &wanted, false).unwrap();
            assert!(observe(&parse(&after), &wanted).is_current(), "{after}");
        }
    }
}

#[test]
fn many_changes_are_one_edit() {
    let other = |name: &str| Entry { alias: name.into(), model: name.into(), ..entry() };
    let (a, b, c) = (other("a"), other("b"), other("c"));
    let put = |entry| Change::Upsert { entry, adopt: false };
    let start = edit(&parse("x: 1"), &[put(&a), put(&b)]).unwrap();
    assert_eq!(owned(&parse(&start), "goat-1").len(), 2);
    let moved = Entry { api_base: "http://b/v1".into(), ..b.clone() };
    let remove = Change::Remove { project: "goat-1", model: "a" };
    let after = edit(&parse(&start), &[remove, put(&moved), put(&c)]).unwrap();
    let models: Vec<_> = owned(&parse(&after), "goat-1").into_iter().map(|it| it.model).collect();
    assert_eq!(models, ["b", "c"]);
    assert!(!after.ends_with('\n'));
}

#[test]
fn the_mirror_holds_the_entry_commented_out() {
    for before in ["", "a: 1\n", "a: 1", "a: 1\r\nb: 2\r\n"] {
        let after = mirror_upsert("m", before, &entry()).unwrap();
        assert!(mirror_is_current("m", &after, &entry()).unwrap());
        assert_eq!(mirrored("m", &after, "goat-1").unwrap()[0].model, "tiny");
        let moved = Entry { alias: "new".into(), ..entry() };
        let changed = mirror_upsert("m", &format!("{after}\n# tail"), &moved).unwrap();
        assert!(changed.contains("#   - model_name: new") && changed.ends_with("# tail"));
        assert_eq!(mirror_upsert("m", &changed, &entry()).unwrap(), format!("{after}\n# tail"));
        let removed = mirror_remove("m", &after, "goat-1", "tiny").unwrap();
        assert_eq!(removed, before);
    }
    let mirror = mirror_upsert("m", "", &entry()).unwrap();
    let live: Vec<_> = mirror
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| !line.starts_with("goatbuild:"))
        .collect();
    assert_eq!(live.join("\n") + "\n", lines("  "));
    let open = "# goatbuild:begin goat-1/tiny\n# x\n";
    assert!(matches!(
        mirror_upsert("m", open, &entry()),
        Err(GatewayError::Unclosed { line: 1, .. })
    ));
}
