//! `goatbuild add`.

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap_complete::engine::ArgValueCandidates;
use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global, completions};
use crate::ops::add::{self, Addition};
use crate::spec::TargetType;
use crate::{targets, ui};

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
    #[arg(long, value_parser = target(), value_name = "TARGET")]
    target: Option<&'static dyn TargetType>,
    /// The GPUs to serve it on, such as H100 or H100:4
    #[arg(long, value_name = "GPU[:COUNT]", add = ArgValueCandidates::new(completions::gpus))]
    gpu: Option<String>,
    /// A commit, branch or tag
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
}

/// Reads a target as specs name it.
fn target() -> impl TypedValueParser<Value = &'static dyn TargetType> {
    let types = targets::built_in().types();
    let words = types.iter().map(|it| {
        // What it is, in a word.
        let about = it.about().split([':', '.']).next().unwrap_or_default();
        PossibleValue::new(it.name()).help(about)
    });
    PossibleValuesParser::new(words.collect::<Vec<_>>()).map(move |word| {
        let found = types.iter().find(|it| it.name() == word);
        found.unwrap_or_else(|| panic!("BUG: no target is called {word}"))
    })
}

pub(crate) async fn run(global: &Global, arguments: AddArgs) -> Result<Exit, Report> {
    let AddArgs { source, name, image, target, gpu, revision } = arguments;
    let addition = Addition { source, name, image, target, gpu, revision };
    let (name, path) = add::add(&global.site()?, &Terminal::default(), &addition).await?;
    let path = path.display();
    ui::print_text(&format!("wrote {path}; look at its flags, then `goatbuild plan {name}`\n"));
    Ok(Exit::Done)
}
