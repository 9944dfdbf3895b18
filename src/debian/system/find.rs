//! `find`, as scripts look through their own directories with it.

use super::System;
use crate::debian::shell::{Answer, Doubt, Value, matches};
use crate::debian::tree::Node;

/// What is asked of a path.
enum Test<'a> {
    Name(&'a str),
    Kind(&'a str),
    Empty,
}

impl System<'_> {
    /// Prints or deletes what is found; none where an argument isn't known.
    pub(super) fn find(&mut self, arguments: &[&str]) -> Option<Result<Answer, Doubt>> {
        let at = arguments.iter().position(|it| it.starts_with('-'))?;
        let (roots, expression) = arguments.split_at(at);
        if roots.iter().any(|root| matches!(*root, "!" | "(" | ")" | ",")) {
            return None;
        }
        let (mut tests, mut deepest, mut shallowest) = (Vec::new(), usize::MAX, 0);
        let mut deletes = false;
        let mut rest = expression.iter().copied();
        while let Some(argument) = rest.next() {
            match argument {
                "-maxdepth" => deepest = rest.next()?.parse().ok()?,
                "-mindepth" => shallowest = rest.next()?.parse().ok()?,
                "-name" => tests.push(Test::Name(rest.next()?)),
                "-type" => match rest.next()? {
                    kind @ ("d" | "f" | "l") => tests.push(Test::Kind(kind)),
                    _ => return None,
                },
                "-empty" => tests.push(Test::Empty),
                "-delete" => deletes = true,
                "-print" | "-depth" | "-xdev" => {}
                _ => return None,
            }
        }
        let Some(tree) = self.tree.as_deref_mut() else { return Some(Err(Doubt::Later)) };
        let mut printed = String::new();
        for root in roots {
            let Some(place) = tree.follow(root.as_bytes()) else { continue };
            let mut paths = vec![place.clone()];
            paths.extend(tree.below(&place));
            // The deepest first, so that what is emptied is empty.
            paths.reverse();
            let mut found = Vec::new();
            for path in paths {
                let below = &path[place.len()..];
                let depth = below.split(|byte| *byte == b'/').count() - 1;
                let entry = tree.entries.get(&path)?;
                let holds = |test: &Test<'_>| match test {
                    Test::Name(pattern) => {
                        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                        matches(pattern, &String::from_utf8_lossy(name))
                    }
                    Test::Kind(kind) => matches!(
                        (*kind, &entry.node),
                        ("d", Node::Directory) | ("f", Node::File { .. }) | ("l", Node::Symlink(_))
                    ),
                    Test::Empty => match &entry.node {
                        Node::Directory => tree.below(&path).is_empty(),
                        Node::File { content, .. } => content.size == 0,
                        Node::Symlink(_) => false,
                    },
                };
                if (shallowest..=deepest).contains(&depth) && tests.iter().all(holds) {
                    if deletes {
                        // A directory that isn't empty stays.
                        if tree.below(&path).is_empty() {
                            tree.entries.remove(&path);
                        }
                    } else {
                        found.push(format!("{root}{}\n", String::from_utf8_lossy(below)));
                    }
                }
            }
            printed.extend(found.into_iter().rev());
        }
        Some(Ok(Answer::printed(Value::Is(printed))))
    }
}
