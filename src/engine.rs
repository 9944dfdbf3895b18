//! What serves a model, as everything else sees it: the engines there are come as a value.

mod locked;
mod named;
mod pinned;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use toml::de::ValueDeserializer;

use crate::spec::{Api, FlagValue, Model};

pub use locked::LockedEngine;
pub use named::{Adapter, Fetched, Named};
pub use pinned::PinnedFile;
pub use written::{Written, WrittenKey, WrittenWord};

/// The engines there are; the first is that of a spec which names none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Engines(&'static [&'static dyn Engine]);

impl Engines {
    /// At least one, each with a name of its own.
    pub const fn new(engines: &'static [&'static dyn Engine]) -> Self {
        assert!(!engines.is_empty(), "BUG: no engine is the default");
        Self(engines)
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = &'static dyn Engine> {
        self.0.iter().copied()
    }

    /// The one that a spec has which names none.
    pub fn default_one(self) -> &'static dyn Engine {
        self.0[0]
    }

    /// The volumes that they keep what they make in, each once.
    pub fn caches(self) -> Vec<Cache> {
        let mut caches: Vec<Cache> = Vec::new();
        for cache in self.iter().flat_map(Engine::caches) {
            if !caches.contains(cache) {
                caches.push(*cache);
            }
        }
        caches
    }

    /// What a wheel writes into `site-packages` when it is first imported.
    pub fn first_import(self, distribution: &str, version: &str) -> Vec<(&'static str, String)> {
        self.iter().flat_map(|engine| engine.first_import(distribution, version)).collect()
    }

    /// What people call those of which something holds: `one`, `one or another`.
    pub fn titles(self, holds: fn(&dyn Engine) -> bool) -> String {
        let titles: Vec<&str> = self.iter().filter(|it| holds(*it)).map(Engine::title).collect();
        titles.join(" or ")
    }
}

impl fmt::Debug for dyn Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl PartialEq for dyn Engine {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

/// Where and what an engine is to serve, as seen from inside the image.
#[derive(Debug, Clone, PartialEq)]
pub struct Serving<'a> {
    /// The address to listen on.
    pub host: &'a str,
    /// The port to listen on.
    pub port: u16,
    /// What names the model both on the command line and in requests: a path relative to the
    /// working directory.
    pub model: &'a str,
    /// One more name that it answers to, behind all others; only for those that take several.
    pub mark: Option<&'a str>,
    /// The absolute path of the weights.
    pub weights: &'a str,
    /// Their commit.
    pub revision: &'a str,
    /// The absolute path of the draft model's weights, when the model has a draft.
    pub draft: Option<&'a str>,
    /// Their commit.
    pub draft_revision: Option<&'a str>,
    /// What its flags name on a hub, by the values that name it.
    pub fetched: &'a BTreeMap<String, Fetched>,
    /// The engine in the image.
    pub locked: &'a Locked,
}

/// A directory that outlives a deployment, for what an engine makes: a volume of every project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// What a project's file calls the volume.
    pub volume: &'static str,
    /// Where images see it, unless the project's file says otherwise.
    pub mount: &'static str,
}

/// What the lock says of the engine in a model's image, and of the model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Locked {
    /// The distribution that is the engine; empty when the image has none that is known.
    pub distribution: String,
    /// Whether the image is known to have no engine: its base brings none, and no wheel is one.
    pub is_missing: bool,
    /// Whether the image has one only if its base, which nobody looked into, brings it.
    pub is_up_to_base: bool,
    /// Its version.
    pub version: String,
    /// What it takes, when its wheel could be read.
    pub taken: Option<LockedEngine>,
    /// Names of the image's environment variables.
    pub image_environment: Vec<String>,
    /// What the model's configuration calls its architecture.
    pub architectures: Vec<String>,
    /// Whether its files say how vectors of its tokens become one: it was trained for embeddings.
    pub is_pooled: bool,
    /// The model's family, such as `gpt_oss`.
    pub model_type: Option<String>,
}

/// What of a wheel's files tells its scripts, beside the modules.
pub const ENTRY_POINTS: &str = "entry_points.txt";

/// What an engine read of itself in a wheel's files.
#[derive(Debug, Default)]
pub struct Reading {
    /// What it takes; none as long as nothing could be told.
    pub engine: Option<LockedEngine>,
    /// Modules that would tell more.
    pub wanted: BTreeSet<String>,
}

/// Something that will run, and perhaps not as it was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What is odd.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// What checking against the lock found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// What the engine would refuse, or silently leave out.
    pub problems: Vec<FlagProblem>,
    /// What it would take.
    pub warnings: Vec<Warning>,
}

/// What of a model a problem is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The model as a whole.
    Model,
    /// A flag, dots leading into it, or another field of `[engine]`.
    Flag(String),
    /// One of the `extra-args`, counted from 0.
    ExtraArg(usize),
    /// A field of `[serve]`.
    Serve(&'static str),
}

/// A flag that the engine would not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagProblem {
    /// What it is about.
    pub subject: Subject,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// A program that serves models through the `OpenAI` API.
pub trait Engine: Send + Sync {
    /// What specs call it.
    fn name(&self) -> &'static str;

    /// What people call it.
    fn title(&self) -> &'static str;

    /// What it is, in a few words, after `serves the model:`.
    fn about(&self) -> &'static str {
        self.title()
    }

    /// Whether a spec writes its whole command line, in place of flags.
    fn is_written_out(&self) -> bool {
        false
    }

    /// Whether a server of it answers to several names. The others load what a request names, or
    /// are told one name.
    fn takes_several_names(&self) -> bool {
        false
    }

    /// Whether it serves nothing without a GPU, where GPUs have to be asked for.
    fn needs_gpu(&self) -> bool {
        false
    }

    /// Whether it can be put to sleep, so that a snapshot of it can be taken.
    fn can_sleep(&self) -> bool {
        false
    }

    /// The directories that it keeps what it makes in. The first is that of the model's warm-up, for
    /// what it compiles.
    fn caches(&self) -> &'static [Cache] {
        &[]
    }

    /// The package that an image asks for to have it.
    fn package(&self) -> Option<&'static str> {
        None
    }

    /// A flag of its own with a value, as a new spec shows how they are written.
    fn example_flag(&self) -> Option<&'static str> {
        None
    }

    /// Whether it is what wheels of this distribution hold, so that [`Self::read`] reads them.
    fn is_in_wheel(&self, distribution: &str) -> bool {
        let _ = distribution;
        false
    }

    /// Reads what it takes out of the files of its wheel that are known so far, by their module's
    /// names and [`ENTRY_POINTS`].
    fn read(&self, files: &BTreeMap<String, String>, distribution: &str, version: &str) -> Reading {
        let _ = (files, distribution, version);
        Reading::default()
    }

    /// Whether [`Self::read`] would read the same that the lock has.
    fn has_read(&self, locked: &LockedEngine) -> bool {
        let _ = locked;
        true
    }

    /// Fails where what the lock has of it is not as this engine writes it.
    fn check_kept(&self, kept: ValueDeserializer<'_>) -> Result<(), toml::de::Error> {
        let _ = kept;
        Ok(())
    }

    /// Files that a wheel of this distribution and version writes into `site-packages` when it is
    /// first imported, by their path there: an image's environment can't be written to. Each was
    /// read before it was listed; that there are some is part of the key of the layers.
    fn first_import(&self, distribution: &str, version: &str) -> Vec<(&'static str, String)> {
        let _ = (distribution, version);
        Vec::new()
    }

    /// Which values of its flags name repositories on a hub. [`Self::command`] says where they lie.
    fn named(&self, flags: &BTreeMap<String, FlagValue>) -> Vec<Named> {
        let _ = flags;
        Vec::new()
    }

    /// What a server with these flags answers to beside the model's own names.
    fn adapters(&self, flags: &BTreeMap<String, FlagValue>) -> Vec<Adapter> {
        let _ = flags;
        Vec::new()
    }

    /// Files that a server of this model loads as it starts, beside what is on a hub.
    fn files(&self, model: &Model, locked: &Locked) -> &'static [PinnedFile] {
        let _ = (model, locked);
        &[]
    }

    /// All such files that any model of it may need.
    fn all_files(&self) -> &'static [PinnedFile] {
        &[]
    }

    /// What in the spec it would not take, known before anything runs.
    fn check(&self, model: &Model) -> Vec<FlagProblem>;

    /// What the locked version would not take, or take and not mean.
    fn check_locked(&self, model: &Model, locked: &Locked) -> Checked {
        let _ = (model, locked);
        Checked::default()
    }

    /// Whether starting compiles something worth keeping.
    fn compiles(&self, model: &Model) -> bool;

    /// Whether a flag can change what is compiled. Unknown flags can.
    fn reaches_compile_key(&self, flag: &str) -> bool {
        let _ = flag;
        true
    }

    /// The variable in which it finds a key, which requests then have to have.
    fn key_variable(&self) -> Option<&'static str> {
        None
    }

    /// The flag that has it hand every request to a middleware first, an ASGI class that is named by
    /// where Python imports it from.
    fn middleware(&self) -> Option<&'static str> {
        None
    }

    /// Whether the value of a variable ends up in its logs, or in the keys or files of its caches.
    fn writes_down(&self, variable: &str) -> bool {
        self.key_variable() == Some(variable)
    }

    /// What a spec would say in place of a command line that somebody else wrote; nothing of one that
    /// doesn't start it.
    fn import(&self, words: &[WrittenWord]) -> Option<Written> {
        let _ = words;
        None
    }

    /// What a spec would say in place of arguments that a program hands to it by name, in a call of
    /// this; nothing where the call isn't its.
    fn import_call(&self, name: &str, arguments: &[(String, WrittenWord)]) -> Option<Written> {
        let _ = (name, arguments);
        None
    }

    /// The program and its arguments.
    fn command(&self, model: &Model, serving: &Serving<'_>) -> Vec<String>;

    /// Environment variables that it needs, under the image's and the spec's own.
    ///
    /// `mounts` says where the image sees each of [`Self::caches`].
    fn environment(&self, mounts: &[&str]) -> BTreeMap<String, String>;

    /// Those of them that a spec may set otherwise: nothing depends on them.
    fn left_to_specs(&self) -> &'static [&'static str] {
        &[]
    }

    /// The path, from the server's root, that answers 200 once it is up.
    fn health(&self, model: &Model) -> String;

    /// The name of the files in the compile cache that tell what went into its key, each a JSON
    /// object: read after a warm-up, wherever below the cache's directory they are.
    fn cache_factors(&self) -> Option<&'static str> {
        None
    }

    /// Names of files and directories in the compile cache that are written when a graph was compiled,
    /// and at no other time.
    fn graphs(&self) -> &'static [&'static str] {
        &[]
    }

    /// Variables without which a snapshot of it can't be taken.
    fn snapshot_environment(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Whether `GET /v1/models` lists the name that requests use.
    fn lists_served_name(&self) -> bool;

    /// What a model is for that says nothing of it itself.
    fn api(&self, model: &Model, locked: &Locked) -> Api {
        let _ = (model, locked);
        Api::Chat
    }

    /// Which part of each device's memory a server of it takes as it starts, whatever the model needs; and
    /// whether the spec says so.
    fn memory_share(&self, model: &Model) -> Option<(f64, bool)> {
        let _ = model;
        None
    }

    /// Whether the spec says how tool calls are read out of what the model writes.
    fn calls_tools(&self, model: &Model) -> bool {
        let _ = model;
        false
    }
}
