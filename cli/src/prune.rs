//! `rbuild prune` and `rbuild du`.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;

use jiff::Timestamp;
use rbuild_store::{PruneOptions, Usage, UsageKind};

use crate::args::{DiskUsageArgs, Global, PruneArgs};
use crate::failure::{Failure, note, print};
use crate::{human, state, table};

/// Removes what nothing needs. Asks first when somebody sits there.
pub(crate) fn prune(global: &Global, typed: &PruneArgs) -> Result<ExitCode, Failure> {
    if !typed.force && !confirmed(typed.all) {
        return Ok(ExitCode::SUCCESS);
    }
    let report = state::open_store(global)?.prune(&PruneOptions { all: typed.all })?;
    let mut text = String::new();
    for (kind, count, size) in totals(&report.deleted) {
        text.push_str(&format!("Deleted {count} {}, {}\n", plural(kind, count), human::size(size)));
    }
    text.push_str(&format!("Total reclaimed space: {}\n", human::size(report.reclaimed)));
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn confirmed(all: bool) -> bool {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return true;
    }
    let what = if all {
        "images without a name and every cached result that no named image needs"
    } else {
        "images without a name and garbage"
    };
    note(&format!("This removes {what}. Go on? [y/N]"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).is_ok_and(|_| ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// Shows what takes space: a line for each kind, or for each thing.
pub(crate) fn disk_usage(global: &Global, typed: &DiskUsageArgs) -> Result<ExitCode, Failure> {
    let usage = state::open_store(global)?.usage()?;
    let rows = if typed.verbose { each(&usage, Timestamp::now()) } else { summary(&usage) };
    print(&table::render(&rows))?;
    Ok(ExitCode::SUCCESS)
}

fn summary(usage: &[Usage]) -> Vec<Vec<String>> {
    let mut rows = vec![["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"].map(str::to_owned).to_vec()];
    for (kind, total, size) in totals(usage) {
        let active = usage.iter().filter(|one| one.kind == kind && one.in_use);
        let kept: u64 = active.clone().map(|one| one.size).sum();
        let reclaimable = size - kept;
        let percent = (reclaimable * 100).checked_div(size).unwrap_or(0);
        rows.push(vec![
            title(kind).to_owned(),
            total.to_string(),
            active.count().to_string(),
            human::size(size),
            format!("{} ({percent}%)", human::size(reclaimable)),
        ]);
    }
    rows
}

fn each(usage: &[Usage], now: Timestamp) -> Vec<Vec<String>> {
    let mut rows = vec![["ID", "TYPE", "RECLAIMABLE", "SHARED", "SIZE", "LAST USED", "DESCRIPTION"].map(str::to_owned).to_vec()];
    for one in usage {
        let Usage { kind, id, size, created: _, last_used, in_use, shared, description } = one;
        let used = Timestamp::from_nanosecond(i128::from(*last_used)).ok().filter(|_| *last_used > 0);
        rows.push(vec![
            table::ellipsis(id.strip_prefix("sha256:").unwrap_or(id), 12),
            title(*kind).to_owned(),
            (!in_use).to_string(),
            shared.to_string(),
            human::size(*size),
            used.map(|used| human::ago(used, now)).unwrap_or_default(),
            table::ellipsis(description, 60),
        ]);
    }
    rows
}

/// Count and bytes of each kind that there is.
fn totals(usage: &[Usage]) -> Vec<(UsageKind, u64, u64)> {
    let mut totals: BTreeMap<UsageKind, (u64, u64)> = BTreeMap::new();
    for one in usage {
        let total = totals.entry(one.kind).or_default();
        *total = (total.0 + 1, total.1 + one.size);
    }
    totals.into_iter().map(|(kind, (count, size))| (kind, count, size)).collect()
}

fn title(kind: UsageKind) -> &'static str {
    match kind {
        UsageKind::Blob => "Blobs",
        UsageKind::Snapshot => "Snapshots",
        UsageKind::CacheMount => "Cache mounts",
        UsageKind::Context => "Context memos",
        UsageKind::Log => "Logs",
        UsageKind::Garbage => "Garbage",
    }
}

fn plural(kind: UsageKind, count: u64) -> String {
    let title = title(kind).to_lowercase();
    if count == 1 && kind != UsageKind::Garbage { title.trim_end_matches('s').to_owned() } else { title }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(kind: UsageKind, size: u64, in_use: bool) -> Usage {
        let id = "0123456789abcdef".to_owned();
        Usage { kind, id, size, created: 0, last_used: 0, in_use, shared: false, description: "a step".to_owned() }
    }

    #[test]
    fn the_summary_has_a_line_for_each_kind() {
        let all = [
            usage(UsageKind::Blob, 1_000, true),
            usage(UsageKind::Snapshot, 3_000_000, false),
            usage(UsageKind::Snapshot, 1_000_000, true),
        ];
        insta::assert_snapshot!(table::render(&summary(&all)), @r"
        TYPE        TOTAL   ACTIVE   SIZE   RECLAIMABLE
        Blobs       1       1        1kB    0B (0%)
        Snapshots   2       1        4MB    3MB (75%)
        ");
        let now = Timestamp::from_second(1).unwrap();
        insta::assert_snapshot!(table::render(&each(&all[..1], now)), @r"
        ID             TYPE    RECLAIMABLE   SHARED   SIZE   LAST USED   DESCRIPTION
        0123456789a…   Blobs   false         false    1kB                a step
        ");
    }

    #[test]
    fn words_are_singular_where_there_is_one() {
        assert_eq!(plural(UsageKind::Blob, 1), "blob");
        assert_eq!(plural(UsageKind::CacheMount, 2), "cache mounts");
        assert_eq!(plural(UsageKind::Garbage, 1), "garbage");
    }
}
