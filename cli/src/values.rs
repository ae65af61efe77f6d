//! Values of flags, from their text to their meaning.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Result, anyhow, bail};
use rbuild_graph::{ExtraHost, Ulimit};

/// Build arguments: `NAME=VALUE`, or `NAME` for the value that `variable` has; unset ones are left out.
pub(crate) fn build_args(words: &[String], variable: impl Fn(&str) -> Option<String>) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for word in words {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), variable(word)),
        };
        if name.is_empty() {
            bail!("`--build-arg {word}` has no name");
        }
        match value {
            Some(value) => found.insert(name.to_owned(), value),
            None => found.remove(name),
        };
    }
    Ok(found)
}

/// Labels: `NAME=VALUE`, or `NAME` for an empty one.
pub(crate) fn labels(words: &[String]) -> Result<BTreeMap<String, String>> {
    words
        .iter()
        .map(|word| match word.split_once('=').unwrap_or((word, "")) {
            ("", _) => Err(anyhow!("`--label {word}` has no name")),
            (name, value) => Ok((name.to_owned(), value.to_owned())),
        })
        .collect()
}

/// `HOST:IP` or `HOST=IP`; an IPv6 address may stand in brackets.
pub(crate) fn add_host(word: &str) -> Result<ExtraHost> {
    let bad = || anyhow!("`--add-host {word}` is not of the form HOST:IP");
    let (name, address) = word.split_once('=').or_else(|| word.split_once(':')).ok_or_else(bad)?;
    if name.is_empty() || name.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Err(bad());
    }
    if address == "host-gateway" {
        bail!("`--add-host {word}`: host-gateway is not supported yet");
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let address: IpAddr = bare.parse().map_err(|_source| anyhow!("`--add-host {word}`: `{address}` is not an IP address"))?;
    Ok(ExtraHost { name: name.to_owned(), address })
}

/// Names that getrlimit(2) knows, as docker writes them.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `NAME=SOFT[:HARD]`; -1 is unlimited, and a missing hard limit is the soft one.
pub(crate) fn ulimit(word: &str) -> Result<Ulimit> {
    let (name, limits) = word.split_once('=').ok_or_else(|| anyhow!("`--ulimit {word}` is not of the form NAME=SOFT[:HARD]"))?;
    if !ULIMITS.contains(&name) {
        bail!("`--ulimit {word}`: there is no limit `{name}`");
    }
    let number = |text: &str| match text.parse::<i64>() {
        Ok(number) if number >= -1 => Ok(number),
        Ok(_) | Err(_) => Err(anyhow!("`--ulimit {word}`: `{text}` is not a limit")),
    };
    let (soft, hard) = match limits.split_once(':') {
        Some((soft, hard)) => (number(soft)?, number(hard)?),
        None => (number(limits)?, number(limits)?),
    };
    if hard != -1 && (soft == -1 || soft > hard) {
        bail!("`--ulimit {word}`: the soft limit is above the hard one");
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

/// Bytes in docker's spelling: `64m`, `1.5GiB`, `4096`; units are powers of 1024.
pub(crate) fn size(word: &str) -> Result<u64> {
    let bad = || anyhow!("`{word}` is not a size");
    let digits = word.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(word.len());
    let (number, unit) = word.split_at(digits);
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(bad()),
    };
    scaled(number, shift).ok_or_else(bad)
}

/// A decimal number times a power of two, cut to whole bytes, without floating point.
fn scaled(number: &str, shift: u32) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let fraction = if fraction.is_empty() { "0" } else { fraction };
    let denominator = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let whole: u128 = whole.parse().ok()?;
    let numerator = whole.checked_mul(denominator)?.checked_add(fraction.parse().ok()?)?;
    u64::try_from(numerator.checked_mul(1 << shift)? / denominator).ok()
}

/// One record of Go's `encoding/csv`: fields separated by commas; a field in double quotes may hold commas and, doubled, quotes.
pub(crate) fn csv(text: &str) -> Result<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted).ok_or_else(|| anyhow!("`{text}` has a quote that is not closed, or text after one"))?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            if rest[..end].contains('"') {
                bail!("`{text}` has a quote inside a field that does not begin with one");
            }
            (rest[..end].to_owned(), &rest[end..])
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// The field after its opening quote, and what follows the closing one.
fn quoted_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let quote = rest.find('"')?;
        field.push_str(&rest[..quote]);
        rest = &rest[quote + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return (rest.is_empty() || rest.starts_with(',')).then_some((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn build_args_come_from_the_line_or_the_environment() {
        let variable = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let check = |list: &[&str], expected: &[(&str, &str)]| {
            let found = build_args(&words(list), variable).unwrap();
            let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(found, expected, "{list:?}");
        };
        check(&["A=1", "B=x=y", "C="], &[("A", "1"), ("B", "x=y"), ("C", "")]);
        check(&["HOME", "UNSET"], &[("HOME", "/root")]);
        check(&["A=1", "A=2"], &[("A", "2")]);
        assert!(build_args(&words(&["=x"]), variable).is_err());
    }

    #[test]
    fn hosts_have_a_name_and_an_address() {
        for (word, expected) in [
            ("a:10.0.0.1", "10.0.0.1"),
            ("a=10.0.0.1", "10.0.0.1"),
            ("a:::1", "::1"),
            ("a=[fe80::1]", "fe80::1"),
            ("a:[::1]", "::1"),
        ] {
            let host = add_host(word).unwrap();
            assert_eq!((host.name.as_str(), host.address.to_string().as_str()), ("a", expected), "{word}");
        }
        for word in ["a", ":1.2.3.4", "a:x", "a b:1.2.3.4", "a:host-gateway", "a:"] {
            assert!(add_host(word).is_err(), "{word}");
        }
    }

    #[test]
    fn ulimits_are_dockers() {
        let check = |word: &str, soft: i64, hard: i64| {
            let limit = ulimit(word).unwrap();
            assert_eq!((limit.soft, limit.hard), (soft, hard), "{word}");
        };
        check("nofile=1024", 1024, 1024);
        check("nofile=1024:2048", 1024, 2048);
        check("core=-1", -1, -1);
        check("core=0:-1", 0, -1);
        for word in ["nofile", "files=1", "nofile=x", "nofile=2:1", "nofile=-1:5", "nofile=-2", "nofile=1:2:3"] {
            assert!(ulimit(word).is_err(), "{word}");
        }
    }

    #[test]
    fn sizes_are_dockers() {
        for (word, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("64m", 64 << 20),
            ("1.5k", 1536),
            ("2GiB", 2 << 30),
            ("1 MB", 1 << 20),
            ("10b", 10),
            ("1.k", 1024),
        ] {
            assert_eq!(size(word).unwrap(), bytes, "{word}");
        }
        for word in ["", "m", "-1", "1x", "1.2.3", "99999999999999999999", "9999999999999t"] {
            assert!(size(word).is_err(), "{word}");
        }
    }

    #[test]
    fn csv_is_gos() {
        let check = |text: &str, expected: &[&str]| assert_eq!(csv(text).unwrap(), expected, "{text}");
        check("a=b,c=d", &["a=b", "c=d"]);
        check(r#"type=image,"name=a,b",push=true"#, &["type=image", "name=a,b", "push=true"]);
        check(r#""a""b",c"#, &["a\"b", "c"]);
        check("a,,b,", &["a", "", "b", ""]);
        check("", &[""]);
        for text in [r#""a"#, r#"a"b"#, r#""a"b"#] {
            assert!(csv(text).is_err(), "{text}");
        }
    }
}
