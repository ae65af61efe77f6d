//! Which redirects are followed: at most ten, to http and https only, and never from https to http.

use reqwest::redirect::Policy;
use url::Url;

const MAX_REDIRECTS: usize = 10;

/// Why a redirect was not followed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Refused {
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooMany,
    #[error("redirect from https to http, to host `{0}`")]
    Downgrade(String),
    #[error("redirect to a URL of scheme `{0}`")]
    Scheme(String),
}

pub(crate) fn policy() -> Policy {
    Policy::custom(|attempt| match judge(attempt.previous(), attempt.url()) {
        Ok(()) => attempt.follow(),
        Err(refused) => attempt.error(refused),
    })
}

/// `previous` are the URLs that were asked so far, `next` is where the last answer points.
fn judge(previous: &[Url], next: &Url) -> Result<(), Refused> {
    if previous.len() > MAX_REDIRECTS {
        return Err(Refused::TooMany);
    }
    match next.scheme() {
        "https" => Ok(()),
        "http" if previous.iter().any(|url| url.scheme() == "https") => {
            Err(Refused::Downgrade(next.host_str().unwrap_or_default().to_owned()))
        }
        "http" => Ok(()),
        other => Err(Refused::Scheme(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(previous: &[&str], next: &str, expect: Result<(), Refused>) {
        let previous: Vec<Url> = previous.iter().map(|url| url.parse().unwrap()).collect();
        assert_eq!(judge(&previous, &next.parse().unwrap()), expect, "{previous:?} to {next}");
    }

    #[test]
    fn judges_redirects() {
        check(&["http://a/"], "http://b/", Ok(()));
        check(&["http://a/"], "https://b/", Ok(()));
        check(&["https://a/"], "https://b/", Ok(()));
        check(&["https://a/"], "http://b/x?token=1", Err(Refused::Downgrade("b".to_owned())));
        check(&["http://a/", "https://a/"], "http://a/", Err(Refused::Downgrade("a".to_owned())));
        check(&["http://a/"], "file:///etc/passwd", Err(Refused::Scheme("file".to_owned())));
        check(&["http://a/"; 10], "http://b/", Ok(()));
        check(&["http://a/"; 11], "http://b/", Err(Refused::TooMany));
    }
}
