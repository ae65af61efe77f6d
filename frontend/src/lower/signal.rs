//! STOPSIGNAL's names (Linux).

use crate::suggest;

const NAMES: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL", "PROF", "PWR",
    "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH",
    "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// Whether it is a signal's number or name; else the nearest name.
pub(super) fn check(text: &str) -> Result<(), Option<String>> {
    if let Ok(number) = text.parse::<i64>() {
        return if number == 0 { Err(None) } else { Ok(()) };
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if NAMES.contains(&name) || is_realtime(name) {
        return Ok(());
    }
    Err(suggest::nearest(name, NAMES.iter().copied()).map(|near| format!("SIG{near}")))
}

fn is_realtime(name: &str) -> bool {
    let in_range =
        |text: &str, most: u32| text.parse::<u32>().is_ok_and(|n| (1..=most).contains(&n)) && !text.starts_with(['+', '0']);
    name.strip_prefix("RTMIN+").is_some_and(|n| in_range(n, 15)) || name.strip_prefix("RTMAX-").is_some_and(|n| in_range(n, 14))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for good in ["9", "SIGKILL", "kill", "sigusr1", "RTMIN+15", "SIGRTMAX-1", "-3"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, near) in [("0", None), ("SIGNOSUCH", None), ("SIGTREM", Some("SIGTERM")), ("RTMIN+16", None), ("", None)] {
            assert_eq!(check(bad), Err(near.map(str::to_owned)), "{bad}");
        }
    }
}
