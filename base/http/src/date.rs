//! Dates of HTTP headers (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`, and the two obsolete forms that are still read.

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// The day of the epoch was a Thursday.
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const DAY: i64 = 86_400;

/// Seconds since the epoch; `None` for what is no date. The day of the week is not checked.
pub fn parse_http_date(text: &str) -> Option<i64> {
    let words: Vec<&str> = text.split([' ', ',', '-']).filter(|word| !word.is_empty()).collect();
    let (day, month, year, time) = match *words {
        // RFC 1123; RFC 850 has two digits of the year.
        [_, day, month, year, time, "GMT" | "UTC"] => (day, month, year, time),
        // asctime
        [_, month, day, time, year] => (day, month, year, time),
        _ => return None,
    };
    let month = MONTHS.iter().position(|name| *name == month)?;
    let days = days_since_epoch(full_year(year)?, month, number(day, 1..=31)?);
    let [hour, minute, second] = *time.split(':').collect::<Vec<_>>() else { return None };
    let seconds = number(hour, 0..=23)? * 3600 + number(minute, 0..=59)? * 60 + number(second, 0..=60)?;
    Some(days * DAY + seconds)
}

/// The form that is sent. Years beyond 9999 are cut off there, those before 1 at 1.
pub fn format_http_date(seconds: i64) -> String {
    let seconds = seconds.clamp(-62_135_596_800, 253_402_300_799);
    let (days, time) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let weekday = DAYS[usize::try_from(days.rem_euclid(7)).expect("less than 7")];
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{weekday}, {day:02} {} {year:04} {hour:02}:{minute:02}:{second:02} GMT", MONTHS[month])
}

fn number(text: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
    let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|value| digits && range.contains(value))
}

/// Two digits mean 1970 to 2069.
fn full_year(text: &str) -> Option<i64> {
    let year = number(text, 0..=9999)?;
    match text.len() {
        2 if year < 70 => Some(2000 + year),
        2 => Some(1900 + year),
        4 => Some(year),
        _ => None,
    }
}

/// Days of the Gregorian calendar, in years that begin with March. `month` counts from 0 for January, `day` from 1.
fn days_since_epoch(year: i64, month: usize, day: i64) -> i64 {
    let year = if month < 2 { year - 1 } else { year };
    let from_march = i64::try_from((month + 10) % 12).expect("less than 12");
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// The inverse: year, month from 0, day from 1.
fn civil(days: i64) -> (i64, usize, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = usize::try_from((from_march + 2) % 12).expect("less than 12");
    (era * 400 + year_of_era + i64::from(month < 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_three_forms() {
        let check = |text: &str, expect: Option<i64>| assert_eq!(parse_http_date(text), expect, "{text}");
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777));
        check("Sun Nov  6 08:49:37 1994", Some(784_111_777));
        check("Thu, 01 Jan 1970 00:00:00 GMT", Some(0));
        check("Thu, 29 Feb 2024 23:59:60 GMT", Some(1_709_251_200));
        check("Wed, 31 Dec 1969 23:59:59 GMT", Some(-1));
        check("Fri, 01-Jan-69 00:00:00 GMT", Some(3_124_224_000));
        for broken in
            ["", "now", "0", "Sun, 06 Nov 1994 08:49 GMT", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 6 Nov 94x 08:49:37 GMT"]
        {
            check(broken, None);
        }
        check("Sun, 32 Nov 1994 08:49:37 GMT", None);
        check("Sun, 06 Nov 1994 24:00:00 GMT", None);
        check("Sun, +6 Nov 1994 08:49:37 GMT", None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in -62_135_596_800i64..=253_402_300_799) {
            prop_assert_eq!(parse_http_date(&format_http_date(seconds)), Some(seconds));
        }

        #[test]
        fn nothing_panics(text in any::<String>(), seconds in any::<i64>()) {
            parse_http_date(&text);
            format_http_date(seconds);
        }
    }
}
