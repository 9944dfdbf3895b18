//! How refusals look to a user.

use miette::{GraphicalReportHandler, GraphicalTheme, Report};

use super::*;

fn shown(error: GatewayError) -> String {
    let mut out = String::new();
    let handler =
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(90);
    handler.render_report(&mut out, Report::new(error).as_ref()).unwrap();
    out
}

fn refused(text: &str) -> String {
    let result = Document::parse("dev/litellm.yaml", text);
    shown(result.and_then(|document| upsert(&document, &entry(), false)).unwrap_err())
}

#[test]
fn refusals_point_at_the_place() {
    for (name, text) in [
        ("syntax", "a: 1\nmodel_list:\n  - model_name: [a\n    api_key: sk-1\n"),
        ("strict", "model_list: [\n]\n"),
        ("twice", "model_list: []\nmodel_list: []\n"),
        (
            "twice_within",
            "a: {b: 1}\nmodel_list:\n- model_name: x\n  litellm_params:\n    model: a\n    api_key: sk-1\n    model: b\n",
        ),
        ("documents", "a: 1\n---\nb: 1\n"),
        ("root", "- a\n"),
        ("list", "model_list: {a: 1}\n"),
        ("alias", "x: &x []\nmodel_list: *x\n"),
        ("explicit_key", "? model_list\n: - model_name: a\n"),
        ("tab", "model_list:\n-\tmodel_name: a\n"),
        (
            "merged",
            "p: &p {model: openai/a}\nmodel_list:\n- model_name: tiny-local\n  <<: {litellm_params: *p}\n  model_info: {goatbuild: {project: goat-1, model: tiny}}\n",
        ),
        (
            "shared",
            "model_list:\n- model_name: &a tiny\n  model_info: {goatbuild: {project: goat-1, model: tiny}, n: *a}\n",
        ),
        (
            "conflict",
            "model_list:\n- model_name: tiny-local\n  api_key: sk-1\n- model_name: tiny-local\n",
        ),
        ("adoptable", "model_list:\n- model_name: tiny-local\n"),
    ] {
        insta::assert_snapshot!(name, refused(text));
    }
}

#[test]
fn check_names_what_the_proxy_would_drop_or_misroute() {
    let mut document = parse(
        "model_list:\n- model_name: a\n  litellm_params: {model: a, api_key: os.environ/UNSET}\n- model_name: a\n  litellm_params: {model: b, api_key: os.environ/SET}\n- litellm_params: {rpm: 1}\n- model_name: b-local\n  litellm_params: {model: openai/b}\n- text\n",
    );
    document.include(Document::parse("null.yaml", "model_list:\n").unwrap());
    let problems = check(&document, &|name| name == "SET");
    let lines = problems
        .iter()
        .map(|it| format!("{}:{} {:?}: {}\n", it.path, it.line, it.severity, it.message));
    insta::assert_snapshot!("check", lines.collect::<String>());
}
