//! What is done with each layout, in which modes of `security.users`: the tests go
//! through these, and the page shows them.

/// Something that is done with each layout.
pub struct Operation {
    /// For the page.
    pub title: &'static str,
    /// The modes in which it is done.
    pub modes: &'static [&'static str],
    /// Not all of it in each, but what it consists of in one after the other.
    pub in_turn: bool,
}

/// All of them.
pub const MODES: &[&str] = &["private", "identity", "host"];

const fn operation(title: &'static str) -> Operation {
    Operation { title, modes: MODES, in_turn: false }
}

pub const START: Operation = operation("`start` returns when it is up, `status` names it");
pub const STOP: Operation =
    operation("`stop --no-kill`, its own shutdown script has run, once; its files are as before");
pub const REBOOT: Operation =
    Operation { modes: &["private", "host"], ..operation("`reboot` from outside, likewise") };
pub const RESTART: Operation =
    Operation { modes: &["private"], ..operation("`restart`, likewise") };
pub const TYPED: Operation =
    operation("the first command to reboot, and the first two that end it, typed inside, likewise");
pub const OWN: Operation = Operation { in_turn: true, ..operation("its other commands, likewise") };
pub const HALT: Operation =
    operation("reboot(2) to halt, called inside: it ends at once, without its shutdown script");
pub const AT_ONCE: Operation = operation(
    "`stop --no-kill` 0 ms after `start --no-wait`, 5 rounds in all (100 in `tests/soak/run`)",
);
pub const SOON: Operation =
    operation("the same after a random time below 0.8 s, 3 rounds in all (50 in `tests/soak/run`)");
pub const FROZEN: Operation = Operation {
    modes: &["private", "host"],
    ..operation("`stop --no-kill` of a frozen guest with a process that ignores SIGTERM")
};
pub const STUCK: Operation = Operation {
    modes: &["private"],
    ..operation("`stop --timeout` while a step of its boot hangs, where that has steps")
};
pub const HANGING: Operation = Operation {
    modes: &["private"],
    ..operation("`stop --timeout` while its shutdown script hangs")
};

/// In the page's order.
pub const ALL: &[Operation] =
    &[START, STOP, REBOOT, RESTART, TYPED, OWN, HALT, AT_ONCE, SOON, FROZEN, STUCK, HANGING];

impl Operation {
    /// The mode of a round, or of one of several commands.
    pub fn mode(&self, index: usize) -> &'static str {
        self.modes[index % self.modes.len()]
    }

    /// How often it is done when something is done in so many rounds: at least
    /// once in each mode.
    pub fn rounds(&self, asked: usize) -> usize {
        asked.max(self.modes.len())
    }
}
