//! Texts: a project's files, its lock, a gateway's file, somebody's deploy script.

use std::path::{Path, PathBuf};

use goatbuild::engines;
use goatbuild::gateways::litellm::{Access, Document, Entry, check, owned, remove, upsert};
use goatbuild::import::Script;
use goatbuild::lock::pylock::Pylock;
use goatbuild::lock::{ConfigFacts, LockFile};
use goatbuild::project::kinds;
use goatbuild::spec::{Api, SourceFile, Sources, read};
use goatbuild::targets;

const PROJECT: &str = include_str!("../seeds/spec/project.toml");
const SPEC: &str = include_str!("../seeds/spec/spec.toml");
const IMAGE: &str = include_str!("../seeds/spec/image.toml");

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: PathBuf::from(path), text: text.into() }
}

/// Each of a project's files, among right ones; every mistake is drawn.
pub fn spec(bytes: &[u8], _: &Path) {
    let text = String::from_utf8_lossy(bytes);
    for (project, spec, image) in
        [(&*text, SPEC, IMAGE), (PROJECT, &*text, IMAGE), (PROJECT, SPEC, &*text)]
    {
        let sources = Sources {
            project: file("goatbuild.toml", project),
            specs: vec![file("specs/gpt-oss-20b.toml", spec)],
            images: vec![file("images/gpt-oss.toml", image)],
            mistakes: Vec::new(),
            kinds: kinds(),
        };
        if let Err(errors) = read(&sources, None) {
            let _ = format!("{:?}", miette::Report::new(errors));
        }
    }
}

/// A lock of a project, of an image, and a model's configuration; what is taken is written as it is read.
pub fn lock(bytes: &[u8], _: &Path) {
    let text = String::from_utf8_lossy(bytes);
    match LockFile::parse("goatbuild.lock", &text) {
        Ok(lock) => {
            let written = lock.render();
            let again = LockFile::parse("goatbuild.lock", &written).expect("what it writes");
            assert_eq!(again.render(), written);
        }
        Err(error) => drop(format!("{:?}", miette::Report::new(error))),
    }
    if let Ok(lock) = Pylock::parse(&text) {
        let written = lock.render();
        assert_eq!(Pylock::parse(&written).expect("what it writes").render(), written);
    }
    let _ = ConfigFacts::parse(bytes);
}

/// A gateway's file: what takes an entry has it once, whatever else it holds, and gives it up again.
pub fn yaml(bytes: &[u8], _: &Path) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let document = match Document::parse("config.yaml", text) {
        Ok(document) => document,
        Err(error) => return drop(format!("{:?}", miette::Report::new(error))),
    };
    let _ = check(&document, &|_| false);
    let entry = Entry {
        alias: "tiny-local".into(),
        served_name: "tiny".into(),
        api_base: "http://127.0.0.1:8000/v1".into(),
        access: Access::open(),
        api: Api::Chat,
        project: "goat-1".into(),
        model: "tiny".into(),
        key: "gb1-00".into(),
    };
    let Ok(with) = upsert(&document, &entry, false) else { return };
    let taken = Document::parse("config.yaml", &with).expect("what it writes");
    assert_eq!(upsert(&taken, &entry, false).expect("it is there"), with, "it stays");
    let ours = |document: &Document| {
        owned(document, "goat-1").iter().filter(|owned| owned.model == "tiny").count()
    };
    assert_eq!(ours(&taken), 1);
    let Ok(without) = remove(&taken, "goat-1", "tiny") else { return };
    let left = Document::parse("config.yaml", &without).expect("what it writes");
    assert_eq!(ours(&left), 0);
}

/// A deploy script, followed as far as values can be told.
pub fn script(bytes: &[u8], _: &Path) {
    if let Ok(script) = Script::parse("deploy.py", bytes.to_vec()) {
        let _ = script.readings();
        let _ = targets::built_in().import(&script, &[], engines::built_in());
    }
}
