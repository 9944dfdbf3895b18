//! Functions that Python itself has, as far as scripts write settings with them.

use super::methods::{iterated, set};
use super::texts;
use super::value::{Call, GAP, Value, What};

/// What a function gives that Python itself has; nothing for all others.
pub(super) fn built_in(path: &str, call: &Call) -> Option<Value> {
    let first = call.positional.first();
    let line = call.line;
    let new = |what| Value::new(what, line);
    let of_first =
        |what| Some(Value { what, line, variable: first.and_then(|first| first.variable.clone()) });
    match path {
        "str"
        | "pathlib.Path"
        | "pathlib.PurePosixPath"
        | "os.path.expanduser"
        | "shlex.quote"
        | "os.path.abspath"
        | "os.fspath" => {
            let first = first?;
            let text = first.written();
            of_first(What::Text(if path == "shlex.quote" && first.text().is_none() {
                GAP.to_string()
            } else {
                text
            }))
        }
        "int" => {
            let text = first?.written();
            of_first(text.trim().parse().map_or(What::Unknown, What::Integer))
        }
        "float" => {
            let text = first?.written();
            of_first(text.trim().parse().map_or(What::Unknown, What::Float))
        }
        "bool" => of_first(first?.truth().map_or(What::Unknown, What::Boolean)),
        "json.dumps" => of_first(
            json(first?)
                .map_or_else(|| What::Text(GAP.to_string()), |json| What::Text(json.to_string())),
        ),
        "json.loads" => {
            let value = serde_json::from_str(first?.text()?).ok()?;
            Some(of_json(&value, line))
        }
        "shlex.split" => {
            let first = first?;
            let word = |word| Value { what: What::Text(word), ..first.clone() };
            Some(new(What::List(texts::words(&first.written()).into_iter().map(word).collect())))
        }
        "shlex.join" => Some(new(What::Joined(iterated(first?)?))),
        "os.path.join" => {
            let parts: Vec<String> = call.positional.iter().map(Value::written).collect();
            of_first(What::Text(parts.join("/")))
        }
        "os.environ.copy" => Some(new(What::Dict(Vec::new()))),
        // What marks or wraps a value is that value.
        "copy.deepcopy" | "copy.copy" | "dataclasses.asdict" => first.cloned(),
        _ => of_lists(path, call),
    }
}

/// What a function of lists and numbers gives.
fn of_lists(path: &str, call: &Call) -> Option<Value> {
    let first = call.positional.first();
    let new = |what| Value::new(what, call.line);
    match path {
        "list" | "tuple" | "sorted" | "set" => match first {
            None => Some(new(What::List(Vec::new()))),
            Some(first) => iterated(first).map(|items| new(What::List(items))),
        },
        "dict" => {
            let mut pairs = match first {
                None => Vec::new(),
                Some(Value { what: What::Dict(pairs), .. }) => pairs.clone(),
                // Whatever else there is then.
                Some(first) if first.path() == Some("os.environ") => Vec::new(),
                Some(_) => return None,
            };
            for (name, value) in &call.named {
                set(&mut pairs, Value::new(What::Text(name.clone()), value.line), value.clone());
            }
            Some(new(What::Dict(pairs)))
        }
        "len" => {
            let length = match &first?.what {
                What::List(items) => items.len(),
                What::Dict(pairs) => pairs.len(),
                What::Text(_) => first?.text()?.chars().count(),
                _ => return None,
            };
            Some(new(i64::try_from(length).map_or(What::Unknown, What::Integer)))
        }
        "enumerate" => {
            let items = iterated(first?)?.into_iter().zip(0..);
            let pair = |(item, at)| new(What::List(vec![new(What::Integer(at)), item]));
            Some(new(What::List(items.map(pair).collect())))
        }
        "zip" => {
            let lists: Option<Vec<_>> = call.positional.iter().map(iterated).collect();
            let lists = lists?;
            let shortest = lists.iter().map(Vec::len).min()?;
            let row = |at: usize| new(What::List(lists.iter().map(|it| it[at].clone()).collect()));
            Some(new(What::List((0..shortest).map(row).collect())))
        }
        "range" => {
            let numbers: Option<Vec<i64>> = call.positional.iter().map(Value::integer).collect();
            let (from, to) = match numbers?[..] {
                [to] => (0, to),
                [from, to] => (from, to),
                _ => return None,
            };
            let numbers = (from..to).take(1000).map(|number| new(What::Integer(number)));
            Some(new(What::List(numbers.collect())))
        }
        "min" | "max" => {
            let numbers: Option<Vec<i64>> = call.positional.iter().map(Value::integer).collect();
            let numbers = numbers?;
            let found = if path == "min" { numbers.iter().min() } else { numbers.iter().max() };
            Some(new(What::Integer(*found?)))
        }
        _ => None,
    }
}

/// A value as JSON; nothing where only a run would tell a part of it.
pub fn json(value: &Value) -> Option<serde_json::Value> {
    Some(match &value.what {
        What::None => serde_json::Value::Null,
        What::Boolean(truth) => (*truth).into(),
        What::Integer(number) => (*number).into(),
        What::Float(number) => (*number).into(),
        What::Text(_) => value.text()?.into(),
        What::List(items) => items.iter().map(json).collect::<Option<Vec<_>>>()?.into(),
        What::Dict(pairs) => {
            let pair = |(key, value): &(Value, Value)| Some((key.text()?.to_owned(), json(value)?));
            let pairs: Option<serde_json::Map<_, _>> = pairs.iter().map(pair).collect();
            pairs?.into()
        }
        _ => return None,
    })
}

fn of_json(value: &serde_json::Value, line: usize) -> Value {
    use serde_json::Value as Json;
    let what = match value {
        Json::Null => What::None,
        Json::Bool(truth) => What::Boolean(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => What::Integer(number),
            (None, Some(number)) => What::Float(number),
            (None, None) => What::Unknown,
        },
        Json::String(text) => What::Text(text.clone()),
        Json::Array(items) => What::List(items.iter().map(|item| of_json(item, line)).collect()),
        Json::Object(fields) => {
            let pair = |(name, value): (&String, &Json)| {
                (Value::new(What::Text(name.clone()), line), of_json(value, line))
            };
            What::Dict(fields.iter().map(pair).collect())
        }
    };
    Value::new(what, line)
}
