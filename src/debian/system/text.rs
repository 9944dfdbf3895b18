//! Commands that make texts of texts, without a look at files.

use crate::debian::shell::{Answer, Call, Doubt, Value};

/// `basename PATH [SUFFIX]` and `dirname PATH`.
pub(super) fn basename(name: &str, arguments: &[&str]) -> Result<Answer, Doubt> {
    let (path, suffix) = match arguments {
        [path] => (*path, ""),
        [path, suffix] if name == "basename" => (*path, *suffix),
        _ => return Err(Doubt::Never(name.to_owned())),
    };
    let path = path.trim_end_matches('/');
    let (above, last) = path.rsplit_once('/').unwrap_or((".", path));
    let text = if name == "dirname" {
        if above.is_empty() { "/" } else { above }
    } else {
        last.strip_suffix(suffix).unwrap_or(last)
    };
    Ok(Answer::printed(Value::Is(format!("{text}\n"))))
}

/// `cut -dX -fN`.
pub(super) fn cut(arguments: &[&str], call: &Call<'_>) -> Result<Answer, Doubt> {
    let unknown = || Doubt::Never(call.shown());
    let joined = arguments.join(" ").replace("-d ", "-d").replace("-f ", "-f");
    let mut words = joined.split(' ');
    let (Some(one), Some(other), None) = (words.next(), words.next(), words.next()) else {
        return Err(unknown());
    };
    let (mark, field) = if one.starts_with("-d") { (one, other) } else { (other, one) };
    let mark = mark.strip_prefix("-d").filter(|it| it.chars().count() == 1).ok_or_else(unknown)?;
    let field = field.strip_prefix("-f").and_then(|it| it.parse::<usize>().ok());
    let field = field.filter(|it| *it > 0).ok_or_else(unknown)?;
    let text = call.input.and_then(Value::known).unwrap_or_default();
    let mut output = String::new();
    for line in text.lines() {
        let whole = !line.contains(mark);
        let found = if whole { Some(line) } else { line.split(mark).nth(field - 1) };
        output.push_str(found.unwrap_or_default());
        output.push('\n');
    }
    Ok(Answer::printed(Value::Is(output)))
}

/// `seq FIRST [STEP] LAST`.
pub(super) fn seq(arguments: &[&str]) -> Result<Answer, Doubt> {
    let numbers: Option<Vec<i64>> = arguments.iter().map(|it| it.parse().ok()).collect();
    let (from, step, to) = match numbers.as_deref() {
        Some(&[to]) => (1, 1, to),
        Some(&[from, to]) => (from, 1, to),
        Some(&[from, step, to]) if step != 0 => (from, step, to),
        _ => return Err(Doubt::Never("seq".to_owned())),
    };
    let mut text = String::new();
    let mut at = from;
    while if step > 0 { at <= to } else { at >= to } && text.len() < 10_000 {
        text.push_str(&at.to_string());
        text.push('\n');
        at += step;
    }
    Ok(Answer::printed(Value::Is(text)))
}
