//! A YAML document as a tree whose nodes know their bytes.
//!
//! The parser's marks count characters, open before anchors and tags, and close late; everything
//! that edits relies on the positions being put right here.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::error::{GatewayError, NamedText};

/// Deeper nesting is refused: no gateway file needs it, and a hostile one could exhaust the stack.
const MAX_DEPTH: usize = 100;

/// An index into [`Tree::nodes`].
pub(super) type Id = usize;

#[derive(Debug)]
pub(super) enum NodeKind {
    Scalar {
        value: String,
        style: ScalarStyle,
    },
    Sequence(Vec<Id>),
    Mapping(Vec<(Id, Id)>),
    /// The anchored node, if it is complete (an alias inside of its own anchor isn't).
    Alias(Option<Id>),
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    /// From the anchor or tag, if any, to the end of the last thing that belongs to the node.
    pub(super) range: Range<usize>,
    /// Written with brackets or braces.
    pub(super) flow: bool,
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    pub(super) root: Option<Id>,
}

impl Tree {
    /// Parses the one document of a text; `None` as root when it holds nothing but comments.
    pub(super) fn parse(place: NamedText<'_>) -> Result<Self, GatewayError> {
        let skip = if place.text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let body = &place.text[skip..];
        let offsets = (!body.is_ascii())
            .then(|| body.char_indices().map(|(at, _)| at).chain([body.len()]).collect::<Vec<_>>());
        let mut builder = Builder {
            place,
            parser: Parser::new_from_str(body),
            offsets,
            skip,
            tree: Self::default(),
            anchors: HashMap::new(),
        };
        builder.document()?;
        Ok(builder.tree)
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    /// Follows an alias to what it stands for.
    pub(super) fn resolve(&self, id: Id) -> Option<Id> {
        match self.nodes[id].kind {
            NodeKind::Alias(target) => target.and_then(|target| self.resolve(target)),
            _ => Some(id),
        }
    }

    /// The pairs of a mapping, not looking through aliases.
    pub(super) fn pairs(&self, id: Id) -> &[(Id, Id)] {
        match &self.nodes[id].kind {
            NodeKind::Mapping(pairs) => pairs,
            _ => &[],
        }
    }

    /// The items of a sequence, not looking through aliases.
    pub(super) fn items(&self, id: Id) -> &[Id] {
        match &self.nodes[id].kind {
            NodeKind::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The first key that a mapping has twice: where it stands first, and where it stands again.
    pub(super) fn repeated(&self) -> Option<[Range<usize>; 2]> {
        let twice = |pairs: &[(Id, Id)]| {
            let mut seen: HashMap<&str, Id> = HashMap::new();
            let keys = pairs.iter().filter_map(|(key, _)| Some((self.text(*key)?, *key)));
            keys.into_iter().find_map(|(text, key)| Some([seen.insert(text, key)?, key]))
        };
        let mappings = self.nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Mapping(pairs) => twice(pairs),
            _ => None,
        });
        let again = mappings.min_by_key(|[_, again]| self.node(*again).range.start)?;
        Some(again.map(|key| self.node(key).range.clone()))
    }

    /// The pair that is written under `key` in this very mapping.
    pub(super) fn pair(&self, mapping: Id, key: &str) -> Option<(Id, Id)> {
        self.pairs(mapping).iter().copied().find(|(name, _)| self.text(*name) == Some(key))
    }

    /// The value of `key` as a reader sees it: through aliases and merged mappings.
    pub(super) fn get(&self, mapping: Id, key: &str) -> Option<Id> {
        self.get_within(mapping, key, 8)
    }

    fn get_within(&self, mapping: Id, key: &str, depth: usize) -> Option<Id> {
        let mapping = self.resolve(mapping)?;
        if let Some((_, value)) = self.pair(mapping, key) {
            return self.resolve(value);
        }
        let merged = self.pair(mapping, "<<").filter(|_| depth > 0)?.1;
        let merged = self.resolve(merged)?;
        match &self.nodes[merged].kind {
            NodeKind::Mapping(_) => self.get_within(merged, key, depth - 1),
            NodeKind::Sequence(items) => {
                items.iter().find_map(|item| self.get_within(*item, key, depth - 1))
            }
            _ => None,
        }
    }

    /// A scalar's text.
    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match &self.nodes[self.resolve(id)?].kind {
            NodeKind::Scalar { value, .. } => Some(value),
            _ => None,
        }
    }

    pub(super) fn is_null(&self, id: Id) -> bool {
        matches!(&self.nodes[id].kind, NodeKind::Scalar { value, style: ScalarStyle::Plain }
            if matches!(value.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

struct Builder<'a> {
    place: NamedText<'a>,
    parser: Parser<'a, StrInput<'a>>,
    /// Byte of each character; `None` when they are the same.
    offsets: Option<Vec<usize>>,
    skip: usize,
    tree: Tree,
    anchors: HashMap<usize, Id>,
}

impl<'a> Builder<'a> {
    fn byte(&self, index: usize) -> usize {
        self.skip
            + self.offsets.as_ref().map_or(index, |offsets| offsets[index.min(offsets.len() - 1)])
    }

    fn next(&mut self) -> Result<(Event<'a>, Range<usize>), GatewayError> {
        match self.parser.next_event() {
            Some(Ok((event, Span { start, end }))) => {
                let start = self.byte(start.index());
                Ok((event, start..self.byte(end.index()).max(start)))
            }
            Some(Err(error)) => {
                let at = self.byte(error.marker().index());
                Err(self.place.syntax(at, error.info().to_owned()))
            }
            None => panic!("BUG: read on behind the end of the YAML stream"),
        }
    }

    fn document(&mut self) -> Result<(), GatewayError> {
        let mut documents = 0;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentStart(_), range) => {
                    documents += 1;
                    if documents > 1 {
                        let reason =
                            "a second document starts here; LiteLLM reads only one".to_owned();
                        return Err(self.place.syntax(range.start, reason));
                    }
                }
                (Event::StreamStart | Event::DocumentEnd | Event::Nothing, _) => (),
                (event, range) => self.tree.root = Some(self.build(event, range, 0)?),
            }
        }
    }

    fn build(
        &mut self,
        event: Event<'a>,
        range: Range<usize>,
        depth: usize,
    ) -> Result<Id, GatewayError> {
        if depth > MAX_DEPTH {
            return Err(self.place.syntax(range.start, "nested too deeply".to_owned()));
        }
        let opened = self.place.text[range.clone()].trim_end();
        let (anchor, node) = match event {
            Event::Scalar(value, style, anchor, _) => {
                let range = scalar_range(self.place.text, &value, style, range);
                let kind = NodeKind::Scalar { value: Cow::into_owned(value), style };
                (anchor, Node { kind, range, flow: false })
            }
            Event::Alias(anchor) => {
                let kind = NodeKind::Alias(self.anchors.get(&anchor).copied());
                (0, Node { kind, range, flow: false })
            }
            Event::SequenceStart(anchor, _) => {
                let flow = opened.ends_with('[');
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, range) => items.push(self.build(event, range, depth + 1)?),
                    }
                }
                let last = items.last().map(|id| self.tree.nodes[*id].range.end);
                let range = range.start..self.collection_end(&range, last, flow);
                (anchor, Node { kind: NodeKind::Sequence(items), range, flow })
            }
            Event::MappingStart(anchor, _) => {
                let flow = opened.ends_with('{');
                let mut pairs = Vec::new();
                loop {
                    let key = match self.next()? {
                        (Event::MappingEnd, _) => break,
                        (event, range) => self.build(event, range, depth + 1)?,
                    };
                    let (event, range) = self.next()?;
                    pairs.push((key, self.build(event, range, depth + 1)?));
                }
                let last = pairs.last().map(|(key, value)| {
                    self.tree.nodes[*value].range.end.max(self.tree.nodes[*key].range.end)
                });
                let range = range.start..self.collection_end(&range, last, flow);
                (anchor, Node { kind: NodeKind::Mapping(pairs), range, flow })
            }
            _ => panic!("BUG: a YAML node starts with {event:?}"),
        };
        let id = self.tree.nodes.len();
        self.tree.nodes.push(node);
        if anchor > 0 {
            self.anchors.insert(anchor, id);
        }
        Ok(id)
    }

    /// The parser closes block collections at the next token, and flow ones at a trailing comma.
    fn collection_end(&self, opened: &Range<usize>, last: Option<usize>, flow: bool) -> usize {
        let text = self.place.text;
        if flow {
            let from = last.unwrap_or(opened.start + text[opened.clone()].trim_end().len());
            closing_bracket(text, from).map_or(from, |at| at + 1)
        } else {
            last.unwrap_or(opened.end)
        }
    }
}

fn scalar_range(text: &str, value: &str, style: ScalarStyle, range: Range<usize>) -> Range<usize> {
    match style {
        ScalarStyle::Literal | ScalarStyle::Folded => {
            let keeps_blank_lines = value.ends_with("\n\n") || value == "\n";
            let body = &text[range.clone()];
            let end = if keeps_blank_lines {
                body.rfind('\n').map_or(body.len(), |newline| newline + 1)
            } else {
                body.trim_end().len()
            };
            range.start..range.start + end
        }
        // An empty value's mark may cover the next bracket.
        ScalarStyle::Plain if value.is_empty() && !text[range.clone()].starts_with(['&', '!']) => {
            range.start..range.start
        }
        _ => range.start..range.start + text[range.clone()].trim_end().len(),
    }
}

/// Finds the bracket that closes a flow collection, from behind its last item.
fn closing_bracket(text: &str, from: usize) -> Option<usize> {
    let mut comment = false;
    for (at, byte) in text.bytes().enumerate().skip(from) {
        match byte {
            b'\n' => comment = false,
            b'#' => comment = true,
            b']' | b'}' if !comment => return Some(at),
            _ => (),
        }
    }
    None
}

/// Skips an anchor and a tag, and the blanks behind them.
pub(super) fn skip_properties(text: &str, mut at: usize) -> usize {
    while text[at..].starts_with(['&', '!']) {
        at += text[at..].find([' ', '\t', '\r', '\n']).unwrap_or(text.len() - at);
        at += text[at..].len() - text[at..].trim_start_matches([' ', '\t']).len();
    }
    at
}

/// Whether YAML 1.1 and 1.2 readers both take this plain scalar for a string.
///
/// Says no when in doubt: what starts with a letter is no number, date or time.
pub(super) fn plain_is_text(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    text.starts_with(|first: char| first.is_alphabetic() || first == '_' || first == '/')
        && !matches!(
            lower.as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
        )
}
