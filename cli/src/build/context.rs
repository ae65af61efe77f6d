//! What the CONTEXT argument names.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// The argument as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContextWord {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A tar, or a Dockerfile alone, on standard input.
    Stdin,
}

impl ContextWord {
    /// Directories and `-`; what lies elsewhere is refused by its name.
    pub(crate) fn parse(word: &str) -> Result<ContextWord> {
        if word == "-" {
            return Ok(ContextWord::Stdin);
        }
        refuse_remote(word)?;
        if word.is_empty() {
            bail!("the context is empty; `.` is this directory");
        }
        Ok(ContextWord::Directory(PathBuf::from(word)))
    }
}

/// Git repositories and URLs, by docker's rules.
pub(super) fn refuse_remote(word: &str) -> Result<()> {
    let is_git = ["git://", "git@", "ssh://", "github.com/"].iter().any(|prefix| word.starts_with(prefix));
    let is_url = word.starts_with("http://") || word.starts_with("https://");
    let path = word.split(['#', '?']).next().unwrap_or(word);
    if is_git || (is_url && path.ends_with(".git")) {
        bail!("a git repository as context (`{word}`) is not supported yet");
    }
    if is_url {
        bail!("a URL as context (`{word}`) is not supported yet");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_told_apart() {
        assert_eq!(ContextWord::parse("-").unwrap(), ContextWord::Stdin);
        for word in [".", "dir/x", "/abs", "a.git", "./http://x"] {
            assert_eq!(ContextWord::parse(word).unwrap(), ContextWord::Directory(PathBuf::from(word)));
        }
        for (word, kind) in [
            ("https://github.com/a/b.git", "git"),
            ("https://x/a.git#main:dir", "git"),
            ("git@github.com:a/b", "git"),
            ("github.com/a/b", "git"),
            ("https://x/ctx.tar.gz", "URL"),
        ] {
            let error = ContextWord::parse(word).unwrap_err().to_string();
            assert!(error.contains(kind) && error.contains(word), "{error}");
        }
        assert!(ContextWord::parse("").is_err());
    }
}
