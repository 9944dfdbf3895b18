//! Each row of the table is touched: what it names is edited, item by item, in the committed projects,
//! and what is another step then is what README.md says, no more and no less.

use std::collections::BTreeMap;

use super::compiled::Committed;
use super::table::runs_again;

/// An edit: the words of the row that it is about, its model, its file, what is replaced by what, and
/// the value that is set, if any.
type Edit = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

/// A model that compiles, of examples/vllm-cpu, on this machine.
const HERE: &str = "tiny-qwen3";
const SPEC: &str = "specs/tiny-qwen3.toml";

/// A model that compiles, of this repository's own project, with a draft, on Modal.
const THERE: &str = "gpt-oss-20b";
const OSS: &str = "specs/gpt-oss-20b.toml";

/// The same as the first, with a gateway, and with a port, so that its entry is known.
const WIRED: &str = "tiny-qwen3 behind a gateway";

const COMMIT: &str = "d666cf3b67006cf8227666739edf25164aaffdeb";
const NEXT: &str = "89abcdef0123456789abcdef0123456789abcdef";

const ROWS: &[(&str, &[Edit])] = &[
    (
        "comment, key order, `[gpu]` prices, `rollout`; on this machine `startup-timeout`",
        &[
            ("comment", HERE, SPEC, "[engine]", "# A word.\n[engine]", ""),
            (
                "key order",
                HERE,
                SPEC,
                "max-model-len = 1024\nmax-num-seqs = 4",
                "max-num-seqs = 4\nmax-model-len = 1024",
                "",
            ),
            (
                "`[gpu]` prices",
                HERE,
                "goatbuild.toml",
                "[project]",
                "[gpu]\nH100 = { vram-gib = 80, usd-per-hour = 1.25 }\n[project]",
                "1.25",
            ),
            (
                "`rollout`",
                HERE,
                "goatbuild.toml",
                "[project]",
                "[defaults]\nserve = { rollout = \"candidate\" }\n[project]",
                "\"candidate\"",
            ),
            (
                "`startup-timeout`",
                HERE,
                SPEC,
                "[engine]",
                "[serve]\nstartup-timeout = \"20m\"\n[engine]",
                "\"20m\"",
            ),
        ],
    ),
    (
        "`gateway.alias`",
        &[(
            "`gateway.alias`",
            WIRED,
            SPEC,
            "[engine]",
            "[gateway]\nalias = \"small\"\n[engine]",
            "\"small\"",
        )],
    ),
    (
        "`serve.max-inputs`, `serve.scaledown-window`, `serve.served-name`, a flag that never reaches the compiler such as `tool-call-parser`",
        &[
            (
                "`serve.max-inputs`",
                HERE,
                SPEC,
                "[engine]",
                "[serve]\nmax-inputs = 3\n[engine]",
                "3",
            ),
            (
                "`serve.scaledown-window`",
                HERE,
                SPEC,
                "[engine]",
                "[serve]\nscaledown-window = \"7m\"\n[engine]",
                "\"7m\"",
            ),
            (
                "`serve.served-name`",
                HERE,
                SPEC,
                "[engine]",
                "[serve]\nserved-name = \"org/tiny\"\n[engine]",
                "\"org/tiny\"",
            ),
            (
                "`tool-call-parser`",
                HERE,
                SPEC,
                "tool-call-parser = \"hermes\"",
                "tool-call-parser = \"openai\"",
                "",
            ),
            ("such as", HERE, SPEC, "max-num-seqs = 4", "max-num-seqs = 4\nseed = 1", ""),
        ],
    ),
    (
        "`env`, `hardware`, `fast-boot`, `max-model-len` or another engine flag",
        &[
            (
                "`env`",
                HERE,
                SPEC,
                "[engine]",
                "[env]\nVLLM_LOGGING_LEVEL = \"DEBUG\"\n[engine]",
                "\"DEBUG\"",
            ),
            (
                "`hardware`",
                HERE,
                SPEC,
                "[engine]",
                "[hardware]\ngpu = \"H100\"\ncount = 1\n[engine]",
                "\"H100\"",
            ),
            ("`fast-boot`", HERE, SPEC, "[engine]", "[serve]\nfast-boot = true\n[engine]", "true"),
            ("`max-model-len`", HERE, SPEC, "max-model-len = 1024", "max-model-len = 2048", "2048"),
            ("another engine flag", HERE, SPEC, "max-num-seqs = 4", "max-num-seqs = 2", ""),
            (
                "another engine flag",
                HERE,
                SPEC,
                "dtype = \"float32\"",
                "dtype = \"float32\"\nenable-prefix-caching = false",
                "",
            ),
            (
                "another engine flag",
                HERE,
                SPEC,
                "[engine]",
                "[engine]\nextra-args = [\"--new-flag\"]",
                "[\"--new-flag\"]",
            ),
        ],
    ),
    (
        "the model's files, `revision`, `allow`, `ignore`; the draft's",
        &[
            ("the model's files", HERE, "tiny-qwen3/config.json", "{", "{ ", ""),
            ("`revision`", THERE, OSS, COMMIT, NEXT, NEXT),
            ("`allow`", THERE, OSS, "[draft]", "allow = [\"*.json\"]\n[draft]", "[\"*.json\"]"),
            ("`ignore`", THERE, OSS, ", \"metal/*\"", "", ""),
            (
                "the draft's",
                THERE,
                OSS,
                "method = \"eagle3\"",
                "revision = \"REVISION\"\nmethod = \"eagle3\"",
                "",
            ),
        ],
    ),
    (
        "another model's spec",
        &[(
            "another model's spec",
            THERE,
            "specs/qwen3-4b.toml",
            "cdbee75f17c01a7cc42f958dc650907174af0554",
            NEXT,
            NEXT,
        )],
    ),
];

#[test]
fn whatever_a_row_names_is_edited_and_runs_again_what_it_says() {
    let wired = Committed::new("examples/vllm-cpu");
    wired.write("goatbuild.toml", "[project]", "[gateway.litellm]\nconfig = \"l.yaml\"\n[project]");
    wired.write(SPEC, "[engine]", "[serve]\nport = 45871\n[engine]");
    let here = Committed::new("examples/vllm-cpu");
    let projects = BTreeMap::from([(HERE, here), (WIRED, wired), (THERE, Committed::new(""))]);
    for (row, edits) in ROWS {
        let wanted = runs_again(row);
        for (_, model, file, from, to, value) in *edits {
            let to = to.replace("REVISION", NEXT);
            let project = &projects[model];
            let model = model.split(' ').next().unwrap_or_default();
            assert_eq!(project.edited(model, file, from, &to), wanted, "{row}: {to}");
            if !value.is_empty() {
                // It is read there: what it cannot be is a mistake of this file.
                let said = project.refused(file, from, &to.replace(value, "[[]]"));
                assert!(said.contains(file), "{row}: {to}: {said}");
            }
        }
        for item in row.split([',', ';']).flat_map(|part| part.split(" or ")) {
            let is_about = |edit: &&Edit| item.contains(edit.0);
            assert!(edits.iter().any(|edit| is_about(&edit)), "nothing edits `{item}`");
        }
    }
}
