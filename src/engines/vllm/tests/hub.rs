//! What flags name on a hub.

use super::{findings, line, locked, model};

/// What is locked for a spec, and whether weights are left out.
fn named(spec: &str) -> Vec<String> {
    let named = model(spec).named.into_iter().map(|named| {
        let source = named.source.hub().unwrap().clone();
        let small = if source.files.is_everything() { "" } else { " (small)" };
        format!("{} = {source}{small}", named.flag)
    });
    named.collect()
}

fn end(spec: &str) -> String {
    let line = line(spec, &locked("0.13.0"));
    line.split_once(" --revision c0ffee ").unwrap().1.to_owned()
}

const ALL: &str = r#"
[engine]
tokenizer = "acme/words"
tokenizer-revision = "v2"
hf-config-path = "acme/config@0123456789abcdef0123456789ABCDEF01234567"
generation-config = "acme/sampling"
speculative-config = { method = "eagle3", model = "acme/draft", num_speculative_tokens = 3, revision = "main" }
enable-lora = true
lora-modules = ["sql=acme/sql@v1", '{"name": "chat", "path": "acme/chat", "base_model_name": "m"}', { name = "own", path = "/opt/own" }]
default-mm-loras = { audio = "acme/audio" }
"#;

/// The forms of an adapter are those that `LoRAParserAction` in `vllm/entrypoints/openai/cli_args.py`
/// reads, which splits at `=` where there is no comma.
#[test]
fn repositories_that_flags_name_are_locked_and_given_by_path() {
    assert_eq!(
        named(ALL),
        [
            "tokenizer = acme/words@v2 (small)",
            "hf-config-path = acme/config@0123456789abcdef0123456789abcdef01234567 (small)",
            "generation-config = acme/sampling@main (small)",
            "speculative-config.model = acme/draft@main",
            "lora-modules.sql = acme/sql@v1",
            "lora-modules.chat = acme/chat@main",
            "default-mm-loras.audio = acme/audio@main",
        ]
    );
    let line = end(ALL);
    for part in [
        r#"--default-mm-loras {"audio":"/f/acme/audio@main"}"#,
        "--enable-lora --generation-config /f/acme/sampling@main",
        "--hf-config-path /f/acme/config@0123456789abcdef0123456789abcdef01234567",
        r#"--lora-modules sql=/f/acme/sql@v1 {"base_model_name":"m","name":"chat","path":"/f/acme/chat@main"} {"name":"own","path":"/opt/own"} --speculative-config"#,
        r#"--speculative-config {"method":"eagle3","model":"/f/acme/draft@main","num_speculative_tokens":3,"revision":"f00d"}"#,
        "--tokenizer /f/acme/words@v2 --tokenizer-revision f00d",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let adapters: Vec<String> = model(ALL).adapters.into_iter().map(|it| it.value).collect();
    assert_eq!(adapters, ["sql", "chat", "own"]);
}

#[test]
fn one_adapter_needs_no_list_and_a_table_of_tables_none_either() {
    for spec in [
        "[engine]\nlora-modules = \"sql=acme/sql\"\n",
        "[[engine.lora-modules]]\nname = \"sql\"\npath = \"acme/sql\"\n",
        "[engine.lora-modules]\nname = \"sql\"\npath = \"acme/sql\"\n",
    ] {
        assert_eq!(named(spec), ["lora-modules.sql = acme/sql@main"], "{spec}");
        assert!(end(spec).contains("/f/acme/sql@main"), "{}", end(spec));
        let told = findings(spec, &locked("0.13.0"));
        assert!(told.iter().any(|it| it.contains("without `enable-lora`")), "{told:?}");
        assert!(!told.iter().any(|it| it.contains("takes")), "{told:?}");
    }
}

#[test]
fn paths_and_words_of_the_engine_are_left_as_they_are() {
    let spec = r#"
[engine]
tokenizer = "/opt/words"
generation-config = "vllm"
speculative-config = { method = "ngram", model = "[ngram]", num_speculative_tokens = 3 }
lora-modules = ["own=/opt/own", "far=s3://bucket/far"]
"#;
    assert_eq!(named(spec), [""; 0]);
    let line = end(spec);
    for part in [
        "--generation-config vllm --lora-modules own=/opt/own far=s3://bucket/far",
        r#"{"method":"ngram","model":"[ngram]","num_speculative_tokens":3}"#,
        "--tokenizer /opt/words",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn what_could_not_be_had_is_refused_in_its_place() {
    let refused = |flags: &str| findings(&format!("[engine]\n{flags}\n"), &locked("0.13.0"));
    for (flags, told) in [
        ("tokenizer = \"gpt2\"", "tokenizer: `gpt2` is neither a repository"),
        ("tokenizer = \"gpt2\"", "the hub wants `owner/name` (such as `openai-community/gpt2`)"),
        ("tokenizer = \"a/b/c\"", "tokenizer: `a/b/c` is neither"),
        ("tokenizer-revision = \"main\"", "without `tokenizer` changes nothing"),
        (
            "tokenizer = \"acme/words@v1\"\ntokenizer-revision = \"v2\"",
            "tokenizer: `acme/words@v1` names one revision",
        ),
        ("lora-modules = [\"sql\"]", "\"sql\" is no adapter"),
        ("lora-modules = [{ name = \"sql\" }]", "{\"name\":\"sql\"} is no adapter"),
        ("lora-modules = [\"s q=acme/sql\"]", "is no adapter"),
        ("lora-modules = [\"a/b=acme/sql\"]", "is no adapter"),
        ("lora-modules = [\"sql=acme/a\", \"sql=acme/b\"]", "two adapters are called `sql`"),
        ("lora-modules = 7", "7 is no adapter"),
        (
            "extra-args = [\"--tokenizer\", \"acme/words\"]",
            "what `tokenizer` names on a hub can't be locked here (write it as a flag of [engine]",
        ),
    ] {
        let all = refused(flags);
        assert!(all.iter().any(|it| it.contains(told)), "{flags}: {all:?}");
    }
}

/// The forms are those that `FlexibleArgumentParser` in `vllm/utils/argparse_utils.py` reads: a value may
/// stand behind `=`, and a field of JSON behind a dot.
#[test]
fn extra_arguments_name_no_repository_but_paths_and_words() {
    let refused = |arguments: &[&str]| {
        let all = findings(&format!("[engine]\nextra-args = {arguments:?}\n"), &locked("0.13.0"));
        all.iter().any(|it| it.contains("names on a hub can't be locked here"))
    };
    for arguments in [
        &["--generation-config", "vllm"][..],
        &["--generation_config=auto"],
        &["--generation-config", "/opt/sampling"],
        &["--tokenizer", "/opt/words", "--foo", "acme/words"],
        &["--lora-modules", "own=/opt/own", "far=s3://bucket/far"],
        &["--speculative-config", "{\"method\": \"ngram\", \"num_speculative_tokens\": 3}"],
        &["--speculative-config={\"model\": \"/opt/draft\"}"],
        &["--speculative-config.method", "ngram"],
    ] {
        assert!(!refused(arguments), "{arguments:?}");
    }
    for arguments in [
        &["--generation-config", "acme/sampling"][..],
        &["--generation_config=acme/sampling"],
        &["--lora-modules", "own=/opt/own", "sql=acme/sql"],
        &["--speculative-config", "{\"method\": \"eagle3\", \"model\": \"acme/draft\"}"],
        &["--speculative-config.model", "acme/draft"],
        &["--speculative_config.model=acme/draft"],
    ] {
        assert!(refused(arguments), "{arguments:?}");
    }
}

#[test]
fn the_models_own_repository_is_the_one_that_is_locked_for_it() {
    let spec = "[engine]\ntokenizer = \"acme/big\"\n";
    assert_eq!(named(spec), ["tokenizer = acme/big@main (small)"]);
    let draft = "[draft]\nsource = \"hf:acme/big\"\nrevision = \"v3\"\nmethod = \"eagle3\"\n\
                 num-speculative-tokens = 2\n";
    let both = format!("{draft}{spec}");
    assert_eq!(named(&both), ["tokenizer = acme/big@v3"]);
    let other = format!("{both}tokenizer-revision = \"v4\"\n");
    assert_eq!(named(&other), ["tokenizer = acme/big@v4 (small)"]);
}
