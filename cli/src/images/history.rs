//! `rbuild history`.

use std::process::ExitCode;

use jiff::Timestamp;
use rbuild_oci::History;
use serde_json::{Value, json};

use super::{find, layer_sizes, short_id, wants_json};
use crate::args::{Global, HistoryArgs};
use crate::failure::{Failure, print};
use crate::state::State;
use crate::{human, table};

/// Characters of an instruction that are shown, as docker's.
const SHOWN: usize = 45;

/// Runs the command: newest first; only the last entry has an id, because steps are not images.
pub(crate) fn history(global: &Global, typed: &HistoryArgs) -> Result<ExitCode, Failure> {
    let json = wants_json(typed.format.as_deref())?;
    let state = State::open(global)?;
    let image = rbuild_exporter::stored(&state.snapshotter, &find::image(&state, &typed.image)?)?;
    let mut sizes = layer_sizes(&state.store, &image)?.into_iter();
    let sizes: Vec<u64> =
        image.image_config.history.iter().map(|entry| if entry.empty_layer { 0 } else { sizes.next().unwrap_or(0) }).collect();
    let id = short_id(&image.config, typed.no_trunc);
    let now = Timestamp::now();
    let lines: Vec<Line> = image
        .image_config
        .history
        .iter()
        .zip(sizes)
        .rev()
        .enumerate()
        .map(|(at, (entry, size))| Line::new(entry, size, if at == 0 { &id } else { "<missing>" }, typed.no_trunc))
        .collect();
    let text = if typed.quiet {
        lines.iter().map(|line| format!("{}\n", line.id)).collect()
    } else if json {
        lines.iter().map(|line| format!("{}\n", line.json(now))).collect()
    } else {
        let header = ["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"].map(str::to_owned).to_vec();
        let rows: Vec<Vec<String>> = std::iter::once(header).chain(lines.iter().map(|line| line.cells(now))).collect();
        table::render(&rows)
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// One entry as shown.
struct Line {
    id: String,
    created: Option<Timestamp>,
    created_by: String,
    size: u64,
    comment: String,
}

impl Line {
    fn new(entry: &History, size: u64, id: &str, whole: bool) -> Line {
        let by = entry.created_by.clone().unwrap_or_default().replace('\t', " ");
        Line {
            id: id.to_owned(),
            created: entry.created.as_deref().and_then(|text| text.parse().ok()),
            created_by: if whole { by } else { table::ellipsis(&by.replace('\n', " "), SHOWN) },
            size,
            comment: entry.comment.clone().unwrap_or_default(),
        }
    }

    fn since(&self, now: Timestamp) -> String {
        self.created.map_or_else(|| "N/A".to_owned(), |created| human::ago(created, now))
    }

    fn cells(&self, now: Timestamp) -> Vec<String> {
        vec![self.id.clone(), self.since(now), self.created_by.clone(), human::size(self.size), self.comment.clone()]
    }

    fn json(&self, now: Timestamp) -> Value {
        json!({
            "Comment": self.comment,
            "CreatedAt": self.created.map(|time| time.to_string()).unwrap_or_default(),
            "CreatedBy": self.created_by,
            "CreatedSince": self.since(now),
            "ID": self.id,
            "Size": human::size(self.size),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_instructions_are_cut() {
        let entry = History {
            created: Some("2023-11-14T22:13:20Z".to_owned()),
            created_by: Some(format!("RUN /bin/sh -c {}", "x".repeat(60))),
            comment: Some("buildkit.dockerfile.v0".to_owned()),
            ..History::default()
        };
        let now = Timestamp::from_second(1_700_000_000 + 60).unwrap();
        let line = Line::new(&entry, 1_000, "<missing>", false);
        assert_eq!(line.created_by.chars().count(), SHOWN);
        assert_eq!(line.cells(now)[1], "About a minute ago");
        assert!(Line::new(&entry, 0, "x", true).created_by.ends_with("xx"));
    }
}
