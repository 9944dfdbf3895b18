//! What goatbuild passes on without knowing it.

use super::super::super::mlx_lm::MlxLm;
use super::*;

#[test]
fn extra_arguments_end_the_command_line_as_they_are() {
    let spec = "[engine]\nextra-args = [\"--foo\", \"bar\", \"-q\"]\nmax-model-len = 1\n";
    for (version, program) in [("0.8.5.post1", OLD), ("0.13.0", NEW)] {
        let wanted = format!("{program} --max-model-len 1 --foo bar -q");
        assert_eq!(line(spec, &locked(version)), wanted);
    }
    assert_eq!(line("[engine]\nextra-args = []\n", &locked("0.13.0")), NEW);
}

#[test]
fn extra_arguments_do_not_say_what_goatbuild_says() {
    let new = locked("0.13.0");
    let found = |argument: &str, more: &str| {
        findings(
            &format!(
                "[gateway]\nalias = \"x\"\n[engine]\nextra-args = [\"--foo\", \"{argument}\", \"7\"]\n{more}"
            ),
            &new,
        )
    };
    for argument in [
        "--api-key",
        "--api-key=x",
        "--api_key",
        "--api_k=x",
        "--api",
        "--host",
        "--po",
        "--port=1",
        "--model",
        "--served_model_name=x",
        "--served",
        "--no-headless",
        "--rev",
        "--uds",
        "--config",
    ] {
        let found = found(argument, "");
        assert_eq!(found.len(), 1, "{argument}: {found:?}");
        let is_there = found[0].starts_with("extra-args.1: goatbuild sets `");
        assert!(is_there && found[0].ends_with(')'), "{found:?}");
    }
    assert!(found("--api-key", "")[0].contains("`[serve] auth = \"api-key\"`"));
    for argument in
        ["--model-impl", "--hostile", "-tp", "--tensor-parallel-size", "--", "-1", "model"]
    {
        assert_eq!(found(argument, ""), [""; 0], "{argument}");
    }
    for (argument, more) in [
        ("--tensor_parallel_size=2", "[hardware]\ngpu = \"H100\"\n"),
        ("-tp", "[hardware]\ngpu = \"H100\"\n"),
        ("--no-enforce-eager", "[serve]\nfast-boot = true\n"),
        ("--max_num_seqs=2", "max-num-seqs = 1\n"),
    ] {
        assert_eq!(found(argument, more).len(), 1, "{argument}");
    }
}

#[test]
fn mlx_lm_takes_extra_arguments_as_well() {
    let spec = |argument: &str| {
        format!("[engine]\nname = \"mlx-lm\"\ntop-k = 1\nextra-args = [\"{argument}\", \"1\"]\n")
    };
    let mlx = MlxLm;
    let (locked, weights) = (Locked::default(), "/w");
    let serving = Serving {
        host: "127.0.0.1",
        port: 1,
        model: "m",
        mark: None,
        weights,
        revision: "c0ffee",
        draft: None,
        draft_revision: None,
        fetched: &BTreeMap::new(),
        locked: &locked,
    };
    let line = mlx.command(&model(&spec("--odd")), &serving).join(" ");
    assert!(line.ends_with("--port 1 --top-k 1 --odd 1"), "{line}");
    for (argument, problems) in
        [("--odd", 0), ("--port", 1), ("--hos=x", 1), ("--model=x", 1), ("--top-k", 1)]
    {
        assert_eq!(mlx.check(&model(&spec(argument))).len(), problems, "{argument}");
    }
}

/// `load` in `mlx_lm/utils.py` of 0.32 fetches what is no directory.
#[test]
fn the_draft_of_mlx_lm_is_locked_and_given_by_path() {
    let model =
        |flag: &str| model(&format!("[engine]\nname = \"mlx-lm\"\ndraft-model = \"{flag}\"\n"));
    let mlx = MlxLm;
    let command = |flag: &str| {
        let model = model(flag);
        let serving = Serving {
            host: "127.0.0.1",
            port: 1,
            model: "m",
            weights: "/w",
            revision: "c0ffee",
            draft: None,
            draft_revision: None,
            mark: None,
            fetched: &fetched(&model),
            locked: &Locked::default(),
        };
        mlx.command(&model, &serving).join(" ")
    };
    assert!(command("acme/draft@v1").ends_with("--port 1 --draft-model /f/acme/draft@v1"));
    assert!(command("/opt/draft").ends_with("--draft-model /opt/draft"));
    let refused: Vec<String> = mlx.check(&model("gpt2")).into_iter().map(|it| it.message).collect();
    assert_eq!(refused, ["`gpt2` is neither a repository on the hub nor a path in the image"]);
}
