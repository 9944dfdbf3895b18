//! What commands do, told to nobody but a recording.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use miette::Report;

use super::agreed::Agreed;
use super::apply::{self, Asked};
use super::consent::{agree, confirm};
use super::frontend::{End, Events, Frontend, Work};
use super::open::{self, Site};
use super::plan::{self, Planned};
use super::{preflight, saved};
use crate::debian::Mirrors;
use crate::event::Reporter;
use crate::exec::Interrupt;
use crate::fetch::Patience;
use crate::graph::Graph;
use crate::plan::saved::Request;
use crate::plan::{Action, Plan, PlannedStep, Reason, ReasonKind, Wishes};
use crate::step::{At, EngineUse, StepId, StepKind};
use crate::targets;
use crate::workspace::{Settings, SharedWorkspace};

/// Keeps what it was told, and answers what it was told to.
#[derive(Default)]
struct Recording {
    answer: Option<bool>,
    told: RefCell<Vec<String>>,
}

impl Recording {
    fn answering(answer: bool) -> Self {
        Self { answer: Some(answer), ..Self::default() }
    }

    fn keep(&self, text: String) {
        self.told.borrow_mut().push(text);
    }

    /// What was told since somebody looked.
    fn told(&self) -> Vec<String> {
        self.told.take()
    }
}

impl Frontend for Recording {
    fn note(&self, text: &str) {
        self.keep(text.to_owned());
    }

    fn confirm(&self, question: &str) -> Option<bool> {
        self.answer.inspect(|_| self.keep(question.to_owned()))
    }

    fn progress(&self, _: Work) -> (Reporter, End) {
        (Reporter::silent(), Box::new(|| ()))
    }

    fn planned(&self, plan: &Plan) {
        self.keep(format!("planned {}", plan.steps.len()));
    }

    fn events(&self, steps: usize) -> (Events, End) {
        self.keep(format!("runs {steps}"));
        (Arc::new(|_| ()), Box::new(|| ()))
    }
}

/// A project that was written, without any network.
fn site(root: &Path, files: &[(&str, &str)]) -> Site {
    for (path, text) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }
    let settings = Settings {
        offline: true,
        locked: false,
        state: root.join("state"),
        program: root.join("goatbuild"),
        epoch: 0,
        patience: Patience::default(),
        mirrors: Mirrors::default(),
        files_mirror: None,
        credentials: Vec::new(),
        engines: crate::engines::built_in(),
        targets: targets::built_in(),
        variable: |_| None,
        hub: || panic!("no hub is asked"),
    };
    let directory = Some(root.to_owned());
    Site { directory, environment: None, settings, patience: Duration::ZERO, ci_run: None }
}

const EMPTY: (&str, &str) = ("goatbuild.toml", "[project]\nid = \"one-2f\"\n");

/// A model that is served on Modal.
const ON_MODAL: [(&str, &str); 3] = [
    (
        "goatbuild.toml",
        "[project]\nid = \"one-2f\"\n[target.modal]\nenvironment = \"e\"\nworkspace = \"w\"\n",
    ),
    ("images/i.toml", "base = { debian = \"bookworm\" }\n"),
    (
        "specs/m.toml",
        "image = \"i\"\ntarget = \"modal\"\n[model]\nsource = \"hf:o/m\"\n\
         [hardware]\ngpu = \"H100\"\n",
    ),
];

fn step(id: &str, action: Action) -> PlannedStep {
    let id = StepId::from(id);
    PlannedStep {
        kind: id.kind().expect("a kind"),
        at: At::Target,
        engine: Some(EngineUse {
            busy: Duration::from_secs(600),
            starts: id.kind() != Some(StepKind::Smoke),
            asks: id.kind() == Some(StepKind::Smoke),
        }),
        errand: Duration::ZERO,
        models: vec![id.name().to_owned()],
        action,
        observed: true,
        key: None,
        reasons: Vec::new(),
        inputs: Vec::new(),
        note: None,
        after: Vec::new(),
        held: None,
        facts: [].into(),
        id,
    }
}

fn planned(steps: Vec<PlannedStep>) -> Planned {
    let graph = Graph::new(Vec::new()).expect("no steps have no circle");
    Planned { graph, wishes: Wishes::default(), plan: Plan { steps, ..Plan::default() } }
}

fn asked(request: Request) -> Asked {
    Asked { request, refresh: false, agreed: Agreed::default(), keep_going: false }
}

fn code(error: &Report) -> String {
    error.code().map(|code| code.to_string()).unwrap_or_default()
}

/// Whether an apply that deploys the model may go on, and what was told until then.
fn agreed(
    workspace: &SharedWorkspace,
    frontend: &Recording,
    agreed: Agreed,
) -> (Result<(), String>, Vec<String>) {
    let steps = vec![step("deploy:m", Action::Run), step("smoke:m", Action::Pending)];
    let asked = agree(workspace, frontend, &planned(steps), agreed);
    (asked.map(drop).map_err(|error| code(&error)), frontend.told())
}

#[test]
fn what_costs_money_elsewhere_is_asked_for_once_and_a_no_is_final() {
    let directory = tempfile::tempdir().expect("a directory");
    let workspace = open::whole(&site(directory.path(), &ON_MODAL)).expect("a project");
    let nobody = Recording::default();
    let asks = "this deploys m; spends GPU time, up to $";
    let told = |told: &[String]| told.len() == 1 && told[0].starts_with(asks);

    let (ended, said) = agreed(&workspace, &Recording::answering(true), Agreed::default());
    assert!(ended.is_ok() && told(&said) && said[0].ends_with("Go on?"), "{ended:?} {said:?}");
    let (ended, said) = agreed(&workspace, &Recording::answering(false), Agreed::default());
    assert!(told(&said), "{said:?}");
    assert_eq!(ended.unwrap_err(), "goatbuild::plan::declined");
    let (ended, said) = agreed(&workspace, &nobody, Agreed::default());
    assert_eq!(said, [""; 0]);
    assert_eq!(ended.unwrap_err(), "goatbuild::usage::unconfirmed");

    let all = Agreed { all: true, ..Agreed::default() };
    let (ended, said) = agreed(&workspace, &nobody, all);
    assert!(ended.is_ok() && told(&said), "with --yes it is told: {ended:?} {said:?}");
    let (ended, said) = agreed(&workspace, &nobody, Agreed { max_cost: Some(0.01), ..all });
    assert_eq!(said, [""; 0], "--yes is no leave to spend more");
    assert_eq!(ended.unwrap_err(), "goatbuild::plan::cost");
}

#[test]
fn what_stays_up_is_told_by_the_month_and_few_dollars_are_no_leave_for_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let [(_, project), image, (_, spec)] = ON_MODAL;
    let project = format!("{project}[gpu]\nH100 = {{ usd-per-hour = 4.5 }}\n");
    let spec = format!("{spec}[serve]\nmin-containers = 2\nbuffer-containers = 1\n");
    let files = [("goatbuild.toml", &*project), image, ("specs/m.toml", &spec)];
    let workspace = open::whole(&site(directory.path(), &files)).expect("a project");
    let nobody = Recording::default();
    let all = Agreed { all: true, ..Agreed::default() };

    // Two of them for 730 hours at $4.50.
    let (ended, said) = agreed(&workspace, &nobody, all);
    assert!(ended.is_ok(), "{ended:?}");
    let told =
        "this deploys m; leaves always on: m 2 × H100 ≈ $6,570 a month; spends GPU time, up to $";
    assert!(said[0].starts_with(told), "{said:?}");
    // The deployment keeps one busy, and what asks it all that are up then: (1 + 3) × 10 minutes.
    assert!(said[0].contains("up to $3.51 if"), "{said:?}");

    let (ended, _) = agreed(&workspace, &nobody, Agreed { max_cost: Some(100.0), ..all });
    assert_eq!(ended.unwrap_err(), "goatbuild::plan::always_on");
    let month = Agreed { max_monthly: Some(6600.0), ..all };
    let (ended, _) = agreed(&workspace, &nobody, Agreed { max_cost: Some(100.0), ..month });
    assert!(ended.is_ok(), "the month is allowed by itself: {ended:?}");
    let (ended, _) = agreed(&workspace, &nobody, Agreed { max_cost: Some(2.0), ..month });
    assert_eq!(ended.unwrap_err(), "goatbuild::plan::cost");
    let (ended, _) = agreed(&workspace, &nobody, Agreed { max_monthly: Some(6500.0), ..all });
    assert_eq!(ended.unwrap_err(), "goatbuild::plan::always_on");
    let (ended, _) = agreed(&workspace, &nobody, Agreed { max_cost: Some(6600.0), ..all });
    assert!(ended.is_ok(), "enough for a month and the apply: {ended:?}");
}

#[test]
fn what_is_fetched_and_built_counts_and_is_not_asked_about_by_itself() {
    let directory = tempfile::tempdir().expect("a directory");
    let workspace = open::whole(&site(directory.path(), &ON_MODAL)).expect("a project");
    let mut steps = vec![step("weights:o/m", Action::Run), step("image:i", Action::Run)];
    for step in &mut steps {
        (step.engine, step.models) = (None, vec!["m".to_owned()]);
        step.errand = Duration::from_secs(3600);
    }
    let planned = planned(steps);
    let frontend = Recording::default();
    agree(&workspace, &frontend, &planned, Agreed::default()).expect("nothing to agree to");
    assert_eq!(frontend.told(), [""; 0]);
    // Four cores and 4 GiB for two hours, at 4.716 cents for a core and 0.7992 for a GiB.
    for (allowed, is_enough) in [(0.45, true), (0.44, false)] {
        let limit = Agreed { max_cost: Some(allowed), ..Agreed::default() };
        let ended = agree(&workspace, &frontend, &planned, limit);
        assert_eq!(ended.is_ok(), is_enough, "{allowed}: {ended:?}");
    }
}

#[test]
fn what_stays_on_this_machine_is_not_asked_about() {
    let directory = tempfile::tempdir().expect("a directory");
    let workspace = open::whole(&site(directory.path(), &[EMPTY])).expect("a project");
    let frontend = Recording::default();
    let steps = planned(vec![step("deploy:m", Action::Run)]);
    agree(&workspace, &frontend, &steps, Agreed::default()).expect("nothing to agree to");
    assert_eq!(frontend.told(), [""; 0]);
}

#[test]
fn a_question_is_asked_unless_somebody_agreed() {
    let ask = |frontend: &Recording, agreed| {
        (confirm(frontend, agreed, "m would be stopped", "stop m?"), frontend.told())
    };
    let (says, told) = ask(&Recording::answering(true), false);
    assert!(says.expect("an answer"));
    assert_eq!(told, ["stop m?"]);
    let (says, told) = ask(&Recording::answering(false), false);
    assert!(!says.expect("an answer"));
    assert_eq!(told, ["stop m?", "nothing was changed"]);
    let (says, told) = ask(&Recording::default(), true);
    assert!(says.expect("it was agreed to"));
    assert_eq!(told, [""; 0]);
    let (says, _) = ask(&Recording::default(), false);
    let error = says.expect_err("nobody answers").to_string();
    assert_eq!(error, "m would be stopped, and nobody is there to ask");
}

#[tokio::test]
async fn a_saved_plan_that_no_longer_holds_is_refused_and_nothing_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let site = site(directory.path(), &[EMPTY]);
    let file = directory.path().join("a.plan");
    let (frontend, request) = (Recording::default(), Request::default());
    let workspace = open::whole(&site).expect("a project");
    let options = plan::settling(&workspace, &request);
    let planned = plan::plan(&workspace, &frontend, &request, options).await.expect("a plan");
    saved::write(&workspace, &planned, &request, &file).expect("it is saved");
    drop(workspace);

    let named = Request { models: vec![file.display().to_string()], ..Request::default() };
    let apply =
        async || apply::apply(&site, &frontend, asked(named.clone()), &Interrupt::default()).await;
    let applied = apply().await.expect("all is as it was");
    assert!(applied.report.ran.is_empty());
    assert_eq!(frontend.told(), ["planned 0", "runs 0"]);

    let gateway = "[gateway.litellm]\nconfig = \"g.yaml\"\nreload = [\"false\"]\n";
    let text = format!("{}{gateway}", EMPTY.1);
    std::fs::write(directory.path().join("g.yaml"), "model_list: []\n").expect("a file");
    std::fs::write(directory.path().join(EMPTY.0), text).expect("a file");
    let error = apply().await.err().expect("something moved");
    assert_eq!(code(&error), "goatbuild::plan::moved", "{error}");
    assert_eq!(frontend.told(), [""; 0], "not even a plan is shown");
}

#[tokio::test]
async fn an_apply_stops_where_its_target_cannot_be_used_before_anything_is_locked() {
    let directory = tempfile::tempdir().expect("a directory");
    let site = site(directory.path(), &ON_MODAL);
    let frontend = Recording::answering(true);
    let asked = asked(Request::default());
    let applied = apply::apply(&site, &frontend, asked, &Interrupt::default()).await;
    let error = applied.err().expect("there are no credentials");
    assert!(code(&error).starts_with("goatbuild::modal::"), "{error}");
    assert_eq!(frontend.told(), [""; 0]);
    assert!(!directory.path().join("goatbuild.lock").exists());
    assert!(!directory.path().join("cache/lock").exists(), "nobody else is kept away");
}

#[tokio::test]
async fn a_plan_is_refused_for_what_is_in_the_way() {
    let directory = tempfile::tempdir().expect("a directory");
    let workspace = open::whole(&site(directory.path(), &[EMPTY])).expect("a project");
    let refused = async |kind, action| {
        let owner = Some("somebody else".to_owned());
        let reasons = vec![Reason { kind, field: owner, old: None, new: None }];
        let step = PlannedStep { reasons, ..step("deploy:m", action) };
        let Planned { plan, .. } = planned(vec![step]);
        let frontend = Recording::default();
        preflight::refuse(&workspace, &frontend, &plan, &Request::default()).await
    };
    let error = refused(ReasonKind::Foreign, Action::Conflict).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::plan::conflict");
    assert!(error.to_string().ends_with("deploy:m (somebody else)"), "{error}");
    let error = refused(ReasonKind::Unobserved, Action::Pending).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::plan::unobserved");
}
