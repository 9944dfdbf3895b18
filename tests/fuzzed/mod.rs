//! The fuzzers' entries and seeds, for as long as a test may take: no bytes make them panic.

mod mutated;
#[path = "../../fuzz/src/lib.rs"]
#[allow(dead_code, unreachable_pub, reason = "the fuzzers have it as a library of their own")]
mod readers;

use std::fs;
use std::path::Path;

use readers::Reader;

/// Gives a reader its seeds as they are, and so many of them changed.
fn try_out(name: &str, rounds: u64) {
    let (_, read): (_, Reader) =
        *readers::READERS.iter().find(|(known, _)| *known == name).expect("a reader");
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut seeds: Vec<_> = fs::read_dir(seeds).expect("seeds").flatten().collect();
    seeds.sort_by_key(fs::DirEntry::file_name);
    let seeds: Vec<Vec<u8>> =
        seeds.iter().map(|seed| fs::read(seed.path()).expect("a seed")).collect();
    let scratch = tempfile::tempdir().expect("a directory");
    for seed in &seeds {
        read(seed, scratch.path());
    }
    mutated::mutated(&seeds, rounds, |bytes| read(bytes, scratch.path()));
}

#[test]
fn no_bytes_make_reading_a_package_panic() {
    try_out("deb", 500);
}

#[test]
fn no_bytes_make_unpacking_a_layer_panic_or_leave_its_directory() {
    try_out("layer", 800);
}

#[test]
fn no_bytes_make_reading_a_lock_panic() {
    try_out("lock", 800);
}

#[test]
fn no_text_makes_reading_a_deploy_script_panic() {
    try_out("script", 1000);
}

#[test]
fn no_text_makes_reading_a_project_panic() {
    try_out("spec", 1500);
}

#[test]
fn no_bytes_make_reading_a_wheel_panic() {
    try_out("wheel", 2000);
}

#[test]
fn no_text_makes_an_edit_of_a_gateway_s_file_panic_or_spoil_what_it_took() {
    try_out("yaml", 3000);
}

/// Each has a target of the fuzzers, and seeds.
#[test]
fn every_reader_is_fuzzed() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).expect("a manifest");
    let targets = manifest.matches("[[bin]]").count();
    assert_eq!(targets, readers::READERS.len());
    for (name, _) in readers::READERS {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}
