//! A project's own packages, as their files say what they are.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::bounded;
use crate::lock::pylock::normalised;
use crate::spec::{
    Image, Located, Package, PackageProblem, Problem, SourceFile, SpecError, SpecErrors,
    read_package,
};

/// Reads the packages that an image's `local` names, in its order; fails with all their mistakes.
pub fn packages_of(root: &Path, image: &Image) -> Result<Vec<Package>, SpecErrors> {
    let mut packages: Vec<Package> = Vec::with_capacity(image.local.len());
    let mut mistakes = Vec::new();
    for directory in &image.local {
        match package(root, directory) {
            Ok(package) => {
                let name = normalised(&package.name.value);
                match packages.iter().find(|it| normalised(&it.name.value) == name) {
                    Some(first) => {
                        let problem = Problem::Package(PackageProblem::Twice { name });
                        let error = SpecError::new(problem, package.name.place.clone());
                        mistakes.push(error.with_first(first.name.place.clone()));
                    }
                    None => packages.push(package),
                }
            }
            Err(mistake) => mistakes.push(mistake),
        }
    }
    SpecErrors::collect(mistakes)?;
    Ok(packages)
}

fn package(root: &Path, directory: &Located<String>) -> Result<Package, SpecError> {
    let wrong = |what: String| {
        let path = directory.value.clone();
        let problem = Problem::Package(PackageProblem::NotThere { path, what });
        SpecError::new(problem, directory.place.clone())
    };
    let place = root.join(&directory.value);
    match place.metadata() {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(wrong("is a file, not a package's directory".to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(wrong("does not exist".to_owned()));
        }
        Err(error) => return Err(wrong(format!("can't be read: {error}"))),
    }
    let text = bounded::read_to_string(&place.join("pyproject.toml"), bounded::TEXT);
    let text = text.map_err(|error| match error.kind() {
        ErrorKind::NotFound => wrong("has no pyproject.toml".to_owned()),
        _ => wrong(format!("has a pyproject.toml that can't be read: {error}")),
    })?;
    let path = Path::new(&directory.value).join("pyproject.toml");
    read_package(&Arc::new(SourceFile { path, text: text.into() }))
}
