//! The host's dpkg database: what is installed, and which package owns what.
//!
//! Only reads. `status` parses the database's main file, `choose` decides
//! which packages a guest gets, `alternatives` decides about alternatives,
//! all without touching files; `database` does the reading.

pub mod alternatives;
pub mod choose;
pub mod database;
pub mod status;
pub mod wishes;
