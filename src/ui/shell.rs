//! What a person may paste into a shell.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A text as one word of a shell's command line.
pub fn for_shell(text: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "-_./:@=,+".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// A command as a shell reads it: a line for each variable, and for each flag with its values.
pub fn command_text(environment: &BTreeMap<String, String>, command: &[String]) -> String {
    let mut text = String::new();
    for (name, value) in environment {
        let _ = writeln!(text, "{name}={} \\", for_shell(value));
    }
    for (at, word) in command.iter().enumerate() {
        let before = match at {
            0 => "",
            _ if word.starts_with("--") => " \\\n  ",
            _ => " ",
        };
        let _ = write!(text, "{before}{}", for_shell(word));
    }
    text
}
