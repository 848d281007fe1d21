//! `resource.Quantity` text to whole units, rounded up as the scheduler rounds them.
//!
//! Amounts are kept exactly, in billionths, until a pod's containers are summed: `0.1m` three times is one milli-unit, not three.

/// An exact amount in billionths of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Quantity(i128);

const NANOS_PER_UNIT: i128 = 1_000_000_000;
const NANOS_PER_MILLI: i128 = 1_000_000;

impl Quantity {
    pub const fn units(units: i64) -> Quantity {
        Quantity(units as i128 * NANOS_PER_UNIT)
    }

    pub const fn millis(millis: i64) -> Quantity {
        Quantity(millis as i128 * NANOS_PER_MILLI)
    }

    /// `None` if the text is no quantity.
    pub fn parse(text: &str) -> Option<Quantity> {
        let digits_end = text
            .char_indices()
            .find(|(index, c)| {
                !(c.is_ascii_digit() || *c == '.' || (*index == 0 && (*c == '+' || *c == '-')))
            })
            .map_or(text.len(), |(index, _)| index);
        let (number, suffix) = text.split_at(digits_end);
        let scale = scale_of(suffix)?;
        let (negative, number) = match number.as_bytes().first()? {
            b'-' => (true, &number[1..]),
            b'+' => (false, &number[1..]),
            _ => (false, number),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut nanos = parse_digits(whole)?.saturating_mul(scale);
        if !fraction.is_empty() {
            let shift = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
            let part = parse_digits(fraction)?.saturating_mul(scale);
            nanos = nanos.saturating_add(divide_up(part, shift));
        }
        Some(Quantity(if negative { -nanos } else { nanos }))
    }

    pub fn plus(self, other: Quantity) -> Quantity {
        Quantity(self.0.saturating_add(other.0))
    }

    /// Whole units, rounded up, clamped to what an `i64` holds.
    pub fn value(self) -> i64 {
        clamp(divide_up(self.0, NANOS_PER_UNIT))
    }

    /// Thousandths, rounded up, clamped to what an `i64` holds.
    pub fn milli_value(self) -> i64 {
        clamp(divide_up(self.0, NANOS_PER_MILLI))
    }
}

/// Billionths in one unit of the suffix.
fn scale_of(suffix: &str) -> Option<i128> {
    const KIBI: i128 = 1024;
    Some(match suffix {
        "n" => 1,
        "u" => 1_000,
        "m" => NANOS_PER_MILLI,
        "" => NANOS_PER_UNIT,
        "k" => 1_000 * NANOS_PER_UNIT,
        "M" => 1_000_000 * NANOS_PER_UNIT,
        "G" => 1_000_000_000 * NANOS_PER_UNIT,
        "T" => 1_000_000_000_000 * NANOS_PER_UNIT,
        "P" => 1_000_000_000_000_000 * NANOS_PER_UNIT,
        "E" => 1_000_000_000_000_000_000 * NANOS_PER_UNIT,
        "Ki" => KIBI * NANOS_PER_UNIT,
        "Mi" => KIBI.pow(2) * NANOS_PER_UNIT,
        "Gi" => KIBI.pow(3) * NANOS_PER_UNIT,
        "Ti" => KIBI.pow(4) * NANOS_PER_UNIT,
        "Pi" => KIBI.pow(5) * NANOS_PER_UNIT,
        "Ei" => KIBI.pow(6) * NANOS_PER_UNIT,
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            10i128.checked_pow(u32::try_from(power.checked_add(9)?).ok()?)?
        }
    })
}

fn parse_digits(digits: &str) -> Option<i128> {
    if digits.is_empty() {
        Some(0)
    } else {
        digits.parse().ok()
    }
}

fn divide_up(amount: i128, unit: i128) -> i128 {
    amount.div_euclid(unit) + i128::from(amount.rem_euclid(unit) != 0)
}

fn clamp(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_and_exponents_scale() {
        for (text, value) in [
            ("1", 1),
            ("1k", 1_000),
            ("1Ki", 1024),
            ("1.5Gi", 1_610_612_736),
            ("2e3", 2_000),
            ("1E", 1_000_000_000_000_000_000),
            ("100m", 1),
            ("0", 0),
        ] {
            assert_eq!(
                Quantity::parse(text).map(Quantity::value),
                Some(value),
                "{text}"
            );
        }
    }

    #[test]
    fn parts_of_a_milli_are_summed_before_they_are_rounded_up() {
        let tenth = Quantity::parse("0.1m").expect("a quantity");
        assert_eq!(tenth.milli_value(), 1);
        assert_eq!(tenth.plus(tenth).plus(tenth).milli_value(), 1);
    }

    #[test]
    fn text_that_is_no_quantity_is_refused() {
        for text in ["", "m", "1x", "1.2.3", "--1", "1KiB", "e3"] {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
    }
}
