//! What of maintainer scripts is told before packages are fetched, against a double of a mirror.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::fixture::{Deb, locked};
use super::{BaseLayout, DebianError, DebianRequest, LockedDebian, Mirrors, foresee};
use crate::event::{Progress, Reporter};
use crate::fetch::double::{Answer, Server};
use crate::fetch::{Fetcher, Patience};
use crate::platform::Architecture;

const EVIL: &str = "#!/bin/sh\nset -e\nserve --now\n";
/// Whether it fails hangs on files.
const PERHAPS: &str = "#!/bin/sh\nif [ -x /usr/bin/serve ]; then serve --now; fi\n";

/// A mirror with an application that needs a library, which needs a server by what that provides.
struct Mirror {
    server: Server,
    locked: LockedDebian,
    directory: tempfile::TempDir,
}

impl Mirror {
    async fn of(debs: Vec<Deb>, answer: fn(Vec<u8>) -> Answer) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start().await;
        let debs: Vec<_> = debs.into_iter().map(|deb| (deb.name, deb.bytes())).collect();
        let (locked, paths) = locked(BaseLayout::NEWEST, &debs, directory.path());
        for (package, path) in locked.packages.iter().zip(paths) {
            let bytes = std::fs::read(&path).unwrap();
            std::fs::remove_file(path).unwrap();
            server.on(&format!("/{}", package.path), vec![answer(bytes)]);
        }
        Self { server, locked, directory }
    }

    /// What is said, and what comes of it.
    async fn foreseen(&self, offline: bool) -> (Vec<String>, Result<(), DebianError>) {
        let patience = Patience { attempts: 1, first_wait: Duration::ZERO, ..Patience::default() };
        let fetcher = Fetcher::new(offline, patience);
        let mirrors = Mirrors { pool: self.server.url.clone(), snapshot: None, mirror: None };
        let request = DebianRequest {
            layout: BaseLayout::NEWEST,
            suite: "bookworm".to_owned(),
            packages: vec!["app".to_owned(), "other".to_owned()],
            architecture: Architecture::Amd64,
        };
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let emit = move |progress| {
            if let Progress::Message(text) | Progress::Notice(text) = progress {
                heard.lock().unwrap().push(text);
            }
        };
        let reporter = Reporter::new(Arc::new(emit), Arc::default());
        let [packages, beginnings] = ["debs", "scripts"].map(|it| self.directory.path().join(it));
        let outcome =
            foresee(&fetcher, &mirrors, &request, &self.locked, &packages, &beginnings, &reporter);
        let outcome = outcome.await;
        let said = said.lock().unwrap().clone();
        (said, outcome)
    }

    fn sent(&self, name: &str) -> usize {
        self.server.sent(&format!("/pool/{name}.deb"))
    }

    fn asked(&self, name: &str) -> usize {
        self.server.ranges(&format!("/pool/{name}.deb")).len()
    }
}

/// Bytes that nothing makes smaller, as text.
fn noise(length: usize) -> &'static str {
    let mut seed = 88_172_645_463_325_252_u64;
    let mut text = String::with_capacity(length);
    while text.len() < length {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let _ = write!(text, "{seed:016x}");
    }
    Box::leak(text.into_boxed_str())
}

fn debs() -> Vec<Deb> {
    vec![
        Deb::new("app").field("Depends: library (>= 0.5), perhaps"),
        Deb::new("library").field("Pre-Depends: daemon | nothing"),
        Deb::new("server")
            .field("Provides: daemon")
            .script(EVIL)
            .file("./usr/data", noise(3 << 20)),
        Deb::new("other").script("#!/usr/bin/perl\n"),
        Deb::new("perhaps").script(PERHAPS),
    ]
}

const REFUSED: &str = "the scripts of 2 packages do what goatbuild can't do without running them\n  \
    server, postinst, line 3: serve --now\n    needed by app → library → server\n  \
    other, postinst, line 1: #!/usr/bin/perl";

#[tokio::test]
async fn all_that_is_refused_is_named_at_once_and_no_package_is_fetched_whole() {
    for (answer, most) in [(Answer::Whole as fn(_) -> _, 1 << 14), (Answer::NoRanges, 1 << 20)] {
        let mirror = Mirror::of(debs(), answer).await;
        let (said, outcome) = mirror.foreseen(false).await;
        assert_eq!(outcome.unwrap_err().to_string(), REFUSED);
        assert_eq!(said, ["reading the scripts of 5 packages"]);
        let size = mirror.locked.packages[2].size;
        assert!(size > 1 << 20, "{size}");
        assert!(mirror.sent("server") <= most, "{}", mirror.sent("server"));
        // What a refusal rests on is asked for again, since nobody verified it; the rest is known.
        let (_, outcome) = mirror.foreseen(false).await;
        assert_eq!(outcome.unwrap_err().to_string(), REFUSED);
        assert_eq!((mirror.asked("server"), mirror.asked("library")), (2, 1));
    }
}

#[tokio::test]
async fn control_files_of_any_length_are_read() {
    let long = format!("#!/bin/sh\n# {}\nserve --now\n", noise(200_000));
    for answer in [Answer::Whole as fn(_) -> _, Answer::NoRanges] {
        let deb = Deb::new("app").script(&long).file("./usr/data", noise(1 << 20));
        let mirror = Mirror::of(vec![deb], answer).await;
        let (_, outcome) = mirror.foreseen(false).await;
        assert!(outcome.unwrap_err().to_string().ends_with("app, postinst, line 3: serve --now"));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_fails_nothing() {
    let fine = |name| Deb::new(name).script("#!/bin/sh\nset -e\n");
    let names = ["app", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
    let mirror = Mirror::of(names.map(fine).into(), |_| Answer::Status(503, None)).await;
    let (said, outcome) = mirror.foreseen(false).await;
    outcome.unwrap();
    let last = said.last().unwrap();
    assert_eq!(
        last,
        "the scripts of app, b, c, d, e and 6 more weren't looked at; a build will do that"
    );
    let (said, outcome) = mirror.foreseen(true).await;
    outcome.unwrap();
    assert!(said[0].contains("weren't looked at"), "{said:?}");
    // One mirror lacks a package, another one sends something else.
    let mirror = Mirror::of(debs(), Answer::Whole).await;
    mirror.server.on("/pool/other.deb", vec![Answer::Status(404, None)]);
    mirror.server.on("/pool/perhaps.deb", vec![Answer::Whole(b"<html>log in</html>".to_vec())]);
    mirror.server.on("/pool/app.deb", vec![Answer::Whole(Deb::new("old").bytes())]);
    let (said, outcome) = mirror.foreseen(false).await;
    let error = outcome.unwrap_err().to_string();
    assert!(error.ends_with("server, postinst, line 3: serve --now"), "{error}");
    let last = said.last().unwrap();
    assert_eq!(last, "the scripts of app, other, perhaps weren't looked at; a build will do that");
}

#[tokio::test]
async fn packages_that_are_there_are_read_where_they_are() {
    let mirror = Mirror::of(Vec::new(), Answer::Whole).await;
    let debs: Vec<_> = debs().into_iter().map(|deb| (deb.name, deb.bytes())).collect();
    let packages = mirror.directory.path().join("debs");
    std::fs::create_dir(&packages).unwrap();
    let (locked, _) = locked(BaseLayout::NEWEST, &debs, Path::new(&packages));
    let mirror = Mirror { locked, ..mirror };
    let (said, outcome) = mirror.foreseen(true).await;
    assert_eq!(outcome.unwrap_err().to_string(), REFUSED);
    assert_eq!(said, [] as [&str; 0]);
}
