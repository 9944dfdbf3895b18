//! Who stands above whom in a column: as few crossings of arrows as can be had cheaply.

use super::Diagram;

/// The boxes, and the points where long arrows pass through columns on their way.
#[derive(Debug)]
pub(super) struct Columns {
    /// What stands in each column, from top to bottom.
    pub(super) order: Vec<Vec<usize>>,
    /// The neighbours of each point in the column before.
    pub(super) before: Vec<Vec<usize>>,
    /// The neighbours of each point in the column behind.
    pub(super) behind: Vec<Vec<usize>>,
    /// The points of each arrow, both ends among them.
    pub(super) routes: Vec<Vec<usize>>,
    /// How many boxes there are; points from here on are passed through.
    pub(super) boxes: usize,
}

/// More rounds than this hardly ever find anything.
const ROUNDS: usize = 24;

/// Orders every column.
///
/// Averages lead to the nearest order without many crossings, not to the best one: so it begins from
/// several, and takes what crosses least.
pub(super) fn order(diagram: &Diagram, layers: &[usize]) -> Columns {
    let mut columns = Columns::new(diagram, layers);
    let mut position = vec![0; columns.before.len()];
    let given = columns.order.clone();
    let followed = columns.follow();
    let mut best = given.clone();
    let mut fewest = usize::MAX;
    'search: for (start, rightward) in
        [(&given, true), (&followed, true), (&given, false), (&followed, false)]
    {
        columns.order.clone_from(start);
        for round in 0..ROUNDS {
            let crossings = columns.crossings(&mut position);
            if crossings < fewest {
                fewest = crossings;
                best.clone_from(&columns.order);
            }
            if crossings == 0 {
                break 'search;
            }
            columns.sweep((round % 2 == 0) == rightward, &mut position);
        }
    }
    columns.order = best;
    columns
}

impl Columns {
    fn new(diagram: &Diagram, layers: &[usize]) -> Self {
        let boxes = diagram.nodes.len();
        let count = layers.iter().max().map_or(0, |last| last + 1);
        let mut new = Self {
            order: vec![Vec::new(); count],
            before: vec![Vec::new(); boxes],
            behind: vec![Vec::new(); boxes],
            routes: Vec::with_capacity(diagram.edges.len()),
            boxes,
        };
        let mut joined = vec![false; boxes];
        for edge in &diagram.edges {
            joined[edge.from] = true;
            joined[edge.to] = true;
        }
        for at in (0..boxes).filter(|at| joined[*at]) {
            new.order[layers[at]].push(at);
        }
        for edge in &diagram.edges {
            let mut route = vec![edge.from];
            for column in layers[edge.from] + 1..layers[edge.to] {
                let point = new.before.len();
                new.before.push(Vec::new());
                new.behind.push(Vec::new());
                new.order[column].push(point);
                route.push(point);
            }
            route.push(edge.to);
            for pair in route.windows(2) {
                new.behind[pair[0]].push(pair[1]);
                new.before[pair[1]].push(pair[0]);
            }
            new.routes.push(route);
        }
        // What no arrow touches stands below all else.
        for at in (0..boxes).filter(|at| !joined[*at]) {
            new.order[layers[at]].push(at);
        }
        new
    }

    /// The order in which points are met by following arrows from the first box on, in both
    /// directions: what belongs together stands together.
    fn follow(&self) -> Vec<Vec<usize>> {
        let mut column_of = vec![0; self.before.len()];
        for (at, column) in self.order.iter().enumerate() {
            for point in column {
                column_of[*point] = at;
            }
        }
        let mut met = vec![false; self.before.len()];
        let mut columns = vec![Vec::new(); self.order.len()];
        for start in self.order.iter().flatten() {
            let mut open = vec![*start];
            while let Some(point) = open.pop() {
                if std::mem::replace(&mut met[point], true) {
                    continue;
                }
                columns[column_of[point]].push(point);
                // The last one in is followed first: arrows that leave, then those that arrive.
                open.extend(self.before[point].iter().rev());
                open.extend(self.behind[point].iter().rev());
            }
        }
        columns
    }

    /// Orders each column by where the neighbours on one side stand, on average.
    fn sweep(&mut self, rightward: bool, position: &mut [usize]) {
        let count = self.order.len();
        for step in 1..count {
            let at = if rightward { step } else { count - 1 - step };
            let fixed = if rightward { at - 1 } else { at + 1 };
            for (place, point) in self.order[fixed].iter().enumerate() {
                position[*point] = place;
            }
            let near = if rightward { &self.before } else { &self.behind };
            let column = &mut self.order[at];
            let mut means = Vec::with_capacity(column.len());
            for point in &*column {
                let near = &near[*point];
                let sum: usize = near.iter().map(|point| position[*point]).sum();
                // As a fraction: nothing is rounded, so nothing depends on how.
                means.push((*point, (!near.is_empty()).then_some((sum, near.len()))));
            }
            // What has no neighbours keeps its place; the others are sorted around it.
            let mut moving: Vec<_> =
                means.iter().filter_map(|(point, mean)| Some((*point, (*mean)?))).collect();
            moving.sort_by(|(_, one), (_, other)| (one.0 * other.1).cmp(&(other.0 * one.1)));
            let mut moving = moving.into_iter();
            for (place, (point, mean)) in means.into_iter().enumerate() {
                let moved = mean.and_then(|_| moving.next()).map(|(point, _)| point);
                column[place] = moved.unwrap_or(point);
            }
        }
    }

    /// How often arrows cross, in all.
    #[cfg(test)]
    pub(super) fn count_crossings(&self) -> usize {
        self.crossings(&mut vec![0; self.before.len()])
    }

    /// The same, with room to note positions in.
    fn crossings(&self, position: &mut [usize]) -> usize {
        for column in &self.order {
            for (place, point) in column.iter().enumerate() {
                position[*point] = place;
            }
        }
        let ends_from = |point: &usize| {
            let mut ends: Vec<usize> =
                self.behind[*point].iter().map(|next| position[*next]).collect();
            ends.sort_unstable();
            ends
        };
        self.order.iter().map(|column| inversions(column.iter().flat_map(ends_from))).sum()
    }
}

/// How many pairs stand in the wrong order.
fn inversions(numbers: impl Iterator<Item = usize>) -> usize {
    let mut sorted = Vec::new();
    let mut pairs = 0;
    for number in numbers {
        let place = sorted.partition_point(|other| *other <= number);
        pairs += sorted.len() - place;
        sorted.insert(place, number);
    }
    pairs
}
