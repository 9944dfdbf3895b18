//! What `[target.modal]` is, and what a spec may say of a model on Modal.

use std::time::Duration;

use super::price::Prices;
use super::{Modal, import};
use crate::engine::Engines;
use crate::import::Script;
use crate::spec::{
    AUTHORIZATION, Auth, Builder, Fields, Header, Image, ImageReference, Model, Own, Place,
    Problem, Rollout, SpecError, State, Takes, TargetType, Whole, duration_text,
};
use crate::targets::{Imported, Opening, Opens, Target};

/// What the app of a candidate has behind the name of the model's own.
pub(super) const CANDIDATE: &str = "-next";

/// The longest that Modal lets a request or a start take, in seconds.
const DAY: u64 = 24 * 60 * 60;

/// More replicas than Modal gives anybody.
const MOST: u32 = 1000;

/// Modal, as files speak of it.
#[derive(Debug)]
pub struct ModalType;

/// `[target.modal]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Modal's environment; `main`, like Modal's own, when not given.
    pub(super) environment: String,
    /// The workspace that the credentials must belong to, if that is to be checked.
    pub(super) workspace: Option<String>,
    /// Who builds images, unless an image says otherwise.
    pub(super) builder: Builder,
    /// The Modal secret that holds the hub's token.
    pub(super) hf_secret: Option<String>,
    /// The hub that functions there fetch from, if it isn't the one that everybody means.
    pub(super) hub_endpoint: Option<String>,
    /// Where they take the vocabularies from that engines load, if not from where they are published.
    pub(super) encodings_endpoint: Option<String>,
    /// Where images that goatbuild builds are pushed for Modal to take: `host/path`.
    pub(super) registry: Option<String>,
    /// The Modal secret that holds the registry's user name and password.
    pub(super) registry_secret: Option<String>,
    /// The variables that hold the two halves of a proxy token, `wk-…` and `ws-…`, wherever requests
    /// are made.
    pub(super) proxy_token: [String; 2],
    /// The Modal secret that holds the key of models; there when a model asks for one.
    pub(super) api_key_secret: Option<String>,
    /// The variable that holds the key, in that secret and wherever requests are made.
    pub(super) api_key_variable: String,
    /// What is paid beside GPUs.
    pub(super) prices: Prices,
}

impl Settings {
    /// The headers that a model wants which is protected like this.
    pub fn headers(&self, auth: Auth) -> Vec<Header> {
        let header =
            |name, scheme, variable: &String| Header { name, scheme, variable: variable.clone() };
        let [key, secret] = &self.proxy_token;
        match auth {
            Auth::Proxy => {
                vec![header("Modal-Key", "", key), header("Modal-Secret", "", secret)]
            }
            Auth::ApiKey => vec![header(AUTHORIZATION, "Bearer ", &self.api_key_variable)],
            Auth::Open => Vec::new(),
        }
    }

    /// Whether any secret at Modal is named.
    pub(super) fn names_secrets(&self) -> bool {
        [&self.hf_secret, &self.registry_secret, &self.api_key_secret]
            .into_iter()
            .any(Option::is_some)
    }

    /// The Modal secrets that running replicas have.
    pub(super) fn served_secrets(&self, auth: Auth) -> impl Iterator<Item = &String> {
        self.api_key_secret.iter().filter(move |_| auth == Auth::ApiKey)
    }
}

/// How many replicas of a model there are, and where; what isn't said is Modal's own choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Replicas {
    /// As many stay up though nobody asks anything.
    pub(super) min: Option<u32>,
    /// More are never up.
    pub(super) max: Option<u32>,
    /// As many more than are busy are kept up while there are requests.
    pub(super) buffer: Option<u32>,
    /// The region, such as `us-east`.
    pub(super) region: Option<String>,
    /// The provider, such as `aws`.
    pub(super) cloud: Option<String>,
}

/// With memory in GiB and dollars per hour: Modal's list prices by the second, as quoted in May and June
/// 2026, by the hour and rounded, and as `modal billing rates` had them in August to October (`rates`). A project
/// overrides what has changed.
pub(super) const GPUS: [(&str, f64, f64); 14] = [
    ("T4", 16.0, 0.59),
    ("L4", 24.0, 0.80),
    ("A10", 24.0, 1.10),
    ("A10G", 24.0, 1.10),
    ("L40S", 48.0, 1.95),
    ("A100", 40.0, 2.10),
    ("A100-40GB", 40.0, 2.10),
    ("A100-80GB", 80.0, 2.50),
    ("RTX-PRO-6000", 96.0, 3.03),
    ("H100", 80.0, 3.95),
    ("H100!", 80.0, 3.95),
    ("H200", 141.0, 4.54),
    ("B200", 180.0, 6.25),
    ("B200+", 180.0, 6.25),
];

impl TargetType for ModalType {
    fn name(&self) -> &'static str {
        "modal"
    }

    fn title(&self) -> &'static str {
        "Modal"
    }

    fn about(&self) -> &'static str {
        "Modal: GPUs that scale to zero."
    }

    fn settings(&self, fields: &mut Fields<'_, '_, '_>) -> Own {
        let about = "The environment in Modal.";
        let environment = fields.text_or("environment", "main", about);
        let about = "An assertion: the workspace that the credentials have to belong to.";
        let workspace = fields.text("workspace", about);
        let builder = fields.choice(
            "builder",
            &[(self.name(), Builder::Target), ("oci", Builder::Oci)],
            "Who builds images: `modal` from the lock (pinned, not bit-identical), `oci`: goatbuild, \
             pushed to a registry. An image may say otherwise.",
        );
        let about = "The Modal secret that holds `HF_TOKEN`, by name.";
        let hf_secret = fields.text("hf-secret", about);
        let url = "an address like \"https://hub.acme.example\"";
        let about = "The hub that functions on Modal fetch weights from; Hugging Face's own when not \
                     given. `HF_ENDPOINT` is for this machine alone.";
        let hub_endpoint = fields.checked_text("hub-endpoint", about, url, address);
        let about = "Where functions on Modal take the vocabularies from that engines load: the address \
                     of a directory; where they are published when not given.";
        let encodings_endpoint = fields.checked_text("encodings-endpoint", about, url, address);
        let registry = fields.checked_text(
            "registry",
            "Where images that goatbuild builds are pushed, with `builder = \"oci\"`: a host and \
             perhaps a path, such as `docker.io/acme`; each image has a repository below it.",
            "a registry and a path there, like \"docker.io/acme\"",
            registry,
        );
        let about = "The Modal secret that holds the registry's user name and password, by name.";
        let registry_secret = fields.text("registry-secret", about);
        let about = "The variables that hold a proxy token, here and where the gateway runs.";
        let proxy_token = fields.table("proxy-token", about, |fields| {
            let about = "The one for its first half, `wk-…`.";
            let key = fields.variable("key", "MODAL_PROXY_KEY", about);
            let about = "The one for its second half, `ws-…`.";
            [key, fields.variable("secret", "MODAL_PROXY_SECRET", about)]
        });
        let about = "The Modal secret that holds the key of models with `auth = \"api-key\"`.";
        let api_key_secret = fields.text("api-key-secret", about);
        let about = "The variable that holds the key: in that secret, here, and where the gateway \
                     runs.";
        let api_key_variable = fields.variable("api-key-variable", "GOATBUILD_API_KEY", about);
        Own::new(Settings {
            environment,
            workspace,
            builder,
            hf_secret,
            hub_endpoint,
            encodings_endpoint,
            registry,
            registry_secret,
            proxy_token,
            api_key_secret,
            api_key_variable,
            prices: Prices::read(fields),
        })
    }

    fn needed(&self) -> Option<&'static str> {
        Some("environment = \"main\"")
    }

    fn keeps_secrets(&self) -> bool {
        true
    }

    fn secrets(&self) -> &'static [&'static str] {
        &["hf-secret", "registry-secret", "api-key-secret"]
    }

    fn serve(&self, fields: &mut Fields<'_, '_, '_>) -> Own {
        let about = "As many replicas stay up though nobody asks anything. Modal only.";
        let min = fields.count("min-containers", 0..=MOST, about);
        let about = "More replicas are never up. Modal only.";
        let max = fields.count("max-containers", 1..=MOST, about);
        let about = "As many more replicas than are busy are kept up under load. Modal only.";
        let buffer = fields.count("buffer-containers", 0..=MOST, about);
        let region = fields.label("region", "The region, such as `us-east`. Modal only.");
        let cloud = fields.label("cloud", "The provider, such as `aws`. Modal only.");
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            fields.bad("max-containers", &max.to_string(), "no fewer than `min-containers`");
        }
        Own::new(Replicas { min, max, buffer, region, cloud })
    }

    /// What Modal's own client checks.
    fn refuses(&self, field: &str, duration: Duration) -> Option<String> {
        let allowed = match field {
            "scaledown-window" => 2..=60 * 60,
            _ => 1..=DAY,
        };
        let text = |seconds: &u64| duration_text(Duration::from_secs(*seconds));
        let (least, most) = (text(allowed.start()), text(allowed.end()));
        (!allowed.contains(&duration.as_secs()))
            .then(|| format!("on Modal, at least {least} and at most {most}"))
    }

    fn auths(&self) -> &'static [Auth] {
        &[Auth::Proxy, Auth::ApiKey, Auth::Open]
    }

    fn lacks(&self, settings: &Own, auth: Auth) -> Option<Problem> {
        let lacks = auth == Auth::ApiKey && settings.get::<Settings>().api_key_secret.is_none();
        lacks.then(|| Problem::MissingField {
            field: "target.modal.api-key-secret".to_owned(),
            example:
                "api-key-secret = \"NAME\", a Modal secret, in goatbuild.toml's [target.modal]"
                    .to_owned(),
        })
    }

    fn has_candidates(&self) -> bool {
        true
    }

    fn has_snapshots(&self) -> bool {
        true
    }

    fn allots_gpus(&self) -> bool {
        true
    }

    fn gpus(&self) -> &'static [(&'static str, f64, f64)] {
        &GPUS
    }

    fn other_names(&self) -> &'static [(&'static str, &'static str)] {
        &[("A10G", "A10"), ("A100", "A100-40GB"), ("H100!", "H100"), ("B200+", "B200")]
    }

    /// `H100!` is the one such name in modal.com/docs/guide/gpu: an H100 may be served by an H200.
    fn exact_gpus(&self) -> &'static [&'static str] {
        &["H100"]
    }

    /// As the client has it: `_runtime/asgi.py` of 1.6.4, "1000 is the max for `@modal.concurrent`".
    fn most_inputs(&self) -> Option<u32> {
        Some(1000)
    }

    fn has_apps(&self) -> bool {
        true
    }

    fn takes(&self, settings: &Own, image: &Image) -> Takes {
        match image.builder.unwrap_or(settings.get::<Settings>().builder) {
            Builder::Target => Takes::Built,
            Builder::Oci => Takes::Pushed,
        }
    }

    fn builds_images(&self) -> bool {
        true
    }

    fn registry<'s>(&self, settings: &'s Own) -> Option<&'s str> {
        settings.get::<Settings>().registry.as_deref()
    }

    /// The addresses of its app and of its candidate's, as Modal makes them of their names.
    fn claims(&self, model: &Model, app_prefix: &str) -> Vec<(Problem, Place)> {
        let label = format!("{app_prefix}{}", model.name).replace('.', "-");
        let candidate = (model.serve.rollout == Some(Rollout::Candidate))
            .then(|| format!("{label}{CANDIDATE}"));
        let labels = std::iter::once(label).chain(candidate);
        let place = &model.file.place;
        let how = "in URLs, `.` is written as `-`, and a candidate's app ends in `-next`";
        let problem = |label| Problem::DuplicateAddress { title: self.title(), label, how };
        labels.map(|label| (problem(label), place.clone())).collect()
    }

    /// The mistakes of a project that doesn't say where images go that models on Modal need, and of images
    /// that Modal can't build.
    fn check(&self, whole: &Whole<'_>) -> Vec<SpecError> {
        let Whole { file, environment, settings, models, images, .. } = whole;
        let mut mistakes = super::extended::mistakes(self, whole);
        if settings.get::<Settings>().registry.is_some() {
            return mistakes;
        }
        let served = models
            .values()
            .filter(|it| it.target.name() == self.name() && it.state == State::Present);
        let images = served.filter_map(|model| images.get(&model.image.value));
        let pushed = images.filter(|image| self.takes(settings, image) == Takes::Pushed);
        let of_project = |path: &[&str]| Place::of_field(file, path);
        let of_environment = |field| {
            of_project(&["environment", environment.as_ref()?.as_str(), "target", "modal", field])
        };
        // What is written and none can be used was told where it was read.
        let written = of_project(&["target", "modal", "registry"]);
        if written.or_else(|| of_environment("registry")).is_some() {
            return mistakes;
        }
        let wrong = |image: &Image| {
            let own = Place::of_field(image.file.place.file(), &["builder"]);
            let place = own
                .or_else(|| of_environment("builder"))
                .or_else(|| of_project(&["target", "modal", "builder"]))
                .unwrap_or_else(|| image.file.place.clone());
            let problem = Problem::MissingField {
                field: "target.modal.registry".to_owned(),
                example:
                    "registry = \"docker.io/acme\" in goatbuild.toml's [target.modal]: `builder = \
                     \"oci\"` pushes images there, and Modal takes them from there"
                        .to_owned(),
            };
            SpecError::new(problem, place)
        };
        mistakes.extend(pushed.map(wrong));
        mistakes
    }
}

impl Opens for ModalType {
    fn open(&self, opening: &Opening<'_>) -> Option<Box<dyn Target>> {
        let settings = opening.project.targets.of(self)?.get::<Settings>().clone();
        Some(Box::new(Modal::new(opening, settings)))
    }

    fn import(&self, script: &Script, addresses: &[String], engines: Engines) -> Imported {
        import::script(script, addresses, engines, &GPUS)
    }
}

/// An address without a slash at its end, and without anybody's password in it.
fn address(text: &str) -> Option<String> {
    let url = reqwest::Url::parse(text).ok()?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let is_address = ["http", "https"].contains(&url.scheme()) && url.has_host() && is_plain;
    is_address.then(|| text.trim_end_matches('/').to_owned())
}

/// A host and perhaps a path, below which each image has a repository.
fn registry(text: &str) -> Option<String> {
    let registry = text.trim_end_matches('/');
    let below = format!("{registry}/x").parse::<ImageReference>();
    // What has no host would be below Docker Hub's.
    let is_place = below
        .is_ok_and(|it| format!("{}/{}", it.registry, it.repository) == format!("{registry}/x"));
    is_place.then(|| registry.to_owned())
}
