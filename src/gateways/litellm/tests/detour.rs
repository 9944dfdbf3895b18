//! Alias maps that lead an entry's requests elsewhere, as LiteLLM's own source resolves them.

use super::*;

fn led(text: &str) -> Option<(usize, String, String)> {
    let found = observe(&parse(text), &entry()).detour?;
    Some((found.line, found.map, found.target))
}

fn to(line: usize, map: &str, target: &str) -> (usize, String, String) {
    (line, map.to_owned(), target.to_owned())
}

/// The forms are those of `docs/proxy/load_balancing.md` and `model_management.md` of LiteLLM: a name, or a
/// mapping with `model` and `hidden`.
#[test]
fn an_alias_map_that_leads_our_alias_elsewhere_is_found_with_its_place() {
    let alias = entry().alias;
    let router = "router_settings.model_group_alias";
    let text = format!("router_settings:\n  model_group_alias: {{\"{alias}\": \"gpt-4o\"}}\n");
    assert_eq!(led(&text), Some(to(2, router, "gpt-4o")));
    let text = format!(
        "router_settings:\n  model_group_alias:\n    other: x\n    {alias}:\n      model: gpt-4o\n      hidden: true\n"
    );
    assert_eq!(led(&text).map(|it| it.2), Some("gpt-4o".to_owned()));
    let text = format!("litellm_settings:\n  model_alias_map:\n    {alias}: gpt-4o\n");
    assert_eq!(led(&text), Some(to(3, "litellm_settings.model_alias_map", "gpt-4o")));
}

#[test]
fn what_leads_others_or_back_to_us_is_no_detour() {
    let alias = entry().alias;
    for text in [
        format!("router_settings:\n  model_group_alias: {{gpt-4: {alias}}}\n"),
        format!("router_settings:\n  model_group_alias: {{{alias}: {alias}}}\n"),
        format!("router_settings:\n  model_group_alias: {{{alias}: \"\"}}\n"),
        format!("router_settings:\n  model_group_alias: {{{alias}: [a, b]}}\n"),
        "router_settings: null\nlitellm_settings: []\n".to_owned(),
        // There and back again: the first map, then the second, each once.
        format!(
            "litellm_settings:\n  model_alias_map: {{{alias}: far}}\nrouter_settings:\n  model_group_alias: {{far: {alias}}}\n"
        ),
    ] {
        assert_eq!(led(&text), None, "{text}");
    }
    let both = format!(
        "litellm_settings:\n  model_alias_map: {{{alias}: far}}\nrouter_settings:\n  model_group_alias: {{far: farther}}\n"
    );
    assert_eq!(led(&both).map(|it| it.2), Some("farther".to_owned()));
}

/// An included file's section replaces the including one's as a whole.
#[test]
fn the_section_of_an_included_file_is_the_one_that_counts() {
    let alias = entry().alias;
    let mut document = parse(&format!(
        "include: [more.yaml]\nrouter_settings:\n  model_group_alias: {{{alias}: x}}\n"
    ));
    document.include(Document::parse("more.yaml", "router_settings: {num_retries: 2}\n").unwrap());
    assert_eq!(observe(&document, &entry()).detour, None);
    let mut document = parse("include: [more.yaml]\nrouter_settings: {}\n");
    let more = format!("router_settings:\n  model_group_alias: {{{alias}: x}}\n");
    document.include(Document::parse("more.yaml", &more).unwrap());
    assert_eq!(observe(&document, &entry()).detour.map(|it| it.path), Some("more.yaml".to_owned()));
}

#[test]
fn nothing_is_written_for_an_alias_that_gets_no_requests() {
    let text = format!("router_settings:\n  model_group_alias: {{{}: x}}\n", entry().alias);
    for adopt in [false, true] {
        let refused = upsert(&parse(&text), &entry(), adopt).expect_err("led elsewhere");
        assert!(matches!(refused, GatewayError::Detour { .. }), "{refused}");
    }
}
