//! Where a source of COPY or ADD is: the context or another stage, a URL, a repository.

use std::str::FromStr;

use rbuild_graph::{CopySource, Edge, HttpSource, Op, SourceOp, Vertex, VertexMeta};
use rbuild_oci::Digest;

use super::copy::clean;
use super::stage::Builder;
use crate::diagnostic::Diagnostic;
use crate::source::Span;

/// Kinds of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'s> {
    Local,
    Http(&'s str),
    Git,
}

/// Tells them apart (spec §1.5: an http(s) URL is a repository only when its path ends in `.git`).
pub(super) fn place(source: &str) -> Place<'_> {
    let Some((scheme, rest)) = source.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
        return if is_scp(source) { Place::Git } else { Place::Local };
    };
    match scheme.to_ascii_lowercase().as_str() {
        "git" | "ssh" => Place::Git,
        "http" | "https" if path_of(rest).ends_with(".git") => Place::Git,
        // Like BuildKit, only these spellings are URLs.
        _ if scheme == "http" || scheme == "https" => Place::Http(source),
        _ => Place::Local,
    }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// `git@host:path`.
fn is_scp(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else { return false };
    let Some((host, _)) = rest.split_once(':') else { return false };
    let is_name =
        |text: &str, extra: char| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == extra);
    is_name(user, '_') && is_name(host, '.')
}

/// The path of a URL without its scheme.
fn path_of(rest: &str) -> &str {
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let rest = &rest[..end];
    rest.find('/').map_or("", |at| &rest[at..])
}

/// What the instruction does not take.
pub(super) fn allowed(place: &Place<'_>, is_add: bool, span: &Span) -> Result<(), Box<Diagnostic>> {
    let wrong = |message: &str| Box::new(Diagnostic::error("copy-source", message, span.clone()).hint("ADD takes it"));
    match (place, is_add) {
        (Place::Local, _) | (Place::Http(_), true) => Ok(()),
        (Place::Http(_), false) => Err(wrong("source can't be a URL for COPY")),
        (Place::Git, false) => Err(wrong("source can't be a git ref for COPY")),
        (Place::Git, true) => Err(Diagnostic::unsupported("ADD of a git repository", span.clone()).into()),
    }
}

/// The name that a download gets: the last part of the URL's path.
pub(super) fn file_name(url: &str) -> String {
    const UNNAMED: &str = "__unnamed__";
    let path = url.split_once("://").map_or("", |(_, rest)| path_of(rest));
    let Some(path) = percent_decoded(path) else { return UNNAMED.into() };
    match path.trim_end_matches('/').rsplit('/').next() {
        Some("" | "." | "..") | None => UNNAMED.into(),
        Some(name) => name.to_owned(),
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digits = std::str::from_utf8(&digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// A path or pattern in the source. With `parents`, what comes before `/./` is not kept below the target.
pub(super) fn local(source: &str, parents: bool) -> CopySource {
    let path = match source.split_once("/./").filter(|_| parents) {
        Some((before, after)) => {
            let before = clean(&format!("/{before}"));
            format!("{}/.{}", before.trim_end_matches('/'), clean(&format!("/{after}")))
        }
        None => clean(&format!("/{source}")),
    };
    CopySource { wildcard: has_wildcard(&path), path, written: source.to_owned() }
}

fn has_wildcard(path: &str) -> bool {
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' | '[' => return true,
            '\\' => {
                chars.next();
            }
            _ => {}
        }
    }
    false
}

/// Reads `--checksum`, which belongs to one download.
pub(super) fn checksum(text: &str, span: &Span, sources: &[(String, Span)]) -> Result<Digest, Box<Diagnostic>> {
    let wrong = |message: String| Err(Diagnostic::error("invalid-checksum", message, span.clone()).into());
    let [(source, _)] = sources else { return wrong("checksum can't be specified for multiple sources".into()) };
    if place(source) == Place::Local {
        return wrong("checksum requires HTTP(S) or Git sources".into());
    }
    match (Digest::from_str(text), text.split_once(':')) {
        (Ok(digest), Some(("sha256", _))) => Ok(digest),
        (_, None) => wrong(format!("invalid checksum digest format: `{text}` is not of the form sha256:…")),
        (_, Some(("sha256", _))) => wrong(format!("invalid checksum digest length: `{text}` needs 64 hexadecimal digits")),
        (_, Some((algorithm, _))) => wrong(format!("unsupported digest algorithm: `{algorithm}`")),
    }
}

impl Builder<'_, '_> {
    /// A download.
    pub(super) fn http(&mut self, url: &str, checksum: Option<Digest>) -> Edge {
        let filename = file_name(url);
        let source = HttpSource { url: url.to_owned(), filename, mode: 0o600, uid: 0, gid: 0, checksum };
        let name = format!("[internal] load {}", without_credentials(url));
        let meta =
            VertexMeta { name, stage: self.counter.title().to_owned(), ignore_cache: self.ignore_cache, ..VertexMeta::default() };
        let platform = self.lowerer.options.target_platform.clone();
        self.lowerer.add(Vertex { op: Op::Source(SourceOp::Http(source)), inputs: Vec::new(), platform }, meta)
    }
}

fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://xxxxx@{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        for (source, expected) in [
            ("a/b", Place::Local),
            ("./https://x", Place::Local),
            ("ftp://x/y", Place::Local),
            ("github.com/x/y", Place::Local),
            ("a:b", Place::Local),
            ("https://x/y.tar", Place::Http("https://x/y.tar")),
            ("https://x/y.git", Place::Git),
            ("https://x/y.git#main:sub", Place::Git),
            ("https://x/y.git?ref=a", Place::Git),
            ("https://x/y?z=.git", Place::Http("https://x/y?z=.git")),
            ("git@github.com:x/y", Place::Git),
            ("ssh://git@x/y", Place::Git),
            ("git://x/y", Place::Git),
        ] {
            assert_eq!(place(source), expected, "{source}");
        }
    }

    #[test]
    fn downloads_are_named_after_their_path() {
        for (url, expected) in [
            ("https://x/a/b.tar?c=/d", "b.tar"),
            ("https://x/a/b/", "b"),
            ("https://x/", "__unnamed__"),
            ("https://x", "__unnamed__"),
            ("https://x?q", "__unnamed__"),
            ("https://x/a%20b", "a b"),
            ("https://x/a%2Fb", "b"),
            ("https://x/a%zz", "__unnamed__"),
            ("https://x/..", "__unnamed__"),
        ] {
            assert_eq!(file_name(url), expected, "{url}");
        }
        assert_eq!(without_credentials("https://u:p@x/y@z"), "https://xxxxx@x/y@z");
    }

    #[test]
    fn sources_are_cleaned() {
        for (source, parents, path, wildcard) in [
            ("../x", false, "/x", false),
            (".", false, "/", false),
            ("/a/./b/", false, "/a/b", false),
            ("a/*.txt", false, "/a/*.txt", true),
            ("a\\*", false, "/a\\*", false),
            ("a[b]", false, "/a[b]", true),
            ("/test/a/./b/./c", true, "/test/a/./b/c", false),
            ("./test/a", true, "/test/a", false),
            ("/a/b/.", true, "/a/b", false),
            ("/./x/**", true, "/./x/**", true),
            ("./", true, "/", false),
        ] {
            let found = local(source, parents);
            assert_eq!((found.path.as_str(), found.wildcard), (path, wildcard), "{source}");
        }
    }

    #[test]
    fn checksums_belong_to_one_download() {
        let url = ("https://x/y".to_owned(), 0..1);
        let good = format!("sha256:{}", "a".repeat(64));
        let check = |text: &str, sources: &[(String, Span)]| checksum(text, &(0..1), sources).map_err(|d| d.message);
        assert!(check(&good, std::slice::from_ref(&url)).is_ok());
        for (text, sources, message) in [
            (good.as_str(), vec![url.clone(), url.clone()], "multiple sources"),
            (good.as_str(), vec![("x".to_owned(), 0..1)], "requires HTTP(S) or Git sources"),
            ("abc", vec![url.clone()], "invalid checksum digest format"),
            ("sha256:abc", vec![url.clone()], "invalid checksum digest length"),
            ("md5:abc", vec![url], "unsupported digest algorithm"),
        ] {
            assert!(check(text, &sources).unwrap_err().contains(message), "{text}");
        }
    }
}
