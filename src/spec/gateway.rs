//! What a kind of gateway says of files: its own settings. The kinds there are come as a value.

use std::fmt;
use std::sync::Arc;

use super::fields::Fields;
use super::own::Own;

/// A kind of gateway, as far as files speak of it; `gateways` has them.
pub trait GatewayType: Send + Sync {
    /// As the project's file writes it.
    fn name(&self) -> &'static str;

    /// What its settings are settings of, in a sentence.
    fn about(&self) -> &'static str;

    /// Its table in `[gateway]`, field by field; nothing where one that it needs is missing or wrong.
    fn settings(&self, fields: &mut Fields<'_, '_, '_>) -> Option<Own>;

    /// The field that says where its entries are kept, for who wants them somewhere else.
    fn example(&self) -> &'static str;
}

impl fmt::Debug for dyn GatewayType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl PartialEq for dyn GatewayType {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

/// The kinds of gateways that a project may name.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayTypes(Arc<[&'static dyn GatewayType]>);

impl GatewayTypes {
    /// Each with a name of its own.
    pub fn new(types: impl IntoIterator<Item = &'static dyn GatewayType>) -> Self {
        Self(types.into_iter().collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &'static dyn GatewayType> {
        self.0.iter().copied()
    }
}

/// `[gateway]`: the gateway of a project, the first of those that it names.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewaySettings {
    /// What aliases end in that clients know to be of our models, see
    /// [`GatewayEntry`](super::GatewayEntry).
    pub alias_suffix: String,
    /// Which it is.
    pub kind: &'static dyn GatewayType,
    /// What it alone reads and understands.
    pub own: Own,
}
