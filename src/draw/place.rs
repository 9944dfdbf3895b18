//! Coordinates: boxes as close to what they are joined with as their neighbours allow.

use super::order::Columns;

/// Room between two boxes of a column.
const BETWEEN: f64 = 16.0;
/// Room beside an arrow that passes through a column.
const BESIDE: f64 = 9.0;
/// Each round moves every column once; far fewer settle a small drawing.
const ROUNDS: usize = 80;

/// The middle of every point, from top to bottom. Points `heights` high never overlap.
///
/// Minimises the sum of the squared heights of all arrows, which is convex: each column is solved
/// exactly while the others stand still, over and over.
pub(super) fn middles(columns: &Columns, heights: &[f64]) -> Vec<f64> {
    let mut middles = vec![0.0; heights.len()];
    for column in &columns.order {
        let offsets = offsets(columns, column, heights);
        for (point, offset) in column.iter().zip(offsets) {
            middles[*point] = offset;
        }
    }
    let count = columns.order.len();
    for round in 0..ROUNDS {
        for step in 0..count {
            let at = if round % 2 == 0 { step } else { count - 1 - step };
            settle(columns, &columns.order[at], heights, &mut middles);
        }
    }
    let top = (0..heights.len()).map(|point| middles[point] - heights[point] / 2.0);
    let top = top.fold(f64::INFINITY, f64::min);
    for middle in &mut middles {
        *middle -= top;
    }
    middles
}

/// Where the points of a column would stand if it were packed.
fn offsets(columns: &Columns, column: &[usize], heights: &[f64]) -> Vec<f64> {
    let mut at = 0.0;
    let mut last: Option<usize> = None;
    let mut offsets = Vec::with_capacity(column.len());
    for point in column {
        if let Some(last) = last {
            let passes = last >= columns.boxes || *point >= columns.boxes;
            let apart = if passes { BESIDE } else { BETWEEN };
            at += heights[last] / 2.0 + apart + heights[*point] / 2.0;
        }
        offsets.push(at);
        last = Some(*point);
    }
    offsets
}

/// Points that touch, moved as one.
struct Block {
    /// Where it wants to be: the mean of what its points want, relative to their offsets.
    wish: f64,
    weight: f64,
    points: usize,
}

/// Puts the points of one column where their neighbours in both columns beside it pull them.
fn settle(columns: &Columns, column: &[usize], heights: &[f64], middles: &mut [f64]) {
    let offsets = offsets(columns, column, heights);
    let mut blocks: Vec<Block> = Vec::with_capacity(column.len());
    for (point, offset) in column.iter().zip(&offsets) {
        let (wish, weight) = wish(columns, *point, middles);
        let mut block = Block { wish: wish - offset, weight, points: 1 };
        // Order is kept: whoever wants to be above the one before moves together with it.
        while let Some(above) = blocks.pop_if(|above| above.wish > block.wish) {
            let weight = above.weight + block.weight;
            block.wish = (above.wish * above.weight + block.wish * block.weight) / weight;
            block.weight = weight;
            block.points += above.points;
        }
        blocks.push(block);
    }
    let wishes = blocks.iter().flat_map(|block| std::iter::repeat_n(block.wish, block.points));
    for ((point, offset), wish) in column.iter().zip(offsets).zip(wishes) {
        middles[*point] = offset + wish;
    }
}

/// Where a point wants to be, and how much.
fn wish(columns: &Columns, point: usize, middles: &[f64]) -> (f64, f64) {
    /// What nothing pulls goes wherever there is room.
    const HARDLY: f64 = 1e-6;
    let passed = |point: usize| point >= columns.boxes;
    let mut sum = 0.0;
    let mut weight = 0.0;
    for other in columns.before[point].iter().chain(&columns.behind[point]) {
        // An arrow that passes by should be straight there, more than where it begins and ends.
        let pull = match (passed(point), passed(*other)) {
            (true, true) => 8.0,
            (true, false) | (false, true) => 2.0,
            (false, false) => 1.0,
        };
        sum += middles[*other] * pull;
        weight += pull;
    }
    if weight > 0.0 { (sum / weight, weight) } else { (middles[point], HARDLY) }
}
