//! What models answer that don't chat: requests and answers as `OpenAI`'s API reference has them, and for
//! reranking as vLLM has taken them over from Cohere.

use serde_json::{Value, json};

use super::{ApiError, Server};
use crate::spec::Api;

/// What stands between the parts of a form; nothing in them is like it.
const BOUNDARY: &str = "goatbuild-0b6f9c2e5d";

/// A request's body, in parts: what somebody else sends needn't hold all of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Its media type.
    pub kind: String,
    /// How it begins.
    pub begin: Vec<u8>,
    /// So many zeros follow.
    pub zeros: usize,
    /// How it ends.
    pub end: String,
}

/// What a model is asked for, for it to show that it answers.
pub fn asked(api: Api, model: &str) -> Form {
    let asked = match api {
        Api::Transcriptions => return recording(model),
        Api::Chat => super::question(model, false),
        Api::Completions => json!({ "model": model, "prompt": "Say hello.", "max_tokens": 8 }),
        Api::Embeddings => json!({ "model": model, "input": ["Say hello."] }),
        Api::Rerank => json!({
            "model": model,
            "query": "What is the capital of France?",
            "documents": ["Paris is the capital of France.", "Goats climb."],
        }),
    };
    let begin = asked.to_string().into_bytes();
    Form { kind: "application/json".to_owned(), begin, zeros: 0, end: String::new() }
}

/// One second of silence, to be written down.
fn recording(model: &str) -> Form {
    let part = |head: &str| format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n");
    let mut begin = part("name=\"model\"").into_bytes();
    begin.extend(format!("\r\n{model}\r\n").bytes());
    begin.extend(part("name=\"file\"; filename=\"silence.wav\"").bytes());
    begin.extend(b"Content-Type: audio/wav\r\n\r\n");
    begin.extend(silence());
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    Form { kind, begin, zeros: SECOND as usize, end }
}

impl Server {
    /// One short request of this kind; gives what was answered, for people.
    pub async fn answer(&self, api: Api, model: &str) -> Result<String, ApiError> {
        if api == Api::Chat {
            return Ok(format!("{:?}", self.chat(model).await?));
        }
        let Form { kind, begin, zeros, end } = asked(api, model);
        let asked = [begin, vec![0; zeros], end.into_bytes()].concat();
        let url = format!("{}/{}", self.base, api.path());
        let request = self.client.post(&url).header("Content-Type", kind).body(asked);
        let body = self.success(&url, request.send().await).await?;
        let answered = self.parse(&url, &body)?;
        let (told, expected) = match api {
            Api::Embeddings => (vector(&answered), "a list with a vector of numbers"),
            Api::Rerank => (ranking(&answered), "results with an index and a score for each text"),
            Api::Transcriptions => (text(&answered), "a text"),
            _ => (text(&answered["choices"][0]), "a completion"),
        };
        told.ok_or_else(|| self.unexpected(&url, expected, &body))
    }
}

fn text(value: &Value) -> Option<String> {
    Some(format!("{:?}", value["text"].as_str()?))
}

/// A vector without a number would be as good as none: that is how what overflowed is written.
fn vector(answered: &Value) -> Option<String> {
    let numbers = answered["data"][0]["embedding"].as_array()?;
    let are_numbers = !numbers.is_empty() && numbers.iter().all(Value::is_number);
    are_numbers.then(|| format!("{} numbers", numbers.len()))
}

fn ranking(answered: &Value) -> Option<String> {
    let results = answered["results"].as_array()?;
    let score =
        |result: &Value| Some((result["index"].as_u64()?, result["relevance_score"].as_f64()?));
    let scores = results.iter().map(score).collect::<Option<Vec<_>>>()?;
    let best = scores.iter().max_by(|one, other| one.1.total_cmp(&other.1))?;
    (scores.len() == 2).then(|| format!("text {} fits best, {:.3}", best.0 + 1, best.1))
}

/// Bytes of a second of sound: 16 bits, one channel, 16 kHz, which all models of speech read.
const SECOND: u32 = RATE * 2;
const RATE: u32 = 16_000;

/// How a second of it is told of in WAV; the second itself, of nothing, follows.
fn silence() -> Vec<u8> {
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + SECOND).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16u32.to_le_bytes());
    wav.extend([1, 0, 1, 0]);
    wav.extend(RATE.to_le_bytes());
    wav.extend(SECOND.to_le_bytes());
    wav.extend([2, 0, 16, 0]);
    wav.extend(b"data");
    wav.extend(SECOND.to_le_bytes());
    wav
}
