//! `goatbuild add`.

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCandidates;
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global, completions};
use crate::ops::add::{self, Addition};
use crate::spec::TargetKind;
use crate::ui;

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The weights: `hf:organisation/name`, or `path:directory` in the project
    source: String,
    /// The model's name; made of the source's without one
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// The image to serve it with; needed when the project has several
    #[arg(long, value_name = "IMAGE", add = ArgValueCandidates::new(completions::images))]
    image: Option<String>,
    /// Where to serve it; without one, where the project's other models are served
    #[arg(long, value_enum, value_name = "TARGET")]
    target: Option<Target>,
    /// The GPUs to serve it on, such as H100 or H100:4
    #[arg(long, value_name = "GPU[:COUNT]", add = ArgValueCandidates::new(completions::gpus))]
    gpu: Option<String>,
    /// A commit, branch or tag
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
}

/// As `target` in a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// This machine
    Local,
    /// Modal
    Modal,
}

impl Target {
    fn kind(self) -> TargetKind {
        match self {
            Self::Local => TargetKind::Local,
            Self::Modal => TargetKind::Modal,
        }
    }
}

pub(crate) async fn run(global: &Global, arguments: AddArgs) -> Result<Exit, Report> {
    let AddArgs { source, name, image, target, gpu, revision } = arguments;
    let target = target.map(Target::kind);
    let addition = Addition { source, name, image, target, gpu, revision };
    let (name, path) = add::add(&global.site()?, &Terminal::default(), &addition).await?;
    let path = path.display();
    ui::print_text(&format!("wrote {path}; look at its flags, then `goatbuild plan {name}`\n"));
    Ok(Exit::Done)
}
