//! `--build-context`: further contexts by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use rbuild_builder::ContextSource;
use rbuild_oci::Digest;

use super::context::refuse_remote;

/// All of them; the last one of a name wins.
pub(super) fn parse_all(words: &[String]) -> Result<BTreeMap<String, ContextSource>> {
    words.iter().map(|word| parse(word).with_context(|| format!("invalid --build-context `{word}`"))).collect()
}

fn parse(word: &str) -> Result<(String, ContextSource)> {
    let (name, value) = word.split_once('=').ok_or_else(|| anyhow!("it is not of the form NAME=CONTEXT"))?;
    if name.is_empty() || value.is_empty() {
        bail!("it is not of the form NAME=CONTEXT");
    }
    let source = if let Some(layout) = value.strip_prefix("oci-layout://") {
        parse_layout(layout)?
    } else if let Some(image) = value.strip_prefix("docker-image://") {
        ContextSource::Image(image.to_owned())
    } else if value.starts_with("target:") || value.starts_with("input:") {
        bail!("`{value}` is not supported yet");
    } else {
        refuse_remote(value)?;
        ContextSource::Directory(PathBuf::from(value))
    };
    Ok((name.to_owned(), source))
}

/// `DIR[:TAG][@DIGEST]`. A colon is a tag's when no slash follows it.
fn parse_layout(text: &str) -> Result<ContextSource> {
    let (text, digest) = match text.split_once('@') {
        Some((path, digest)) => (path, Some(digest.parse::<Digest>()?)),
        None => (text, None),
    };
    let (path, tag) = match text.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
        Some(_) | None => (text, None),
    };
    if path.is_empty() {
        bail!("it names no directory");
    }
    Ok(ContextSource::Layout { path: PathBuf::from(path), tag, digest })
}

/// Directories must be there, and be directories.
pub(super) fn check_all(contexts: &BTreeMap<String, ContextSource>) -> Result<BTreeMap<String, ContextSource>> {
    contexts.iter().map(|(name, source)| Ok((name.clone(), check(name, source)?))).collect()
}

fn check(name: &str, source: &ContextSource) -> Result<ContextSource> {
    let directory = |path: &Path| {
        let path = fs_err::canonicalize(path).with_context(|| format!("build context `{name}`"))?;
        if !path.is_dir() {
            bail!("build context `{name}`: `{}` is not a directory", path.display());
        }
        Ok(path)
    };
    Ok(match source {
        ContextSource::Directory(path) => ContextSource::Directory(directory(path)?),
        ContextSource::Layout { path, tag, digest } => {
            ContextSource::Layout { path: directory(path)?, tag: tag.clone(), digest: digest.clone() }
        }
        ContextSource::Image(reference) => ContextSource::Image(reference.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: &str, expected: &str) {
        let (name, source) = parse(word).unwrap();
        let found = match source {
            ContextSource::Directory(path) => format!("{name} dir {}", path.display()),
            ContextSource::Layout { path, tag, digest } => {
                format!("{name} layout {} {tag:?} {}", path.display(), digest.is_some())
            }
            ContextSource::Image(reference) => format!("{name} image {reference}"),
        };
        assert_eq!(found, expected, "{word}");
    }

    #[test]
    fn named_contexts_are_buildxs() {
        let hex = "0".repeat(64);
        check("a=dir", "a dir dir");
        check("a=dir=x", "a dir dir=x");
        check("docker.io/library/alpine=docker-image://alpine:3", "docker.io/library/alpine image alpine:3");
        check("a=oci-layout://d", "a layout d None false");
        check("a=oci-layout:///x/d:v1", "a layout /x/d Some(\"v1\") false");
        check("a=oci-layout://x:y/d", "a layout x:y/d None false");
        check(&format!("a=oci-layout://d@sha256:{hex}"), "a layout d None true");
        check(&format!("a=oci-layout://d:t@sha256:{hex}"), "a layout d Some(\"t\") true");
        for word in ["a", "=d", "a=", "a=oci-layout://", "a=oci-layout://d@x", "a=https://x/y.git", "a=target:b"] {
            assert!(parse(word).is_err(), "{word}");
        }
    }
}
