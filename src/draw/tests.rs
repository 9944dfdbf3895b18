use proptest::prelude::*;

use super::*;
use crate::draw::style::{Colours, DARK, LIGHT, Page, dark, light};

fn node(kind: &str, name: &str, tone: Tone) -> Node {
    Node {
        kind: kind.to_owned(),
        name: name.to_owned(),
        detail: "3f8a1c2d".to_owned(),
        tone,
        about: format!("{kind}:{name}"),
        count: 1,
    }
}

fn edge(from: usize, to: usize) -> Edge {
    Edge { from, to, flows: true }
}

/// Weights and an image of some layers, served once; the gateway waits for more than the URL.
fn small() -> Diagram {
    let mut nodes = vec![
        node("base", "mlx", Tone::Fresh),
        node("wheels", "mlx × 28", Tone::Run),
        node("image", "mlx", Tone::Pending),
        node("weights", "tiny", Tone::Fresh),
        node("deploy", "tiny", Tone::Pending),
        node("smoke", "tiny", Tone::Pending),
        node("gateway", "tiny", Tone::Pending),
        node("deploy", "old", Tone::Remove),
    ];
    nodes[1].count = 28;
    let order = Edge { flows: false, ..edge(5, 6) };
    let edges = vec![edge(0, 2), edge(1, 2), edge(2, 4), edge(3, 4), edge(4, 5), edge(4, 6), order];
    Diagram { title: "tiny-1".to_owned(), summary: "1 to run".to_owned(), nodes, edges }
}

#[test]
fn every_format_has_the_same_boxes_and_arrows() {
    insta::assert_snapshot!("dot", small().to_dot());
    insta::assert_snapshot!("mermaid", small().to_mermaid());
    insta::assert_snapshot!("svg", small().to_svg());
}

#[test]
fn an_arrow_that_a_longer_way_implies_is_a_shortcut() {
    let mut diagram = small();
    let all = diagram.edges.clone();
    diagram.without_shortcuts();
    let gone: Vec<Edge> = all.into_iter().filter(|edge| !diagram.edges.contains(edge)).collect();
    assert_eq!(gone, [edge(4, 6)]);
}

#[test]
fn kinds_share_columns_and_weights_have_their_own() {
    let layers = layers::layers(&small());
    assert_eq!(layers, [0, 0, 1, 2, 3, 4, 5, 3]);
}

#[test]
fn kinds_in_a_circle_are_drawn_box_by_box() {
    let nodes = ["a", "b", "a"].map(|kind| node(kind, "x", Tone::Plain)).to_vec();
    let diagram = Diagram { nodes, edges: vec![edge(0, 1), edge(1, 2)], ..Diagram::default() };
    assert_eq!(layers::layers(&diagram), [0, 1, 2]);
    assert!(diagram.to_svg().starts_with("<svg "));
}

#[test]
fn nothing_at_all_can_be_drawn() {
    let nothing = Diagram::default();
    assert!(nothing.to_svg().ends_with("</svg>\n"));
    assert!(nothing.to_dot().ends_with("}\n"));
    assert_eq!(nothing.to_mermaid(), "flowchart LR\n");
}

/// The relative luminance of `#rrggbb`, as WCAG 2 defines it.
fn luminance(colour: &str) -> f64 {
    let channel = |at: usize| {
        let value = u8::from_str_radix(&colour[at..at + 2], 16).expect("two digits");
        let value = f64::from(value) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

fn contrast(one: &str, other: &str) -> f64 {
    let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
    one.max(other) / one.min(other)
}

#[test]
fn every_text_can_be_read_on_light_and_dark_pages() {
    for (page, of) in [(LIGHT, light as fn(Tone) -> Colours), (DARK, dark)] {
        let Page { ground, text, faint, .. } = page;
        assert!(contrast(text, ground) >= 7.0 && contrast(faint, ground) >= 4.5);
        for tone in Tone::TOLD.into_iter().chain([Tone::Plain]) {
            let Colours { fill, word, .. } = of(tone);
            for ink in [word, faint, text] {
                let contrast = contrast(ink, fill);
                assert!(contrast >= 4.5, "{ink} on {fill} for {tone:?}: {contrast:.2}");
            }
        }
    }
}

#[test]
fn long_names_keep_both_ends() {
    assert_eq!(text::fitted("short", 10), "short");
    assert_eq!(text::fitted("organisation/model-name", 12), "organ…-name");
    assert_eq!(text::fitted("模型模型模型模型", 10), "模型…模型");
    assert_eq!(text::fitted("模型", 1), "…");
}

/// Arbitrary boxes in arbitrary DAGs.
fn diagrams() -> impl Strategy<Value = Diagram> {
    let tones = prop::sample::select(vec![Tone::Plain, Tone::Fresh, Tone::Run, Tone::Pending]);
    let nodes = prop::collection::vec((0..5u8, "\\PC{0,50}", tones, 1..3usize), 1..24);
    let edges = prop::collection::vec((0..24usize, 0..24usize, any::<bool>()), 0..60);
    (nodes, edges).prop_map(|(nodes, edges)| {
        let nodes: Vec<Node> = nodes
            .into_iter()
            .map(|(kind, name, tone, count)| Node {
                count,
                ..node(&format!("kind-{kind}"), &name, tone)
            })
            .collect();
        let mut edges: Vec<Edge> = edges
            .into_iter()
            .filter(|(from, to, _)| from < to && *to < nodes.len())
            .map(|(from, to, flows)| Edge { from, to, flows })
            .collect();
        edges.sort_unstable();
        edges.dedup_by_key(|edge| (edge.from, edge.to));
        Diagram { title: "any".to_owned(), summary: String::new(), nodes, edges }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn boxes_never_overlap_and_arrows_never_go_back(diagram in diagrams()) {
        let layers = layers::layers(&diagram);
        for edge in &diagram.edges {
            prop_assert!(layers[edge.from] < layers[edge.to]);
        }
        let columns = order::order(&diagram, &layers);
        let heights = vec![50.0; columns.before.len()];
        let middles = place::middles(&columns, &heights);
        let mut seen = 0;
        for column in &columns.order {
            seen += column.len();
            for pair in column.windows(2) {
                prop_assert!(middles[pair[1]] - middles[pair[0]] > 50.0 + 8.0);
            }
        }
        prop_assert_eq!(seen, heights.len());
        prop_assert!(middles.iter().all(|middle| middle.is_finite() && *middle >= 24.9));
        prop_assert_eq!(diagram.to_svg(), diagram.clone().to_svg());
    }

    #[test]
    fn what_shortcuts_are_left_out_reach_the_same(diagram in diagrams()) {
        let mut without = diagram.clone();
        without.without_shortcuts();
        prop_assert_eq!(reachable(&diagram), reachable(&without));
    }
}

fn reachable(diagram: &Diagram) -> Vec<BTreeSet<usize>> {
    let mut sets = vec![BTreeSet::new(); diagram.nodes.len()];
    for at in (0..diagram.nodes.len()).rev() {
        for edge in diagram.edges.iter().filter(|edge| edge.from == at) {
            let behind = sets[edge.to].clone();
            sets[at].extend(behind);
            sets[at].insert(edge.to);
        }
    }
    sets
}
