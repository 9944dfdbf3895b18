//! Files beside a script, as the modules that it imports: read once, each with names of its own.

use tree_sitter::Node;

use super::beside::within;
use super::interpreter::{Interpreter, Scope};
use super::value::{Value, What};

impl<'t> Interpreter<'t> {
    /// Reads the statements of a file, the first time it is imported.
    pub(super) fn file(&mut self, file: usize, root: Node<'t>) {
        if std::mem::replace(&mut self.begun[file], true) {
            return;
        }
        let inner = self.scopes.split_off(1);
        let before = self.enter(file);
        let returned = self.returned.take();
        let bytes = &self.files[file].bytes;
        let own = Self::children(root).into_iter().filter(|it| bytes.contains(&it.start_byte()));
        self.depth += 8;
        self.statements(own.collect());
        self.depth -= 8;
        self.returned = returned;
        self.enter(before);
        self.scopes.extend(inner);
    }

    /// Has the names of another file in place of those of the one that is read; says which that was.
    pub(super) fn enter(&mut self, file: usize) -> usize {
        let before = std::mem::replace(&mut self.current, file);
        if before != file {
            let names = std::mem::take(&mut self.parked[file]);
            self.parked[before] = std::mem::replace(&mut self.scopes[0], names);
        }
        before
    }

    /// The file that an import means, read; none for what is installed.
    pub(super) fn imported(&mut self, wanted: &str) -> Option<usize> {
        let file = *self.files[self.current].imports.get(wanted)?;
        self.file(file, self.root);
        Some(file)
    }

    /// The names of a file.
    pub(super) fn names_of(&self, file: usize) -> &Scope {
        if file == self.current { &self.scopes[0] } else { &self.parked[file] }
    }

    /// What a name of a module is, if a file beside the script is that module.
    pub(super) fn name_of(&mut self, module: &str, name: &str, line: usize) -> Option<Value> {
        let file = self.imported(module);
        let value = file.and_then(|file| self.names_of(file).get(name).cloned());
        value.or_else(|| {
            let file = self.imported(&within(module, name))?;
            Some(Value::new(What::Module(file), line))
        })
    }
}
