//! Wall time and peak memory of a whole process tree.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Wall time.
    pub(crate) wall: Duration,
    /// Highest sum of resident memory over the process tree, in bytes, sampled every few milliseconds; descendants in other
    /// namespaces included. Pages that processes share are counted for each.
    pub(crate) peak: u64,
}

/// Runs a command and measures it.
pub(crate) fn measure(command: &mut Command) -> Result<Sample> {
    let log = tempfile::tempfile()?;
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?).spawn()?;
    let done = AtomicBool::new(false);
    let pid = child.id();
    let (status, wall, peak) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| sample(pid, &done));
        let status = child.wait();
        let wall = start.elapsed();
        done.store(true, Ordering::Relaxed);
        (status, wall, sampler.join().unwrap_or(0))
    });
    let status = status?;
    if !status.success() {
        let mut log = log;
        let mut text = String::new();
        std::io::Seek::rewind(&mut log)?;
        std::io::Read::read_to_string(&mut log, &mut text).context("log of a failed benchmark")?;
        bail!("`{}` failed: {status}\n{text}", crate::process::line(command));
    }
    Ok(Sample { wall, peak })
}

fn sample(root: u32, done: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !done.load(Ordering::Relaxed) {
        peak = peak.max(tree_resident(root));
        std::thread::sleep(Duration::from_millis(4));
    }
    peak
}

fn tree_resident(root: u32) -> u64 {
    let mut parents = Vec::new();
    for entry in fs_err::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some((parent, resident)) = process(pid) {
            parents.push((pid, parent, resident));
        }
    }
    let mut tree = vec![root];
    let mut sum = 0;
    while let Some(current) = tree.pop() {
        for (pid, parent, resident) in &parents {
            if *pid == current {
                sum += resident;
            }
            if *parent == current {
                tree.push(*pid);
            }
        }
    }
    sum
}

fn process(pid: u32) -> Option<(u32, u64)> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let pages: u64 = fields.get(21)?.parse().ok()?;
    Some((fields.get(1)?.parse().ok()?, pages * 4096))
}

/// The sample with the median wall time; the peak is the median of the peaks.
pub(crate) fn median(samples: &[Sample]) -> Sample {
    let mut walls: Vec<Duration> = samples.iter().map(|sample| sample.wall).collect();
    let mut peaks: Vec<u64> = samples.iter().map(|sample| sample.peak).collect();
    walls.sort();
    peaks.sort_unstable();
    Sample { wall: walls[walls.len() / 2], peak: peaks[peaks.len() / 2] }
}
