//! Tests that boot guests: each makes an installation of its own below
//! /var/tmp, and says one thing about how vserver behaves.
//!
//! They need root and tests/setup; `tests/run` gives them both. Nothing here
//! looks into vserver: the judges are its exit codes and its output, the
//! kernel, and the distributions' own tools.

/// Makes tests out of functions of a tree, one a tree, called
/// `FILE::FUNCTION::TREE`.
macro_rules! on {
    ($($tree:ident),+: [$($name:ident),+ $(,)?]) => {
        on! { @names [$($tree),+] $($name),+ }
    };
    (@names $trees:tt $($name:ident),+) => {
        $(
            #[allow(non_snake_case, reason = "the tests have names of trees")]
            mod $name {
                on! { @tests $name $trees }
            }
        )+
    };
    (@tests $name:ident [$($tree:ident),+]) => {
        $(
            #[test]
            #[ignore = "root: boots guests"]
            fn $tree() {
                super::$name(tests::Tree::$tree);
            }
        )+
    };
}

mod actions;
mod archive;
mod asked;
mod at_rest;
mod audit;
mod below;
mod boot;
mod btrfs;
mod btrfs_limits;
mod build;
mod burn;
mod chbind;
mod chbind_sockets;
mod chcontext;
mod clone;
mod console;
mod cp;
mod cp_attacks;
mod cp_streams;
mod crash;
mod credentials;
mod demo;
mod device_changes;
mod devices;
mod differences;
mod distributions;
mod emptied;
mod enter;
mod ephemeral;
mod events;
mod exec;
mod families;
mod faults;
mod forged;
mod full;
mod host_safe;
mod hostile;
mod images;
mod init_script;
mod inside;
mod installers;
mod keepers;
mod killed;
mod kills;
mod limits;
mod loopbacks;
mod lynis;
mod many;
mod metrics;
mod mounts;
mod moved;
mod moved_debian;
mod moving;
mod moving_busy;
mod moving_by_ssh;
mod moving_in;
mod nesting;
mod network_scripts;
mod no_programs;
mod orphans;
mod outside;
mod own_init;
mod pause;
mod power_failure;
mod provision;
mod rc_scripts;
mod records;
mod reducecap;
mod releases;
mod rename;
mod report;
mod roots;
mod rounds;
mod routed;
mod scripts;
mod seen;
mod segment;
mod services;
mod serving;
mod sessions;
mod set_aside;
mod settings;
mod shared;
mod signals;
mod snapshot;
mod starved;
mod stat;
mod stopped;
mod storage;
mod storms;
mod stubborn;
mod supervise;
mod takeover;
mod tools;
mod top;
mod unconfigured;
mod unify;
mod unify_base;
mod unprivileged;
mod upgrades;
mod usage;
mod versions;
mod xfs;
