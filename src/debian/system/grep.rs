//! `grep` for words: patterns that are plain text, perhaps at the beginning or end of a line.

use super::System;
use crate::debian::shell::{Answer, Call, Doubt, Status, Value, World as _};

impl System<'_> {
    pub(super) fn grep(
        &mut self,
        name: &str,
        arguments: &[&str],
        call: &Call<'_>,
    ) -> Result<Answer, Doubt> {
        let unknown = || Doubt::Never(call.shown());
        let (mut flags, mut rest) = (String::new(), Vec::new());
        for argument in arguments {
            match argument.strip_prefix('-') {
                Some(letters) if !letters.starts_with('-') && rest.is_empty() => {
                    flags.push_str(letters);
                }
                Some("-quiet") => flags.push('q'),
                Some(_) => return Err(unknown()),
                None => rest.push(*argument),
            }
        }
        if !flags.chars().all(|flag| "qsFxvEhe".contains(flag)) {
            return Err(unknown());
        }
        let Some((pattern, files)) = rest.split_first() else { return Err(unknown()) };
        let fixed = name == "fgrep" || flags.contains('F');
        let mut word = *pattern;
        let (mut begins, mut ends) = (flags.contains('x'), flags.contains('x'));
        if !fixed {
            if let Some(rest) = word.strip_prefix('^') {
                (word, begins) = (rest, true);
            }
            if let Some(rest) = word.strip_suffix('$') {
                (word, ends) = (rest, true);
            }
            if word.contains(['\\', '.', '*', '[', ']', '^', '$'])
                || (flags.contains('E') && word.contains(['+', '?', '(', ')', '|', '{', '}']))
            {
                return Err(unknown());
            }
        }
        let mut texts = Vec::new();
        let mut missing = false;
        if files.is_empty() {
            match call.input {
                Some(Value::Is(text)) => texts.push(text.clone()),
                Some(other) => return Err(other.doubt().unwrap_or_else(unknown)),
                None => return Err(unknown()),
            }
        }
        for file in files {
            match self.reads(file)? {
                Some(text) => texts.push(text),
                None => missing = true,
            }
        }
        let holds = |line: &str| match (begins, ends) {
            (true, true) => line == word,
            (true, false) => line.starts_with(word),
            (false, true) => line.ends_with(word),
            (false, false) => line.contains(word),
        };
        let inverted = flags.contains('v');
        let mut found = String::new();
        for line in texts.iter().flat_map(|text| text.lines()) {
            if holds(line) != inverted {
                found.push_str(line);
                found.push('\n');
            }
        }
        // Names of files stand before lines of several.
        if files.len() > 1 && !flags.contains(['q', 'h']) {
            return Err(unknown());
        }
        let status = match (found.is_empty(), missing && !flags.contains('q')) {
            (false, false) => 0,
            (true, false) if !missing => 1,
            _ => 2,
        };
        let output = Value::Is(if flags.contains('q') { String::new() } else { found });
        Ok(Answer { status: Status::Is(status), output, sets: None })
    }
}
