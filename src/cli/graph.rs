//! `goatbuild graph`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use miette::{Diagnostic, Report};
use thiserror::Error;

use super::frontend::Terminal;
use super::{Exit, Global, Selection, out_file};
use crate::ops::{open, plan};
use crate::step::{Edge, StepId};
use crate::{ui, workspace};

#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    #[command(flatten)]
    selection: Selection,
    /// The format; by default what FILE's name ends in, and dot without a file
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write to FILE instead of standard output
    #[arg(long = "out", short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Draw every wheel layer, and every arrow that a longer way implies
    #[arg(long)]
    all: bool,
    /// Draw the steps alone, without actions and keys
    #[arg(long)]
    plain: bool,
}

/// How a graph is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Graphviz's language
    Dot,
    /// Mermaid's language, which GitHub draws inside of Markdown
    Mermaid,
    /// A picture, made without Graphviz
    Svg,
}

impl Format {
    fn words(self) -> &'static str {
        match self {
            Self::Dot => "graph in Graphviz's language",
            Self::Mermaid => "graph in Mermaid's language",
            Self::Svg => "picture that `goatbuild graph` drew",
        }
    }

    /// Whether a text begins like what this command writes.
    fn begins(self, head: &str) -> bool {
        match self {
            Self::Dot => head.starts_with("digraph ") && head.contains("\n  rankdir=LR;\n"),
            Self::Mermaid => head.starts_with("flowchart LR\n"),
            Self::Svg => {
                head.starts_with("<svg ") && head.contains("aria-labelledby=\"title desc\"")
            }
        }
    }
}

/// The ending of the file says nothing.
#[derive(Debug, Error, Diagnostic)]
#[error("`{}` does not say which format is wanted", file.display())]
#[diagnostic(
    code(goatbuild::usage::graph_format),
    help("let it end in .svg, .dot, .gv, .mmd or .mermaid, or say `--format`")
)]
struct NoFormat {
    file: PathBuf,
}

pub(crate) async fn run(global: &Global, arguments: &GraphArgs) -> Result<Exit, Report> {
    let format = match (arguments.format, &arguments.output) {
        (Some(format), _) => format,
        (None, Some(file)) => by_ending(file).ok_or_else(|| NoFormat { file: file.clone() })?,
        (None, None) => Format::Dot,
    };
    if let Some(file) = &arguments.output {
        out_file::may_write(file, format.words(), |head| format.begins(head))?;
    }
    let (site, terminal) = (global.site()?, Terminal::default());
    let request = arguments.selection.request();
    let workspace = open::asked(&site, &terminal, &request)?;
    let options = plan::settling(&workspace, &request);
    let planned = plan::plan(&workspace, &terminal, &request, options).await?;
    let orders = |from: &StepId, to: &StepId| {
        let inputs = planned.graph.get(to).map(|step| &*step.head().inputs).unwrap_or_default();
        let mut between = inputs.iter().filter(|input| input.step == *from);
        between.all(|input| !matches!(input.edge, Edge::Consumes(_)))
    };
    let drawn = ui::Drawn { all: arguments.all, plain: arguments.plain };
    let title = workspace.project.id.as_str();
    let diagram = ui::diagram(title, &planned.plan, drawn, &orders);
    let text = match format {
        Format::Dot => diagram.to_dot(),
        Format::Mermaid => diagram.to_mermaid(),
        Format::Svg => diagram.to_svg(),
    };
    match &arguments.output {
        Some(file) => workspace::write(file, text.as_bytes())?,
        None => ui::print_text(&text),
    }
    Ok(Exit::Done)
}

fn by_ending(file: &Path) -> Option<Format> {
    match file.extension()?.to_str()? {
        "svg" => Some(Format::Svg),
        "dot" | "gv" => Some(Format::Dot),
        "mmd" | "mermaid" => Some(Format::Mermaid),
        _ => None,
    }
}
