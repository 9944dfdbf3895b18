use super::*;

/// A C library where it is called so, and a program elsewhere.
fn put(path: &str) -> Change {
    let program = Held::Program { architecture: Some(Architecture::Amd64), musl: false };
    let glibc = Held::Glibc(MajorMinor { major: 2, minor: 36 });
    file(path, if path.ends_with("/libc.so.6") { glibc } else { program })
}

fn file(path: &str, held: Held) -> Change {
    Change::Put(path.to_owned(), Node::File(held))
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

/// pyenv's shims and wrappers are scripts; conda's and Debian's are programs behind links.
#[test]
fn what_is_called_python_and_is_none_is_passed_over_and_told() {
    let arm = Held::Program { architecture: Some(Architecture::Arm64), musl: false };
    let musl = Held::Program { architecture: Some(Architecture::Amd64), musl: true };
    let layer = || {
        vec![
            file("pyenv/shims/python3", Held::Script),
            put("usr/local/lib/python3.12/os.py"),
            file("usr/local/bin/python3", Held::Script),
            file("arm/python3.12", arm),
            link("arm/python3", "python3.12"),
            file("musl/python3", musl),
            link("gone/python3", "/etc/alternatives/python3"),
            file("empty/python3", Held::Other),
            put("nameless/python3"),
            link("usr/bin/python3", "../../etc/alternatives/py"),
            link("etc/alternatives/py", "/usr/bin/python3.11"),
            put("usr/bin/python3.11"),
        ]
    };
    let places = "/pyenv/shims:/usr/local/bin:/arm:/musl:/gone:/empty:/nameless:/none";
    let path = |end: &str| format!("PATH={places}{end}");
    let content = found(vec![layer()], &[&path(":/usr/bin")]);
    assert_eq!(python(&content), Some(("/usr/bin/python3.11", "3.11".to_owned())));
    assert_eq!(
        content.passed,
        [
            "`/pyenv/shims/python3` is a script",
            "`/usr/local/bin/python3` is a script",
            "`/arm/python3` is a program for another processor",
            "`/musl/python3` is linked to musl",
            "`/gone/python3` is a link that leads nowhere",
            "`/empty/python3` is no program",
            "`/nameless/python3` doesn't tell its version",
        ]
    );
    assert_eq!(python(&found(vec![layer()], &[&path("")])), None);
    assert!(found(vec![layer()], &["PATH=/usr/bin"]).passed.is_empty());
}
