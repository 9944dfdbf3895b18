//! Source files and places in them.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};
use toml::de::DeTable;

/// A file's path, as messages should name it, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Relative to the project.
    pub path: PathBuf,
    /// The whole text.
    pub text: Arc<str>,
}

/// A range of bytes in a source file.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    file: Arc<SourceFile>,
    /// First byte and the one behind the last; small, since every flag has two places.
    start: u32,
    end: u32,
}

impl Place {
    /// The bytes `span` of `file`.
    pub fn new(file: Arc<SourceFile>, span: Range<usize>) -> Self {
        // A file of 4 GiB is none that anybody wrote: places behind that are wrong, not fatal.
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { file, start: offset(span.start), end: offset(span.end) }
    }

    /// The value of the field whose keys are `path`, where a file itself writes it.
    ///
    /// Reads the text anew: for mistakes that only show later, such as a revision that the hub
    /// doesn't have.
    pub fn of_field(file: &Arc<SourceFile>, path: &[&str]) -> Option<Self> {
        let tree = DeTable::parse(&file.text).ok()?;
        let (last, tables) = path.split_last()?;
        let mut table = tree.get_ref();
        for key in tables {
            table = table.get(*key)?.get_ref().as_table()?;
        }
        Some(Self::new(Arc::clone(file), table.get(*last)?.span()))
    }

    /// The file.
    pub fn file(&self) -> &Arc<SourceFile> {
        &self.file
    }

    /// The bytes.
    pub fn span(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The line that it starts in, from 1.
    pub fn line(&self) -> usize {
        let end = (self.start as usize).min(self.file.text.len());
        self.file.text.as_bytes()[..end].split(|byte| *byte == b'\n').count()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl fmt::Display for Place {
    /// `path:line`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file.path.display(), self.line())
    }
}

/// A value with where it is written.
///
/// Equal to another when the values are: where something is written changes nothing.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it is written.
    pub place: Place,
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Located<T> {}

impl SourceCode for SourceFile {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let contents = self.text.read_span(span, lines_before, lines_after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.path.display().to_string(),
            contents.data(),
            *contents.span(),
            contents.line(),
            contents.column(),
            contents.line_count(),
        )))
    }
}
