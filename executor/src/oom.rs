//! Whether the kernel's OOM killer ended a command. Its victims look like any other process that got SIGKILL, and only a cgroup of its own
//! with the memory controller would name them; a counter of the whole system tells whether it was at work at all.

use fs_err as fs;

use crate::process::ExitStatus;

/// A shell's exit code when its child died by SIGKILL.
const SHELL_KILLED: i32 = 128 + libc::SIGKILL;

/// `oom_kill` of /proc/vmstat (Linux 4.13), which counts victims of the system's and of cgroups' limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KillCounter(Option<u64>);

impl KillCounter {
    pub(crate) fn read() -> KillCounter {
        KillCounter(fs::read_to_string("/proc/vmstat").ok().and_then(|text| parse(&text)))
    }

    /// Whether an end like `status`, not asked for by us, has to be put down to memory, given the counter before the command and after it.
    pub(crate) fn explains(self, status: ExitStatus, after: impl FnOnce() -> KillCounter) -> bool {
        let killed = match status {
            ExitStatus::Signal(signal) => signal == libc::SIGKILL,
            ExitStatus::Code(code) => code == SHELL_KILLED,
        };
        killed && self.0.zip(after().0).is_some_and(|(before, after)| after > before)
    }
}

fn parse(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: ExitStatus, before: Option<u64>, after: Option<u64>, expected: bool) {
        assert_eq!(KillCounter(before).explains(status, || KillCounter(after)), expected);
    }

    #[test]
    fn a_kill_is_put_down_to_memory_only_when_the_counter_grew() {
        check(ExitStatus::Signal(libc::SIGKILL), Some(1), Some(2), true);
        check(ExitStatus::Code(137), Some(1), Some(2), true);
        check(ExitStatus::Signal(libc::SIGKILL), Some(2), Some(2), false);
        check(ExitStatus::Signal(libc::SIGTERM), Some(1), Some(2), false);
        check(ExitStatus::Code(1), Some(1), Some(2), false);
        check(ExitStatus::Signal(libc::SIGKILL), None, Some(2), false);
    }

    #[test]
    fn counters() {
        assert_eq!(parse("nr_free_pages 5\noom_kill 42\noom_kill_x 3\n"), Some(42));
        assert_eq!(parse("nr_free_pages 5\n"), None);
        assert!(KillCounter::read().0.is_some());
    }
}
