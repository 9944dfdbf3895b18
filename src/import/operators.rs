//! What operators make of values.

use super::value::{GAP, HEAVIEST, Value, What};

/// A whole number as it is written.
pub(super) fn integer(source: &str) -> What {
    let text = source.replace('_', "").to_ascii_lowercase();
    let number = match text.split_at_checked(2) {
        Some(("0x", digits)) => i64::from_str_radix(digits, 16),
        Some(("0o", digits)) => i64::from_str_radix(digits, 8),
        Some(("0b", digits)) => i64::from_str_radix(digits, 2),
        _ => text.parse(),
    };
    number.map_or(What::Unknown, What::Integer)
}

/// Texts that are written one behind the other.
pub(super) fn concatenated(parts: &[Value], line: usize) -> Value {
    let variable = parts.iter().find_map(|part| part.variable.clone());
    let text = parts.iter().map(Value::written).collect();
    Value { what: What::Text(text), line, variable }
}

/// What a sign between two values makes of them.
pub(super) fn binary(left: &Value, sign: &str, right: &Value, line: usize) -> Value {
    let what = match (&left.what, sign, &right.what) {
        (What::List(left), "+", What::List(right)) => {
            What::List(left.iter().chain(right).cloned().collect())
        }
        (What::Text(_), "+", _) | (_, "+", What::Text(_)) => {
            return concatenated(&[left.clone(), right.clone()], line);
        }
        (What::Joined(items), "+", other) => {
            let mut items = items.clone();
            items.push(Value::new(other.clone(), right.line));
            What::Joined(items)
        }
        (What::Text(text), "%", _) => What::Text(percent(text, right)),
        (What::Dict(left), "|", What::Dict(right)) => {
            let mut pairs = left.clone();
            for (key, value) in right {
                super::methods::set(&mut pairs, key.clone(), value.clone());
            }
            What::Dict(pairs)
        }
        // `a / b` of paths.
        (What::Text(left), "/", What::Text(right)) => {
            What::Text(format!("{}/{right}", left.trim_end_matches('/')))
        }
        (What::Integer(left), sign, What::Integer(right)) => whole(*left, sign, *right),
        _ => match (left.number(), right.number()) {
            (Some(left), Some(right)) => fraction(left, sign, right),
            _ => What::Unknown,
        },
    };
    let variable = left.variable.clone().or_else(|| right.variable.clone());
    Value { what, line, variable }
}

fn whole(left: i64, sign: &str, right: i64) -> What {
    let made = match sign {
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        "*" => left.checked_mul(right),
        "//" => left.checked_div_euclid(right),
        "%" => left.checked_rem_euclid(right),
        "**" => u32::try_from(right).ok().and_then(|right| left.checked_pow(right)),
        "<<" => {
            let factor = u32::try_from(right).ok().and_then(|right| 2_i64.checked_pow(right));
            factor.and_then(|factor| left.checked_mul(factor))
        }
        ">>" => u32::try_from(right).ok().and_then(|right| left.checked_shr(right)),
        #[expect(clippy::cast_precision_loss, reason = "no setting is that large")]
        "/" if right != 0 => return What::Float(left as f64 / right as f64),
        _ => None,
    };
    made.map_or(What::Unknown, What::Integer)
}

fn fraction(left: f64, sign: &str, right: f64) -> What {
    match sign {
        "+" => What::Float(left + right),
        "-" => What::Float(left - right),
        "*" => What::Float(left * right),
        "/" if right != 0.0 => What::Float(left / right),
        _ => What::Unknown,
    }
}

/// `"--port %d" % port`.
fn percent(text: &str, right: &Value) -> String {
    let values = match &right.what {
        What::List(items) => items.clone(),
        _ => vec![right.clone()],
    };
    let mut values = values.into_iter();
    let mut made = String::new();
    let mut parts = text.split('%');
    made.push_str(parts.next().unwrap_or_default());
    for part in parts {
        if made.len() > HEAVIEST {
            return GAP.to_string();
        }
        if let Some(rest) = part.strip_prefix(['s', 'd']) {
            made.push_str(&values.next().map_or(GAP.to_string(), |value| value.written()));
            made.push_str(rest);
        } else {
            made.push(GAP);
            made.push_str(part);
        }
    }
    made
}

/// What a sign before a value makes of it.
pub(super) fn unary(sign: &str, inner: Value) -> Value {
    let what = match (sign, inner.what) {
        ("-", What::Integer(number)) => number.checked_neg().map_or(What::Unknown, What::Integer),
        ("-", What::Float(number)) => What::Float(-number),
        ("+", number @ (What::Integer(_) | What::Float(_))) => number,
        _ => What::Unknown,
    };
    Value { what, ..inner }
}

/// Whether something is so; nothing where only a run would tell.
pub(super) fn compare(left: &Value, sign: &str, right: &Value) -> Option<bool> {
    match sign {
        "is" | "==" => equal(left, right),
        "is not" | "!=" => equal(left, right).map(|equal| !equal),
        "in" => within(left, right),
        "not in" => within(left, right).map(|within| !within),
        _ => {
            let (left, right) = (left.number()?, right.number()?);
            Some(match sign {
                "<" => left < right,
                "<=" => left <= right,
                ">" => left > right,
                ">=" => left >= right,
                _ => return None,
            })
        }
    }
}

/// Whether two values are one; nothing where only a run would tell.
fn equal(left: &Value, right: &Value) -> Option<bool> {
    if let (Some(left), Some(right)) = (left.number(), right.number()) {
        return Some(left.to_bits() == right.to_bits());
    }
    match (&left.what, &right.what) {
        (What::Text(_), What::Text(_)) => Some(left.text()? == right.text()?),
        (What::Path(_) | What::Attribute(..) | What::Call(_) | What::Unknown, _)
        | (_, What::Path(_) | What::Attribute(..) | What::Call(_) | What::Unknown) => None,
        (left, right) => Some(left == right),
    }
}

fn within(left: &Value, right: &Value) -> Option<bool> {
    let has = |items: &mut dyn Iterator<Item = &Value>| {
        let mut known = true;
        for item in items {
            match equal(left, item) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => known = false,
            }
        }
        known.then_some(false)
    };
    match &right.what {
        What::List(items) => has(&mut items.iter()),
        What::Dict(pairs) => has(&mut pairs.iter().map(|(key, _)| key)),
        What::Text(_) => Some(right.text()?.contains(left.text()?)),
        _ => None,
    }
}
