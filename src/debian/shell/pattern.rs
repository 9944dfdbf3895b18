//! Patterns of the shell: `*`, `?` and sets of letters.

/// Whether a pattern matches the whole of a text.
pub(in crate::debian) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    // Where each way to go on stands in the pattern; a star stays.
    let mut states = vec![0];
    spread(&pattern, &mut states);
    for letter in text {
        let mut next = Vec::new();
        for at in states {
            match step(&pattern, at, letter) {
                Some(to) if !next.contains(&to) => next.push(to),
                _ => {}
            }
        }
        spread(&pattern, &mut next);
        states = next;
    }
    states.contains(&pattern.len())
}

/// Adds what stands behind stars, which may match nothing.
fn spread(pattern: &[char], states: &mut Vec<usize>) {
    let mut at = 0;
    while at < states.len() {
        let next = states[at] + 1;
        if pattern.get(states[at]) == Some(&'*') && !states.contains(&next) {
            states.push(next);
        }
        at += 1;
    }
}

/// Where a pattern goes on behind a letter; none where that isn't matched.
fn step(pattern: &[char], at: usize, letter: char) -> Option<usize> {
    match *pattern.get(at)? {
        '*' => Some(at),
        '?' => Some(at + 1),
        '\\' if at + 1 < pattern.len() => (pattern[at + 1] == letter).then_some(at + 2),
        '[' => match pattern.iter().skip(at + 2).position(|it| *it == ']') {
            Some(length) => {
                let end = at + 2 + length;
                set_has(&pattern[at + 1..end], letter).then_some(end + 1)
            }
            None => (letter == '[').then_some(at + 1),
        },
        other => (other == letter).then_some(at + 1),
    }
}

fn set_has(set: &[char], letter: char) -> bool {
    let (negated, set) = match set.split_first() {
        Some(('!' | '^', set)) => (true, set),
        _ => (false, set),
    };
    let mut found = false;
    let mut at = 0;
    while at < set.len() {
        if let [from, '-', to, ..] = set[at..] {
            found |= (from..=to).contains(&letter);
            at += 3;
        } else {
            found |= set[at] == letter;
            at += 1;
        }
    }
    found != negated
}

/// A text as the pattern that matches it alone.
pub(super) fn quote(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if "*?[]\\".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

/// A text without what a pattern takes of it, by one of `#`, `##`, `%` and `%%`.
pub(super) fn trimmed<'t>(text: &'t str, operator: &str, pattern: &str) -> &'t str {
    let cuts = || text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let found = match operator {
        "#" => cuts().find(|at| matches(pattern, &text[..*at])).map(|at| &text[at..]),
        "##" => cuts().rfind(|at| matches(pattern, &text[..*at])).map(|at| &text[at..]),
        "%" => cuts().rfind(|at| matches(pattern, &text[*at..])).map(|at| &text[..at]),
        _ => cuts().find(|at| matches(pattern, &text[*at..])).map(|at| &text[..at]),
    };
    found.unwrap_or(text)
}
