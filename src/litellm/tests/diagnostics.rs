//! How refusals look to a user.

use miette::{GraphicalReportHandler, GraphicalTheme, Report};

use super::*;

fn shown(error: GatewayError) -> String {
    let mut out = String::new();
    let handler =
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(90);
    handler.render_report(&mut out, Report::new(error).as_ref()).unwrap();
    out
}

fn refused(text: &str) -> String {
    let result = Document::parse("dev/litellm.yaml", text);
    shown(result.and_then(|document| upsert(&document, &entry(), false)).unwrap_err())
}
