//! What people are told of a mistake beside its sentence: its code, its place and what to do.

use super::Problem;

impl Problem {
    /// The stable code, without `goatbuild::spec::`.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "syntax",
            Self::UnknownField { .. } => "unknown_field",
            Self::WrongType { .. } => "wrong_type",
            Self::BadValue { .. } => "bad_value",
            Self::MissingField { .. } => "missing_field",
            Self::DanglingName { .. } => "dangling_name",
            Self::BadName { .. } => "bad_name",
            Self::DuplicateName { .. } => "duplicate_name",
            Self::DuplicateAlias { .. } | Self::DuplicateAdapter { .. } => "duplicate_alias",
            Self::OpenHost { .. } => "open_host",
            Self::DuplicatePort { .. } => "duplicate_port",
            Self::DuplicateAddress { .. } => "duplicate_address",
            Self::DuplicateMount { .. } => "duplicate_mount",
            Self::Flag { .. } => "flag",
            Self::OwnVariable { .. } => "own_variable",
            Self::NotText => "not_text",
            Self::NoWeights { .. } => "no_weights",
            Self::Pointers { .. } => "lfs_pointers",
            Self::Package(_) => "package",
            Self::First => "first",
        }
    }

    /// What stands under the place.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Syntax { .. }
            | Self::Flag { .. }
            | Self::OwnVariable { .. }
            | Self::NoWeights { .. }
            | Self::Pointers { .. }
            | Self::First => "here".to_owned(),
            Self::Package(problem) => problem.label(),
            Self::NotText => "this byte".to_owned(),
            Self::UnknownField { .. } => "nothing reads this".to_owned(),
            Self::WrongType { expected, .. } => format!("expected {expected}"),
            Self::BadValue { .. } => "this".to_owned(),
            Self::OpenHost { .. } => "no address of loopback".to_owned(),
            Self::MissingField { field, .. } => format!("`{field}` should be set here"),
            Self::DanglingName { kind, .. } => format!("no such {kind}"),
            Self::BadName { .. } => "not a name".to_owned(),
            Self::DuplicateName { .. }
            | Self::DuplicateAlias { .. }
            | Self::DuplicateAdapter { .. }
            | Self::DuplicatePort { .. }
            | Self::DuplicateAddress { .. }
            | Self::DuplicateMount { .. } => "the second one".to_owned(),
        }
    }

    /// What to do.
    pub(super) fn help(&self) -> Option<String> {
        Some(match self {
            Self::Syntax { .. } | Self::First => return None,
            Self::UnknownField { nearest: Some(nearest), .. } => {
                format!("did you mean `{nearest}`?")
            }
            Self::UnknownField { known, .. } if known.is_empty() => "remove it".to_owned(),
            Self::UnknownField { known, .. } => format!("known here: {}", known.join(", ")),
            Self::WrongType { expected, found, .. } => match (*expected, *found) {
                ("a string", "an integer" | "a float" | "a boolean") => {
                    "put it into quotes".to_owned()
                }
                ("a duration", _) => "write it like \"90s\", \"5m\" or \"1h30m\"".to_owned(),
                ("an integer" | "a number" | "a boolean", "a string") => {
                    "write it without quotes".to_owned()
                }
                _ => format!("write {expected}"),
            },
            Self::BadValue { expected, .. } => format!("expected {expected}"),
            Self::MissingField { example, .. } => format!("for example: {example}"),
            Self::DanglingName { nearest: Some(nearest), make, .. } => {
                format!("did you mean `{nearest}`? Otherwise {make}")
            }
            Self::DanglingName { make, .. } => make.clone(),
            Self::BadName { expected, .. } => format!("use {expected}"),
            Self::DuplicateAddress { how, .. } => format!("rename one of them: {how}"),
            Self::DuplicateName { .. } => "rename or remove one of them".to_owned(),
            Self::DuplicateAlias { .. } => {
                "the gateway would balance requests between the two; set another \
                 `gateway.alias` in one of them"
                    .to_owned()
            }
            Self::DuplicateAdapter { .. } => {
                "the gateway would balance requests between the two; rename the adapter in \
                 `lora-modules`"
                    .to_owned()
            }
            Self::OpenHost { .. } => {
                "add `auth = \"api-key\"` beside it, and `api-key-secret = \"NAME\"` to [target.local] in \
                 goatbuild.toml, with that secret in [secrets]; or listen on 127.0.0.1"
                    .to_owned()
            }
            Self::DuplicatePort { .. } => {
                "set another `serve.port` in one of them, or none: then a free one is found"
                    .to_owned()
            }
            Self::DuplicateMount { .. } => "set another `mount` for one of them".to_owned(),
            Self::Flag { help, .. } | Self::OwnVariable { help, .. } => help.clone(),
            Self::Package(problem) => problem.help(),
            Self::NotText => "save the file as UTF-8".to_owned(),
            Self::Pointers { directory, .. } => format!(
                "have Git fetch what they stand for: `git lfs install && git lfs pull --include \"{directory}/**\"`, in their repository"
            ),
            Self::NoWeights { .. } => {
                "put the model's files there; `model.source = \"path:…\"` is relative to the project"
                    .to_owned()
            }
        })
    }
}
