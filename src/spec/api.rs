//! What a model is asked for.

/// The part of the `OpenAI` API that a model answers, or what engines have beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Api {
    /// Chats.
    #[default]
    Chat,
    /// The rest of a text: for models without a chat template.
    Completions,
    /// Vectors of texts.
    Embeddings,
    /// Which of several texts fits a question best: Cohere's API, which `OpenAI`'s has nothing of.
    Rerank,
    /// The words of a recording.
    Transcriptions,
}

/// As specs write it.
pub(super) const APIS: [(&str, Api); 5] = [
    ("chat", Api::Chat),
    ("completions", Api::Completions),
    ("embeddings", Api::Embeddings),
    ("rerank", Api::Rerank),
    ("transcriptions", Api::Transcriptions),
];

impl Api {
    /// What it is called where it is told what was asked.
    pub fn word(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "text",
            Self::Embeddings => "embed",
            Self::Rerank => "rerank",
            Self::Transcriptions => "hear",
        }
    }

    /// Where it is answered, below the base of the API.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Transcriptions => "audio/transcriptions",
        }
    }
}
