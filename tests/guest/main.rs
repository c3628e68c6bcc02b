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
mod audit;
mod boot;
mod build;
mod chbind;
mod chcontext;
mod console;
mod crash;
mod demo;
mod devices;
mod differences;
mod distributions;
mod enter;
mod exec;
mod faults;
mod host_safe;
mod inside;
mod limits;
mod many;
mod metrics;
mod nesting;
mod orphans;
mod outside;
mod pause;
mod rc_scripts;
mod records;
mod reducecap;
mod report;
mod rounds;
mod routed;
mod segment;
mod services;
mod sessions;
mod settings;
mod shared;
mod stat;
mod stopped;
mod stubborn;
mod takeover;
mod tools;
mod top;
mod usage;
