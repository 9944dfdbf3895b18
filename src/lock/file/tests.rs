use super::*;
use crate::digest::Digest;
use crate::fingerprint::Fingerprint;
use crate::lock::{BaseLayout, BaseSettings, LockedLayer, LockedPackage};
use crate::platform::{Architecture, MajorMinor};
use crate::step::Fact;

fn version(major: u32, minor: u32) -> MajorMinor {
    MajorMinor { major, minor }
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn sample() -> LockFile {
    let package = LockedPackage {
        name: "python3".to_owned(),
        version: "3.11.2-1+b1".to_owned(),
        path: "pool/main/p/python3.deb".to_owned(),
        size: 26,
        sha256: digest("a package"),
    };
    let image = LockedImage {
        request: "blake3:1".to_owned(),
        runtime: Runtime {
            architecture: Architecture::Amd64,
            glibc: version(2, 36),
            python: version(3, 11),
        },
        debian: Some(LockedDebian {
            suite: "bookworm".to_owned(),
            layout: BaseLayout::First,
            architecture: Architecture::Amd64,
            snapshot: "20261123T000000Z".to_owned(),
            glibc: version(2, 36),
            python: Some(version(3, 11)),
            packages: vec![package],
        }),
        base: Some(LockedBase {
            reference: "docker.io/library/debian:bookworm".to_owned(),
            digest: digest("a manifest"),
            index: Some(digest("an index")),
            python: None,
            layers: vec![LockedLayer {
                digest: digest("a layer"),
                size: 5,
                diff_id: digest("its tar"),
            }],
            settings: Some(BaseSettings {
                user: Some("1000:1000".to_owned()),
                working_dir: Some("/app".to_owned()),
                exposed_ports: ["8000/tcp".to_owned()].into(),
                labels: [("maintainer".to_owned(), "a \"b\"".to_owned())].into(),
                ..BaseSettings::default()
            }),
        }),
        python: Some(LockedPython {
            version: "3.12.14".to_owned(),
            build: "20260814".to_owned(),
            sha256: digest("a Python"),
        }),
    };
    let built = Built {
        key: Fingerprint::new("image", 1).key(),
        facts: [Fact::DIGEST.is(digest("wheels"))].into(),
    };
    let mut lock = LockFile::default();
    lock.images.insert("cpu".to_owned(), image);
    lock.built.insert("wheels:cpu/torch".into(), built);
    let prices = LockedPrices {
        asked: "2026-11-30T15:00:00Z".to_owned(),
        cpu: Some(0.0473),
        memory: None,
        gpu: [("H100!".to_owned(), 3.95)].into(),
    };
    lock.prices.insert("modal".to_owned(), prices);
    lock
}

#[test]
fn a_lock_is_read_back_as_it_was_written() {
    for lock in [sample(), LockFile::default()] {
        let text = lock.render();
        let read = LockFile::parse("goatbuild.lock", &text).unwrap();
        assert_eq!(read, lock);
        assert_eq!(read.render(), text);
        assert!(text.starts_with("# Made by `goatbuild lock`; commit it."));
    }
}

#[test]
fn an_entry_answers_only_its_own_request() {
    let lock = sample();
    let image: ImageName = "cpu".parse().unwrap();
    assert!(lock.image(&image, "blake3:1").is_some_and(|image| image.has("python3")));
    assert!(lock.image(&image, "blake3:2").is_none());
}

#[test]
fn a_newer_lock_is_refused_whatever_it_holds() {
    let error = LockFile::parse("goatbuild.lock", "version = 2\nwhatever = [1]\n").unwrap_err();
    assert_eq!(error.to_string(), "goatbuild.lock has format 2; this goatbuild knows 1");
    assert_eq!(error.code().unwrap().to_string(), "goatbuild::lock::newer");
}

#[test]
fn what_is_no_digest_is_shown_where_it_is() {
    let text = sample().render();
    let all = ["a package", "a manifest", "an index", "a layer", "its tar", "a Python", "wheels"];
    for of in all {
        let wrong = text.replace(&digest(of).hex(), "../../etc/passwd");
        let Err(LockFileError::Syntax { span: Some(span), message, .. }) =
            LockFile::parse("goatbuild.lock", &wrong)
        else {
            panic!("{of}: a mistake with a place");
        };
        let at = &wrong[span.offset()..][..span.len()];
        assert!(at.starts_with('"') && at.ends_with("../../etc/passwd\""), "{of}: {at}");
        assert!(message.contains("SHA-256"), "{of}: {message}");
    }
}

#[test]
fn a_package_that_a_merge_left_twice_is_named_where_they_are() {
    let mut lock = sample();
    let debian = lock.images.values_mut().find_map(|image| image.debian.as_mut()).unwrap();
    debian.packages.push(debian.packages[0].clone());
    let text = lock.render();
    let Err(LockFileError::Syntax { span: Some(span), message, .. }) =
        LockFile::parse("goatbuild.lock", &text)
    else {
        panic!("a mistake with a place");
    };
    assert_eq!(message, "package `python3` is there twice");
    let at = &text[span.offset()..][..span.len()];
    assert!(at.ends_with("debian.packages]]"), "{at}");
}

#[test]
fn a_mistake_is_shown_where_it_is() {
    let text = |text: &str| match LockFile::parse("goatbuild.lock", text).unwrap_err() {
        LockFileError::Syntax { span, message, .. } => {
            let span = span.unwrap();
            (text[span.offset()..][..span.len()].to_owned(), message)
        }
        LockFileError::Newer { .. } => panic!("not newer"),
    };
    let (at, message) = text("version = 1\nsurprise = 2\n");
    assert_eq!(at, "surprise");
    assert!(message.contains("unknown field `surprise`"), "{message}");
    let (at, _) = text("version = 1\n[built.\"image:i\"]\nkey = \"x\"\nfacts = {}\n");
    assert_eq!(at, "\"x\"");
    let merged = "version = 1\n<<<<<<< ours\n";
    let Err(LockFileError::Syntax { span: Some(span), .. }) = LockFile::parse("x", merged) else {
        panic!("a mistake with a place");
    };
    assert!(span.offset() >= "version = 1".len(), "the second line");
    let (_, message) = text("[built]\n");
    assert!(message.contains("missing field `version`"), "{message}");
}
