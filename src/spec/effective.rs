//! Every value that counts for a model, with where it comes from.

use std::fmt;

use super::source::Place;

/// One value that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The field, such as `serve.max-inputs`; the image's fields start with `image:`, the project's
    /// with `project:`.
    pub field: String,
    /// The value as one line of TOML.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The model's or image's own file.
    Spec(Place),
    /// `[defaults]` of the project.
    Defaults(Place),
    /// An override of the chosen environment.
    Environment(Place),
    /// What was asked for and is in `goatbuild.lock`.
    Lock,
    /// goatbuild itself.
    BuiltIn,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(place) => write!(formatter, "{place}"),
            Self::Defaults(place) => write!(formatter, "{place} (defaults)"),
            Self::Environment(place) => write!(formatter, "{place} (environment)"),
            Self::Lock => write!(formatter, "goatbuild.lock"),
            Self::BuiltIn => write!(formatter, "built in"),
        }
    }
}

/// Renders `values` as aligned lines: `field = value  # origin`.
pub fn render_effective(values: &[Effective]) -> String {
    /// Values longer than this don't push the origins of all others to the right.
    const WIDEST: usize = 48;
    let width = |text: &str| text.chars().count();
    let fields = values.iter().map(|value| width(&value.field)).max().unwrap_or(0);
    let widths = values.iter().map(|value| width(&value.value)).filter(|width| *width <= WIDEST);
    let widest = widths.max().unwrap_or(0);
    let mut text = String::new();
    for Effective { field, value, origin } in values {
        let line = format!("{field:<fields$} = {value:<widest$}  # {origin}");
        text.push_str(&line);
        text.push('\n');
    }
    text
}
