//! The files beside a script that it has settings in: read as syntax, like the script itself.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::bounded;
use crate::import::{Beside, Remark, Script};

/// More files than anybody keeps the settings of a script in.
const FILES: usize = 40;

/// More text than those have, in bytes.
const BYTES: u64 = 2 << 20;

/// Deeper than anybody nests packages.
const DEPTH: usize = 8;

/// Reads the files that a script imports where it lies, and that those import; what is installed is
/// none of them. What isn't read is told.
pub(super) fn joined(
    script: Script,
    path: &Path,
    named: &[PathBuf],
    installed: &[&str],
) -> (Script, Vec<Remark>) {
    let mut lost = Vec::new();
    let Some(place) = Place::of(path, installed) else { return (script, lost) };
    let shown = script.path.clone();
    let mut paths = vec![place.script.clone()];
    let mut scripts = vec![script];
    let mut imports: Vec<BTreeMap<String, usize>> = Vec::new();
    let mut bytes = 0;
    // Each file that is found is looked through in its turn, once.
    while let Some(script) = scripts.get(imports.len()) {
        let mut own = BTreeMap::new();
        for wanted in script.imports() {
            let Some(file) = place.find(&paths[imports.len()], &wanted) else { continue };
            if let Some(at) = paths.iter().position(|path| *path == file) {
                own.insert(wanted, at);
                continue;
            }
            let name = place.shown(&shown, &file);
            bytes += file.metadata().map_or(BYTES, |metadata| metadata.len());
            let read = if paths.len() > FILES || bytes > BYTES {
                Err("there are more files beside the script than one has its settings in"
                    .to_owned())
            } else {
                let bytes = bounded::read(&file, BYTES).map_err(|error| error.to_string());
                bytes.and_then(|bytes| Script::parse(&name, bytes).map_err(|it| it.to_string()))
            };
            match read {
                Ok(read) => {
                    own.insert(wanted, paths.len());
                    paths.push(file);
                    scripts.push(read);
                }
                Err(why) => {
                    let why = format!("it isn't read: {why}");
                    lost.push(Remark { script: name, line: 0, text: String::new(), why });
                }
            }
        }
        imports.push(own);
    }
    let mut files = scripts.into_iter().zip(imports).zip(paths).map(|((script, imports), path)| {
        let is_named = named.iter().any(|named| named.canonicalize().is_ok_and(|it| it == path));
        Beside { script, imports, is_named }
    });
    let Some(first) = files.next() else { panic!("BUG: the script itself is gone") };
    (Script::joined(first, files.collect()), lost)
}

/// Where Python would look for what isn't installed.
struct Place<'a> {
    /// Packages that are installed, whatever a directory beside a script is called.
    installed: &'a [&'a str],
    script: PathBuf,
    /// The script's directory, and the one that holds the packages which the script is in.
    tops: [PathBuf; 2],
}

impl<'a> Place<'a> {
    fn of(script: &Path, installed: &'a [&'a str]) -> Option<Self> {
        let script = script.canonicalize().ok()?;
        let directory = script.parent()?.to_owned();
        let is_package = |it: &&Path| it.join("__init__.py").is_file();
        // A directory between two packages needs no `__init__.py`.
        let above = directory.ancestors().take(DEPTH).filter(is_package).last();
        let above = above.and_then(Path::parent);
        let top = above.unwrap_or(&directory).to_owned();
        Some(Self { installed, script, tops: [directory, top] })
    }

    /// The plain file that an import in a file means, if it is one here.
    fn find(&self, importing: &Path, wanted: &str) -> Option<PathBuf> {
        let name = wanted.trim_start_matches('.');
        let dots = wanted.len() - name.len();
        let relative = importing.ancestors().nth(dots)?.to_owned();
        let bases = if dots > 0 { std::slice::from_ref(&relative) } else { &self.tops[..] };
        if dots == 0 && self.installed.contains(&name.split('.').next()?) {
            return None;
        }
        let plain = |path: PathBuf| -> Option<PathBuf> {
            let is_plain = path.symlink_metadata().ok()?.is_file();
            let path = path.canonicalize().ok()?;
            (is_plain && self.tops.iter().any(|top| path.starts_with(top))).then_some(path)
        };
        bases.iter().find_map(|base| {
            let whole = name
                .split('.')
                .filter(|it| !it.is_empty())
                .fold(base.clone(), |at, it| at.join(it));
            let module = if name.is_empty() { None } else { plain(whole.with_extension("py")) };
            module.or_else(|| plain(whole.join("__init__.py")))
        })
    }

    /// What a file is called by whoever calls the script so.
    fn shown(&self, script: &str, file: &Path) -> String {
        let mut above = Path::new(script).parent().map(Path::to_owned).unwrap_or_default();
        let mut directory = self.tops[0].as_path();
        while let (false, Some(parent)) = (file.starts_with(directory), directory.parent()) {
            match above.components().next_back() {
                Some(Component::Normal(_)) => _ = above.pop(),
                _ => above.push(".."),
            }
            directory = parent;
        }
        above.join(file.strip_prefix(directory).unwrap_or(file)).display().to_string()
    }
}
