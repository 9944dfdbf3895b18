//! From the text of a script to its commands.
//!
//! tree-sitter reads bash, of which dash's language is a part; what it makes of a script is narrowed here to
//! what can be followed, and everything else is an error with its line.

use tree_sitter::{Node, Parser};

use super::Refused;
use super::syntax::{Block, Command, Kind, PartKind, Redirect, RedirectKind, Word, text};

/// How deep commands and words may stand in each other.
const DEPTH: usize = 200;

/// No script is longer.
const LONGEST: usize = 1 << 20;

/// The letters that a backslash protects in a document that stands in a script.
const HERE: Option<&str> = Some("$`\\");

/// Reads a script.
pub(super) fn read(text: &str) -> Result<Block, Refused> {
    if text.len() > LONGEST {
        return Err(Refused::at(1, "longer than any script"));
    }
    let mut parser = Parser::new();
    parser
        .set_language(&tree_sitter_bash::LANGUAGE.into())
        .unwrap_or_else(|error| panic!("BUG: {error}"));
    let tree = parser.parse(text, None).unwrap_or_else(|| panic!("BUG: no time limit is set"));
    let deep = |line: usize| Refused::at(line, "commands in commands without end");
    let mut cursor = tree.walk();
    loop {
        if cursor.depth() as usize > DEPTH {
            return Err(deep(line(cursor.node())));
        }
        if cursor.goto_first_child() || cursor.goto_next_sibling() {
            continue;
        }
        loop {
            if !cursor.goto_parent() {
                return Reader { text }.block(tree.root_node());
            }
            if cursor.goto_next_sibling() {
                break;
            }
        }
    }
}

/// Reads what tree-sitter found in a text.
pub(super) struct Reader<'t> {
    pub(super) text: &'t str,
}

fn line(node: Node<'_>) -> usize {
    node.start_position().row + 1
}

pub(super) fn children(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    node.children(&mut cursor).collect()
}

fn fields<'n>(node: Node<'n>, name: &str) -> Vec<Node<'n>> {
    let mut cursor = node.walk();
    node.children_by_field_name(name, &mut cursor).collect()
}

impl<'t> Reader<'t> {
    pub(super) fn of(&self, node: Node<'_>) -> &'t str {
        &self.text[node.byte_range()]
    }

    pub(super) fn not_read(&self, node: Node<'_>) -> Refused {
        Refused::at(line(node), self.of(node).lines().next().unwrap_or_default())
    }

    /// The commands among the children of a node.
    pub(super) fn block(&self, node: Node<'_>) -> Result<Block, Refused> {
        self.commands(children(node))
    }

    fn commands<'n>(&self, nodes: impl IntoIterator<Item = Node<'n>>) -> Result<Block, Refused> {
        let mut block = Block::new();
        for node in nodes {
            if node.is_error() || node.is_missing() {
                return Err(self.not_read(node));
            }
            // What runs beside the script has a shell of its own; nobody asks how it ends.
            if node.kind() == "&"
                && let Some(command) = block.pop()
            {
                let line = command.line;
                let inner = vec![command, nothing(line)];
                block.push(Command { line, kind: Kind::Subshell(inner) });
            }
            if node.is_named() && !matches!(node.kind(), "comment" | "heredoc_body" | "heredoc_end")
            {
                block.push(self.command(node)?);
            }
        }
        Ok(block)
    }

    fn command(&self, node: Node<'_>) -> Result<Command, Refused> {
        let kind = match node.kind() {
            // tree-sitter takes several assignments, and the command on the next line, for one.
            "command" if self.is_broken(node) => return Err(self.not_read(node)),
            "command"
            | "variable_assignment"
            | "variable_assignments"
            | "declaration_command"
            | "unset_command" => return self.simple(node),
            "test_command" => Kind::Simple { assigned: Vec::new(), words: self.test(node)? },
            "pipeline" => Kind::Pipeline(self.block(node)?),
            "list" => {
                let nodes: Vec<_> =
                    children(node).into_iter().filter(|it| it.kind() != "comment").collect();
                let [left, operator, right] = nodes[..] else { return Err(self.not_read(node)) };
                let right = self.command(right)?;
                Kind::AndOr(
                    Box::new(self.command(left)?),
                    self.of(operator) == "&&",
                    Box::new(right),
                )
            }
            "negated_command" => {
                let mut block = self.block(node)?;
                match (block.pop(), block.is_empty()) {
                    (Some(command), true) => Kind::Not(Box::new(command)),
                    _ => return Err(self.not_read(node)),
                }
            }
            "if_statement" => return self.choice(node),
            "for_statement" => {
                let name =
                    node.child_by_field_name("variable").ok_or_else(|| self.not_read(node))?;
                let body = node.child_by_field_name("body").ok_or_else(|| self.not_read(node))?;
                let has_in = children(node).iter().any(|it| it.kind() == "in");
                let words = fields(node, "value")
                    .into_iter()
                    .map(|it| self.word(it))
                    .collect::<Result<_, _>>()?;
                Kind::For(self.of(name).to_owned(), has_in.then_some(words), self.block(body)?)
            }
            "while_statement" => {
                let body = node.child_by_field_name("body").ok_or_else(|| self.not_read(node))?;
                let until = children(node).first().is_some_and(|it| it.kind() == "until");
                Kind::While(until, self.commands(fields(node, "condition"))?, self.block(body)?)
            }
            "case_statement" => {
                let value = node.child_by_field_name("value").ok_or_else(|| self.not_read(node))?;
                let items = children(node).into_iter().filter(|it| it.kind() == "case_item");
                let items = items.map(|item| self.item(item)).collect::<Result<_, _>>()?;
                Kind::Case(self.word(value)?, items)
            }
            "compound_statement" | "do_group" => Kind::Group(self.block(node)?),
            "subshell" => Kind::Subshell(self.block(node)?),
            "function_definition" if node.child_by_field_name("redirect").is_some() => {
                return Err(self.not_read(node));
            }
            "function_definition" => {
                let name = node.child_by_field_name("name").ok_or_else(|| self.not_read(node))?;
                let body = node.child_by_field_name("body").ok_or_else(|| self.not_read(node))?;
                Kind::Function(self.of(name).to_owned(), Box::new(self.command(body)?))
            }
            "redirected_statement" => return self.redirected(node),
            _ => return Err(self.not_read(node)),
        };
        Ok(Command { line: line(node), kind })
    }

    /// Whether a line ends between the words of a command.
    fn is_broken(&self, node: Node<'_>) -> bool {
        let children = children(node);
        children.windows(2).any(|pair| {
            let between =
                &self.text[pair[0].end_byte()..pair[1].start_byte().max(pair[0].end_byte())];
            pair[0].kind() == "variable_assignment" && between.replace("\\\n", "").contains('\n')
        })
    }

    fn simple(&self, node: Node<'_>) -> Result<Command, Refused> {
        let (mut assigned, mut words) = (Vec::new(), Vec::new());
        let mut redirects = Vec::new();
        if node.kind() == "variable_assignment" {
            assigned.push(self.assignment(node)?);
        }
        for child in children(node) {
            match child.kind() {
                _ if node.kind() == "variable_assignment" => {}
                "variable_assignment" => assigned.push(self.assignment(child)?),
                "file_redirect" => redirects.push(self.redirect(child, &mut words)?),
                "comment" => {}
                "command_name" => match children(child)[..] {
                    [name] => words.push(self.word(name)?),
                    _ => return Err(self.not_read(child)),
                },
                // `export`, `local` and `unset` stand there as they are.
                _ if !child.is_named() => words.push(text(self.of(child))),
                _ => words.push(self.word(child)?),
            }
        }
        let line = line(node);
        let simple = Command { line, kind: Kind::Simple { assigned, words } };
        if redirects.is_empty() {
            return Ok(simple);
        }
        Ok(Command { line, kind: Kind::Redirected(Box::new(simple), redirects) })
    }

    fn assignment(&self, node: Node<'_>) -> Result<(String, Word), Refused> {
        let name = node.child_by_field_name("name").ok_or_else(|| self.not_read(node))?;
        let operator = children(node).into_iter().any(|it| it.kind() == "=");
        if name.kind() != "variable_name" || !operator {
            return Err(self.not_read(node));
        }
        let value = node.child_by_field_name("value").map(|it| self.word(it)).transpose()?;
        Ok((self.of(name).to_owned(), value.unwrap_or_default()))
    }

    fn choice(&self, node: Node<'_>) -> Result<Command, Refused> {
        let mut arms = Vec::new();
        let mut otherwise = Block::new();
        let arm = |node: Node<'_>| -> Result<(Block, Block), Refused> {
            let (mut condition, mut body, mut then) = (Vec::new(), Vec::new(), false);
            for child in children(node) {
                match child.kind() {
                    "then" => then = true,
                    "elif_clause" | "else_clause" => {}
                    _ if then => body.push(child),
                    _ => condition.push(child),
                }
            }
            Ok((self.commands(condition)?, self.commands(body)?))
        };
        arms.push(arm(node)?);
        for child in children(node) {
            match child.kind() {
                "elif_clause" => arms.push(arm(child)?),
                "else_clause" => otherwise = self.block(child)?,
                _ => {}
            }
        }
        Ok(Command { line: line(node), kind: Kind::If(arms, otherwise) })
    }

    fn item(&self, node: Node<'_>) -> Result<(Vec<Word>, Block), Refused> {
        let (mut patterns, mut body, mut closed) = (Vec::new(), Vec::new(), false);
        for child in children(node) {
            match child.kind() {
                ")" => closed = true,
                ";;" | "|" | "(" => {}
                ";&" | ";;&" => return Err(self.not_read(child)),
                _ if closed => body.push(child),
                _ => patterns.push(self.word(child)?),
            }
        }
        Ok((patterns, self.commands(body)?))
    }

    fn redirected(&self, node: Node<'_>) -> Result<Command, Refused> {
        let (mut redirects, mut behind, mut more) = (Vec::new(), Vec::new(), Vec::new());
        let mut body = None;
        for child in children(node) {
            match child.kind() {
                "file_redirect" => redirects.push(self.redirect(child, &mut more)?),
                "heredoc_redirect" => {
                    redirects.push(self.document(child)?);
                    for part in children(child) {
                        match part.kind() {
                            "pipeline" => behind.extend(self.block(part)?),
                            "file_redirect" => redirects.push(self.redirect(part, &mut more)?),
                            "<<" | "<<-" | "heredoc_start" | "heredoc_body" | "heredoc_end" => {}
                            _ => return Err(self.not_read(part)),
                        }
                    }
                }
                "comment" => {}
                _ if body.is_none() => body = Some(self.command(child)?),
                _ => return Err(self.not_read(child)),
            }
        }
        let line = line(node);
        let body = body.unwrap_or_else(|| nothing(line));
        let command = with_redirects(with_words(body, more), redirects);
        if behind.is_empty() {
            return Ok(command);
        }
        behind.insert(0, command);
        Ok(Command { line, kind: Kind::Pipeline(behind) })
    }

    /// Reads a document that stands in the script: `<<END`.
    fn document(&self, node: Node<'_>) -> Result<Redirect, Refused> {
        let parts = children(node);
        let start = parts.iter().find(|it| it.kind() == "heredoc_start");
        // tree-sitter leaves out the blanks at its beginning.
        let behind = start.map_or(node.start_byte(), Node::end_byte);
        let begin = self.text[behind..].find('\n').map_or(behind, |at| behind + at + 1);
        let is_raw = start.is_some_and(|it| self.of(*it).contains(['\'', '"', '\\']));
        let mut word = match parts.iter().find(|it| it.kind() == "heredoc_body") {
            None => Word::new(),
            Some(body) if is_raw => text(&self.text[begin..body.end_byte()]),
            Some(body) => self.gaps(*body, begin, body.end_byte(), HERE)?,
        };
        if parts.iter().any(|it| it.kind() == "<<-") {
            for part in &mut word {
                if let PartKind::Text(text) = &mut part.kind {
                    let lines = text.split('\n').map(|line| line.trim_start_matches('\t'));
                    *text = lines.collect::<Vec<_>>().join("\n");
                }
            }
        }
        Ok(Redirect { kind: RedirectKind::Here, descriptor: None, word })
    }

    /// Reads a redirection. tree-sitter takes the words behind it for parts of it: those go to `more`.
    fn redirect(&self, node: Node<'_>, more: &mut Vec<Word>) -> Result<Redirect, Refused> {
        let (mut kind, mut descriptor, mut word) = (None, None, None);
        for child in children(node) {
            match child.kind() {
                "file_descriptor" => descriptor = self.of(child).parse().ok(),
                "<" => kind = Some(RedirectKind::Read),
                ">" | ">|" | "&>" => kind = Some(RedirectKind::Write),
                ">>" | "&>>" => kind = Some(RedirectKind::Append),
                ">&" => kind = Some(RedirectKind::Duplicate),
                ">&-" | "<&-" => {
                    kind = Some(RedirectKind::Duplicate);
                    word = Some(Word::new());
                }
                _ if child.is_named() && word.is_none() => word = Some(self.word(child)?),
                _ if child.is_named() => more.push(self.word(child)?),
                _ => return Err(self.not_read(node)),
            }
        }
        match (kind, word) {
            (Some(kind), Some(word)) => Ok(Redirect { kind, descriptor, word }),
            _ => Err(self.not_read(node)),
        }
    }

    /// The words of `[ … ]`, brackets and operators among them.
    fn test(&self, node: Node<'_>) -> Result<Vec<Word>, Refused> {
        let mut words = Vec::new();
        for child in children(node) {
            match child.kind() {
                "binary_expression"
                | "unary_expression"
                | "parenthesized_expression"
                | "ternary_expression" => words.extend(self.test(child)?),
                "test_operator" => words.push(text(self.of(child))),
                _ if child.is_named() => words.push(self.word(child)?),
                _ => words.push(text(self.of(child))),
            }
        }
        Ok(words)
    }
}

/// A redirection behind a list is its last command's.
fn with_redirects(command: Command, redirects: Vec<Redirect>) -> Command {
    let line = command.line;
    let kind = match command.kind {
        Kind::AndOr(left, and, right) => {
            Kind::AndOr(left, and, Box::new(with_redirects(*right, redirects)))
        }
        Kind::Not(inner) => Kind::Not(Box::new(with_redirects(*inner, redirects))),
        Kind::Pipeline(mut block) => {
            if let Some(last) = block.pop() {
                block.push(with_redirects(last, redirects));
            }
            Kind::Pipeline(block)
        }
        kind => Kind::Redirected(Box::new(Command { line, kind }), redirects),
    };
    Command { line, kind }
}

/// Adds words to a command that they stand behind.
fn with_words(mut command: Command, more: Vec<Word>) -> Command {
    match &mut command.kind {
        Kind::Simple { words, .. } => words.extend(more),
        Kind::Redirected(inner, _) | Kind::AndOr(_, _, inner) if !more.is_empty() => {
            let body = std::mem::replace(&mut **inner, nothing(command.line));
            **inner = with_words(body, more);
        }
        _ => {}
    }
    command
}

fn nothing(line: usize) -> Command {
    Command { line, kind: Kind::Simple { assigned: Vec::new(), words: Vec::new() } }
}
