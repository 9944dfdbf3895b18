//! Each row of the table is seen: what it names is edited, item by item, and what is another step then,
//! or runs, is what README.md says, no more and no less.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use super::compiled::{Committed, Place};
use super::support::installed::GOATBUILD;
use super::support::project::Project;
use super::table::{Edit, Row, Shown, TABLE};
use super::{Expected, SPEC, expect};

/// What a row calls the steps that run again, and their kinds.
const WORDS: [(&str, &[&str]); 11] = [
    ("nothing", &[]),
    ("nothing of this one", &[]),
    ("gateway", &["gateway"]),
    // Its edits say whether either did.
    ("gateway only if URL or served name changed", &[]),
    ("warm-up", &["warmup"]),
    ("warm-up if the engine compiles", &["warmup"]),
    ("deploy", &["deploy"]),
    ("smoke", &["smoke"]),
    ("weights", &["weights"]),
    ("base", &["base"]),
    ("image", &["image"]),
];

/// What a row says runs again, by its kind.
fn wanted(row: &Row, edit: &Edit, project: &Committed) -> BTreeSet<String> {
    let kinds = |words: &str| -> BTreeSet<String> {
        let said = match words {
            "the wheel layers that changed" => &["wheels"][..],
            "…" | "what stands behind if its digest changed" => return project.behind_images(),
            _ => {
                let known = WORDS.iter().find(|(known, _)| *known == words);
                known.unwrap_or_else(|| panic!("`{words}` of `{}` is no kind", row.edit)).1
            }
        };
        said.iter().map(ToString::to_string).collect()
    };
    let said = row.again.split([',', ';']).flat_map(|words| kinds(words.trim()));
    said.chain(edit.besides.iter().map(ToString::to_string)).collect()
}

#[test]
fn whatever_a_row_names_is_edited_and_is_planned_as_it_says() {
    let mut projects: BTreeMap<&str, Committed> = BTreeMap::new();
    for row in &TABLE {
        let Shown::Planned(edits) = row.shown else { continue };
        for edit in edits {
            let &Place { name, of, .. } = edit.place;
            let project = projects.entry(name).or_insert_with(|| of(edit.place));
            let others = project.edited(&edit.changes);
            let what = format!("{}: {:?}", row.edit, edit.changes);
            let kind = |id: &String| id.split(':').next().unwrap_or_default().to_owned();
            let kinds: BTreeSet<String> = others.iter().map(kind).collect();
            assert_eq!(kinds, wanted(row, edit, project), "{what}");
            let layers = others.iter().filter(|id| id.starts_with("wheels:"));
            assert!(layers.count() <= 1, "no other layer changed: {others:?}");
            if !edit.value.is_empty() {
                // It is read there: what it cannot be is a mistake of this file.
                let (file, from, to) = edit.changes[0];
                let said = project.refused(file, from, &to.replace(edit.value, "[[]]"));
                assert!(said.contains(file), "{what}: {said}");
            }
        }
        // What stands before a colon says what is common to what is behind it.
        let items = row.edit.rsplit(": ").next().unwrap_or_default();
        let items = items.split([',', ';']).flat_map(|part| part.split(" or "));
        for item in items.filter(|item| !item.trim().is_empty()) {
            let is_about = |edit: &Edit| item.contains(edit.about);
            assert!(edits.iter().any(is_about), "nothing edits `{item}`");
        }
    }
}

#[test]
fn what_rows_say_of_more_than_one_edit_runs_so() {
    let Some(mut project) = Project::applied() else { return };
    let mut shown = 0;
    for row in &TABLE {
        let Shown::Served(show) = row.shown else { continue };
        println!("{}", row.edit);
        show(&mut project);
        shown += 1;
    }
    assert!(shown > 0, "no row is shown here");
}

/// What the way back needs is what the way there needed, but for the image, which was built.
pub(super) fn there_and_back_again(project: &mut Project) {
    const IMAGE: &str = "images/tiny.toml";
    let (spec, image) = (project.read(SPEC), project.read(IMAGE));
    project.append(SPEC, "[env]\nGREETING = \"hallo\"\n");
    project.append(IMAGE, "env = { GREETING = \"from the image\" }\n");
    let ran = &["deploy:tiny", "image:tiny", "smoke:tiny"];
    let pending = &["deploy:tiny", "smoke:tiny"];
    expect(project, &Expected { run: &["image:tiny"], pending, ran });
    assert_eq!(project.ask("tiny").as_deref(), Some("hallo"));
    project.edit(SPEC, "[env]\nGREETING = \"hallo\"\n", "");
    super::expect_redeployed(project);
    assert_eq!(project.ask("tiny").as_deref(), Some("from the image"));
    project.write(SPEC, &spec);
    project.write(IMAGE, &image);
    super::expect_redeployed(project);
    assert_eq!(project.ask("tiny").as_deref(), Some("hello"));
}

/// It has deployed nothing yet; all that is pure is as fresh there as here.
pub(super) fn another_environment(project: &mut Project) {
    let staging = "[environment.staging.gateway.litellm]\nconfig = \"staging.yaml\"\n";
    project.append("goatbuild.toml", staging);
    project.write("staging.yaml", "model_list: []\n");
    let there = project.plan("--env staging");
    assert_eq!(there.ids("run"), ["deploy:tiny", "gateway:tiny", "smoke:tiny", "weights:model"]);
    assert_eq!(there.ids("fresh"), ["base:tiny", "image:tiny", "wheels:tiny/pip"]);
    super::expect_nothing(project);
}

/// The same program with another version is put in its place.
pub(super) fn another_version(project: &mut Project) {
    let (ours, other) = (env!("CARGO_PKG_VERSION"), "9.8.7");
    assert_eq!(ours.len(), other.len(), "so that nothing moves in the program");
    let program = project.directory().join("goatbuild");
    let replace = format!("s/{}/{other}/g", ours.replace('.', "\\."));
    let mut sed = Command::new("sed");
    let edited = sed.env("LC_ALL", "C").args(["-e", &replace, GOATBUILD]).output().expect("sed");
    std::fs::copy(GOATBUILD, &program).expect("a copy, which can be run");
    std::fs::write(&program, edited.stdout).expect("a program");
    project.wrapper = vec![program.to_str().expect("UTF-8").to_owned()];
    project.run("--version").exits(0).says(&[other]);
    super::expect_nothing(project);
}
