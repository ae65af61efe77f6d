//! `--secret`: values that RUN may mount, read from files or variables when the build starts. They go to the worker and nowhere else.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};

/// Most bytes of one secret, as in BuildKit.
const LIMIT: u64 = 500 << 10;

/// One `--secret` as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Secret {
    id: String,
    source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    File(PathBuf),
    Variable(String),
    /// Neither was named: the variable of the secret's name if there is one, else the file of that name.
    Either(String),
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret `{}`", self.id)
    }
}

/// Reads the flags: `id=x,src=path`, `id=x,env=NAME`, `id=x`; `type=file|env` may say which is meant.
pub(super) fn parse_all(words: &[String]) -> Result<Vec<Secret>> {
    words.iter().map(|word| parse(word).with_context(|| format!("invalid --secret `{word}`"))).collect()
}

fn parse(word: &str) -> Result<Secret> {
    let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
    for field in crate::values::csv(word)? {
        let (key, value) = field.split_once('=').ok_or_else(|| anyhow!("`{field}` is not of the form key=value"))?;
        match key.to_lowercase().as_str() {
            "type" if matches!(value, "file" | "env") => kind = Some(value.to_owned()),
            "type" => bail!("`{value}` is no type of secret; there are file and env"),
            "id" => id = Some(value.to_owned()),
            "source" | "src" => file = Some(value.to_owned()),
            "env" => variable = Some(value.to_owned()),
            _ => bail!("unknown key `{key}`"),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| anyhow!("it has no id"))?;
    // With `type=env`, `src` names the variable.
    if kind.as_deref() == Some("env") && variable.is_none() {
        variable = file.take();
    }
    let source = match (file, variable, kind.as_deref()) {
        (Some(_), Some(_), _) => bail!("src and env contradict each other"),
        (Some(file), None, _) => Source::File(file.into()),
        (None, Some(variable), _) => Source::Variable(variable),
        (None, None, Some("env")) => Source::Variable(id.clone()),
        (None, None, Some(_)) => Source::File(id.clone().into()),
        (None, None, None) => Source::Either(id.clone()),
    };
    Ok(Secret { id, source })
}

/// The values by id; a later secret of one id wins. No message contains a value.
pub(super) fn read_all(secrets: &[Secret], variable: impl Fn(&str) -> Option<Vec<u8>>) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut values = BTreeMap::new();
    for secret in secrets {
        let value = match &secret.source {
            Source::File(path) => read_file(path),
            Source::Variable(name) => variable(name).ok_or_else(|| anyhow!("the variable `{name}` is not set")),
            Source::Either(name) => variable(name).map_or_else(|| read_file(&PathBuf::from(name)), Ok),
        };
        let value = value.with_context(|| format!("failed to read {secret}"))?;
        if value.len() as u64 > LIMIT {
            bail!("{secret} has more than {LIMIT} bytes");
        }
        values.insert(secret.id.clone(), value);
    }
    Ok(values)
}

fn read_file(path: &PathBuf) -> Result<Vec<u8>> {
    let mut value = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(fs_err::File::open(path)?, LIMIT + 1), &mut value)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(words: &[&str]) -> Result<Vec<(String, String)>> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let variable = |name: &str| (name == "TOKEN").then(|| b"from env".to_vec());
        let read = read_all(&parse_all(&words)?, variable)?;
        Ok(read.into_iter().map(|(id, value)| (id, String::from_utf8(value).unwrap())).collect())
    }

    #[test]
    fn secrets_come_from_files_and_variables() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a,b");
        fs_err::write(&path, "from file").unwrap();
        let path = path.display();
        for (word, id, value) in [
            (format!("\"id=x\",\"src={path}\""), "x", "from file"),
            (format!("type=file,id=x,\"source={path}\""), "x", "from file"),
            ("id=x,env=TOKEN".to_owned(), "x", "from env"),
            ("type=env,id=x,src=TOKEN".to_owned(), "x", "from env"),
            ("type=env,id=TOKEN".to_owned(), "TOKEN", "from env"),
            ("id=TOKEN".to_owned(), "TOKEN", "from env"),
        ] {
            assert_eq!(values(&[&word]).unwrap(), [(id.to_owned(), value.to_owned())], "{word}");
        }
        assert_eq!(values(&[&format!("id=x,\"src={path}\""), "id=x,env=TOKEN"]).unwrap()[0].1, "from env");
    }

    #[test]
    fn what_is_wrong_with_a_secret() {
        let directory = tempfile::tempdir().unwrap();
        let large = directory.path().join("large");
        fs_err::write(&large, vec![b'x'; (500 << 10) + 1]).unwrap();
        let large = format!("id=x,src={}", large.display());
        for (word, message) in [
            ("src=/x", "it has no id"),
            ("id=x,src=/y,env=Z", "src and env contradict each other"),
            ("id=x,type=vault", "`vault` is no type of secret; there are file and env"),
            ("id=x,nope=1", "unknown key `nope`"),
            ("id", "`id` is not of the form key=value"),
            ("id=x,env=UNSET", "failed to read secret `x`: the variable `UNSET` is not set"),
            ("id=x,src=/nowhere/at/all", "failed to read secret `x`: "),
            (large.as_str(), "secret `x` has more than 512000 bytes"),
        ] {
            let error = format!("{:#}", values(&[word]).unwrap_err());
            assert!(error.contains(message), "{word}: {error}");
        }
    }
}
