//! Owners by name: looked up in the passwd and group files of the state that is written to (spec G-48).

use std::path::Path;

use rbuild_executor::{MAX_DATABASE_BYTES, group_by_name, user_by_name};
use rbuild_graph::{Owner, UserName};
use rbuild_snapshotter::SnapshotWriter;

use crate::WorkError;
use crate::error::NameKind;
use crate::similar::similar;

/// User and group id of an owner; `None` is 0:0.
pub(crate) fn resolve_owner(writer: &SnapshotWriter, owner: Option<&Owner>) -> Result<(u32, u32), WorkError> {
    let Some(Owner { user, group }) = owner else { return Ok((0, 0)) };
    let (uid, primary) = match user {
        UserName::Id(uid) => (*uid, *uid),
        UserName::Name(name) => {
            let passwd = read(writer, "/etc/passwd")?;
            match user_by_name(&passwd, name) {
                Some(entry) => (entry.uid, entry.gid),
                None => root_or_unknown(name, NameKind::User, &passwd).map(|id| (id, id))?,
            }
        }
    };
    let gid = match group {
        None => primary,
        Some(UserName::Id(gid)) => *gid,
        Some(UserName::Name(name)) => {
            let groups = read(writer, "/etc/group")?;
            match group_by_name(&groups, name) {
                Some(gid) => gid,
                None => root_or_unknown(name, NameKind::Group, &groups)?,
            }
        }
    };
    Ok((uid, gid))
}

/// `root` is 0 also where there is no passwd file (`USER root` on scratch).
fn root_or_unknown(name: &str, kind: NameKind, database: &[u8]) -> Result<u32, WorkError> {
    if name == "root" {
        return Ok(0);
    }
    let text = String::from_utf8_lossy(database);
    let names = text.lines().filter_map(|line| line.split(':').next());
    Err(WorkError::UnknownName { kind, name: name.to_owned(), similar: similar(name, names) })
}

fn read(writer: &SnapshotWriter, path: &'static str) -> Result<Vec<u8>, WorkError> {
    let path = Path::new(path);
    let bytes = writer.read(path, MAX_DATABASE_BYTES).map_err(|source| WorkError::Write {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    Ok(bytes.unwrap_or_default())
}
