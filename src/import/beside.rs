//! A script with the files beside it that it imports, as one text: the script's own comes first, and
//! lines are counted on through all of them.

use std::collections::BTreeMap;

use tree_sitter::Node;

use super::syntax::{File, Script};

/// A file that is read with a script.
#[derive(Debug)]
pub struct Beside {
    /// The file.
    pub script: Script,
    /// What each of its imports means, as it is written: the number of a file, the script's is 0.
    pub imports: BTreeMap<String, usize>,
    /// Whether it is to be imported itself, too.
    pub is_named: bool,
}

impl Script {
    /// What its imports may mean, as they are written: modules, and what they have of modules.
    pub fn imports(&self) -> Vec<String> {
        let source = |node: Node<'_>| &self.text[node.byte_range()];
        let mut imports = Vec::new();
        let mut open = vec![self.tree.root_node()];
        while let Some(node) = open.pop() {
            let mut cursor = node.walk();
            if !matches!(node.kind(), "import_statement" | "import_from_statement") {
                open.extend(node.named_children(&mut cursor));
                continue;
            }
            let module = node.child_by_field_name("module_name").map(source);
            imports.extend(module.map(str::to_owned));
            for name in node.children_by_field_name("name", &mut cursor) {
                let name = source(name.child_by_field_name("name").unwrap_or(name));
                imports.push(module.map_or_else(|| name.to_owned(), |module| within(module, name)));
            }
        }
        imports
    }

    /// The script with the files beside it.
    pub fn joined(script: Beside, others: Vec<Beside>) -> Self {
        let mut text = String::new();
        let mut files = Vec::new();
        let path = script.script.path.clone();
        for Beside { script, imports, is_named } in std::iter::once(script).chain(others) {
            let (start, lines) = (text.len(), text.lines().count());
            text.push_str(&script.text);
            text.push('\n');
            files.push(File {
                path: script.path,
                bytes: start..text.len(),
                lines,
                imports,
                is_named,
            });
        }
        let tree = Self::tree(&text);
        Self { path, text, tree, files }
    }

    /// The file that a line is in, and its number there.
    pub fn place(&self, line: usize) -> (&str, usize) {
        let file = self.files.iter().rev().find(|file| file.lines < line);
        file.map_or((&self.path, line), |file| (&file.path, line - file.lines))
    }
}

/// What a module has, as one would write it.
pub(super) fn within(module: &str, name: &str) -> String {
    if module.ends_with('.') { format!("{module}{name}") } else { format!("{module}.{name}") }
}
