//! Timestamps: RFC 3339 in any zone becomes UTC with seconds (`metav1.Time`) or microseconds (`metav1.MicroTime`).

use std::borrow::Cow;

/// How fine a timestamp is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precision {
    Seconds,
    Micros,
}

impl Precision {
    /// Go's name for the layout, which its messages quote.
    fn layout(self) -> &'static str {
        match self {
            Precision::Seconds => "2006-01-02T15:04:05Z07:00",
            Precision::Micros => "2006-01-02T15:04:05.000000Z07:00",
        }
    }
}

/// What Go says about an empty text.
pub(crate) fn empty_error(precision: Precision) -> String {
    format!(
        "parsing time \"\" as {:?}: cannot parse \"\" as \"2006\"",
        precision.layout()
    )
}

/// The canonical spelling; the error is Go's message.
pub fn canonical(text: Cow<'_, str>, precision: Precision) -> Result<Cow<'_, str>, String> {
    if text.is_empty() && precision == Precision::Micros {
        return Err(empty_error(precision));
    }
    let moment = Parser {
        text: &text,
        rest: &text,
        precision,
    }
    .parse()?;
    let made = spell(moment.seconds, moment.nanos, precision);
    Ok(if made == *text {
        text
    } else {
        Cow::Owned(made)
    })
}

/// Seconds since the epoch and nanoseconds as text.
pub(crate) fn spell(seconds: i64, nanos: u32, precision: Precision) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let whole = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    match precision {
        Precision::Seconds => format!("{whole}Z"),
        Precision::Micros => format!("{whole}.{:06}Z", nanos / 1000),
    }
}

struct Moment {
    seconds: i64,
    nanos: u32,
}

struct Parser<'t> {
    text: &'t str,
    rest: &'t str,
    precision: Precision,
}

impl Parser<'_> {
    fn parse(mut self) -> Result<Moment, String> {
        let year = self.digits(4, "2006")?;
        self.literal('-')?;
        let month = self.digits(2, "01")?;
        self.range(month, 1..=12, "month")?;
        self.literal('-')?;
        let day = self.digits(2, "02")?;
        self.literal('T')?;
        let hour = self.hour()?;
        self.range(hour, 0..=23, "hour")?;
        self.literal(':')?;
        let minute = self.digits(2, "04")?;
        self.range(minute, 0..=59, "minute")?;
        self.literal(':')?;
        let second = self.digits(2, "05")?;
        self.range(second, 0..=59, "second")?;
        let nanos = self.fraction()?;
        let offset = self.zone()?;
        if !self.rest.is_empty() {
            return Err(self.error(format!(": extra text: {:?}", self.rest)));
        }
        self.range(day, 1..=days_in(year, month), "day")?;
        let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
        Ok(Moment { seconds, nanos })
    }

    fn error(&self, what: String) -> String {
        format!("parsing time {:?}{what}", self.text)
    }

    fn cannot_parse<T>(&self, element: &str) -> Result<T, String> {
        let layout = self.precision.layout();
        Err(format!(
            "parsing time {:?} as {layout:?}: cannot parse {:?} as {element:?}",
            self.text, self.rest
        ))
    }

    fn digits(&mut self, count: usize, element: &str) -> Result<i64, String> {
        match self.rest.get(..count) {
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.rest = &self.rest[count..];
                // At most four digits.
                Ok(text.parse().unwrap_or(0))
            }
            _ => self.cannot_parse(element),
        }
    }

    /// One digit will do, as in Go.
    fn hour(&mut self) -> Result<i64, String> {
        let digits = self
            .rest
            .bytes()
            .take(2)
            .take_while(u8::is_ascii_digit)
            .count();
        self.digits(digits.max(1), "15")
    }

    fn literal(&mut self, expected: char) -> Result<(), String> {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => self.cannot_parse(&expected.to_string()),
        }
    }

    fn range(
        &self,
        value: i64,
        allowed: std::ops::RangeInclusive<i64>,
        what: &str,
    ) -> Result<(), String> {
        if allowed.contains(&value) {
            Ok(())
        } else {
            Err(self.error(format!(": {what} out of range")))
        }
    }

    /// Nanoseconds. Seconds may have any fraction; microseconds must have their six digits.
    fn fraction(&mut self) -> Result<u32, String> {
        let digits = match self.rest.strip_prefix(['.', ',']) {
            Some(after) => after.bytes().take_while(u8::is_ascii_digit).count(),
            None => 0,
        };
        if self.precision == Precision::Micros && digits < 6 {
            return self.cannot_parse(".000000");
        }
        if digits == 0 {
            return Ok(0);
        }
        let used = if self.precision == Precision::Micros {
            6
        } else {
            digits
        };
        let text = &self.rest[1..=used];
        let nanos = text.bytes().chain(std::iter::repeat(b'0')).take(9);
        let value = nanos.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
        self.rest = &self.rest[1 + used..];
        Ok(value)
    }

    /// Seconds east of UTC.
    fn zone(&mut self) -> Result<i64, String> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        let bytes = self.rest.as_bytes();
        let number = |from: usize| match bytes.get(from..from + 2) {
            Some([tens @ b'0'..=b'9', ones @ b'0'..=b'9']) => {
                Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
            }
            _ => None,
        };
        let sign = match bytes.first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return self.cannot_parse("Z07:00"),
        };
        match (number(1), bytes.get(3), number(4)) {
            (Some(hours), Some(b':'), Some(minutes)) => {
                self.range(hours, 0..=24, "time zone offset hour")?;
                self.range(minutes, 0..=60, "time zone offset minute")?;
                self.rest = &self.rest[6..];
                Ok(sign * (hours * 3600 + minutes * 60))
            }
            _ => self.cannot_parse("Z07:00"),
        }
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days before the first of March of year 0 in the Gregorian calendar, counted from 1970-01-01.
const EPOCH_FROM_MARCH_0: i64 = 719_468;

/// Days since the epoch. Years are counted from March, so that the leap day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
        - EPOCH_FROM_MARCH_0
}

/// The year, month and day of a day since the epoch.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_FROM_MARCH_0;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Result<String, String> {
        canonical(Cow::Borrowed(text), Precision::Seconds).map(Cow::into_owned)
    }

    #[test]
    fn every_zone_becomes_utc() {
        assert_eq!(
            seconds("2026-11-22T23:10:00Z").as_deref(),
            Ok("2026-11-22T23:10:00Z")
        );
        assert_eq!(
            seconds("2026-12-31T23:30:00-02:00").as_deref(),
            Ok("2027-01-01T01:30:00Z")
        );
        assert_eq!(
            seconds("2024-03-01T00:30:00+01:00").as_deref(),
            Ok("2024-02-29T23:30:00Z")
        );
        assert_eq!(
            seconds("1969-12-31T23:59:59.9Z").as_deref(),
            Ok("1969-12-31T23:59:59Z")
        );
    }

    #[test]
    fn microseconds_have_six_digits() {
        let micros = |text| canonical(Cow::Borrowed(text), Precision::Micros);
        assert_eq!(
            micros("2026-11-22T23:10:00.120000Z").as_deref(),
            Ok("2026-11-22T23:10:00.120000Z")
        );
        assert!(micros("2026-11-22T23:10:00Z").is_err());
    }

    #[test]
    fn what_is_no_time_is_described_as_go_describes_it() {
        for (text, message) in [
            (
                "soon",
                r#"parsing time "soon" as "2006-01-02T15:04:05Z07:00": cannot parse "soon" as "2006""#,
            ),
            (
                "2026-11-22 23:10",
                r#"parsing time "2026-11-22 23:10" as "2006-01-02T15:04:05Z07:00": cannot parse " 23:10" as "T""#,
            ),
            (
                "2026-13-22T23:10:00Z",
                r#"parsing time "2026-13-22T23:10:00Z": month out of range"#,
            ),
            (
                "2026-02-30T23:10:00Z",
                r#"parsing time "2026-02-30T23:10:00Z": day out of range"#,
            ),
        ] {
            assert_eq!(seconds(text), Err(message.to_owned()));
        }
    }

    #[test]
    fn days_and_dates_agree() {
        for day in (-1_000_000..1_000_000).step_by(997) {
            let (year, month, date) = civil(day);
            assert_eq!(days(year, month, date), day);
        }
    }
}
