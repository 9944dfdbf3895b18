//! Methods that Python's own values have, as far as scripts write settings with them.

use super::texts;
use super::value::{Call, GAP, HEAVIEST, Value, What};

/// What a method of a value does.
pub(super) enum Method {
    /// It gives a value.
    Gives(Value),
    /// It changes what it is called on to the first, and gives the second.
    Changes(Value, Value),
    /// It is nobody's that is known here.
    Outside,
}

/// Puts a value under a key, where the key may be there.
pub(super) fn set(pairs: &mut Vec<(Value, Value)>, key: Value, value: Value) {
    match pairs.iter_mut().find(|(other, _)| other.what == key.what) {
        Some((_, place)) if key.what != What::Unknown => *place = value,
        _ => pairs.push((key, value)),
    }
}

/// What a loop goes over, one after the other; nothing where only a run would tell.
pub(super) fn iterated(over: &Value) -> Option<Vec<Value>> {
    match &over.what {
        What::List(items) => Some(items.clone()),
        What::Dict(pairs) => Some(pairs.iter().map(|(key, _)| key.clone()).collect()),
        _ => None,
    }
}

/// What a method does of a value of Python's own kinds.
pub(super) fn of(receiver: &Value, name: &str, call: &Call) -> Method {
    match &receiver.what {
        What::Text(text) => of_text(receiver, text, name, call),
        What::List(items) => of_list(receiver, items, name, call),
        What::Dict(pairs) => of_dict(receiver, pairs, name, call),
        What::Integer(number) if name == "bit_length" => {
            let bits = i64::BITS - number.unsigned_abs().leading_zeros();
            Method::Gives(Value { what: What::Integer(bits.into()), ..receiver.clone() })
        }
        _ => Method::Outside,
    }
}

fn of_text(receiver: &Value, text: &str, name: &str, call: &Call) -> Method {
    let gives = |what| Method::Gives(Value { what, ..receiver.clone() });
    let argument = |at: usize| call.positional.get(at).and_then(Value::text);
    let same = |text: String| gives(What::Text(text));
    match (name, argument(0), argument(1)) {
        ("join", ..) => match call.positional.first().and_then(iterated) {
            Some(items) if text == " " => gives(What::Joined(items)),
            Some(items) => {
                let words: Vec<String> = items.iter().map(Value::written).collect();
                let length = words.iter().map(|word| word.len() + text.len()).sum::<usize>();
                same(if length < HEAVIEST { words.join(text) } else { GAP.to_string() })
            }
            None => same(GAP.to_string()),
        },
        ("format", ..) => same(formatted(text, call)),
        ("lower", ..) => same(text.to_lowercase()),
        ("upper", ..) => same(text.to_uppercase()),
        ("strip" | "lstrip" | "rstrip", None, _) => same(text.trim().to_owned()),
        ("strip", Some(letters), _) => {
            same(text.trim_matches(|letter| letters.contains(letter)).to_owned())
        }
        ("replace", Some(old), Some(new)) => {
            let length = text.len() + text.matches(old).count() * new.len();
            same(if length < HEAVIEST { text.replace(old, new) } else { GAP.to_string() })
        }
        ("removeprefix", Some(start), _) => {
            same(text.strip_prefix(start).unwrap_or(text).to_owned())
        }
        ("removesuffix", Some(end), _) => same(text.strip_suffix(end).unwrap_or(text).to_owned()),
        ("split" | "rsplit", separator, _) => {
            let limit = call.argument("maxsplit", 1).and_then(Value::integer);
            let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(999);
            let parts: Vec<&str> = match separator {
                None => text.split_whitespace().collect(),
                Some("") => return gives(What::Unknown),
                Some(separator) if name == "split" => text.splitn(limit + 1, separator).collect(),
                Some(separator) => {
                    let mut parts: Vec<&str> = text.rsplitn(limit + 1, separator).collect();
                    parts.reverse();
                    parts
                }
            };
            let part = |part: &str| Value { what: What::Text(part.to_owned()), ..receiver.clone() };
            gives(What::List(parts.into_iter().map(part).collect()))
        }
        ("startswith", Some(start), _) if !texts::has_gap(text) => {
            gives(What::Boolean(text.starts_with(start)))
        }
        ("endswith", Some(end), _) if !texts::has_gap(text) => {
            gives(What::Boolean(text.ends_with(end)))
        }
        ("as_posix" | "encode" | "resolve" | "expanduser", ..) => same(text.to_owned()),
        _ => Method::Outside,
    }
}

/// `"{} {name}".format(…)`.
fn formatted(text: &str, call: &Call) -> String {
    let mut positional = call.positional.iter();
    let mut made = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        if made.len() > HEAVIEST {
            return GAP.to_string();
        }
        made.push_str(before);
        if let Some(after) = after.strip_prefix('{') {
            made.push('{');
            rest = after;
            continue;
        }
        let Some((name, after)) = after.split_once('}') else { break };
        let value = match name {
            "" => positional.next(),
            name => match name.parse::<usize>() {
                Ok(at) => call.positional.get(at),
                Err(_) => call.named(name),
            },
        };
        made.push_str(&value.map_or(GAP.to_string(), Value::written));
        rest = after;
    }
    made.push_str(&rest.replace("}}", "}"));
    made
}

fn of_list(receiver: &Value, items: &[Value], name: &str, call: &Call) -> Method {
    let none = Value::new(What::None, call.line);
    let changes =
        |items| Method::Changes(Value { what: What::List(items), ..receiver.clone() }, none);
    let mut items = items.to_vec();
    match (name, &call.positional[..]) {
        ("append" | "add", [item]) => {
            items.push(item.clone());
            changes(items)
        }
        ("extend" | "update", [more]) => {
            match iterated(more) {
                Some(more) => items.extend(more),
                None => items.push(Value { what: What::Unknown, ..more.clone() }),
            }
            changes(items)
        }
        ("insert", [at, item]) => {
            let at = at.integer().and_then(|at| usize::try_from(at).ok()).unwrap_or(items.len());
            items.insert(at.min(items.len()), item.clone());
            changes(items)
        }
        ("copy", []) => Method::Gives(receiver.clone()),
        _ => Method::Outside,
    }
}

fn of_dict(receiver: &Value, pairs: &[(Value, Value)], name: &str, call: &Call) -> Method {
    let line = call.line;
    let new = |what| Method::Gives(Value::new(what, line));
    match (name, &call.positional[..]) {
        ("get", [index, default @ ..]) => {
            let found = pairs.iter().find(|(key, _)| key.what == index.what);
            let found = found.map(|(_, value)| value).or(default.first());
            let unknown = matches!(index.what, What::Unknown);
            let none = Value::new(if unknown { What::Unknown } else { What::None }, line);
            Method::Gives(found.cloned().unwrap_or(none))
        }
        ("items", []) => {
            let pair = |(key, value): &(Value, Value)| {
                Value::new(What::List(vec![key.clone(), value.clone()]), key.line)
            };
            new(What::List(pairs.iter().map(pair).collect()))
        }
        ("keys", []) => new(What::List(pairs.iter().map(|(key, _)| key.clone()).collect())),
        ("values", []) => new(What::List(pairs.iter().map(|(_, value)| value.clone()).collect())),
        ("copy", []) => Method::Gives(receiver.clone()),
        ("update", more) => {
            let mut changed = pairs.to_vec();
            for (key, value) in more.iter().flat_map(Value::pairs) {
                set(&mut changed, key.clone(), value.clone());
            }
            for (name, value) in &call.named {
                set(&mut changed, Value::new(What::Text(name.clone()), value.line), value.clone());
            }
            let none = Value::new(What::None, line);
            Method::Changes(Value { what: What::Dict(changed), ..receiver.clone() }, none)
        }
        _ => Method::Outside,
    }
}
