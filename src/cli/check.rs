//! `goatbuild check`.

use miette::Report;

use super::frontend::Terminal;
use super::{Exit, Global};
use crate::ops::check::{self, Finding};
use crate::ui;

pub(crate) async fn run(global: &Global) -> Result<Exit, Report> {
    let tell = |finding| match finding {
        Finding::Checked(check) => ui::print_check(&check),
        Finding::Warned(warnings) => ui::print_warnings(&warnings),
    };
    let fine = check::check(&global.site()?, &Terminal::default(), &tell).await?;
    Ok(if fine { Exit::Done } else { Exit::Failed })
}
