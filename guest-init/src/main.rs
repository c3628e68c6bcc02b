//! PID 1 of a vserver guest; as `keeper`, its parent on the host.

fn main() {}
