//! The whole way: on small packages made here, and on real ones.

mod fetched;

use std::collections::BTreeMap;
use std::io::Read as _;

use tar::EntryType::{Directory, Link, Regular, Symlink};

use super::fixture::{Deb, locked};
use super::*;
use crate::event::Reporter;

/// The packages that every layer here has.
fn base() -> Vec<Deb> {
    vec![
        Deb::new("base-passwd")
            .file("./usr/share/base-passwd/passwd.master", "root:*:0:0:root:/root:/bin/bash\n")
            .file("./usr/share/base-passwd/group.master", "root:*:0:\n"),
    ]
}

fn layer_of(layout: BaseLayout, debs: &[(&str, Vec<u8>)]) -> Result<Vec<u8>, DebianError> {
    let directory = tempfile::tempdir().unwrap();
    let (locked, paths) = locked(layout, debs, directory.path());
    let mut out = Vec::new();
    write_layer(&locked, &paths, 7, &mut out, &Reporter::silent()).map(|()| out)
}

fn layer(more: Vec<Deb>) -> Result<Vec<u8>, DebianError> {
    layer_in(BaseLayout::NEWEST, more)
}

fn layer_in(layout: BaseLayout, more: Vec<Deb>) -> Result<Vec<u8>, DebianError> {
    let all = base().into_iter().chain(more);
    layer_of(layout, &all.map(|deb| (deb.name, deb.bytes())).collect::<Vec<_>>())
}

/// Path → kind, mode and what the link or file holds; checks owner, time and order on the way.
fn listed(layer: &[u8]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut last = Vec::new();
    for entry in tar::Archive::new(layer).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path_bytes().into_owned();
        assert!(last < path, "{last:?} comes before {path:?}");
        last.clone_from(&path);
        let header = entry.header().clone();
        assert_eq!(
            (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()),
            (0, 0, 7)
        );
        let mut holds = String::new();
        match entry.link_name_bytes() {
            Some(link) => holds = String::from_utf8(link.into_owned()).unwrap(),
            None => _ = entry.read_to_string(&mut holds).unwrap_or_default(),
        }
        let kind = char::from(header.entry_type().as_byte());
        let text = format!("{kind} {:o} {holds}", header.mode().unwrap());
        let path = String::from_utf8(path).unwrap();
        all.insert(path.trim_end_matches('/').to_owned(), text);
    }
    all
}

fn code(outcome: Result<Vec<u8>, DebianError>) -> String {
    let error = outcome.unwrap_err();
    miette::Diagnostic::code(&error).unwrap().to_string()
}

#[test]
fn usr_is_merged_and_links_are_rewritten() {
    let deb = Deb::new("a")
        .has("./", Directory, 0o755, "")
        .has("./bin/", Directory, 0o755, "")
        .has("./bin/tool", Regular, 0o4755, "tool")
        .has("./bin/group", Regular, 0o2755, "group")
        .has("./bin/alias", Symlink, 0o777, "tool")
        .has("./usr/bin/again", Link, 0o4755, "./bin/tool")
        .has("./lib64/ld.so", Symlink, 0o777, "/lib/x/ld.so");
    let all = listed(&layer(vec![deb]).unwrap());
    assert_eq!(all["bin"], "2 777 usr/bin");
    assert_eq!(all["lib64"], "2 777 usr/lib64");
    assert!(!all.contains_key("lib32"));
    assert_eq!(all["usr/bin/alias"], "2 777 tool");
    // The first name in order holds the content. Rights of a group that is lost are not root's.
    assert_eq!(all["usr/bin/again"], "0 4755 tool");
    assert_eq!(all["usr/bin/tool"], "1 4755 usr/bin/again");
    assert_eq!(all["usr/bin/group"], "0 755 group");
    assert_eq!(all["usr"], "5 755 ");
    assert_eq!(all["tmp"], "5 1777 ");
    assert_eq!(all["etc/machine-id"], "0 444 ");
    assert_eq!(all["etc/passwd"], "0 644 root:x:0:0:root:/root:/bin/sh\n");
    assert!(all["var/lib/dpkg/info/a.list"].contains("\n/bin/tool\n"));
    assert!(all["var/lib/dpkg/status"].contains("Package: a\nStatus: install ok installed\n"));
    assert!(!all.contains_key("etc/resolv.conf") && !all.contains_key("etc/hosts"));
}

#[test]
fn long_paths_survive_and_bytes_do_not_vary() {
    const LONG: &str = "./usr/share/0123456789012345678901234567890123456789/0123456789012345678901234567890123456789";
    let build = || layer(vec![Deb::new("a").file(LONG, "x")]).unwrap();
    assert!(build() == build());
    assert_eq!(listed(&build())[&LONG[2..]], "0 644 x");
    let mut tree = tree::Tree::new(&std::env::temp_dir()).unwrap();
    for length in [99, 100, 101, 155, 200, 256, 300] {
        let name = "n".repeat(length);
        tree.put_file(&format!("d/{name}"), 0o644, b"x").unwrap();
        tree.put_link(&format!("l/{name}"), &name);
        tree.put_directory(&format!("{name}/{name}"), 0o755);
    }
    tree.complete().unwrap();
    let wanted: Vec<_> = tree.entries.keys().cloned().collect();
    let mut out = Vec::new();
    archive::write(&mut tree, 7, &mut out, &Reporter::silent()).unwrap();
    let found: Vec<_> = listed(&out).into_keys().map(String::into_bytes).collect();
    assert_eq!(found, wanted);
}

#[test]
fn members_that_climb_out_are_refused() {
    let wicked = [
        Deb::new("a").file("./../x", "x"),
        Deb::new("a").file("./usr/../../x", "x"),
        Deb::new("a").file("/etc/x", "x"),
        Deb::new("a").has("./out", Symlink, 0o777, "/etc").file("./out/x", "x"),
        Deb::new("a").has("./usr/bin", Symlink, 0o777, "/tmp").file("./bin/x", "x"),
        Deb::new("a").has("./x", Link, 0o644, "../etc/shadow"),
        Deb::new("a").has("./x", Link, 0o644, "./usr/share/base-passwd/passwd.master"),
        Deb::new("a").has("./x", tar::EntryType::Char, 0o644, ""),
    ];
    for deb in wicked {
        let path = deb.entries.last().unwrap().0;
        assert_eq!(code(layer(vec![deb])), "goatbuild::debian::unsafe_path", "{path}");
    }
}

#[test]
fn damaged_packages_are_refused() {
    let whole = Deb::new("base-passwd").file("./a", "a").bytes();
    let broken =
        |bytes: &[u8]| code(layer_of(BaseLayout::NEWEST, &[("base-passwd", bytes.to_vec())]));
    for end in (0..whole.len() - 1).step_by(7) {
        assert_eq!(broken(&whole[..end]), "goatbuild::debian::malformed", "cut at {end}");
    }
    assert_eq!(broken(&[b"!<arch>X", &whole[8..]].concat()), "goatbuild::debian::malformed");
    let directory = tempfile::tempdir().unwrap();
    let (locked, paths) = locked(BaseLayout::NEWEST, &[("a", whole)], directory.path());
    std::fs::write(&paths[0], b"other").unwrap();
    let outcome = write_layer(&locked, &paths, 0, &mut Vec::new(), &Reporter::silent());
    assert!(outcome.unwrap_err().to_string().contains("SHA-256 is not the locked one"));
}

#[test]
fn two_packages_may_not_differ_on_a_path_unless_one_replaces_the_other() {
    let one = || Deb::new("one").file("./etc/x", "one");
    let two = || Deb::new("two").file("./etc/x", "two");
    let error = layer(vec![one(), two()]).unwrap_err();
    assert_eq!(error.to_string(), "one and two both contain etc/x, and differ");
    let same = Deb::new("two").file("./etc/x", "one");
    assert_eq!(listed(&layer(vec![one(), same]).unwrap())["etc/x"], "0 644 one");
    let replaced = layer(vec![one(), two().field("Replaces: one (<< 2)")]).unwrap();
    assert_eq!(listed(&replaced)["etc/x"], "0 644 two");
    let replaced = layer(vec![one().field("Replaces: two"), two()]).unwrap();
    assert_eq!(listed(&replaced)["etc/x"], "0 644 one");
    let outcome = layer(vec![one(), two().field("Replaces: one (<< 1)")]);
    assert_eq!(code(outcome), "goatbuild::debian::overlap");
}

#[test]
fn alternatives_come_from_the_table_and_unknown_scripts_are_named() {
    let awk = |name, priority: u32, path| {
        let install = format!(
            "#!/bin/sh\nupdate-alternatives --install /usr/bin/awk awk {path} {priority}\n"
        );
        Deb::new(name).script(&install)
    };
    let gawk = awk("gawk", 10, "/usr/bin/gawk").file("./usr/bin/gawk", "g");
    let mawk = awk("mawk", 5, "/usr/bin/mawk").file("./usr/bin/mawk", "m");
    let all = listed(&layer(vec![gawk, mawk]).unwrap());
    assert_eq!(all["usr/bin/awk"], "2 777 /etc/alternatives/awk");
    assert_eq!(all["etc/alternatives/awk"], "2 777 /usr/bin/gawk");
    assert!(all["var/lib/dpkg/alternatives/awk"].contains("/usr/bin/mawk\n5\n"));

    let unknown = Deb::new("server").script("#!/bin/sh\nset -e\nserve --now\n");
    let other = Deb::new("other").script("#!/usr/bin/perl\n");
    let error = layer(vec![unknown, other]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the scripts of 2 packages do what goatbuild can't do without running them\n  \
         other, postinst, line 1: #!/usr/bin/perl\n  server, postinst, line 3: serve --now"
    );
    assert_eq!(code(Err(error)), "goatbuild::debian::unknown_script");
}

/// As base-files' postinst leaves them, and dpkg what another package ships behind such a link.
#[test]
fn run_and_lock_are_links_but_for_bases_that_were_locked_before() {
    let debs = || {
        let base_files = Deb::new("base-files")
            .script("#!/bin/sh\nmigrate_directory /var/run /run\n")
            .file("./usr/share/base-files/motd", "")
            .file("./usr/share/base-files/profile", "")
            .file("./usr/share/base-files/dot.bashrc", "")
            .file("./usr/share/base-files/dot.profile", "")
            .file("./usr/share/base-files/info.dir", "")
            .has("./run/", Directory, 0o755, "")
            .has("./var/lock/", Directory, 0o1777, "")
            .has("./var/run/", Directory, 0o755, "");
        let server = Deb::new("server")
            .has("./var/run/server/", Directory, 0o750, "")
            .file("./var/run/server/pid", "1")
            .file("./run/server/pid", "2")
            .file("./var/running", "yes");
        vec![base_files, server]
    };
    let below = |all: &BTreeMap<String, String>, at: &[&str]| -> Vec<String> {
        let within = |path: &str| at.iter().any(|at| path.starts_with(at));
        let all = all.iter().filter(|(path, _)| within(path));
        all.map(|(path, what)| format!("{path} {what}")).collect()
    };
    let all = listed(&layer(debs()).unwrap());
    assert_eq!(
        below(&all, &["run", "var/lock", "var/run"]),
        [
            "run 5 755 ",
            "run/lock 5 1777 ",
            "run/server 5 755 ",
            "run/server/pid 0 644 2",
            "var/lock 2 777 /run/lock",
            "var/run 2 777 /run",
            "var/running 0 644 yes",
        ]
    );
    let all = listed(&layer_in(BaseLayout::First, debs()).unwrap());
    assert_eq!(
        below(&all, &["run/lock", "var/lock", "var/run"]),
        [
            "var/lock 5 1777 ",
            "var/run 5 755 ",
            "var/run/server 5 750 ",
            "var/run/server/pid 0 644 1",
            "var/running 0 644 yes",
        ]
    );
}

#[test]
fn what_scripts_do_is_done_to_the_tree() {
    let server = Deb::new("server")
        .script(
            "#!/bin/sh\nset -e\nif [ \"$1\" = configure ]; then\n\
             if ! getent passwd srv >/dev/null; then\n\
             adduser --system --group --home /var/lib/srv --quiet srv\nfi\n\
             adduser srv root\nmkdir -p -m 750 /var/lib/srv/data\nchown srv: /var/lib/srv/data\n\
             [ -e /etc/srv.conf ] || cp /usr/share/srv/srv.conf /etc/srv.conf\n\
             ln -sf /etc/srv.conf /usr/share/srv/current\nchmod u+x /usr/share/srv/run\n\
             rm -f /usr/share/srv/gone\necho \"uid=$(id -u srv)\" > /etc/srv.id\n\
             update-alternatives --install /usr/bin/serve serve /usr/share/srv/run 20\nfi\n",
        )
        .file("./usr/share/srv/srv.conf", "a=1\n")
        .file("./usr/share/srv/run", "#!/bin/sh\n")
        .file("./usr/share/srv/gone", "x");
    let all = listed(&layer(vec![server]).unwrap());
    assert!(all["etc/passwd"].ends_with("\nsrv:x:100:100::/var/lib/srv:/usr/sbin/nologin\n"));
    assert_eq!(all["var/lib/srv/data"], "5 750 ");
    assert_eq!(all["etc/srv.conf"], "0 644 a=1\n");
    assert_eq!(all["usr/share/srv/current"], "2 777 /etc/srv.conf");
    assert!(all["usr/share/srv/run"].starts_with("0 744 "));
    assert!(!all.contains_key("usr/share/srv/gone"));
    assert_eq!(all["etc/srv.id"], "0 644 uid=100\n");
    assert_eq!(all["etc/alternatives/serve"], "2 777 /usr/share/srv/run");
}
