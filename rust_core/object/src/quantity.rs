//! Quantities: `1000m` and `1` are one amount, and each amount has one spelling, nearly.
//!
//! Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/. Amounts are exact to a
//! billionth; what is finer is rounded away from zero. Binary amounts are capped at 2^63-1. As upstream does, a short number
//! that looks canonical keeps the spelling it came with (`5.200`, `1E3`), and a missing number is 0.

use std::borrow::Cow;

/// What is wrong with a quantity, in upstream's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QuantityError {
    #[error(r"quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// `Ki`, `Mi`, ...
    Binary,
    /// `n`, `u`, `m`, ``, `k`, `M`, ...
    Decimal,
    /// `e3`
    Exponent,
}

/// `mantissa` × 10^`exponent`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Quantity {
    mantissa: i128,
    exponent: i32,
    form: Form,
}

const NANO: i32 = -9;
const MILLI: i32 = -3;
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// More digits than these are dropped: i128 holds no more, with room to align the exponent.
const DIGITS_MAX: usize = 36;
/// As many digits as upstream trusts an int64 with.
const SHORT_DIGITS_MAX: usize = 18;

/// The canonical spelling.
pub fn canonical(text: Cow<'_, str>) -> Result<Cow<'_, str>, QuantityError> {
    if is_canonical(&text) {
        return Ok(text);
    }
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(QuantityError::Format);
    }
    let written = Written::read(trimmed)?;
    if !written.keeps_its_spelling() {
        return Ok(Cow::Owned(written.quantity().spell()));
    }
    if trimmed.len() == text.len() {
        Ok(text)
    } else {
        Ok(Cow::Owned(trimmed.to_owned()))
    }
}

/// The canonical spelling, rounded up to thousandths, as resource lists are. The text is canonical.
pub fn round_up_to_milli(text: &str) -> Option<String> {
    if is_canonical(text) {
        return None;
    }
    let quantity = Written::read(text).ok()?.quantity();
    (quantity.exponent < MILLI).then(|| quantity.rounded(MILLI).spell())
}

/// The plain cases, which are nearly all: a whole number with no suffix or a usual one, that needs no other unit.
fn is_canonical(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > 15 || (text.starts_with('0') && text != "0") {
        return false;
    }
    let Ok(number) = text[..digits].parse::<u64>() else {
        return false;
    };
    match &text[digits..] {
        "" => number == 0 || number % 1000 != 0,
        "m" | "k" | "M" => number % 1000 != 0,
        "Ki" | "Mi" | "Gi" if digits <= 6 => number % 1024 != 0,
        _ => false,
    }
}

/// A quantity's parts as they were written.
struct Written<'t> {
    negative: bool,
    /// Without leading zeros.
    whole: &'t str,
    fraction: &'t str,
    base_two: bool,
    power: i32,
    form: Form,
}

impl<'t> Written<'t> {
    fn read(text: &'t str) -> Result<Self, QuantityError> {
        let negative = text.starts_with('-');
        let unsigned = text
            .strip_prefix(['-', '+'])
            .unwrap_or(text)
            .trim_start_matches('0');
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, mut suffix) = unsigned.split_at(digits(unsigned));
        let mut fraction = "";
        if let Some(after) = suffix.strip_prefix('.') {
            (fraction, suffix) = after.split_at(digits(after));
        }
        if !is_suffix_shape(suffix) {
            return Err(QuantityError::Format);
        }
        let (base_two, power, form) = parse_suffix(suffix).ok_or(QuantityError::Suffix)?;
        Ok(Written {
            negative,
            whole,
            fraction,
            base_two,
            power,
            form,
        })
    }

    /// Upstream's shortcut for numbers that an int64 holds: no unit could be larger, so the text is kept.
    fn keeps_its_spelling(&self) -> bool {
        if self.base_two {
            let digits_max = 14 - self.power * 3 / 10;
            let short = i32::try_from(self.whole.len()).is_ok_and(|digits| digits <= digits_max);
            let number: u64 = self.whole.parse().unwrap_or(0);
            return short && self.fraction.is_empty() && !number.is_multiple_of(8);
        }
        let digits = self.whole.len().max(1) + self.fraction.len();
        if digits > SHORT_DIGITS_MAX || self.whole.is_empty() {
            return false;
        }
        let scale = self.power - self.fraction.len() as i32;
        let thousands = match self.fraction.len() {
            0 => self.whole.ends_with("000"),
            1 => self.fraction == "0" && self.whole.ends_with("00"),
            2 => self.fraction == "00" && self.whole.ends_with('0'),
            _ => self.fraction.ends_with("000"),
        };
        scale >= NANO && scale % 3 == 0 && !thousands
    }

    fn quantity(&self) -> Quantity {
        let (mut mantissa, mut exponent) = number(self.whole, self.fraction);
        if self.base_two {
            let unit = 1i128 << self.power;
            // What this drops is far finer than a billionth, or the amount is capped.
            while mantissa.checked_mul(unit).is_none() {
                mantissa /= 10;
                exponent += 1;
            }
            mantissa *= unit;
        } else {
            exponent += self.power;
        }
        let mantissa = if self.negative { -mantissa } else { mantissa };
        Quantity {
            mantissa,
            exponent,
            form: self.form,
        }
        .rounded(NANO)
        .capped()
    }
}

/// `[eEinumkKMGTP]*[-+]?[0-9]*`
fn is_suffix_shape(suffix: &str) -> bool {
    let letters = suffix.trim_start_matches(|character| "eEinumkKMGTP".contains(character));
    let signed = letters.strip_prefix(['-', '+']).unwrap_or(letters);
    signed.bytes().all(|byte| byte.is_ascii_digit())
}

/// (base two, power, form)
fn parse_suffix(suffix: &str) -> Option<(bool, i32, Form)> {
    if let Some((_, power)) = DECIMAL.iter().find(|(text, _)| *text == suffix) {
        return Some((false, *power, Form::Decimal));
    }
    if let Some(place) = BINARY.iter().position(|text| *text == suffix) {
        return Some((true, 10 * place as i32, Form::Binary));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
    Some((false, exponent.clamp(-1000, 1000), Form::Exponent))
}

fn number(whole: &str, fraction: &str) -> (i128, i32) {
    let fraction = fraction.trim_end_matches('0');
    let digits = whole
        .trim_start_matches('0')
        .bytes()
        .chain(fraction.bytes());
    let mut mantissa: i128 = 0;
    let mut dropped = 0;
    for (place, digit) in digits.enumerate() {
        match place < DIGITS_MAX {
            true => mantissa = mantissa * 10 + i128::from(digit - b'0'),
            false => dropped += 1,
        }
    }
    (
        mantissa,
        dropped - i32::try_from(fraction.len()).unwrap_or(i32::MAX / 2),
    )
}

/// 10^power, if that is at all near the numbers here.
fn power_of_ten(power: u32) -> Option<i128> {
    10i128.checked_pow(power)
}

impl Quantity {
    /// Nothing finer than 10^`scale`: away from zero.
    fn rounded(self, scale: i32) -> Self {
        if self.exponent >= scale {
            return self;
        }
        let mantissa = match power_of_ten((scale - self.exponent) as u32) {
            Some(unit) => {
                let up = i128::from(self.mantissa % unit != 0) * self.mantissa.signum();
                self.mantissa / unit + up
            }
            None => self.mantissa.signum(),
        };
        Quantity {
            mantissa,
            exponent: scale,
            ..self
        }
    }

    /// Only binary amounts have a limit.
    fn capped(self) -> Self {
        if self.form != Form::Binary {
            return self;
        }
        let limit = i128::from(i64::MAX);
        let whole = match self.exponent {
            0.. => {
                power_of_ten(self.exponent as u32).and_then(|unit| self.mantissa.checked_mul(unit))
            }
            _ => power_of_ten(self.exponent.unsigned_abs()).map(|unit| self.mantissa / unit),
        };
        match whole {
            _ if self.mantissa == 0 => Quantity {
                mantissa: 0,
                exponent: 0,
                ..self
            },
            Some(whole) if whole.abs() <= limit => self,
            _ => Quantity {
                mantissa: limit * self.mantissa.signum(),
                exponent: 0,
                ..self
            },
        }
    }

    fn spell(self) -> String {
        if self.mantissa == 0 {
            return "0".to_owned();
        }
        self.spell_binary().unwrap_or_else(|| self.spell_decimal())
    }

    /// None for other forms, and for amounts that binary units would hide: fractions, and less than 1024.
    fn spell_binary(self) -> Option<String> {
        if self.form != Form::Binary {
            return None;
        }
        let mut whole = match self.exponent {
            0.. => self
                .mantissa
                .checked_mul(power_of_ten(self.exponent as u32)?)?,
            _ => {
                let unit = power_of_ten(self.exponent.unsigned_abs())?;
                if self.mantissa % unit != 0 {
                    return None;
                }
                self.mantissa / unit
            }
        };
        if whole.abs() < 1024 {
            return None;
        }
        let mut unit = 0;
        while whole % 1024 == 0 && unit + 1 < BINARY.len() {
            whole /= 1024;
            unit += 1;
        }
        Some(format!("{whole}{}", BINARY[unit]))
    }

    fn spell_decimal(self) -> String {
        let (mut mantissa, mut exponent) = (self.mantissa, self.exponent);
        while mantissa % 10 == 0 {
            mantissa /= 10;
            exponent += 1;
        }
        while exponent % 3 != 0 {
            mantissa *= 10;
            exponent -= 1;
        }
        if self.form == Form::Exponent {
            return if exponent == 0 {
                mantissa.to_string()
            } else {
                format!("{mantissa}e{exponent}")
            };
        }
        // Beyond E upstream knows no unit, and writes none.
        let unit = DECIMAL
            .iter()
            .find(|(_, power)| *power == exponent)
            .map_or("", |(text, _)| *text);
        format!("{mantissa}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(text: &str) -> String {
        canonical(Cow::Borrowed(text))
            .expect("a quantity")
            .into_owned()
    }

    #[test]
    fn each_amount_has_one_spelling() {
        for (text, expected) in [
            ("0", "0"),
            ("0Ki", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("01", "01"),
            ("+1", "+1"),
            (" 1 ", "1"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1."),
            ("1000", "1k"),
            ("100", "100"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1000Ki", "1000Ki"),
            ("1000000", "1M"),
            ("1e3", "1e3"),
            ("1E3", "1E3"),
            ("5.200", "5.200"),
            ("5.2000", "5200m"),
            ("-4e0", "-4e0"),
            ("9571.222P", "9571.222P"),
            ("-u", "0"),
            ("P", "0"),
            (".", "0"),
            ("100e1", "1e3"),
            ("12e2", "1200"),
            ("1E", "1E"),
            ("0.1Ki", "102400m"),
            ("0.5Mi", "512Ki"),
            ("100Ki", "100Ki"),
            ("1Ki", "1Ki"),
            ("0.0000000001", "1n"),
            ("-1500m", "-1500m"),
            ("9223372036854775807", "9223372036854775807"),
            ("9223372036854775808", "9223372036854775808"),
            ("100Ei", "9223372036854775807"),
        ] {
            assert_eq!(spelled(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "abc", "1x", "1 Gi", "1.2.3"] {
            assert_eq!(
                canonical(Cow::Borrowed(text)),
                Err(QuantityError::Format),
                "{text}"
            );
        }
        for text in ["1mm", "1Kii", "1K", "1e", "i", "--1"] {
            assert_eq!(
                canonical(Cow::Borrowed(text)),
                Err(QuantityError::Suffix),
                "{text}"
            );
        }
    }

    #[test]
    fn resource_lists_are_exact_to_a_thousandth() {
        assert_eq!(round_up_to_milli("1n").as_deref(), Some("1m"));
        assert_eq!(round_up_to_milli("1500u").as_deref(), Some("2m"));
        assert_eq!(round_up_to_milli("1.000001").as_deref(), Some("1001m"));
        assert_eq!(round_up_to_milli("5.200"), None);
        assert_eq!(round_up_to_milli("250m"), None);
        assert_eq!(round_up_to_milli("1Gi"), None);
    }
}
