//! The value of `RUN --mount`: comma-separated options.

use rbuild_graph::CacheSharing;

use crate::go_format;
use crate::lint::read_bool;
use crate::suggest;

/// Kinds of mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

const TYPES: [(&str, Type); 5] =
    [("bind", Type::Bind), ("cache", Type::Cache), ("tmpfs", Type::Tmpfs), ("secret", Type::Secret), ("ssh", Type::Ssh)];
const SHARING: [(&str, CacheSharing); 3] =
    [("shared", CacheSharing::Shared), ("private", CacheSharing::Private), ("locked", CacheSharing::Locked)];
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

/// The options as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) kind: Type,
    pub(super) from: Option<String>,
    pub(super) source: String,
    pub(super) target: String,
    pub(super) readonly: bool,
    pub(super) size: Option<u64>,
    pub(super) id: Option<String>,
    pub(super) sharing: Option<CacheSharing>,
    pub(super) required: bool,
    pub(super) env: Option<String>,
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

impl Spec {
    /// The secret's or agent's name.
    pub(super) fn secret_id(&self) -> String {
        let given = [Some(&self.source), self.id.as_ref()].into_iter().flatten().find(|id| !id.is_empty());
        match (given, self.kind) {
            (Some(id), _) => id.clone(),
            (None, Type::Ssh) => "default".into(),
            (None, _) => self.target.rsplit('/').next().unwrap_or_default().to_owned(),
        }
    }
}

/// What is wrong, and the word that was probably meant.
type Wrong = (String, Option<String>);

/// Reads the options; `expand` fills in variables of a value.
pub(super) fn read(text: &str, expand: &mut dyn FnMut(&str) -> String) -> Result<Spec, Wrong> {
    let fields = csv(text).map_err(|reason| (format!("failed to parse csv mounts: {reason}"), None))?;
    let mut spec = Spec {
        kind: Type::Bind,
        from: None,
        source: String::new(),
        target: String::new(),
        readonly: true,
        size: None,
        id: None,
        sharing: None,
        required: false,
        env: None,
        mode: None,
        uid: None,
        gid: None,
    };
    let mut readonly = None;
    for field in &fields {
        let (key, value) = field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        let key = key.to_lowercase();
        match value {
            Some(value) => set(&mut spec, &mut readonly, &key, &expand(value), field)?,
            None => set_switch(&mut spec, &mut readonly, &key, field)?,
        }
    }
    spec.readonly = readonly.unwrap_or(!matches!(spec.kind, Type::Cache | Type::Tmpfs));
    check(&spec)?;
    Ok(spec)
}

fn fail<T>(message: impl Into<String>) -> Result<T, Wrong> {
    Err((message.into(), None))
}

fn set_switch(spec: &mut Spec, readonly: &mut Option<bool>, key: &str, field: &str) -> Result<(), Wrong> {
    match key {
        "readonly" | "ro" => *readonly = Some(true),
        "readwrite" | "rw" => *readonly = Some(false),
        "required" if matches!(spec.kind, Type::Secret | Type::Ssh) => spec.required = true,
        "required" => return not_for(key, spec),
        _ => return fail(format!("invalid field '{field}' must be a key=value pair")),
    }
    Ok(())
}

fn not_for<T>(key: &str, spec: &Spec) -> Result<T, Wrong> {
    fail(format!("unexpected key '{key}' for mount type '{}'", type_name(spec.kind)))
}

fn type_name(kind: Type) -> &'static str {
    TYPES.iter().find(|(_, known)| *known == kind).map_or("", |(name, _)| name)
}

fn set(spec: &mut Spec, readonly: &mut Option<bool>, key: &str, value: &str, field: &str) -> Result<(), Wrong> {
    let number = |radix: u32| {
        let valid = !value.starts_with('+');
        let read = u32::from_str_radix(value, radix).ok().filter(|_| valid);
        read.map(Some).ok_or_else(|| (format!("invalid value {value} for {key}"), None))
    };
    let truth = || read_bool(value).ok_or_else(|| (format!("invalid value for {key}: {value}"), None));
    match key {
        "type" => spec.kind = one_of(&TYPES, value, "unsupported mount type")?,
        "sharing" => spec.sharing = Some(one_of(&SHARING, value, "unsupported sharing value")?),
        "from" => spec.from = Some(value.to_owned()).filter(|from| !from.is_empty()),
        "source" | "src" => spec.source = value.to_owned(),
        "target" | "dst" | "destination" => spec.target = value.to_owned(),
        "readonly" | "ro" => *readonly = Some(truth()?),
        "readwrite" | "rw" => *readonly = Some(!truth()?),
        "required" if matches!(spec.kind, Type::Secret | Type::Ssh) => spec.required = truth()?,
        "size" if spec.kind == Type::Tmpfs => match bytes(value) {
            Some(size) => spec.size = Some(size),
            None => return fail(format!("invalid value for {key}: {value}")),
        },
        "required" | "size" => return not_for(key, spec),
        "id" => spec.id = Some(value.to_owned()),
        "mode" => spec.mode = number(8)?,
        "uid" => spec.uid = number(10)?,
        "gid" => spec.gid = number(10)?,
        "env" => spec.env = Some(value.to_owned()),
        _ => {
            let near = suggest::nearest(key, KEYS).map(str::to_owned);
            return Err((format!("unexpected key '{key}' in '{field}'"), near));
        }
    }
    Ok(())
}

fn one_of<T: Copy>(options: &[(&str, T)], value: &str, what: &str) -> Result<T, Wrong> {
    let lower = value.to_lowercase();
    let found = options.iter().find(|(name, _)| *name == lower).map(|(_, option)| *option);
    found.ok_or_else(|| {
        let near = suggest::nearest(value, options.iter().map(|(name, _)| *name)).map(str::to_owned);
        (format!("{what} {}", go_format::quote_short(value)), near)
    })
}

/// Combinations that mean nothing.
fn check(spec: &Spec) -> Result<(), Wrong> {
    let name = type_name(spec.kind);
    if matches!(spec.kind, Type::Bind | Type::Tmpfs) {
        let given = [("mode", spec.mode), ("uid", spec.uid), ("gid", spec.gid)];
        if let Some((key, _)) = given.into_iter().find(|(_, value)| value.is_some()) {
            return fail(format!("{key} not allowed for \"{name}\" type mounts"));
        }
    }
    if spec.kind == Type::Secret {
        let has_id = spec.id.as_ref().is_some_and(|id| !id.is_empty());
        if spec.from.is_some() {
            return fail("secret mount should not have a from");
        }
        if spec.sharing.is_some() {
            return fail("secret mount should not define sharing");
        }
        if spec.source.is_empty() && spec.target.is_empty() && !has_id {
            return fail("invalid secret mount. one of source, target required");
        }
        if !spec.source.is_empty() && has_id {
            return fail("both source and id can't be set");
        }
    }
    if spec.kind == Type::Ssh && !spec.source.is_empty() {
        return fail("ssh does not support source");
    }
    if spec.env.is_some() && spec.kind != Type::Secret {
        return not_for("env", spec);
    }
    if spec.sharing.is_some() && spec.kind != Type::Cache {
        return fail(format!("invalid cache sharing set for {name} mount"));
    }
    Ok(())
}

/// Fields between commas; a field in double quotes may hold commas.
pub(super) fn csv(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let field = fields.last_mut().expect("there is always a field");
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            '"' => return Err("a \" inside a field that does not begin with one".into()),
            ',' if !quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    if quoted { Err("a field in quotes does not end".into()) } else { Ok(fields) }
}

/// Bytes as docker writes them: `64m`, `1.5GiB`.
fn bytes(text: &str) -> Option<u64> {
    let number_end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if matches!(unit.as_str(), "" | "b") => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let scale = 1u64 << (10 * power);
    match number.split_once('.') {
        None => number.parse::<u64>().ok()?.checked_mul(scale),
        Some((whole, fraction)) => {
            let digits = fraction.len().min(9);
            let below = fraction.get(..digits)?.parse::<u64>().ok()?.checked_mul(scale)? / 10u64.pow(u32::try_from(digits).ok()?);
            whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(below)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> String {
        match read(text, &mut str::to_owned) {
            Ok(spec) => {
                let Spec { kind, from, source, target, readonly, size, id, sharing, required, env, mode, uid, gid } = spec;
                format!(
                    "{kind:?} {from:?} {source:?} {target:?} ro={readonly} {size:?} {id:?} {sharing:?} {required} {env:?} {mode:?} {uid:?} {gid:?}"
                )
            }
            Err((message, near)) => {
                format!("{message}{}", near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default())
            }
        }
    }

    #[test]
    fn options_are_read() {
        for (text, expected) in [
            ("target=/x", r#"Bind None "" "/x" ro=true None None None false None None None None"#),
            (
                "type=bind,from=a,src=/s,dst=/d,rw",
                r#"Bind Some("a") "/s" "/d" ro=false None None None false None None None None"#,
            ),
            (
                "TYPE=cache,id=i,target=/c,sharing=locked,mode=0700,uid=1,gid=2,ro",
                r#"Cache None "" "/c" ro=true None Some("i") Some(Locked) false None Some(448) Some(1) Some(2)"#,
            ),
            (
                "type=tmpfs,target=/t,size=10m",
                r#"Tmpfs None "" "/t" ro=false Some(10485760) None None false None None None None"#,
            ),
            ("type=secret,id=s,required", r#"Secret None "" "" ro=true None Some("s") None true None None None None"#),
            (r#"type=bind,"target=/a,b""#, r#"Bind None "" "/a,b" ro=true None None None false None None None None"#),
            ("typ=tmpfs", "unexpected key 'typ' in 'typ=tmpfs' (did you mean type?)"),
            ("type=tmp", "unsupported mount type \"tmp\" (did you mean tmpfs?)"),
            ("type=cache,sharing=lock,target=/x", "unsupported sharing value \"lock\" (did you mean locked?)"),
            ("foo", "invalid field 'foo' must be a key=value pair"),
            ("target=/x,mode=0700", "mode not allowed for \"bind\" type mounts"),
            ("type=secret", "invalid secret mount. one of source, target required"),
            ("type=secret,id=a,src=b", "both source and id can't be set"),
            ("sharing=locked,target=/x", "invalid cache sharing set for bind mount"),
            ("type=cache,size=1,target=/x", "unexpected key 'size' for mount type 'cache'"),
            ("ro=maybe,target=/x", "invalid value for ro: maybe"),
            ("type=cache,uid=x,target=/x", "invalid value x for uid"),
            ("type=tmpfs,size=x,target=/x", "invalid value for size: x"),
            ("target=\"x", "failed to parse csv mounts: a \" inside a field that does not begin with one"),
        ] {
            assert_eq!(check(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, expected) in [
            ("10", Some(10)),
            ("1k", Some(1024)),
            ("2MB", Some(2 << 20)),
            ("3GiB", Some(3 << 30)),
            ("1.5m", Some(3 << 19)),
            ("1 g", Some(1 << 30)),
            ("x", None),
            ("", None),
            ("1x", None),
            ("99999999999g", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
