//! The DAG of steps.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use miette::Diagnostic;
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use thiserror::Error;

use crate::step::{Step, StepId};

/// Why steps do not make a DAG.
#[derive(Debug, Error, Diagnostic)]
pub enum GraphError {
    /// Steps need each other in a circle.
    #[error("steps need each other in a circle: {}", Arrows(.0))]
    #[diagnostic(
        code(goatbuild::graph::cycle),
        help("remove one of these references; nothing was run")
    )]
    Cycle(Vec<StepId>),
    /// A step needs a step that is not there.
    #[error("{step} needs {input}, which no spec or image makes")]
    #[diagnostic(code(goatbuild::graph::missing_input))]
    MissingInput {
        /// The step.
        step: StepId,
        /// What it needs.
        input: StepId,
    },
}

struct Arrows<'a>(&'a [StepId]);

impl fmt::Display for Arrows<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, id) in self.0.iter().enumerate() {
            write!(formatter, "{}{id}", if at == 0 { "" } else { " → " })?;
        }
        Ok(())
    }
}

/// Where a step stands in its graph.
pub type Position = NodeIndex<u32>;

/// All steps of a project, and who needs whom. Immutable once made.
pub struct Graph {
    steps: DiGraph<Arc<dyn Step>, ()>,
    positions: HashMap<StepId, Position>,
    order: Vec<Position>,
}

impl fmt::Debug for Graph {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.in_order().map(|step| step.id())).finish()
    }
}

impl Graph {
    /// Joins steps by their declared inputs. Two steps of one id are a bug.
    pub fn new(steps: Vec<Arc<dyn Step>>) -> Result<Self, GraphError> {
        let mut graph = DiGraph::with_capacity(steps.len(), steps.len() * 2);
        let mut positions = HashMap::with_capacity(steps.len());
        for step in steps {
            let id = step.id().clone();
            let position = graph.add_node(step);
            assert!(
                positions.insert(id.clone(), position).is_none(),
                "BUG: two steps are called {id}"
            );
        }
        for position in graph.node_indices() {
            let step = Arc::clone(&graph[position]);
            for input in step.inputs() {
                let Some(&from) = positions.get(&input.step) else {
                    return Err(GraphError::MissingInput {
                        step: step.id().clone(),
                        input: input.step.clone(),
                    });
                };
                graph.add_edge(from, position, ());
            }
        }
        let order = petgraph::algo::toposort(&graph, None)
            .map_err(|_| GraphError::Cycle(circle(&graph)))?;
        Ok(Self { steps: graph, positions, order })
    }

    /// The steps, each after all its inputs.
    pub fn in_order(&self) -> impl DoubleEndedIterator<Item = &Arc<dyn Step>> + ExactSizeIterator {
        self.order.iter().map(|position| &self.steps[*position])
    }

    /// The step of this id.
    pub fn get(&self, id: &StepId) -> Option<&Arc<dyn Step>> {
        self.positions.get(id).map(|position| &self.steps[*position])
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The steps that take something from this one.
    pub fn dependents(&self, id: &StepId) -> impl Iterator<Item = &Arc<dyn Step>> {
        self.positions.get(id).into_iter().flat_map(|position| {
            self.steps
                .neighbors_directed(*position, Direction::Outgoing)
                .map(|position| &self.steps[position])
        })
    }

    /// The part made of the wanted steps and all that they need.
    #[must_use]
    pub fn needed_by(&self, wanted: impl Fn(&dyn Step) -> bool) -> Self {
        let mut needed = vec![false; self.steps.node_count()];
        for position in self.order.iter().rev() {
            if needed[position.index()] || wanted(&*self.steps[*position]) {
                needed[position.index()] = true;
                for input in self.steps.neighbors_directed(*position, Direction::Incoming) {
                    needed[input.index()] = true;
                }
            }
        }
        let kept = self
            .order
            .iter()
            .filter(|position| needed[position.index()])
            .map(|position| Arc::clone(&self.steps[*position]))
            .collect();
        Self::new(kept).unwrap_or_else(|error| panic!("BUG: a part of a DAG is none: {error}"))
    }
}

/// The shortest circle through the first step, by id, that is on any: whole, back to its start.
///
/// Depends on ids alone, not on the order in which steps were added.
fn circle(graph: &DiGraph<Arc<dyn Step>, ()>) -> Vec<StepId> {
    let mut positions: Vec<Position> = graph.node_indices().collect();
    positions.sort_by_key(|position| graph[*position].id().clone());
    positions
        .into_iter()
        .find_map(|start| circle_through(graph, start))
        .unwrap_or_else(|| panic!("BUG: no order of the steps, and no circle either"))
}

/// Searches breadth first from `start` until an edge leads back to it.
fn circle_through(graph: &DiGraph<Arc<dyn Step>, ()>, start: Position) -> Option<Vec<StepId>> {
    let mut came_from = BTreeMap::from([(start, start)]);
    let mut border = VecDeque::from([start]);
    while let Some(here) = border.pop_front() {
        let mut next: Vec<Position> = graph.neighbors_directed(here, Direction::Outgoing).collect();
        next.sort_by_key(|position| graph[*position].id().clone());
        for next in next {
            if next == start {
                let mut path = vec![start];
                let mut at = here;
                while at != start {
                    path.push(at);
                    at = came_from[&at];
                }
                path.push(start);
                path.reverse();
                return Some(
                    path.into_iter().map(|position| graph[position].id().clone()).collect(),
                );
            }
            if let std::collections::btree_map::Entry::Vacant(unseen) = came_from.entry(next) {
                unseen.insert(here);
                border.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
