//! What can be wrong with a project's own package.

use thiserror::Error;

/// Why a directory that an image's `local` names can't be built.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum PackageProblem {
    /// Nothing to build is there.
    #[error("{path} {what}")]
    NotThere {
        /// Relative to the project.
        path: String,
        /// What is wrong with it, in words.
        what: String,
    },
    /// A table or key that says what has to be known before anything is built.
    #[error("`{key}` is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value of another type than the standard's.
    #[error("`{key}` should be {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// What it should be, in words.
        expected: &'static str,
    },
    /// What only running the package's code would tell.
    #[error("`project.{key}` is dynamic, and nothing runs before it is locked")]
    Dynamic {
        /// The key.
        key: &'static str,
    },
    /// The package is called as nothing can be.
    #[error("`{name}` is no package's name")]
    Name {
        /// As written.
        name: String,
    },
    /// A requirement that can't be locked.
    #[error("`{requirement}` can't be required: {reason}")]
    Requirement {
        /// As written.
        requirement: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The image has another Python than the package wants.
    #[error("the package asks for Python {wanted}, and the image has {found}")]
    Python {
        /// As written.
        wanted: String,
        /// The image's.
        found: String,
    },
    /// Two of an image's packages have one name.
    #[error("two of the image's packages are called `{name}`")]
    Twice {
        /// The name.
        name: String,
    },
    /// An index has a package of that name, and something that the image requires asks for it.
    #[error("`{name}` is required from an index too, in version {version}")]
    Required {
        /// The name.
        name: String,
        /// Which was locked.
        version: String,
    },
    /// The image is built where the package isn't.
    #[error("{builder} builds this image, and has nothing of the project's own packages")]
    BuiltElsewhere {
        /// Who builds it.
        builder: &'static str,
    },
}

impl PackageProblem {
    /// What stands under the place.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Missing { key } => format!("`{key}` should be set here"),
            Self::Dynamic { .. } => "said here to be dynamic".to_owned(),
            Self::Python { found, .. } => format!("not {found}"),
            Self::WrongType { expected, .. } => format!("expected {expected}"),
            _ => "here".to_owned(),
        }
    }

    /// What to do.
    pub(super) fn help(&self) -> String {
        match self {
            Self::NotThere { .. } => {
                "`local` names directories of Python packages, relative to the project, each with a \
                 pyproject.toml"
                    .to_owned()
            }
            Self::Missing { key: "project.name" } => {
                "the package's name and dependencies are read from `[project]` (PEP 621), without \
                 running anything of it: write at least `name` and `version` there"
                    .to_owned()
            }
            Self::Missing { key } => format!("write `{key}`, or list it in `project.dynamic`"),
            Self::WrongType { expected, .. } => format!("write {expected}"),
            Self::Dynamic { key } => format!(
                "write `{key}` out in `[project]`, and take it from `dynamic`: only the version may \
                 be found while it is built"
            ),
            Self::Name { .. } => {
                "use letters, digits, `-`, `_` and `.`, a letter or digit first and last".to_owned()
            }
            Self::Requirement { .. } => {
                "write it as `name[extra]==VERSION`, or `name @ https://….whl`; other packages of the \
                 project go into the image's `local`"
                    .to_owned()
            }
            Self::Python { .. } => {
                "change `requires-python`, or the image's Python or base".to_owned()
            }
            Self::Twice { .. } => "rename one of them, or leave it out of `local`".to_owned(),
            Self::Required { name, .. } => format!(
                "an image has one package of a name: rename it, or remove what requires `{name}`"
            ),
            Self::BuiltElsewhere { .. } => {
                "write `builder = \"oci\"` in the image's file: goatbuild builds it then, and pushes it"
                    .to_owned()
            }
        }
    }
}
