//! A script's text as a tree, or why it is none.

use std::collections::BTreeMap;
use std::ops::Range;

use miette::{Diagnostic, NamedSource, SourceSpan};
use thiserror::Error;
use tree_sitter::{Node, Parser, Tree};

/// A larger file is none that anybody keeps by hand.
const LARGEST: usize = 4 << 20;

/// Why a script can't be read.
#[derive(Debug, Error, Diagnostic)]
pub enum ScriptError {
    /// The text is not Python.
    #[error("{path}:{line} is not Python")]
    #[diagnostic(
        code(goatbuild::import::syntax),
        help("nothing was written; `python -m py_compile {path}` says what is wrong there")
    )]
    Syntax {
        /// The script.
        path: String,
        /// The line, counted from 1.
        line: usize,
        /// Its text.
        #[source_code]
        source_code: NamedSource<String>,
        /// Where it is wrong.
        #[label("from here on")]
        span: SourceSpan,
    },
    /// The text is Python of another time.
    #[error("{path}:{line} is Python 2")]
    #[diagnostic(
        code(goatbuild::import::python2),
        help("nothing was written; `2to3 -w {path}` makes Python 3 of it")
    )]
    Python2 {
        /// The script.
        path: String,
        /// The line, counted from 1.
        line: usize,
        /// Its text.
        #[source_code]
        source_code: NamedSource<String>,
        /// Where it is wrong.
        #[label("a statement that Python 3 doesn't have")]
        span: SourceSpan,
    },
    /// The file is a notebook.
    #[error("{path} is a notebook")]
    #[diagnostic(
        code(goatbuild::import::notebook),
        help("nothing was written; `jupyter nbconvert --to script {path}` makes a script of it")
    )]
    Notebook {
        /// The script.
        path: String,
    },
    /// The file is too large.
    #[error("{path} has {size} bytes")]
    #[diagnostic(
        code(goatbuild::import::size),
        help("nothing was written; a deploy script has fewer than 4 MiB")
    )]
    Size {
        /// The script.
        path: String,
        /// Its size.
        size: usize,
    },
    /// The text isn't UTF-8.
    #[error("{path}:{line} is not UTF-8")]
    #[diagnostic(
        code(goatbuild::import::encoding),
        help("nothing was written; `iconv -f latin1 -t utf-8 {path}` rewrites such a file")
    )]
    Encoding {
        /// The script.
        path: String,
        /// The line, counted from 1.
        line: usize,
    },
}

/// A script, parsed.
#[derive(Debug)]
pub struct Script {
    /// The file, as it was named.
    pub path: String,
    /// Its text, and those of the files that are read with it.
    pub(super) text: String,
    pub(super) tree: Tree,
    /// Itself, and the files that are read with it.
    pub(super) files: Vec<File>,
}

/// A file, as part of the text.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) bytes: Range<usize>,
    /// The lines that stand before its own.
    pub(super) lines: usize,
    pub(super) imports: BTreeMap<String, usize>,
    pub(super) is_named: bool,
}

impl Script {
    /// Parses a file's bytes.
    pub fn parse(path: &str, bytes: Vec<u8>) -> Result<Self, ScriptError> {
        let path = path.to_owned();
        if bytes.len() > LARGEST {
            return Err(ScriptError::Size { path, size: bytes.len() });
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + valid.split(|byte| *byte == b'\n').count() - 1;
                return Err(ScriptError::Encoding { path, line });
            }
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n");
        if text.trim_start().starts_with('{') && text.contains("\"nbformat\"") {
            return Err(ScriptError::Notebook { path });
        }
        let tree = Self::tree(&text);
        match first_wrong(&tree) {
            None => {
                let file = File { path: path.clone(), bytes: 0..text.len(), ..File::default() };
                Ok(Self { path, text, tree, files: vec![file] })
            }
            Some((node, python2)) => {
                let line = node.start_position().row + 1;
                let length = node.end_byte().saturating_sub(node.start_byte());
                let first = text[node.start_byte()..][..length].lines().next().map_or(0, str::len);
                let span = SourceSpan::from((node.start_byte(), first));
                let source_code = NamedSource::new(&path, text).with_language("Python");
                Err(if python2 {
                    ScriptError::Python2 { path, line, source_code, span }
                } else {
                    ScriptError::Syntax { path, line, source_code, span }
                })
            }
        }
    }

    /// A text's tree.
    pub(super) fn tree(text: &str) -> Tree {
        let mut parser = Parser::new();
        let tree = match parser.set_language(&tree_sitter_python::LANGUAGE.into()) {
            Ok(()) => parser.parse(text, None),
            Err(error) => panic!("BUG: the grammar is of another version: {error}"),
        };
        // It is none only where a parser was told to stop.
        tree.unwrap_or_else(|| panic!("BUG: the parser stopped"))
    }

    /// The lines, counted from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// A line's text, counted from 1.
    pub fn line(&self, line: usize) -> &str {
        self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim()
    }
}

/// The first place that isn't Python 3, and whether it is Python 2.
fn first_wrong(tree: &Tree) -> Option<(Node<'_>, bool)> {
    let mut cursor = tree.walk();
    loop {
        let node = cursor.node();
        if matches!(node.kind(), "print_statement" | "exec_statement") {
            return Some((node, true));
        }
        if node.is_error() || node.is_missing() {
            return Some((node, false));
        }
        if cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return None;
            }
        }
    }
}
