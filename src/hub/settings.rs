//! Which hub, with which token, and where its own client keeps files: read as that client does.

use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::HubError;
use crate::bounded;

/// The hub that everybody means.
pub const ENDPOINT: &str = "https://huggingface.co";

/// Which hub to use, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSettings {
    /// The hub's address, without a slash at its end.
    pub endpoint: String,
    /// Who asks.
    pub token: Option<Token>,
    /// Directories where files of this hub may be already: the user's own caches.
    pub caches: Vec<PathBuf>,
    /// The variable that says that no hub is to be asked.
    pub offline: Option<&'static str>,
}

/// A secret. It is sent to the hub's own host and shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    value: String,
    /// Where it came from, for messages.
    source: String,
}

impl Token {
    /// The secret, unless there is nothing in it.
    pub fn new(value: &str, source: impl Into<String>) -> Option<Self> {
        let value: String =
            value.chars().filter(|letter| !['\r', '\n'].contains(letter)).collect::<String>();
        let value = value.trim();
        (!value.is_empty()).then(|| Self { value: value.to_owned(), source: source.into() })
    }

    /// The secret itself.
    pub(super) fn value(&self) -> &str {
        &self.value
    }

    /// Where it came from: a variable or a file.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Token").field("source", &self.source).finish_non_exhaustive()
    }
}

impl HubSettings {
    /// Reads what Hugging Face's own client reads, from these variables and the token's file:
    /// `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HOME`, `HF_HUB_CACHE`,
    /// `HF_HUB_DISABLE_IMPLICIT_TOKEN`, `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`, and where caches are at home.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, HubError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        let home = set("HOME").map(PathBuf::from);
        let path = |name: &str| {
            let path = PathBuf::from(set(name)?);
            Some(match (path.strip_prefix("~"), &home) {
                (Ok(below), Some(home)) => home.join(below),
                _ => path,
            })
        };
        let user_cache = path("XDG_CACHE_HOME").or(home.as_ref().map(|home| home.join(".cache")));
        let at_home = user_cache.map(|cache| cache.join("huggingface"));
        let ours = path("HF_HOME").or_else(|| at_home.clone());
        let mut caches = Vec::new();
        let all = [
            path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")),
            ours.as_ref().map(|directory| directory.join("hub")),
            at_home.map(|directory| directory.join("hub")),
        ];
        for cache in all.into_iter().flatten() {
            if !caches.contains(&cache) {
                caches.push(cache);
            }
        }
        let said = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]
            .into_iter()
            .find_map(|name| Token::new(&text(name)?, name));
        let is_on = |name: &str| {
            text(name)
                .is_some_and(|word| ["1", "ON", "YES", "TRUE"].contains(&&*word.to_uppercase()))
        };
        let token = match said {
            _ if is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN") => None,
            Some(token) => Some(token),
            None => {
                let file = path("HF_TOKEN_PATH").or(ours.map(|directory| directory.join("token")));
                file.map_or(Ok(None), token_in)?
            }
        };
        let offline =
            ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().find(|name| is_on(name));
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        let endpoint = endpoint.trim().trim_end_matches('/').to_owned();
        Ok(Self { endpoint, token, caches, offline })
    }
}

fn token_in(path: PathBuf) -> Result<Option<Token>, HubError> {
    match bounded::read_to_string(&path, bounded::TEXT) {
        Ok(text) => Ok(Token::new(&text, path.display().to_string())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(HubError::TokenFile { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn read(variables: &[(&str, &Path)]) -> HubSettings {
        HubSettings::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.as_os_str().to_owned())
        })
        .unwrap()
    }

    fn token(settings: &HubSettings) -> Option<(&str, &str)> {
        settings.token.as_ref().map(|token| (token.value(), token.source()))
    }

    /// As `huggingface_hub/constants.py` (1.1) reads them: `1`, `ON`, `YES` and `TRUE` in any case.
    #[test]
    fn the_hub_s_own_variables_say_that_it_is_not_to_be_asked() {
        let offline = |name, value| read(&[(name, Path::new(value))]).offline;
        assert_eq!(offline("HF_HUB_OFFLINE", "1"), Some("HF_HUB_OFFLINE"));
        assert_eq!(offline("TRANSFORMERS_OFFLINE", "yes"), Some("TRANSFORMERS_OFFLINE"));
        assert_eq!(offline("HF_HUB_OFFLINE", "0"), None);
        assert_eq!(offline("HF_HUB_OFFLINE", ""), None);
    }

    #[test]
    fn nothing_set_is_the_hub_and_the_home() {
        let settings = read(&[("HOME", Path::new("/home/me")), ("HF_ENDPOINT", Path::new(""))]);
        assert_eq!(settings.endpoint, "https://huggingface.co");
        assert_eq!(settings.token, None);
        assert_eq!(settings.caches, [Path::new("/home/me/.cache/huggingface/hub")]);
        assert_eq!(read(&[]).caches, Vec::<PathBuf>::new());
    }

    #[test]
    fn the_token_is_found_where_the_hub_s_own_client_keeps_it() {
        let home = tempfile::tempdir().unwrap();
        let of_user = home.path().join(".cache/huggingface");
        fs::create_dir_all(&of_user).unwrap();
        fs::write(of_user.join("token"), "hf_login\n").unwrap();
        fs::write(home.path().join("other"), " hf_path \r\n").unwrap();
        let at_home = ("HOME", home.path());
        let file = of_user.join("token").display().to_string();
        assert_eq!(token(&read(&[at_home])), Some(("hf_login", &*file)));
        let said = ("HF_TOKEN", Path::new("hf_said"));
        assert_eq!(token(&read(&[at_home, said])), Some(("hf_said", "HF_TOKEN")));
        let path = ("HF_TOKEN_PATH", Path::new("~/other"));
        assert_eq!(token(&read(&[at_home, path])).unwrap().0, "hf_path");
        assert_eq!(token(&read(&[at_home, ("HF_HOME", Path::new("/nowhere"))])), None);
        let disabled = ("HF_HUB_DISABLE_IMPLICIT_TOKEN", Path::new("1"));
        assert_eq!(token(&read(&[at_home, said, disabled])), None);
        assert!(!format!("{:?}", read(&[at_home, said])).contains("hf_said"));
    }

    #[test]
    fn every_cache_of_the_user_is_known() {
        let settings = read(&[
            ("HOME", Path::new("/home/me")),
            ("HF_HOME", Path::new("/data/hf")),
            ("HF_HUB_CACHE", Path::new("~/hub")),
            ("XDG_CACHE_HOME", Path::new("/home/me/x")),
            ("HF_ENDPOINT", Path::new("https://mirror.example/hf/")),
        ]);
        let caches = ["/home/me/hub", "/data/hf/hub", "/home/me/x/huggingface/hub"];
        assert_eq!(settings.caches, caches.map(PathBuf::from));
        assert_eq!(settings.endpoint, "https://mirror.example/hf");
    }
}
