//! A client for the `OpenAI` API as model servers speak it: only what trying one out needs.

mod credentials;
mod error;
mod others;

use std::time::{Duration, Instant};

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use serde_json::{Value, json};

use crate::fetch::{client_builder, innermost};
pub use credentials::{Credentials, NoKey};
pub use error::ApiError;
pub use others::{Form, asked};

/// Modal's proxy sends a request on every 150 seconds: enough for any start that Modal allows.
const REDIRECTS: usize = 600;

/// No answer to a short question is larger.
const LARGEST: usize = 16 << 20;

/// As much of a refusal is read as tells why.
const REFUSAL: usize = 64 << 10;

/// A server at `base`, such as `http://127.0.0.1:8000/v1`.
#[derive(Debug, Clone)]
pub struct Server {
    client: Client,
    base: String,
    model: String,
    credentials: Credentials,
    /// How long a whole answer may take.
    patience: Duration,
}

/// How a streamed answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streamed {
    /// Until the first piece.
    pub first: Duration,
    /// How many pieces.
    pub pieces: usize,
}

impl Server {
    /// A client for the server of one model. Proxies are not used: the server is on this machine.
    pub fn local(base: &str, model: &str, timeout: Duration) -> Result<Self, ApiError> {
        Self::local_with(base, model, timeout, Credentials::default())
    }

    /// The same for a server that asks for a key. Redirects are followed nowhere: they would take it along.
    pub fn local_with(
        base: &str,
        model: &str,
        timeout: Duration,
        credentials: Credentials,
    ) -> Result<Self, ApiError> {
        let mut builder = client_builder().no_proxy();
        if !credentials.is_empty() {
            builder = builder.redirect(Policy::none()).default_headers(credentials.headers());
        }
        Self::built(base, model, builder, timeout, credentials)
    }

    /// A client for a server elsewhere, behind the usual proxies. Redirects are followed: whoever
    /// starts a server for a request sends it on, again and again, until that is up. With
    /// credentials they lead to nobody else.
    pub fn remote(
        base: &str,
        model: &str,
        timeout: Duration,
        credentials: Credentials,
    ) -> Result<Self, ApiError> {
        let redirects = if credentials.is_empty() {
            Policy::limited(REDIRECTS)
        } else {
            Policy::custom(|attempt| {
                let from = attempt.previous().last();
                if from.is_none_or(|from| from.origin() != attempt.url().origin()) {
                    attempt.stop()
                } else if attempt.previous().len() > REDIRECTS {
                    attempt.error("too many redirects")
                } else {
                    attempt.follow()
                }
            })
        };
        let builder = client_builder().redirect(redirects);
        // A proxy that has just started a server closes connections that it has nothing more for.
        let builder = builder.pool_max_idle_per_host(0).default_headers(credentials.headers());
        Self::built(base, model, builder, timeout, credentials)
    }

    fn built(
        base: &str,
        model: &str,
        builder: ClientBuilder,
        patience: Duration,
        credentials: Credentials,
    ) -> Result<Self, ApiError> {
        let (base, model) = (base.trim_end_matches('/').to_owned(), model.to_owned());
        match builder.timeout(patience).build() {
            Ok(client) => Ok(Self { client, base, model, credentials, patience }),
            Err(error) => {
                let reason = error.to_string();
                Err(ApiError::Unreachable { url: base, model, reached: false, reason })
            }
        }
    }

    /// The same for another address.
    #[must_use]
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), ..self.clone() }
    }

    /// How long a whole answer may take.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// The HTTP status that `path`, from the server's root, answers with; none without an answer.
    pub async fn status(&self, path: &str) -> Option<u16> {
        let root = self.base.trim_end_matches("/v1");
        let sent = self.client.get(format!("{root}{path}")).send().await;
        sent.ok().map(|response| response.status().as_u16())
    }

    /// The HTTP status that a request without anything in it is answered with, at this path below the base.
    pub async fn status_of_nothing(&self, path: &str) -> Option<u16> {
        let sent = self.client.post(format!("{}/{path}", self.base)).json(&json!({})).send().await;
        sent.ok().map(|response| response.status().as_u16())
    }

    /// The ids that `GET /models` lists.
    pub async fn models(&self) -> Result<Vec<String>, ApiError> {
        let url = format!("{}/models", self.base);
        let sent = self.client.get(&url).send().await;
        let body = self.success(&url, sent).await?;
        let listed = self.parse(&url, &body)?;
        let ids = listed["data"].as_array().map(|models| {
            models.iter().filter_map(|model| model["id"].as_str().map(str::to_owned)).collect()
        });
        ids.ok_or_else(|| self.unexpected(&url, "a list of models", &body))
    }

    /// One short chat completion; gives the text of the answer.
    pub async fn chat(&self, model: &str) -> Result<String, ApiError> {
        let url = format!("{}/chat/completions", self.base);
        let sent = self.client.post(&url).json(&question(model, false)).send().await;
        let body = self.success(&url, sent).await?;
        let message = &self.parse(&url, &body)?["choices"][0]["message"];
        if !message.is_object() {
            return Err(self.unexpected(&url, "a chat completion", &body));
        }
        Ok(message["content"].as_str().unwrap_or_default().to_owned())
    }

    /// The same, streamed.
    pub async fn stream(&self, model: &str) -> Result<Streamed, ApiError> {
        let url = format!("{}/chat/completions", self.base);
        let began = Instant::now();
        let sent = self.client.post(&url).json(&question(model, true)).send().await;
        let mut first = None;
        let arrives = || _ = first.get_or_insert_with(|| began.elapsed());
        let text = self.read(&url, sent, arrives).await?;
        let pieces = text.lines().filter(|line| line.starts_with("data: {")).count();
        match first {
            Some(first) if pieces > 0 && text.contains("data: [DONE]") => {
                Ok(Streamed { first, pieces })
            }
            _ => Err(self.unexpected(&url, "a stream of events that ends with [DONE]", &text)),
        }
    }

    async fn success(
        &self,
        url: &str,
        sent: Result<reqwest::Response, reqwest::Error>,
    ) -> Result<String, ApiError> {
        self.read(url, sent, || ()).await
    }

    /// The body of an answer that says yes; `arrives` is told of each part of it.
    async fn read(
        &self,
        url: &str,
        sent: Result<reqwest::Response, reqwest::Error>,
        mut arrives: impl FnMut(),
    ) -> Result<String, ApiError> {
        let unreachable = |error: reqwest::Error| self.unreachable(url, &error);
        let mut response = sent.map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        let text = |body: &[u8]| self.credentials.hidden(&String::from_utf8_lossy(body));
        if !status.is_success() {
            while let Ok(Some(chunk)) = response.chunk().await {
                body.extend_from_slice(&chunk);
                if body.len() > REFUSAL {
                    break;
                }
            }
            return Err(self.refused(url, status.as_u16(), &text(&body)));
        }
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            arrives();
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST {
                let (url, model) = (url.to_owned(), self.model.clone());
                return Err(ApiError::TooLarge { url, model, limit: LARGEST });
            }
        }
        Ok(text(&body))
    }

    fn parse(&self, url: &str, body: &str) -> Result<Value, ApiError> {
        serde_json::from_str(body).map_err(|_| self.unexpected(url, "JSON", body))
    }

    fn unreachable(&self, url: &str, error: &reqwest::Error) -> ApiError {
        let (url, model) = (url.to_owned(), self.model.clone());
        if error.is_timeout() && !error.is_connect() {
            return ApiError::Late { url, model, within: self.patience };
        }
        // What breaks off without a status may be the fault of anybody on the way.
        let reached = error.is_redirect() && !error.is_connect();
        ApiError::Unreachable { url, model, reached, reason: innermost(error) }
    }

    fn refused(&self, url: &str, status: u16, body: &str) -> ApiError {
        if matches!(status, 401 | 403) && !self.credentials.is_empty() {
            let (url, variables) = (url.to_owned(), self.credentials.variables());
            return ApiError::Denied { url, status, variables };
        }
        let (url, model) = (url.to_owned(), self.model.clone());
        ApiError::Refused { url, model, status, body: start_of(body) }
    }

    /// The error for an answer that isn't what was expected.
    pub fn unexpected(&self, url: &str, expected: &'static str, body: &str) -> ApiError {
        let (url, model) = (url.to_owned(), self.model.clone());
        ApiError::Unexpected { url, model, expected, body: start_of(body) }
    }
}

fn question(model: &str, stream: bool) -> Value {
    json!({
        "model": model,
        "messages": [{ "role": "user", "content": "Say hello." }],
        "max_tokens": 8,
        "stream": stream,
    })
}

fn start_of(body: &str) -> String {
    let mut start: String = body.chars().take(300).collect();
    if start.len() < body.len() {
        start.push('…');
    }
    start
}

/// What a tool call may take to be written down.
const TOOL_TOKENS: u32 = 256;

impl Server {
    /// One chat in which a tool may be called; gives the name of the one that was.
    pub async fn call_tool(&self, model: &str) -> Result<Option<String>, ApiError> {
        let url = format!("{}/chat/completions", self.base);
        let number = json!({ "type": "number" });
        let parameters = json!({
            "type": "object",
            "properties": { "a": number, "b": number },
            "required": ["a", "b"],
        });
        let about = json!({
            "name": "add", "description": "Adds two numbers.", "parameters": parameters,
        });
        let asked = json!({
            "model": model,
            "messages": [{ "role": "user", "content": "What is 2 plus 3? Use the tool." }],
            "max_tokens": TOOL_TOKENS,
            "tools": [{ "type": "function", "function": about }],
            "tool_choice": "auto",
        });
        let sent = self.client.post(&url).json(&asked).send().await;
        let body = self.success(&url, sent).await?;
        let message = &self.parse(&url, &body)?["choices"][0]["message"];
        let calls = match &message["tool_calls"] {
            Value::Null if message.is_object() => return Ok(None),
            Value::Array(calls) => calls,
            _ => return Err(self.unexpected(&url, "a chat completion", &body)),
        };
        let called = |call: &Value| {
            let arguments = call["function"]["arguments"].as_str()?;
            serde_json::from_str::<Value>(arguments).ok()?.as_object()?;
            call["function"]["name"].as_str().map(str::to_owned)
        };
        match calls.iter().map(called).collect::<Option<Vec<_>>>() {
            Some(names) => Ok(names.into_iter().next()),
            None => {
                Err(self.unexpected(&url, "tool calls with names and arguments in JSON", &body))
            }
        }
    }
}

#[cfg(test)]
mod tests;
