//! The kinds of targets there are, and those of a project, opened.

use super::local::LocalType;
use super::modal::ModalType;
use super::{Imported, Leases, Moves, Opening, Opens, Target};
use crate::engine::Engines;
use crate::import::Script;
use crate::plan::{Action, Plan};
use crate::spec::{Model, Project, TargetType, TargetTypes};
use crate::step::At;

/// All of them, the default one first.
pub fn built_in() -> Openers {
    Openers(&[&LocalType, &ModalType])
}

/// The kinds of targets that a project may have.
#[derive(Clone, Copy)]
pub struct Openers(&'static [&'static dyn Opens]);

impl std::fmt::Debug for Openers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.types().fmt(formatter)
    }
}

impl Openers {
    /// These, the default one first.
    pub const fn new(kinds: &'static [&'static dyn Opens]) -> Self {
        Self(kinds)
    }

    /// The same, as files speak of them.
    pub fn types(self) -> TargetTypes {
        TargetTypes::new(self.0.iter().map(|kind| *kind as &'static dyn TargetType))
    }

    /// What a script deploys to any of them.
    pub fn import(self, script: &Script, addresses: &[String], engines: Engines) -> Imported {
        let mut all = Imported::default();
        for kind in self.0 {
            let Imported { is_ours, found, remarks, secrets } =
                kind.import(script, addresses, engines);
            all.is_ours |= is_ours;
            all.found.extend(found);
            all.remarks.lost.extend(remarks.lost);
            all.remarks.better.extend(remarks.better);
            all.secrets.extend(secrets);
        }
        all
    }

    /// The targets of a project.
    pub fn open(self, opening: &Opening<'_>) -> Targets {
        Targets(self.0.iter().filter_map(|kind| kind.open(opening)).collect())
    }
}

/// The targets of one project, opened: those that it needs to say nothing of, and those that its file
/// has settings of.
#[derive(Debug)]
pub struct Targets(Vec<Box<dyn Target>>);

impl Targets {
    /// Where a model is served; reading has made sure that the project has it.
    pub fn of(&self, model: &Model) -> &dyn Target {
        self.named(model.target)
    }

    /// The target of this kind; only asked for by what is served there.
    pub fn named(&self, kind: &dyn TargetType) -> &dyn Target {
        self.all()
            .find(|target| target.name() == kind.name())
            .unwrap_or_else(|| panic!("BUG: a model on {0} without [target.{0}]", kind.name()))
    }

    /// Those that aren't this machine.
    pub fn elsewhere(&self) -> impl Iterator<Item = &dyn Target> {
        self.all().filter(|target| !target.is_here())
    }

    /// All of them, in the order of their kinds.
    pub fn all(&self) -> impl Iterator<Item = &dyn Target> {
        self.0.iter().map(|target| &**target)
    }

    /// Those that may have volumes to move.
    pub fn moves(&self) -> impl Iterator<Item = &dyn Moves> {
        self.all().filter_map(Target::moves)
    }

    /// The target whose changes need a lease: one at most, since no command takes two.
    pub fn leased(&self) -> Option<(&dyn Target, &dyn Leases)> {
        let mut leased = self.all().filter_map(|it| Some((it, it.leases()?)));
        let (first, second) = (leased.next(), leased.next());
        assert!(second.is_none(), "BUG: two targets have leases, and commands take one");
        first
    }

    /// The leases of which carrying out a plan needs one: anything at their target is going to change.
    pub fn leases_for(&self, project: &Project, plan: &Plan) -> Option<&dyn Leases> {
        let (target, leases) = self.leased()?;
        let is_there = |name: &String| match project.models.get(name.as_str()) {
            Some(served) => served.target.name() == target.name(),
            None => target.has(name),
        };
        let changes = plan.steps.iter().any(|step| {
            let runs = matches!(step.action, Action::Run | Action::Pending);
            let removed = step.action == Action::Remove && !plan.keeps(step);
            // What is built here, and the file of a gateway, is under the locks of this machine.
            (runs || removed) && step.at == At::Target && step.models.iter().any(is_there)
        });
        (changes && target.unseen().is_none()).then_some(leases)
    }
}
