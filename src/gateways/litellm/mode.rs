//! What a model is asked for, as `LiteLLM` has it: by whom it is asked, and what its health checks ask.
//!
//! Unless an entry says otherwise (`model_info.mode`), a model that `LiteLLM` doesn't know by its name is
//! asked for a chat (`proxy/health_check.py` and `litellm_core_utils/health_check_helpers.py` of 1.108.7).

use super::Path;
use crate::spec::Api;

/// Where an entry says it.
pub(super) const FIELD: Path = &["model_info", "mode"];

/// The mode that an entry states; none for chats, where whoever states one by hand keeps it.
pub(super) fn of(api: Api) -> Option<&'static str> {
    match api {
        Api::Chat => None,
        Api::Completions => Some("completion"),
        Api::Embeddings => Some("embedding"),
        Api::Rerank => Some("rerank"),
        Api::Transcriptions => Some("audio_transcription"),
    }
}

/// What stands in an entry for a mode; `None` where it is none of these.
pub(super) fn api(mode: Option<&str>) -> Option<Api> {
    let all = [Api::Completions, Api::Embeddings, Api::Rerank, Api::Transcriptions];
    match mode {
        None => Some(Api::Chat),
        mode => all.into_iter().find(|api| of(*api) == mode),
    }
}

/// Whether a model that chats can't be meant: it was one that doesn't.
pub(super) fn is_never_a_chat_s(mode: &str) -> bool {
    [Api::Embeddings, Api::Rerank, Api::Transcriptions].map(of).contains(&Some(mode))
}

/// A model as `LiteLLM` names it: by a provider that knows how to ask. `openai` has no reranking
/// (`rerank_api/main.py`).
pub(super) fn model(api: Api, served_name: &str) -> String {
    format!("{}{served_name}", provider(api))
}

/// The name that a server goes by, out of a name of [`model`]'s.
pub(super) fn served_name(api: Api, model: &str) -> Option<&str> {
    model.strip_prefix(provider(api))
}

fn provider(api: Api) -> &'static str {
    match api {
        Api::Rerank => "hosted_vllm/",
        _ => "openai/",
    }
}
