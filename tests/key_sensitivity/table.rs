//! What an edit runs again, row by row, each with the edits that show it: compare it with README.md.

use super::compiled::{HERE, OCI, PULLED, Place, SPEC, THERE, WIRED};
use super::rows::{another_environment, another_version, there_and_back_again};
use super::support::project::Project;

/// An edit, what it runs again, both as README.md says it, and how that is seen.
pub(super) struct Row {
    pub(super) edit: &'static str,
    pub(super) again: &'static str,
    pub(super) shown: Shown,
}

/// How a row is seen to be true.
pub(super) enum Shown {
    /// Each of these is planned, in a committed project. Every item of the row has one.
    Planned(&'static [Edit]),
    /// More than one edit is what it is about: this does them where a model is served.
    Served(fn(&mut Project)),
}

/// Something of a committed project that is said in other words.
pub(super) struct Edit {
    /// The words of the row that it is about.
    pub(super) about: &'static str,
    pub(super) place: &'static Place,
    /// Files, each with what is replaced by what; there, `@` is what was there. Locks come last.
    pub(super) changes: [(&'static str, &'static str, &'static str); 2],
    /// The value that is set, if any.
    pub(super) value: &'static str,
    /// The kinds of steps that run again besides, as the row says of this edit.
    pub(super) besides: &'static [&'static str],
}

const fn edit(
    about: &'static str,
    place: &'static Place,
    file: &'static str,
    from: &'static str,
    to: &'static str,
) -> Edit {
    Edit { about, place, changes: [(file, from, to), ("", "", "")], value: "", besides: &[] }
}

/// Something that is said in the spec of this machine's model, with its value.
const fn said(about: &'static str, to: &'static str, value: &'static str) -> Edit {
    edit(about, &HERE, SPEC, "[engine]", to).of(value)
}

impl Edit {
    const fn of(self, value: &'static str) -> Self {
        Self { value, ..self }
    }

    const fn and(mut self, file: &'static str, from: &'static str, to: &'static str) -> Self {
        self.changes[1] = (file, from, to);
        self
    }

    const fn besides(self, besides: &'static [&'static str]) -> Self {
        Self { besides, ..self }
    }
}

const OSS: &str = "specs/gpt-oss-20b.toml";
const IMAGE: &str = "images/vllm-cpu.toml";
const CUDA: &str = "6617a625f4090c76c545a0e7d63f2e441718ef9af7f4efe7dd1242a29e289fd7";
const OTHER: &str = "aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffff0000000011111111";
const COMMIT: &str = "d666cf3b67006cf8227666739edf25164aaffdeb";
const NEXT: &str = "89abcdef0123456789abcdef0123456789abcdef";

pub(super) static TABLE: [Row; 12] = [
    Row {
        edit: "comment, key order, `[gpu]` prices, `rollout`; on this machine `startup-timeout`, `max-inputs`, `scaledown-window`, `timeout`",
        again: "nothing",
        shown: Shown::Planned(&[
            said("comment", "# A word.\n@", ""),
            edit(
                "key order",
                &HERE,
                SPEC,
                "max-model-len = 1024\nmax-num-seqs = 4",
                "max-num-seqs = 4\nmax-model-len = 1024",
            ),
            edit(
                "`[gpu]` prices",
                &HERE,
                "goatbuild.toml",
                "[project]",
                "[gpu]\nH100 = { vram-gib = 80, usd-per-hour = 1.25 }\n@",
            )
            .of("1.25"),
            edit(
                "`rollout`",
                &HERE,
                "goatbuild.toml",
                "[project]",
                "[defaults]\nserve = { rollout = \"candidate\" }\n@",
            )
            .of("\"candidate\""),
            said("`startup-timeout`", "[serve]\nstartup-timeout = \"20m\"\n@", "\"20m\""),
            said("`max-inputs`", "[serve]\nmax-inputs = 3\n@", "3"),
            said("`scaledown-window`", "[serve]\nscaledown-window = \"7m\"\n@", "\"7m\""),
            said("`timeout`", "[serve]\ntimeout = \"7m\"\n@", "\"7m\""),
        ]),
    },
    Row {
        edit: "`gateway.alias`",
        again: "gateway",
        shown: Shown::Planned(&[edit(
            "`gateway.alias`",
            &WIRED,
            SPEC,
            "[engine]",
            "[gateway]\nalias = \"small\"\n@",
        )
        .of("\"small\"")]),
    },
    Row {
        edit: "`serve.served-name`, a flag that never reaches the compiler such as `tool-call-parser`",
        again: "deploy, smoke; gateway only if URL or served name changed",
        shown: Shown::Planned(&[
            said("`serve.served-name`", "[serve]\nserved-name = \"org/tiny\"\n@", "\"org/tiny\""),
            edit(
                "`serve.served-name`",
                &WIRED,
                SPEC,
                "port = 45871",
                "@\nserved-name = \"org/tiny\"",
            )
            .besides(&["gateway"]),
            // Another URL.
            edit("`serve.served-name`", &WIRED, SPEC, "port = 45871", "port = 45872")
                .besides(&["gateway"]),
            edit("`tool-call-parser`", &HERE, SPEC, "\"hermes\"", "\"openai\""),
            edit("such as", &HERE, SPEC, "max-num-seqs = 4", "@\nseed = 1"),
        ]),
    },
    Row {
        edit: "`env`, `hardware`, `fast-boot`, `max-model-len` or another engine flag",
        again: "warm-up if the engine compiles, deploy, smoke",
        shown: Shown::Planned(&[
            said("`env`", "[env]\nVLLM_LOGGING_LEVEL = \"DEBUG\"\n@", "\"DEBUG\""),
            said("`hardware`", "[hardware]\ngpu = \"H100\"\ncount = 1\n@", "\"H100\""),
            said("`fast-boot`", "[serve]\nfast-boot = true\n@", "true"),
            edit("`max-model-len`", &HERE, SPEC, "max-model-len = 1024", "max-model-len = 2048")
                .of("2048"),
            edit("another engine flag", &HERE, SPEC, "max-num-seqs = 4", "max-num-seqs = 2"),
            edit(
                "another engine flag",
                &HERE,
                SPEC,
                "dtype = \"float32\"",
                "@\nenable-prefix-caching = false",
            ),
            said("another engine flag", "@\nextra-args = [\"--new-flag\"]", "[\"--new-flag\"]"),
        ]),
    },
    Row {
        edit: "the model's files, `revision`, `allow`, `ignore`; the draft's",
        again: "weights, warm-up, deploy, smoke",
        shown: Shown::Planned(&[
            edit("the model's files", &HERE, "tiny-qwen3/config.json", "{", "{ "),
            edit("`revision`", &THERE, OSS, COMMIT, NEXT).of(NEXT),
            edit("`allow`", &THERE, OSS, "[draft]", "allow = [\"*.json\"]\n@").of("[\"*.json\"]"),
            edit("`ignore`", &THERE, OSS, ", \"metal/*\"", ""),
            edit(
                "the draft's",
                &THERE,
                OSS,
                "method = \"eagle3\"",
                "revision = \"89abcdef0123456789abcdef0123456789abcdef\"\n@",
            ),
        ]),
    },
    Row {
        edit: "one requirement",
        again: "the wheel layers that changed, image; what stands behind if its digest changed",
        shown: Shown::Planned(&[edit(
            "one requirement",
            &HERE,
            IMAGE,
            "requirements = [",
            "@\"aaa==1.0\", ",
        )
        .and(
            "images/vllm-cpu.pylock.toml",
            "requires-python = \"==3.11.*\"\n",
            "@\n[[packages]]\nname = \"aaa\"\nversion = \"1.0\"\nwheels = [\n    \
             { url = \"https://example.org/aaa-1.0-py3-none-any.whl\", hashes = { sha256 = \
             \"aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffff0000000011111111\" } },\n]\n",
        )]),
    },
    Row {
        edit: "the base's packages",
        again: "base, image, …",
        shown: Shown::Planned(&[edit(
            "the base's packages",
            &HERE,
            IMAGE,
            "\"python3\", ",
            "@\"aaa\", ",
        )
        .and(
            "goatbuild.lock",
            "[[image.vllm-cpu.debian.packages]]\nname = \"base-files\"",
            "[[image.vllm-cpu.debian.packages]]\nname = \"aaa\"\nversion = \"1\"\n\
                 path = \"pool/main/a/aaa/aaa_1_all.deb\"\nsize = 7\nsha256 = \
                 \"aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffff0000000011111111\"\n\n@",
        )]),
    },
    Row {
        edit: "the base's digest: another reference, or a tag that moved and was locked again",
        again: "base, image, …",
        shown: Shown::Planned(&[
            edit("another reference", &OCI, "images/gpt-oss.toml", CUDA, OTHER),
            edit("a tag that moved", &PULLED, "goatbuild.lock", CUDA, OTHER),
        ]),
    },
    Row {
        edit: "there and back again",
        again: "what the way back needs, like any edit; nothing is built twice",
        shown: Shown::Served(there_and_back_again),
    },
    Row {
        edit: "another environment",
        again: "what it has not deployed yet; no image",
        shown: Shown::Served(another_environment),
    },
    Row {
        edit: "goatbuild's own version",
        again: "nothing, unless that kind of step came to mean something else",
        shown: Shown::Served(another_version),
    },
    Row {
        edit: "another model's spec",
        again: "nothing of this one",
        shown: Shown::Planned(&[edit(
            "another model's spec",
            &THERE,
            "specs/qwen3-4b.toml",
            "cdbee75f17c01a7cc42f958dc650907174af0554",
            NEXT,
        )
        .of(NEXT)]),
    },
];

#[test]
fn readme_has_these_rows_and_no_others() {
    let readme = include_str!("../../README.md");
    let table = readme.split("## What an edit runs again").nth(1).expect("the table");
    let table = table.split("\n## ").next().expect("its end");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let mut known: Vec<String> =
        TABLE.iter().map(|row| format!("| {} | {} |", row.edit, row.again)).collect();
    known.sort();
    let mut rows = rows;
    rows.sort_unstable();
    assert_eq!(rows, known);
}
