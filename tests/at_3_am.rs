//! The commands of docs/at-3-am.md: both programs know them, with every option that the page gives.

use std::process::Command;

use crate::support::{installed, modal, peers};

/// What stands in code spans of the page and begins with this program's name, without the name.
fn commands(program: &str) -> Vec<Vec<String>> {
    let page = include_str!("../docs/at-3-am.md");
    let spans = page.split('`').skip(1).step_by(2);
    let lines = spans.filter_map(|span| span.strip_prefix(program)?.strip_prefix(' '));
    let mut found: Vec<Vec<String>> =
        lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
    found.sort();
    found.dedup();
    found
}

/// What a program says of a command when it is asked for help.
fn help(mut program: Command, words: &[String]) -> String {
    let names = words.iter().take_while(|word| word.bytes().all(|it| it.is_ascii_lowercase()));
    // A model's or an app's name has dashes; `logs` and `app logs` have one and two words.
    let output = program.args(names).arg("--help").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("Usage:"), "{words:?}: {said}");
    said
}

#[track_caller]
fn knows_all(help: &str, words: &[String]) {
    for option in words.iter().filter(|word| word.starts_with('-')) {
        let is_there = help.split([' ', ',', '\n']).any(|known| known == option);
        assert!(is_there, "{words:?}: no {option} in\n{help}");
    }
}

#[test]
fn goatbuild_knows_what_the_page_for_3_am_has_it_do() {
    let commands = commands("goatbuild");
    assert!(commands.len() > 10, "{commands:?}");
    for words in commands {
        knows_all(&help(installed::goatbuild(), &words), &words);
    }
}

#[test]
fn modals_client_knows_what_the_page_for_3_am_has_it_do() {
    let Some(venv) = peers::venv("modal", &modal::REQUIREMENTS) else { return };
    let mut commands = commands("modal");
    // `modal app list --env goat` and such; of one command the longest line is enough.
    commands.retain(|words| words.len() > 2);
    assert!(commands.len() > 8, "{commands:?}");
    for words in commands {
        let mut program = Command::new(venv.join("bin/python"));
        program.args(["-m", "modal"]).env("COLUMNS", "200");
        knows_all(&help(program, &words), &words);
    }
}
