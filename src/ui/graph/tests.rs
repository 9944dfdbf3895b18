use super::*;
use crate::plan::{Reason, ReasonKind};
use crate::step::{At, Facts, StepKind};

/// A plan in the making.
#[derive(Default)]
struct Sketch(Plan);

impl Sketch {
    fn step(&mut self, id: &str, action: Action, inputs: &[&str]) -> &mut Self {
        let id = StepId::from(id);
        let reason = |kind, field: &str| Reason {
            kind,
            field: Some(field.to_owned()).filter(|field| !field.is_empty()),
            old: None,
            new: None,
        };
        self.0.steps.push(PlannedStep {
            kind: id.kind().unwrap(),
            at: At::Here,
            engine: None,
            errand: std::time::Duration::ZERO,
            models: Vec::new(),
            action,
            observed: true,
            key: (!matches!(action, Action::Pending | Action::Remove)).then(|| key(id.as_str())),
            reasons: match action {
                Action::Run => vec![reason(ReasonKind::First, "")],
                Action::Pending => vec![reason(ReasonKind::Input, inputs[0])],
                _ => Vec::new(),
            },
            inputs: inputs.iter().map(|input| StepId::from(*input)).collect(),
            note: None,
            after: Vec::new(),
            held: None,
            facts: Facts::new(),
            id,
        });
        self
    }

    /// An image of so many layers, the first of which has this action.
    fn image(&mut self, name: &str, layers: usize, first: Action) -> &mut Self {
        let action = if first == Action::Fresh { Action::Fresh } else { Action::Pending };
        let base = format!("base:{name}");
        self.step(&base, Action::Fresh, &[]);
        let wheels: Vec<_> = (0..layers).map(|layer| format!("wheels:{name}/{layer:02}")).collect();
        for (at, wheel) in wheels.iter().enumerate() {
            self.step(wheel, if at == 0 { first } else { Action::Fresh }, &[]);
        }
        let mut inputs: Vec<_> = wheels.iter().map(String::as_str).collect();
        inputs.insert(0, &base);
        self.step(&format!("image:{name}"), action, &inputs)
    }

    fn weights(&mut self, name: &str) -> &mut Self {
        self.step(&format!("weights:{name}"), Action::Fresh, &[])
    }

    /// A model with its chain of steps, warm-up only when it compiles.
    fn model(
        &mut self,
        name: &str,
        image: &str,
        weights: &[&str],
        compiles: bool,
        action: Action,
    ) -> &mut Self {
        let image = format!("image:{image}");
        let weights: Vec<_> = weights.iter().map(|name| format!("weights:{name}")).collect();
        let mut inputs: Vec<_> = weights.iter().map(String::as_str).collect();
        inputs.insert(0, &image);
        let (warmup, deploy) = (format!("warmup:{name}"), format!("deploy:{name}"));
        let smoke = format!("smoke:{name}");
        let behind = if action == Action::Run { Action::Pending } else { action };
        if compiles {
            self.step(&warmup, action, &inputs);
            inputs.push(&warmup);
        }
        self.step(&deploy, action, &inputs);
        self.step(&smoke, behind, &[&deploy]);
        self.step(&format!("gateway:{name}"), behind, &[&deploy, &smoke])
    }
}

fn key(seed: &str) -> crate::fingerprint::Key {
    crate::fingerprint::Fingerprint::new("test", 1).field("seed", seed).key()
}

/// The six models that goatbuild was made for, after an edit of one image.
fn registry() -> Plan {
    let mut sketch = Sketch::default();
    sketch.image("gpt-oss", 64, Action::Run).image("standard", 55, Action::Fresh);
    for name in [
        "RedHatAI/gpt-oss-20b-speculator.eagle3",
        "meta-llama/Llama-3.1-8B-Instruct",
        "nvidia/gpt-oss-120b-Eagle3-v2",
        "openai/gpt-oss-120b",
        "openai/gpt-oss-20b",
        "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8",
        "Qwen/Qwen3-30B-A3B-Instruct-2507",
        "Qwen/Qwen3-4B-Instruct-2507",
    ] {
        sketch.weights(name);
    }
    let large = ["openai/gpt-oss-120b", "nvidia/gpt-oss-120b-Eagle3-v2"];
    let small = ["openai/gpt-oss-20b", "RedHatAI/gpt-oss-20b-speculator.eagle3"];
    let fresh = Action::Fresh;
    sketch
        .model("gpt-oss-120b", "gpt-oss", &large, true, Action::Pending)
        .model("gpt-oss-20b", "gpt-oss", &small, true, Action::Pending)
        .model("llama-3.1-8b", "standard", &["meta-llama/Llama-3.1-8B-Instruct"], false, fresh)
        .model(
            "qwen3-235b",
            "standard",
            &["Qwen/Qwen3-235B-A22B-Instruct-2507-FP8"],
            false,
            Action::Run,
        )
        .model("qwen3-30b-a3b", "standard", &["Qwen/Qwen3-30B-A3B-Instruct-2507"], false, fresh)
        .model("qwen3-4b", "standard", &["Qwen/Qwen3-4B-Instruct-2507"], false, fresh);
    sketch.step("gateway:mistral-7b", Action::Remove, &[]);
    sketch.step("deploy:mistral-7b", Action::Remove, &[]);
    sketch.0
}

/// Thirty models on three images that share layers.
fn many() -> Plan {
    let mut sketch = Sketch::default();
    for image in ["large", "small", "tiny"] {
        sketch.image(image, 30, Action::Fresh);
    }
    for shared in 0..5 {
        let id = format!("wheels:large/shared-{shared}");
        sketch.step(&id, Action::Fresh, &[]);
        for step in &mut sketch.0.steps {
            if ["image:large", "image:small"].contains(&step.id.as_str()) {
                step.inputs.push(StepId::from(id.as_str()));
            }
        }
    }
    for number in 0..30 {
        let image = ["large", "small", "tiny"][number * 7 % 3];
        let weights = format!("org-{}/model-{number:02}", number % 4);
        sketch.weights(&weights);
        let mut all = vec![weights.as_str()];
        if number % 5 == 0 {
            sketch.weights(&format!("drafts/draft-{number:02}"));
        }
        let draft = format!("drafts/draft-{number:02}");
        if number % 5 == 0 {
            all.push(&draft);
        }
        let action = if number % 9 == 4 { Action::Run } else { Action::Fresh };
        sketch.model(&format!("model-{number:02}"), image, &all, number % 3 == 0, action);
    }
    sketch.0
}

fn drawn(plan: &Plan, drawn: Drawn) -> Diagram {
    let orders = |from: &StepId, to: &StepId| {
        matches!(
            (from.kind(), to.kind()),
            (Some(StepKind::Warmup), Some(StepKind::Deploy))
                | (Some(StepKind::Smoke), Some(StepKind::Gateway))
        )
    };
    diagram("goat-7f3a91", plan, drawn, &orders)
}

const USUAL: Drawn = Drawn { all: false, plain: false };

#[test]
fn the_registry_is_drawn_with_what_an_edit_touches() {
    let diagram = drawn(&registry(), USUAL);
    let of = |tone: Tone| {
        let nodes = diagram.nodes.iter().filter(|node| node.tone == tone);
        nodes.map(|node| format!("{}:{}", node.kind, node.name)).collect::<Vec<_>>()
    };
    assert_eq!(of(Tone::Run), ["wheels:gpt-oss × 64", "deploy:qwen3-235b"]);
    assert_eq!(of(Tone::Remove), ["gateway:mistral-7b", "deploy:mistral-7b"]);
    assert_eq!(diagram.summary, "2 to run · 11 pending · 138 fresh · 1 to remove");
    let wheels = diagram.nodes.iter().find(|node| node.tone == Tone::Run).expect("is there");
    assert_eq!((wheels.detail.as_str(), wheels.count), ("1 run · 63 fresh", 64));
    assert!(wheels.about.starts_with("wheels:gpt-oss/00: run, first time\n"), "{}", wheels.about);
    assert!(wheels.about.ends_with("\nand 52 more"), "{}", wheels.about);
}

#[test]
fn layers_of_two_images_are_a_box_of_their_own() {
    let diagram = drawn(&many(), USUAL);
    let wheels = diagram.nodes.iter().filter(|node| node.kind == "wheels");
    let names: Vec<&str> = wheels.map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["large × 30", "small × 30", "tiny × 30", "large + small × 5"]);
}

#[test]
fn all_and_plain_hide_nothing_and_tell_nothing() {
    let plan = registry();
    let all = drawn(&plan, Drawn { all: true, plain: false });
    assert_eq!(all.nodes.len(), plan.steps.len());
    let inputs: usize = plan.steps.iter().map(|step| step.inputs.len()).sum();
    assert_eq!(all.edges.len(), inputs);
    let bare = drawn(&plan, Drawn { all: false, plain: true });
    assert!(bare.nodes.iter().all(|node| node.tone == Tone::Plain && node.name != "mistral-7b"));
    assert!(bare.nodes.iter().all(|node| node.detail.is_empty()), "a key is told");
}

#[test]
fn a_registry_of_thirty_models_needs_no_crossing() {
    for plan in [registry(), many()] {
        assert_eq!(drawn(&plan, USUAL).crossings(), 0);
    }
}

/// Writes the drawings to the directory that `GOATBUILD_LOOK` names, for who wants to look at them.
#[test]
fn drawings_can_be_looked_at() {
    let drawings = [("six", registry()), ("many", many())];
    let look = std::env::var_os("GOATBUILD_LOOK").map(std::path::PathBuf::from);
    for (name, plan) in drawings {
        let svg = drawn(&plan, USUAL).to_svg();
        assert_eq!(svg, drawn(&plan, USUAL).to_svg(), "{name} is drawn in two ways");
        if let Some(directory) = &look {
            std::fs::write(directory.join(format!("{name}.svg")), svg).expect("a file");
        }
    }
}

#[test]
fn that_nobody_looked_is_told_once_in_a_tooltip() {
    let mut sketch = Sketch::default();
    sketch.step("deploy:m", Action::Run, &[]);
    let step = &mut sketch.0.steps[0];
    step.observed = false;
    assert_eq!(about(step, false).matches("not looked at").count(), 1);
    let field = Some("no credentials".to_owned());
    step.reasons.push(Reason { kind: ReasonKind::Unobserved, field, old: None, new: None });
    let told = about(step, false);
    assert_eq!(told.matches("not looked at").count(), 1, "{told}");
    assert!(told.ends_with("not looked at: no credentials"), "{told}");
}
