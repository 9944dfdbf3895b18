//! Which column a box stands in.

use std::collections::{BTreeSet, HashMap};

use super::{Diagram, Edge};

/// The column of every box, from 0; every arrow leads to a later one.
///
/// Boxes of one kind share a column where that can be, so that what is alike stands together. What
/// nothing leads to stands right before what needs it first, in a column without others: there, the
/// arrows of others pass between the boxes instead of crossing their arrows.
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
    if let Some(mut columns) = longest_ways(numbers.len(), &between) {
        insert_late(&mut columns, &between);
        return kinds.into_iter().map(|kind| columns[kind]).collect();
    }
    // Kinds in a circle, though no boxes are.
    let mut layers = by_longest_way(diagram);
    insert_late(&mut layers, &pairs(&diagram.edges));
    layers
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

/// Moves what nothing leads to into a new column right before the first thing that it leads to,
/// unless that is where it stands.
fn insert_late(layers: &mut [usize], edges: &[(usize, usize)]) {
    let first_after = |thing: usize, layers: &[usize]| {
        let behind = edges.iter().filter(|(from, _)| *from == thing).map(|(_, to)| layers[*to]);
        behind.min().filter(|_| edges.iter().all(|(_, to)| *to != thing))
    };
    let mut late: Vec<(usize, usize)> = (0..layers.len())
        .filter_map(|thing| Some((first_after(thing, layers)?, thing)))
        .filter(|(first, _)| *first > 1)
        .collect();
    // From right to left, so that columns that are still to be looked at have not moved.
    late.sort_unstable();
    for group in late.chunk_by(|(one, _), (other, _)| one == other).rev() {
        let column = group[0].0;
        for layer in &mut *layers {
            *layer += usize::from(*layer >= column);
        }
        for (_, thing) in group {
            layers[*thing] = column;
        }
    }
}
