//! An image's history and creation time: completed so that entries and layers agree (BuildKit's normalizeLayersAndHistory).
//!
//! Pure. 1. More entries with a layer than layers: the later ones are marked empty. 2. Fewer: one is appended for each layer
//! that has none. 3. An entry with a layer and no time gets its layer's. 4. The others without a time get that of the first
//! new layer, or else of the previous entry. 5. With an epoch nothing is later than it, but for the base's own entries.

use jiff::Timestamp;
use rbuild_oci::History;

/// What is known of a layer beside its bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct LayerOrigin {
    /// When it was made, nanoseconds since the epoch; `None` for a base's.
    pub(crate) created: Option<i64>,
    /// What made it.
    pub(crate) description: String,
}

/// An entry and, if this build made its layer, the layer's position among the own ones.
pub(crate) type Entry = (History, Option<usize>);

/// Completes a history. `layers` are all layers, base first, of which `own` (from which position on) are new.
///
/// The base's own entries are the leading ones that have a time and no layer of this build: the frontend leaves the time of new
/// entries open.
pub(crate) fn complete(entries: &[Entry], layers: &[LayerOrigin], own: usize, epoch: Option<i64>) -> Vec<History> {
    let mut completed = entries.to_vec();
    mark_surplus(&mut completed, layers.len());
    append_missing(&mut completed, layers);
    fill_from_layers(&mut completed, layers, own);
    let mut history: Vec<History> = completed.into_iter().map(|(entry, _)| entry).collect();
    fill_others(&mut history);
    if let Some(epoch) = epoch {
        let unchanged = base_entries(entries).zip(&history).take_while(|(base, entry)| base == entry).count();
        clamp(&mut history[unchanged..], epoch);
    }
    history
}

/// The image's creation time: the configuration's own unless it is later than the epoch, else the last of the history.
pub(crate) fn image_created(own: Option<&str>, history: &[History], epoch: Option<i64>) -> Option<String> {
    let own = own.filter(|own| epoch.is_none_or(|epoch| !is_later(own, epoch)));
    let last = || history.iter().rev().find_map(|entry| entry.created.clone());
    own.map(str::to_owned).or_else(last)
}

fn base_entries(entries: &[Entry]) -> impl Iterator<Item = &History> {
    entries.iter().take_while(|(entry, layer)| entry.created.is_some() && layer.is_none()).map(|(entry, _)| entry)
}

fn mark_surplus(entries: &mut [Entry], layers: usize) {
    let with_layer = entries.iter_mut().filter(|(entry, _)| !entry.empty_layer);
    for (entry, _) in with_layer.skip(layers) {
        entry.empty_layer = true;
    }
}

fn append_missing(entries: &mut Vec<Entry>, layers: &[LayerOrigin]) {
    let with_layer = entries.iter().filter(|(entry, _)| !entry.empty_layer).count();
    for layer in layers.iter().skip(with_layer) {
        let entry = History {
            created: layer.created.map(nanoseconds),
            created_by: Some(layer.description.clone()).filter(|text| !text.is_empty()),
            comment: Some("buildkit.exporter.image.v0".into()),
            ..History::default()
        };
        entries.push((entry, None));
    }
}

fn fill_from_layers(entries: &mut [Entry], layers: &[LayerOrigin], own: usize) {
    let with_layer = entries.iter_mut().filter(|(entry, _)| !entry.empty_layer);
    for (position, (entry, made)) in with_layer.enumerate() {
        let layer = layers.get(made.map_or(position, |made| own + made));
        if entry.created.is_none() {
            entry.created = layer.and_then(|layer| layer.created).map(nanoseconds);
        }
    }
}

fn fill_others(history: &mut [History]) {
    let first_open = history.iter().position(|entry| entry.created.is_none()).unwrap_or(history.len());
    let (before, after) = history.split_at(first_open);
    let new = after.iter().find_map(|entry| entry.created.clone());
    let mut created = new.or_else(|| before.last().and_then(|entry| entry.created.clone()));
    for entry in &mut history[first_open..] {
        match &entry.created {
            Some(time) => created = Some(time.clone()),
            None => entry.created.clone_from(&created),
        }
    }
}

fn clamp(history: &mut [History], epoch: i64) {
    for entry in history {
        if entry.created.as_ref().is_none_or(|created| is_later(created, epoch)) {
            entry.created = Some(seconds(epoch));
        }
    }
}

/// Whether a time as written is later than the epoch in seconds; what is no time is.
fn is_later(text: &str, epoch: i64) -> bool {
    let epoch = Timestamp::from_second(epoch).unwrap_or(Timestamp::MAX);
    text.parse::<Timestamp>().map_or(true, |time| time > epoch)
}

fn seconds(epoch: i64) -> String {
    Timestamp::from_second(epoch).unwrap_or(Timestamp::MAX).to_string()
}

/// RFC 3339 with as many digits of the second as needed, as Go writes it.
fn nanoseconds(time: i64) -> String {
    Timestamp::from_nanosecond(i128::from(time)).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry as text: `name`, `name!` (empty), `name@time`, `name=layer`.
    fn entry(text: &str) -> Entry {
        let (text, layer) = text.split_once('=').map_or((text, None), |(text, layer)| (text, layer.parse().ok()));
        let (text, created) =
            text.split_once('@').map_or((text, None), |(text, time)| (text, Some(format!("2020-01-01T00:00:{time}Z"))));
        let name = text.strip_suffix('!');
        let created_by = Some(name.unwrap_or(text).to_owned());
        (History { created, created_by, empty_layer: name.is_some(), ..History::default() }, layer)
    }

    fn show(history: &[History]) -> String {
        let line = |entry: &History| {
            let time = entry.created.as_deref().map_or("-", |created| &created[17..created.len() - 1]);
            let mark = if entry.empty_layer { "!" } else { "" };
            format!("{}{mark}@{time}", entry.created_by.as_deref().unwrap_or("?"))
        };
        history.iter().map(line).collect::<Vec<_>>().join(" ")
    }

    /// 2020-01-01T00:00:00Z
    const DAY: i64 = 1_577_836_800;

    /// `layers`: seconds of the new ones after `base` of the base image.
    fn check(entries: &str, base: usize, layers: &[i64], epoch: Option<i64>, expected: &str) {
        let entries: Vec<Entry> = entries.split_whitespace().map(entry).collect();
        let mut origins = vec![LayerOrigin::default(); base];
        origins.extend(layers.iter().map(|second| {
            let created = Some((DAY + second) * 1_000_000_000);
            LayerOrigin { created, description: format!("made{second}") }
        }));
        assert_eq!(show(&complete(&entries, &origins, base, epoch.map(|second| DAY + second))), expected);
    }

    #[test]
    fn times_come_from_layers_and_neighbours() {
        check("", 0, &[], None, "");
        check("a=0 b=1", 0, &[10, 20], None, "a@10 b@20");
        check("base@01 env! run=0 cmd!", 1, &[10], None, "base@01 env!@10 run@10 cmd!@10");
        check("base@01 env! cmd!", 1, &[], None, "base@01 env!@01 cmd!@01");
        check("run=0 cmd! run=1 cmd!", 0, &[10, 20], None, "run@10 cmd!@20 run@20 cmd!@20");
        check("env! run=0 cmd! run=1", 0, &[10, 20], None, "env!@10 run@10 cmd!@10 run@20");
        check("base@01 label! base@05 cmd!", 2, &[], None, "base@01 label!@05 base@05 cmd!@05");
        check("base env!", 1, &[], None, "base@- env!@-");
    }

    #[test]
    fn entries_and_layers_are_made_to_agree() {
        check("a@01 b@02 c@03", 2, &[], None, "a@01 b@02 c!@03");
        check("", 0, &[10, 20], None, "made10@10 made20@20");
        check("base@01", 1, &[10, 20], None, "base@01 made10@10 made20@20");
        check("run=0", 1, &[10], None, "run@10 made10@10");
        check("env!", 0, &[10], None, "env!@10 made10@10");
    }

    #[test]
    fn the_epoch_bounds_what_is_new() {
        check("base@30 env! run=0", 1, &[40], Some(20), "base@30 env!@20 run@20");
        check("base@30 run=0", 1, &[10], Some(20), "base@30 run@10");
        check("base@30 b@40", 1, &[], Some(20), "base@30 b!@20");
        check("base@30 old@05 run=0", 2, &[40], Some(20), "base@30 old@05 run@20");
    }

    #[test]
    fn the_image_is_as_old_as_its_last_entry() {
        let history: Vec<History> = ["a@01", "b@02", "c!"].map(|text| entry(text).0).into();
        let at = |second: u32| Some(format!("2020-01-01T00:00:{second:02}Z"));
        assert_eq!(image_created(None, &history, None), at(2));
        assert_eq!(image_created(at(9).as_deref(), &history, None), at(9));
        assert_eq!(image_created(at(9).as_deref(), &history, Some(DAY + 9)), at(9));
        assert_eq!(image_created(at(9).as_deref(), &history, Some(DAY + 8)), at(2));
        assert_eq!(image_created(None, &[], None), None);
    }

    #[test]
    fn times_are_written_as_go_does() {
        assert_eq!(nanoseconds(DAY * 1_000_000_000), "2020-01-01T00:00:00Z");
        assert_eq!(nanoseconds(DAY * 1_000_000_000 + 120_000_000), "2020-01-01T00:00:00.12Z");
        assert_eq!(nanoseconds(-1), "1969-12-31T23:59:59.999999999Z");
        assert!(is_later("2020-01-01T02:00:00+01:00", DAY) && !is_later("2020-01-01T01:00:00+01:00", DAY));
        assert!(is_later("nonsense", DAY));
    }
}
