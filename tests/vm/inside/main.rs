//! Tests for a host that few people test on: pure cgroup v2, systemd as the
//! host's init, Debian's own kernel, AppArmor enforcing. `tests/vm` makes such
//! a host and runs them there; elsewhere they fail.

mod accounts;
mod adopted;
mod alone;
mod apparmor;
mod bombs;
mod bound;
mod controllers;
mod exhausted;
mod harmed;
mod host;
mod journal;
mod keepers;
mod kills;
mod late;
mod limits;
mod machined;
mod many;
mod mixed;
mod noise;
mod ordered;
mod package;
mod power;
mod quota;
mod renamed;
mod selinux;
mod sockets;
mod steered;
mod storage;
mod turn;
mod units;
mod verbs;
