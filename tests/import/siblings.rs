//! Settings in files beside a script: followed as far as they are plain files there, and never run.

use std::fs;

use super::Place;

/// A script whose settings are elsewhere, by every way that Python has to say so.
const SCRIPT: &str = r#"import subprocess

import modal
import common
from settings import MODELS as ROWS, pick
from shared.images import *
import shared.limits as limits
from vllm import LLM

row = ROWS[pick("tiny")]
app = modal.App(common.name("tiny"))


@app.function(image=image, gpu=row["gpu"], timeout=limits.TIMEOUT, scaledown_window=limits.window(2))
@modal.web_server(8000)
def serve():
    subprocess.Popen(common.command(row["hub"]) + ["--max-model-len", str(common.LENGTH)])
"#;

const FILES: [(&str, &str); 6] = [
    (
        "settings.py",
        "import common\n\nMODELS = {\n    \"tiny\": {\"hub\": \"acme/tiny\", \"gpu\": \"L4\"},\n    \
         \"other\": {\"hub\": \"acme/other\", \"gpu\": \"T4\"},\n}\n\n\ndef pick(name):\n    return name\n",
    ),
    (
        "common.py",
        "import settings\n\nLENGTH = 2048\nPREFIX = \"our\"\n\n\ndef name(row):\n    \
         return f\"{PREFIX}-{row}\"\n\n\ndef command(hub):\n    \
         return [\"vllm\", \"serve\", hub, \"--seed\", str(_seed())]\n\n\ndef _seed():\n    return 7\n",
    ),
    ("shared/__init__.py", "raise SystemExit('nothing here is run')\n"),
    (
        "shared/images.py",
        "import modal\n\nfrom .limits import VLLM\n\n_own = 1\nimage = modal.Image.debian_slim(\
         python_version=\"3.12\").pip_install(VLLM)\n",
    ),
    (
        "shared/limits.py",
        "MINUTES = 60\nTIMEOUT = 20 * MINUTES\nVLLM = \"vllm==0.13.0\"\n\n\ndef window(minutes):\n    \
         return minutes * MINUTES\n",
    ),
    // An installed package is meant, whatever lies there.
    ("modal.py", "App = None\n"),
];

fn place() -> Place {
    let place = Place::new();
    fs::create_dir_all(place.path("apps/shared")).unwrap();
    for (name, text) in FILES.into_iter().chain([("deploy.py", SCRIPT)]) {
        place.write(&format!("apps/{name}"), text);
    }
    place
}

#[test]
fn settings_in_files_beside_a_script_are_its_own() {
    let place = place();
    let done = place.run("import apps/deploy.py --to made").exits(0);
    let spec: toml::Table = place.read("made/specs/tiny.toml").parse().unwrap();
    assert_eq!(spec["model"]["source"].as_str(), Some("hf:acme/tiny"));
    assert_eq!(spec["hardware"]["gpu"].as_str(), Some("L4"));
    assert_eq!(spec["engine"]["seed"].as_integer(), Some(7));
    assert_eq!(spec["engine"]["max-model-len"].as_integer(), Some(2048));
    assert_eq!(spec["serve"]["timeout"].as_str(), Some("20m"));
    assert_eq!(spec["serve"]["scaledown-window"].as_str(), Some("2m"));
    let image: toml::Table = place.read("made/images/vllm.toml").parse().unwrap();
    assert_eq!(image["requirements"][0].as_str(), Some("vllm==0.13.0"));
    // What is said of a line names the file that it is in.
    done.says(&[
        "apps/settings.py:4: \"tiny\": {\"hub\": \"acme/tiny\"",
        "`revision` pins hf:acme/tiny",
        "apps/deploy.py:10: row = ROWS[pick(\"tiny\")]",
        "not other",
    ]);
}

#[test]
fn a_file_that_is_no_python_is_told_and_the_rest_is_read() {
    let place = place();
    place.write("apps/shared/limits.py", "TIMEOUT = (\n");
    let done = place.run("import apps/deploy.py --to made").exits(0);
    done.says(&["apps/shared/limits.py\n", "it isn't read", "is not Python"]);
    let spec: toml::Table = place.read("made/specs/tiny.toml").parse().unwrap();
    assert_eq!(spec["hardware"]["gpu"].as_str(), Some("L4"));
}

/// Packages as `modal deploy -m team.serving.deploy` has them.
#[test]
fn a_package_is_followed_to_its_top_and_no_further() {
    let place = Place::new();
    fs::create_dir_all(place.path("team/serving")).unwrap();
    for (name, text) in [
        ("../outside.py", "GPU = 9\n"),
        ("team/__init__.py", "GPU = \"T4\"\n"),
        (
            "team/serving/names.py",
            "from .. import GPU as SAME\nfrom ....outside import GPU\nHUB = \"acme/tiny\"\n",
        ),
    ] {
        place.write(name, text);
    }
    let script = SCRIPT.split_once("row =").unwrap().1;
    let script = format!(
        "import modal, subprocess\nfrom team import GPU\nfrom .names import HUB\nfrom . import names\n\
         image = modal.Image.debian_slim(python_version='3.12').pip_install('vllm==0.13.0')\n#{script}"
    );
    let script = script
        .replace("common.name(\"tiny\")", "\"packaged\"")
        .replace(
            "gpu=row[\"gpu\"], timeout=limits.TIMEOUT, scaledown_window=limits.window(2)",
            "gpu=GPU",
        )
        .replace(
            "common.command(row[\"hub\"])",
            "[\"vllm\", \"serve\", names.HUB, \"--seed\", names.GPU]",
        )
        .replace("str(common.LENGTH)", "'1'");
    place.write("team/serving/deploy.py", script);
    let done = place.run("import team/serving/deploy.py --to made").exits(0);
    let spec: toml::Table = place.read("made/specs/packaged.toml").parse().unwrap();
    assert_eq!(spec["model"]["source"].as_str(), Some("hf:acme/tiny"));
    assert_eq!(spec["hardware"]["gpu"].as_str(), Some("T4"));
    assert!(spec["engine"].get("seed").is_none(), "what lies outside isn't read");
    done.says(&["only a run would tell the value"]);
}

/// A link may lead anywhere.
#[test]
fn links_are_not_followed() {
    let place = place();
    fs::rename(place.path("apps/settings.py"), place.path("settings.py")).unwrap();
    std::os::unix::fs::symlink("../settings.py", place.path("apps/settings.py")).unwrap();
    place.run("import apps/deploy.py --to made").exits(65);
}

/// As if each were imported alone: none is found twice.
#[test]
fn a_script_that_another_one_imports_may_be_named_beside_it() {
    let place = Place::new();
    let serve = |app: &str| {
        format!(
            "import modal, subprocess\nimage = modal.Image.debian_slim(python_version='3.12')\\\n    \
             .pip_install('vllm==0.13.0')\napp = modal.App('{app}')\n\n\n\
             @app.function(image=image, gpu='L4')\n@modal.web_server(8000)\ndef serve():\n    \
             subprocess.Popen(['vllm', 'serve', 'acme/{app}'])\n"
        )
    };
    place.write("one.py", format!("import two\n{}", serve("one")));
    place.write("two.py", serve("two"));
    let alone = place.run("import one.py --to alone").exits(0);
    alone.says(&["1 spec, 1 image", "two.py:9", "name that file, too"]);
    let both = place.run("import one.py two.py --to both").exits(0);
    assert!(!both.stdout.contains("name that file, too"), "{}", both.stdout);
    both.says(&["2 specs, 1 image"]);
}
