//! The `qpq` binary.
fn main() {}
