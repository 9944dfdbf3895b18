//! Variables of an image that extend what the base has under the same name: `PATH = "/x:$PATH"`.
//!
//! A variable's own name, as `$NAME` or `${NAME}`, stands for the base's value; nothing else is looked for,
//! and nothing escapes it.

/// Where in `value` the variable's own name stands: from the `$` to the end of the name.
fn own_names<'v>(name: &'v str, value: &'v str) -> impl Iterator<Item = (usize, usize)> + 'v {
    value.match_indices('$').filter_map(move |(at, _)| {
        let rest = &value[at + 1..];
        if let Some(rest) = rest.strip_prefix('{') {
            let is_own = rest.strip_prefix(name).is_some_and(|rest| rest.starts_with('}'));
            return is_own.then_some((at, at + name.len() + 3));
        }
        let behind = rest.strip_prefix(name)?;
        let goes_on = behind.starts_with(|next: char| next == '_' || next.is_ascii_alphanumeric());
        (!goes_on).then_some((at, at + 1 + name.len()))
    })
}

/// Whether a variable's value extends the base's.
pub fn extends(name: &str, value: &str) -> bool {
    own_names(name, value).next().is_some()
}

/// A variable's value over `old`, the base's. Where that is empty, the colon that would join them is left out:
/// an empty part of a `PATH` is the working directory, from which nobody wants to run programs.
pub fn extended(name: &str, value: &str, old: &str) -> String {
    let (mut text, mut done) = (String::new(), 0);
    for (at, end) in own_names(name, value) {
        text.push_str(&value[done..at]);
        text.push_str(old);
        done = end;
        if old.is_empty() {
            if text.ends_with(':') {
                text.pop();
            } else if text.is_empty() && value[end..].starts_with(':') {
                done += 1;
            }
        }
    }
    text + &value[done..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a Dockerfile's `ENV PATH=/x:$PATH` makes of it, but for other names and for empty values.
    #[test]
    fn a_variables_own_name_stands_for_the_bases_value_and_nothing_else_does() {
        for (value, expected) in [
            ("/x:$PATH", "/x:/a:/b"),
            ("/x:${PATH}:/y", "/x:/a:/b:/y"),
            ("$PATH", "/a:/b"),
            ("$PATH:$PATH", "/a:/b:/a:/b"),
            ("/x:$PATHS:$HOME:$$:${PATH:-/y}:$PATH_", "/x:$PATHS:$HOME:$$:${PATH:-/y}:$PATH_"),
            ("$ä:$PATH-ä", "$ä:/a:/b-ä"),
            ("/x", "/x"),
            ("", ""),
            ("${PATH", "${PATH"),
        ] {
            assert_eq!(extended("PATH", value, "/a:/b"), expected, "{value}");
            assert_eq!(extends("PATH", value), value != expected, "{value}");
        }
        // A base's value may hold the name itself, and isn't looked through.
        assert_eq!(extended("P", "/x:$P", "$P"), "/x:$P");
    }

    #[test]
    fn no_colon_is_left_where_the_base_has_nothing() {
        for (value, expected) in [
            ("/x:$L", "/x"),
            ("$L:/x", "/x"),
            ("/x:${L}:/y", "/x:/y"),
            ("$L", ""),
            ("-a $L", "-a "),
            ("$L$L:/x", "/x"),
        ] {
            assert_eq!(extended("L", value, ""), expected, "{value}");
        }
    }
}
