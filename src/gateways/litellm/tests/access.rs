//! Entries of servers that want a key or headers.

use super::*;
use crate::spec::Header;

fn header(name: &'static str, variable: &str) -> Header {
    Header { name, scheme: "", variable: variable.to_owned() }
}

fn with(headers: &[Header]) -> Entry {
    Entry { access: Access::with(headers), ..entry() }
}

fn proxied() -> Entry {
    with(&[header("Modal-Key", "KEY"), header("Modal-Secret", "SECRET")])
}

fn keyed() -> Entry {
    with(&[header("Authorization", "KEY")])
}

const HEADERS: &str =
    "    extra_headers:\n      Modal-Key: os.environ/KEY\n      Modal-Secret: os.environ/SECRET\n";

#[test]
fn what_a_server_wants_stands_in_its_entry_as_variables() {
    let new = |entry: &Entry| upsert(&parse("model_list: []\n"), entry, false).unwrap();
    let plain = new(&entry());
    assert_eq!(new(&keyed()), plain.replace("api_key: none", "api_key: os.environ/KEY"));
    let lines: Vec<&str> = HEADERS.lines().map(str::trim).collect();
    let proxied = new(&proxied());
    let found: Vec<&str> = proxied.lines().map(str::trim).collect();
    let at = found.iter().position(|line| *line == "api_key: none").unwrap();
    assert_eq!(found[at + 1..at + 4], lines);
}

#[test]
fn headers_come_and_go_with_the_protection_and_nothing_else_does() {
    for text in [
        "model_list: []\n".to_owned(),
        "{\"model_list\": []}\n".to_owned(),
        "model_list: [{model_name: x}]\n".to_owned(),
        "# mine\nmodel_list:\n- model_name: x # too\n".to_owned(),
    ] {
        let plain = upsert(&parse(&text), &entry(), false).unwrap();
        let mut now = plain.clone();
        for wanted in [proxied(), keyed(), proxied(), entry()] {
            assert!(!observe(&parse(&now), &wanted).is_current(), "{now}");
            now = upsert(&parse(&now), &wanted, false).unwrap();
            assert!(observe(&parse(&now), &wanted).is_current(), "{now}");
        }
        assert_eq!(now, plain);
    }
}

#[test]
fn headers_of_somebody_else_stay() {
    let text = upsert(&parse("model_list: []\n"), &proxied(), false).unwrap();
    let more = text.replace("        Modal-Key", "        X-Mine: '1' # mine\n        Modal-Key");
    assert_ne!(text, more);
    let now = upsert(&parse(&more), &keyed(), false).unwrap();
    assert!(now.contains("extra_headers:\n        X-Mine: '1' # mine\n"), "{now}");
    assert!(!now.contains("Modal-"), "{now}");
    // What is no reference is a hand's, for whatever reason.
    let typed = text.replace("os.environ/KEY", "wk-typed").replace("os.environ/SECRET", "ws-typed");
    let now = upsert(&parse(&typed), &keyed(), false).unwrap();
    assert!(now.contains("wk-typed") && now.contains("ws-typed"), "{now}");
    // And it is not shown, where it is about to be replaced.
    let Own::Present { differs, .. } = observe(&parse(&typed), &proxied()).own else { panic!() };
    let old: Vec<_> = differs.iter().map(|change| change.old.as_deref()).collect();
    assert_eq!(old, [Some("(hidden)"), Some("(hidden)")]);
}

#[test]
fn headers_in_braces_are_taken_out_with_their_commas() {
    let entry_of = |headers: &str| {
        let list =
            FLOW.replace("\"api_key\": \"none\"", &format!("\"api_key\": \"none\"{headers}"));
        format!("model_list: [{list}]\n")
    };
    let (key, secret) = ("\"Modal-Key\": os.environ/K", "Modal-Secret: os.environ/S");
    for (with, without) in [
        (format!(", extra_headers: {{{key}, {secret}}}"), String::new()),
        (format!(", extra_headers: {{{key}, {secret}, a: b}}"), ", extra_headers: {a: b}".into()),
        (format!(", extra_headers: {{a: b, {key}, {secret}}}"), ", extra_headers: {a: b}".into()),
        (format!(", extra_headers: {{{key}, a: b, {secret}}}"), ", extra_headers: {a: b}".into()),
    ] {
        let now = upsert(&parse(&entry_of(&with)), &entry(), false).unwrap();
        assert_eq!(now, entry_of(&without));
    }
}
