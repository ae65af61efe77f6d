//! Users and groups of an image, by the rules of docker (spec G-22). Pure: takes the bytes of /etc/passwd and /etc/group.

use crate::error::ExecutorError;

/// Largest /etc/passwd or /etc/group that is read, in bytes.
pub const MAX_DATABASE_BYTES: u64 = 10 << 20;

/// Largest uid or gid that docker accepts.
const MAX_ID: u32 = i32::MAX.cast_unsigned();

/// Who a command runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups, in the order of /etc/group.
    pub groups: Vec<u32>,
    /// From passwd, else `/`.
    pub home: String,
}

/// One line of /etc/passwd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswdEntry {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Home directory; may be empty.
    pub home: String,
}

/// Resolves `user`, `user:group`, `uid`, `uid:gid` and mixtures; empty means uid 0.
///
/// A number is always an id, never a name. An explicit group replaces the primary group and drops the supplementary ones. A uid without
/// an entry has gid 0. Files that do not exist are passed as empty.
pub fn resolve_user(passwd: &[u8], group: &[u8], spec: &str) -> Result<ResolvedUser, ExecutorError> {
    let (user, explicit_group) = match spec.split_once(':') {
        Some((user, group)) => (user, (!group.is_empty()).then_some(group)),
        None => (spec, None),
    };
    let entry = if user.is_empty() {
        user_by_id(passwd, 0)
    } else if let Some(uid) = id(user) {
        user_by_id(passwd, uid)
    } else {
        Some(user_by_name(passwd, user).ok_or_else(|| ExecutorError::UnknownUser(user.to_owned()))?)
    };
    let gid = match explicit_group {
        Some(name) => Some(group_id(group, name)?),
        None => None,
    };
    let groups = match (&entry, gid) {
        (Some(entry), None) => groups_of(group, &entry.name),
        (None, _) | (_, Some(_)) => Vec::new(),
    };
    let (uid, primary, home) = match entry {
        Some(entry) => (entry.uid, entry.gid, entry.home),
        None => (id(user).unwrap_or(0), 0, String::new()),
    };
    let home = if home.is_empty() { "/".to_owned() } else { home };
    Ok(ResolvedUser { uid, gid: gid.unwrap_or(primary), groups, home })
}

/// The first user of this name.
pub fn user_by_name(passwd: &[u8], name: &str) -> Option<PasswdEntry> {
    passwd_entries(passwd).find(|entry| entry.name == name)
}

/// The first user with this id.
pub fn user_by_id(passwd: &[u8], uid: u32) -> Option<PasswdEntry> {
    passwd_entries(passwd).find(|entry| entry.uid == uid)
}

/// The id of the first group of this name.
pub fn group_by_name(group: &[u8], name: &str) -> Option<u32> {
    group_entries(group).find(|entry| entry.name == name).map(|entry| entry.gid)
}

fn group_id(group: &[u8], name: &str) -> Result<u32, ExecutorError> {
    id(name).or_else(|| group_by_name(group, name)).ok_or_else(|| ExecutorError::UnknownGroup(name.to_owned()))
}

fn groups_of(group: &[u8], user: &str) -> Vec<u32> {
    group_entries(group).filter(|entry| entry.members.split(',').any(|member| member == user)).map(|entry| entry.gid).collect()
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Lines without a numeric uid and gid are no entries: reading them as 0, as docker does, would make root of a typing error.
fn passwd_entries(passwd: &[u8]) -> impl Iterator<Item = PasswdEntry> {
    lines(passwd).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        let home = fields.nth(1).unwrap_or("");
        Some(PasswdEntry { name: name.to_owned(), uid, gid, home: home.to_owned() })
    })
}

fn group_entries(group: &[u8]) -> impl Iterator<Item = GroupEntry<'_>> {
    lines(group).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = id(fields.nth(1)?)?;
        Some(GroupEntry { name, gid, members: fields.next().unwrap_or("") })
    })
}

/// Lines that are not UTF-8 are skipped: no user of a spec can name them.
fn lines(database: &[u8]) -> impl Iterator<Item = &str> {
    database
        .split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .map(str::trim)
        .filter(|line| !line.is_empty())
}

fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id <= MAX_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\n\nbroken\nodd:x:zero:0::/:\napp:x:1000:1001:App,,,:/home/app:/bin/sh\n\
        app:x:7:7::/second:\nbare:x:5:6\n1234:x:42:43::/numeric:/bin/sh\n\xff\xfe:x:9:9::/:\nlast:x:77:78::/last:/bin/sh";
    const GROUP: &[u8] =
        b"root:x:0:root\nwheel:x:10:root,app\napp:x:1001:\naudio:x:29:app\nvideo:x:44:application\nbroken:x:y:app\n";

    #[track_caller]
    fn check(spec: &str, expected: Result<(u32, u32, &[u32], &str), &str>) {
        let found = resolve_user(PASSWD, GROUP, spec).map_err(|error| error.to_string());
        let expected = expected
            .map(|(uid, gid, groups, home)| ResolvedUser { uid, gid, groups: groups.to_vec(), home: home.to_owned() })
            .map_err(str::to_owned);
        assert_eq!(found, expected, "{spec}");
    }

    #[test]
    fn users() {
        check("", Ok((0, 0, &[0, 10], "/root")));
        check("root", Ok((0, 0, &[0, 10], "/root")));
        check("app", Ok((1000, 1001, &[10, 29], "/home/app")));
        check("app:", Ok((1000, 1001, &[10, 29], "/home/app")));
        check("app:wheel", Ok((1000, 10, &[], "/home/app")));
        check("app:99", Ok((1000, 99, &[], "/home/app")));
        check("1000", Ok((1000, 1001, &[10, 29], "/home/app")));
        check("1000:1000", Ok((1000, 1000, &[], "/home/app")));
        check("1234", Ok((1234, 0, &[], "/")));
        check("1234:5678", Ok((1234, 5678, &[], "/")));
        check("1234:audio", Ok((1234, 29, &[], "/")));
        check("bare", Ok((5, 6, &[], "/")));
        check("last", Ok((77, 78, &[], "/last")));
        check(":wheel", Ok((0, 10, &[], "/root")));
    }

    #[test]
    fn unknown() {
        let user = |name: &str| format!("unable to find user {name}: no matching entries in passwd file");
        check("nobody", Err(&user("nobody")));
        check("odd", Err(&user("odd")));
        check("broken", Err(&user("broken")));
        check("4294967295", Err(&user("4294967295")));
        check("-1", Err(&user("-1")));
        check("app:nogroup", Err("unable to find group nogroup: no matching entries in group file"));
        check("app:broken", Err("unable to find group broken: no matching entries in group file"));
    }

    #[test]
    fn without_files() {
        let found = resolve_user(b"", b"", "").expect("root needs no entry");
        assert_eq!(found, ResolvedUser { uid: 0, gid: 0, groups: Vec::new(), home: "/".to_owned() });
        assert!(resolve_user(b"", b"", "app").is_err());
    }

    #[test]
    fn by_name() {
        assert_eq!(user_by_name(PASSWD, "app").map(|entry| entry.uid), Some(1000));
        assert_eq!(user_by_id(PASSWD, 42).map(|entry| entry.name), Some("1234".to_owned()));
        assert_eq!(group_by_name(GROUP, "audio"), Some(29));
        assert_eq!(group_by_name(GROUP, "broken"), None);
    }
}
