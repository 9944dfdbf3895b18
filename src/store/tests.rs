use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use miette::Diagnostic as _;

use super::opening::SCHEMA;
use super::*;
use crate::plan::Memory as _;
use crate::testing::peers::skipped;

const NOW: Duration = Duration::ZERO;

fn fingerprint(value: u32) -> Fingerprint {
    let mut fingerprint = Fingerprint::new("deploy", 1);
    fingerprint.field("flag", value);
    fingerprint
}

fn outcome(url: &str) -> Outcome {
    Outcome {
        facts: [("url".to_owned(), url.to_owned())].into(),
        evidence: [("seconds".to_owned(), "3".to_owned())].into(),
    }
}

fn finish(store: &Store, class: Class, value: u32, ended: Result<&Outcome, &str>) {
    let (id, fingerprint) = (StepId::from("deploy:m"), fingerprint(value));
    let run = store.begin_run("apply").unwrap();
    store.intend(run, &id, &fingerprint.key()).unwrap();
    store.finish(run, &id, class, &fingerprint, 0.5, ended).unwrap();
    store.end_run(run, "ok").unwrap();
}

#[test]
fn a_newer_cache_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", SCHEMA + 1).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = Store::open(directory.path(), "").unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found, known, .. } if (found, known) == (2, 1)),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_damaged_database_is_as_none_until_it_is_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let damaged = "not a database ".repeat(500);
    std::fs::write(&path, &damaged).unwrap();
    let [store, other] = [(); 2].map(|()| Store::open(directory.path(), "").unwrap());
    let said = store.damaged().unwrap();
    assert_eq!(said, format!("{} is damaged: file is not a database", path.display()));
    // Who only looks leaves it as it is.
    store.begin_run("plan").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
    let aside = store.mend().unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(aside).unwrap(), damaged);
    assert_eq!(store.damaged(), None);
    finish(&store, Class::Effect, 1, Ok(&outcome("http://a")));
    // Whoever waited for the lock meanwhile finds the new one.
    assert_eq!(other.mend().unwrap(), None);
    let id = StepId::from("deploy:m");
    assert!(other.last_attempt(&id).unwrap().is_some());
    assert_eq!(store.mend().unwrap(), None);
}

#[test]
fn only_what_is_damaged_is_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    std::fs::write(&path, "not a database ".repeat(500)).unwrap();
    let store = Store::open(directory.path(), "").unwrap();
    assert!(store.damaged().is_some());
    std::fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", SCHEMA + 1).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = store.mend().unwrap_err();
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_page_of_a_database_that_is_damaged_is_found_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let store = Store::open(directory.path(), "").unwrap();
    for input in 0..50 {
        finish(&store, Class::Effect, input, Ok(&outcome("http://a")));
    }
    drop(store);
    // All but the first page, which holds the schema.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let store = Store::open(directory.path(), "").unwrap();
    assert_eq!(store.damaged(), None);
    let error = store.last_attempt(&StepId::from("deploy:m")).unwrap_err();
    assert_eq!(error.code().unwrap().to_string(), "goatbuild::store::damaged");
    assert!(error.to_string().starts_with(&format!("{} is damaged: ", path.display())));
    assert!(error.help().unwrap().to_string().contains("puts this file aside"));
    assert!(store.mend().unwrap().is_some());
    assert_eq!(store.last_attempt(&StepId::from("deploy:m")).unwrap(), None);
}

#[test]
fn a_new_cache_may_be_opened_by_many_at_once() {
    let directory = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| Store::open(directory.path(), "").unwrap().begin_run("plan").unwrap());
        }
    });
}

#[test]
fn rows_are_apart_by_environment_and_records_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = |environment| Store::open(directory.path(), environment).unwrap();
    let (default, staging) = (store(""), store("staging"));
    let id = StepId::from("deploy:m");
    finish(&default, Class::Effect, 1, Ok(&outcome("http://a")));
    finish(&staging, Class::Effect, 2, Err("failed"));
    let remembered = default.remember(HashMap::new()).unwrap();
    assert_eq!(remembered.row(&id).unwrap().key, fingerprint(1).key());
    assert_eq!(remembered.applied(&id), Some(fingerprint(1)));
    assert_eq!(remembered.failed(&id), None);
    let remembered = staging.remember(HashMap::new()).unwrap();
    assert_eq!(remembered.row(&id), None);
    assert_eq!(remembered.applied(&id), None);
    assert_eq!(remembered.failed(&id), Some(fingerprint(2).key()));
    finish(&staging, Class::Pure, 3, Ok(&outcome("b")));
    let remembered = default.remember(HashMap::new()).unwrap();
    assert_eq!(remembered.record(&id, &fingerprint(3).key()), Some(outcome("b").facts));
}

#[test]
fn an_attempt_without_an_end_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), "").unwrap();
    let id = StepId::from("deploy:m");
    finish(&store, Class::Effect, 1, Err("failed"));
    let run = store.begin_run("apply").unwrap();
    store.intend(run, &id, &fingerprint(1).key()).unwrap();
    assert_eq!(store.remember(HashMap::new()).unwrap().failed(&id), None);
    assert_eq!(store.last_attempt(&id).unwrap().unwrap().outcome, "running");
}

#[test]
fn the_lock_knows_what_the_cache_forgot() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), "").unwrap();
    let id = StepId::from("image:i");
    let (key, facts) = (fingerprint(1).key(), outcome("x").facts);
    let remembered = store.remember([(id.clone(), (key, facts.clone()))].into()).unwrap();
    assert_eq!(remembered.record(&id, &key), Some(facts));
    assert_eq!(remembered.record(&id, &fingerprint(2).key()), None);
}

#[test]
fn what_stands_gets_a_row_and_keeps_the_evidence_of_its_own_run() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), "").unwrap();
    let id = StepId::from("deploy:m");
    finish(&store, Class::Effect, 1, Ok(&outcome("http://a")));
    let stands = |value| Stands {
        step: id.clone(),
        class: Class::Effect,
        fingerprint: fingerprint(value),
        facts: outcome("http://b").facts,
    };
    store.keep(&[stands(1)]).unwrap();
    let evidence = store.evidence(&id, &fingerprint(1).key()).unwrap().unwrap();
    assert_eq!(evidence, outcome("").evidence);
    store.keep(&[stands(2)]).unwrap();
    let row = store.remember(HashMap::new()).unwrap().row(&id).unwrap();
    assert_eq!((row.key, row.facts), (fingerprint(2).key(), outcome("http://b").facts));
    store.forget(&id).unwrap();
    assert_eq!(store.remember(HashMap::new()).unwrap().row(&id), None);
}

#[tokio::test]
async fn the_second_writer_is_told_of_the_first_and_waits() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let (first, waited) =
        WriterLock::take(&path, "apply", NOW, |_| panic!("nobody holds it")).await.unwrap();
    assert!(!waited);
    let error = WriterLock::take(&path, "destroy", NOW, |_| ()).await.unwrap_err();
    let holder = format!("`apply`, process {}, since", std::process::id());
    assert!(error.to_string().contains(&holder), "{error}");
    assert_eq!(error.code().unwrap().to_string(), "goatbuild::store::locked");
    let mut told = String::new();
    let later = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(150)).await;
        drop(first);
    });
    let second =
        WriterLock::take(&path, "destroy", Duration::from_secs(20), |who| told = who.to_owned());
    let (_second, waited) = second.await.unwrap();
    later.await.unwrap();
    assert!(waited && told.contains(&holder), "{told}");
}

#[tokio::test]
async fn a_lock_of_a_dead_process_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    std::fs::write(&path, r#"{"pid":1,"command":"apply","since":"2026-01-01T00:00:00Z"}"#).unwrap();
    // Holds the lock as another process would, until it is killed.
    let other = std::process::Command::new("flock")
        .arg("--no-fork")
        .arg(&path)
        .args(["sh", "-c", "echo held; exec sleep 60"])
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut other) = other else {
        skipped("flock", "it is not installed");
        return;
    };
    let mut line = String::new();
    let said = other.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(said), &mut line).unwrap();
    let error = WriterLock::take(&path, "apply", NOW, |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("`apply`, process 1,"), "{error}");
    other.kill().unwrap();
    other.wait().unwrap();
    WriterLock::take(&path, "apply", NOW, |_| ()).await.unwrap();
}
