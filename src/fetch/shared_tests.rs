//! One file that several want at once.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::future::join_all;

use super::double::{Answer, Server};
use super::file::part_name;
use super::file_lock::{Waiting, who_holds};
use super::tests::{body, counting, expected, fetcher};
use super::*;
use crate::event::Progress;

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_wants_a_file_that_is_being_fetched_gets_that_one() {
    let server = Server::start().await;
    for (at, pieces) in [1, 7, 40].into_iter().enumerate() {
        let body = body(200_000 + at);
        let slow = Answer::Slow(body.clone(), pieces, Duration::from_millis(5));
        let path = format!("/{at}");
        let sources = [server.on(&path, vec![slow])];
        let directory = tempfile::tempdir().unwrap();
        let to = directory.path().join("file");
        let all = join_all((0..8).map(|_| async {
            let (reporter, done) = counting();
            // Fetchers of their own, as other commands have.
            let outcome = fetcher().file("file", &sources, &expected(&body), &to, &reporter).await;
            (outcome.unwrap().is_some(), done.load(Ordering::Relaxed))
        }));
        let all = all.await;
        assert_eq!(server.ranges(&path), [None]);
        assert_eq!(all.iter().filter(|(fetched, _)| *fetched).count(), 1);
        assert!(all.iter().all(|(_, done)| *done == body.len() as u64), "{all:?}");
        assert_eq!(std::fs::read(&to).unwrap(), body);
        assert_eq!(names(directory.path()), ["file"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_writer_that_fails_makes_way_for_the_next() {
    let server = Server::start().await;
    let body = body(50_000);
    let answers = vec![
        Answer::Status(404, None),
        Answer::Whole(vec![0; 50_000]),
        Answer::Status(403, None),
        Answer::Whole(body.clone()),
    ];
    let sources = [server.on("/f", answers)];
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("file");
    let all = join_all((0..6).map(|_| async {
        let reporter = Reporter::silent();
        fetcher()
            .file("file", &sources, &expected(&body), &to, &reporter)
            .await
            .map(|url| url.is_some())
    }));
    let all = all.await;
    assert_eq!(all.iter().filter(|outcome| outcome.is_err()).count(), 3, "{all:?}");
    assert_eq!(all.iter().filter(|outcome| matches!(outcome, Ok(true))).count(), 1, "{all:?}");
    assert_eq!(std::fs::read(&to).unwrap(), body);
    assert_eq!(names(directory.path()), ["file"]);
}

#[tokio::test]
async fn what_a_dead_writer_left_is_gone_on_with() {
    let server = Server::start().await;
    let body = body(50_000);
    let sources = [server.on("/f", vec![Answer::Whole(body.clone())])];
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("file");
    let held = FileLock::attempt(&part_name(&to)).unwrap().expect("nobody has it");
    std::fs::write(part_name(&to), &body[..20_000]).unwrap();
    let (reporter, done) = counting();
    let (fetcher, expected) = (fetcher(), expected(&body));
    let fetching = fetcher.file("file", &sources, &expected, &to, &reporter);
    let dies = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(server.ranges("/f").is_empty() && !to.exists());
        // What the other one fetches is seen.
        assert_eq!(done.load(Ordering::Relaxed), 20_000);
        drop(held);
    };
    let (outcome, ()) = tokio::join!(fetching, dies);
    assert!(outcome.unwrap().is_some());
    assert_eq!(server.ranges("/f"), [Some("bytes=20000-".to_owned())]);
    assert_eq!(done.load(Ordering::Relaxed), 50_000);
    assert_eq!(std::fs::read(&to).unwrap(), body);
}

#[tokio::test]
async fn what_is_there_is_neither_fetched_nor_waited_for() {
    let body = body(1000);
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("file");
    std::fs::write(&to, &body).unwrap();
    let _held = FileLock::attempt(&part_name(&to)).unwrap();
    let nowhere = ["http://127.0.0.1:1/f".to_owned()];
    let offline = Fetcher::new(true, Patience::default());
    for fetcher in [fetcher(), offline.clone()] {
        let outcome =
            fetcher.file("file", &nowhere, &expected(&body), &to, &Reporter::silent()).await;
        assert_eq!(outcome.unwrap(), None);
    }
    // Another size is another file.
    let other = expected(&body[1..]);
    let outcome = offline.file("file", &nowhere, &other, &to, &Reporter::silent()).await;
    assert!(matches!(outcome, Err(FetchError::Offline { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_file_of_the_wrong_size_is_replaced_and_a_damaged_one_is_discarded() {
    let server = Server::start().await;
    let body = body(1000);
    let sources = [server.on("/f", vec![Answer::Whole(body.clone())])];
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("file");
    let fetcher = fetcher();
    std::fs::write(&to, &body[..10]).unwrap();
    let outcome = fetcher.file("file", &sources, &expected(&body), &to, &Reporter::silent()).await;
    assert!(outcome.unwrap().is_some());
    assert_eq!(discard_damaged(&to, &expected(&body)).unwrap(), Found::Whole);
    assert_eq!(std::fs::read(&to).unwrap(), body);
    std::fs::write(&to, vec![1; 1000]).unwrap();
    assert_eq!(discard_damaged(&to, &expected(&body)).unwrap(), Found::Discarded);
    assert!(!to.exists());
    // Somebody else may have found out.
    assert_eq!(discard_damaged(&to, &expected(&body)).unwrap(), Found::Missing);
}

#[tokio::test]
async fn a_wait_ends_when_the_work_should_stop() {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("file");
    let _held = FileLock::attempt(&part_name(&to)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let reporter = Reporter::new(Arc::new(|_| ()), Arc::clone(&stop));
    let sources = ["http://127.0.0.1:1/f".to_owned()];
    let (began, fetcher, expected) = (Instant::now(), fetcher(), expected(b"x"));
    let fetching = fetcher.file("file", &sources, &expected, &to, &reporter);
    let lock = to.with_extension("lock");
    let _locked = FileLock::attempt(&lock).unwrap();
    let locking = FileLock::wait(&lock, "file", &reporter);
    let stops = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (of_file, of_lock, ()) = tokio::join!(fetching, locking, stops);
    assert!(matches!(of_file, Err(FetchError::Cancelled(_))), "{of_file:?}");
    assert!(matches!(of_lock, Err(FetchError::Cancelled(_))), "{of_lock:?}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn an_unfinished_file_that_is_taken_away_is_begun_anew() {
    let server = Server::start().await;
    let body = body(100_000);
    let slow = Answer::Slow(body.clone(), 10, Duration::from_millis(30));
    let sources = [server.on("/f", vec![slow, Answer::Whole(body.clone())])];
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("file");
    let (reporter, done) = counting();
    let (fetcher, expected) = (fetcher(), expected(&body));
    let fetching = fetcher.file("file", &sources, &expected, &to, &reporter);
    let takes = async {
        while std::fs::metadata(part_name(&to)).is_ok_and(|it| it.len() == 0) || !exists(&to) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // As a version without locks would: its file gets the name.
        std::fs::write(directory.path().join("theirs"), b"theirs").unwrap();
        std::fs::rename(directory.path().join("theirs"), part_name(&to)).unwrap();
    };
    let (outcome, ()) = tokio::join!(fetching, takes);
    assert!(outcome.unwrap().is_some());
    assert_eq!(std::fs::read(&to).unwrap(), body);
    assert_eq!(done.load(Ordering::Relaxed), 100_000);
    assert_eq!(names(directory.path()), ["file"]);
}

fn exists(to: &Path) -> bool {
    part_name(to).exists()
}

#[tokio::test]
async fn one_at_a_time_has_a_lock_file_and_none_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    // Of one that was killed.
    std::fs::write(&path, b"").unwrap();
    let inside = AtomicBool::new(false);
    let all = join_all((0..20).map(|_| async {
        let _held = FileLock::wait(&path, "file", &Reporter::silent()).await.unwrap();
        assert!(!inside.swap(true, Ordering::Relaxed), "nobody else is inside");
        tokio::time::sleep(Duration::from_millis(2)).await;
        inside.store(false, Ordering::Relaxed);
    }));
    all.await;
    assert!(names(directory.path()).is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn whoever_waits_can_say_for_whom() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    std::fs::write(&path, b"").unwrap();
    assert_eq!(who_holds(&path), "another goatbuild");
    let held = FileLock::attempt(&path).unwrap();
    // proc(5) lists no locks in some sandboxes.
    if std::fs::read_to_string("/proc/locks").is_ok_and(|locks| locks.contains("FLOCK")) {
        assert_eq!(who_holds(&path), "another step");
    }
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_that_are_stopped_anywhere_leave_the_right_file_or_none() {
    let server = Server::start().await;
    let body = body(300_000);
    let slow = Answer::Slow(body.clone(), 20, Duration::from_millis(1));
    let sources = [server.on("/f", vec![slow])];
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("file");
    let all = join_all((0..24).map(|at| {
        let (sources, expected, to) = (sources.clone(), expected(&body), to.clone());
        async move {
            let (fetcher, reporter) = (fetcher(), Reporter::silent());
            let fetching = fetcher.file("file", &sources, &expected, &to, &reporter);
            // As an interrupted command drops its steps, at any moment.
            let _ = tokio::time::timeout(Duration::from_millis(at * 3), fetching).await;
        }
    }));
    all.await;
    if to.exists() {
        assert_eq!(std::fs::read(&to).unwrap(), body);
    }
    let reporter = Reporter::silent();
    fetcher().file("file", &sources, &expected(&body), &to, &reporter).await.unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), body);
    assert_eq!(names(directory.path()), ["file"]);
}

#[tokio::test]
async fn a_long_wait_is_told_once_and_by_the_name_of_what_is_made() {
    let directory = tempfile::tempdir().unwrap();
    for (file, name) in [("4f5a.part", "vllm.whl"), ("uv.lock", "uv 0.9")] {
        let told = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&told);
        let emit = move |progress| {
            if let Progress::Notice(text) = progress {
                said.lock().unwrap().push(text);
            }
        };
        let reporter = Reporter::new(Arc::new(emit), Arc::default());
        let path = directory.path().join(file);
        let held = FileLock::attempt(&path).unwrap();
        let mut waiting = Waiting::new(&path, name, &reporter);
        waiting.begin_earlier(Duration::from_secs(6));
        waiting.pause().await.unwrap();
        waiting.pause().await.unwrap();
        drop(held);
        let who = ["another step", "another goatbuild"];
        let told = told.lock().unwrap();
        let [told] = &told[..] else { panic!("{told:?}") };
        assert!(
            who.iter().any(|who| *told == format!("waiting for {who} to finish {name}")),
            "{told}"
        );
    }
}

#[tokio::test]
async fn an_unfinished_file_that_is_a_link_is_an_error_and_no_wait() {
    let directory = tempfile::tempdir().unwrap();
    let (to, elsewhere) = (directory.path().join("file"), directory.path().join("elsewhere"));
    std::fs::write(&elsewhere, "precious").unwrap();
    std::os::unix::fs::symlink(&elsewhere, part_name(&to)).unwrap();
    let sources = ["http://127.0.0.1:1/f".to_owned()];
    let (fetcher, expected, reporter) = (fetcher(), expected(b"x"), Reporter::silent());
    let fetching = fetcher.file("file", &sources, &expected, &to, &reporter);
    let outcome = tokio::time::timeout(Duration::from_secs(20), fetching).await.expect("an end");
    assert!(matches!(outcome, Err(FetchError::Write { .. })), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(elsewhere).unwrap(), "precious");
}
