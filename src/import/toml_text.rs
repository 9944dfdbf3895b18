//! TOML as people write it.

use std::fmt::Write as _;

/// Longer lists have a line for each item.
const WIDTH: usize = 92;

/// A comment on a line of its own, whatever is in the names of rows and files.
pub(super) fn comment(text: &str) -> String {
    let line: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    format!("# {line}\n")
}

/// A table under its head; nothing of one that is empty.
pub(super) fn table(text: &mut String, head: &str, table: &toml::Table) {
    if table.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n[{head}]");
    for (key, value) in table {
        field(text, key, value);
    }
}

/// One field.
pub(super) fn field(text: &mut String, key: &str, value: &toml::Value) {
    let key = name(key);
    let line = format!("{key} = {}", inline(value));
    match value {
        toml::Value::Array(items) if line.len() > WIDTH => {
            let _ = writeln!(text, "{key} = [");
            for item in items {
                let _ = writeln!(text, "    {},", inline(item));
            }
            text.push_str("]\n");
        }
        _ => {
            let _ = writeln!(text, "{line}");
        }
    }
}

/// A value on one line.
pub(super) fn inline(value: &toml::Value) -> String {
    match value {
        toml::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        toml::Value::Table(table) if table.is_empty() => "{}".to_owned(),
        toml::Value::Table(table) => {
            let pair = |(key, value): (&String, &toml::Value)| {
                format!("{} = {}", name(key), inline(value))
            };
            let pairs: Vec<String> = table.iter().map(pair).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        // A literal text would stand on several lines.
        toml::Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

fn name(key: &str) -> String {
    let is_bare = !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_bare { key.to_owned() } else { quoted(key) }
}

/// A text in double quotes. DEL is the one sign that JSON has plain and TOML has not.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_one_line() {
        assert_eq!(comment("its row `a\n[b]\r`"), "# its row `a [b] `\n");
    }

    #[test]
    fn what_is_written_reads_as_the_same_value() {
        let text = "a\"b\\c\n\u{7f}\u{1}ä";
        let mut written = String::new();
        field(&mut written, "x.y", &text.into());
        let read: toml::Table = written.parse().expect("TOML");
        assert_eq!(read["x.y"].as_str(), Some(text));
    }
}
