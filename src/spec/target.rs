//! What a kind of target says of files: its own settings, and what it takes of a spec. The kinds
//! there are come as a value.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::auth::Auth;
use super::fields::Fields;
use super::model::{Image, Model};
use super::name::{EnvironmentName, ImageName, ModelName};
use super::own::Own;
use super::problem::{Problem, SpecError};
use super::secret::Secret;
use super::source::{Place, SourceFile};

/// A kind of target, as far as files speak of it; `targets` has them.
///
/// What it reads is read of every file, also for models that are served elsewhere: `[defaults]` are
/// for all of them. What a method here does not say, no model of that target can have.
pub trait TargetType: Send + Sync {
    /// As specs write it.
    fn name(&self) -> &'static str;

    /// What people call it, behind `on`.
    fn title(&self) -> &'static str;

    /// What its settings are settings of, in a sentence.
    fn about(&self) -> &'static str;

    /// Whether it serves on this machine, with its processor and its accelerators.
    fn is_here(&self) -> bool {
        false
    }

    /// Its table in `[target]`, field by field.
    fn settings(&self, fields: &mut Fields<'_, '_, '_>) -> Own;

    /// What a project has to say before a model can be served there, by an example; nothing where
    /// that goes without saying.
    fn needed(&self) -> Option<&'static str> {
        None
    }

    /// Whether it keeps secrets itself, which a project then names.
    fn keeps_secrets(&self) -> bool {
        false
    }

    /// The fields of its settings that name secrets.
    fn secrets(&self) -> &'static [&'static str] {
        &[]
    }

    /// What of every target's settings means nothing to it, as a deployment's fields are labelled: no such
    /// thing enters a key there.
    fn ignores(&self) -> &'static [&'static str] {
        &[]
    }

    /// The fields of `[serve]` that it alone takes.
    fn serve(&self, fields: &mut Fields<'_, '_, '_>) -> Own {
        let _ = fields;
        Own::default()
    }

    /// What stops a duration of `[serve]` from being this, if anything does.
    fn refuses(&self, field: &str, duration: Duration) -> Option<String> {
        let _ = (field, duration);
        None
    }

    /// How models can be protected there: first how those are that say nothing.
    fn auths(&self) -> &'static [Auth] {
        &[Auth::Open]
    }

    /// What its settings lack for a model that is protected like this.
    fn lacks(&self, settings: &Own, auth: Auth) -> Option<Problem> {
        let _ = (settings, auth);
        None
    }

    /// Whether a deployment can be tried out beside what stands.
    fn has_candidates(&self) -> bool {
        false
    }

    /// Whether what it starts can start from a snapshot.
    fn has_snapshots(&self) -> bool {
        false
    }

    /// Whether engines that need a graphics processor have to be given one by the spec.
    fn allots_gpus(&self) -> bool {
        false
    }

    /// The graphics processors that it has: memory in GiB, and dollars per hour.
    fn gpus(&self) -> &'static [(&'static str, f64, f64)] {
        &[]
    }

    /// Other names of some of them, each with the name it goes by today: one price serves both.
    fn other_names(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Those of them that it gives better ones for, unless it is told to give exactly that.
    fn exact_gpus(&self) -> &'static [&'static str] {
        &[]
    }

    /// How many requests a replica can be given at once, at most, where it limits that.
    fn most_inputs(&self) -> Option<u32> {
        None
    }

    /// Whether models have an app there, called by the project's prefix and the model's name.
    fn has_apps(&self) -> bool {
        false
    }

    /// How it takes an image.
    fn takes(&self, settings: &Own, image: &Image) -> Takes {
        let _ = (settings, image);
        Takes::Cached
    }

    /// Whether it can build images itself.
    fn builds_images(&self) -> bool {
        false
    }

    /// Where images are pushed for it to take: `host/path`.
    fn registry<'s>(&self, settings: &'s Own) -> Option<&'s str> {
        let _ = settings;
        None
    }

    /// What no other model may have too: what to say of one that does, and where.
    fn claims(&self, model: &Model, app_prefix: &str) -> Vec<(Problem, Place)> {
        let _ = (model, app_prefix);
        Vec::new()
    }

    /// The mistakes that show only in a whole project which has settings of it.
    fn check(&self, whole: &Whole<'_>) -> Vec<SpecError> {
        let _ = whole;
        Vec::new()
    }
}

/// How a target takes an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Takes {
    /// Out of the cache on this machine, as goatbuild builds it.
    Cached,
    /// Out of a registry, as goatbuild builds and pushes it.
    Pushed,
    /// It builds it.
    Built,
}

/// A whole project, as a target's own check sees it.
#[derive(Debug)]
pub struct Whole<'a> {
    /// `goatbuild.toml`.
    pub file: &'a Arc<SourceFile>,
    /// The chosen environment.
    pub environment: Option<&'a EnvironmentName>,
    /// The target's settings.
    pub settings: &'a Own,
    /// All models, also those that are not to be served.
    pub models: &'a BTreeMap<ModelName, Arc<Model>>,
    /// All images.
    pub images: &'a BTreeMap<ImageName, Image>,
    /// The project's secrets.
    pub secrets: &'a BTreeMap<String, Secret>,
}

impl fmt::Debug for dyn TargetType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for dyn TargetType {
    /// As specs write it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl PartialEq for dyn TargetType {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for dyn TargetType {}

impl Ord for dyn TargetType {
    /// This machine first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.is_here().cmp(&self.is_here()).then_with(|| self.name().cmp(other.name()))
    }
}

impl PartialOrd for dyn TargetType {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for dyn TargetType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

/// The kinds of targets that a project may name; the first is that of a spec which names none.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetTypes(Arc<[&'static dyn TargetType]>);

impl TargetTypes {
    /// At least one, each with a name of its own.
    pub fn new(types: impl IntoIterator<Item = &'static dyn TargetType>) -> Self {
        let types: Arc<[_]> = types.into_iter().collect();
        assert!(!types.is_empty(), "BUG: no target is the default");
        Self(types)
    }

    /// All of them.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'static dyn TargetType> {
        self.0.iter().copied()
    }

    /// The one that a spec has which names none.
    pub fn default_one(&self) -> &'static dyn TargetType {
        self.0[0]
    }

    /// What people call those that aren't this machine.
    pub fn elsewhere(&self) -> String {
        self.titles(|it| !it.is_here())
    }

    /// Each as specs write it.
    pub(super) fn words(&self) -> Vec<(&'static str, &'static dyn TargetType)> {
        self.iter().map(|it| (it.name(), it)).collect()
    }

    /// What people call those of which something holds: `one`, `one or another`.
    pub fn titles(&self, holds: impl Fn(&'static dyn TargetType) -> bool) -> String {
        let titles = self.iter().filter(|it| holds(*it)).map(TargetType::title);
        titles.collect::<Vec<_>>().join(" or ")
    }

    /// How specs name those of which something holds.
    pub(super) fn fields(&self, holds: impl Fn(&'static dyn TargetType) -> bool) -> String {
        let fields = self.iter().filter(|it| holds(*it));
        fields.map(|it| format!("`target = \"{it}\"`")).collect::<Vec<_>>().join(" or ")
    }

    /// Other names of graphics processors, each with today's.
    pub(super) fn other_names(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.iter().flat_map(|it| it.other_names().iter().copied())
    }

    /// The graphics processors that any of them has: memory in GiB, and dollars per hour.
    pub fn gpus(&self) -> impl Iterator<Item = (&'static str, f64, f64)> {
        self.iter().flat_map(|it| it.gpus().iter().copied())
    }
}

/// The settings of targets, by name; a target that a project needs to say something of, and doesn't,
/// is not among them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TargetSettings(pub(super) BTreeMap<&'static str, Own>);

impl TargetSettings {
    /// Those of a target, where the project has it.
    pub fn of(&self, target: &dyn TargetType) -> Option<&Own> {
        self.0.get(target.name())
    }
}
