//! `pyproject.toml` of a project's own package, read as data: what it is called and needs (PEP 621),
//! and what builds it (PEP 517, 518). Nothing of the package runs for that.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{PackageProblem, Problem, SpecError};
use super::source::{Located, Place, SourceFile};

/// What builds a package whose file doesn't say: PEP 517's answer, as pip and `build` give it.
const LEGACY: &str = "setuptools.build_meta:__legacy__";
/// What that needs.
const LEGACY_REQUIRES: &str = "setuptools>=40.8.0";

/// A package of the project's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    /// As written.
    pub name: Located<String>,
    /// The Pythons that it runs on, as written.
    pub requires_python: Option<Located<String>>,
    /// What it needs to run (PEP 508).
    pub dependencies: Vec<Located<String>>,
    /// What is needed to build it (PEP 508).
    pub build_requires: Vec<Located<String>>,
    /// The object that builds it: `module:object`.
    pub backend: String,
    /// Where that is, if it is in the package itself.
    pub backend_path: Vec<String>,
}

/// Reads the file; fails with its first mistake.
pub fn read_package(file: &Arc<SourceFile>) -> Result<Package, SpecError> {
    let tree = DeTable::parse(&file.text).map_err(|error| {
        let problem = Problem::Syntax { message: error.message().to_owned() };
        SpecError::new(problem, Place::new(Arc::clone(file), error.span().unwrap_or(0..0)))
    })?;
    let root = Reader { file, table: tree.get_ref(), at: 0..0, called: String::new() };
    let missing =
        |reader: &Reader<'_>, key| reader.error(PackageProblem::Missing { key }, reader.at.clone());
    let Some(project) = root.table("project")? else {
        return Err(missing(&root, "project.name"));
    };
    let name = project.text("name")?.ok_or_else(|| missing(&project, "project.name"))?;
    if !is_name(&name.value) {
        let problem = PackageProblem::Name { name: name.value };
        return Err(SpecError::new(Problem::Package(problem), name.place));
    }
    let dynamic = project.texts("dynamic")?.unwrap_or_default();
    for key in ["dependencies", "requires-python", "name"] {
        if let Some(found) = dynamic.iter().find(|found| found.value == key) {
            let problem = Problem::Package(PackageProblem::Dynamic { key });
            return Err(SpecError::new(problem, found.place.clone()));
        }
    }
    let has_version = project.text("version")?.is_some();
    if !has_version && !dynamic.iter().any(|found| found.value == "version") {
        return Err(missing(&project, "project.version"));
    }
    let build = root.table("build-system")?;
    let legacy = || Located { value: LEGACY_REQUIRES.to_owned(), place: name.place.clone() };
    let build_requires = match &build {
        None => vec![legacy()],
        Some(build) => {
            let requires = build.texts("requires")?;
            requires.ok_or_else(|| missing(build, "build-system.requires"))?
        }
    };
    let backend = build.as_ref().map(|build| build.text("build-backend")).transpose()?.flatten();
    let path = build.as_ref().map(|build| build.texts("backend-path")).transpose()?.flatten();
    Ok(Package {
        requires_python: project.text("requires-python")?,
        dependencies: project.texts("dependencies")?.unwrap_or_default(),
        build_requires,
        backend: backend.map_or_else(|| LEGACY.to_owned(), |backend| backend.value),
        backend_path: path.unwrap_or_default().into_iter().map(|path| path.value).collect(),
        name,
    })
}

/// A package's name, as the index takes it (PEP 508).
fn is_name(text: &str) -> bool {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric();
    text.as_bytes().first().is_some_and(inner)
        && text.as_bytes().last().is_some_and(inner)
        && text.bytes().all(|byte| inner(&byte) || b"-_.".contains(&byte))
}

/// One table of the file.
struct Reader<'t> {
    file: &'t Arc<SourceFile>,
    table: &'t DeTable<'t>,
    /// Where it is.
    at: std::ops::Range<usize>,
    /// Its name, with a dot behind it.
    called: String,
}

impl Reader<'_> {
    fn error(&self, problem: PackageProblem, at: std::ops::Range<usize>) -> SpecError {
        SpecError::new(Problem::Package(problem), Place::new(Arc::clone(self.file), at))
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &'static str) -> SpecError {
        let key = format!("{}{key}", self.called);
        self.error(PackageProblem::WrongType { key, expected }, value.span())
    }

    fn table(&self, key: &str) -> Result<Option<Self>, SpecError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let table = value.get_ref().as_table();
        let table = table.ok_or_else(|| self.wrong(key, value, "a table"))?;
        let called = format!("{}{key}.", self.called);
        Ok(Some(Self { file: self.file, table, at: value.span(), called }))
    }

    fn located(&self, value: &Spanned<DeValue<'_>>) -> Option<Located<String>> {
        let text = value.get_ref().as_str()?.to_owned();
        Some(Located { value: text, place: Place::new(Arc::clone(self.file), value.span()) })
    }

    fn text(&self, key: &str) -> Result<Option<Located<String>>, SpecError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        self.located(value).map(Some).ok_or_else(|| self.wrong(key, value, "a string"))
    }

    fn texts(&self, key: &str) -> Result<Option<Vec<Located<String>>>, SpecError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let expected = "an array of strings";
        let array = value.get_ref().as_array().ok_or_else(|| self.wrong(key, value, expected))?;
        let text = |item| self.located(item).ok_or_else(|| self.wrong(key, item, expected));
        array.iter().map(text).collect::<Result<_, _>>().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Package, String> {
        let file = SourceFile { path: "pkg/pyproject.toml".into(), text: text.into() };
        let told = |error: SpecError| {
            let at = &error.place.file().text[error.place.span()];
            format!("{error}: {at}")
        };
        read_package(&Arc::new(file)).map_err(told)
    }

    #[test]
    fn what_a_package_is_called_needs_and_is_built_by_is_read() {
        let package = read(
            "[project]\nname = \"My.Pkg\"\ndynamic = [\"version\"]\nrequires-python = \">=3.9\"\n\
             dependencies = [\"idna>=3\"]\n[build-system]\nrequires = [\"flit_core<4\"]\n\
             build-backend = \"flit_core.buildapi\"\nbackend-path = [\"tools\"]\n",
        )
        .unwrap();
        let values = |texts: &[Located<String>]| -> Vec<String> {
            texts.iter().map(|text| text.value.clone()).collect()
        };
        assert_eq!(package.name.value, "My.Pkg");
        assert_eq!(package.requires_python.unwrap().value, ">=3.9");
        assert_eq!(values(&package.dependencies), ["idna>=3"]);
        assert_eq!(values(&package.build_requires), ["flit_core<4"]);
        assert_eq!(package.backend, "flit_core.buildapi");
        assert_eq!(package.backend_path, ["tools"]);
    }

    /// <https://peps.python.org/pep-0517/#build-backend-interface> names the backend,
    /// <https://peps.python.org/pep-0518/#build-system-table> the requirement.
    #[test]
    fn without_a_build_system_it_is_setuptools_as_it_always_was() {
        let package = read("[project]\nname = \"a\"\nversion = \"1\"\n").unwrap();
        assert_eq!(package.backend, "setuptools.build_meta:__legacy__");
        assert!(package.build_requires[0].value.starts_with("setuptools"));
    }

    #[test]
    fn what_only_running_would_tell_is_refused_with_its_place() {
        let told = |text: &str| read(text).unwrap_err();
        assert_eq!(
            told("[project]\nname = \"a\"\nversion = \"1\"\ndynamic = [\"dependencies\"]"),
            "`project.dependencies` is dynamic, and nothing runs before it is locked: \"dependencies\""
        );
        assert_eq!(told("[tool.poetry]\nname = \"a\"\n"), "`project.name` is missing: ");
        assert!(told("[project]\nname = \"a\"\n").starts_with("`project.version` is missing"));
        assert_eq!(told("[project]\nname = \"-a\"\n"), "`-a` is no package's name: \"-a\"");
        assert_eq!(
            told("[project]\nname = \"a\"\nversion = \"1\"\ndependencies = [1]"),
            "`project.dependencies` should be an array of strings: 1"
        );
        assert!(told("[project\n").starts_with("not valid TOML"));
    }
}
