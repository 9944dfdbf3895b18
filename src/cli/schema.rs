//! `goatbuild schema`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use miette::Report;

use super::Exit;
use crate::spec::Document;
use crate::{project, ui, workspace};

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// The kind of file
    #[arg(value_enum, required_unless_present = "write")]
    document: Option<Which>,
    /// Write all three into DIR instead
    #[arg(long, value_name = "DIR", conflicts_with = "document")]
    write: Option<PathBuf>,
}

/// A kind of file that a user writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// goatbuild.toml
    Project,
    /// specs/MODEL.toml
    Spec,
    /// images/IMAGE.toml
    Image,
}

pub(crate) fn run(arguments: &SchemaArgs) -> Result<Exit, Report> {
    if let Some(directory) = &arguments.write {
        write(directory)?;
    }
    if let Some(which) = arguments.document {
        let document = match which {
            Which::Project => Document::Project,
            Which::Spec => Document::Spec,
            Which::Image => Document::Image,
        };
        ui::print_text(&document.schema(&project::kinds()));
    }
    Ok(Exit::Done)
}

/// Writes all schemas into a directory.
pub(crate) fn write(directory: &Path) -> Result<(), Report> {
    for document in Document::ALL {
        workspace::write(
            &directory.join(document.file_name()),
            document.schema(&project::kinds()).as_bytes(),
        )?;
    }
    Ok(())
}
