use super::*;
use crate::lock::Built;
use crate::project;

fn open(root: &Path) -> Workspace {
    let sources = project::load(root).expect("a project");
    let settings = Settings {
        offline: true,
        locked: false,
        state: root.join("state"),
        program: root.join("goatbuild"),
        epoch: 0,
        patience: Patience::default(),
        mirrors: Mirrors::default(),
        credentials: Vec::new(),
        hub: || panic!("no hub is asked"),
    };
    let project = project::read(&sources, None).expect("a project without mistakes");
    Workspace::open(root.to_owned(), project, settings).expect("a workspace")
}

#[test]
fn commands_at_the_same_time_lose_nothing_that_the_other_locked() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("goatbuild.toml"), "[project]\nid = \"one-2f\"\n")
        .unwrap();
    let key = format!("gb1-{}", "0".repeat(40)).parse().expect("a key");
    let built = || Built { key, facts: [("digest".to_owned(), "sha256:1".to_owned())].into() };
    let name = |worker: usize, at: usize| StepId::from(format!("image:{worker}-{at}").as_str());
    // Each was opened before any of them wrote.
    let workspaces: Vec<Workspace> = (0..4).map(|_| open(directory.path())).collect();
    std::thread::scope(|scope| {
        for (worker, workspace) in workspaces.iter().enumerate() {
            scope.spawn(move || {
                for at in 0..10 {
                    let insert =
                        |lock: &mut LockFile| drop(lock.built.insert(name(worker, at), built()));
                    workspace.change_lock(insert).expect("the lock is written");
                }
            });
        }
    });
    let kept = open(directory.path()).lock(|lock| lock.built.len());
    assert_eq!(kept, 40);
}
