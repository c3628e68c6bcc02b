//! Virtual servers for Linux on an unpatched kernel: the host's side.

pub mod cli;
pub mod commands;
pub mod config;
pub mod error;
pub mod facts;
pub mod ids;
pub mod paths;
pub mod report;
mod store;
