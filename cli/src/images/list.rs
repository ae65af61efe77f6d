//! `rbuild images`.

use std::process::ExitCode;

use jiff::Timestamp;
use rbuild_exporter::StoredImage;
use rbuild_oci::Reference;
use rbuild_store::ImageRow;
use serde_json::{Value, json};

use super::{layer_sizes, short_id, wants_json};
use crate::args::{Global, ListArgs};
use crate::failure::{Failure, note, print};
use crate::state::State;
use crate::{human, table};

/// One line of the list.
struct Line {
    repository: String,
    tag: String,
    id: String,
    digest: String,
    created: Option<Timestamp>,
    size: u64,
}

/// Runs the command. `-a` changes nothing, because nothing is hidden: steps of a build are not images here.
pub(crate) fn list(global: &Global, typed: &ListArgs) -> Result<ExitCode, Failure> {
    let json = wants_json(typed.format.as_deref())?;
    let wanted = typed.name.as_deref().map(Wanted::parse).transpose()?;
    let state = State::open(global)?;
    let mut lines = Vec::new();
    for row in state.store.images()? {
        if wanted.as_ref().is_some_and(|wanted| !wanted.matches(&row)) {
            continue;
        }
        match rbuild_exporter::stored(&state.snapshotter, &row.manifest) {
            Ok(image) => lines.push(Line::new(&state, &row, &image, typed.no_trunc)?),
            Err(error) => note(&format!("warning: image {} is damaged: {error}", row.manifest)),
        }
    }
    let now = Timestamp::now();
    if typed.quiet {
        print(&ids(&lines))?;
    } else if json {
        print(&lines.iter().map(|line| format!("{}\n", line.json(now))).collect::<String>())?;
    } else {
        let header = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"].map(str::to_owned).to_vec();
        let rows: Vec<Vec<String>> = std::iter::once(header).chain(lines.iter().map(|line| line.cells(now))).collect();
        print(&table::render(&rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Each id once, as docker prints it.
fn ids(lines: &[Line]) -> String {
    let mut ids: Vec<&str> = Vec::new();
    for line in lines {
        if !ids.contains(&line.id.as_str()) {
            ids.push(&line.id);
        }
    }
    ids.into_iter().map(|id| format!("{id}\n")).collect()
}

/// `REPOSITORY[:TAG]` to show.
struct Wanted {
    name: String,
    tag: Option<String>,
}

impl Wanted {
    fn parse(word: &str) -> Result<Wanted, Failure> {
        let reference: Reference = word.parse().map_err(Failure::usage)?;
        // A name without a tag means all tags, not `latest`.
        let has_tag = word.rsplit('/').next().is_some_and(|last| last.contains(':'));
        Ok(Wanted { name: reference.name(), tag: reference.tag().filter(|_| has_tag).map(str::to_owned) })
    }

    fn matches(&self, row: &ImageRow) -> bool {
        row.reference.as_ref().is_some_and(|reference| {
            reference.name() == self.name && self.tag.as_deref().is_none_or(|tag| reference.tag() == Some(tag))
        })
    }
}

impl Line {
    fn new(state: &State, row: &ImageRow, image: &StoredImage, whole: bool) -> Result<Line, Failure> {
        let none = || "<none>".to_owned();
        Ok(Line {
            repository: row.reference.as_ref().map_or_else(none, Reference::familiar_name),
            tag: row.reference.as_ref().and_then(Reference::tag).map_or_else(none, str::to_owned),
            id: short_id(&image.config, whole),
            digest: image.manifest.to_string(),
            created: image.image_config.created.as_deref().and_then(|text| text.parse().ok()),
            size: layer_sizes(&state.store, image)?.iter().sum(),
        })
    }

    fn since(&self, now: Timestamp) -> String {
        self.created.map_or_else(|| "N/A".to_owned(), |created| human::ago(created, now))
    }

    fn cells(&self, now: Timestamp) -> Vec<String> {
        vec![self.repository.clone(), self.tag.clone(), self.id.clone(), self.since(now), human::size(self.size)]
    }

    /// Docker's keys.
    fn json(&self, now: Timestamp) -> Value {
        let at =
            self.created.map_or_else(|| "N/A".to_owned(), |time| format!("{} +0000 UTC", time.strftime("%Y-%m-%d %H:%M:%S")));
        json!({
            "Containers": "N/A",
            "CreatedAt": at,
            "CreatedSince": self.since(now),
            "Digest": self.digest,
            "ID": self.id,
            "Repository": self.repository,
            "SharedSize": "N/A",
            "Size": human::size(self.size),
            "Tag": self.tag,
            "UniqueSize": "N/A",
            "VirtualSize": human::size(self.size),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            repository: "app".to_owned(),
            tag: "1".to_owned(),
            id: "0123456789ab".to_owned(),
            digest: "sha256:ff".to_owned(),
            created: Some(Timestamp::from_second(1_700_000_000).unwrap()),
            size: 7_380_000,
        }
    }

    #[test]
    fn lines_have_dockers_cells_and_keys() {
        let now = Timestamp::from_second(1_700_000_000 + 3 * 86400).unwrap();
        assert_eq!(line().cells(now), ["app", "1", "0123456789ab", "3 days ago", "7.38MB"]);
        insta::assert_snapshot!(line().json(now));
        assert_eq!(ids(&[line(), line()]), "0123456789ab\n");
    }

    #[test]
    fn a_name_without_tag_means_all_tags() {
        let row =
            |name: &str| ImageRow { reference: Some(name.parse().unwrap()), manifest: rbuild_oci::Digest::of(b""), created: 0 };
        assert!(Wanted::parse("app").unwrap().matches(&row("app:2")));
        assert!(Wanted::parse("app:2").unwrap().matches(&row("app:2")));
        assert!(!Wanted::parse("app:latest").unwrap().matches(&row("app:2")));
        assert!(!Wanted::parse("app").unwrap().matches(&row("other/app")));
        assert!(Wanted::parse("localhost:5000/app").unwrap().matches(&row("localhost:5000/app:3")));
    }
}
