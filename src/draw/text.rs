//! How much room a text takes at most, and texts cut to the room there is.

/// The widest a letter of the names' font is, by its size: `DejaVu Sans Mono` has 0.602, others less.
const MONO: f64 = 0.61;
/// The same on average for words in the sans-serif font: what `DejaVu Sans` takes, others take less.
const SANS: f64 = 0.63;

/// In how many cells of a monospaced font a text fits: two for what may be wide.
fn cells(text: &str) -> u32 {
    text.chars().map(|letter| if letter.is_ascii() { 1 } else { 2 }).sum()
}

/// The most room that a text in the names' font takes, in pixels.
pub(super) fn mono(text: &str, size: f64) -> f64 {
    f64::from(cells(text)) * size * MONO
}

/// The most room that a text in the sans-serif font takes, in pixels.
pub(super) fn sans(text: &str, size: f64) -> f64 {
    f64::from(cells(text)) * size * SANS
}

/// A text that fits into so many cells: names differ at both ends, so what is left out is in between.
pub(super) fn fitted(text: &str, most: u32) -> String {
    if cells(text) <= most {
        return text.to_owned();
    }
    let half = most.saturating_sub(2) / 2;
    let end_of_head = longest(text.char_indices(), half, |at, letter| at + letter.len_utf8());
    let start_of_tail = longest(text.char_indices().rev(), half, |at, _| at);
    match (end_of_head, start_of_tail) {
        (Some(head), Some(tail)) => format!("{}…{}", &text[..head], &text[tail..]),
        _ => "…".to_owned(),
    }
}

/// The boundary behind the last letter that still fits into so many cells.
fn longest(
    letters: impl Iterator<Item = (usize, char)>,
    most: u32,
    boundary: impl Fn(usize, char) -> usize,
) -> Option<usize> {
    let mut taken = 0;
    let mut last = None;
    for (at, letter) in letters {
        taken += if letter.is_ascii() { 1 } else { 2 };
        if taken > most {
            break;
        }
        last = Some(boundary(at, letter));
    }
    last
}

/// A text in XML, between tags or quotes. XML can't hold most control characters at all.
pub(super) fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' => safe.push_str("&#10;"),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}
