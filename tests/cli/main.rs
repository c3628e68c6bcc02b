//! What any user can check of the command line: no guest runs here.

mod config;
mod help;
mod usage;
