//! The table of `docs/benchmarks.md`.

use std::fmt;

use super::measure::Sample;

/// One workload's figures.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) target: &'static str,
    pub(crate) ours: Sample,
    pub(crate) theirs: Sample,
    /// Where one was reached, and it has such a command.
    pub(crate) buildkit: Option<Sample>,
}

impl Row {
    fn ratio(&self, other: &Sample) -> f64 {
        other.wall.as_secs_f64() / self.ours.wall.as_secs_f64()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ours, theirs) = (self.ours.wall.as_secs_f64(), self.theirs.wall.as_secs_f64());
        write!(
            f,
            "rbuild {ours:.3} s, buildah {theirs:.3} s: {:.1} times as fast; peak {}",
            self.ratio(&self.theirs),
            megabytes(self.ours.peak)
        )
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

/// The whole document.
pub(crate) fn markdown(rows: &[Row], repeats: usize, machine: &str) -> String {
    let mut text = format!(
        "# Benchmarks\n\nMade by `cargo xtask bench` on {machine}; median of {repeats} (of as many as 40 s allow for a slow peer), all in one run. Peak memory is the highest sum of \
         resident memory over the whole process tree.\n\n\
         | workload | rbuild | buildah | ratio | BuildKit | ratio | rbuild's peak | buildah's peak | target |\n|---|---|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let buildkit = row.buildkit.as_ref();
        text += &format!(
            "| `{}`: {} | {:.3} s | {:.3} s | {:.1} | {} | {} | {} | {} | {} |\n",
            row.name,
            row.what,
            row.ours.wall.as_secs_f64(),
            row.theirs.wall.as_secs_f64(),
            row.ratio(&row.theirs),
            buildkit.map_or("-".to_owned(), |sample| format!("{:.3} s", sample.wall.as_secs_f64())),
            buildkit.map_or("-".to_owned(), |sample| format!("{:.1}", row.ratio(sample))),
            megabytes(row.ours.peak),
            megabytes(row.theirs.peak),
            row.target,
        );
    }
    text
}
