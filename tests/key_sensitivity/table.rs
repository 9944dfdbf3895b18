//! What an edit runs again, row by row, and which tests hold it: compare it with README.md.

/// An edit as README.md calls it, and the tests that make it.
const TABLE: &[(&str, &[&str])] = &[
    (
        "comment, key order, `[gpu]` prices, `startup-timeout`",
        &[
            "comments_key_order_and_prices_rerun_nothing",
            "a_longer_startup_timeout_reruns_nothing",
            "a_touched_but_equal_file_reruns_nothing",
        ],
    ),
    ("`gateway.alias`", &["alias_edit_reruns_only_the_gateway"]),
    (
        "`serve.max-inputs`, `serve.scaledown-window`, `serve.served-name`",
        &[
            "settings_of_serving_alone_redeploy_and_leave_the_gateway",
            "served_name_edit_redeploys_and_rewires",
            "another_port_redeploys_and_rewires",
            "only_what_reaches_the_compiler_warms_up_again",
        ],
    ),
    (
        "`env`, an engine flag",
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
        &[
            "one_requirement_makes_its_own_layer_and_the_image",
            "an_image_that_comes_out_the_same_restarts_nothing",
        ],
    ),
    (
        "the base's packages",
        &[
            "another_base_package_makes_base_and_image_but_no_wheels",
            "another_date_makes_every_layer_anew",
        ],
    ),
    (
        "the base's digest: another reference, or a tag that moved and was locked again",
        &[
            "another_base_digest_makes_base_and_image_but_no_wheels",
            "a_tag_that_moved_counts_once_it_is_locked_again",
        ],
    ),
    (
        "there and back again",
        &[
            "there_and_back_again_redeploys_but_builds_nothing",
            "an_image_edited_there_and_back_again_is_built_once",
        ],
    ),
    ("another environment", &["an_environment_is_part_of_effects_and_of_no_pure_key"]),
    ("goatbuild's own version", &["keys_hold_neither_version_nor_place"]),
    ("another model's spec", &["an_edit_of_one_model_leaves_the_other"]),
];

#[test]
fn every_row_has_its_tests_and_readme_its_rows() {
    let tests = [
        include_str!("base.rs"),
        include_str!("edits.rs"),
        include_str!("hub.rs"),
        include_str!("warmup.rs"),
    ]
    .concat();
    let readme = include_str!("../../README.md");
    for (edit, names) in TABLE {
        assert!(readme.contains(&format!("| {edit} |")), "README.md has no row `{edit}`");
        for name in *names {
            assert!(tests.contains(&format!("fn {name}()")), "no test is called {name}");
        }
    }
    let table = readme.split("## What an edit runs again").nth(1).expect("the table");
    let table = table.split("\n## ").next().expect("its end");
    let rows = table.lines().filter(|line| line.starts_with("| ")).count() - 1;
    assert_eq!(rows, TABLE.len(), "README.md has other rows:\n{table}");
}
