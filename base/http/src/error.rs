//! What can go wrong with a request. No message shows a password or a query, which may be a signature.

use std::error::Error;
use std::io;
use std::sync::Arc;

use url::Url;

use crate::redirect::Refused;

/// A request failed. URLs are shown without user, password, query and fragment.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Proxies or extra roots that make no sense.
    #[error("configuring the HTTP client")]
    Configuration {
        /// What the HTTP library says.
        #[source]
        source: reqwest::Error,
    },
    /// The client could not be built, which is tried once only.
    #[error("setting up the HTTP client")]
    Unusable {
        /// The first failure.
        #[source]
        source: Arc<HttpError>,
    },
    /// Not an absolute http or https URL.
    #[error("`{url}` is not an http or https URL")]
    Url {
        /// As it was given, shortened to what comes before a query.
        url: String,
    },
    /// The host's name has no address, or no name server answered.
    #[error("looking up the host of `{url}`")]
    Name {
        /// What was asked for.
        url: String,
        /// What the resolver says.
        #[source]
        source: reqwest::Error,
    },
    /// No connection, or none in time.
    #[error("connecting to the host of `{url}`")]
    Connect {
        /// What was asked for.
        url: String,
        /// What the system says.
        #[source]
        source: reqwest::Error,
    },
    /// No TLS session: an unknown authority, the wrong name, an expired certificate, no TLS at all.
    #[error("securing the connection to the host of `{url}`")]
    Tls {
        /// What was asked for.
        url: String,
        /// What rustls says.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is neither success nor a redirect nor, to a conditional request, 304.
    #[error("`{url}` answered with status {code}")]
    Status {
        /// Who answered, after redirects.
        url: String,
        /// The code.
        code: u16,
    },
    /// A redirect that is not followed: too many, from https to http, or to another scheme.
    #[error("following the redirects of `{url}`")]
    Redirect {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing came for the time limit.
    #[error("`{url}` sent nothing for too long")]
    Stall {
        /// What was asked for.
        url: String,
        /// What the HTTP library says.
        #[source]
        source: reqwest::Error,
    },
    /// The connection ended before the content did.
    #[error("`{url}` ended before its content was complete")]
    Truncated {
        /// What was asked for.
        url: String,
        /// What the HTTP library says.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke otherwise, or the answer is no HTTP.
    #[error("requesting `{url}`")]
    Request {
        /// What was asked for.
        url: String,
        /// What the HTTP library says.
        #[source]
        source: reqwest::Error,
    },
}

impl HttpError {
    /// Sorts an error from before the answer's header was complete.
    pub(crate) fn of_request(url: &Url, source: reqwest::Error) -> HttpError {
        let url = shown(url);
        let source = source.without_url();
        if find::<Refused>(&source).is_some() || source.is_redirect() {
            HttpError::Redirect { url, source }
        } else if find::<rustls::Error>(&source).is_some() {
            HttpError::Tls { url, source }
        } else if source.is_dns() {
            HttpError::Name { url, source }
        } else if source.is_connect() {
            HttpError::Connect { url, source }
        } else if source.is_timeout() {
            HttpError::Stall { url, source }
        } else {
            HttpError::Request { url, source }
        }
    }

    /// Sorts an error from the middle of the content.
    pub(crate) fn of_body(url: &Url, source: reqwest::Error) -> HttpError {
        let url = shown(url);
        let source = source.without_url();
        if source.is_timeout() { HttpError::Stall { url, source } } else { HttpError::Truncated { url, source } }
    }

    /// Whether the same request could well succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            HttpError::Connect { .. } | HttpError::Stall { .. } | HttpError::Truncated { .. } | HttpError::Request { .. } => true,
            HttpError::Status { url: _, code } => matches!(code, 408 | 429 | 500 | 502 | 503 | 504),
            HttpError::Configuration { .. }
            | HttpError::Unusable { .. }
            | HttpError::Url { .. }
            | HttpError::Name { .. }
            | HttpError::Tls { .. }
            | HttpError::Redirect { .. } => false,
        }
    }
}

/// A URL without what may be secret in it.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Only URLs that cannot have them refuse these.
    url.set_username("").ok();
    url.set_password(None).ok();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// Looks for an error among the causes; an `io::Error` hides the one that it carries from `source`.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(carried) => Some(carried),
            None => error.source(),
        };
    }
    None
}
