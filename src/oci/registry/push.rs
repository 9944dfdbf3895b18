//! Built images, from the project's own layout to a registry.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http_body::{Frame, SizeHint};
use reqwest::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::mpsc;

use super::client::{Access, Registry};
use super::manifest::BlobRef;
use super::{RegistryError, RegistrySettings};
use crate::blocking::{begin, blocking};
use crate::event::Reporter;
use crate::fetch::{Failure, FetchError, Fetcher, answer, client_builder, innermost};
use crate::oci::layout::digest_of;
use crate::oci::{Image, Layout, OciError};
use crate::spec::ImageReference;

/// Blobs that are sent at once.
const PARALLEL: usize = 4;

/// Where uploads begin.
pub(super) const UPLOADS: &str = "blobs/uploads/";

/// Bytes that are read from a blob at once.
const CHUNK: usize = 1 << 18;

/// A registry that has all of a blob may put it in place for so many stalls before it answers.
const COMMIT: u32 = 10;

/// What a push did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Bytes of the blobs that were sent.
    pub sent: u64,
    /// Bytes of the blobs that the registry had.
    pub there: u64,
}

/// Where an image goes.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    /// With a tag, under which it is known there.
    pub reference: &'a ImageReference,
    /// A repository of the same registry that has some of its layers, as that of its base does.
    pub mount: Option<&'a str>,
}

/// Sends what the registry lacks of an image, its manifest last: a tag never names half an image.
pub async fn push(
    fetcher: &Fetcher,
    settings: &RegistrySettings,
    layout: &Layout,
    image: &Image,
    to: Destination<'_>,
    reporter: &Reporter,
) -> Result<Pushed, RegistryError> {
    let mut registry =
        Registry::open(&fetcher.telling(reporter), settings, to.reference, Access::Push);
    registry.mount = to.mount.map(str::to_owned);
    // Fails when the network is forbidden.
    registry.client()?;
    // Its timeout for reading would end an upload: nothing is to be read while bytes are sent.
    let client = client_builder()
        .connect_timeout(fetcher.patience().stall)
        .build()
        .map_err(|error| FetchError::Client { reason: innermost(&error) })?;
    let push = Push { registry, client, layout, reporter };
    push.registry.enter(None).await?;

    let blobs = blobs(image)?;
    reporter.expect(blobs.iter().map(|blob| blob.size).sum());
    // No closure that borrows: what it gives could not be sent to another thread.
    let mut all = Vec::with_capacity(blobs.len());
    for blob in &blobs {
        all.push(push.blob(blob));
    }
    let mut all = stream::iter(all).buffer_unordered(PARALLEL);
    let mut sent = 0;
    while let Some(bytes) = all.try_next().await? {
        sent += bytes;
    }
    push.manifest(image).await?;
    let all: u64 = blobs.iter().map(|blob| blob.size).sum();
    Ok(Pushed { sent, there: all - sent })
}

/// The configuration and the layers, each once.
fn blobs(image: &Image) -> Result<Vec<BlobRef>, OciError> {
    let mut seen = BTreeSet::new();
    let all = image.manifest.layers().iter().chain([image.manifest.config()]);
    let all = all.map(|blob| Ok(BlobRef { digest: digest_of(blob)?, size: blob.size() }));
    let is_new =
        |blob: &Result<BlobRef, _>| blob.as_ref().map_or(true, |it| seen.insert(it.digest));
    all.filter(is_new).collect()
}

struct Push<'a> {
    registry: Registry,
    /// Sends bodies.
    client: Client,
    layout: &'a Layout,
    reporter: &'a Reporter,
}

impl Push<'_> {
    /// Sends a blob if the registry can't have it otherwise; says how many bytes that took.
    async fn blob(&self, blob: &BlobRef) -> Result<u64, RegistryError> {
        let path = format!("blobs/{}", blob.digest);
        match self.registry.request(Method::HEAD, &path, None).await {
            Ok(_) => return self.had(blob),
            Err(RegistryError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        // Bytes of another number would not even be an upload.
        if self.layout.blobs().len(blob.digest)? != blob.size {
            self.undamaged(blob).await?;
        }
        let sent = Arc::new(Sent::default());
        let mut retry = self.registry.retry();
        let mut renewed = false;
        loop {
            let Some(place) = self.begin(blob).await? else { return self.had(blob) };
            let used = self.registry.header().await.filter(|_| self.registry.owns(&place));
            let answer = self.upload(place, used.as_ref(), blob, &sent).await;
            if let Ok(response) = &answer
                && self.registry.is_challenge(response)
                && !renewed
            {
                // Tokens last for minutes, large blobs may take longer.
                renewed = true;
                self.registry.renew(used, response).await?;
                continue;
            }
            let judged = answer.and_then(|response| self.registry.judged(response, &path));
            match judged {
                Ok(_) => return Ok(blob.size),
                // The upload is no longer known there: another one may be.
                Err(Failure::Final(error @ RegistryError::NotFound { .. })) => {
                    retry.pause(Failure::Transient(error, None)).await?;
                }
                Err(Failure::Final(error)) => {
                    self.undamaged(blob).await?;
                    return Err(error);
                }
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    fn had(&self, blob: &BlobRef) -> Result<u64, RegistryError> {
        self.reporter.reused(blob.size);
        self.reporter.advance(blob.size)?;
        Ok(0)
    }

    /// Where to send a blob to; nowhere when it could be mounted.
    async fn begin(&self, blob: &BlobRef) -> Result<Option<Url>, RegistryError> {
        let post = async |path: &str| self.registry.request(Method::POST, path, None).await;
        let mut answer = None;
        if let Some(from) = self.registry.mount() {
            // Both are plain enough for a query as they are.
            let path = format!("{UPLOADS}?mount={}&from={from}", blob.digest);
            answer = match post(&path).await {
                // To have no access to the other repository is no reason to fail.
                Err(RegistryError::Denied { .. } | RegistryError::Unauthorized { .. }) => {
                    self.registry.forget_mount();
                    None
                }
                answer => Some(answer),
            };
        }
        let answer = match answer {
            Some(answer) => answer,
            None => post(UPLOADS).await,
        };
        let response = answer.map_err(|error| match error {
            RegistryError::NotFound { registry, repository, .. } => {
                RegistryError::NotFound { registry, repository, name: String::new() }
            }
            error => error,
        })?;
        if response.status() == StatusCode::CREATED {
            return Ok(None);
        }
        let wrong = |reason: &str| RegistryError::Upload {
            registry: self.registry.reference.registry.clone(),
            reason: reason.to_owned(),
        };
        let location = response.headers().get(LOCATION).and_then(|place| place.to_str().ok());
        let place = location.and_then(|place| response.url().join(place).ok());
        let mut place = place.ok_or_else(|| wrong("it names no place for the bytes"))?;
        if place.scheme() != "https" && self.registry.has_tls() {
            return Err(wrong("it wants the bytes at a place without TLS"));
        }
        place.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        Ok(Some(place))
    }

    async fn upload(
        &self,
        place: Url,
        authorization: Option<&HeaderValue>,
        blob: &BlobRef,
        sent: &Arc<Sent>,
    ) -> Result<Response, Failure<RegistryError>> {
        let failed = |error: crate::oci::OciError| Failure::Final(RegistryError::from(error));
        let file = self.layout.blobs().open_blob(blob.digest).map_err(failed)?;
        sent.now.store(0, Ordering::Relaxed);
        let body = Streamed::start(file, blob.size, Arc::clone(sent), self.reporter.clone());
        let request = self
            .client
            .request(Method::PUT, place)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(Body::wrap(body));
        self.watched(Registry::authorized(request, authorization), blob, sent).await
    }

    /// Waits for the answer as long as bytes go.
    async fn watched(
        &self,
        request: RequestBuilder,
        blob: &BlobRef,
        sent: &Sent,
    ) -> Result<Response, Failure<RegistryError>> {
        let answer = request.send();
        tokio::pin!(answer);
        let stall = self.registry.fetcher.patience().stall;
        loop {
            let before = sent.now.load(Ordering::Relaxed);
            let patience = if before == blob.size { stall * COMMIT } else { stall };
            match tokio::time::timeout(patience, &mut answer).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => {
                    self.reporter.check().map_err(|stop| Failure::Final(stop.into()))?;
                    return Err(self.registry.broken(&error, &blob.digest.to_string()));
                }
                Err(_) if sent.now.load(Ordering::Relaxed) > before => {}
                Err(_) => {
                    let error = RegistryError::Network {
                        registry: self.registry.reference.registry.clone(),
                        reason: format!("nothing moved for {} s", patience.as_secs()),
                        attempts: self.registry.fetcher.patience().attempts,
                    };
                    return Err(Failure::Transient(error, None));
                }
            }
        }
    }

    /// A registry refuses bytes that are not those of their digest: whose fault is it?
    async fn undamaged(&self, blob: &BlobRef) -> Result<(), RegistryError> {
        let (layout, digest) = (self.layout.clone(), blob.digest);
        let verify = move || layout.blobs().verify(digest, &Reporter::silent());
        Ok(blocking(verify).await?)
    }

    async fn manifest(&self, image: &Image) -> Result<(), RegistryError> {
        let bytes = self.layout.blobs().read(image.digest)?;
        let kind = image.manifest.media_type().as_ref().map_or_else(
            || "application/vnd.oci.image.manifest.v1+json".to_owned(),
            ToString::to_string,
        );
        let path = format!("manifests/{}", self.registry.reference.name());
        let url = self.registry.url(&path);
        let mut retry = self.registry.retry();
        let mut renewed = false;
        let response = loop {
            let used = self.registry.header().await;
            let request = self.registry.client()?.put(&url).header(CONTENT_TYPE, &kind);
            let request = Registry::authorized(request.body(bytes.clone()), used.as_ref());
            let sent = answer(request, self.registry.fetcher.patience().stall).await;
            if let Ok(response) = &sent
                && self.registry.is_challenge(response)
                && !renewed
            {
                renewed = true;
                self.registry.renew(used, response).await?;
                continue;
            }
            let sent = sent.map_err(|unanswered| self.registry.unanswered(unanswered, &path));
            match sent.and_then(|response| self.registry.judged(response, &path)) {
                Ok(response) => break response,
                Err(failure) => retry.pause(failure).await?,
            }
        };
        let said = response.headers().get("docker-content-digest");
        match said.and_then(|digest| digest.to_str().ok()) {
            Some(found) if found.parse() != Ok(image.digest) => Err(RegistryError::Digest {
                what: format!("what {} made of the manifest", self.registry.reference.registry),
                expected: image.digest,
                found: found.to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// How much of a blob has gone.
#[derive(Default)]
struct Sent {
    /// In this attempt.
    now: AtomicU64,
    /// In any attempt at most: what goes twice is counted once.
    most: AtomicU64,
}

/// A blob on its way from the disk, a few chunks of it in memory.
struct Streamed {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
    sent: Arc<Sent>,
    reporter: Reporter,
}

impl Streamed {
    fn start(file: File, size: u64, sent: Arc<Sent>, reporter: Reporter) -> Self {
        let (sender, chunks) = mpsc::channel(2);
        // Ends when it has sent all, or when nobody receives any more.
        begin(move || read(file, &sender));
        Self { chunks, left: size, sent, reporter }
    }
}

fn read(mut file: File, to: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut buffer = vec![0; CHUNK];
        let chunk = match file.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                buffer.truncate(read);
                Ok(Bytes::from(buffer))
            }
            Err(error) => Err(error),
        };
        let is_last = chunk.is_err();
        if to.blocking_send(chunk).is_err() || is_last {
            return;
        }
    }
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let chunk = match self.chunks.poll_recv(context) {
            Poll::Ready(Some(Ok(chunk))) => chunk,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(None) if self.left > 0 => {
                let reason = format!("it ends {} bytes early", self.left);
                return Poll::Ready(Some(Err(io::Error::other(reason))));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        let length = chunk.len() as u64;
        self.left = self.left.saturating_sub(length);
        let now = self.sent.now.fetch_add(length, Ordering::Relaxed) + length;
        let most = self.sent.most.fetch_max(now, Ordering::Relaxed);
        if self.reporter.advance(now.saturating_sub(most)).is_err() {
            return Poll::Ready(Some(Err(io::Error::other("interrupted"))));
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}
