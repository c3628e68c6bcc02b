//! What any user can check of the command line: no guest runs here.

mod config;
mod config_import;
mod help;
mod purge;
mod usage;
