//! Values as Python writes them: for programs that people are to read.

use std::fmt::Write as _;

use serde_json::Value;

/// A value as a Python literal, one element per line, as `ruff format` leaves it. `depth` is how far
/// the line that it begins on is indented, in steps of four spaces.
pub(super) fn literal(value: &Value, depth: usize) -> String {
    let mut text = String::new();
    write(&mut text, value, depth);
    text
}

fn write(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => text.push_str("None"),
        Value::Bool(true) => text.push_str("True"),
        Value::Bool(false) => text.push_str("False"),
        Value::Number(number) => drop(write!(text, "{number}")),
        Value::String(string) => text.push_str(&quoted(string)),
        Value::Array(items) if items.is_empty() => text.push_str("[]"),
        Value::Object(fields) if fields.is_empty() => text.push_str("{}"),
        Value::Array(items) => {
            text.push_str("[\n");
            for item in items {
                indent(text, depth + 1);
                write(text, item, depth + 1);
                text.push_str(",\n");
            }
            indent(text, depth);
            text.push(']');
        }
        Value::Object(fields) => {
            text.push_str("{\n");
            for (name, field) in fields {
                indent(text, depth + 1);
                text.push_str(&quoted(name));
                text.push_str(": ");
                write(text, field, depth + 1);
                text.push_str(",\n");
            }
            indent(text, depth);
            text.push('}');
        }
    }
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("    ", depth));
}

/// A string in double quotes, or in single ones where that saves escapes.
fn quoted(string: &str) -> String {
    let quote = if string.contains('"') && !string.contains('\'') { '\'' } else { '"' };
    let mut text = String::from(quote);
    for letter in string.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            letter if letter == quote => text.extend(['\\', letter]),
            letter if letter.is_control() || ('\u{2028}'..='\u{2029}').contains(&letter) => {
                let _ = write!(text, "\\u{:04x}", u32::from(letter));
            }
            letter => text.push(letter),
        }
    }
    text.push(quote);
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_values_stand_one_to_a_line() {
        let value = json!({"a": [1, true, null, 0.5], "b": {}, "c": {"d": []}});
        let expected = "{\n    \"a\": [\n        1,\n        True,\n        None,\n        0.5,\n    ],\n    \
                        \"b\": {},\n    \"c\": {\n        \"d\": [],\n    },\n}";
        assert_eq!(literal(&value, 0), expected);
    }

    #[test]
    fn strings_keep_every_letter() {
        assert_eq!(quoted(r#"{"a": 1}"#), r#"'{"a": 1}'"#);
        assert_eq!(quoted(r#"it's "so""#), r#""it's \"so\"""#);
        assert_eq!(quoted("a\\b\n\u{1}é"), "\"a\\\\b\\n\\u0001é\"");
    }
}
