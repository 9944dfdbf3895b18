use std::sync::Arc;

use super::*;
use crate::testing::Fake;

fn graph(steps: &[Fake]) -> Result<Graph, GraphError> {
    Graph::new(steps.iter().map(|step| Arc::new(step.clone()) as Arc<dyn Step>).collect())
}

fn ids(graph: &Graph) -> Vec<&str> {
    graph.in_order().map(|step| step.id().as_str()).collect()
}

#[test]
fn a_cycle_is_printed_whole_whatever_the_order_of_the_steps() {
    let mut steps = vec![
        Fake::pure("a").takes("c"),
        Fake::pure("b").takes("a"),
        Fake::pure("c").takes("b"),
        // Hangs off the circle, and feeds it.
        Fake::pure("0").takes("c"),
        Fake::pure("1"),
        Fake::pure("d").takes("1").takes("b"),
    ];
    for _ in 0..steps.len() {
        steps.rotate_left(1);
        let error = graph(&steps).unwrap_err();
        assert_eq!(error.to_string(), "steps need each other in a circle: a → b → c → a");
    }
}

#[test]
fn of_two_circles_through_a_step_the_shorter_is_printed() {
    let steps = [
        Fake::pure("a").takes("d").takes("b"),
        Fake::pure("b").takes("a"),
        Fake::pure("c").takes("a"),
        Fake::pure("d").takes("c"),
    ];
    let error = graph(&steps).unwrap_err();
    assert_eq!(error.to_string(), "steps need each other in a circle: a → b → a");
}

#[test]
fn a_step_that_needs_itself_is_a_circle() {
    let error = graph(&[Fake::pure("a").after("a")]).unwrap_err();
    assert_eq!(error.to_string(), "steps need each other in a circle: a → a");
}

#[test]
fn an_input_that_nothing_makes_is_named() {
    let error = graph(&[Fake::effect("deploy:m").takes("image:i")]).unwrap_err();
    assert_eq!(error.to_string(), "deploy:m needs image:i, which no spec or image makes");
}

#[test]
#[should_panic(expected = "BUG: two steps are called a")]
fn two_steps_of_one_id_are_a_bug() {
    let _ = graph(&[Fake::pure("a"), Fake::effect("a")]);
}

#[test]
fn a_part_has_the_wanted_steps_and_all_that_they_need() {
    let steps = [
        Fake::effect("deploy:m").takes("image:i").after("warmup:m"),
        Fake::effect("warmup:m").takes("image:i"),
        Fake::pure("image:i").takes_files("base:i"),
        Fake::pure("base:i"),
        Fake::effect("deploy:n").takes("image:i"),
    ];
    let whole = graph(&steps).unwrap();
    let part = whole.needed_by(|step| step.id().as_str() == "deploy:m");
    assert_eq!(ids(&part), ["base:i", "image:i", "warmup:m", "deploy:m"]);
    assert!(part.get(&"deploy:n".into()).is_none());
    let users: Vec<_> =
        part.dependents(&"image:i".into()).map(|step| step.id().to_string()).collect();
    assert_eq!(users.len(), 2);
    assert!(whole.needed_by(|_| false).is_empty());
}
