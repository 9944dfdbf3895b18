//! Errors as people read them: with as much of their text as tells where they are, and what to do about
//! a machine that has run out of something.

use std::fmt;

use miette::{
    Diagnostic, LabeledSpan, MietteError, MietteHandler, MietteSpanContents, ReportHandler,
    Severity, SourceCode, SourceSpan, SpanContents,
};

use crate::exhausted::Exhausted;

/// Bytes of a text that are shown before and after a place: more than any line that somebody reads has.
const AROUND: usize = 400;

/// Bytes of a place that are shown.
const PLACE: usize = 2000;

/// Bytes of a line of a message.
const LINE: usize = 8 << 10;

/// Has an error shown without what nobody reads of it.
pub(super) struct Shortening(pub(super) MietteHandler);

impl ReportHandler for Shortening {
    fn debug(&self, error: &dyn Diagnostic, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if formatter.alternate() {
            return fmt::Debug::fmt(error, formatter);
        }
        self.0.debug(&Shown::of(error), formatter)
    }
}

/// What to do about an error.
pub(super) fn help(error: &dyn Diagnostic) -> Option<String> {
    let own = error.help().map(|help| help.to_string());
    let Some(out) = told(error) else { return own };
    // One that was made for this says where, and how much there is.
    let is_known = error.code().is_some_and(|code| code.to_string().ends_with("::disk_full"));
    match own {
        Some(own) if is_known => Some(own),
        Some(own) if !GUESSES.iter().any(|guess| own.contains(guess)) => {
            Some(format!("{}\n{own}", out.help()))
        }
        _ => Some(out.help().to_owned()),
    }
}

/// What is said of a disk by errors that may have another cause.
const GUESSES: [&str; 3] = ["is the disk full", "is its disk full", "free space"];

/// What the machine has run out of. A text that somebody wrote says nothing of it.
fn told(error: &dyn Diagnostic) -> Option<Exhausted> {
    if error.source_code().is_some() {
        return None;
    }
    let words = || Exhausted::of_words(&error.to_string());
    error.source().and_then(Exhausted::of).or_else(words)
}

/// An error, as it is shown.
struct Shown<'a> {
    error: &'a dyn Diagnostic,
    source: Option<Window<'a>>,
    related: Vec<Self>,
}

impl<'a> Shown<'a> {
    fn of(error: &'a dyn Diagnostic) -> Self {
        let related = error.related().into_iter().flatten().map(Self::of).collect();
        let source = error.source_code().map(|text| Window::of(text, error));
        Self { error, source, related }
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.error, formatter)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.error.to_string();
        for (at, line) in text.split('\n').enumerate() {
            let (newline, end) = (if at > 0 { "\n" } else { "" }, floor(line.as_bytes(), LINE));
            let more = if end < line.len() { "…" } else { "" };
            write!(formatter, "{newline}{}{more}", &line[..end])?;
        }
        Ok(())
    }
}

impl std::error::Error for Shown<'_> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.error.code()
    }

    fn severity(&self) -> Option<Severity> {
        self.error.severity()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        help(self.error).map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn url<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.error.url()
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|window| window as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self.error.labels()?;
        let Some(window) = &self.source else { return Some(labels) };
        Some(Box::new(labels.map(|label| window.shortened(&label))))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let mut related = self.related.iter().map(|error| error as &dyn Diagnostic).peekable();
        related.peek()?;
        Some(Box::new(related))
    }

    fn diagnostic_source(&self) -> Option<&dyn Diagnostic> {
        self.error.diagnostic_source()
    }
}

/// A text of which no more than what is around a place is read.
struct Window<'a> {
    text: &'a dyn SourceCode,
    /// What is shown of it instead of a part of it: of the same length, but for a mark at its end.
    marked: Vec<(Part, Vec<u8>)>,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    /// Its first byte.
    from: usize,
    length: usize,
    /// Whether it begins within a line, and ends within one.
    cuts: (bool, bool),
}

impl<'a> Window<'a> {
    fn of(text: &'a dyn SourceCode, error: &dyn Diagnostic) -> Self {
        let mut window = Self { text, marked: Vec::new() };
        for label in error.labels().into_iter().flatten() {
            let label = window.shortened(&label);
            // As many lines as are shown beside a place.
            let Ok(read) = text.read_span(label.inner(), 1, 1) else { continue };
            let (part, data) = part(&*read, label.inner());
            if part.cuts != (false, false) {
                window.marked.push((part, marked(data, part.cuts)));
            }
        }
        window
    }

    /// The label, of a place that can be shown.
    fn shortened(&self, label: &LabeledSpan) -> LabeledSpan {
        if label.len() <= PLACE {
            return label.clone();
        }
        let read = self.text.read_span(label.inner(), 0, 0);
        let length = read.map_or(PLACE, |read| floor(read.data(), PLACE));
        let (text, span) = (label.label().map(str::to_owned), (label.offset(), length));
        if label.primary() {
            LabeledSpan::new_primary_with_span(text, span)
        } else {
            LabeledSpan::new_with_span(text, span)
        }
    }
}

impl SourceCode for Window<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        if span.len() > PLACE + 2 * AROUND {
            // Two places that are far from each other are shown one after the other.
            return Err(MietteError::OutOfBounds);
        }
        let read = self.text.read_span(span, before, after)?;
        let (part, data) = part(&*read, span);
        let skipped = &read.data()[..part.from - read.span().offset()];
        let lines = skipped.split(|byte| *byte == b'\n').count() - 1;
        let marked = self.marked.iter().find(|(of, _)| *of == part);
        let contents = MietteSpanContents::new_named(
            read.name().unwrap_or_default().to_owned(),
            marked.map_or(data, |(_, text)| text),
            (part.from, part.length).into(),
            read.line() + lines,
            read.column(),
            read.line_count(),
        );
        Ok(Box::new(match read.language() {
            Some(language) => contents.with_language(language),
            None => contents,
        }))
    }
}

/// What is shown of a text around a place.
fn part<'a>(read: &(dyn SpanContents<'a> + 'a), place: &SourceSpan) -> (Part, &'a [u8]) {
    let (data, offset) = (read.data(), read.span().offset());
    let start = place.offset().saturating_sub(offset).min(data.len());
    let end = (start + place.len()).min(data.len());
    let around = start.saturating_sub(AROUND);
    // A line that begins within what is shown is shown from there on.
    let begins = data[around..start].iter().position(|byte| *byte == b'\n');
    let (from, is_within) = match begins {
        _ if around == 0 => (0, false),
        Some(newline) => (around + newline + 1, false),
        None => (floor(data, around), true),
    };
    let to = floor(data, end + AROUND);
    let ends_within = to < data.len() && !data[..to].ends_with(b"\n");
    let part = Part { from: offset + from, length: to - from, cuts: (is_within, ends_within) };
    (part, &data[from..to])
}

/// What stands for what isn't shown.
const MARK: &str = "…";

/// Marks where a part of a text is cut: over its first letters, byte for byte, so that all places stay
/// where they are, and behind its end.
fn marked(text: &[u8], (start, end): (bool, bool)) -> Vec<u8> {
    let mut shown = text.to_vec();
    if start {
        let inside = text.iter().skip(MARK.len()).take_while(|byte| is_inside(**byte)).count();
        let covered = MARK.len() + inside;
        if let Some(covered) = shown.get_mut(..covered) {
            covered.fill(b' ');
            covered[..MARK.len()].copy_from_slice(MARK.as_bytes());
        }
    }
    if end {
        shown.extend_from_slice(MARK.as_bytes());
    }
    shown
}

/// The last place up to `at` where no letter is cut.
fn floor(text: &[u8], at: usize) -> usize {
    let mut at = at.min(text.len());
    while at > 0 && text.get(at).is_some_and(|byte| is_inside(*byte)) {
        at -= 1;
    }
    at
}

/// Whether a byte of UTF-8 goes on with a letter.
fn is_inside(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use miette::{GraphicalReportHandler, GraphicalTheme, NamedSource};

    use super::*;

    #[derive(Debug, thiserror::Error, Diagnostic)]
    #[error("{message}")]
    #[diagnostic(code(goatbuild::spec::of_a_test))]
    struct Wrong {
        message: String,
        #[source_code]
        text: NamedSource<String>,
        #[label("here")]
        at: SourceSpan,
        #[label("and here")]
        and: Option<SourceSpan>,
    }

    fn shown(text: &str, at: SourceSpan, and: Option<SourceSpan>) -> String {
        let text = NamedSource::new("a.toml", text.to_owned());
        let wrong = Wrong { message: "wrong".to_owned(), text, at, and };
        let mut drawn = String::new();
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
            .with_wrap_lines(false)
            .render_report(&mut drawn, &Shown::of(&wrong))
            .unwrap();
        drawn
    }

    #[test]
    fn of_a_long_line_what_is_around_the_place_is_shown() {
        let text = format!("{}WRONG{}\nnext = 1\n", "ä".repeat(50_000), "ö".repeat(50_000));
        let drawn = shown(&text, (100_000, 5).into(), None);
        assert!(drawn.len() < 4000, "{drawn}");
        assert!(drawn.contains("… ää") && drawn.contains("äWRONGö") && drawn.contains("ö…\n"));
        assert!(drawn.contains("a.toml:1:100001") && drawn.contains("╰── here"), "{drawn}");
        let (line, mark) = (drawn.lines().nth(4).unwrap(), drawn.lines().nth(5).unwrap());
        let column = |line: &str, at: &str| line[..line.find(at).unwrap()].chars().count();
        assert_eq!(column(line, "WRONG") + 2, column(mark, "┬"), "{drawn}");
    }

    #[test]
    fn places_that_are_long_or_far_apart_are_shown_in_part() {
        let text = format!("one = {}\n", "1".repeat(100_000));
        let drawn = shown(&text, (6, 100_000).into(), None);
        assert!(drawn.len() < 12_000 && drawn.contains("here"), "{}", drawn.len());
        let drawn = shown(&text, (0, 3).into(), Some((90_000, 4).into()));
        assert!(drawn.len() < 6000 && drawn.contains("╰── here"), "{drawn}");
        assert!(drawn.contains("╰── and here"), "{drawn}");
        let long = format!("a = '{}'\nb = 3\n", "x".repeat(100_000));
        let drawn = shown(&long, (long.len() - 2, 1).into(), None);
        assert!(drawn.contains(" 2 │ b = 3") && drawn.len() < 400, "{drawn}");
    }

    #[test]
    fn what_anybody_wrote_is_shown_as_ever() {
        let text = "a = 1\nb = 'x'\n[c]\nd = 2\n";
        for at in 0..text.len() {
            let named = NamedSource::new("a.toml", text.to_owned());
            let (message, at) = ("wrong".to_owned(), SourceSpan::from((at, 1)));
            let wrong = Wrong { message, text: named, at, and: None };
            let (mut plain, handler) = (
                String::new(),
                GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
                    .with_wrap_lines(false),
            );
            handler.render_report(&mut plain, &wrong).unwrap();
            assert_eq!(shown(text, at, None), plain);
        }
    }

    #[test]
    fn a_long_message_is_cut_and_a_long_list_is_not() {
        let message = format!("{}\nsecond", "y".repeat(100_000));
        let text = NamedSource::new("a.toml", "a".to_owned());
        let wrong = Wrong { message, text, at: (0, 1).into(), and: None };
        let told = Shown::of(&wrong).to_string();
        assert!(told.len() < 9000 && told.ends_with("y…\nsecond"), "{}", told.len());
    }
}
