//! Taking over an app of somebody else: what that changes for those who ask it, in what serves and in
//! what it costs, as far as Modal tells how the app is made; and what a spec has to say first.

use super::by_hand::ServingFunction;
use super::kept::Adopted;
use super::look::{App, Version};
use super::price::Paid;
use super::spec::Replicas;
use super::{Modal, address};
use crate::fingerprint::Change;
use crate::spec::{Auth, Model};
use crate::step::{Adoptable, Concerns, Difference, Observation};

/// What the function that serves is called in every app of goatbuild's.
const FUNCTION: &str = "serve";

impl Modal {
    /// What stands in a model's place that goatbuild didn't deploy.
    pub(super) fn foreign(&self, model: &str, app: &App, newest: &Version) -> Observation {
        let spec = self.specs.get(model);
        let stands = app.serves.as_ref();
        let undecided = spec.and_then(|spec| undecided(spec, stands));
        let mut differs = Vec::new();
        if let Some(spec) = spec {
            let names = spec.serve.served_names.to_string();
            differs.push(said(
                Concerns::Clients,
                format!("it answers to {names}; what it answers to now Modal doesn't tell"),
            ));
            differs.extend(stands.iter().flat_map(|stands| self.differences(spec, stands)));
        }
        differs.push(said(Concerns::WayBack, way_back(model, app, newest)));
        Observation::Foreign {
            owner: format!("the app {}, deployed as {}", self.app(model), newest.describe()),
            adoptable: undecided.map_or(Adoptable::Yes, Adoptable::Once),
            ours: app.owner.as_deref().is_some_and(|owner| self.is_other_environment(owner)),
            differs,
        }
    }

    /// What a deployment of a model takes over, if that is somebody else's.
    pub(super) fn taken_over(&self, model: &str) -> Option<Adopted> {
        let app = self.seen_app(model).filter(|app| app.deployed)?;
        let (newest, auth) = (app.history.first()?, app.serves.as_ref()?.auth());
        Some(Adopted { version: newest.number, auth: auth.to_string() })
    }

    /// Another app whose name stands in addresses as a model's does, while the model's own isn't
    /// deployed: whoever deploys beside it gets an address that nobody knows.
    pub(super) fn alike(&self, model: &str) -> Option<Observation> {
        let own = self.app(model);
        let label = address::label(&own);
        let alike =
            |name: &str, app: &App| name != own && app.deployed && address::label(name) == label;
        let (name, newest) = self.seen_where(alike)?;
        let what = if self.is_kept(&name) {
            "end it with `goatbuild destroy`, by the name of its model".to_owned()
        } else {
            format!(
                "call the model so that its app is called {name}; or leave it, and stop it with `modal \
                 app stop --env {} {name}`",
                self.settings.environment
            )
        };
        Some(Observation::Foreign {
            owner: format!(
                "the app {name}, deployed as {}, whose address is that of {own}: two spellings of one \
                 name",
                newest.describe()
            ),
            adoptable: Adoptable::Once(what),
            ours: false,
            differs: Vec::new(),
        })
    }

    /// What differs between how an app is made and how a model's would be.
    fn differences(&self, model: &Model, stands: &ServingFunction) -> Vec<Difference> {
        let mut differs = self.for_clients(model, stands);
        let serve = &model.serve;
        let hardware = model.hardware.as_ref();
        let number = |number: u32| (number > 0).then(|| number.to_string());
        let seconds = |seconds: u64| (seconds > 0).then(|| format!("{seconds}s"));
        let said = |number: Option<u32>| number.filter(|it| *it > 0).map(|it| it.to_string());
        let replicas: &Replicas = serve.own.get();
        let price = |gpu: &str, count| {
            let paid = Paid { gpu: Some((gpu, count)), ..Paid::default() };
            self.price(paid).map(|it| it.to_string())
        };
        let priced = stands.gpu.as_ref().zip(hardware);
        let (old, new) = match priced {
            Some((gpu, hardware)) => {
                (price(gpu, stands.gpu_count), price(&hardware.gpu, hardware.count))
            }
            None => (None, None),
        };
        let (engine, money) = (Concerns::Engine, Concerns::Money);
        let fields = [
            (engine, "serve.max-inputs", number(stands.max_inputs), number(serve.max_inputs)),
            (engine, "serve.timeout", seconds(stands.timeout), seconds(serve.timeout.as_secs())),
            (
                engine,
                "serve.startup-timeout",
                seconds(stands.startup_timeout),
                seconds(serve.startup_timeout.as_secs()),
            ),
            (money, "hardware.gpu", stands.gpu.clone(), hardware.map(|it| it.gpu.clone())),
            (
                money,
                "hardware.count",
                number(stands.gpu_count),
                hardware.map(|it| it.count.to_string()),
            ),
            (money, "price of its GPUs per hour", old, new),
            (
                money,
                "serve.scaledown-window",
                seconds(stands.scaledown_window),
                seconds(serve.scaledown_window.as_secs()),
            ),
            (money, "serve.min-containers", number(stands.min_containers), said(replicas.min)),
            (money, "serve.max-containers", number(stands.max_containers), said(replicas.max)),
            (
                money,
                "serve.buffer-containers",
                number(stands.buffer_containers),
                said(replicas.buffer),
            ),
        ];
        let differing = fields.into_iter().filter(|(_, _, old, new)| old != new);
        differs.extend(differing.map(|(whom, field, old, new)| changed(whom, field, old, new)));
        differs.push(self::said(
            Concerns::Engine,
            format!(
                "its image and command line, which Modal doesn't tell: `goatbuild show {} --command` \
                 prints what starts instead",
                model.name
            ),
        ));
        differs
    }

    /// What those notice who ask it.
    fn for_clients(&self, model: &Model, stands: &ServingFunction) -> Vec<Difference> {
        let (old, new) = (stands.auth(), model.serve.auth);
        let mut differs = Vec::new();
        if old != new {
            let (old, new) = (Some(old.to_string()), Some(new.to_string()));
            differs.push(changed(Concerns::Clients, "serve.auth", old, new));
        }
        // An address is made of the names of app and function; the app's stays.
        if stands.function != FUNCTION || stands.label.is_some() {
            let new = self.address(&self.app(model.name.as_str())).url();
            let old = format!("{}/v1", stands.url.trim_end_matches('/'));
            differs.push(changed(Concerns::Clients, "url", Some(old), new));
        }
        for gone in stands.others.iter().chain(&stands.domains) {
            differs.push(changed(Concerns::Clients, "url", Some(gone.clone()), None));
        }
        differs
    }
}

/// What a spec has to say before an app is taken over: who may ask it, where nothing says that and it
/// may be others than may now.
fn undecided(model: &Model, stands: Option<&ServingFunction>) -> Option<String> {
    let (serve, now) = (&model.serve, stands.map(ServingFunction::auth));
    if serve.auth_is_said || now == Some(serve.auth) {
        return None;
    }
    let who = match now {
        Some(now @ Auth::Open) => format!("`auth = \"{now}\"` keeps it open to anyone"),
        Some(now @ (Auth::Proxy | Auth::ApiKey)) => format!("`auth = \"{now}\"` keeps it as it is"),
        None => "Modal doesn't tell who may now".to_owned(),
    };
    Some(format!(
        "its spec has to say who may ask it, under [serve]: {who}, `auth = \"{}\"` makes it as the \
         default is",
        serve.auth
    ))
}

/// Whether what stands can be had back, as far as that can be known while it stands.
fn way_back(model: &str, app: &App, newest: &Version) -> String {
    let number = newest.number;
    let earlier = app.history.get(1..).unwrap_or_default();
    if newest.rollback_allowed || earlier.iter().any(|version| version.rollback_allowed) {
        format!(
            "`goatbuild rollback {model} v{number}`, as Modal goes back to versions of this app"
        )
    } else if earlier.is_empty() {
        format!(
            "`goatbuild rollback {model} v{number}`, where Modal allows that, which it tells only once \
             there is another version; otherwise whoever deployed it has to do so again"
        )
    } else {
        "none here, since Modal doesn't go back to versions of this app: whoever deployed it has to do \
         so again"
            .to_owned()
    }
}

fn changed(
    concerns: Concerns,
    field: &str,
    old: Option<String>,
    new: Option<String>,
) -> Difference {
    Difference { concerns, change: Change { field: field.to_owned(), old, new } }
}

fn said(concerns: Concerns, what: String) -> Difference {
    Difference { concerns, change: Change { field: what, old: None, new: None } }
}
