//! Owners by name: looked up in the passwd and group files of the state that is written to (spec G-48).

use std::path::Path;

use rbuild_graph::{Owner, UserName};
use rbuild_snapshotter::SnapshotWriter;

use crate::WorkError;
use crate::error::NameKind;
use crate::similar::similar;

/// Largest passwd or group file that is read (as in BuildKit).
const LIMIT: u64 = 10 << 20;

/// User and group id of an owner; `None` is 0:0.
pub(crate) fn resolve_owner(writer: &SnapshotWriter, owner: Option<&Owner>) -> Result<(u32, u32), WorkError> {
    let Some(Owner { user, group }) = owner else { return Ok((0, 0)) };
    let (uid, primary) = match user {
        UserName::Id(uid) => (*uid, *uid),
        UserName::Name(name) => {
            let passwd = read(writer, "/etc/passwd")?;
            let mut users = passwd.lines().filter_map(user_line);
            match users.find(|(user, _, _)| user == name) {
                Some((_, uid, gid)) => (uid, gid),
                None => root_or_unknown(name, NameKind::User, &passwd).map(|id| (id, id))?,
            }
        }
    };
    let gid = match group {
        None => primary,
        Some(UserName::Id(gid)) => *gid,
        Some(UserName::Name(name)) => {
            let groups = read(writer, "/etc/group")?;
            match groups.lines().filter_map(group_line).find(|(group, _)| group == name) {
                Some((_, gid)) => gid,
                None => root_or_unknown(name, NameKind::Group, &groups)?,
            }
        }
    };
    Ok((uid, gid))
}

/// `name:password:uid:gid:…`; a line that is something else is passed over.
fn user_line(line: &str) -> Option<(&str, u32, u32)> {
    let mut fields = line.trim().split(':');
    let name = fields.next()?;
    let uid = fields.nth(1)?.parse().ok()?;
    Some((name, uid, fields.next()?.parse().ok()?))
}

/// `name:password:gid:members`
fn group_line(line: &str) -> Option<(&str, u32)> {
    let mut fields = line.trim().split(':');
    let name = fields.next()?;
    Some((name, fields.nth(1)?.parse().ok()?))
}

/// `root` is 0 also where there is no passwd file (`USER root` on scratch).
fn root_or_unknown(name: &str, kind: NameKind, text: &str) -> Result<u32, WorkError> {
    if name == "root" {
        return Ok(0);
    }
    let names = text.lines().filter_map(|line| line.split(':').next());
    Err(WorkError::UnknownName { kind, name: name.to_owned(), similar: similar(name, names) })
}

fn read(writer: &SnapshotWriter, path: &'static str) -> Result<String, WorkError> {
    let path = Path::new(path);
    let bytes = writer.read(path, LIMIT).map_err(|source| WorkError::Write { action: "read", path: path.to_owned(), source })?;
    Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
}
