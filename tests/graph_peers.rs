//! What `graph` draws: by the real binary, read by programs that nobody here wrote.

use crate::support;

use std::fs;
use std::process::{Command, Stdio};

use goatbuild::draw::{Diagram, Edge, Node, Tone};
use serde_json::Value;
use support::debian::DebianRoot;
use support::peers;
use support::project::{Project, Ran, ran};

/// The committed quickstart, never applied. Its locks are committed, so nothing is fetched.
fn quickstart() -> Project {
    Project::of_example("quickstart", "project")
}

/// Drawn from outside of the project, beside which files are written.
fn graph(project: &Project, arguments: &[&str]) -> Ran {
    let all = [&["--offline", "-C", "project", "graph"], arguments].concat();
    ran(project.command(&all).current_dir(project.directory()).env("CI", "1"))
}

/// Names that every format could stumble over, and a shared box.
fn nasty() -> Diagram {
    let names = [
        "plain",
        "say \"hi\"\\n",
        "<b>&amp;</b>",
        "]] --> n0; end",
        "#35; `code` %% {{x}}",
        "größe/模型🐐",
        "a|b~c\u{7}",
    ];
    let node = |(at, name): (usize, &&str)| Node {
        kind: if at == 0 { "first".to_owned() } else { "end".to_owned() },
        name: (*name).to_owned(),
        detail: "graph \"subgraph\"\nstyle".to_owned(),
        tone: Tone::TOLD[at % 5],
        about: format!("about {name}"),
        count: 1 + at % 2,
    };
    let nodes: Vec<Node> = names.iter().enumerate().map(node).collect();
    let edges = (1..nodes.len()).map(|to| Edge { from: 0, to, flows: to % 2 == 0 }).collect();
    Diagram {
        title: "a \"title\" & <more>".to_owned(), summary: "x → y".to_owned(), nodes, edges
    }
}

/// A drawing as Graphviz understands it: names and labels of nodes, ends and styles of arrows.
fn by_graphviz(dot: &str) -> Option<Value> {
    let root = DebianRoot::of("graphviz")?;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("graph.dot");
    fs::write(&file, dot).unwrap();
    // Its plugins are listed in a file that the package's script would have made.
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    let plugins = peers::directory().join("graphviz-root/usr/lib").join(triplet).join("graphviz");
    let run = |arguments: &[&str]| {
        let mut command = root.command("usr/bin/dot");
        ran(command.env("GVBINDIR", &plugins).args(arguments))
    };
    run(&["-c"]).done();
    // Text is measured by tables of Graphviz's own: the root has no fonts.
    let read = run(&["-Tjson", file.to_str().unwrap()]);
    assert_eq!(read.code, 0, "{}\n{dot}", read.stderr);
    assert!(!read.stderr.contains("syntax"), "{}\n{dot}", read.stderr);
    Some(serde_json::from_str(&read.stdout).unwrap())
}

/// A drawing as Mermaid understands it.
fn by_mermaid(text: &str) -> Option<Value> {
    let files = [
        ("package.json", include_str!("support/mermaid/package.json")),
        ("package-lock.json", include_str!("support/mermaid/package-lock.json")),
        ("read.js", include_str!("support/mermaid/read.js")),
    ];
    let peer = peers::npm("mermaid", &files)?;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("graph.mmd");
    fs::write(&file, text).unwrap();
    let read = ran(Command::new("node").current_dir(&peer).arg("read.js").arg(&file));
    assert_eq!(read.code, 0, "{}\n{text}", read.stderr);
    Some(serde_json::from_str(&read.stdout).unwrap())
}

/// Every text between tags, as Python's expat reads the file.
fn by_expat(svg: &str) -> Vec<String> {
    let program = "import sys, json, xml.etree.ElementTree as tree\n\
                   root = tree.fromstring(sys.stdin.buffer.read())\n\
                   assert root.tag == '{http://www.w3.org/2000/svg}svg', root.tag\n\
                   for element in root.iter():\n \
                     assert not element.tag.endswith('script'), element.tag\n\
                   print(json.dumps([element.text for element in root.iter() if element.text]))";
    let mut python = Command::new("python3");
    python.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), svg.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "expat refuses:\n{svg}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_file_says_which_format_is_wanted() {
    let project = quickstart();
    for (file, begin) in [("a.svg", "<svg "), ("a.dot", "digraph "), ("a.mmd", "flowchart LR\n")] {
        assert_eq!(graph(&project, &["-o", file]).done(), "");
        let text = fs::read_to_string(project.directory().join(file)).unwrap();
        assert!(text.starts_with(begin), "{file}: {text}");
    }
    let refused = graph(&project, &["-o", "graph.png"]);
    refused.fails(64, &["goatbuild::usage::graph_format"]);
    assert!(!project.directory().join("graph.png").exists());
}

#[test]
fn the_same_plan_is_the_same_bytes() {
    let (one, other) = (quickstart(), quickstart());
    for format in ["svg", "dot", "mermaid"] {
        let first = graph(&one, &["--format", format]).done();
        assert_eq!(first, graph(&one, &["--format", format]).done());
        assert_eq!(first, graph(&other, &["--format", format]).done());
    }
}

#[test]
fn layers_share_a_box_unless_all_are_wanted() {
    let project = quickstart();
    let few = graph(&project, &[]).done();
    assert!(few.contains("\"wheels:mlx × 28\""), "{few}");
    assert!(!few.contains("\"image:mlx\" -> \"gateway:"), "{few}");
    let all = graph(&project, &["--all", "--plain"]).done();
    assert_eq!(all.matches("\\nmlx/").count(), 28, "{all}");
    assert!(all.contains("\"deploy:tiny-qwen3\" -> \"gateway:tiny-qwen3\""), "{all}");
    assert!(!all.contains("pending") && !all.contains("run"), "{all}");
}

#[test]
fn a_model_that_is_not_there_is_wrong_usage() {
    graph(&quickstart(), &["tiny-qwen4"]).fails(64, &["did you mean `tiny-qwen3`?"]);
}

#[test]
fn graphviz_reads_what_was_written() {
    let dot = graph(&quickstart(), &["--format", "dot"]).done();
    let Some(graph) = by_graphviz(&dot) else { return };
    assert_eq!(graph["objects"].as_array().unwrap().len(), 7, "{graph}");
    assert_eq!(graph["edges"].as_array().unwrap().len(), 6, "{graph}");
    let diagram = nasty();
    let graph = by_graphviz(&diagram.to_dot()).unwrap();
    assert_eq!(graph["name"], diagram.title.as_str());
    let objects = graph["objects"].as_array().unwrap();
    assert_eq!(objects.len(), diagram.nodes.len(), "{graph}");
    for (node, read) in diagram.nodes.iter().zip(objects) {
        // A label is kept with its escapes, which end in a line each; names are kept as they are.
        let name = format!("{}:{}", node.kind, node.name)
            .replace('\\', "\\\\")
            .replace('\u{7}', "\u{fffd}");
        assert_eq!(read["name"], name, "{read}");
    }
    let dashed = graph["edges"].as_array().unwrap().iter().filter(|edge| edge["style"] == "dashed");
    assert_eq!(dashed.count(), diagram.edges.iter().filter(|edge| !edge.flows).count());
}

#[test]
fn mermaid_reads_what_was_written() {
    let text = graph(&quickstart(), &["--format", "mermaid"]).done();
    let Some(graph) = by_mermaid(&text) else { return };
    assert_eq!(graph["nodes"].as_array().unwrap().len(), 7, "{graph}");
    assert_eq!(graph["edges"].as_array().unwrap().len(), 6, "{graph}");
    let diagram = nasty();
    let graph = by_mermaid(&diagram.to_mermaid()).unwrap();
    let nodes = graph["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), diagram.nodes.len(), "{graph}");
    for (at, read) in nodes.iter().enumerate() {
        let text = read["text"].as_str().unwrap();
        // Mermaid keeps its entities until it draws: `ﬂ°°34¶ß` is `#34;`.
        let letters = text.replace("ﬂ°°", "#").replace("ﬂ°", "#").replace("¶ß", ";");
        let read = unescaped(&letters);
        let node = &diagram.nodes[at];
        let start = format!("<b>{}</b><br>{}<br><small>", node.kind, node.name);
        assert!(read.starts_with(&start), "{read} instead of {start}");
    }
    assert_eq!(graph["edges"].as_array().unwrap().len(), diagram.edges.len());
    let dotted =
        graph["edges"].as_array().unwrap().iter().filter(|edge| edge["stroke"] == "dotted");
    assert_eq!(dotted.count(), diagram.edges.iter().filter(|edge| !edge.flows).count());
}

/// Mermaid's own entities, `#34;` for `"`, as letters.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('#');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (number, rest) = part.split_once(';').expect("an entity ends");
        plain.push(char::from_u32(number.parse().expect("a number")).expect("a letter"));
        plain.push_str(rest);
    }
    plain
}

#[test]
fn svg_is_xml_that_holds_every_name() {
    let svg = graph(&quickstart(), &["--format", "svg"]).done();
    let texts = by_expat(&svg);
    for text in ["quickstart-3f8a1c", "34 to run", "mlx × 28", "gateway", "tiny-qwen3"] {
        assert!(texts.iter().any(|known| known == text), "{text} is not in {texts:?}");
    }
    let texts = by_expat(&nasty().to_svg());
    for name in ["<b>&amp;</b>", "größe/模型🐐", "say \"hi\"\\n", "a|b~c\u{fffd}"] {
        assert!(texts.iter().any(|known| known == name), "{name} is not in {texts:?}");
    }
}
