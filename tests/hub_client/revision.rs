//! What a repository holds, and how a hub says no.

use std::time::{Duration, Instant};

use goatbuild::hub::DigestKind;

use super::{REPOSITORY, code, hub, hub_at, hub_with, said};
use crate::support::double::{Content, Fault};
use crate::support::hub::{COMMIT, HubDouble};

fn double() -> HubDouble {
    let double = HubDouble::start();
    double.small(REPOSITORY, "config.json", "{\"hidden_size\": 8}");
    double.large(REPOSITORY, "model.safetensors", &Content::noise(1, 100_000));
    double.small(REPOSITORY, "original/a b.json", "[]");
    double
}

#[tokio::test]
async fn a_revision_is_a_commit_and_all_of_its_files() {
    let double = double();
    let revision = hub(&double).revision(REPOSITORY, "main").await.unwrap();
    assert_eq!(revision.commit, COMMIT);
    let listed: Vec<_> = revision
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.size, file.digest.kind()))
        .collect();
    let (git, sha256) = (DigestKind::GitBlob, DigestKind::Sha256);
    assert_eq!(
        listed,
        [
            ("config.json", 18, git),
            ("model.safetensors", 100_000, sha256),
            ("original/a b.json", 2, git)
        ]
    );
    // A branch with a slash in its name is one segment of a path.
    assert_eq!(hub(&double).revision(REPOSITORY, "refs/pr/1").await.unwrap(), revision);
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let double = double();
    double.pages_of(1);
    let revision = hub_with(&double, Some("hf_x")).revision(REPOSITORY, "main").await.unwrap();
    assert_eq!(revision.files.len(), 3);
    let pages = double.requests();
    assert_eq!(pages.iter().filter(|request| request.path.contains("/tree/")).count(), 3);
}

#[tokio::test]
async fn a_mirror_below_a_path_goes_on_there_wherever_its_links_lead() {
    // Artifactory's and Nexus's own paths (huggingface/huggingface_hub#2806, sonatype/nexus-public#828). Links
    // as hf-mirror.com hands them on (padeoe/hf-mirror-site#65), relative ones, and right ones.
    for below in ["/artifactory/api/huggingfaceml/hf-remote", "/repository/huggingface", "/hf"] {
        let ours = |double: &HubDouble| format!("{}{below}", double.url);
        let links: [&dyn Fn(&HubDouble) -> String; 4] = [
            &|_| "https://huggingface.co".to_owned(),
            &|_| String::new(),
            &|_| below.to_owned(),
            &ours,
        ];
        for link in links {
            let double = double();
            double.pages_of(1);
            let endpoint = double.mirror_below(below, Some(&link(&double)));
            let hub = hub_at(&endpoint);
            let revision = hub.revision(REPOSITORY, "main").await.unwrap();
            assert_eq!(revision.files.len(), 3, "{below} {}", link(&double));
            for file in &revision.files {
                hub.read(REPOSITORY, COMMIT, file).await.unwrap();
            }
            let all = double.requests();
            let (hub, cdn): (Vec<_>, Vec<_>) =
                all.iter().partition(|it| it.path.starts_with("hub/"));
            assert!(hub.iter().all(|it| it.path.starts_with(&format!("hub{below}/"))), "{hub:?}");
            assert_eq!(cdn.len(), 1);
        }
    }
}

#[tokio::test]
async fn names_are_in_any_alphabet_and_may_have_backslashes() {
    let double = double();
    // Git takes them all: git-check-ref-format(1) has no word of alphabets, and a tree's entry may have any
    // byte but a slash and a null.
    for branch in ["größe", "分支/一", "ветка", "v1.0%20", "emoji-🦙", "a+b&c=d"] {
        double.branch(branch);
        let revision = hub(&double).revision(REPOSITORY, branch).await.unwrap();
        assert_eq!(revision.commit, COMMIT, "{branch}");
    }
    for path in ["win\\dows.json", "a/b\\..\\c.json", "模型.json", "100%.json", "a?b#c.json"] {
        double.small(REPOSITORY, path, path);
    }
    let revision = hub(&double).revision(REPOSITORY, "main").await.unwrap();
    assert_eq!(revision.files.len(), 8);
    for file in revision.files.iter().filter(|file| file.size < 100) {
        hub(&double).read(REPOSITORY, COMMIT, file).await.unwrap();
    }
}

#[tokio::test]
async fn a_disabled_repository_is_no_matter_of_tokens() {
    // The words by which `hf_raise_for_status` of huggingface_hub 2.4.0 knows a `DisabledRepoError`, whose
    // documentation shows the status; 451 is RFC 7725's.
    for (fault, says) in [
        (
            Fault::Status(403, "x-error-message: Access to this resource is disabled."),
            "acme/tiny is disabled: Access to this resource is disabled",
        ),
        (Fault::Status(451, ""), "acme/tiny is disabled: HTTP 451, unavailable for legal reasons"),
    ] {
        for token in [None, Some("hf_right")] {
            let double = double();
            double.fault("acme/tiny", 1, fault.clone());
            let error = hub_with(&double, token).revision(REPOSITORY, "main").await.unwrap_err();
            assert_eq!(code(&error), "goatbuild::hub::disabled");
            assert_eq!(error.to_string(), says);
            assert!(said(&error).contains("no token opens it"), "{}", said(&error));
        }
    }
    let double = double();
    double.fault("acme/tiny", 1, Fault::Status(403, "x-error-message: Forbidden"));
    let error = hub(&double).revision(REPOSITORY, "main").await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::forbidden");
}

#[tokio::test]
async fn a_list_without_end_ends() {
    let double = double();
    double.pages_of(1);
    double.fault("/tree/", 9, Fault::Body(b"[]".to_vec()));
    let error = hub(&double).revision(REPOSITORY, "main").await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::answer");
    assert!(error.to_string().contains("goes on, and lists nothing"), "{error}");

    let double = self::double();
    let entries: Vec<String> = (0..100_001)
        .map(|at| {
            let oid = "a".repeat(40);
            format!(r#"{{"type": "file", "oid": "{oid}", "size": 1, "path": "f{at}"}}"#)
        })
        .collect();
    double.fault("/tree/", 9, Fault::Body(format!("[{}]", entries.join(",")).into_bytes()));
    let error = hub(&double).revision(REPOSITORY, "main").await.unwrap_err();
    assert!(error.to_string().contains("lists more than 100000 files"), "{error}");
}

#[tokio::test]
async fn a_document_at_a_byte_at_a_time_is_given_up() {
    let double = double();
    double.fault("/revision/", 9, Fault::Slow(1, Duration::from_millis(50)));
    let started = Instant::now();
    let error = hub(&double).revision(REPOSITORY, "main").await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::network");
    assert!(error.to_string().contains("too slow: "), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_small_file_is_read_and_verified() {
    let double = double();
    let hub = hub(&double);
    let revision = hub.revision(REPOSITORY, "main").await.unwrap();
    let [config, large, _] = &revision.files[..] else { panic!("three files") };
    let bytes = hub.read(REPOSITORY, COMMIT, config).await.unwrap();
    assert_eq!(bytes, b"{\"hidden_size\": 8}");
    assert_eq!(hub.read(REPOSITORY, COMMIT, large).await.unwrap().len(), 100_000);

    double.fault("config.json", 1, Fault::Flip(3));
    let error = hub.read(REPOSITORY, COMMIT, config).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::damaged");
    double.fault("config.json", 1, Fault::Body(b"{}".to_vec()));
    let error = hub.read(REPOSITORY, COMMIT, config).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::damaged");
    double.fault("config.json", 1, Fault::Header("x-repo-commit", "f".repeat(40)));
    let error = hub.read(REPOSITORY, COMMIT, config).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::changed");
    assert!(hub.read(REPOSITORY, COMMIT, config).await.is_ok());
}

#[tokio::test]
async fn a_missing_repository_is_not_a_missing_revision() {
    let double = double();
    let hub = hub(&double);
    let error = hub.revision("acme/none", "main").await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::no_repository");
    assert_eq!(error.to_string(), format!("there is no model acme/none at {}", double.url));
    let error = hub.revision(REPOSITORY, "v9").await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::no_revision");
    assert_eq!(error.to_string(), "acme/tiny has no revision v9");

    // A mirror that doesn't say which is asked once more.
    double.fault("/revision/", 2, Fault::Status(404, ""));
    let error = hub.revision(REPOSITORY, "main").await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::no_revision");
    double.fault("acme/none", 1, Fault::Status(404, ""));
    let error = hub.revision("acme/none", "main").await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::no_repository");
}

#[tokio::test]
async fn a_missing_token_is_not_a_refused_one() {
    let double = double();
    double.restrict("hf_right", false);
    let error = hub(&double).revision(REPOSITORY, "main").await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::token_missing");
    let error = hub_with(&double, Some("hf_wrong")).revision(REPOSITORY, "main").await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::token_refused");
    assert!(said(&error).contains("HF_TOKEN") && !said(&error).contains("hf_wrong"), "{error}");
    let right = hub_with(&double, Some("hf_right\n"));
    assert!(right.revision(REPOSITORY, "main").await.is_ok());
    assert!(!format!("{right:?}").contains("hf_right"));
}

#[tokio::test]
async fn a_gated_repository_says_where_to_ask() {
    let double = double();
    double.restrict("hf_right", true);
    let hub = hub_with(&double, Some("hf_right"));
    // Its files are listed for everybody, and read by nobody.
    let revision = hub.revision(REPOSITORY, "main").await.unwrap();
    let error = hub.read(REPOSITORY, COMMIT, &revision.files[0]).await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::gated");
    assert!(said(&error).contains(&format!("{}/acme/tiny", double.url)), "{}", said(&error));
}

#[tokio::test]
async fn too_many_requests_are_waited_for_within_bounds() {
    let double = double();
    let hub = hub(&double);
    double.fault("/revision/", 1, Fault::Status(429, "retry-after: 1"));
    let started = Instant::now();
    assert!(hub.revision(REPOSITORY, "main").await.is_ok());
    assert!(started.elapsed() >= Duration::from_secs(1));

    // The hub's own header says it, too.
    double.fault("/revision/", 1, Fault::Status(429, "ratelimit: \"api\";r=0;t=1"));
    let started = Instant::now();
    assert!(hub.revision(REPOSITORY, "main").await.is_ok());
    assert!(started.elapsed() >= Duration::from_secs(1));

    double.fault("/revision/", 9, Fault::Status(429, "retry-after: 3600"));
    double.forget_requests();
    let error = hub.revision(REPOSITORY, "main").await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::rate_limited");
    assert!(error.to_string().ends_with("answers again in 3600 s"), "{error}");
    assert_eq!(double.requests().len(), 1, "an hour is not waited for");

    double.clear_faults();
    double.fault("/revision/", 9, Fault::Status(503, "retry-after: 3600"));
    let error = hub.revision(REPOSITORY, "main").await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::status");
    assert!(error.to_string().ends_with("it answers again in 3600 s"), "{error}");
}

#[tokio::test]
async fn a_hub_that_fails_is_asked_again_and_then_named() {
    let double = double();
    let hub = hub(&double);
    double.fault("/tree/", 2, Fault::Status(500, ""));
    assert!(hub.revision(REPOSITORY, "main").await.is_ok());
    double.fault("/tree/", 1, Fault::Truncate(20));
    assert!(hub.revision(REPOSITORY, "main").await.is_ok());
    double.fault("/tree/", 9, Fault::Status(503, ""));
    double.forget_requests();
    let error = hub.revision(REPOSITORY, "main").await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::status");
    assert!(error.to_string().ends_with("answered HTTP 503, asked 3 time(s)"), "{error}");
    assert_eq!(double.requests().len(), 4);
    double.clear_faults();
    double.fault("/tree/", 9, Fault::Stall);
    let error = hub.revision(REPOSITORY, "main").await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::network");
}

#[tokio::test]
async fn redirects_end_somewhere() {
    let double = double();
    let hub = hub(&double);
    let there = format!("{}/api/models/acme/tiny/revision/main", double.url);
    double.fault("/revision/", 1, Fault::Redirect(there.clone()));
    assert!(hub.revision(REPOSITORY, "main").await.is_ok());
    double.fault("/revision/", 99, Fault::Redirect(there));
    double.forget_requests();
    let error = hub.revision(REPOSITORY, "main").await.unwrap_err();
    assert_eq!(code(&error), "goatbuild::hub::redirects");
    assert_eq!(double.requests().len(), 11);
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_refused() {
    let double = double();
    let hub = hub(&double);
    let entry = |path: &str, oid: &str| {
        format!("[{{\"type\": \"file\", \"path\": \"{path}\", \"size\": 1, \"oid\": \"{oid}\"}}]")
    };
    let oid = "a".repeat(40);
    for (at, body) in [
        ("/revision/", "<html>Log in".to_owned()),
        ("/revision/", "{\"sha\": \"../../x\"}".to_owned()),
        ("/tree/", entry("../../.ssh/authorized_keys", &oid)),
        ("/tree/", entry("/etc/passwd", &oid)),
        ("/tree/", entry("a", "../../x")),
        ("/tree/", "{}".to_owned()),
    ] {
        double.fault(at, 1, Fault::Body(body.clone().into_bytes()));
        let error = hub.revision(REPOSITORY, "main").await.unwrap_err();
        assert_eq!(code(&error), "goatbuild::hub::answer", "{body}");
    }
}
