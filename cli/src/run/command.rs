//! What runs: the image's configuration and the flags, merged by docker's rules.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use rbuild_oci::ContainerConfig;

use crate::args::RunArgs;

/// The PATH of an image that has none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Largest `--env-file`.
const LARGEST_ENV_FILE: u64 = 4 << 20;

/// What the flags say.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides {
    /// `Some("")` clears the image's.
    entrypoint: Option<String>,
    args: Vec<String>,
    env: Vec<EnvWord>,
    workdir: Option<String>,
    user: Option<String>,
}

/// One `-e` or line of `--env-file`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum EnvWord {
    Set(String, String),
    /// Named without a value, and not in the environment either.
    Unset(String),
}

/// What is run, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) args: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) cwd: String,
    pub(super) user: String,
}

impl Overrides {
    pub(super) fn new(typed: &RunArgs, variable: impl Fn(&str) -> Option<String>) -> Result<Overrides> {
        let mut env = Vec::new();
        for file in &typed.env_file {
            env.extend(read_env_file(Path::new(file), &variable).with_context(|| format!("invalid --env-file `{file}`"))?);
        }
        for word in &typed.env {
            env.push(env_word(word, &variable)?);
        }
        if let Some(dir) = &typed.workdir
            && !dir.starts_with('/')
        {
            bail!("the working directory `{dir}` is not an absolute path");
        }
        Ok(Overrides {
            entrypoint: typed.entrypoint.clone(),
            args: typed.command.clone(),
            env,
            workdir: typed.workdir.clone(),
            user: typed.user.clone(),
        })
    }

    /// Merges with what the image says.
    pub(super) fn merge(&self, image: &ContainerConfig, hostname: &str, tty: bool) -> Result<Command> {
        let none = Vec::new();
        let image_entrypoint = image.entrypoint.as_ref().unwrap_or(&none);
        let (entrypoint, keeps_cmd) = match self.entrypoint.as_deref() {
            None => (image_entrypoint.clone(), true),
            Some("") => (Vec::new(), false),
            Some(program) => (vec![program.to_owned()], false),
        };
        let image_cmd = image.cmd.as_ref().filter(|_| keeps_cmd).unwrap_or(&none);
        let cmd = if self.args.is_empty() { image_cmd } else { &self.args };
        let args: Vec<String> = entrypoint.into_iter().chain(cmd.iter().cloned()).collect();
        if args.is_empty() {
            bail!("no command: the image has none, and none was given");
        }
        let workdir = self.workdir.as_deref().unwrap_or(&image.working_dir);
        Ok(Command {
            args,
            env: self.environment(&image.env, hostname, tty),
            cwd: if workdir.is_empty() { "/" } else { workdir }.to_owned(),
            user: self.user.clone().unwrap_or_else(|| image.user.clone()),
        })
    }

    /// Docker's own variables, then the image's, then the flags'; each name once, where it came first, with the last value.
    fn environment(&self, image: &[String], hostname: &str, tty: bool) -> Vec<String> {
        let mut env = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
        if tty {
            env.push("TERM=xterm".to_owned());
        }
        let position = |env: &[String], name: &str| env.iter().position(|old| name_of(old) == name);
        let set = |env: &mut Vec<String>, word: String| match position(env, name_of(&word)) {
            Some(at) => env[at] = word,
            None => env.push(word),
        };
        for word in image {
            set(&mut env, word.clone());
        }
        for word in &self.env {
            match word {
                EnvWord::Set(name, value) => set(&mut env, format!("{name}={value}")),
                EnvWord::Unset(name) => env.retain(|old| name_of(old) != name),
            }
        }
        env
    }
}

fn name_of(word: &str) -> &str {
    word.split_once('=').map_or(word, |(name, _)| name)
}

fn env_word(word: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<EnvWord> {
    match word.split_once('=') {
        Some(("", _)) => Err(anyhow!("`-e {word}` has no name")),
        Some((name, value)) => Ok(EnvWord::Set(name.to_owned(), value.to_owned())),
        None if word.is_empty() => Err(anyhow!("`-e` has no name")),
        None => Ok(match variable(word) {
            Some(value) => EnvWord::Set(word.to_owned(), value),
            None => EnvWord::Unset(word.to_owned()),
        }),
    }
}

fn read_env_file(path: &Path, variable: &impl Fn(&str) -> Option<String>) -> Result<Vec<EnvWord>> {
    let size = fs_err::metadata(path)?.len();
    if size > LARGEST_ENV_FILE {
        bail!("it has more than {LARGEST_ENV_FILE} bytes");
    }
    parse_env_file(&fs_err::read_to_string(path)?, variable)
}

/// `NAME=VALUE` lines; the value is taken as it is. Comments and empty lines are passed over; `NAME` takes the environment's value.
fn parse_env_file(text: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<Vec<EnvWord>> {
    let mut words = Vec::new();
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = name_of(line);
        if name.is_empty() || name.contains(char::is_whitespace) {
            bail!("line {number}: `{name}` is not a name");
        }
        match env_word(line, variable)? {
            // An unset name in a file is as if the line were not there.
            EnvWord::Unset(_) => {}
            word @ EnvWord::Set(..) => words.push(word),
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    fn image() -> ContainerConfig {
        ContainerConfig {
            entrypoint: Some(strings(&["entry"])),
            cmd: Some(strings(&["cmd"])),
            env: strings(&["A=image", "PATH=/bin"]),
            working_dir: "/work".to_owned(),
            user: "app".to_owned(),
            ..ContainerConfig::default()
        }
    }

    #[track_caller]
    fn check_args(entrypoint: Option<&str>, args: &[&str], expected: &[&str]) {
        let overrides = Overrides { entrypoint: entrypoint.map(str::to_owned), args: strings(args), ..Overrides::default() };
        let found = overrides.merge(&image(), "h", false).map(|command| command.args).unwrap_or_default();
        assert_eq!(found, expected);
    }

    #[test]
    fn arguments_are_merged_as_docker_does() {
        check_args(None, &[], &["entry", "cmd"]);
        check_args(None, &["x"], &["entry", "x"]);
        check_args(Some("sh"), &[], &["sh"]);
        check_args(Some("sh"), &["x"], &["sh", "x"]);
        check_args(Some(""), &["x"], &["x"]);
        check_args(Some(""), &[], &[]);
    }

    #[test]
    fn the_environment_has_each_name_once() {
        let variable = |name: &str| (name == "HOST_HAS").then(|| "value".to_owned());
        let mut overrides = Overrides::default();
        for word in ["B=1", "A=flag", "HOST_HAS", "HOSTNAME"] {
            overrides.env.push(env_word(word, &variable).unwrap());
        }
        let found = overrides.merge(&image(), "h", true).unwrap();
        assert_eq!(found.env, ["PATH=/bin", "TERM=xterm", "A=flag", "B=1", "HOST_HAS=value"]);
        assert_eq!((found.cwd.as_str(), found.user.as_str()), ("/work", "app"));
        assert!(env_word("=x", &variable).is_err());
    }

    #[test]
    fn flags_win_over_the_image() {
        let overrides = Overrides { workdir: Some("/else".to_owned()), user: Some("0:0".to_owned()), ..Overrides::default() };
        let found = overrides.merge(&image(), "h", false).unwrap();
        assert_eq!((found.cwd.as_str(), found.user.as_str()), ("/else", "0:0"));
        let empty = Overrides { args: strings(&["x"]), ..Overrides::default() };
        assert_eq!(empty.merge(&ContainerConfig::default(), "h", false).unwrap().cwd, "/");
    }

    #[test]
    fn env_files_are_dockers() {
        let variable = |name: &str| (name == "HOST").then(|| "v".to_owned());
        let text = "\u{feff}# comment\n\nA=1 # no comment\n  B=\"q\"\nHOST\nUNSET\nC=\n";
        let found = parse_env_file(text, &variable).unwrap();
        let found: Vec<String> = found
            .into_iter()
            .map(|word| match word {
                EnvWord::Set(name, value) => format!("{name}={value}"),
                EnvWord::Unset(name) => name,
            })
            .collect();
        assert_eq!(found, ["A=1 # no comment", "B=\"q\"", "HOST=v", "C="]);
        assert_eq!(parse_env_file("ok=1\nbad name=2", &variable).unwrap_err().to_string(), "line 2: `bad name` is not a name");
    }
}
