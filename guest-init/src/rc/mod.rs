//! guest-init's own rc runner: which scripts, in which order, with which
//! argument.
//!
//! `select` picks links of the rc directories, `lsb` and `depend` read what
//! the distribution knows about their order, `order` makes a graph without
//! loops of it, `run` works through that graph: all pure. Only `load` reads
//! files. [`stock`] says which inittab lines the runner may stand in for.

use serde::{Deserialize, Serialize};

pub mod depend;
pub mod load;
pub mod lsb;
pub mod order;
pub mod run;
pub mod select;
pub mod stock;

/// A script to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Its name without order number.
    pub name: String,
    /// File to execute.
    pub path: String,
    /// `start` or `stop`, or empty.
    pub argument: String,
    /// Scripts of the same stage, by number, that must have ended before.
    pub after: Vec<usize>,
    /// Must nothing else run beside it?
    pub alone: bool,
}

/// What is to be run to reach a runlevel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Is there a directory for this runlevel?
    pub found: bool,
    /// Groups of scripts, one after another.
    pub stages: Vec<Vec<Script>>,
    /// `VERBOSE` of `/etc/default/rcS`, for the scripts' environment.
    pub verbose: Option<String>,
    /// Is there an executable `/etc/rc.local`?
    pub local: bool,
    /// What an administrator should know about the order.
    pub notes: Vec<String>,
}

impl Plan {
    /// One group of scripts that run one after another.
    pub fn sequence(scripts: impl Iterator<Item = (String, String)>, argument: &str) -> Self {
        let stage = scripts.enumerate().map(|(number, (name, path))| Script {
            name,
            path,
            argument: argument.to_owned(),
            after: number.checked_sub(1).into_iter().collect(),
            alone: false,
        });
        Self { found: true, stages: vec![stage.collect()], ..Self::default() }
    }
}
