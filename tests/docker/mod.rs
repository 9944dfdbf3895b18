//! One model served by each runtime that can be had here: the same deployment semantics on all.
//!
//! Docker and Podman come out of Debian's packages and run beside the tests, as root only; what
//! can't be had is skipped by name. There is no graphics processor in them.
#![cfg(target_os = "linux")]

mod doubles;
mod images;
mod serving;

use crate::support;

use support::engines::Engine;
use support::project::Project;

const SPEC: &str = "specs/tiny.toml";

/// A project whose model this engine serves, once it is applied.
fn project(engine: &Engine) -> Option<Project> {
    let mut project = Project::new()?;
    project.served_by(engine);
    Some(project)
}

/// The same, applied.
fn applied(engine: &Engine) -> Option<Project> {
    let project = project(engine)?;
    let ran = project.apply("").ran();
    assert!(ran.contains(&"deploy:tiny".to_owned()), "{}: {ran:?}", engine.name);
    Some(project)
}

/// Sets the model's environment variables.
fn set_env(project: &Project, variables: &str) {
    let spec = project.read(SPEC);
    let spec = spec.split("\n[env]").next().unwrap_or_default().trim_end().to_owned();
    project.write(SPEC, &format!("{spec}\n\n[env]\n{variables}\n"));
}

/// One server answers, and nothing else of this project is left with any engine.
#[track_caller]
fn assert_serves(project: &Project, engine: &Engine, words: &str) {
    assert_eq!(project.ask("tiny").as_deref(), Some(words), "{}", engine.name);
    let containers = engine.containers(&project.state().join("table-4c19d2/default"));
    let wanted = usize::from(engine.name != "embedded");
    assert_eq!(containers.len(), wanted, "{}: {containers:?}", engine.name);
}

/// Gives the project an image that no other test has, so that it can be taken away.
fn own_image(project: &Project, name: &str) {
    project.append("images/tiny.toml", &format!("env = {{ OF_TEST = \"{name}\" }}\n"));
    assert_eq!(project.apply("--only image:tiny").ran(), ["image:tiny"]);
}
