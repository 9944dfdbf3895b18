//! `test`, `[ … ]` and `[[ … ]]`.

use super::World;
use super::pattern::matches;
use super::value::{Doubt, Value};

/// Whether these arguments hold; with `patterns`, the right side of `=` is one.
pub(super) fn holds(words: &[Value], patterns: bool, world: &mut dyn World) -> Result<bool, Doubt> {
    if let Some((at, decides)) = knot(words) {
        let left = holds(&words[..at], patterns, world);
        let right = holds(&words[at + 1..], patterns, world);
        return match (left, right) {
            // One side may decide it, whatever the other one is.
            (Ok(one), _) | (_, Ok(one)) if one == decides => Ok(decides),
            (Ok(_), Ok(_)) => Ok(!decides),
            (Err(doubt), Ok(_)) | (Ok(_), Err(doubt)) => Err(doubt),
            (Err(one), Err(other)) => Err(one.or(Some(other))),
        };
    }
    match words {
        [] => Ok(false),
        [Value::Is(not), rest @ ..] if not == "!" && !rest.is_empty() => {
            holds(rest, patterns, world).map(|good| !good)
        }
        [Value::Is(open), inner @ .., Value::Is(close)] if open == "(" && close == ")" => {
            holds(inner, patterns, world)
        }
        [value] => Ok(!known(value)?.is_empty()),
        [Value::Is(operator), value] => unary(operator, known(value)?, world),
        [left, Value::Is(operator), right] => {
            binary(known(left)?, operator, known(right)?, patterns)
        }
        _ if words.contains(&Value::Later) => Err(Doubt::Later),
        _ => Err(Doubt::Never("test".to_owned())),
    }
}

/// Where two conditions are knotted together, and which outcome of one decides both.
fn knot(words: &[Value]) -> Option<(usize, bool)> {
    let operators = [("-o", true), ("||", true), ("-a", false), ("&&", false)];
    operators.into_iter().find_map(|(operator, decides)| {
        let at = words.iter().position(|word| word.known() == Some(operator))?;
        // `[ -a = x ]` compares.
        let stands_between = at > 0 && at + 1 < words.len();
        let compares = words.len() == 3 && words[0].known() == Some("!");
        (stands_between && !compares).then_some((at, decides))
    })
}

fn known(value: &Value) -> Result<&str, Doubt> {
    value.doubt().map_or_else(|| Ok(value.known().unwrap_or_default()), Err)
}

fn unary(operator: &str, value: &str, world: &mut dyn World) -> Result<bool, Doubt> {
    let mut letters = operator.chars();
    match (letters.next(), letters.next(), letters.next()) {
        (Some('-'), Some('n'), None) => Ok(!value.is_empty()),
        (Some('-'), Some('z'), None) => Ok(value.is_empty()),
        // Nobody sits at a terminal.
        (Some('-'), Some('t'), None) => Ok(false),
        (Some('-'), Some(_), None) if value.is_empty() => Ok(false),
        (Some('-'), Some(test), None) => world.tests(test, value),
        _ => Err(Doubt::Never(format!("test {operator}"))),
    }
}

fn binary(left: &str, operator: &str, right: &str, patterns: bool) -> Result<bool, Doubt> {
    let number = |text: &str| {
        text.trim().parse::<i64>().map_err(|_| Doubt::Never(format!("test {text} {operator}")))
    };
    let equal = |patterns: bool| if patterns { matches(right, left) } else { left == right };
    Ok(match operator {
        "=" | "==" => equal(patterns),
        "!=" => !equal(patterns),
        "-eq" => number(left)? == number(right)?,
        "-ne" => number(left)? != number(right)?,
        "-lt" => number(left)? < number(right)?,
        "-le" => number(left)? <= number(right)?,
        "-gt" => number(left)? > number(right)?,
        "-ge" => number(left)? >= number(right)?,
        _ => return Err(Doubt::Never(format!("test {operator}"))),
    })
}
