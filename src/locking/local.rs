//! Settles what a project's own packages are built with: `images/<image>.build_<package>.pylock.toml`.

use std::str::FromStr as _;
use std::sync::Arc;

use pep440_rs::{Version, VersionSpecifiers};
use pep508_rs::{Requirement, VerbatimUrl};

use super::{Changes, LockOptions, wheels};
use crate::event::Reporter;
use crate::lock::pylock::{LockedWheel, PythonRequest, normalised, validate_requirement};
use crate::platform::MajorMinor;
use crate::python::PackageSources;
use crate::spec::{Image, Located, Package, PackageProblem, Problem, SpecError, SpecErrors};
use crate::step::StepError;
use crate::workspace::{LockedPackage, Workspace};

/// What an image's own packages require beside each other; fails where something can't be locked.
pub(super) fn dependencies(
    packages: &[Package],
    python: MajorMinor,
) -> Result<Vec<String>, SpecErrors> {
    let own: Vec<String> = packages.iter().map(|it| normalised(&it.name.value)).collect();
    let mut mistakes: Vec<SpecError> =
        packages.iter().filter_map(|package| unfit(package, python)).collect();
    for (package, name) in packages.iter().zip(&own) {
        let needed = package.dependencies.iter().filter(|it| !is_own(&it.value, &own));
        mistakes.extend(needed.chain(&package.build_requires).filter_map(not_lockable));
        // One that has the same name in an index would be another one.
        let others: Vec<String> = own.iter().filter(|it| *it != name).cloned().collect();
        let unbuilt = package.build_requires.iter().filter(|it| is_own(&it.value, &others));
        mistakes.extend(unbuilt.map(|it| {
            let reason = "it is one of the project's own packages, and none of them is built before \
                          the others";
            refused(it, reason.to_owned())
        }));
    }
    SpecErrors::collect(mistakes)?;
    let needed = packages.iter().flat_map(|package| &package.dependencies);
    let needed = needed.filter(|it| !is_own(&it.value, &own));
    Ok(needed.map(|it| it.value.clone()).collect())
}

/// Whether a requirement is met by another of the project's packages.
fn is_own(requirement: &str, own: &[String]) -> bool {
    Requirement::<VerbatimUrl>::from_str(requirement)
        .is_ok_and(|it| own.contains(&normalised(it.name.as_ref())))
}

fn not_lockable(requirement: &Located<String>) -> Option<SpecError> {
    let reason = validate_requirement(&requirement.value).err()?;
    Some(refused(requirement, reason))
}

fn refused(requirement: &Located<String>, reason: String) -> SpecError {
    let problem = PackageProblem::Requirement { requirement: requirement.value.clone(), reason };
    SpecError::new(Problem::Package(problem), requirement.place.clone())
}

/// What a package says of the Pythons that it runs on, where the image's isn't one of them.
///
/// An image knows its Python's minor version alone, so any patch of it will do.
fn unfit(package: &Package, python: MajorMinor) -> Option<SpecError> {
    let wanted = package.requires_python.as_ref()?;
    let is_fit = VersionSpecifiers::from_str(&wanted.value).is_ok_and(|specifiers| {
        (0..1000).any(|patch| {
            let version = Version::new([u64::from(python.major), u64::from(python.minor), patch]);
            specifiers.contains(&version)
        })
    });
    let problem =
        || PackageProblem::Python { wanted: wanted.value.clone(), found: python.to_string() };
    (!is_fit).then(|| SpecError::new(Problem::Package(problem()), wanted.place.clone()))
}

/// Locks what builds each of an image's packages, and reads their sources. `asked` is what the image
/// asks for, and `locked` what that was locked to.
pub(super) async fn settle(
    workspace: &Workspace,
    image: &Image,
    packages: Vec<Package>,
    (asked, locked): (&PythonRequest, &[LockedWheel]),
    options: &LockOptions,
    reporter: &Reporter,
    changes: &mut Changes,
) -> Result<Vec<LockedPackage>, StepError> {
    let mut settled = Vec::with_capacity(packages.len());
    for (package, directory) in packages.into_iter().zip(&image.local) {
        let name = normalised(&package.name.value);
        let required = locked.iter().find(|wheel| wheel.name == name).map(|wheel| {
            let (name, version) = (name.clone(), wheel.version.clone());
            let problem = Problem::Package(PackageProblem::Required { name, version });
            SpecError::new(problem, package.name.place.clone())
        });
        SpecErrors::collect(required.into_iter().collect())?;
        let request = PythonRequest {
            requirements: package.build_requires.iter().map(|it| it.value.clone()).collect(),
            overrides: Vec::new(),
            image: format!("{} (to build {name})", image.name),
            ..asked.clone()
        };
        let file = wheels::File { stem: wheels::stem(image, &name), noun: "build requirement" };
        let lock =
            wheels::answer(workspace, image, &file, &request, options, reporter, changes).await?;
        settled.push(LockedPackage {
            sources: Arc::new(PackageSources::of(&workspace.root.join(&directory.value))?),
            wheels: lock.choose(&request.runtime)?,
            package: Arc::new(package),
            name,
        });
    }
    Ok(settled)
}

#[cfg(test)]
mod tests {
    use crate::spec::{SourceFile, read_package};

    use super::*;

    /// What packages with these names, dependencies and build requirements ask an index for.
    fn asked(packages: &[(&str, &str, &str)]) -> Result<Vec<String>, Vec<String>> {
        let read = packages.iter().map(|(name, needs, built_by)| {
            let text = format!(
                "[project]\nname = \"{name}\"\nversion = \"1\"\nrequires-python = \">=3.9,<3.13\"\n\
                 dependencies = [\"{needs}\"]\n[build-system]\nrequires = [\"{built_by}\"]\n"
            );
            let file =
                SourceFile { path: format!("{name}/pyproject.toml").into(), text: text.into() };
            read_package(&Arc::new(file)).expect("a package")
        });
        let packages: Vec<Package> = read.collect();
        let found = dependencies(&packages, MajorMinor { major: 3, minor: 11 });
        found.map_err(|wrong| wrong.errors().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn own_packages_meet_each_others_dependencies_and_build_none_of_them() {
        let both = [("one", "idna>=3", "flit_core"), ("Two_x", "one==1", "flit_core")];
        assert_eq!(asked(&both), Ok(vec!["idna>=3".to_owned()]));
        // What builds itself has to begin with one that an index has.
        assert_eq!(asked(&[("hatchling", "idna", "hatchling")]), Ok(vec!["idna".to_owned()]));
        let told =
            asked(&[("one", "idna", "two-x>=1"), ("Two_x", "idna", "flit_core")]).unwrap_err();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("`two-x>=1` can't be required: it is one of"), "{told:?}");
    }

    #[test]
    fn a_python_that_a_package_is_not_for_is_refused() {
        let file = |wanted: &str| SourceFile {
            path: "a/pyproject.toml".into(),
            text: format!(
                "[project]\nname = \"a\"\nversion = \"1\"\nrequires-python = \"{wanted}\"\n"
            )
            .into(),
        };
        let python = MajorMinor { major: 3, minor: 11 };
        for (wanted, fits) in [
            (">=3.9", true),
            (">=3.11.4", true),
            ("<3.11.5", true),
            (">=3.12", false),
            ("<3.11", false),
        ] {
            let package = read_package(&Arc::new(file(wanted))).expect("a package");
            assert_eq!(dependencies(&[package], python).is_ok(), fits, "{wanted}");
        }
    }
}
