//! Image references: `[host[:port]/]path[:tag][@digest]` in docker's normalised form.
//!
//! The grammar is that of distribution/reference. The first component is a host only if it has a `.` or a `:` or is
//! `localhost`; without one the host is `docker.io`, where a single name lives beneath `library/`.

use std::fmt;
use std::str::FromStr;

use crate::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const OFFICIAL: &str = "library/";
const NAME_LIMIT: usize = 255;
const TAG_LIMIT: usize = 128;

/// A normalised image reference: `busybox` is `docker.io/library/busybox:latest`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A string that is not an image reference, with the rule it breaks.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid reference `{reference}`: {reason}")]
pub struct ReferenceError {
    /// What was given.
    pub reference: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}

impl Reference {
    /// Parses and normalises; the tag is `latest` when there is neither a tag nor a digest.
    pub fn parse(text: &str) -> Result<Reference, ReferenceError> {
        parse(text).map_err(|reason| ReferenceError { reference: text.chars().take(300).collect(), reason })
    }

    /// The registry, `docker.io` where none is written.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry: `library/busybox`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Domain and path without tag and digest: `docker.io/library/busybox`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The name as people write it: `busybox`. Parsing it gives the same name again.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(official) if !official.contains('/') => official.into(),
            Some(_) | None if self.path.split('/').next().is_some_and(is_domain) || !self.path.contains('/') => self.name(),
            Some(_) | None => self.path.clone(),
        }
    }

    /// The whole reference as people write it: `busybox:latest`.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.suffixed(self.familiar_name())
    }

    /// The same name with another tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Reference, ReferenceError> {
        check_tag(tag).map_err(|reason| ReferenceError { reference: tag.chars().take(300).collect(), reason })?;
        Ok(Reference { tag: Some(tag.into()), digest: None, ..self.clone() })
    }

    /// The same name and tag, pinned to a digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { digest: Some(digest), ..self.clone() }
    }

    fn suffixed(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        Reference::parse(text)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.suffixed(self.name()))
    }
}

type Rule = &'static str;

fn parse(text: &str) -> Result<Reference, Rule> {
    if text.is_empty() {
        return Err("it is empty");
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(parse_digest(digest)?)),
        None => (text, None),
    };
    if is_identifier(rest) {
        return Err("a name of 64 hexadecimal digits could be an image id");
    }
    let (name, tag) = split_tag(rest);
    let tag = tag.map(|tag| check_tag(tag).map(|()| tag.to_owned())).transpose()?;
    let (domain, path) = split_domain(name)?;
    check_path(&path)?;
    if domain.len() + 1 + path.len() > NAME_LIMIT {
        return Err("the name is longer than 255 characters");
    }
    let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
    Ok(Reference { domain, path, tag, digest })
}

fn parse_digest(text: &str) -> Result<Digest, Rule> {
    text.parse().ok().ok_or("what follows the `@` is not a digest of the form sha256:<64 hex digits>")
}

fn is_identifier(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The last `:` starts a tag unless a `/` follows it (a port).
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        Some(_) | None => (text, None),
    }
}

fn check_tag(tag: &str) -> Result<(), Rule> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    match tag.as_bytes() {
        [] => Err("the tag is empty"),
        _ if tag.len() > TAG_LIMIT => Err("the tag is longer than 128 characters"),
        [first, ..] if !word(*first) => Err("a tag starts with a letter, a digit or `_`"),
        [_, rest @ ..] if rest.iter().all(|b| word(*b) || matches!(b, b'.' | b'-')) => Ok(()),
        _ => Err("a tag has only letters, digits, `_`, `.` and `-`"),
    }
}

fn split_domain(name: &str) -> Result<(String, String), Rule> {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if is_domain(first) => (first, rest),
        Some(_) | None => (DEFAULT_DOMAIN, name),
    };
    check_domain(domain)?;
    let domain = if domain == "index.docker.io" { DEFAULT_DOMAIN } else { domain };
    let official = domain == DEFAULT_DOMAIN && !path.contains('/');
    let path = if official && !path.is_empty() { format!("{OFFICIAL}{path}") } else { path.to_owned() };
    Ok((domain.into(), path))
}

fn is_domain(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn check_domain(domain: &str) -> Result<(), Rule> {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or("the `[` of the registry's address is not closed")?;
            if address.is_empty() || !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
                return Err("the registry's address in brackets is not an IPv6 address");
            }
            (None, port.strip_prefix(':').or(if port.is_empty() { None } else { Some("?") }))
        }
        None => domain.split_once(':').map_or((Some(domain), None), |(host, port)| (Some(host), Some(port))),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit())) {
        return Err("the registry's port is not a number");
    }
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    match host {
        Some(host) if !host.split('.').all(label) => {
            Err("the registry's name has only letters, digits and `-` between its dots, and no `-` beside them")
        }
        Some(_) | None => Ok(()),
    }
}

fn check_path(path: &str) -> Result<(), Rule> {
    if path.is_empty() {
        return Err("the repository name is empty");
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("the repository name must be lowercase");
    }
    path.split('/').try_for_each(check_component)
}

/// `[a-z0-9]+` joined by one `.`, one or two `_`, or any number of `-`.
fn check_component(component: &str) -> Result<(), Rule> {
    if component.is_empty() {
        return Err("a component of the repository name is empty");
    }
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if !component.bytes().all(|b| alphanumeric(b) || matches!(b, b'.' | b'_' | b'-')) {
        return Err("a repository name has only lowercase letters, digits, `.`, `_`, `-` and `/`");
    }
    let separators = component.split(|c: char| c.is_ascii_alphanumeric()).filter(|separator| !separator.is_empty());
    let is_separator = |text: &str| matches!(text, "." | "_" | "__") || text.bytes().all(|b| b == b'-');
    let ends = [component.as_bytes()[0], component.as_bytes()[component.len() - 1]];
    if !ends.into_iter().all(alphanumeric) {
        return Err("a component of the repository name starts and ends with a lowercase letter or digit");
    }
    if !separators.into_iter().all(is_separator) {
        return Err("in a repository name the separators are one `.`, one or two `_`, or `-`s");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn references_are_normalised() {
        let digest = format!("sha256:{HEX}");
        for (text, canonical, familiar) in [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("index.docker.io/library/busybox:1", "docker.io/library/busybox:1", "busybox:1"),
            ("a/b", "docker.io/a/b:latest", "a/b:latest"),
            ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
            ("[fe80::1]/x/y", "[fe80::1]/x/y:latest", "[fe80::1]/x/y:latest"),
            (
                "Reg.Example.com/a__b/c-----d.e_f:V-1.2_3",
                "Reg.Example.com/a__b/c-----d.e_f:V-1.2_3",
                "Reg.Example.com/a__b/c-----d.e_f:V-1.2_3",
            ),
            ("docker.io/localhost/x", "docker.io/localhost/x:latest", "docker.io/localhost/x:latest"),
            ("docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest"),
            ("localhost", "docker.io/library/localhost:latest", "localhost:latest"),
            ("a:5000", "docker.io/library/a:5000", "a:5000"),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.to_string(), canonical, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
        }
        let pinned = Reference::parse(&format!("busybox@{digest}")).unwrap();
        assert_eq!((pinned.tag(), pinned.name().as_str()), (None, "docker.io/library/busybox"));
        assert_eq!(pinned.to_string(), format!("docker.io/library/busybox@{digest}"));
        let both = Reference::parse(&format!("busybox:1@{digest}")).unwrap();
        assert_eq!(both.familiar(), format!("busybox:1@{digest}"));
        assert_eq!(both.with_tag("2").unwrap().to_string(), "docker.io/library/busybox:2");
    }

    #[test]
    fn every_refusal_names_its_rule() {
        let long = "a".repeat(256);
        let tag = format!("a:{}", "t".repeat(129));
        for (text, word) in [
            ("", "empty"),
            ("UPPER", "lowercase"),
            ("Foo/bar", "lowercase"),
            ("localhost/Bar", "lowercase"),
            (HEX, "image id"),
            (long.as_str(), "255"),
            (tag.as_str(), "128"),
            ("a:", "tag is empty"),
            ("a:-x", "starts with"),
            ("a:x y", "only letters"),
            ("a@sha256:xyz", "digest"),
            ("a@", "digest"),
            ("a/", "empty"),
            ("/a", "component of the repository name is empty"),
            ("a//b", "empty"),
            ("a..b", "separators"),
            ("a___b", "separators"),
            ("a.-b", "separators"),
            ("-a", "starts and ends"),
            ("a_", "starts and ends"),
            ("a b", "only lowercase"),
            ("é", "only lowercase"),
            ("x.y:port/a", "port"),
            ("x.y:/a", "port"),
            ("-x.y/a", "registry's name"),
            ("x..y/a", "registry's name"),
            ("[::1/a", "not closed"),
            ("[zz::]:1/a", "IPv6"),
            ("[::1]x/a", "port"),
            ("https://x/a", "port"),
            ("localhost/", "empty"),
        ] {
            let error = Reference::parse(text).unwrap_err();
            assert!(error.reason.contains(word), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,80}") {
            let parsed = Reference::parse(&text);
            prop_assert!(parsed.is_ok() || parsed.is_err());
        }

        #[test]
        fn both_spellings_come_back(text in r"(([a-zA-Z0-9]{1,4}(\.[a-z]{1,3}){0,2}|localhost|\[::1\])(:[0-9]{1,4})?/)?[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z]{1,2}){0,2}(/[a-z0-9.]{1,4}){0,2}(:[\w][a-z.-]{0,5})?") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference.clone());
                prop_assert_eq!(Reference::parse(&reference.familiar()).unwrap(), reference);
            }
        }
    }
}
