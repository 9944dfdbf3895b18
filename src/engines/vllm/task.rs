//! What vLLM does with a model: by what its flags say, and otherwise by its architecture.

use crate::engine::Locked;
use crate::spec::{Api, Model, Value};

/// What architectures are for by the ends of their names, the first that fits: `_SUFFIX_TO_DEFAULTS` of
/// `vllm/config/model.py`, in which what classifies is asked for scores.
const SUFFIXES: [(&str, Api); 14] = [
    ("ForCausalLM", Api::Chat),
    ("ForConditionalGeneration", Api::Chat),
    ("ChatModel", Api::Chat),
    ("LMHeadModel", Api::Chat),
    ("ForTextEncoding", Api::Embeddings),
    ("EmbeddingModel", Api::Embeddings),
    ("ForSequenceClassification", Api::Rerank),
    ("ForAudioClassification", Api::Chat),
    ("ForImageClassification", Api::Chat),
    ("ForVideoClassification", Api::Chat),
    ("ClassificationModel", Api::Chat),
    ("ForRewardModeling", Api::Chat),
    ("RewardModel", Api::Chat),
    ("Model", Api::Embeddings),
];

/// Architectures that hear and do nothing else: `supports_transcription_only` in their classes.
const HEAR: [&str; 2] = ["WhisperForConditionalGeneration", "CohereAsrForConditionalGeneration"];

/// What flags call what there is, up to 0.10 and since.
const TASKS: [(&str, &[(&str, Api)]); 2] = [
    (
        "task",
        &[
            ("embed", Api::Embeddings),
            ("embedding", Api::Embeddings),
            ("classify", Api::Rerank),
            ("score", Api::Rerank),
            ("transcription", Api::Transcriptions),
            ("generate", Api::Chat),
        ],
    ),
    ("convert", &[("embed", Api::Embeddings), ("classify", Api::Rerank)]),
];

/// What a model is for.
pub(super) fn api(model: &Model, locked: &Locked) -> Api {
    let said = TASKS.iter().find_map(|(flag, words)| {
        let Value::String(said) = &model.engine.flags.get(*flag)?.value else { return None };
        words.iter().find(|(word, _)| word == said).map(|(_, api)| *api)
    });
    if let Some(api) = said {
        return api;
    }
    let Some(architecture) = locked.architectures.first() else { return Api::Chat };
    if HEAR.contains(&&**architecture) {
        return Api::Transcriptions;
    }
    let by_name = SUFFIXES.iter().find(|(end, _)| architecture.ends_with(end));
    match by_name.map_or(Api::Chat, |(_, api)| *api) {
        // One that was trained for embeddings goes by the name of what it was made of.
        Api::Chat if locked.is_pooled => Api::Embeddings,
        api => api,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::vllm::tests::model;

    /// Architectures out of the configurations of `BAAI/bge-m3`, `BAAI/bge-reranker-v2-m3`,
    /// `Qwen/Qwen3-Embedding-0.6B` (which has `1_Pooling/config.json`), `openai/whisper-large-v3`,
    /// `openai/gpt-oss-20b`, `google/gemma-3-4b-it`, and one that nobody knows.
    #[test]
    fn models_are_for_what_their_architecture_says() {
        for (architecture, is_pooled, expected) in [
            ("XLMRobertaModel", true, Api::Embeddings),
            ("XLMRobertaModel", false, Api::Embeddings),
            ("XLMRobertaForSequenceClassification", false, Api::Rerank),
            ("Qwen3ForCausalLM", true, Api::Embeddings),
            ("Qwen3ForCausalLM", false, Api::Chat),
            ("WhisperForConditionalGeneration", false, Api::Transcriptions),
            ("GptOssForCausalLM", false, Api::Chat),
            ("Gemma3ForConditionalGeneration", false, Api::Chat),
            ("Goat", false, Api::Chat),
        ] {
            let architectures = vec![architecture.to_owned()];
            let locked = Locked { architectures, is_pooled, ..Locked::default() };
            assert_eq!(api(&model(""), &locked), expected, "{architecture}");
        }
    }

    #[test]
    fn what_flags_say_counts_more() {
        let architectures = vec!["Qwen3ForCausalLM".to_owned()];
        let locked = Locked { architectures, ..Locked::default() };
        let said = |flag: &str| api(&model(&format!("[engine]\n{flag}\n")), &locked);
        assert_eq!(said("task = \"score\""), Api::Rerank);
        assert_eq!(said("convert = \"embed\""), Api::Embeddings);
        assert_eq!(said("convert = \"none\""), Api::Chat);
    }
}
