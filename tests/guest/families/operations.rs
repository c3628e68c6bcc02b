//! What is done with each layout, in which modes of `security.users`: the page shows
//! it, and a test that has done more or less than the page says fails.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Instant;

use tests::Tree;
use tests::layouts::Layout;

use super::is_long;

/// Something that is done with each layout.
pub struct Operation {
    /// The head of its column.
    pub name: &'static str,
    /// For the page.
    pub title: &'static str,
}

/// All of them.
pub const MODES: &[&str] = &["private", "identity", "host"];

const fn operation(name: &'static str, title: &'static str) -> Operation {
    Operation { name, title }
}

pub const START: Operation = operation("start", "`start` returns when it is up, `status` names it");
pub const STOP: Operation = operation(
    "stop",
    "`stop --no-kill`, its own shutdown script has run, once; its files are as before",
);
pub const REBOOT: Operation = operation("reboot", "`reboot` from outside, likewise");
pub const RESTART: Operation = operation("restart", "`restart`, likewise");
pub const TYPED: Operation = operation(
    "inside",
    "the first command to reboot, and the first two that end it, typed inside, likewise",
);
pub const OWN: Operation = operation(
    "others",
    "its other commands, likewise: one in this mode, the next in the next; in the long run all in all modes",
);
pub const HALT: Operation = operation(
    "halt",
    "reboot(2) to halt, called inside: it ends at once, without its shutdown script",
);
pub const AT_ONCE: Operation = operation(
    "0 ms",
    "`stop --no-kill` 0 ms after `start --no-wait`, 5 rounds in all (100 in `tests/soak/run`)",
);
pub const SOON: Operation = operation(
    "soon",
    "the same after a random time below 0.8 s, 3 rounds in all (50 in `tests/soak/run`)",
);
pub const FROZEN: Operation =
    operation("frozen", "`stop --no-kill` of a frozen guest with a process that ignores SIGTERM");
pub const STUCK: Operation =
    operation("stuck", "`stop --timeout` while a step of its boot hangs, where that has steps");
pub const HANGING: Operation =
    operation("hanging", "`stop --timeout` while its shutdown script hangs");

/// In the order of the page's columns.
pub const ALL: &[&Operation] = &[
    &START, &STOP, &REBOOT, &RESTART, &TYPED, &OWN, &HALT, &AT_ONCE, &SOON, &FROZEN, &STUCK,
    &HANGING,
];

/// By test.
pub const OUTSIDE: &[&Operation] = &[&START, &STOP, &REBOOT, &RESTART];
pub const INSIDE: &[&Operation] = &[&TYPED, &OWN, &HALT];
pub const MOMENTS: &[&Operation] = &[&AT_ONCE, &SOON, &FROZEN, &STUCK, &HANGING];

impl Operation {
    /// The modes in which it is done with this layout, in the long run or in another.
    pub fn modes(&self, layout: &Layout, is_long: bool) -> Vec<&'static str> {
        let types = !layout.halt.is_empty();
        // These wait long when something hangs.
        let waits = matches!(layout.tree, Tree::Finit | Tree::Runit);
        let patience = if waits && !is_long { 1 } else { MODES.len() };
        let count = match self.name {
            name if name == TYPED.name || name == HALT.name => MODES.len() * usize::from(types),
            name if name == OWN.name && is_long => MODES.len() * layout.own.len(),
            name if name == OWN.name => layout.own.len(),
            name if name == STUCK.name => patience * usize::from(layout.signs),
            name if name == HANGING.name => patience,
            _ => MODES.len(),
        };
        MODES.iter().copied().take(count).collect()
    }
}

/// The mode of a round, or of one of several commands.
pub fn in_turn(index: usize) -> &'static str {
    MODES[index % MODES.len()]
}

/// What a test has done.
pub struct Outcome<'l> {
    layout: &'l Layout,
    /// What it is for.
    operations: &'static [&'static Operation],
    done: RefCell<BTreeSet<(&'static str, &'static str)>>,
    since: RefCell<Instant>,
}

impl<'l> Outcome<'l> {
    pub fn new(layout: &'l Layout, operations: &'static [&'static Operation]) -> Self {
        let since = RefCell::new(Instant::now());
        Self { layout, operations, done: RefCell::default(), since }
    }

    /// This has been done in this mode, and was as it should be.
    pub fn has(&self, operation: &Operation, mode: &'static str) {
        let took = self.since.replace(Instant::now()).elapsed();
        let title = self.layout.title;
        println!("| {title} | {} | {mode} | {:.1} s |", operation.name, took.as_secs_f32());
        self.done.borrow_mut().insert((operation.name, mode));
    }

    /// All has been done that the page says of this run, and nothing else.
    pub fn assert_as_on_the_page(self) {
        let said = self.operations.iter().flat_map(|operation| {
            let modes = operation.modes(self.layout, is_long());
            modes.into_iter().map(|mode| (operation.name, mode))
        });
        assert_eq!(self.done.into_inner(), said.collect(), "{}", self.layout.title);
    }
}
