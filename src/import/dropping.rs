//! Taking a field out of a file that was made, where a mistake points at it.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::toml_text::field;

/// Fields without which a file says nothing: a mistake in one is nobody's to mend but its author's.
const NEEDED: [&[&str]; 6] = [
    &["image"],
    &["target"],
    &["model", "source"],
    &["hardware", "gpu"],
    &["base"],
    &["project", "id"],
];

/// A field that was taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Its keys.
    pub path: Vec<String>,
    /// What of a list was taken out, where that was not all of it.
    pub items: Vec<String>,
    /// Where what is left of the text is as it was: before this byte.
    pub same_until: usize,
}

/// Takes the field out that holds these bytes, or of a list the one item; none where no field does, or
/// a file needs it.
pub fn drop_field(text: &mut String, at: &Range<usize>) -> Option<Dropped> {
    if at.is_empty() {
        return None;
    }
    let tree = DeTable::parse(text).ok()?;
    let found = find(text, tree.get_ref(), at, &[])?;
    let keys: Vec<&str> = found.path.iter().map(String::as_str).collect();
    if NEEDED.contains(&&*keys) {
        return None;
    }
    let start = text[..found.bytes.start].rfind('\n').map_or(0, |line| line + 1);
    let end =
        text[found.bytes.end..].find('\n').map_or(text.len(), |end| found.bytes.end + end + 1);
    let mut left = String::new();
    let mut items = Vec::new();
    if let (Some(item), Some(toml::Value::Array(mut all))) = (found.item, value(text, &keys)) {
        // Whatever stands behind a flag that is handed on goes with it.
        let is_flag = |it: &toml::Value| it.as_str().is_some_and(|it| it.starts_with('-'));
        let more = all[item..].iter().skip(1).take_while(|it| !is_flag(it)).count();
        let last = if keys.ends_with(&["extra-args"]) { item + more } else { item };
        let gone =
            all.drain(item..=last).map(|it| it.as_str().map_or(it.to_string(), str::to_owned));
        items = gone.collect();
        if !all.is_empty() {
            field(&mut left, keys.last()?, &all.into());
        }
    }
    let dropped = Dropped { path: found.path, items, same_until: start };
    text.replace_range(start..end, &left);
    Some(dropped)
}

struct Found {
    path: Vec<String>,
    /// From the key to the end of the value.
    bytes: Range<usize>,
    /// Of a list, which item.
    item: Option<usize>,
}

/// The field of a line of its own that holds a byte.
fn find(text: &str, table: &DeTable<'_>, at: &Range<usize>, above: &[String]) -> Option<Found> {
    table.iter().find_map(|(key, value)| {
        let mut path = above.to_vec();
        path.push(key.get_ref().to_string());
        let span = value.span();
        match value.get_ref() {
            DeValue::Table(inner) if !text[span.start..].starts_with('{') => {
                find(text, inner, at, &path)
            }
            inner => {
                let bytes = key.span().start..span.end;
                let item = inner.as_array().and_then(|items| {
                    items.iter().position(|item| item.span().contains(&at.start))
                });
                bytes.contains(&at.start).then_some(Found { path, bytes, item })
            }
        }
    })
}

fn value(text: &str, path: &[&str]) -> Option<toml::Value> {
    let table: toml::Table = text.parse().ok()?;
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, key| value.get(*key)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# x\n\nimage = \"vllm\"\n\n[engine]\na.b = 1\nextra-args = [\"-x\", \"1\", \"-y\"]\n\
                        [volumes]\nv = { name = \"n\", mount = \"m\" }\n";

    /// What is left once the mistake is at this part of the text, and what was taken out.
    fn dropped(part: &str) -> Option<(String, Dropped)> {
        let mut text = TEXT.to_owned();
        let start = text.find(part).expect("a part of it");
        let dropped = drop_field(&mut text, &(start..start + part.len()))?;
        Some((text, dropped))
    }

    #[test]
    fn the_field_at_a_place_goes_with_its_line() {
        let (text, gone) = dropped("\"m\"").expect("a field");
        assert_eq!(text, TEXT.replace("v = { name = \"n\", mount = \"m\" }\n", ""));
        assert_eq!(gone.path, ["volumes", "v"]);
        let (text, _) = dropped("1\nextra").expect("a field");
        assert_eq!(text, TEXT.replace("a.b = 1\n", ""));
    }

    #[test]
    fn an_item_of_a_list_goes_alone_and_a_flag_with_its_value() {
        let (text, gone) = dropped("\"-x\"").expect("a field");
        assert_eq!(text, TEXT.replace("\"-x\", \"1\", ", ""));
        assert_eq!(gone.items, ["-x", "1"]);
    }

    #[test]
    fn what_a_file_needs_and_what_is_no_field_stay() {
        assert_eq!(dropped("\"vllm\""), None);
        assert_eq!(dropped("# x"), None);
        assert_eq!(drop_field(&mut TEXT.to_owned(), &(5..5)), None);
    }
}
