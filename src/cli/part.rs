//! Projects with mistakes: what can be read of one, or the part that was asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use miette::Report;

use super::session::{files, some_of};
use super::settings::settings;
use super::{Global, Selection, reach};
use crate::project;
use crate::spec::{LeftOut, Model, Shared, SpecErrors};
use crate::step::StepId;
use crate::ui;
use crate::workspace::{self, SharedWorkspace, Workspace};

/// Opens the workspace even when files have mistakes, without what they are about: what is served
/// can still be seen and stopped. Says whether all could be read.
pub(crate) fn open_anyway(global: &Global) -> Result<(SharedWorkspace, bool), Report> {
    let files = files(global)?;
    let shared = Shared::tolerant(&files.sources, files.environment.as_ref());
    let (project, mistakes) = project::read_part(&files.sources, shared, true)?;
    if mistakes.is_some() {
        let what = match told_left_out(&project.left_out) {
            Some(what) => format!("going on without {what}"),
            None => format!("going on with what can be read of {}", project::PROJECT_FILE),
        };
        ui::note(&format!("some files have mistakes, which `goatbuild check` shows; {what}"));
    }
    let workspace = Workspace::open(files.root, project, settings(global)?)?;
    Ok((Arc::new(workspace), mistakes.is_none()))
}

/// Names what was left out of a project, if anything was.
fn told_left_out(left_out: &LeftOut) -> Option<String> {
    let named = |kind: &str, names: &BTreeSet<String>| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match names.len() {
            0 => None,
            1 => Some(format!("{kind} {}", names[0])),
            _ => Some(format!("{kind}s {}", some_of(&names))),
        }
    };
    let told = [named("image", &left_out.images), named("model", &left_out.models)];
    let told: Vec<String> = told.into_iter().flatten().collect();
    (!told.is_empty()).then(|| told.join(" and "))
}

/// A project of which a part was asked for, and the mistakes in it.
pub(crate) struct Part {
    pub(crate) workspace: SharedWorkspace,
    mistakes: Option<SpecErrors>,
}

/// Opens the workspace for who may ask for a part of it: mistakes in the rest are no hindrance.
/// [`Part::check`] tells whether they are.
pub(crate) fn open_part(global: &Global, asked: &[String]) -> Result<Part, Report> {
    let files = files(global)?;
    let shared = Shared::new(&files.sources, files.environment.as_ref());
    let (mut project, mistakes) = project::read_part(&files.sources, shared, false)?;
    // All others' weights are looked for, too; that theirs are missing is their mistake.
    let is_other = |model: &Arc<Model>| !asked.iter().any(|name| name == model.name.as_str());
    if !asked.is_empty() {
        let wrong = |model: &&Arc<Model>| {
            is_other(model) && workspace::weights_mistake(&files.root, model).is_some()
        };
        let wrong: Vec<_> =
            project.models.values().filter(wrong).map(|it| it.name.clone()).collect();
        for name in wrong {
            project.models.remove(&name);
            project.left_out.models.insert(name.to_string());
        }
    }
    let workspace = Workspace::open(files.root, project, settings(global)?)?;
    Ok(Part { workspace: Arc::new(workspace), mistakes })
}

impl Part {
    /// Fails with all mistakes unless what is asked for needs none of the files that have some; says
    /// what is left out.
    pub(crate) fn check(&self, selection: &Selection) -> Result<(), Report> {
        let project = &self.workspace.project;
        let left_out = &project.left_out;
        let only = &selection.wishes.only;
        let is_part = !selection.models.is_empty() || !only.is_empty();
        // A step is known by a model that needs it; what is nobody's is told as such.
        let has_step =
            |name: &String| reach::is_known(&self.workspace, &StepId::from(name.as_str()));
        let is_had = is_part
            && !selection.models.iter().any(|name| left_out.models.contains(name))
            && only.iter().all(has_step);
        match &self.mistakes {
            Some(mistakes) if !is_had => return Err(mistakes.clone().into()),
            _ => {}
        }
        if let Some(told) = told_left_out(left_out) {
            ui::note(&format!("left out: {told}; `goatbuild plan` says what is wrong there"));
        }
        Ok(())
    }

    /// The same for one model alone.
    pub(crate) fn of_model(self, name: &str) -> Result<SharedWorkspace, Report> {
        self.check(&Selection { models: vec![name.to_owned()], ..Selection::default() })?;
        Ok(self.workspace)
    }
}
