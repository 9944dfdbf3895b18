//! The package index that the user's variables name, asked for single files by name.

use reqwest::Url;
use serde::Deserialize;

use crate::fetch::{FetchError, Fetcher, without_credentials};
use crate::lock::pylock::{filename_in, normalised};

/// The public index, used when no variable names another.
const PYPI: &str = "https://pypi.org/simple";
/// The page of a package with thousands of files is about 20 MB.
const PAGE_LIMIT: u64 = 128 << 20;
const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, text/html;q=0.1";

/// A package index that speaks the simple API.
#[derive(Debug, Clone)]
pub(super) struct Index {
    url: Url,
}

/// One file on an index's page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct IndexFile {
    pub(super) filename: String,
    pub(super) url: String,
    /// When it was uploaded, where the index says: RFC 3339.
    pub(super) uploaded: Option<String>,
    /// For which versions of Python it is, where the index says.
    pub(super) requires_python: Option<String>,
    /// Whether its publisher took it back.
    pub(super) is_yanked: bool,
}

impl Index {
    /// The index that the environment names, if it does.
    pub(super) fn configured(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"]
            .iter()
            .find_map(|name| variable(name).filter(|value| !value.trim().is_empty()))
            // uv allows `name=url`.
            .and_then(|value| {
                let value = value.trim();
                Url::parse(value).ok().or_else(|| Url::parse(value.split_once('=')?.1).ok())
            })
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .map(|url| Self { url })
    }

    /// The configured index, or the public one.
    pub(super) fn configured_or_public(variable: impl Fn(&str) -> Option<String>) -> Self {
        Self::configured(variable).unwrap_or_else(|| Self {
            url: Url::parse(PYPI).unwrap_or_else(|_| panic!("BUG: {PYPI} is no URL")),
        })
    }

    /// The index at this URL.
    pub(super) fn at(url: &str) -> Option<Self> {
        Url::parse(url).ok().map(|url| Self { url })
    }

    /// The index's URL without credentials.
    pub(super) fn shown(&self) -> String {
        without_credentials(self.url.as_str())
    }

    /// All files of a package; empty when the index does not have it.
    pub(super) async fn files(
        &self,
        fetcher: &Fetcher,
        package: &str,
    ) -> Result<Vec<IndexFile>, FetchError> {
        let page = format!("{}/{}/", self.url.as_str().trim_end_matches('/'), normalised(package));
        let body = match fetcher.bytes(&page, Some(ACCEPT), PAGE_LIMIT).await {
            Ok(body) => body,
            Err(FetchError::Gone { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let base = Url::parse(&page).unwrap_or_else(|_| panic!("BUG: {page} is no URL"));
        Ok(read_page(&body, &base)
            .into_iter()
            .map(|file| IndexFile { url: self.with_credentials(&file.url), ..file })
            .collect())
    }

    /// Where the index serves this file; `None` when it does not.
    pub(super) async fn find(
        &self,
        fetcher: &Fetcher,
        package: &str,
        filename: &str,
    ) -> Result<Option<String>, FetchError> {
        let files = self.files(fetcher, package).await?;
        Ok(files.into_iter().find(|file| file.filename == filename).map(|file| file.url))
    }

    /// Adds the index's credentials to a URL on the same host, as a lock never holds them.
    pub(super) fn with_credentials(&self, url: &str) -> String {
        let Ok(mut parsed) = Url::parse(url) else { return url.to_owned() };
        let same = parsed.scheme() == self.url.scheme()
            && parsed.host_str() == self.url.host_str()
            && parsed.port_or_known_default() == self.url.port_or_known_default();
        if !same || self.url.username().is_empty() || !parsed.username().is_empty() {
            return url.to_owned();
        }
        let _ = parsed.set_username(self.url.username());
        let _ = parsed.set_password(self.url.password());
        parsed.into()
    }
}

/// Reads a page in its JSON form (PEP 691), or the links of an HTML one (PEP 503).
fn read_page(body: &[u8], base: &Url) -> Vec<IndexFile> {
    #[derive(Deserialize)]
    struct Page {
        files: Vec<File>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct File {
        filename: String,
        url: String,
        upload_time: Option<String>,
        requires_python: Option<String>,
        /// No, yes, or why (PEP 691).
        #[serde(default)]
        yanked: serde_json::Value,
    }
    let absolute = |url: &str| base.join(url).ok().map(String::from);
    if let Ok(page) = serde_json::from_slice::<Page>(body) {
        return page
            .files
            .into_iter()
            .filter_map(|file| {
                Some(IndexFile {
                    url: absolute(&file.url)?,
                    filename: file.filename,
                    uploaded: file.upload_time,
                    requires_python: file.requires_python,
                    is_yanked: !matches!(
                        file.yanked,
                        serde_json::Value::Null | serde_json::Value::Bool(false)
                    ),
                })
            })
            .collect();
    }
    let text = String::from_utf8_lossy(body);
    let links = text.split("<a ").skip(1).filter_map(|rest| rest.split_once('>'));
    links
        .filter_map(|(attributes, _)| {
            let url = absolute(&attribute(attributes, "href")?)?;
            Some(IndexFile {
                filename: filename_in(&url),
                url,
                uploaded: None,
                requires_python: attribute(attributes, "data-requires-python"),
                is_yanked: attributes.contains("data-yanked"),
            })
        })
        .collect()
}

/// An attribute of a link, as text.
fn attribute(attributes: &str, name: &str) -> Option<String> {
    let (_, rest) = attributes.split_once(&format!("{name}=\""))?;
    let text = rest.split('"').next()?;
    Some(text.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(url: &str) -> Index {
        Index::configured(|name| (name == "UV_DEFAULT_INDEX").then(|| url.to_owned())).unwrap()
    }

    #[test]
    fn uv_variables_come_before_those_of_pip() {
        let set = |names: &'static [&str]| {
            Index::configured(move |name| {
                names.contains(&name).then(|| format!("https://{name}.example/simple"))
            })
            .map(|index| index.shown())
        };
        assert_eq!(
            set(&["PIP_INDEX_URL", "UV_INDEX_URL"]).as_deref(),
            Some("https://uv_index_url.example/simple")
        );
        assert_eq!(set(&["PIP_EXTRA_INDEX_URL"]), None);
        assert_eq!(index("corp=https://e.org/simple").shown(), "https://e.org/simple");
    }

    #[test]
    fn both_forms_of_a_page_are_read() {
        let base = Url::parse("https://e.org/simple/x/").unwrap();
        let json = br#"{"meta":{"api-version":"1.1"},"files":[{"filename":"x-1+cpu-py3-none-any.whl","url":"../../f/x-1%2Bcpu-py3-none-any.whl","hashes":{}}]}"#;
        let html = br#"<a href="../../f/x-1%2Bcpu-py3-none-any.whl#sha256=00">x</a>"#;
        assert_eq!(read_page(json, &base)[0].filename, "x-1+cpu-py3-none-any.whl");
        assert_eq!(read_page(json, &base)[0].url, "https://e.org/f/x-1%2Bcpu-py3-none-any.whl");
        assert_eq!(read_page(html, &base)[0].filename, "x-1+cpu-py3-none-any.whl");
    }

    #[test]
    fn credentials_stay_with_their_host() {
        let index = index("https://me:secret@e.org/simple");
        assert_eq!(index.shown(), "https://e.org/simple");
        assert_eq!(index.with_credentials("https://e.org/x.whl"), "https://me:secret@e.org/x.whl");
        assert_eq!(index.with_credentials("https://f.org/x.whl"), "https://f.org/x.whl");
        assert_eq!(index.with_credentials("http://e.org/x.whl"), "http://e.org/x.whl");
    }
}
