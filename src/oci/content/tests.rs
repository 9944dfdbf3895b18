use super::*;

fn put(path: &str) -> Change {
    let version =
        is_libc(path.rsplit('/').next().unwrap()).then_some(MajorMinor { major: 2, minor: 36 });
    Change::Put(path.to_owned(), Node::File(version))
}

fn link(path: &str, target: &str) -> Change {
    Change::Put(path.to_owned(), Node::Link(target.to_owned()))
}

fn found(layers: Vec<Vec<Change>>, env: &[&str]) -> Content {
    let mut tree = Tree::default();
    for layer in layers {
        tree.apply(layer);
    }
    let env: Vec<String> = env.iter().map(|&line| line.to_owned()).collect();
    tree.content(&env, Architecture::Amd64)
}

fn python(content: &Content) -> Option<(&str, String)> {
    content.python.as_ref().map(|it| (it.path.as_str(), it.version.to_string()))
}

#[test]
fn debians_merged_directories_and_python_are_seen_through() {
    let content = found(
        vec![vec![
            link("lib", "usr/lib"),
            link("bin", "usr/bin"),
            put("usr/lib/x86_64-linux-gnu/libc.so.6"),
            put("usr/bin/python3.11"),
            link("usr/bin/python3", "python3.11"),
        ]],
        &[],
    );
    assert_eq!(content.glibc.map(|version| version.to_string()).as_deref(), Some("2.36"));
    assert_eq!(python(&content), Some(("/usr/bin/python3.11", "3.11".to_owned())));
    assert!(!content.musl && content.taken.is_none());
}

#[test]
fn the_first_python_on_the_images_own_path_counts() {
    let layers = || {
        vec![
            vec![put("usr/bin/python3.11"), link("usr/bin/python3", "python3.11")],
            vec![put("opt/conda/bin/python3.12"), link("opt/conda/bin/python3", "python3.12")],
        ]
    };
    let path = "PATH=/opt/conda/bin:/usr/bin";
    let content = found(layers(), &[path]);
    assert_eq!(python(&content), Some(("/opt/conda/bin/python3.12", "3.12".to_owned())));
    let content = found(layers(), &[]);
    assert_eq!(python(&content), Some(("/usr/bin/python3.11", "3.11".to_owned())));
}

#[test]
fn upper_layers_replace_and_hide_what_is_below() {
    let base = || vec![put("usr/bin/python3.11"), link("usr/bin/python3", "/usr/bin/python3.11")];
    let hidden = found(vec![base(), vec![Change::Hide("usr/bin/python3".to_owned())]], &[]);
    assert_eq!(python(&hidden), None);
    let opaque = vec![put("usr/bin/other"), Change::HideAll("usr/bin".to_owned())];
    let content = found(vec![base(), opaque], &[]);
    assert_eq!(python(&content), None);
    let replaced = vec![put("usr/bin/python3.13"), link("usr/bin/python3", "python3.13")];
    let content = found(vec![base(), replaced], &[]);
    assert_eq!(python(&content), Some(("/usr/bin/python3.13", "3.13".to_owned())));
}

#[test]
fn a_program_without_a_number_has_its_librarys() {
    let library = put("usr/local/lib/python3.12/os.py");
    let content = found(vec![vec![put("usr/local/bin/python3"), library]], &[]);
    assert_eq!(python(&content), Some(("/usr/local/bin/python3", "3.12".to_owned())));
}

#[test]
fn musl_and_taken_paths_are_told() {
    assert!(found(vec![vec![put("lib/ld-musl-x86_64.so.1")]], &[]).musl);
    let taken = |change| found(vec![vec![change]], &[]).taken;
    assert_eq!(taken(put("opt/goatbuild/bin/x")).as_deref(), Some("/opt/goatbuild"));
    assert_eq!(taken(link("opt", "usr/opt")).as_deref(), Some("/opt"));
    assert_eq!(taken(put("opt/goatbuilder/x")), None);
}

#[test]
fn links_in_circles_end() {
    let circle = vec![link("lib", "lib"), link("usr/bin/python3", "python3")];
    assert_eq!(python(&found(vec![circle], &[])), None);
}

#[test]
fn glibc_says_its_version_in_a_banner() {
    let banner = |text: &str| glibc_version(format!("\0junk{text}\0").as_bytes());
    let ubuntu = "GNU C Library (Ubuntu GLIBC 2.35-0ubuntu3.8) stable release version 2.35.\nC";
    assert_eq!(banner(ubuntu).map(|version| version.to_string()).as_deref(), Some("2.35"));
    let old = "GNU C Library (GNU libc) development release version 2.28.9000, by R";
    assert_eq!(banner(old).map(|version| version.to_string()).as_deref(), Some("2.28"));
    assert_eq!(banner("GNU C Library of sorts"), None);
}
