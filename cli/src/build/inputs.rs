//! Reading the Dockerfile, the ignore file and what comes on standard input.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use rbuild_builder::Context;
use rbuild_frontend::Source;
use rbuild_fs::Root;

use super::Session;
use super::context::ContextWord;
use super::plan::Plan;
use super::unpack::{self, Stdin};
use crate::failure::{Class, Failure, note};

/// Largest Dockerfile or ignore file.
const LARGEST: u64 = 16 << 20;

/// What a build reads before it begins.
pub(crate) struct Inputs {
    pub(crate) dockerfile: Source,
    pub(crate) context: Context,
}

/// Reads everything that the plan names.
pub(crate) fn read(plan: &Plan, session: &Session) -> Result<Inputs, Failure> {
    match (&plan.context, plan.file.as_deref()) {
        (ContextWord::Stdin, Some("-")) => {
            Err(Failure::usage(anyhow!("standard input cannot be both the context and the Dockerfile")))
        }
        (ContextWord::Stdin, file) => from_stdin(file, session),
        (ContextWord::Directory(path), file) => from_directory(path, file),
    }
}

fn from_directory(path: &Path, file: Option<&str>) -> Result<Inputs, Failure> {
    let root = fs_err::canonicalize(path).map_err(|error| Failure::usage(named_context(path, error)))?;
    if !root.is_dir() {
        return Err(Failure::usage(anyhow!("the context `{}` is not a directory", path.display())));
    }
    let (dockerfile, own_ignore) = match file {
        Some("-") => (text("Dockerfile", read_bounded(io::stdin().lock(), "standard input")?), None),
        Some(file) => (read_dockerfile(Path::new(file), file)?, read_ignore(&beside(Path::new(file)))?),
        None => {
            let found = default_dockerfile(&root);
            refuse_fifo(&found)?;
            let name = found.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (read_dockerfile(&found, &name)?, read_ignore(&beside(&found))?)
        }
    };
    let ignore = match own_ignore {
        Some(own) => Some(own),
        None => read_ignore(&root.join(".dockerignore"))?,
    };
    Ok(Inputs { dockerfile, context: Context::Directory { path: root, ignore } })
}

fn named_context(path: &Path, error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("the context `{}` cannot be read", path.display()))
}

/// `Dockerfile`, or `dockerfile` where only that is there.
fn default_dockerfile(root: &Path) -> PathBuf {
    let usual = root.join("Dockerfile");
    let lower = root.join("dockerfile");
    if !usual.exists() && lower.exists() { lower } else { usual }
}

/// `<dockerfile>.dockerignore`, beside the Dockerfile.
fn beside(dockerfile: &Path) -> PathBuf {
    let mut name = dockerfile.as_os_str().to_owned();
    name.push(".dockerignore");
    PathBuf::from(name)
}

/// A fifo that the user did not name (`-f <(…)`) but somebody put into the context: opening it may never end.
fn refuse_fifo(path: &Path) -> Result<(), Failure> {
    if fs_err::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Err(Failure::new(Class::Dockerfile, anyhow!("`{name}` is a fifo, which nobody may ever write to")));
    }
    Ok(())
}

fn read_dockerfile(path: &Path, name: &str) -> Result<Source, Failure> {
    let file = fs_err::File::open(path).map_err(|error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let failure =
            Failure::new(Class::Dockerfile, anyhow::Error::new(error).context(format!("the Dockerfile `{name}` cannot be read")));
        if missing {
            failure.hint("say where it is with -f PATH; a path is relative to this directory, not to the context")
        } else {
            failure
        }
    })?;
    Ok(text(name, read_bounded(file.into_parts().0, name)?))
}

/// The text and the name that it is shown under; `None` when there is no such file.
fn read_ignore(path: &Path) -> Result<Option<(String, String)>, Failure> {
    refuse_fifo(path)?;
    let file = match fs_err::File::open(path) {
        Ok(file) => file.into_parts().0,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(Failure::new(Class::Dockerfile, error)),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = read_bounded(file, &name)?;
    Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), name)))
}

fn read_bounded(from: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("`{name}` cannot be read"))
        .map_err(|error| Failure::new(Class::Dockerfile, error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::new(Class::Dockerfile, anyhow!("`{name}` has more than {LARGEST} bytes")));
    }
    Ok(bytes)
}

/// Docker takes any bytes; what is not UTF-8 (a comment in an old encoding) is replaced, with a word about it.
fn text(name: &str, bytes: Vec<u8>) -> Source {
    let text = String::from_utf8(bytes).unwrap_or_else(|error| {
        note(&format!("warning: `{name}` is not UTF-8; what is not was replaced"));
        String::from_utf8_lossy(error.as_bytes()).into_owned()
    });
    Source { name: name.to_owned(), text }
}

/// A tar is unpacked into the session's staging, which is removed with it; anything else is a Dockerfile without a context.
fn from_stdin(file: Option<&str>, session: &Session) -> Result<Inputs, Failure> {
    let stdin: Box<dyn Read + Send> = Box::new(stdin()?);
    match unpack::read(stdin, session)? {
        Stdin::Dockerfile(rest) => {
            if let Some(file) = file {
                return Err(Failure::usage(anyhow!("`-f {file}` names a file of the context, but standard input is no tar")));
            }
            let dockerfile = text("Dockerfile", read_bounded(rest, "standard input")?);
            Ok(Inputs { dockerfile, context: Context::Empty })
        }
        Stdin::Tar(directory) => {
            let root = Root::open(&directory).map_err(|error| Failure::new(Class::Storage, error))?;
            let dockerfile = match file {
                Some(file) => from_root(&root, file)?,
                None => from_root(&root, "Dockerfile").or_else(|error| from_root(&root, "dockerfile").map_err(|_lower| error))?,
            };
            Ok(Inputs { dockerfile, context: Context::Directory { path: directory, ignore: None } })
        }
    }
}

/// A descriptor of its own, because the reading moves to other threads.
fn stdin() -> Result<File, Failure> {
    use std::os::fd::AsFd;
    let fd = io::stdin().as_fd().try_clone_to_owned().map_err(|error| Failure::new(Class::Internal, error))?;
    Ok(File::from(fd))
}

fn from_root(root: &Root, name: &str) -> Result<Source, Failure> {
    let bytes = root
        .read(Path::new(name), LARGEST)
        .with_context(|| format!("the Dockerfile `{name}` of the tar cannot be read"))
        .map_err(|error| Failure::new(Class::Dockerfile, error))?;
    let bytes = bytes.ok_or_else(|| Failure::new(Class::Dockerfile, anyhow!("the tar on standard input has no `{name}`")))?;
    Ok(text(name, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, content).unwrap();
        }
        dir
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], file: Option<&str>, dockerfile: &str, ignore: Option<&str>) {
        let dir = dir(files);
        let file = file.map(|file| dir.path().join(file).to_string_lossy().into_owned());
        let inputs = from_directory(&dir.path().join("ctx"), file.as_deref()).unwrap();
        assert_eq!(inputs.dockerfile.text, dockerfile);
        let Context::Directory { ignore: found, .. } = inputs.context else { panic!("a directory") };
        assert_eq!(found.as_ref().map(|(text, _)| text.as_str()), ignore);
    }

    #[test]
    fn the_dockerfile_and_its_ignore_file_are_found() {
        check(&[("ctx/Dockerfile", "D")], None, "D", None);
        check(&[("ctx/dockerfile", "d")], None, "d", None);
        check(&[("ctx/Dockerfile", "D"), ("ctx/dockerfile", "d")], None, "D", None);
        check(&[("ctx/Dockerfile", "D"), ("ctx/.dockerignore", "i")], None, "D", Some("i"));
        check(
            &[("ctx/Dockerfile", "D"), ("ctx/.dockerignore", "i"), ("ctx/Dockerfile.dockerignore", "own")],
            None,
            "D",
            Some("own"),
        );
        check(&[("ctx/x", ""), ("other/App", "A"), ("ctx/.dockerignore", "i")], Some("other/App"), "A", Some("i"));
        check(&[("ctx/x", ""), ("other/App", "A"), ("other/App.dockerignore", "own")], Some("other/App"), "A", Some("own"));
    }

    /// Opening a fifo would wait for a writer for ever.
    #[test]
    fn a_fifo_in_the_context_is_refused() {
        for name in ["Dockerfile", ".dockerignore", "Dockerfile.dockerignore"] {
            let files: &[(&str, &str)] = if name == "Dockerfile" { &[] } else { &[("ctx/Dockerfile", "D")] };
            let dir = dir(&[&[("ctx/x", "")], files].concat());
            let path = dir.path().join("ctx").join(name);
            rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
            let error = from_directory(&dir.path().join("ctx"), None).err().unwrap();
            assert_eq!(
                (error.class, error.message().as_str()),
                (Class::Dockerfile, &*format!("`{name}` is a fifo, which nobody may ever write to"))
            );
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let dir = dir(&[("ctx/x", "")]);
        let error = from_directory(&dir.path().join("ctx"), None).err().unwrap();
        assert_eq!((error.class, error.message().as_str()), (Class::Dockerfile, "the Dockerfile `Dockerfile` cannot be read"));
        let error = from_directory(&dir.path().join("none"), None).err().unwrap();
        assert_eq!(error.class, Class::Usage);
        assert!(error.message().contains("none"));
        let error = from_directory(&dir.path().join("ctx/x"), None).err().unwrap();
        assert!(error.message().ends_with("is not a directory"));
    }
}
