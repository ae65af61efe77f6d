//! The program under test, on a state directory of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A state directory with `busybox` imported.
pub struct Rbuild {
    dir: TempDir,
    program: PathBuf,
}

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Rbuild {
    /// A fresh state directory with the `busybox` image.
    #[must_use]
    pub fn new() -> Rbuild {
        let rbuild = Rbuild::empty();
        let busybox = PathBuf::from(std::env::var_os("RBUILD_TEST_BUSYBOX").expect("run the tests with `cargo xtask test`"));
        rbuild.ok(&["import", "-c", r#"CMD ["sh"]"#, &busybox.to_string_lossy(), "busybox"]);
        rbuild
    }

    /// A fresh state directory without images.
    #[must_use]
    pub fn empty() -> Rbuild {
        let program = std::env::var_os("RBUILD_TEST_BIN").expect("run the tests with `cargo xtask test`");
        Rbuild { dir: tempfile::tempdir().expect("a temporary directory"), program: PathBuf::from(program) }
    }

    /// A directory for files of the test, beside the state.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A command on the state directory.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.dir.path());
        command.env("RBUILD_ROOT", self.state()).args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// Runs to the end.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.command(args).output().expect("rbuild starts"))
    }

    /// Runs to the end and must succeed; returns standard output.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let outcome = self.run(args);
        assert_eq!(outcome.code, 0, "rbuild {}:\n{}{}", args.join(" "), outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    /// Builds a Dockerfile over a context directory into an OCI archive; returns its path.
    #[track_caller]
    pub fn build_oci(&self, context: &Path, args: &[&str]) -> PathBuf {
        let archive = self.dir.path().join(format!("{}.tar", self.unique()));
        let output = format!("type=oci,dest={}", archive.display());
        let mut words = vec!["build", "--progress=plain", "-o", &output];
        words.extend(args);
        let context = context.to_string_lossy();
        words.push(&context);
        self.ok(&words);
        archive
    }

    /// Builds into a directory of files; returns it.
    #[track_caller]
    pub fn build_local(&self, context: &Path, args: &[&str]) -> PathBuf {
        let out = self.dir.path().join(format!("{}.out", self.unique()));
        let output = format!("type=local,dest={}", out.display());
        let mut words = vec!["build", "--progress=plain", "-o", &output];
        words.extend(args);
        let context = context.to_string_lossy();
        words.push(&context);
        self.ok(&words);
        out
    }

    fn unique(&self) -> usize {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}

impl Default for Rbuild {
    fn default() -> Rbuild {
        Rbuild::new()
    }
}

impl Outcome {
    /// From what the process left.
    #[must_use]
    pub fn of(output: Output) -> Outcome {
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Writes a context: `(path, content)`; a path that ends in `/` is a directory.
///
/// # Panics
/// When a file cannot be written.
#[must_use]
pub fn context(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (path, content) in files {
        let full = dir.path().join(path);
        if path.ends_with('/') {
            fs_err::create_dir_all(&full).expect("a directory of the context");
            continue;
        }
        fs_err::create_dir_all(full.parent().expect("a file has a parent")).expect("a directory of the context");
        fs_err::write(&full, content).expect("a file of the context");
    }
    dir
}
