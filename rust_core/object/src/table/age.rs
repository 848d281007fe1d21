//! Points in time and how long ago they were, as upstream's HumanDuration writes it.

/// Seconds since 1970 of an RFC 3339 time such as `2026-01-02T03:04:05Z` or `...05.123456+02:00`.
pub fn parse_time(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| -> Option<i64> { text.get(range)?.parse().ok() };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let mut rest = text.get(19..)?;
    let mut fraction = 0.0;
    if let Some(digits) = rest.strip_prefix('.') {
        let length = digits.bytes().take_while(u8::is_ascii_digit).count();
        fraction = format!("0.{}", &digits[..length]).parse().ok()?;
        rest = &digits[length..];
    }
    let offset = match rest.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let seconds =
                rest[1..3].parse::<i64>().ok()? * 3600 + rest[4..6].parse::<i64>().ok()? * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    let separators = (bytes[4], bytes[7], bytes[13], bytes[16]);
    if separators != (b'-', b'-', b':', b':')
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
    {
        return None;
    }
    let seconds =
        days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Some(seconds as f64 + fraction)
}

/// Days from 1970-01-01 in the Gregorian calendar. Years start in March, so that the leap day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let shifted_year = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (shifted_year.div_euclid(400), shifted_year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// A duration in at most two units: `5s`, `3m20s`, `26h`, `2d4h`, `3y12d`.
pub fn human_duration(seconds: f64) -> String {
    let seconds = seconds.trunc() as i64;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let pair = |large: i64, unit: char, small: i64, small_unit: char| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{small_unit}"),
    };
    match (seconds, minutes, hours) {
        (..-1, ..) => "<invalid>".to_owned(),
        (..0, ..) => "0s".to_owned(),
        (..120, ..) => format!("{seconds}s"),
        (_, ..10, _) => pair(minutes, 'm', seconds % 60, 's'),
        (_, ..180, _) => format!("{minutes}m"),
        (.., ..8) => pair(hours, 'h', minutes % 60, 'm'),
        (.., ..48) => format!("{hours}h"),
        (.., ..192) => pair(days, 'd', hours % 24, 'h'),
        (.., ..17_520) => format!("{days}d"),
        (.., ..70_080) => pair(years, 'y', days % 365, 'd'),
        _ => format!("{years}y"),
    }
}

/// How long ago a time was; `<unknown>` if there is none.
pub fn since(time: Option<&str>, now_seconds: f64) -> String {
    match time.and_then(parse_time) {
        Some(time) => human_duration(now_seconds - time),
        None => "<unknown>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_fraction_and_offset() {
        assert_eq!(parse_time("1970-01-01T00:00:00Z"), Some(0.0));
        assert_eq!(parse_time("2024-02-29T12:00:00Z"), Some(1_709_208_000.0));
        assert_eq!(
            parse_time("2024-03-01T00:00:00.500000+02:00"),
            Some(1_709_244_000.5)
        );
        for bad in [
            "",
            "yesterday",
            "2024-13-01T00:00:00Z",
            "2024-01-01 00:00:00",
            "2024-01-01T00:00:00",
        ] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_read_as_kubectl_prints_them() {
        const MINUTE: f64 = 60.0;
        const HOUR: f64 = 3600.0;
        const DAY: f64 = 86_400.0;
        for (seconds, text) in [
            (-2.0, "<invalid>"),
            (-1.5, "0s"),
            (0.9, "0s"),
            (119.0, "119s"),
            (120.0, "2m"),
            (3.0 * MINUTE + 20.0, "3m20s"),
            (10.0 * MINUTE + 5.0, "10m"),
            (179.0 * MINUTE, "179m"),
            (3.0 * HOUR, "3h"),
            (7.0 * HOUR + 59.0 * MINUTE, "7h59m"),
            (8.0 * HOUR + 30.0 * MINUTE, "8h"),
            (47.0 * HOUR, "47h"),
            (48.0 * HOUR, "2d"),
            (7.0 * DAY + 5.0 * HOUR, "7d5h"),
            (8.0 * DAY + 5.0 * HOUR, "8d"),
            (729.0 * DAY, "729d"),
            (730.0 * DAY, "2y"),
            (800.0 * DAY, "2y70d"),
            (8.0 * 365.0 * DAY + DAY, "8y"),
        ] {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
    }
}
