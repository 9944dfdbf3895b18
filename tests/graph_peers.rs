//! What `graph` writes, read by programs that nobody here wrote.

mod support;

use support::debian::DebianRoot;

#[test]
fn probe() {
    let Some(root) = DebianRoot::of("graphviz") else { return };
    eprintln!("{}", root.version);
    let out = root.command("usr/bin/dot").arg("-V").output().unwrap();
    eprintln!("{out:?}");
}
