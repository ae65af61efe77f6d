//! Platforms: `os/architecture[/variant]`, normalised as containerd does (amd64, arm64, arm/v7 …).

use std::fmt;
use std::str::FromStr;

/// An operating system and processor architecture in Go's names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Platform {
    /// The architecture (`GOARCH`): `amd64`, `arm64`.
    pub architecture: String,
    /// The operating system (`GOOS`): `linux`.
    pub os: String,
    /// The operating system's version (Windows only).
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Required features of the operating system.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The processor variant: `v7`, `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// A string that is not a platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a platform of the form os/architecture[/variant]")]
pub struct PlatformError(pub String);

impl Platform {
    /// Linux on `architecture`, normalised.
    #[must_use]
    pub fn linux(architecture: &str) -> Platform {
        Platform::new("linux", architecture, None)
    }

    /// What this program runs on.
    #[must_use]
    pub fn host() -> Platform {
        Platform::new(std::env::consts::OS, host_architecture(), None)
    }

    /// `unknown/unknown`, which marks index entries that are no images (attestations).
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }

    /// The same platform in containerd's normal form: lower case, Go's names, default variants left out (arm: spelt out).
    #[must_use]
    pub fn normalised(&self) -> Platform {
        let normal = Platform::new(&self.os, &self.architecture, self.variant.as_deref());
        Platform { os_version: self.os_version.clone(), os_features: self.os_features.clone(), ..normal }
    }

    /// Whether both mean the same, however they are spelt. Versions of the operating system count only on Windows.
    #[must_use]
    pub fn matches(&self, other: &Platform) -> bool {
        self.accepts(other) == Some(0)
    }

    /// Whether an image for `offered` runs where this platform is wanted: 0 for the same, more for a worse choice.
    #[must_use]
    pub fn accepts(&self, offered: &Platform) -> Option<usize> {
        let (wanted, offered) = (self.normalised(), offered.normalised());
        if wanted.os != offered.os || !accepts_os_version(&wanted, &offered) {
            return None;
        }
        let candidate = (offered.architecture, offered.variant);
        runnable_on(wanted.architecture, wanted.variant).iter().position(|runnable| *runnable == candidate)
    }

    fn new(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        let (architecture, variant) = normal_architecture(architecture, variant.unwrap_or(""));
        Platform { architecture, os: normal_os(os), os_version: None, os_features: Vec::new(), variant }
    }
}

/// Only Windows images depend on it: the build number must be the same, the revision may differ.
fn accepts_os_version(wanted: &Platform, offered: &Platform) -> bool {
    let build = |version: &str| version.split('.').take(3).map(str::to_owned).collect::<Vec<_>>();
    match (&wanted.os_version, &offered.os_version) {
        (Some(wanted_version), Some(offered_version)) if wanted.os == "windows" => {
            build(wanted_version) == build(offered_version)
        }
        (Some(_) | None, Some(_) | None) => true,
    }
}

fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86" => "386",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        other => other,
    }
}

fn normal_os(os: &str) -> String {
    let os = os.to_ascii_lowercase();
    if os == "macos" { "darwin".into() } else { os }
}

fn normal_architecture(architecture: &str, variant: &str) -> (String, Option<String>) {
    let (architecture, variant) = (architecture.to_ascii_lowercase(), variant.to_ascii_lowercase());
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1" | "1") => ("amd64", ""),
        ("x86_64" | "x86-64", other) => ("amd64", other),
        ("aarch64" | "arm64", "8" | "v8" | "8.0" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64", other) => ("arm64", other),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.into(), Some(variant.to_owned()).filter(|variant| !variant.is_empty()))
}

type Processor = (String, Option<String>);

/// The processors whose programs run on this one, best first (containerd's platform vectors).
fn runnable_on(architecture: String, variant: Option<String>) -> Vec<Processor> {
    let version = |variant: &Option<String>, default: u32| {
        variant.as_deref().map_or(Some(default), |v| v.strip_prefix('v').and_then(|n| n.parse::<u32>().ok())).unwrap_or(0).min(9)
    };
    let mut runnable = vec![(architecture.clone(), variant.clone())];
    let variants = |architecture: &str, versions: std::ops::Range<u32>| -> Vec<Processor> {
        versions.rev().map(|n| (architecture.to_owned(), Some(format!("v{n}")))).collect()
    };
    match architecture.as_str() {
        "amd64" => {
            let newest = version(&variant, 1);
            runnable.extend(variants("amd64", 2..newest.max(2)));
            if newest > 1 {
                runnable.push(("amd64".into(), None));
            }
            runnable.push(("386".into(), None));
        }
        "arm" => runnable.extend(variants("arm", 5..version(&variant, 7).max(5))),
        "arm64" => {
            if variant.is_some() {
                runnable.push(("arm64".into(), None));
            }
            runnable.extend(variants("arm", 5..9));
        }
        _ => {}
    }
    runnable
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Also a lone operating system or architecture, completed from the host as docker does.
    fn from_str(text: &str) -> Result<Platform, PlatformError> {
        let bad = || PlatformError(text.chars().take(200).collect());
        let parts: Vec<&str> = text.split('/').collect();
        let (os, version) = split_version(parts[0]).ok_or_else(bad)?;
        if !parts[1..].iter().chain([&os]).all(|part| is_component(part)) {
            return Err(bad());
        }
        let platform = match parts.as_slice() {
            [_] if is_known_os(os) => Platform::new(os, host_architecture(), None),
            [_] if is_known_architecture(os) => Platform::new(std::env::consts::OS, os, None),
            [_, architecture] => Platform::new(os, architecture, None),
            [_, architecture, variant] => Platform::new(os, architecture, Some(variant)),
            _ => return Err(bad()),
        };
        Ok(Platform { os_version: version.map(str::to_owned), ..platform })
    }
}

/// `windows(10.0.17763)` has the version in parentheses.
fn split_version(os: &str) -> Option<(&str, Option<&str>)> {
    let Some((name, version)) = os.split_once('(') else { return Some((os, None)) };
    let version = version.strip_suffix(')').filter(|version| is_component(version))?;
    Some((name, Some(version)))
}

fn is_component(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_known_os(text: &str) -> bool {
    matches!(normal_os(text).as_str(), "linux" | "windows" | "darwin" | "freebsd" | "netbsd" | "openbsd" | "solaris" | "illumos")
}

fn is_known_architecture(text: &str) -> bool {
    let (architecture, _) = normal_architecture(text, "");
    matches!(
        architecture.as_str(),
        "amd64"
            | "386"
            | "arm"
            | "arm64"
            | "ppc64le"
            | "ppc64"
            | "s390x"
            | "riscv64"
            | "loong64"
            | "mips64le"
            | "mips64"
            | "wasm"
    )
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        if let Some(version) = &self.os_version {
            write!(f, "({version})")?;
        }
        write!(f, "/{}", self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn spellings_become_one() {
        for (text, normal) in [
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/i386", "linux/386"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/9", "linux/arm64/v9"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/6", "linux/arm/v6"),
            ("macos/arm64", "darwin/arm64"),
            ("windows(10.0.17763.1)/amd64", "windows(10.0.17763.1)/amd64"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert_eq!(platform(text).to_string(), normal, "{text}");
            assert_eq!(platform(normal), platform(text), "{text}");
        }
    }

    #[test]
    fn lone_parts_are_completed_from_the_host() {
        let host = Platform::host();
        assert_eq!(platform(&host.os), host);
        assert_eq!(platform("riscv64"), Platform { os: host.os, ..Platform::linux("riscv64") });
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for text in
            ["", "/", "linux/", "linux//v7", "nonsense", "linux/a b", "linux/amd64/v1/x", "windows(/amd64", "linux/é", "(1)/x"]
        {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn compatible_platforms_are_ranked() {
        for (wanted, offered, rank) in [
            ("linux/amd64", "linux/amd64", Some(0)),
            ("linux/amd64", "linux/386", Some(1)),
            ("linux/amd64", "linux/amd64/v2", None),
            ("linux/amd64/v3", "linux/amd64/v2", Some(1)),
            ("linux/amd64/v3", "linux/amd64", Some(2)),
            ("linux/arm/v7", "linux/arm/v6", Some(1)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm64", "linux/arm64/v8", Some(0)),
            ("linux/arm64", "linux/arm/v7", Some(2)),
            ("linux/amd64", "windows/amd64", None),
            ("linux/s390x", "linux/amd64", None),
            ("windows(10.0.1.5)/amd64", "windows(10.0.1.7)/amd64", Some(0)),
            ("windows(10.0.1.5)/amd64", "windows(10.0.2.5)/amd64", None),
        ] {
            assert_eq!(platform(wanted).accepts(&platform(offered)), rank, "{wanted} {offered}");
        }
    }
}
