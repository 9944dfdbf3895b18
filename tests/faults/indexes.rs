//! Where wheels come from, as of when, and whose a path is: what images' files say of it.

use std::fmt::Write as _;

use goatbuild::fetch::sha256_of;

use super::server::{Answer, Server};
use super::wheels::{Member, build_of, wheel, wheel_of, whole};
use super::{built, downloaded};
use crate::support::project::{Project, Ran};
use crate::support::{installed, peers};

fn sha256(mut bytes: &[u8]) -> String {
    sha256_of(&mut bytes).expect("a digest").hex()
}

/// Serves a wheel from the host `files`, and gives its link as the index of `PyTorch` writes it: absolute, with
/// `%2B`, digests of the file and of its metadata, and no time (`s3_management/manage_v2.py` of
/// pytorch/test-infra).
fn link(files: &Server, name: &str, version: &str, requires: &str) -> String {
    let bytes = wheel_of(name, version, &[]);
    let file = format!("{name}-{version}-py3-none-any.whl");
    let encoded = file.replace('+', "%2B");
    let mut metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
    if !requires.is_empty() {
        let _ = writeln!(metadata, "Requires-Dist: {requires}");
    }
    let (of_file, of_metadata) = (sha256(&bytes), sha256(metadata.as_bytes()));
    files.on(&format!("/whl/cu128/{encoded}"), [Answer::Body(bytes)]);
    files.on(&format!("/whl/cu128/{encoded}.metadata"), [Answer::Body(metadata.into_bytes())]);
    let url = files.url(&format!("/whl/cu128/{encoded}"));
    format!(
        "    <a href=\"{url}#sha256={of_file}\" data-dist-info-metadata=\"sha256={of_metadata}\" data-core-metadata=\"sha256={of_metadata}\">{file}</a><br/>\n"
    )
}

fn page(index: &Server, path: &str, name: &str, links: &str) {
    let page = format!(
        "<!DOCTYPE html>\n<html>\n  <body>\n    <h1>Links for {name}</h1>\n{links}  </body>\n</html>\n<!--TIMESTAMP 1745434347-->\n"
    );
    index.on(&format!("{path}/{name}/"), [Answer::Body(page.into_bytes())]);
}

/// A default index with a newer torch and what needs one; another one with torch for CUDA; and the host that
/// has the files of both.
fn indexes() -> [Server; 3] {
    let [main, torch, files] = [Server::start(), Server::start(), Server::start()];
    for (name, version, requires) in
        [("torch", "2.9.0", ""), ("user", "1.0", "torch>=2"), ("pip", "25.0", "")]
    {
        page(&main, "/simple", name, &link(&files, name, version, requires));
    }
    for (name, version, requires) in
        [("torch", "2.7.0+cu128", ""), ("torchvision", "0.22.0+cu128", "torch==2.7.0")]
    {
        page(&torch, "/whl/cu128", name, &link(&files, name, version, requires));
    }
    [main, torch, files]
}

fn image(project: &Project, lines: &str) {
    let base = "base = { debian = \"bookworm\", packages = [\"python3\"] }\n";
    project.write("images/tiny.toml", &format!("{base}{lines}\n"));
}

#[test]
fn packages_come_from_the_index_that_is_named_for_them_whoever_requires_them() {
    let [main, torch, _files] = indexes();
    let index = torch.url("/whl/cu128");
    let mut locks = Vec::new();
    for version in ["0.8.0", "0.13.9"] {
        let requirement = format!("uv=={version}");
        let Some(venv) = peers::venv(&requirement.replace("==", "-"), &[&requirement]) else {
            continue;
        };
        let Some(mut project) = built() else { return };
        project.variable("PATH", &installed::path_with_uv(&venv.join("bin/uv")));
        project.variable("UV_DEFAULT_INDEX", &main.url("/simple"));
        project.variable("UV_NO_CACHE", "1");
        // Only `user` says that it needs torch.
        let lines = format!(
            "requirements = [\"user\"]\nindex = [{{ url = \"{index}/\", packages = [\"Torch\", \"torchvison\"] }}]"
        );
        image(&project, &lines);
        let told = project.run(&["lock"]).exits(0).stderr;
        assert!(told.contains("nothing needs torchvison"), "{told}");
        let lock = project.read("images/tiny.pylock.toml");
        for words in
            ["torch-2.7.0%2Bcu128-py3", &format!("index = \"{index}\"\nwheels"), "user-1.0"]
        {
            assert!(lock.contains(words), "no {words} in {lock}");
        }
        assert_eq!(lock.matches("\nindex = ").count(), 1, "{lock}");
        project.run(&["apply", "--only", "image:tiny"]).exits(0);

        // What is required by name, and in its turn requires what comes from there as well.
        let lines =
            lines.replace("\"user\"", "\"user\", \"torchvision\"").replace("vison", "vision");
        image(&project, &lines);
        let told = project.run(&["lock"]).exits(0).stderr;
        assert!(!told.contains("nothing needs"), "{told}");
        let lock = project.read("images/tiny.pylock.toml");
        assert!(lock.contains("torchvision-0.22.0%2Bcu128"), "{lock}");
        project.run(&["plan", "--locked"]).exits(0);
        locks.push(lock);

        image(&project, &format!("{lines}\nas-of = \"2025-05-10\""));
        let words = ["does not say when", "as of 2025-05-11T00:00:00Z", "PyTorch's index"];
        project.run(&["lock"]).fails(65, &words);
        image(&project, &format!("{lines}\noverrides = [\"torch==2.7.0\"]"));
        project.run(&["lock"]).fails(65, &["image tiny overrides torch", "torch==VERSION"]);
        image(&project, &lines.replace("http://", "http://me:secret@"));
        let output = project.run(&["lock"]).fails(65, &["~/.netrc"]);
        assert!(!output.stderr.contains("`index[0].url` can't be \"http"), "{}", output.stderr);
    }
    assert!(locks.windows(2).all(|two| two[0] == two[1]), "{locks:?}");
}

/// PEP 592 on an HTML page, and PEP 691 on one in JSON.
#[test]
fn what_was_taken_back_and_what_falls_back_is_told_with_its_reason() {
    let Some(mut project) = downloaded() else { return };
    let [main, _torch, files] = indexes();
    project.variable("UV_DEFAULT_INDEX", &main.url("/simple"));
    project.variable("UV_NO_CACHE", "1");
    let bad = link(&files, "bad", "1.0", "").replace("<a ", "<a data-yanked=\"it eats goats\" ");
    page(&main, "/simple", "bad", &bad);
    let old = link(&files, "old", "0.1", "") + "<a href=\"/old-2.0.tar.gz\">old-2.0.tar.gz</a>\n";
    page(&main, "/simple", "old", &old);
    image(&project, "requirements = [\"bad==1.0\", \"old\", \"user[nosuch]\"]");
    let told = project.run(&["lock"]).exits(0).stderr;
    for words in [
        "it eats goats",
        "does not have an extra named `nosuch`",
        "old 0.1 is locked, and not 2.0: that has no wheel, only a source archive",
    ] {
        assert!(told.contains(words), "no {words} in {told}");
    }
    // Once it is locked there is nothing to tell.
    let told = project.run(&["lock"]).exits(0).stderr;
    assert!(!told.contains("goats"), "{told}");
}

/// An image of two wheels that own one path, with this `overlap`.
fn applied(overlap: &str) -> Option<(Project, Ran)> {
    let one = wheel("one", &[Member::File("shared/x.py", "x = 1\n")]);
    let two = wheel("two", &[Member::File("shared/x.py", "x = 2\n")]);
    build_of(&[("one", &one), ("two", &two)], whole, |project| {
        let image = project.read("images/tiny.toml");
        project.write("images/tiny.toml", &format!("{image}overlap = {overlap}\n"));
        project.run(&["apply", "--only", "image:tiny"])
    })
}

#[test]
fn who_is_named_wins_and_who_is_not_there_is_told_in_place() {
    let overlap = "{ \"shared/*\" = \"Two\", \"other/*\" = \"one\" }";
    let Some((_, output)) = applied(overlap) else { return };
    let output = output.exits(0);
    let unused = "no two wheels own what `overlap` calls \"other/*\"";
    assert!(output.stderr.contains(unused), "{output:?}");
    let Some((_, output)) = applied("{ \"shared/*\" = \"tow\" }") else { return };
    output.fails(65, &["there is no wheel `tow`", "images/tiny.toml", "did you mean `two`"]);
}
