//! The `vserver` program.

fn main() {}
