//! Virtual servers for Linux on an unpatched kernel: the host's side.

pub mod bpf;
pub mod build;
pub mod cgroup;
pub mod chcontext;
pub mod cli;
pub mod commands;
pub mod config;
pub mod context;
pub mod control;
pub mod error;
pub mod facts;
pub mod fsroot;
pub mod ids;
pub mod install;
pub mod launch;
pub mod log;
pub mod membership;
pub mod paths;
pub mod plan;
pub mod report;
pub mod runtime;
pub mod seccomp;
pub mod session;
mod store;
pub mod supervisor;
pub mod sys;
pub mod variables;
