//! What is remembered between runs, damaged or gone: what is deployed is recognised all the same.

use super::built;
use crate::support::project::Project;

/// What a plan says, whoever made it.
fn fresh(project: &Project) {
    project.run("plan --detailed-exitcode").exits(0);
}

#[test]
fn a_damaged_state_is_put_aside_and_nothing_is_deployed_twice_or_forgotten() {
    let Some(project) = built() else { return };
    project.run("apply").exits(0);
    let instance = project.instance("tiny");
    let database = project.path("cache/state.db");
    let aside = || {
        let names = std::fs::read_dir(project.path("cache")).expect("reads").flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let is_whole = |name: &String| !name.ends_with("-wal") && !name.ends_with("-shm");
        names.filter(|name| name.starts_with("state.db.damaged-") && is_whole(name)).count()
    };
    // No database at all, one that was cut, and one whose pages hold something else.
    let damages: [&dyn Fn(Vec<u8>) -> Vec<u8>; 3] = [
        &|bytes| vec![0x5a; bytes.len()],
        &|mut bytes| {
            bytes.truncate(bytes.len() / 2 / 4096 * 4096);
            bytes
        },
        &|mut bytes| {
            bytes[4096..].fill(0x5a);
            bytes
        },
    ];
    for (before, damage) in damages.into_iter().enumerate() {
        let bytes = damage(std::fs::read(&database).expect("reads"));
        std::fs::write(&database, &bytes).expect("writes");
        if before == 0 {
            // Who only looks leaves it there.
            let plan = project.run("plan --detailed-exitcode").exits(0);
            plan.tells(&["state.db is damaged: ", "going on without it"]);
            assert_eq!(std::fs::read(&database).expect("reads"), bytes);
        }
        let told = ["cache/state.db was damaged, and is cache/state.db.damaged-"];
        let applied = project.run("apply").tells(&told);
        assert!(!applied.stderr.contains("deploy:tiny"), "{}", applied.stderr);
        applied.ran_nothing();
        assert_eq!(project.instance("tiny"), instance);
        fresh(&project);
        let again = project.run("apply").ran_nothing();
        assert!(!again.stderr.contains("damaged"), "{}", again.stderr);
        assert!(aside() > 0, "{before}");
        // Names are of a second's precision.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    assert_eq!(aside(), 3);
}

#[test]
fn a_cache_that_is_removed_meanwhile_is_told_as_that() {
    let Some(project) = built() else { return };
    let mut apply = project.start("apply --json");
    assert!(apply.until_started("deploy:tiny"), "it starts a server");
    std::fs::rename(project.path("cache"), project.path("gone")).expect("moves");
    let ran = apply.finish();
    ran.tells(&["cache/ was removed or moved while this apply was at work"]);
    project.run("apply").exits(0);
    assert_eq!(project.servers(), 1);
}
