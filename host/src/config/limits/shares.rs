//! A guest's share of what several want at the same time: its weights among
//! the others.

use super::Limits;

/// Weights, 1 to 10000; `None` is the 100 that everybody has who says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Of processors.
    pub cpu: Option<u16>,
    /// Of block devices.
    pub io: Option<u16>,
}

impl Limits {
    /// The guest's shares. The kernel compares nice levels within a cgroup only,
    /// so a guest's level is also a weight among others, unless one is given.
    pub fn shares(&self) -> Shares {
        let of_nice = || self.nice.map(|nice| weight_of(nice.get()));
        Shares {
            cpu: self.cpu_weight.map(|weight| weight.get()).or_else(of_nice),
            io: self.io_weight.map(|weight| weight.get()),
        }
    }
}

/// The weight that a nice level comes to: each is a quarter more than the
/// next (sched(7), "The nice value"), and 0 is what everybody has.
fn weight_of(nice: i8) -> u16 {
    (100.0 / 1.25f64.powi(nice.into())).round().clamp(1.0, 10_000.0) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(text: &str) -> Shares {
        let config = crate::config::parse::parse(&format!("[limits]\n{text}\n"));
        config.unwrap_or_else(|problems| panic!("{text}: {problems:?}")).limits.shares()
    }

    #[test]
    fn a_level_is_a_weight_unless_one_is_given() {
        assert_eq!(shares(""), Shares::default());
        assert_eq!(shares("nice = 0").cpu, Some(100));
        assert_eq!(shares("nice = -5").cpu, Some(305));
        assert_eq!(shares("nice = 19").cpu, Some(1));
        assert_eq!(shares("nice = -20").cpu, Some(8674));
        let both = Shares { cpu: Some(7), io: Some(50) };
        assert_eq!(shares("nice = 5\ncpu_weight = 7\nio_weight = 50"), both);
    }
}
