//! SVG, laid out here: layers, crossings, coordinates.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::order::{Columns, order};
use super::place::middles;
use super::style::{Colours, DARK, LIGHT, Page, dark, light};
use super::text::{fitted, mono, sans, xml};
use super::{Diagram, Node, Tone, layers};

/// Sizes in pixels.
const MARGIN: f64 = 24.0;
const HEADER: f64 = 74.0;
const FOOTER: f64 = 40.0;
const PADDING: f64 = 14.0;
const NARROWEST: f64 = 132.0;
const KIND_SIZE: f64 = 10.5;
const NAME_SIZE: f64 = 13.0;
const DETAIL_SIZE: f64 = 10.5;
/// Names that take more cells are cut in the middle; the tooltip has them whole.
const LONGEST_NAME: u32 = 38;
const LONGEST_DETAIL: u32 = 44;
/// How far each card behind a box that stands for several peeks out.
const PEEK: f64 = 3.5;

/// A box with its place.
struct Placed<'a> {
    node: &'a Node,
    name: String,
    detail: String,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

pub(super) fn render(diagram: &Diagram) -> String {
    let layers = layers::layers(diagram);
    let columns = order(diagram, &layers);
    let mut heights = vec![2.0; columns.before.len()];
    for (height, node) in heights.iter_mut().zip(&diagram.nodes) {
        *height = height_of(node);
    }
    let middles = middles(&columns, &heights);
    let (lefts, widths, right) = across(diagram, &columns);
    let boxes: Vec<Placed<'_>> = diagram
        .nodes
        .iter()
        .enumerate()
        .map(|(at, node)| Placed {
            node,
            name: fitted(&node.name, LONGEST_NAME),
            detail: fitted(&node.detail, LONGEST_DETAIL),
            x: lefts[layers[at]],
            y: HEADER + middles[at] - heights[at] / 2.0,
            width: widths[layers[at]],
            height: heights[at],
        })
        .collect();
    let bottom = boxes.iter().map(|placed| placed.y + placed.height).fold(HEADER, f64::max);
    let tones: BTreeSet<Tone> = diagram.nodes.iter().map(|node| node.tone).collect();
    let header = sans(&diagram.title, 17.0).max(sans(&diagram.summary, 12.0));
    let width = (right + MARGIN).max(header + 2.0 * MARGIN).max(legend_width(diagram, &tones));
    let height = bottom + FOOTER + MARGIN / 2.0;

    let mut text = String::new();
    head(&mut text, diagram, &tones, width, height);
    arrows(
        &mut text,
        diagram,
        &columns,
        &Ways { boxes: &boxes, layers: &layers, middles, lefts, widths },
    );
    for placed in &boxes {
        draw(&mut text, placed);
    }
    legend(&mut text, diagram, &tones, bottom + FOOTER - 8.0);
    text.push_str("</svg>\n");
    text
}

fn height_of(node: &Node) -> f64 {
    let peeks = if node.count > 1 { 2.0 * PEEK } else { 0.0 };
    peeks + if node.detail.is_empty() { 46.0 } else { 62.0 }
}

/// Where columns begin, how wide they are, and where the last one ends.
fn across(diagram: &Diagram, columns: &Columns) -> (Vec<f64>, Vec<f64>, f64) {
    let mut x = MARGIN;
    let (mut lefts, mut widths) = (Vec::new(), Vec::new());
    for column in &columns.order {
        let boxes = column.iter().filter(|point| **point < columns.boxes);
        let width = boxes.map(|at| width_of(&diagram.nodes[*at])).fold(NARROWEST, f64::max);
        lefts.push(x);
        widths.push(width);
        // The more arrows share a gap, the more room they get to bend in.
        let arrows: usize = column.iter().map(|point| columns.behind[*point].len()).sum();
        let arrows = f64::from(u32::try_from(arrows.min(40)).unwrap_or(40));
        x += width + 52.0 + arrows * 1.5;
    }
    let right = lefts.last().zip(widths.last()).map_or(MARGIN, |(left, width)| left + width);
    (lefts, widths, right)
}

fn width_of(node: &Node) -> f64 {
    let kind = sans(&node.kind, KIND_SIZE) + 22.0 + sans(node.tone.word(), KIND_SIZE);
    let name = mono(&fitted(&node.name, LONGEST_NAME), NAME_SIZE);
    let detail = mono(&fitted(&node.detail, LONGEST_DETAIL), DETAIL_SIZE);
    kind.max(name).max(detail).ceil() + 2.0 * PADDING + 4.0
}

/// A coordinate with one digit behind the point at most.
fn at(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn head(text: &mut String, diagram: &Diagram, tones: &BTreeSet<Tone>, width: f64, height: f64) {
    let (width, height) = (at(width.ceil()), at(height.ceil()));
    let _ = writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"title desc\">"
    );
    let _ = writeln!(text, "<title id=\"title\">{}</title>", xml(&diagram.title));
    let _ = writeln!(text, "<desc id=\"desc\">{}</desc>", xml(&description(diagram)));
    text.push_str("<style>\n");
    text.push_str(
        "text{font-family:ui-sans-serif,system-ui,-apple-system,\"Segoe UI\",\"Noto Sans\",\
         \"Liberation Sans\",\"DejaVu Sans\",sans-serif}\n\
         .n,.d{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,\"Liberation Mono\",\
         \"DejaVu Sans Mono\",monospace}\n\
         .t{font-size:17px;font-weight:600}.s{font-size:12px}\
         .k,.w{font-size:10.5px}.w{font-weight:600;text-anchor:end}\
         .n{font-size:13px}.d{font-size:10.5px}\n\
         .b{stroke-width:1.2}.pending .b{stroke-dasharray:4 3}\
         .a{fill:none;stroke-width:1.5}.o{stroke-dasharray:5 4}\n",
    );
    colours(text, tones, &LIGHT, light);
    text.push_str("@media (prefers-color-scheme:dark){\n");
    colours(text, tones, &DARK, dark);
    text.push_str("}\n</style>\n");
    let _ = writeln!(text, "<rect class=\"g\" width=\"{width}\" height=\"{height}\"/>");
    let left = at(MARGIN);
    let _ =
        writeln!(text, "<text class=\"t\" x=\"{left}\" y=\"30\">{}</text>", xml(&diagram.title));
    if !diagram.summary.is_empty() {
        let summary = xml(&diagram.summary);
        let _ = writeln!(text, "<text class=\"s\" x=\"{left}\" y=\"47\">{summary}</text>");
    }
}

/// The rules that give everything its colour.
fn colours(text: &mut String, tones: &BTreeSet<Tone>, page: &Page, of: fn(Tone) -> Colours) {
    let Page { ground, text: ink, faint, arrow } = page;
    let _ = writeln!(
        text,
        ".g{{fill:{ground}}}.t,.n{{fill:{ink}}}.s,.k,.d{{fill:{faint}}}.a{{stroke:{arrow}}}.h{{fill:{arrow}}}"
    );
    for tone in tones {
        let Colours { fill, line, word } = of(*tone);
        let name = class(*tone);
        let _ = writeln!(
            text,
            ".{name} .b{{fill:{fill};stroke:{line}}}.{name} .m{{fill:{line}}}.{name} .w{{fill:{word}}}"
        );
        if moves(*tone) {
            let _ = writeln!(text, ".a.{name}{{stroke:{line}}}.h.{name}{{fill:{line}}}");
        }
    }
    if tones.contains(&Tone::Fresh) && tones.len() > 1 {
        let _ = writeln!(text, ".fresh .n{{fill:{faint}}}");
    }
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "plain",
        tone => tone.word(),
    }
}

/// Whether something happens to a box of this tone that reaches what stands behind it.
fn moves(tone: Tone) -> bool {
    matches!(tone, Tone::Run | Tone::Pending)
}

fn description(diagram: &Diagram) -> String {
    let mut lines = vec![diagram.summary.clone()];
    for (at, node) in diagram.nodes.iter().enumerate() {
        let name = |at: usize| format!("{} {}", diagram.nodes[at].kind, diagram.nodes[at].name);
        let mut line = name(at);
        if node.tone != Tone::Plain {
            let _ = write!(line, " ({})", node.tone.word());
        }
        let before = diagram.edges.iter().filter(|edge| edge.to == at);
        let before: Vec<_> = before.map(|edge| name(edge.from)).collect();
        if !before.is_empty() {
            let _ = write!(line, " after {}", before.join(", "));
        }
        lines.push(line);
    }
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

/// What arrows need to find their way.
struct Ways<'a> {
    boxes: &'a [Placed<'a>],
    layers: &'a [usize],
    middles: Vec<f64>,
    lefts: Vec<f64>,
    widths: Vec<f64>,
}

/// Draws all arrows, those between boxes that change over the others.
fn arrows(text: &mut String, diagram: &Diagram, columns: &Columns, ways: &Ways<'_>) {
    const HEAD: f64 = 7.0;
    let mut plain = String::new();
    let mut told = String::new();
    for (edge, route) in diagram.edges.iter().zip(&columns.routes) {
        let (from, to) = (&ways.boxes[edge.from], &ways.boxes[edge.to]);
        let tone = from.node.tone.min(to.node.tone);
        let moving = moves(from.node.tone) && moves(to.node.tone);
        let peek = if from.node.count > 1 { 2.0 * PEEK } else { 0.0 };
        let mut x = from.x + from.width - peek;
        let mut y = HEADER + ways.middles[edge.from];
        let mut path = format!("M{} {}", at(x), at(y));
        for (step, point) in route.iter().enumerate().skip(1) {
            let column = ways.layers[edge.from] + step;
            let last = step + 1 == route.len();
            let end = ways.lefts[column] - if last { HEAD - 1.0 } else { 0.0 };
            let next = HEADER + ways.middles[*point];
            let half = f64::midpoint(x, end);
            let (half, next_y) = (at(half), at(next));
            let _ = write!(path, "C{half} {} {half} {next_y} {} {next_y}", at(y), at(end));
            (x, y) = (end, next);
            if !last {
                x += ways.widths[column];
                let _ = write!(path, "H{}", at(x));
            }
        }
        let mut classes = String::new();
        if moving {
            let _ = write!(classes, " {}", class(tone));
        }
        let order = if edge.flows { "" } else { " o" };
        let into = if moving { &mut told } else { &mut plain };
        let _ = writeln!(into, "<path class=\"a{order}{classes}\" d=\"{path}\"/>");
        let (tip, top, low) = (at(x + HEAD), at(y - 3.5), at(y + 3.5));
        let (x, y) = (at(x), at(y));
        let _ =
            writeln!(into, "<path class=\"h{classes}\" d=\"M{x} {top}L{tip} {y}L{x} {low}Z\"/>");
    }
    text.push_str(&plain);
    text.push_str(&told);
}

fn draw(text: &mut String, placed: &Placed<'_>) {
    let Placed { node, name, detail, x, y, width, height } = placed;
    let _ = writeln!(text, "<g class=\"{}\">", class(node.tone));
    let _ = writeln!(text, "<title>{}</title>", xml(&node.about));
    let stands_for_several = node.count > 1;
    let peeks = if stands_for_several { 2.0 * PEEK } else { 0.0 };
    let (width, height) = (width - peeks, height - peeks);
    // Further cards first, so that the nearest one covers them.
    for card in if stands_for_several { vec![2.0, 1.0, 0.0] } else { vec![0.0] } {
        let (x, y) = (at(x + card * PEEK), at(y + card * PEEK));
        let (width, height) = (at(width), at(height));
        let _ = writeln!(
            text,
            "<rect class=\"b\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"7\"/>"
        );
    }
    let _ = writeln!(
        text,
        "<rect class=\"m\" x=\"{}\" y=\"{}\" width=\"3\" height=\"{}\" rx=\"1.5\"/>",
        at(x + 5.0),
        at(y + 7.0),
        at(height - 14.0),
    );
    let left = at(x + PADDING);
    let line = |y: f64| at(y);
    let _ = writeln!(
        text,
        "<text class=\"k\" x=\"{left}\" y=\"{}\">{}</text>",
        line(y + 17.0),
        xml(&node.kind)
    );
    if node.tone != Tone::Plain {
        let _ = writeln!(
            text,
            "<text class=\"w\" x=\"{}\" y=\"{}\">{}</text>",
            at(x + width - PADDING + 3.0),
            line(y + 17.0),
            node.tone.word()
        );
    }
    let _ = writeln!(
        text,
        "<text class=\"n\" x=\"{left}\" y=\"{}\">{}</text>",
        line(y + 35.0),
        xml(name)
    );
    if !detail.is_empty() {
        let _ = writeln!(
            text,
            "<text class=\"d\" x=\"{left}\" y=\"{}\">{}</text>",
            line(y + 52.0),
            xml(detail)
        );
    }
    text.push_str("</g>\n");
}

/// What the tones mean.
fn meaning(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "",
        Tone::Fresh => "fresh: nothing to do",
        Tone::Pending => "pending: runs unless its inputs turn out the same",
        Tone::Run => "run: runs for certain",
        Tone::Remove => "remove: ours, and no spec wants it",
        Tone::Conflict => "conflict: somebody else's thing is there",
    }
}

const ORDER: &str = "dashed: order only, no content";
const LEGEND_SIZE: f64 = 10.5;

/// The legend's entries: tones that are there, then the dashed arrow if one is.
fn entries<'a>(
    diagram: &Diagram,
    tones: &'a BTreeSet<Tone>,
) -> impl Iterator<Item = Option<Tone>> + use<'a> {
    let dashed = diagram.edges.iter().any(|edge| !edge.flows);
    let told = Tone::TOLD.into_iter().filter(|tone| tones.contains(tone)).map(Some);
    told.chain(dashed.then_some(None))
}

fn entry_width(entry: Option<Tone>) -> f64 {
    entry.map_or(30.0, |_| 18.0) + sans(entry.map_or(ORDER, meaning), LEGEND_SIZE) + 16.0
}

fn legend_width(diagram: &Diagram, tones: &BTreeSet<Tone>) -> f64 {
    2.0 * MARGIN + entries(diagram, tones).map(entry_width).sum::<f64>()
}

fn legend(text: &mut String, diagram: &Diagram, tones: &BTreeSet<Tone>, y: f64) {
    let mut x = MARGIN;
    for entry in entries(diagram, tones) {
        let words = entry.map_or(ORDER, meaning);
        let (left, line) = (at(x), at(y));
        let room = if let Some(tone) = entry {
            let _ = writeln!(
                text,
                "<g class=\"{}\"><rect class=\"b\" x=\"{left}\" y=\"{}\" width=\"12\" height=\"10\" rx=\"2.5\"/></g>",
                class(tone),
                at(y - 9.0),
            );
            18.0
        } else {
            let middle = at(y - 4.0);
            let _ = writeln!(text, "<path class=\"a o\" d=\"M{left} {middle}H{}\"/>", at(x + 24.0));
            30.0
        };
        let _ =
            writeln!(text, "<text class=\"k\" x=\"{}\" y=\"{line}\">{words}</text>", at(x + room));
        x += entry_width(entry);
    }
}
