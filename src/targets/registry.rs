//! The targets of one project, opened.

use super::Target;
use super::local::Local;
use super::modal::Modal;
use crate::spec::{Model, TargetKind};

/// The targets of one project, opened: this machine, and what its file has settings of.
#[derive(Debug)]
pub struct Targets {
    local: Local,
    modal: Option<Modal>,
}

impl Targets {
    /// What was opened.
    pub fn new(local: Local, modal: Option<Modal>) -> Self {
        Self { local, modal }
    }

    /// Where a model is served; reading has made sure that the project has it.
    pub fn of(&self, model: &Model) -> &dyn Target {
        self.named(model.target)
    }

    /// The target of this kind; only asked for by what is served there.
    pub fn named(&self, kind: TargetKind) -> &dyn Target {
        match kind {
            TargetKind::Local => &self.local,
            TargetKind::Modal => self.modal(),
        }
    }

    /// All of them, the nearest first.
    pub fn all(&self) -> impl Iterator<Item = &dyn Target> {
        let modal = self.modal.as_ref().map(|modal| modal as &dyn Target);
        std::iter::once(&self.local as &dyn Target).chain(modal)
    }

    /// This machine.
    pub fn local(&self) -> &Local {
        &self.local
    }

    /// Modal; only asked for by what is served there.
    pub fn modal(&self) -> &Modal {
        self.modal
            .as_ref()
            .unwrap_or_else(|| panic!("BUG: a model on Modal without [target.modal]"))
    }

    /// Modal, in a project that has it.
    pub fn modal_if_there(&self) -> Option<&Modal> {
        self.modal.as_ref()
    }
}
