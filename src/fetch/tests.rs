use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::double::{Answer, Server};
use super::file::part_name;
use super::*;
use crate::event::Progress;

pub(super) fn fetcher() -> Fetcher {
    let patience = Patience {
        attempts: 3,
        first_wait: Duration::from_millis(5),
        longest_wait: Duration::from_secs(2),
        stall: Duration::from_millis(300),
    };
    Fetcher::new(false, patience)
}

pub(super) fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
}

pub(super) fn expected(body: &[u8]) -> Expected {
    Expected {
        size: Some(body.len() as u64),
        sha256: sha256_of(&mut std::io::Cursor::new(body)).unwrap(),
    }
}

/// A reporter that adds up what is done.
pub(super) fn counting() -> (Reporter, Arc<AtomicU64>) {
    let done = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&done);
    let emit = move |progress| {
        if let Progress::Advance(amount) = progress {
            counter.fetch_add(amount, Ordering::Relaxed);
        }
    };
    (Reporter::new(Arc::new(emit), Arc::new(AtomicBool::new(false))), done)
}

/// What a download of `body` from these sources came to.
struct Fetched {
    outcome: Result<String, FetchError>,
    bytes: Option<Vec<u8>>,
    part: Option<u64>,
    done: u64,
}

async fn fetch(sources: &[String], body: &[u8], left_over: Option<&[u8]>) -> Fetched {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("file");
    if let Some(left_over) = left_over {
        std::fs::write(part_name(&to), left_over).unwrap();
    }
    let (reporter, done) = counting();
    let outcome = fetcher().file("file", sources, &expected(body), &to, &reporter).await;
    Fetched {
        outcome: outcome.map(|url| url.unwrap_or_default().to_owned()),
        bytes: std::fs::read(&to).ok(),
        part: std::fs::metadata(part_name(&to)).ok().map(|found| found.len()),
        done: done.load(Ordering::Relaxed),
    }
}

#[tokio::test]
async fn a_file_appears_under_its_name_alone() {
    let server = Server::start().await;
    let body = body(100_000);
    let url = server.on("/f", vec![Answer::Whole(body.clone())]);
    let fetched = fetch(std::slice::from_ref(&url), &body, None).await;
    assert_eq!(fetched.outcome.unwrap(), url);
    assert_eq!(fetched.bytes.as_deref(), Some(&body[..]));
    assert_eq!((fetched.part, fetched.done), (None, 100_000));
}

#[tokio::test]
async fn a_truncated_body_is_resumed_and_counted_once() {
    let server = Server::start().await;
    let body = body(100_000);
    let url =
        server.on("/f", vec![Answer::Truncated(body.clone(), 30_000), Answer::Whole(body.clone())]);
    let fetched = fetch(&[url], &body, None).await;
    assert_eq!(fetched.bytes.as_deref(), Some(&body[..]));
    assert_eq!(fetched.done, 100_000);
    assert_eq!(server.ranges("/f"), [None, Some("bytes=30000-".to_owned())]);
}

#[tokio::test]
async fn a_server_without_ranges_starts_again_and_counts_once() {
    let server = Server::start().await;
    let body = body(50_000);
    let url = server.on("/f", vec![Answer::NoRanges(body.clone())]);
    let fetched = fetch(&[url], &body, Some(&body[..20_000])).await;
    assert_eq!(fetched.bytes.as_deref(), Some(&body[..]));
    assert_eq!(fetched.done, 50_000);
}

#[tokio::test]
async fn progress_renews_patience() {
    let server = Server::start().await;
    let body = body(8 << 20);
    let mut answers = vec![Answer::Truncated(body.clone(), 1_200_000); 6];
    answers.push(Answer::Whole(body.clone()));
    let url = server.on("/f", answers);
    let fetched = fetch(&[url], &body, None).await;
    assert_eq!(fetched.bytes.map(|bytes| bytes.len()), Some(body.len()));
    assert_eq!(server.ranges("/f").len(), 7);
}

#[tokio::test]
async fn a_spoiled_left_over_is_fetched_anew() {
    let server = Server::start().await;
    let body = body(50_000);
    let url = server.on("/f", vec![Answer::Whole(body.clone())]);
    for length in [20_000, 50_000, 60_000] {
        let left_over = vec![0; length];
        let fetched = fetch(std::slice::from_ref(&url), &body, Some(&left_over)).await;
        assert_eq!(fetched.bytes.as_deref(), Some(&body[..]), "{length} bytes");
    }
}

#[tokio::test]
async fn a_complete_left_over_needs_no_request() {
    let server = Server::start().await;
    let body = body(50_000);
    let url = server.on("/f", vec![Answer::Status(500, None)]);
    let fetched = fetch(&[url], &body, Some(&body)).await;
    assert_eq!(fetched.bytes.as_deref(), Some(&body[..]));
    assert_eq!((server.ranges("/f").len(), fetched.done), (0, 50_000));
}

#[tokio::test]
async fn server_errors_are_tried_again() {
    let server = Server::start().await;
    let body = body(1000);
    let url = server.on("/f", vec![Answer::Status(500, None), Answer::Whole(body.clone())]);
    assert!(fetch(&[url], &body, None).await.outcome.is_ok());

    let url = server.on("/g", vec![Answer::Status(503, None)]);
    let outcome = fetch(&[url], &body, None).await.outcome;
    assert!(matches!(outcome, Err(FetchError::Status { status: 503, attempts: 3, .. })));
    assert_eq!(server.ranges("/g").len(), 3);
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let server = Server::start().await;
    let url = server.on("/f", vec![Answer::Status(429, Some(1)), Answer::Whole(vec![1])]);
    let started = Instant::now();
    assert_eq!(fetcher().bytes(&url, None, 10).await.unwrap(), [1]);
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_wait_that_was_asked_for_is_told_and_ends_when_the_work_should_stop() {
    let server = Server::start().await;
    let url = server.on("/f", vec![Answer::Status(503, Some(200))]);
    let (stop, told) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let (stopper, said) = (Arc::clone(&stop), Arc::clone(&told));
    let emit = move |progress| {
        if let Progress::Waits(wait) = progress {
            said.lock().unwrap().push(wait.to_string());
            stopper.store(true, Ordering::Relaxed);
        }
    };
    let reporter = Reporter::new(Arc::new(emit), stop);
    let fetcher = Fetcher::new(false, Patience::default());
    let (directory, started) = (tempfile::tempdir().unwrap(), Instant::now());
    let to = directory.path().join("f");
    let sources = [url.clone()];
    let outcome = fetcher.file("file", &sources, &expected(b"x"), &to, &reporter).await;
    assert!(matches!(outcome, Err(FetchError::Cancelled(_))), "{outcome:?}");
    let outcome = fetcher.telling(&reporter).bytes(&url, None, 10).await;
    assert!(matches!(outcome, Err(FetchError::Cancelled(_))), "{outcome:?}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let told = told.lock().unwrap();
    let host = server.url.trim_start_matches("http://");
    let wanted = format!("{host} asks for 200 s of patience; waiting until ");
    assert!(told.len() == 2 && told.iter().all(|line| line.starts_with(&wanted)), "{told:?}");
}

#[tokio::test]
async fn an_hour_is_not_waited_for() {
    let server = Server::start().await;
    let url = server.on("/f", vec![Answer::Status(429, Some(3600))]);
    let outcome = fetch(&[url], b"x", None).await;
    let error = outcome.outcome.unwrap_err();
    assert!(error.to_string().ends_with("1 time(s); it answers again in 3600 s"), "{error}");
    assert_eq!((server.ranges("/f").len(), outcome.part), (1, None));
}

#[tokio::test]
async fn a_missing_file_is_asked_for_once() {
    let server = Server::start().await;
    let url = format!("{}/none", server.url);
    let outcome = fetch(&[url], b"x", None).await.outcome;
    assert!(matches!(outcome, Err(FetchError::Gone { status: 404, .. })));
    assert_eq!(server.ranges("/none").len(), 1);
}

#[tokio::test]
async fn the_next_source_serves_what_one_lacks_or_has_wrong() {
    let server = Server::start().await;
    let body = body(10_000);
    let wrong = server.on("/wrong", vec![Answer::Whole(vec![0; 10_000])]);
    let long = server.on("/long", vec![Answer::Whole(vec![0; 10_001])]);
    let good = server.on("/good", vec![Answer::Whole(body.clone())]);
    let sources = [format!("{}/none", server.url), wrong, long, good.clone()];
    assert_eq!(fetch(&sources, &body, None).await.outcome.unwrap(), good);
}

#[tokio::test]
async fn wrong_bytes_are_never_kept() {
    let server = Server::start().await;
    let url = server.on("/f", vec![Answer::Whole(vec![0; 1000])]);
    let fetched = fetch(&[url], &body(1000), None).await;
    assert!(matches!(fetched.outcome, Err(FetchError::Mismatch { what: "SHA-256", .. })));
    assert_eq!((fetched.bytes, fetched.part), (None, None));
    assert_eq!(server.ranges("/f").len(), 1);
}

#[tokio::test]
async fn a_wrong_file_says_more_than_a_missing_one() {
    let server = Server::start().await;
    let wrong = server.on("/wrong", vec![Answer::Whole(vec![0; 5])]);
    let sources = [wrong, format!("{}/none", server.url)];
    let outcome = fetch(&sources, &body(5), None).await.outcome;
    assert!(matches!(outcome, Err(FetchError::Mismatch { .. })));
}

#[tokio::test]
async fn slow_is_fine_but_silence_is_not() {
    let server = Server::start().await;
    let body = body(1000);
    let slow = Answer::Slow(body.clone(), 5, Duration::from_millis(100));
    let url = server.on("/slow", vec![slow]);
    assert!(fetch(&[url], &body, None).await.outcome.is_ok());

    let url = server.on("/stalled", vec![Answer::Stalled]);
    let outcome = fetch(&[url], &body, None).await.outcome;
    assert!(matches!(outcome, Err(FetchError::Network { .. })));
}

#[tokio::test]
async fn what_drips_is_given_up() {
    let server = Server::start().await;
    let body = body(100);
    let drop = Answer::Slow(body.clone(), 100, Duration::from_millis(50));
    let url = server.on("/drips", vec![drop]);
    let error = fetch(std::slice::from_ref(&url), &body, None).await.outcome.unwrap_err();
    assert!(error.to_string().contains("too slow: "), "{error}");
    let error = fetcher().bytes(&url, None, 999).await.unwrap_err();
    assert!(error.to_string().contains("too slow: "), "{error}");
}

#[tokio::test]
async fn a_head_that_drips_is_given_up_too() {
    let server = Server::start().await;
    let url = server.on("/drips", vec![Answer::DrippingHead]);
    // On a busy machine a single byte may be late as well.
    let given_up =
        |text: &str| ["too slow: no whole head", "timed out"].iter().any(|it| text.contains(it));
    let error = fetcher().bytes(&url, None, 999).await.unwrap_err();
    assert!(given_up(&error.to_string()), "{error}");
    let error = fetch(&[url], &body(100), None).await.outcome.unwrap_err();
    assert!(given_up(&error.to_string()), "{error}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let server = Server::start().await;
    let url = server.on("/f", vec![Answer::Whole(body(1000))]);
    let outcome = fetcher().bytes(&url, None, 999).await;
    assert!(matches!(outcome, Err(FetchError::TooLarge { limit: 999, .. })));
}

#[tokio::test]
async fn no_message_shows_a_password() {
    let server = Server::start().await;
    let url = server.url.replace("http://", "http://me:secret@") + "/none";
    let error = fetcher().bytes(&url, None, 10).await.unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn offline_asks_nobody() {
    let server = Server::start().await;
    let url = server.on("/f", vec![Answer::Whole(vec![1])]);
    let offline = Fetcher::new(true, Patience::default());
    let outcome = offline.bytes(&url, None, 10).await;
    assert!(matches!(outcome, Err(FetchError::Offline { .. })));
    assert!(server.ranges("/f").is_empty());
}

#[tokio::test]
async fn a_cancelled_download_stops_and_keeps_its_part() {
    let server = Server::start().await;
    let body = body(10_000);
    let url = server.on("/f", vec![Answer::Whole(body.clone())]);
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("file");
    std::fs::write(part_name(&to), &body[..100]).unwrap();
    let reporter = Reporter::new(Arc::new(|_| ()), Arc::new(AtomicBool::new(true)));
    let sources = [url];
    let outcome = fetcher().file("file", &sources, &expected(&body), &to, &reporter).await;
    assert!(matches!(outcome, Err(FetchError::Cancelled(_))));
    assert!(!to.exists() && part_name(&to).exists());
}
