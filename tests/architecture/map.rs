//! What people read of the order is what is checked: the tables of `ARCHITECTURE.md` and `lib.rs`.

use std::fs;
use std::path::Path;

use super::FLOORS;

/// The rows of the table under a heading: a floor, and the names between backticks in the cell after.
fn table(text: &str, head: &str) -> Vec<(String, Vec<String>)> {
    let mut rows = Vec::new();
    let mut lines = text.lines().map(|line| line.trim_start_matches("//! ").trim());
    assert!(lines.any(|line| line.starts_with(head)), "no table begins with `{head}`");
    for line in lines.skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let named = cells[2].split('`').skip(1).step_by(2).flat_map(str::split_whitespace);
        let bare = |name: &str| name.trim_end_matches('/').trim_end_matches(".rs").to_owned();
        rows.push((cells[1].replace('*', ""), named.map(bare).collect()));
    }
    rows
}

/// The floors from the top to the core, each with its rooms in the order of the alphabet.
fn floors(rows: Vec<(String, Vec<String>)>) -> Vec<(String, Vec<String>)> {
    let mut floors: Vec<(String, Vec<String>)> = Vec::new();
    for (floor, rooms) in rows {
        match floors.last_mut() {
            // Several rows may tell of one floor.
            Some((_, others)) if floor.is_empty() => others.extend(rooms),
            _ => floors.push((floor, rooms)),
        }
    }
    for (_, rooms) in &mut floors {
        rooms.sort();
    }
    floors
}

fn built() -> Vec<(String, Vec<String>)> {
    let own = FLOORS.iter().rev().map(|(floor, rooms)| {
        ((*floor).to_owned(), rooms.iter().map(|room| (*room).to_owned()).collect())
    });
    floors(own.collect())
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_architecture_page_tells_this_order() {
    assert_eq!(floors(table(&read("ARCHITECTURE.md"), "| floor | room |")), built());
}

#[test]
fn the_front_page_of_the_crate_tells_this_order() {
    let library = read("src/lib.rs");
    // The one room that is a program of its own.
    let built: Vec<_> = built().into_iter().filter(|(_, rooms)| rooms != &["main"]).collect();
    assert_eq!(floors(table(&library, "| floor | rooms |")), built);
    let mut modules: Vec<&str> = library
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .filter(|module| *module != "testing")
        .collect();
    let mut rooms: Vec<_> =
        built.iter().flat_map(|(_, rooms)| rooms.iter().map(String::as_str)).collect();
    modules.sort_unstable();
    rooms.sort_unstable();
    assert_eq!(rooms, modules, "each module has one room");
}
