//! `-v` and `--tmpfs`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use rbuild_executor::{BindMount, BindSource};

use crate::values;

/// Permission bits of a new tmpfs: everybody's, as docker's.
const TMPFS_MODE: u32 = 0o1777;

/// All mounts, in the order of their flags, tmpfs last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mounts {
    volumes: Vec<Volume>,
    tmpfs: Vec<Tmpfs>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Volume {
    host: PathBuf,
    target: PathBuf,
    readonly: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tmpfs {
    target: PathBuf,
    size: Option<u64>,
    mode: u32,
    readonly: bool,
}

impl Mounts {
    pub(super) fn parse(volumes: &[String], tmpfs: &[String]) -> Result<Mounts> {
        Ok(Mounts {
            volumes: volumes
                .iter()
                .map(|word| volume(word).with_context(|| format!("invalid volume `{word}`")))
                .collect::<Result<_>>()?,
            tmpfs: tmpfs
                .iter()
                .map(|word| memory(word).with_context(|| format!("invalid tmpfs `{word}`")))
                .collect::<Result<_>>()?,
        })
    }

    /// Makes host directories that are missing, as docker does.
    pub(super) fn open(&self) -> Result<Vec<BindMount>> {
        let mut mounts = Vec::new();
        for Volume { host, target, readonly } in &self.volumes {
            if !fs_err::exists(host)? {
                fs_err::create_dir_all(host)?;
            }
            let host = fs_err::canonicalize(host)?;
            mounts.push(BindMount { source: BindSource::Path(host), target: target.clone(), readonly: *readonly });
        }
        for Tmpfs { target, size, mode, readonly } in &self.tmpfs {
            let source = BindSource::Tmpfs { size: *size, mode: *mode };
            mounts.push(BindMount { source, target: target.clone(), readonly: *readonly });
        }
        Ok(mounts)
    }
}

/// `HOST:CONTAINER[:ro|rw]`; a host path begins with `/` or `.`, anything else would be a named volume.
fn volume(word: &str) -> Result<Volume> {
    let fields: Vec<&str> = word.split(':').collect();
    let (host, target, options) = match fields[..] {
        [host, target] => (host, target, ""),
        [host, target, options] => (host, target, options),
        [_] => bail!("anonymous volumes are not supported yet"),
        _ => bail!("it is not of the form HOST:CONTAINER[:ro]"),
    };
    if !host.starts_with('/') && !host.starts_with('.') {
        bail!("named volumes are not supported yet; a directory of this machine begins with `/` or `./`");
    }
    let mut readonly = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => readonly = true,
            "rw" => readonly = false,
            other => bail!("the option `{other}` is not supported yet"),
        }
    }
    Ok(Volume { host: PathBuf::from(host), target: target_path(target)?, readonly })
}

/// `DIR[:size=BYTES,mode=OCTAL,ro,rw]`.
fn memory(word: &str) -> Result<Tmpfs> {
    let (target, options) = word.split_once(':').unwrap_or((word, ""));
    let mut tmpfs = Tmpfs { target: target_path(target)?, size: None, mode: TMPFS_MODE, readonly: false };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", size)) => tmpfs.size = Some(values::size(size)?),
            Some(("mode", mode)) => {
                let bits = u32::from_str_radix(mode, 8).ok().filter(|bits| *bits <= 0o7777);
                tmpfs.mode = bits.ok_or_else(|| anyhow!("`{mode}` is not a mode"))?;
            }
            None if option == "ro" => tmpfs.readonly = true,
            None if option == "rw" => tmpfs.readonly = false,
            // What every tmpfs here is anyway.
            None if ["noexec", "nosuid", "nodev"].contains(&option) => {}
            Some(_) | None => bail!("the option `{option}` is not supported yet"),
        }
    }
    Ok(tmpfs)
}

fn target_path(target: &str) -> Result<PathBuf> {
    let path = Path::new(target);
    if !path.is_absolute() || path == Path::new("/") {
        bail!("`{target}` is not an absolute path in the container below `/`");
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_dockers() {
        let check = |word: &str, host: &str, target: &str, readonly: bool| {
            let expected = Volume { host: PathBuf::from(host), target: PathBuf::from(target), readonly };
            assert_eq!(volume(word).unwrap(), expected, "{word}");
        };
        check("/a:/b", "/a", "/b", false);
        check("/a:/b:ro", "/a", "/b", true);
        check("./a:/b:rw", "./a", "/b", false);
        check(".:/b", ".", "/b", false);
        for word in ["/a", "name:/b", "/a:b", "/a:/", "/a:/b:z", "/a:/b:ro:x", ":/b", "/a:"] {
            assert!(volume(word).is_err(), "{word}");
        }
    }

    #[test]
    fn tmpfs_have_options() {
        let plain = Tmpfs { target: PathBuf::from("/t"), size: None, mode: 0o1777, readonly: false };
        assert_eq!(memory("/t").unwrap(), plain);
        let sized = Tmpfs { size: Some(1 << 20), mode: 0o700, readonly: true, ..plain };
        assert_eq!(memory("/t:size=1m,mode=700,ro,noexec").unwrap(), sized);
        for word in ["t", "/t:size=x", "/t:mode=9", "/t:exec", "/t:uid=3"] {
            assert!(memory(word).is_err(), "{word}");
        }
    }

    #[test]
    fn a_missing_host_directory_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let host = dir.path().join("a/b");
        let mounts = Mounts::parse(&[format!("{}:/v:ro", host.display())], &["/t".to_owned()]).unwrap();
        let opened = mounts.open().unwrap();
        assert!(host.is_dir());
        assert_eq!(opened.len(), 2);
        assert!(opened[0].readonly && !opened[1].readonly);
    }
}
