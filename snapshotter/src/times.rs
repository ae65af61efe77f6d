//! Which times a layer carries.

/// Which times a layer carries. Always whole seconds; whiteouts always say 1970.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimePolicy {
    /// As in the snapshot.
    Keep,
    /// No later than this, in seconds since the epoch.
    Clamp(i64),
    /// All exactly this, in seconds since the epoch.
    Exactly(i64),
}

impl TimePolicy {
    /// Canonical text for layer keys: `default`, `clamp:<seconds>`, `exactly:<seconds>`.
    pub fn key(&self) -> String {
        match self {
            TimePolicy::Keep => "default".to_owned(),
            TimePolicy::Clamp(latest) => format!("clamp:{latest}"),
            TimePolicy::Exactly(time) => format!("exactly:{time}"),
        }
    }

    /// What a modification time (in seconds) becomes.
    pub fn apply(&self, seconds: i64) -> i64 {
        match self {
            TimePolicy::Keep => seconds,
            TimePolicy::Clamp(latest) => seconds.min(*latest),
            TimePolicy::Exactly(time) => *time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TimePolicy;

    #[test]
    fn policies() {
        let check = |policy: TimePolicy, key: &str, times: [(i64, i64); 3]| {
            assert_eq!(policy.key(), key);
            for (time, expected) in times {
                assert_eq!(policy.apply(time), expected, "{policy:?} of {time}");
            }
        };
        check(TimePolicy::Keep, "default", [(-1, -1), (0, 0), (1 << 40, 1 << 40)]);
        check(TimePolicy::Clamp(10), "clamp:10", [(-1, -1), (10, 10), (11, 10)]);
        check(TimePolicy::Exactly(0), "exactly:0", [(-1, 0), (0, 0), (7, 0)]);
    }
}
