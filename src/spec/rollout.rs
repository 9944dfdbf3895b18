//! How a new deployment comes to be what clients are led to.

use super::context::Rank;
use super::read::Shared;
use super::serve::Smoke;
use super::table::Table;
use super::target::TargetType;
use super::value::quoted;

/// How a new deployment takes the place of what stands. No key depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Rollout {
    /// It replaces what stands, and is taken back when it fails its smoke test.
    #[default]
    InPlace,
    /// It is tried out under a name of its own first, where the target has candidates.
    Candidate,
}

/// As specs write it.
pub(super) const ROLLOUTS: [(&str, Rollout); 2] =
    [("in-place", Rollout::InPlace), ("candidate", Rollout::Candidate)];

/// Reads `serve.rollout`, where it is said.
pub(super) fn rollout(
    table: &mut Table<'_, '_>,
    target: &'static dyn TargetType,
    smoke: Smoke,
    shared: &Shared<'_>,
) -> Option<Rollout> {
    let written = table.every("rollout").next();
    let rollout = table.choice("rollout", &ROLLOUTS);
    let found = written?;
    if rollout != Rollout::Candidate {
        return Some(rollout);
    }
    let expected = match (target.has_candidates(), smoke) {
        (false, _) => {
            let others = shared.kinds.targets.fields(TargetType::has_candidates);
            let title = target.title();
            format!("only \"in-place\" for a model on {title}; \"candidate\" is for {others}")
        }
        (true, Smoke::Never) => {
            "only \"in-place\" with `smoke = \"never\"`: a candidate is there to be tried out"
                .to_owned()
        }
        _ => return Some(rollout),
    };
    // What the defaults say is for the models of which it can be said.
    if found.layer.rank != Rank::Defaults {
        table.bad("rollout", &quoted("candidate"), &expected, &found.spot());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Project, SourceFile, Sources, SpecErrors, read};

    const MODAL: &str =
        "image = \"one\"\ntarget = \"modal\"\nhardware.gpu = \"H100\"\nmodel.source = \"hf:a/b\"\n";
    const LOCAL: &str = "image = \"one\"\nmodel.source = \"path:tiny\"\n";

    fn project(defaults: &str, specs: &[(&str, &str, &str)]) -> Result<Project, SpecErrors> {
        let project = format!("project.id = \"a\"\ntarget.modal = {{}}\n{defaults}");
        let file = |name: String, text: &str| SourceFile { path: name.into(), text: text.into() };
        let specs = specs.iter().map(|(name, spec, serve)| {
            file(format!("specs/{name}.toml"), &format!("{spec}{serve}\n"))
        });
        let image = "base = { debian = \"bookworm\" }\nrequirements = [\"vllm==0.13.0\"]\n";
        let sources = Sources {
            project: file("goatbuild.toml".to_owned(), &project),
            specs: specs.collect(),
            images: vec![file("images/one.toml".to_owned(), image)],
            mistakes: Vec::new(),
            kinds: crate::project::kinds(),
        };
        read(&sources, None)
    }

    fn rollout(project: &Project, model: &str) -> Option<Rollout> {
        project.models[model].serve.rollout
    }

    #[track_caller]
    fn refuses(specs: &[(&str, &str, &str)], why: &str) {
        let errors = project("", specs).unwrap_err();
        let told = format!("{errors:?}");
        assert!(told.contains(why), "{told}");
    }

    const CANDIDATE_WANTED: &str = "serve.rollout = \"candidate\"";

    #[test]
    fn a_candidate_is_for_what_is_tried_out_on_modal() {
        let read = project("", &[("m", MODAL, CANDIDATE_WANTED), ("n", MODAL, "")]).unwrap();
        assert_eq!((rollout(&read, "m"), rollout(&read, "n")), (Some(Rollout::Candidate), None));
        refuses(&[("m", LOCAL, CANDIDATE_WANTED)], "for a model on this machine");
        let never = format!("{CANDIDATE_WANTED}\nserve.smoke = \"never\"");
        refuses(&[("m", MODAL, &never)], "there to be tried out");
        refuses(&[("m", MODAL, "serve.rollout = \"candidat\"")], "did you mean");
    }

    #[test]
    fn defaults_are_for_the_models_of_which_they_can_be_said() {
        let defaults = "[defaults]\nserve.rollout = \"candidate\"\n";
        let never = "serve.smoke = \"never\"";
        let specs = [("m", MODAL, ""), ("local", LOCAL, ""), ("never", MODAL, never)];
        let read = project(defaults, &specs).unwrap();
        assert_eq!(rollout(&read, "m"), Some(Rollout::Candidate));
        assert_eq!(rollout(&read, "local"), None);
        assert_eq!(rollout(&read, "never"), None);
    }

    #[test]
    fn a_candidate_s_app_is_no_other_model_s() {
        let specs = [("m", MODAL, CANDIDATE_WANTED), ("m-next", MODAL, "")];
        refuses(&specs, "DuplicateAddress");
        assert!(project("", &[("m", MODAL, ""), ("m-next", MODAL, CANDIDATE_WANTED)]).is_ok());
    }
}
