//! What scripts deploy. Each is a few lines that show how a public script does one thing.

use crate::engines;
use crate::import::{Found, Script};
use crate::targets::Imported;

const IMAGE: &str =
    "image = modal.Image.debian_slim(python_version='3.11').pip_install('vllm==0.13.0')\n";

fn imported(text: &str) -> Imported {
    let script = Script::parse("deploy.py", text.as_bytes().to_vec()).expect("Python");
    crate::targets::built_in().import(&script, &[], engines::built_in())
}

fn found(text: &str) -> Found {
    let mut imported = imported(text);
    assert_eq!(imported.found.len(), 1, "{:?}", imported.remarks);
    imported.found.remove(0)
}

/// A function that runs `body`, with these arguments of its decorator.
fn function(arguments: &str, body: &str) -> Found {
    found(&format!(
        "import modal, os, subprocess\n{IMAGE}app = modal.App('app')\n\
         @app.function(image=image, {arguments})\n\
         @modal.web_server(port=8000, startup_timeout=600)\n\
         def serve():\n    {body}\n"
    ))
}

fn started(line: &str) -> Found {
    function("gpu='H100'", &format!("subprocess.Popen({line})"))
}

fn lost(found: &Found, line: usize) -> String {
    let of_line = found.remarks.lost.iter().filter(|(at, _)| *at == line);
    of_line.map(|(_, why)| why.as_str()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_command_line_is_read_however_it_is_written() {
    let lines = [
        "['vllm', 'serve', 'a/b', '--max-model-len', '8192', '--enable-prefix-caching']",
        "'vllm serve a/b --max-model-len=8192 --enable-prefix-caching', shell=True",
        "' '.join(['vllm', 'serve', 'a/b', '--max-model-len', str(8 * 1024), '--enable-prefix-caching']), shell=True",
        "['python', '-m', 'vllm.entrypoints.openai.api_server', '--model', 'a/b', '--max_model_len', '8192', '--enable-prefix-caching']",
        "['sh', '-c'] and 'exec vllm serve --max-model-len 8192 a/b --enable-prefix-caching > log 2>&1 &', shell=True",
        "('vllm', 'serve', 'a/b', *['--max-model-len', '8192'], '--enable-prefix-caching')",
    ];
    for line in lines {
        let found = started(line);
        let flags = &found.written.flags;
        assert_eq!(found.weights.as_deref(), Some("a/b"), "{line}");
        assert_eq!(flags["max-model-len"].as_integer(), Some(8192), "{line}");
        assert_eq!(flags["enable-prefix-caching"].as_bool(), Some(true), "{line}");
        assert_eq!(flags.len(), 2, "{line}: {flags:?}");
    }
}

#[test]
fn what_goatbuild_sets_itself_is_left_out_of_an_image() {
    let found = found(&format!(
        "import modal, subprocess\n{IMAGE}image = image.env({{'HF_HUB_OFFLINE': '0', 'HF_HOME': '/x'}})\n\
         app = modal.App('app')\n@app.function(image=image, gpu='H100')\n\
         @modal.web_server(port=8000)\ndef serve():\n    subprocess.Popen(['vllm', 'serve', 'a/b'])\n"
    ));
    let set: Vec<&String> = found.image.environment.keys().collect();
    assert_eq!(set, ["HF_HOME"]);
    assert_eq!(lost(&found, 3), "goatbuild sets HF_HUB_OFFLINE itself");
}

#[test]
fn flags_keep_their_values_as_they_were_meant() {
    let found = started(
        "['vllm', 'serve', 'a/b', '--no-enable-prefix-caching', '--limit-mm-per-prompt', '{\"image\": 1}', \
         '--gpu-memory-utilization', '0.90', '--served-model-name', 'x', 'y', '-tp', '2', '-O3', '-O.sizes=' + str([1, 2]), \
         '--chat-template', 'null', '--hf-overrides', '{\"a\": null}', '--lora-modules', 'l=acme/a', 'm=/b']",
    );
    let flags = &found.written.flags;
    assert_eq!(flags["enable-prefix-caching"].as_bool(), Some(false));
    assert_eq!(flags["limit-mm-per-prompt"]["image"].as_integer(), Some(1));
    assert_eq!(flags["gpu-memory-utilization"].as_float(), Some(0.9));
    assert_eq!(flags["hf-overrides"].as_str(), Some("{\"a\": null}"), "TOML has no null");
    assert_eq!(flags["lora-modules"].as_array().map(Vec::len), Some(2));
    assert_eq!(found.written.served_names, ["x", "y"]);
    assert_eq!(found.written.extra, ["-O3", "-O.sizes=[1, 2]"]);
    assert!(found.remarks.lost.iter().any(|(_, why)| why.contains("spread over 2 of 1 GPUs")));
}

/// `memory` is in MiB, as `modal/app.py` of 1.6.4 has it; a pair is what is asked for and a limit.
#[test]
fn cores_and_memory_are_carried_over_beside_a_gpu() {
    let with = |arguments: &str| {
        function(&format!("gpu='L4', {arguments}"), "subprocess.Popen(['vllm', 'serve', 'a/b'])")
    };
    let both = with("cpu=8.5, memory=65536");
    assert_eq!(both.hardware["cpu"].as_float(), Some(8.5));
    assert_eq!(both.hardware["memory"].as_integer(), Some(64));
    assert_eq!(with("cpu=4, memory=1536").hardware["memory"].as_float(), Some(1.5));
    let pairs = with("cpu=(1, 2), memory=(1024, 2048)");
    assert!(!pairs.hardware.contains_key("cpu") && !pairs.hardware.contains_key("memory"));
    let lost = lost(&pairs, 4);
    assert!(lost.contains("`cpu`: ") && lost.contains("`memory`: "), "{lost}");
}

#[test]
fn what_no_hub_and_no_image_has_is_left_out_alone() {
    let found = started(
        "['vllm', 'serve', 'a/b', '--tokenizer', 'gpt2', '--tokenizer-revision', 'v1', \
         '--enable-lora', '--lora-modules', 'sql=./adapters/sql', 'chat=acme/chat', \
         '--speculative-config', '{\"method\": \"eagle3\", \"model\": \"./draft\"}', \
         '--speculative-config.model=acme/draft', '--max-model-len', '1']",
    );
    let flags: Vec<&String> = found.written.flags.keys().collect();
    assert_eq!(flags, ["enable-lora", "lora-modules", "max-model-len"]);
    assert_eq!(found.written.flags["lora-modules"].as_str(), Some("chat=acme/chat"));
    assert!(found.written.draft.is_empty() && found.written.extra.is_empty());
    let lost = lost(&found, 7);
    for told in [
        "`gpt2` is neither",
        "`./adapters/sql` is neither",
        "`./draft` is neither",
        "written as JSON",
    ] {
        assert!(lost.contains(told), "{told}: {lost}");
    }
    assert!(lost.contains("says nothing without `tokenizer`"), "{lost}");
}

/// As `modal-labs/modal-examples`, `06_gpu_and_ml/llm-serving/vllm_inference.py`, of 2024 has it.
#[test]
fn an_engine_in_the_scripts_own_program_is_read_by_its_arguments() {
    let found = found(&format!(
        "import modal\nfrom vllm.engine.arg_utils import AsyncEngineArgs\n{IMAGE}\
         app = modal.Stub('old')\n\
         @app.function(image=image, gpu=modal.gpu.A100(count=2, size='80GB'), keep_warm=1, \
         container_idle_timeout=20 * 60, allow_concurrent_inputs=100, concurrency_limit=3)\n\
         @modal.asgi_app()\n\
         def serve():\n\
         \x20   args = AsyncEngineArgs(model='a/b', tensor_parallel_size=2, max_model_len=4096, \
         enforce_eager=True, quantization=None)\n"
    ));
    assert_eq!(found.weights.as_deref(), Some("a/b"));
    assert_eq!(found.written.flags["enforce-eager"].as_bool(), Some(true));
    assert!(!found.written.flags.contains_key("quantization"));
    assert_eq!(found.hardware["gpu"].as_str(), Some("A100-80GB"));
    assert_eq!(found.hardware["count"].as_integer(), Some(2));
    let serve = &found.serve;
    assert_eq!(serve["min-containers"].as_integer(), Some(1));
    assert_eq!(serve["max-containers"].as_integer(), Some(3));
    assert_eq!(serve["max-inputs"].as_integer(), Some(100));
    assert_eq!(serve["scaledown-window"].as_str(), Some("20m"));
}

/// As `Liquid4All/lfm-inference`, `modal/deploy-vllm-with-sleep.py`, has it.
#[test]
fn a_class_starts_its_engine_where_it_is_entered() {
    let found = found(&format!(
        "import modal, subprocess\n{IMAGE}app = modal.App('cls')\n\
         @app.cls(image=image, gpu='h100:1', timeout=900)\n\
         @modal.concurrent(max_inputs=64, target_inputs=32)\n\
         class Server:\n\
         \x20   name: str = modal.parameter(default='a/b')\n\
         \x20   @modal.enter()\n\
         \x20   def start(self):\n\
         \x20       self.line = ['vllm', 'serve', self.name]\n\
         \x20       self._process()\n\
         \x20   def _process(self):\n\
         \x20       subprocess.Popen(self.line)\n\
         \x20   @modal.web_server(port=8000, startup_timeout=60)\n\
         \x20   def web(self):\n\
         \x20       pass\n"
    ));
    assert_eq!(found.weights.as_deref(), Some("a/b"));
    assert_eq!(
        found.serve["startup-timeout"].as_str(),
        Some("15m"),
        "what it is entered by counts"
    );
    assert_eq!(found.serve["max-inputs"].as_integer(), Some(64));
    assert_eq!(found.labels, ["cls-server-web"]);
    assert!(lost(&found, 6).contains("at …--cls-serve.modal.run once"), "{:?}", found.remarks);
}

/// As `tensorzero/tensorzero`, `tensorzero-core/fixtures/deployment/sgl-modal/sgl_inference.py`, has it.
#[test]
fn another_engine_keeps_its_command_line() {
    let found = found(&format!(
        "import modal, subprocess\n{IMAGE}app = modal.App(name='sgl')\n\
         @app.function(image=image, gpu='T4', secrets=[modal.Secret.from_name('ro-huggingface-secret')])\n\
         @modal.web_server(port=8000, startup_timeout=120, requires_proxy_auth=True)\n\
         def sglang_inference():\n\
         \x20   cmd = ['python', '-m', 'sglang.launch_server', '--model-path', 'a/b', '--host', '0.0.0.0', \
         '--port', str(8000), '--tool-call-parser', 'qwen25']\n\
         \x20   subprocess.Popen(' '.join(cmd), shell=True)\n"
    ));
    assert_eq!(found.engine, "command");
    let line = found.written.command.join(" ");
    assert_eq!(
        line,
        "python -m sglang.launch_server --model-path {model} --host {host} --port {port} \
         --tool-call-parser qwen25"
    );
    assert_eq!(found.serve["auth"].as_str(), Some("proxy"));
    assert_eq!(found.settings["hf-secret"].as_str(), Some("ro-huggingface-secret"));
}

/// As `modal-labs/modal-examples`, `06_gpu_and_ml/llm-serving/stepfun_inference_server.py`, has it; the
/// arguments and what they are without are those of `app.server` in the client 1.6.4.
#[test]
fn a_server_of_modals_is_a_class_that_answers_by_itself() {
    let server = |name: &str, arguments: &str| {
        found(&format!(
            "import modal, subprocess\n{IMAGE}app = modal.App('app')\n\
             @app.{name}(image=image, gpu='H100:2', port=8000, {arguments})\n\
             class Server:\n\
             \x20   @modal.enter()\n\
             \x20   def start(self):\n\
             \x20       subprocess.Popen(['vllm', 'serve', 'a/b', '-tp', '2'])\n"
        ))
    };
    let one = server(
        "server",
        "target_concurrency=16, startup_timeout=7200, compute_region='us', routing_region='us-east'",
    );
    assert_eq!(one.weights.as_deref(), Some("a/b"));
    assert_eq!(one.serve["max-inputs"].as_integer(), Some(16));
    assert_eq!(one.serve["startup-timeout"].as_str(), Some("2h"));
    assert_eq!(one.serve["region"].as_str(), Some("us"));
    assert_eq!(one.serve["auth"].as_str(), Some("proxy"), "that is asked for unless it says not");
    let told = lost(&one, 4);
    assert!(told.contains("`routing_region`") && !told.contains("`port`"), "{told}");
    assert!(lost(&one, 5).contains("modal.direct"), "{:?}", one.remarks);
    let open = server("server", "unauthenticated=True");
    assert_eq!(open.serve["auth"].as_str(), Some("none"));
    assert_eq!(open.serve["startup-timeout"].as_str(), Some("30s"));
    assert!(!open.serve.contains_key("max-inputs"), "none is set: {:?}", open.serve);
    assert_eq!(server("_experimental_server", "").serve["auth"].as_str(), Some("none"));
}

#[test]
fn what_asks_for_a_key_never_comes_out_open() {
    let auth = |found: &Found| found.serve["auth"].as_str().map(str::to_owned);
    let with = |arguments: &str, body: &str| function(&format!("gpu='L4', {arguments}"), body);
    let start = "subprocess.Popen(['vllm', 'serve', 'a/b'])";
    let by_flag = with(
        "secrets=[modal.Secret.from_name('llm-secrets')]",
        "subprocess.Popen(['vllm', 'serve', 'a/b', '--api-key', os.environ['MODEL_API_KEY']])",
    );
    assert_eq!(auth(&by_flag).as_deref(), Some("api-key"));
    assert_eq!(by_flag.settings["api-key-secret"].as_str(), Some("llm-secrets"));
    assert_eq!(by_flag.settings["api-key-variable"].as_str(), Some("MODEL_API_KEY"));
    let by_shell = with(
        "secrets=[modal.Secret.from_name('llm-secrets')]",
        "subprocess.Popen('vllm serve a/b --api-key $LLM_KEY', shell=True)",
    );
    assert_eq!(by_shell.settings["api-key-variable"].as_str(), Some("LLM_KEY"));
    for arguments in [
        "env={'VLLM_API_KEY': 'abcdefgh'}",
        "secrets=[modal.Secret.from_dict({'VLLM_API_KEY': 'abcdefgh'})]",
        "secrets=[modal.Secret.from_name('k', required_keys=['VLLM_API_KEY'])]",
    ] {
        assert_eq!(auth(&with(arguments, start)).as_deref(), Some("api-key"), "{arguments}");
    }
    let set = with("", &format!("os.environ['VLLM_API_KEY'] = 'abcdefgh'\n    {start}"));
    assert_eq!(auth(&set).as_deref(), Some("api-key"));
    // What a secret holds isn't said: the line is told.
    let unknown = with("secrets=[modal.Secret.from_name('misc')]", start);
    assert_eq!(auth(&unknown).as_deref(), Some("none"));
    assert!(lost(&unknown, 4).contains("If it holds VLLM_API_KEY"), "{:?}", unknown.remarks);
}

#[test]
fn what_is_not_served_here_says_why() {
    let text = "import modal\napp = modal.App('x')\n\
                @app.function()\n@modal.web_server(8188)\ndef ui():\n    pass\n";
    let none = imported(text);
    assert!(none.found.is_empty() && none.is_ours);
    assert!(none.remarks.lost.iter().any(|(_, why)| why.contains("starts no engine")));
    let cpu = imported(&format!(
        "import modal, subprocess\n{IMAGE}app = modal.App('x')\n@app.function(image=image)\n\
         @modal.web_server(8000)\ndef serve():\n    subprocess.Popen(['vllm', 'serve', 'a/b'])\n"
    ));
    assert!(cpu.found.is_empty());
    assert!(cpu.remarks.lost.iter().any(|(_, why)| why.contains("no GPU")), "{:?}", cpu.remarks);
    assert!(!imported("x = 1\n").is_ours);
}

/// As `mihirathale98/puzzle-sft`, `deploy_model.py`, has its layers.
#[test]
fn an_image_is_its_base_and_what_is_installed() {
    let found = found(
        "import modal, subprocess\n\
         image = modal.Image.from_registry('nvidia/cuda:12.8.0-devel-ubuntu22.04', add_python='3.12')\\\n\
         .entrypoint([]).apt_install('git').uv_pip_install(['vllm==0.10.2', 'git+https://x/y'])\\\n\
         .run_commands('pip install --system torch==2.8.0', 'echo x')\n\
         image = image.env({'A': '1', 'B': 2})\n\
         app = modal.App('x')\n\
         @app.function(image=image, gpu='L4')\n@modal.web_server(8000)\n\
         def serve():\n    subprocess.Popen(['vllm', 'serve', 'a/b'])\n",
    );
    let image = &found.image;
    assert_eq!(image.name.as_deref(), Some("image"));
    assert_eq!(
        image.base.as_ref().and_then(|it| it.as_str()),
        Some("nvidia/cuda:12.8.0-devel-ubuntu22.04")
    );
    assert_eq!(image.python.as_deref(), Some("3.12"));
    assert_eq!(image.requirements, ["vllm==0.10.2", "torch==2.8.0"]);
    assert_eq!(image.environment["B"].as_str(), Some("2"));
    assert!(lost(&found, 3).contains("a lock has wheels"), "{:?}", found.remarks);
    assert!(lost(&found, 4).contains("no commands run"), "{:?}", found.remarks);
}

/// As `tensorzero/tensorzero`, `…/sgl-modal/sgl_inference.py`, and `mihirathale98/puzzle-sft`,
/// `deploy_model.py`, set variables; and as many hand them to the program.
#[test]
fn variables_that_are_set_before_the_start_are_the_images() {
    let variables = |body: &str| {
        let found = function("gpu='L4'", body);
        found.image.environment.keys().cloned().collect::<Vec<_>>()
    };
    let start = "subprocess.Popen(['vllm', 'serve', 'a/b']";
    assert_eq!(variables(&format!("os.environ['A'] = '1'\n    {start})")), ["A"]);
    assert_eq!(variables(&format!("{start}, env={{**os.environ, 'B': '1'}})")), ["B"]);
    let copied = format!("env = os.environ.copy()\n    env['C'] = '1'\n    {start}, env=env)");
    assert_eq!(variables(&copied), ["C"]);
    assert_eq!(variables(&format!("{start}, env=dict(os.environ, D='1'))")), ["D"]);
}

/// As `tensorzero/tensorzero`, `…/vllm-modal-gpt-oss/vllm_gpt_oss.py`, computes its sizes.
#[test]
fn a_flag_whose_value_only_a_run_tells_takes_nothing_else_with_it() {
    let found = started("f'vllm serve --seed={f()} a/b', shell=True");
    assert_eq!(found.weights.as_deref(), Some("a/b"));
    assert!(lost(&found, 7).contains("only a run would tell the value"), "{:?}", found.remarks);
}

/// As `ShivamB25/vllm-embedding-service`, `modal_vllm_embedding_with_snapshot.py`, has a class beside
/// its server, and one that fetches.
#[test]
fn functions_that_an_app_will_not_have_are_told() {
    let imported = imported(&format!(
        "import modal, subprocess\n{IMAGE}app = modal.App('app')\n\
         @app.function(image=image)\ndef download():\n    snapshot_download('a/b')\n\
         @app.function(image=image, schedule=modal.Cron('* * * * *'))\ndef tidy():\n    pass\n\
         @app.function(image=image, gpu='L4')\n@modal.web_server(port=8000)\n\
         def serve():\n    subprocess.Popen(['vllm', 'serve', 'a/b'])\n"
    ));
    let told: Vec<_> = imported.remarks.lost.iter().map(|(line, _)| *line).collect();
    assert_eq!(told, [8], "{:?}", imported.remarks);
}

/// The form of an address is Modal's (`address.rs`); an environment's suffix need not be its name.
#[test]
fn the_workspace_is_taken_from_an_address_that_leaves_no_doubt() {
    let workspace = |environment: &str, address: &str| {
        let environment = match environment {
            "" => String::new(),
            name => format!(", environment_name='{name}'"),
        };
        let found = function(
            &format!("gpu='L4', secrets=[modal.Secret.from_name('hf'{environment})]"),
            &format!("# {address}\n    subprocess.Popen(['vllm', 'serve', 'a/b'])"),
        );
        let said = found.settings.get("workspace").and_then(toml::Value::as_str);
        (said.map(str::to_owned), found.remarks.better.iter().any(|(line, _)| *line == 7))
    };
    let taken = |name: &str| (Some(name.to_owned()), false);
    assert_eq!(workspace("", "https://acme--app-serve.modal.run/v1"), taken("acme"));
    assert_eq!(workspace("goat", "https://acme-goat--app-serve.modal.run"), taken("acme"));
    assert_eq!(workspace("goat", "https://acme--app-serve.modal.run"), taken("acme"));
    assert_eq!(workspace("", "https://acme-goat--app-serve.modal.run"), (None, true));
    assert_eq!(workspace("goat", "https://acme-test--app-serve.modal.run"), (None, true));
    for none in [
        "https://acme--other-serve.modal.run",
        "https://your-workspace--app-serve.modal.run",
        "https://<workspace>--app-serve.modal.run",
        "acme--app-serve.modal.run.example",
    ] {
        assert_eq!(workspace("", none), (None, false), "{none}");
    }
}
