//! What many measurements of the same say: their median, and where that
//! surely lies.

use std::fmt::{self, Display};

/// A median, and where it surely lies.
#[derive(Clone, Copy, Debug)]
pub struct Median {
    /// The value in the middle.
    pub value: f64,
    low: f64,
    high: f64,
}

impl Median {
    /// Of some values. The median of what they are a sample of lies with 95 %
    /// between the values this many places before and after the middle
    /// (binomial distribution, as a normal one).
    ///
    /// # Panics
    /// Without a value.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let places = sorted.len().isqrt();
        let last = sorted.len() - 1;
        Self {
            value: sorted[middle],
            low: sorted[middle.saturating_sub(places)],
            high: sorted[(middle + places).min(last)],
        }
    }
}

/// As a ratio.
impl Display for Median {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ({:.3}–{:.3})", self.value, self.low, self.high)
    }
}
