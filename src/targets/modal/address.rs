//! What Modal calls a model's app, and where that app answers.
//!
//! The form of an address is Modal's: `https://<workspace>[-<suffix>]--<app>-<function>.modal.run`.

/// The function of an app that serves.
const FUNCTION: &str = "serve";

/// Modal's own default environment, whose addresses have no suffix.
const DEFAULT_ENVIRONMENT: &str = "main";

/// The longest name that a label of a domain may have.
const LONGEST: usize = 63;

/// Where an app answers, as far as that can be known before it is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// At this label under `modal.run`, unless somebody else has taken it.
    Label(String),
    /// The label is too long; Modal shortens it with a hash that it alone can compute.
    TooLong(String),
    /// Only the credentials say which workspace it is.
    NoWorkspace,
}

impl Address {
    /// The address of an app in an environment. As long as nobody asked Modal for the environment's
    /// suffix, that is taken to be its name.
    pub(super) fn of(
        workspace: Option<&str>,
        environment: &str,
        suffix: Option<&str>,
        app: &str,
    ) -> Self {
        let Some(workspace) = workspace else { return Self::NoWorkspace };
        let suffix = match (suffix, environment) {
            (Some(""), _) | (None, DEFAULT_ENVIRONMENT) => String::new(),
            (Some(suffix), _) => format!("-{suffix}"),
            (None, environment) => format!("-{environment}"),
        };
        let label = normal(&format!("{workspace}{suffix}--{app}-{FUNCTION}"));
        if label.len() > LONGEST { Self::TooLong(label) } else { Self::Label(label) }
    }

    /// What the function that serves an app is called in addresses, where it goes by another name: none
    /// when Modal would not take that.
    pub(super) fn name_of(app: &str) -> Option<String> {
        let name = normal(&format!("{app}-{FUNCTION}"));
        (name.len() <= LONGEST).then_some(name)
    }

    /// The base URL of the engine's API.
    pub(super) fn url(&self) -> Option<String> {
        match self {
            Self::Label(label) => Some(format!("https://{label}.modal.run/v1")),
            Self::TooLong(_) | Self::NoWorkspace => None,
        }
    }

    /// Why there is no URL yet, and what to do about it.
    pub(super) fn note(&self) -> Option<String> {
        match self {
            Self::Label(_) => None,
            Self::TooLong(label) => Some(format!(
                "{label} has {} characters; Modal allows {LONGEST} and shortens it, so its URL is \
                 known after the deployment: a shorter `app-prefix` or model name avoids that",
                label.len()
            )),
            Self::NoWorkspace => Some(
                "its URL depends on the credentials' workspace: `[target.modal] workspace` says it"
                    .to_owned(),
            ),
        }
    }
}

/// The longest name that Modal gives an app.
const LONGEST_NAME: usize = 64;

/// The name of an app of a project that runs for as long as it has something to do. What is too long
/// ends in a hash of the whole: two such names that begin alike are still two.
pub(super) fn helper(owner: &str, what: &str) -> String {
    let whole = format!("goatbuild-{owner}-{what}");
    let letter = |it: char| if it.is_ascii_alphanumeric() || it == '.' { it } else { '-' };
    let name: String = whole.chars().map(letter).collect();
    if name.len() <= LONGEST_NAME {
        return name;
    }
    let hash = &blake3::hash(whole.as_bytes()).to_hex()[..8];
    format!("{}-{hash}", &name[..LONGEST_NAME - 9])
}

/// How the label of an app's function ends, whatever workspace it is in.
pub(super) fn label(name: &str) -> String {
    normal(name)
}

/// The letters that an address has: others become dashes, capitals small.
fn normal(text: &str) -> String {
    let letter = |letter: char| match letter.to_ascii_lowercase() {
        letter @ ('a'..='z' | '0'..='9' | '-') => letter,
        _ => '-',
    };
    text.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(workspace: &str, environment: &str, app: &str) -> Option<String> {
        Address::of(Some(workspace), environment, None, app).url()
    }

    #[test]
    fn dots_and_other_signs_become_dashes() {
        assert_eq!(
            url("phare", "goat", "goat-vllm-llama-3.1-8b").as_deref(),
            Some("https://phare-goat--goat-vllm-llama-3-1-8b-serve.modal.run/v1")
        );
        assert_eq!(
            url("Phare", "goat_dev", "a.b_c").as_deref(),
            Some("https://phare-goat-dev--a-b-c-serve.modal.run/v1")
        );
    }

    #[test]
    fn modals_default_environment_has_no_suffix() {
        assert_eq!(
            url("phare", "main", "m").as_deref(),
            Some("https://phare--m-serve.modal.run/v1")
        );
    }

    #[test]
    fn the_suffix_that_modal_tells_counts() {
        let of = |suffix| Address::of(Some("phare"), "goat", Some(suffix), "m").url().unwrap();
        assert_eq!(of("g"), "https://phare-g--m-serve.modal.run/v1");
        assert_eq!(of(""), "https://phare--m-serve.modal.run/v1");
    }

    #[test]
    fn a_label_of_63_characters_is_the_longest_that_is_kept() {
        let fits = "a".repeat(63 - "phare-goat---serve".len());
        let label = format!("phare-goat--{fits}-serve");
        assert_eq!(label.len(), 63);
        assert_eq!(Address::of(Some("phare"), "goat", None, &fits), Address::Label(label));
        let longer = Address::of(Some("phare"), "goat", None, &format!("{fits}a"));
        assert_eq!(longer.url(), None);
        let note = longer.note().unwrap();
        assert!(note.contains("has 64 characters; Modal allows 63"), "{note}");
    }

    #[test]
    fn names_that_are_cut_stay_apart() {
        assert_eq!(helper("goat-1a2b3c/oci", "lease"), "goatbuild-goat-1a2b3c-oci-lease");
        let of = |model: &str| helper("goat-1a2b3c", &format!("warmup-{model}"));
        let long = "a".repeat(40);
        let (one, other) = (of(&format!("{long}-1")), of(&format!("{long}-2")));
        assert_eq!((one.len(), other.len()), (LONGEST_NAME, LONGEST_NAME));
        assert!(one != other && one[..55] == other[..55], "{one} {other}");
        let fits = "a".repeat(LONGEST_NAME - of("").len());
        assert_eq!(of(&fits), format!("goatbuild-goat-1a2b3c-warmup-{fits}"));
    }

    #[test]
    fn without_a_workspace_nothing_is_guessed() {
        let unknown = Address::of(None, "goat", None, "m");
        assert_eq!(unknown.url(), None);
        assert!(unknown.note().unwrap().contains("[target.modal] workspace"));
    }
}
