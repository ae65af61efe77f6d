//! GET of one file, conditionally if its validators are known (what ADD of a URL needs, spec G-51).

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use url::Url;

use crate::error::shown;
use crate::{Client, HttpError, format_http_date, parse_http_date};

/// What an earlier answer said of the content's version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`, as it was sent, quotes and all.
    pub etag: Option<String>,
    /// `Last-Modified`, seconds since the epoch. Used for the request only without an `etag`.
    pub last_modified: Option<i64>,
}

/// What the server answered.
#[derive(Debug)]
pub enum Response {
    /// The content is still the one with those validators.
    NotModified,
    /// The content, which follows.
    Fetched(Fetched),
}

/// A successful answer.
#[derive(Debug)]
pub struct Fetched {
    /// Validators for the next request.
    pub validators: Validators,
    /// Bytes that will come, if the server said so.
    pub content_length: Option<u64>,
    /// The content.
    pub body: Body,
}

/// Content that is still coming. Its size is not bounded here: the caller counts.
#[derive(Debug)]
pub struct Body {
    url: Url,
    response: Box<reqwest::Response>,
}

impl Client {
    /// Asks for a URL, following redirects. With `validators`, the server may answer that nothing changed. The content is what the
    /// server stores: no compression is offered, none undone. Cancel by dropping.
    pub async fn get(&self, url: &str, validators: Option<&Validators>) -> Result<Response, HttpError> {
        let url = parse(url)?;
        let mut request = self.inner()?.get(url.clone());
        let conditional = match validators {
            Some(Validators { etag: Some(etag), last_modified: _ }) => {
                request = request.header(IF_NONE_MATCH, etag);
                true
            }
            Some(Validators { etag: None, last_modified: Some(seconds) }) => {
                request = request.header(IF_MODIFIED_SINCE, format_http_date(*seconds));
                true
            }
            Some(Validators { etag: None, last_modified: None }) | None => false,
        };
        let response = request.send().await.map_err(|source| HttpError::of_request(&url, source))?;
        match response.status() {
            StatusCode::NOT_MODIFIED if conditional => Ok(Response::NotModified),
            status if status == StatusCode::OK || status == StatusCode::NON_AUTHORITATIVE_INFORMATION => {
                Ok(Response::Fetched(Fetched::new(url, response)))
            }
            status => Err(HttpError::Status { url: shown(response.url()), code: status.as_u16() }),
        }
    }
}

impl Fetched {
    fn new(url: Url, response: reqwest::Response) -> Fetched {
        let headers = response.headers();
        let etag = text(headers, &ETAG).map(str::to_owned);
        let last_modified = text(headers, &LAST_MODIFIED).and_then(parse_http_date);
        let content_length = text(headers, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
        Fetched {
            validators: Validators { etag, last_modified },
            content_length,
            body: Body { url, response: Box::new(response) },
        }
    }
}

impl Body {
    /// The next piece; `None` at the end. Content that ends early is [`HttpError::Truncated`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        self.response.chunk().await.map_err(|source| HttpError::of_body(&self.url, source))
    }
}

fn parse(text: &str) -> Result<Url, HttpError> {
    let short = || {
        let shown = text.split(['?', '#']).next().unwrap_or_default();
        // Before an `@` there may be a password.
        HttpError::Url { url: shown.rsplit('@').next().unwrap_or_default().to_owned() }
    };
    let url = Url::parse(text).map_err(|_syntax| short())?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url) } else { Err(short()) }
}

fn text<'a>(headers: &'a HeaderMap, name: &reqwest::header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
