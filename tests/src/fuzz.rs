//! Every parser of outside bytes as one plain function, so that the same code runs under `cargo test` with a
//! seeded mutator and under `cargo fuzz` with coverage.
//!
//! A target takes any bytes. It must not panic, hang or allocate without bound, and what it accepts must obey the
//! rule written beside it.

mod mutate;
mod run;

pub use run::{Effort, run};

/// One parser under its name.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of the cargo-fuzz target and of the folder with its corpus.
    pub name: &'static str,
    /// Feeds bytes to the parser, and checks what it accepts.
    pub feed: fn(&[u8]),
    /// Well-formed inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: &[Target] = &[];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
