//! What `[gateway.litellm]` is.

use std::path::Path;

use super::gateway::{LiteLlm, Settings};
use crate::gateways::{Gateway, Kind};
use crate::spec::{Fields, GatewayType, Own};

/// `LiteLLM`, as files speak of it.
#[derive(Debug)]
pub struct LiteLlmType;

impl GatewayType for LiteLlmType {
    fn name(&self) -> &'static str {
        "litellm"
    }

    fn about(&self) -> &'static str {
        "A LiteLLM proxy, by its configuration."
    }

    fn settings(&self, fields: &mut Fields<'_, '_, '_>) -> Option<Own> {
        let about = "The configuration that holds our entries, relative to the project; everything \
                     else in it stays byte for byte.";
        let config = fields.required_path("config", "litellm.yaml", about);
        let about =
            "A second file that holds the same entries, commented out; relative to the project.";
        let mirror = fields.path("mirror", about);
        let about = "What to run after the file changed: a program and its arguments.";
        let reload = fields.command("reload", about);
        Some(Own::new(Settings { config: config?, mirror, reload }))
    }

    fn example(&self) -> &'static str {
        "config = \"FILE\""
    }
}

impl Kind for LiteLlmType {
    fn open(&self, root: &Path, project: &str, settings: &Own) -> Box<dyn Gateway> {
        Box::new(LiteLlm::new(root, project, settings.get()))
    }
}
