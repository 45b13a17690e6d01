//! Being built.

pub mod shelf;
