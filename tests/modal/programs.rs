//! The programs that Modal runs, read by tools that nobody here wrote.

use std::path::Path;
use std::process::Command;

use super::Remote;
use super::support::peers;

/// Runs the tool below a directory of programs; what it says, when it has something to say.
pub(super) fn complaints(venv: &Path, tool: &[&str], directory: &Path) -> Option<String> {
    let mut command = Command::new(venv.join("bin/python"));
    // What mypy has read of Modal's client, it needn't read again.
    command.env("MYPY_CACHE_DIR", peers::directory().join("mypy-cache"));
    let output = command.arg("-m").args(tool).arg(".").current_dir(directory).output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn rendered_programs_are_clean_and_deploy_without_goatbuild() {
    let Some(remote) = Remote::new() else { return };
    let Some(venv) = peers::venv("ruff-mypy", &["ruff==0.14.9", "mypy==1.19.1", "modal==1.6.4"])
    else {
        return;
    };
    let project = &remote.hubbed.project;
    project.edit(
        super::support::hubbed::SPEC,
        "name = \"command\"",
        "name = \"command\"\ncompiles = true",
    );
    let out = remote.hubbed.home.path().join("programs");
    project.run(&format!("render tiny -o {}", out.display())).exits(0).says(&["modal deploy"]);
    let programs = out.join("tiny");
    assert!(programs.join("serve.py").exists() && programs.join("warmup.py").exists());
    assert_eq!(
        complaints(
            &venv,
            &["ruff", "check", "--select", "E,F,I,B,UP,SIM", "--ignore", "E501"],
            &programs
        ),
        None
    );
    assert_eq!(complaints(&venv, &["mypy", "--strict", "--exclude-gitignore"], &programs), None);
    // So is what asks for a key, which is there only where a key is asked for.
    let serve = std::fs::read_to_string(programs.join("serve.py")).unwrap();
    assert!(!serve.contains("asyncio") && !serve.contains("guard()"), "{serve}");
    project.append(super::support::hubbed::SPEC, "\n[serve]\nauth = \"api-key\"\n");
    project.append("goatbuild.toml", "api-key-secret = \"tiny-key\"\n");
    let guarded = remote.hubbed.home.path().join("guarded");
    project.run(&format!("render tiny -o {}", guarded.display())).exits(0);
    let guarded = guarded.join("tiny");
    let lints = ["ruff", "check", "--select", "E,F,I,B,UP,SIM", "--ignore", "E501"];
    assert_eq!(complaints(&venv, &lints, &guarded), None);
    assert_eq!(complaints(&venv, &["mypy", "--strict", "--exclude-gitignore"], &guarded), None);
    // Warming up takes no key, and knows nothing of it.
    let warmup = |at: &Path| std::fs::read_to_string(at.join("warmup.py")).unwrap();
    assert_eq!(warmup(&guarded), warmup(&programs));
    project.edit(super::support::hubbed::SPEC, "auth = \"api-key\"", "auth = \"proxy\"");
    // The same bytes each time, and nobody else's files are touched.
    let before = std::fs::read(programs.join("serve.py")).unwrap();
    project.run(&format!("render tiny -o {}", out.display())).exits(0);
    assert_eq!(std::fs::read(programs.join("serve.py")).unwrap(), before);
    std::fs::write(programs.join("serve.py"), "mine\n").unwrap();
    project.run(&format!("render tiny -o {}", out.display())).exits(64).says(&["did not write it"]);
}
