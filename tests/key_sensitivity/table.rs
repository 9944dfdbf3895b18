//! What an edit runs again, row by row, and which tests hold it: compare it with README.md.

use std::collections::BTreeSet;

/// An edit and what it runs again, both as README.md says it, and the tests that make it.
const TABLE: &[(&str, &str, &[&str])] = &[
    (
        "comment, key order, `[gpu]` prices, `rollout`; on this machine `startup-timeout`",
        "nothing",
        &[
            "comments_key_order_and_prices_rerun_nothing",
            "a_longer_startup_timeout_reruns_nothing",
            "a_touched_but_equal_file_reruns_nothing",
        ],
    ),
    ("`gateway.alias`", "gateway", &["alias_edit_reruns_only_the_gateway"]),
    (
        "`serve.max-inputs`, `serve.scaledown-window`, `serve.served-name`, a flag that never reaches the compiler such as `tool-call-parser`",
        "deploy, smoke; gateway only if URL or served name changed",
        &[
            "settings_of_serving_alone_redeploy_and_leave_the_gateway",
            "served_name_edit_redeploys_and_rewires",
            "another_port_redeploys_and_rewires",
            "only_what_reaches_the_compiler_warms_up_again",
        ],
    ),
    (
        "`env`, `hardware`, `fast-boot`, `max-model-len` or another engine flag",
        "warm-up if the engine compiles, deploy, smoke",
        &[
            "env_and_engine_edits_redeploy",
            "another_gpu_redeploys",
            "another_volume_redeploys",
            "only_what_reaches_the_compiler_warms_up_again",
            "a_fast_boot_has_no_warmup_step",
        ],
    ),
    (
        "the model's files, `revision`, `allow`, `ignore`; the draft's",
        "weights, warm-up, deploy, smoke",
        &[
            "other_weights_are_placed_and_deployed",
            "another_revision_reruns_weights_deploy_and_smoke",
            "another_revision_warms_up_again_where_the_model_compiles",
            "other_patterns_rerun_weights_deploy_and_smoke",
            "a_draft_has_weights_of_its_own_which_deploy_consumes",
        ],
    ),
    (
        "one requirement",
        "the wheel layers that changed, image; what stands behind if its digest changed",
        &[
            "one_requirement_makes_its_own_layer_and_the_image",
            "an_image_that_comes_out_the_same_restarts_nothing",
        ],
    ),
    (
        "the base's packages",
        "base, image, …",
        &[
            "another_base_package_makes_base_and_image_but_no_wheels",
            "another_date_makes_every_layer_anew",
        ],
    ),
    (
        "the base's digest: another reference, or a tag that moved and was locked again",
        "base, image, …",
        &[
            "another_base_digest_makes_base_and_image_but_no_wheels",
            "a_tag_that_moved_counts_once_it_is_locked_again",
        ],
    ),
    (
        "there and back again",
        "what the way back needs, like any edit; nothing is built twice",
        &[
            "there_and_back_again_redeploys_but_builds_nothing",
            "an_image_edited_there_and_back_again_is_built_once",
        ],
    ),
    (
        "another environment",
        "what it has not deployed yet; no image",
        &["an_environment_is_part_of_effects_and_of_no_pure_key"],
    ),
    (
        "goatbuild's own version",
        "nothing, unless that kind of step came to mean something else",
        &["keys_hold_neither_version_nor_place", "keys_of_every_kind_are_the_golden_ones"],
    ),
    ("another model's spec", "nothing of this one", &["an_edit_of_one_model_leaves_the_other"]),
];

/// The kinds of steps that an edit runs again for certain, in a row's own words.
pub(super) fn runs_again(edit: &str) -> BTreeSet<String> {
    let row = TABLE.iter().find(|(known, ..)| *known == edit);
    let (_, again, _) = row.unwrap_or_else(|| panic!("there is no row `{edit}`"));
    let certain = again.split(';').next().unwrap_or(again);
    let kinds = certain.split(", ").filter_map(|words| words.split(' ').next());
    kinds.filter(|kind| *kind != "nothing").map(|kind| kind.replace('-', "")).collect()
}

#[test]
fn every_row_has_its_tests_and_readme_its_rows() {
    let tests = [
        include_str!("base.rs"),
        include_str!("compiled.rs"),
        include_str!("edits.rs"),
        include_str!("hub.rs"),
        include_str!("warmup.rs"),
    ]
    .concat();
    let readme = include_str!("../../README.md");
    for (edit, again, names) in TABLE {
        let row = format!("\n| {edit} | {again} |\n");
        assert!(readme.contains(&row), "README.md has no row `{row}`");
        for name in *names {
            assert!(tests.contains(&format!("\n#[test]\nfn {name}()")), "no test is called {name}");
        }
    }
    let table = readme.split("## What an edit runs again").nth(1).expect("the table");
    let table = table.split("\n## ").next().expect("its end");
    let rows = table.lines().filter(|line| line.starts_with("| ")).count() - 1;
    assert_eq!(rows, TABLE.len(), "README.md has other rows:\n{table}");
}
