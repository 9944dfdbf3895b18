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
    let all = packages.iter();
    let every = all.flat_map(|it| it.dependencies.iter().chain(&it.build_requires));
    mistakes.extend(every.filter_map(|it| not_lockable(it, &own)));
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

fn not_lockable(requirement: &Located<String>, own: &[String]) -> Option<SpecError> {
    if is_own(&requirement.value, own) {
        return None;
    }
    let reason = validate_requirement(&requirement.value).err()?;
    let problem = PackageProblem::Requirement { requirement: requirement.value.clone(), reason };
    Some(SpecError::new(Problem::Package(problem), requirement.place.clone()))
}

/// What a package says of the Pythons that it runs on, where the image's isn't one of them.
///
/// An image knows its Python's minor version alone, so any patch of it will do.
fn unfit(package: &Package, python: MajorMinor) -> Option<SpecError> {
    let wanted = package.requires_python.as_ref()?;
    let is_fit = VersionSpecifiers::from_str(&wanted.value).is_ok_and(|specifiers| {
        [0, 999].iter().any(|patch| {
            let version = Version::new([u64::from(python.major), u64::from(python.minor), *patch]);
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
        if let Some(wheel) = locked.iter().find(|wheel| wheel.name == name) {
            let version = wheel.version.clone();
            let problem = Problem::Package(PackageProblem::Required { name, version });
            let mistake = SpecError::new(problem, package.name.place.clone());
            return Err(SpecErrors::collect(vec![mistake])
                .map_or_else(Into::into, |()| panic!("BUG: one mistake is none")));
        }
        let request = PythonRequest {
            requirements: package.build_requires.iter().map(|it| it.value.clone()).collect(),
            overrides: Vec::new(),
            image: format!("{} (to build {name})", image.name),
            ..asked.clone()
        };
        let file = wheels::File { stem: stem(image, &name), noun: "build requirement" };
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

/// What the file is called that locks what builds a package, without its ending: no image has such a
/// name.
pub(super) fn stem(image: &Image, package: &str) -> String {
    format!("{}.build_{package}", image.name)
}
