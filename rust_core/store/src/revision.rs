//! The two counters that order everything: the revision of the store and the wall clock that a driver feeds in.

use std::fmt;

/// The revision of the whole store: strictly increasing, one per transaction. An empty store is at 1, because 0 means
/// "any" where Kubernetes asks for a resourceVersion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// No revision: what an absent key has.
    pub const ZERO: Revision = Revision(0);
    /// Where an empty store stands.
    pub const FIRST: Revision = Revision(1);
    /// The most decimal digits a revision can have.
    pub const DIGITS_MAX: usize = 20;

    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }

    /// How many decimal digits it has.
    pub fn digits(self) -> usize {
        self.0.checked_ilog10().map_or(1, |log| log as usize + 1)
    }

    /// Writes its decimal digits over `slot`, whose length must be `digits()`.
    pub(crate) fn write_digits(self, slot: &mut [u8]) {
        debug_assert_eq!(slot.len(), self.digits());
        let mut rest = self.0;
        for digit in slot.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Wall clock in milliseconds since the epoch, as the driver last told it. The store never asks a clock itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    pub fn from_seconds(seconds: f64) -> Timestamp {
        Timestamp((seconds.max(0.0) * 1000.0) as u64)
    }

    pub fn plus_seconds(self, seconds: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Up to a whole second: what is due in the same second is due together.
    pub fn rounded_up(self) -> Timestamp {
        Timestamp(self.0.saturating_add(999) / 1000 * 1000)
    }

    pub fn minus_seconds(self, seconds: u64) -> Timestamp {
        Timestamp(self.0.saturating_sub(seconds.saturating_mul(1000)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_written_as_they_are_displayed() {
        for value in [1, 9, 10, 99, 100, 1_234_567, u64::MAX] {
            let revision = Revision(value);
            let mut slot = vec![0; revision.digits()];
            revision.write_digits(&mut slot);
            assert_eq!(slot, value.to_string().into_bytes());
        }
    }
}
