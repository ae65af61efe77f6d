//! Which program the arguments name, looked up as docker does, and its start.

use std::ffi::CString;
use std::io;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, FileType, RawMode, accessat, stat};
use rustix::io::Errno;

use crate::error::{ExecutorError, Step};
use crate::sys::process;

/// Something to be executed.
#[derive(Debug)]
pub(super) struct Program {
    path: String,
    file: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

/// Finds it with the rights of the user that this process has become. HOME is added to `environment` when it has none.
pub(super) fn find(arguments: &[String], mut environment: Vec<String>, home: &str) -> Result<Program, ExecutorError> {
    let name = arguments.first().ok_or_else(|| ExecutorError::NotFound(String::new()))?;
    if value(&environment, "HOME").is_none() {
        environment.push(format!("HOME={home}"));
    }
    let path = if name.contains('/') { named(name)? } else { searched(name, value(&environment, "PATH").unwrap_or_default())? };
    let strings = |strings: &[String]| strings.iter().map(|string| CString::new(string.as_str())).collect::<Result<Vec<_>, _>>();
    let step = || "pass an argument or a variable that contains a zero byte";
    Ok(Program {
        file: CString::new(path.as_str()).step(step)?,
        arguments: strings(arguments).step(step)?,
        environment: strings(&environment).step(step)?,
        path,
    })
}

impl Program {
    /// Returns only when it fails.
    pub(super) fn execute(&self) -> ExecutorError {
        let source = process::execute(&self.file, &self.arguments, &self.environment);
        ExecutorError::NotExecutable { program: self.path.clone(), source }
    }
}

/// The last of several, as it would be after setting them one by one.
fn value<'a>(environment: &'a [String], name: &str) -> Option<&'a str> {
    environment.iter().rev().find_map(|variable| variable.strip_prefix(name)?.strip_prefix('='))
}

fn named(path: &str) -> Result<String, ExecutorError> {
    match executable(Path::new(path)) {
        Ok(()) => Ok(path.to_owned()),
        Err(Errno::NOENT | Errno::NOTDIR) => Err(ExecutorError::NotFound(path.to_owned())),
        Err(error) => Err(ExecutorError::NotExecutable { program: path.to_owned(), source: io::Error::from(error) }),
    }
}

/// What is not executable is passed over; an empty element is the working directory.
fn searched(name: &str, path: &str) -> Result<String, ExecutorError> {
    let candidates = path.split(':').map(|directory| match directory {
        "" => format!("./{name}"),
        directory => format!("{}/{name}", directory.trim_end_matches('/')),
    });
    let found = if name.is_empty() || path.is_empty() {
        None
    } else {
        candidates.into_iter().find(|path| executable(Path::new(path)).is_ok())
    };
    found.ok_or_else(|| ExecutorError::NotFound(name.to_owned()))
}

fn executable(path: &Path) -> Result<(), Errno> {
    if FileType::from_raw_mode(stat(path)?.st_mode as RawMode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}
