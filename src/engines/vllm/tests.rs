//! Command lines and findings, against engines as the lock keeps them.

mod extra_arguments;
mod hub;

use std::collections::BTreeMap;

use super::history::KNOWN;
use super::{NEVER_COMPILED, Vllm};
use crate::engine::{Engine as _, Fetched, Locked, LockedEngine, Serving, Subject};
use crate::engines::built_in;
use crate::engines::vllm::taken::Taken;
use crate::lock::{LockFile, LockFileError};
use crate::spec::{HubSource, Model, NamedRepository, SourceFile, Sources};

const PROJECT: &str = "[project]\nid = \"test-1a2b3c\"\n[gateway.litellm]\nconfig = \"l.yaml\"\n";

pub(super) fn model(spec: &str) -> Model {
    let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
    let spec = format!("image = \"i\"\n[model]\nsource = \"path:m\"\n{spec}");
    let sources = Sources {
        project: file("goatbuild.toml", PROJECT),
        specs: vec![file("specs/m.toml", &spec)],
        images: vec![file("images/i.toml", "base = { debian = \"bookworm\" }\n")],
        mistakes: Vec::new(),
        kinds: crate::project::kinds(),
    };
    let project = crate::spec::read(&sources, None).unwrap();
    (**project.models.values().next().unwrap()).clone()
}

/// The part of 0.8.5.post1 or 0.13.0 that the tests need, as `goatbuild lock` wrote it.
fn locked(version: &str) -> Locked {
    let text = match version {
        "0.8.5.post1" => {
            r#"
reading = 1
distribution = "vllm"
version = "0.8.5.post1"
environment = ["VLLM_USE_V1"]
tool-parsers = ["hermes", "llama3_json"]
architectures = ["LlamaForCausalLM"]
[flags]
compilation-config = "python CompilationConfig"
enforce-eager = "switch"
enable-auto-tool-choice = "switch"
enable-prefix-caching = "toggle"
kv-cache-dtype = "one-of auto|fp8"
max-model-len = "size"
middleware = "text *"
tool-call-parser = "text"
[objects.CompilationConfig]
pass_config = "object PassConfig"
[objects.PassConfig]
enable_fusion = "toggle"
enable_noop = "toggle"
"#
        }
        _ => {
            r#"
reading = 1
distribution = "vllm"
version = "0.13.0"
environment = ["VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8"]
tool-parsers = ["hermes", "openai"]
reasoning-parsers = ["openai_gptoss"]
architectures = ["GptOssForCausalLM"]
eagle3-targets = ["gpt_oss", "llama"]
[flags]
async-scheduling = "toggle"
compilation-config = "object CompilationConfig"
cudagraph-capture-sizes = "integer ..."
enable-auto-tool-choice = "toggle"
enforce-eager = "toggle"
max-model-len = "size"
max-num-seqs = "integer"
kv-cache-dtype = "one-of auto|fp8"
reasoning-parser = "text"
tool-call-parser = "text"
[objects.CompilationConfig]
pass_config = "object PassConfig"
[objects.PassConfig]
eliminate_noops = "toggle"
fuse_allreduce_rms = "toggle"
"#
        }
    };
    let taken: Taken = toml::from_str(text).unwrap();
    Locked {
        distribution: taken.distribution.clone(),
        version: version.to_owned(),
        taken: Some(LockedEngine::of(&taken)),
        ..Locked::default()
    }
}

/// What flags name, as if it lay below `/f`.
fn fetched(model: &Model) -> BTreeMap<String, Fetched> {
    let fetched = |named: &NamedRepository| {
        let HubSource { repository, revision, .. } = named.source.hub().unwrap();
        let fetched =
            Fetched { path: format!("/f/{repository}@{revision}"), commit: "f00d".into() };
        (named.flag.clone(), fetched)
    };
    model.named.iter().map(fetched).collect()
}

fn line(spec: &str, locked: &Locked) -> String {
    let model = model(spec);
    let serving = Serving {
        host: "127.0.0.1",
        port: 8000,
        model: "m",
        mark: None,
        weights: "/w",
        revision: "c0ffee",
        draft: model.draft.as_ref().map(|_| "/d"),
        draft_revision: model.draft.as_ref().map(|_| "beef"),
        fetched: &fetched(&model),
        locked,
    };
    Vllm.command(&model, &serving).join(" ")
}

/// Problems and warnings, each with its flag and help on one line.
fn findings(spec: &str, locked: &Locked) -> Vec<String> {
    let model = model(spec);
    let vllm = Vllm;
    let checked = vllm.check_locked(&model, locked);
    let problems = vllm.check(&model).into_iter().chain(checked.problems);
    let subject = |subject| match subject {
        Subject::Model => String::new(),
        Subject::Flag(flag) => flag,
        Subject::ExtraArg(at) => format!("extra-args.{at}"),
        Subject::Serve(field) => format!("serve.{field}"),
    };
    let problems =
        problems.map(|it| format!("{}: {} ({})", subject(it.subject), it.message, it.help));
    let warnings = checked.warnings.into_iter().map(|it| format!("? {} ({})", it.message, it.help));
    problems.chain(warnings).collect()
}

/// Without the warning about tools, which these tests don't have.
fn problems(flags: &str, locked: &Locked) -> Vec<String> {
    let mut found = findings(&format!("[gateway]\nalias = \"x\"\n[engine]\n{flags}\n"), locked);
    found.retain(|finding| !finding.starts_with('?'));
    found
}

const OLD: &str = "python -m vllm.entrypoints.openai.api_server --model /w --host 127.0.0.1 \
    --port 8000 --served-model-name m --revision c0ffee";
const NEW: &str = "vllm serve /w --host 127.0.0.1 --port 8000 --served-model-name m \
    --revision c0ffee";

#[test]
fn the_program_is_the_locked_versions() {
    assert_eq!(line("", &locked("0.8.5.post1")), OLD);
    assert_eq!(line("", &locked("0.13.0")), NEW);
    let unread = Locked { version: "0.9.0rc1".to_owned(), ..Locked::default() };
    assert_eq!(line("", &unread), NEW);
}

#[test]
fn flags_are_written_as_the_locked_version_takes_them() {
    let new = locked("0.13.0");
    for (flags, wanted) in [
        ("async-scheduling = true", "--async-scheduling"),
        ("async-scheduling = false", "--no-async-scheduling"),
        ("max-model-len = \"16k\"", "--max-model-len 16k"),
        ("cudagraph-capture-sizes = [1, 2]", "--cudagraph-capture-sizes 1 2"),
        (
            "compilation-config = { pass_config = { fuse_allreduce_rms = true } }",
            "--compilation-config {\"pass_config\":{\"fuse_allreduce_rms\":true}}",
        ),
        ("tool-call-parser = \"-odd\"", "--tool-call-parser=-odd"),
    ] {
        assert_eq!(line(&format!("[engine]\n{flags}\n"), &new), format!("{NEW} {wanted}"));
    }
    let old = locked("0.8.5.post1");
    for (flags, wanted) in [
        ("enforce-eager = false", ""),
        ("enable-prefix-caching = false", " --no-enable-prefix-caching"),
        ("middleware = [\"a\", \"b\"]", " --middleware a --middleware b"),
        (
            "compilation-config = { pass_config = { enable_noop = true } }",
            " --compilation-config {\"pass_config\": {\"enable_noop\": True}}",
        ),
    ] {
        assert_eq!(line(&format!("[engine]\n{flags}\n"), &old), format!("{OLD}{wanted}"));
    }
}

#[test]
fn what_is_off_is_said_to_versions_that_could_not_be_read() {
    let off = "[engine]\nasync-scheduling = false\nenforce-eager = false\n";
    let no = " --no-async-scheduling --no-enforce-eager";
    for (version, program, wanted) in
        [("0.14.0", NEW, no), ("0.9.0", NEW, no), ("", NEW, no), ("0.8.5.post1", OLD, "")]
    {
        let unread = Locked { version: version.to_owned(), ..Locked::default() };
        assert_eq!(line(off, &unread), format!("{program}{wanted}"), "{version}");
    }
}

#[test]
fn an_engine_that_only_the_base_can_have_brought_is_warned_about() {
    let alias = "[gateway]\nalias = \"m\"\n";
    let brought = Locked { is_up_to_base: true, ..Locked::default() };
    let found = findings(alias, &brought);
    assert!(
        found.len() == 1
            && found[0].starts_with("? the flags of m can't be checked")
            && found[0].contains("requirements of images/i.toml"),
        "{found:?}"
    );
    assert_eq!(findings(alias, &Locked::default()), [""; 0]);
}

#[test]
fn hardware_draft_and_fast_boot_become_flags() {
    let spec = "[hardware]\ngpu = \"H100\"\ncount = 4\n[serve]\nfast-boot = true\n\
        [draft]\nsource = \"path:d\"\nmethod = \"eagle3\"\nnum-speculative-tokens = 7\n";
    let wanted = "--tensor-parallel-size 4 --enforce-eager --speculative-config \
        {\"method\":\"eagle3\",\"model\":\"/d\",\"num_speculative_tokens\":7,\"revision\":\"beef\"}";
    assert_eq!(line(spec, &locked("0.13.0")), format!("{NEW} {wanted}"));
}

#[test]
fn flags_that_goatbuild_sets_are_refused() {
    let new = locked("0.13.0");
    for flag in ["host", "port", "model", "revision", "served-model-name", "api-key", "hf-token"] {
        let found = problems(&format!("{flag} = \"x\""), &new);
        assert!(found.len() == 1 && found[0].contains("goatbuild sets"), "{found:?}");
    }
    let spec = "[engine]\ntensor-parallel-size = 2\n[hardware]\ngpu = \"H100\"\n";
    assert!(findings(spec, &new)[0].contains("[hardware] count"));
}

#[test]
fn what_could_not_be_read_is_warned_about_and_passed_on() {
    let mut partial = locked("0.13.0");
    let mut taken = super::taken(&partial).unwrap();
    taken.flags.insert("odd".to_owned(), "unread".parse().unwrap());
    taken.flags.insert("length".to_owned(), "size-or-auto".parse().unwrap());
    partial.taken = Some(LockedEngine::of(&taken));
    for value in ["true", "1", "\"x\"", "[1, 2]", "{ a = 1 }"] {
        let spec = format!("[gateway]\nalias = \"x\"\n[engine]\nodd = {value}\n");
        let found = findings(&spec, &partial);
        assert!(found.len() == 1 && found[0].starts_with("? what `odd` takes"), "{found:?}");
    }
    assert_eq!(line("[engine]\nodd = { a = 1 }\n", &partial), format!("{NEW} --odd {{\"a\":1}}"));
    assert_eq!(line("[engine]\nodd = [1, 2]\n", &partial), format!("{NEW} --odd 1 2"));
    assert_eq!(line("[engine]\nodd = false\n", &partial), format!("{NEW} --no-odd"));
    for length in ["\"auto\"", "-1", "\"16k\""] {
        assert_eq!(problems(&format!("length = {length}"), &partial), [""; 0], "{length}");
    }
    assert_eq!(problems("length = \"long\"", &partial).len(), 1);
    assert_eq!(problems("max-model-length = 1", &partial).len(), 1);
    taken.unread.insert("vllm.x: fill".to_owned());
    partial.taken = Some(LockedEngine::of(&taken));
    let spec = "[gateway]\nalias = \"x\"\n[engine]\nmax-model-length = 1\n";
    let found = findings(spec, &partial);
    assert!(
        found.len() == 1 && found[0].starts_with("? `max-model-length` is none of the flags"),
        "{found:?}"
    );
    assert!(found[0].contains("did you mean `max-model-len`?"), "{found:?}");
}

#[test]
fn a_newer_version_that_an_older_goatbuild_read_is_not_checked() {
    for (reading, version, is_checked) in
        [(1, "0.15.1", true), (1, "0.16.0", false), (2, "0.16.0", true)]
    {
        let mut locked = locked("0.13.0");
        version.clone_into(&mut locked.version);
        let mut taken = super::taken(&locked).unwrap();
        (taken.reading, taken.version) = (reading, version.to_owned());
        locked.taken = Some(LockedEngine::of(&taken));
        let found = findings("[gateway]\nalias = \"x\"\n[engine]\nodd = 1\n", &locked);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].starts_with("odd: "), is_checked, "{found:?}");
        assert_eq!(found[0].contains("saw too little of it"), !is_checked, "{found:?}");
    }
}

#[test]
fn what_a_version_does_not_take_is_told_with_what_it_takes() {
    let (old, new) = (locked("0.8.5.post1"), locked("0.13.0"));
    insta::assert_snapshot!(
        [
            ("async-scheduling = true", &old),
            ("enable-reasoning = true", &new),
            ("max-model-length = 1", &new),
            ("max_model_len = 1", &new),
            ("no-async-scheduling = true", &new),
            ("kv-cache-dtype = \"fp9\"", &new),
            ("max-num-seqs = \"many\"", &new),
            ("async-scheduling = 1", &new),
            ("max-num-seqs = [1]", &new),
            ("max-model-len = \"1.5K\"", &new),
            ("tool-call-parser = \"openai\"", &old),
            ("enable-auto-tool-choice = true", &new),
            ("reasoning-parser = \"gptoss\"", &new),
            ("compilation-config.pass_config = { fuse_allreduce_rms = true, eliminate_noops = true }", &old),
            ("compilation-config.pass_config = { enable_fusion = true, enable_noop = true }", &new),
            ("compilation-config = { pass_configs = {} }", &new),
        ]
        .map(|(flags, locked)| problems(flags, locked).join("\n"))
        .join("\n")
    );
    for fine in [
        "max-model-len = \"1.5k\"",
        "max-model-len = 8192",
        "compilation-config.pass_config = { fuse_allreduce_rms = true, eliminate_noops = true }",
        "cudagraph-capture-sizes = [1, 2]",
    ] {
        assert_eq!(problems(fine, &new), [""; 0]);
    }
}

#[test]
fn models_that_a_version_does_not_serve_are_refused() {
    let gpt_oss = |version| Locked {
        architectures: vec!["GptOssForCausalLM".to_owned()],
        model_type: Some("gpt_oss".to_owned()),
        ..locked(version)
    };
    let found = problems("", &gpt_oss("0.8.5.post1"));
    assert!(found[0].contains("vllm 0.8.5.post1 does not serve gpt-oss"), "{found:?}");
    assert_eq!(problems("", &gpt_oss("0.13.0")), [""; 0]);
    let draft = "\n[draft]\nsource = \"path:d\"\nmethod = \"eagle3\"\nnum-speculative-tokens = 3";
    let qwen = |version| Locked {
        architectures: vec!["LlamaForCausalLM".to_owned()],
        model_type: Some("qwen3".to_owned()),
        ..locked(version)
    };
    assert!(problems(draft, &qwen("0.8.5.post1"))[0].contains("eagle3 for llama only"));
    assert!(problems(draft, &qwen("0.13.0"))[0].contains("gpt_oss, llama only"));
    assert_eq!(problems(draft, &gpt_oss("0.13.0")), [""; 0]);
}

#[test]
fn an_alias_for_clients_that_send_tools_is_warned_about_without_them() {
    let new = locked("0.13.0");
    let found = findings("", &new);
    assert!(found.len() == 1 && found[0].starts_with("? m-local can't call tools"), "{found:?}");
    let tools = "[engine]\nenable-auto-tool-choice = true\ntool-call-parser = \"hermes\"\n";
    assert_eq!(findings(tools, &new), [""; 0]);
    assert_eq!(findings("[gateway]\nalias = \"m\"\n", &new), [""; 0]);
}

#[test]
fn variables_that_a_version_does_not_know_are_warned_about() {
    let image = |version| Locked {
        image_environment: vec![
            "VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8".to_owned(),
            "PATH".to_owned(),
        ],
        ..locked(version)
    };
    let found = findings("[gateway]\nalias = \"m\"\n", &image("0.8.5.post1"));
    assert!(found.len() == 1 && found[0].contains("VLLM_USE_FLASHINFER"), "{found:?}");
    assert_eq!(findings("[gateway]\nalias = \"m\"\n", &image("0.13.0")), [""; 0]);
}

#[test]
fn eager_models_do_not_compile() {
    let vllm = Vllm;
    assert!(vllm.compiles(&model("")));
    assert!(!vllm.compiles(&model("[engine]\nenforce-eager = true\n")));
    assert!(!vllm.compiles(&model("[serve]\nfast-boot = true\n")));
}

#[test]
fn flags_that_never_reach_the_compile_key_are_flags() {
    let known: Vec<&str> = KNOWN.iter().flat_map(|(_, names)| names.lines()).collect();
    assert!(NEVER_COMPILED.is_sorted());
    for flag in NEVER_COMPILED {
        assert!(known.contains(&flag), "{flag}");
        assert!(!Vllm.reaches_compile_key(flag));
    }
    assert!(Vllm.reaches_compile_key("max-model-len"));
}

#[test]
fn caches_lie_in_the_volumes() {
    let caches = ["/root/.cache/vllm", "/root/.cache/flashinfer"];
    let environment: BTreeMap<String, String> = Vllm.environment(&caches);
    for (name, value) in [
        ("VLLM_CACHE_ROOT", "/root/.cache/vllm"),
        ("TRITON_CACHE_DIR", "/root/.cache/vllm/triton"),
        ("FLASHINFER_WORKSPACE_BASE", "/root"),
        ("HF_HUB_OFFLINE", "1"),
        ("VLLM_NO_USAGE_STATS", "1"),
    ] {
        assert_eq!(environment[name], value);
    }
    let caches = ["/c", "/f"];
    assert_eq!(Vllm.environment(&caches)["FLASHINFER_WORKSPACE_BASE"], "/f");
}

#[test]
fn what_it_did_not_write_into_the_lock_is_shown_where_it_is() {
    let kept = "reading = 2\ndistribution = \"vllm\"\nversion = \"0.13.0\"\n";
    let has_read = |text: &str| Vllm.has_read(&toml::from_str(text).unwrap());
    assert!(has_read(kept));
    assert!(!has_read(&kept.replace("reading = 2", "reading = 1")));
    let check = |wheel: &str, more: &str| {
        let text = format!("version = 1\n[engine.\"{wheel}\"]\n{kept}{more}");
        match LockFile::check_engines("goatbuild.lock", &text, built_in()) {
            Err(LockFileError::Syntax { message, span: Some(span), .. }) => {
                (text[span.offset()..][..span.len()].to_owned(), message)
            }
            checked => (String::new(), format!("{checked:?}")),
        }
    };
    let vllm = "vllm-0.13.0-cp38-abi3-manylinux_2_31_x86_64.whl";
    assert_eq!(check(vllm, ""), (String::new(), "Ok(())".to_owned()));
    let (at, said) = check(vllm, "colour = 1\n");
    assert_eq!(at, "colour");
    assert!(said.contains("unknown field `colour`"), "{said}");
    let flags = format!("[engine.\"{vllm}\".flags]\nlong = \"size\"\nseed = \"zig\"\n");
    let (at, said) = check(vllm, &flags);
    assert_eq!(at, "\"zig\"");
    assert!(said.contains("`zig` is no kind of flag"), "{said}");
    let (at, said) = check("numpy-2.0.0-cp312-cp312-manylinux_2_17_x86_64.whl", "");
    assert!(
        at.contains("numpy-2.0.0") && said.contains("is no wheel of an engine"),
        "{at}: {said}"
    );
}
