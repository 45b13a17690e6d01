//! A relay for transport-iroh: to be written.
#![forbid(unsafe_code)]

fn main() {}
