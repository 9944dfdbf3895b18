//! Draws boxes and arrows that flow from left to right: as SVG, in Graphviz's language, in Mermaid's.
//!
//! Pure, and the same bytes for the same diagram. It knows nothing of steps: what a box says, and in
//! which tone, is the caller's.

mod dot;
mod layers;
mod mermaid;
mod order;
mod place;
mod style;
mod svg;
mod text;

use std::collections::BTreeSet;

/// A drawing before it has any coordinates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagram {
    /// What it is a drawing of.
    pub title: String,
    /// One line below the title.
    pub summary: String,
    /// The boxes; where nothing else decides, they stand in this order.
    pub nodes: Vec<Node>,
    /// The arrows. They make no circle, and name boxes by their place in `nodes`.
    pub edges: Vec<Edge>,
}

/// A box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What kind of thing it is; things of one kind stand in one column.
    pub kind: String,
    /// Its name among its kind.
    pub name: String,
    /// One line below the name; may be empty.
    pub detail: String,
    /// What is told of it in colour.
    pub tone: Tone,
    /// All there is to say, for who asks: lines of a tooltip.
    pub about: String,
    /// How many things it stands for.
    pub count: usize,
}

/// What is told of a box in colour, and in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// Nothing.
    Plain,
    /// It stands as it is.
    Fresh,
    /// It may be made.
    Pending,
    /// It will be made.
    Run,
    /// It is not wanted any more.
    Remove,
    /// Something is in its place.
    Conflict,
}

impl Tone {
    /// All but [`Tone::Plain`], in the order of a legend.
    pub const TOLD: [Self; 5] =
        [Self::Run, Self::Pending, Self::Fresh, Self::Remove, Self::Conflict];

    /// The word that stands in the box; nothing for [`Tone::Plain`].
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Fresh => "fresh",
            Self::Pending => "pending",
            Self::Run => "run",
            Self::Remove => "remove",
            Self::Conflict => "conflict",
        }
    }
}

/// An arrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The box that it leaves.
    pub from: usize,
    /// The box that it points at.
    pub to: usize,
    /// Whether something flows; otherwise the arrow is dashed, and only the order matters.
    pub flows: bool,
}

impl Diagram {
    /// The drawing as an SVG file of its own: no scripts, no fonts from elsewhere, light and dark.
    pub fn to_svg(&self) -> String {
        svg::render(self)
    }

    /// The drawing in Graphviz's language.
    pub fn to_dot(&self) -> String {
        dot::render(self)
    }

    /// The drawing in Mermaid's language, as GitHub shows it.
    pub fn to_mermaid(&self) -> String {
        mermaid::render(self)
    }

    /// How often arrows cross where the SVG puts them.
    #[cfg(test)]
    pub(crate) fn crossings(&self) -> usize {
        order::order(self, &layers::layers(self)).count_crossings()
    }

    /// Leaves out arrows that a longer way implies: what remains reaches the same.
    pub fn without_shortcuts(&mut self) {
        let mut next = vec![Vec::new(); self.nodes.len()];
        for edge in &self.edges {
            next[edge.from].push(edge.to);
        }
        let layers = layers::by_longest_way(self);
        let implied = |edge: &Edge| {
            // Nothing beyond the arrow's end can lead back to it.
            let mut seen = BTreeSet::new();
            let mut open: Vec<usize> =
                next[edge.from].iter().copied().filter(|other| *other != edge.to).collect();
            while let Some(at) = open.pop() {
                if at == edge.to {
                    return true;
                }
                if layers[at] < layers[edge.to] && seen.insert(at) {
                    open.extend(&next[at]);
                }
            }
            false
        };
        self.edges = self.edges.iter().copied().filter(|edge| !implied(edge)).collect();
    }
}

#[cfg(test)]
mod tests;
