//! Which column a box stands in.

use std::collections::{BTreeSet, HashMap};

use super::{Diagram, Edge};

/// The column of every box, from 0; every arrow leads to a later one.
///
/// Boxes of one kind share a column where that can be, so that what is alike stands together. What
/// nothing leads to stands right before what needs it first.
pub(super) fn layers(diagram: &Diagram) -> Vec<usize> {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut kinds = Vec::with_capacity(diagram.nodes.len());
    for node in &diagram.nodes {
        let next = numbers.len();
        kinds.push(*numbers.entry(&node.kind).or_insert(next));
    }
    let between: BTreeSet<(usize, usize)> =
        diagram.edges.iter().map(|edge| (kinds[edge.from], kinds[edge.to])).collect();
    let between: Vec<_> = between.into_iter().collect();
    match longest_ways(numbers.len(), &between) {
        Some(mut columns) => {
            pull_right(&mut columns, &between);
            kinds.into_iter().map(|kind| columns[kind]).collect()
        }
        // Kinds in a circle, though no boxes are.
        None => {
            let mut layers = by_longest_way(diagram);
            pull_right(&mut layers, &pairs(&diagram.edges));
            layers
        }
    }
}

/// How many arrows, at most, lead to each box.
pub(super) fn by_longest_way(diagram: &Diagram) -> Vec<usize> {
    longest_ways(diagram.nodes.len(), &pairs(&diagram.edges))
        .unwrap_or_else(|| panic!("BUG: arrows in a circle"))
}

fn pairs(edges: &[Edge]) -> Vec<(usize, usize)> {
    edges.iter().map(|edge| (edge.from, edge.to)).collect()
}

/// The length of the longest way to each of `count` things; nothing when they make a circle.
fn longest_ways(count: usize, edges: &[(usize, usize)]) -> Option<Vec<usize>> {
    let mut next = vec![Vec::new(); count];
    let mut waits = vec![0usize; count];
    for (from, to) in edges {
        next[*from].push(*to);
        waits[*to] += 1;
    }
    let mut lengths = vec![0; count];
    let mut open: Vec<usize> = (0..count).filter(|thing| waits[*thing] == 0).collect();
    let mut done = 0;
    while let Some(from) = open.pop() {
        done += 1;
        for to in &next[from] {
            lengths[*to] = lengths[*to].max(lengths[from] + 1);
            waits[*to] -= 1;
            if waits[*to] == 0 {
                open.push(*to);
            }
        }
    }
    (done == count).then_some(lengths)
}

/// Moves what nothing leads to next to the first thing that it leads to.
fn pull_right(layers: &mut [usize], edges: &[(usize, usize)]) {
    for thing in 0..layers.len() {
        if edges.iter().any(|(_, to)| *to == thing) {
            continue;
        }
        let first = edges.iter().filter(|(from, _)| *from == thing).map(|(_, to)| layers[*to]);
        if let Some(first) = first.min() {
            layers[thing] = first - 1;
        }
    }
}
