//! Every parser of outside bytes as one plain function, so that the same code runs under `cargo test` with a
//! seeded mutator and under `cargo fuzz` with coverage.
//!
//! A target takes any bytes. It must not panic, hang or allocate without bound, and what it accepts must obey the
//! rule written beside it.

mod client;
mod discovery;
mod federation;
mod files;
mod link;
mod mutate;
mod packet;
mod parcel;
mod routing;
mod run;
mod scripts;
mod snapshot;
mod store;
mod strangers;
mod texts;
mod wire;

pub use run::{Effort, run};

/// Well-formed inputs.
pub type Seeds = Vec<Vec<u8>>;

/// One parser under its name.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of the cargo-fuzz target and of the folder with its corpus.
    pub name: &'static str,
    /// Feeds bytes to the parser, and checks what it accepts.
    pub feed: fn(&[u8]),
    /// Well-formed inputs to begin with.
    pub seeds: fn() -> Seeds,
}

/// All targets.
pub fn targets() -> impl Iterator<Item = &'static Target> {
    let wires =
        [wire::TARGETS, link::TARGETS, packet::TARGETS, routing::TARGETS, federation::TARGETS, discovery::TARGETS];
    let others = [
        files::TARGETS,
        parcel::TARGETS,
        scripts::TARGETS,
        store::TARGETS,
        strangers::TARGETS,
        client::TARGETS,
        texts::TARGETS,
    ];
    wires.into_iter().chain(others).flatten()
}

/// Feeds the target of that name: the door for cargo-fuzz.
///
/// # Panics
/// When there is no such target, and when the parser breaks a rule.
pub fn feed(name: &str, bytes: &[u8]) {
    let target = targets().find(|target| target.name == name);
    (target.expect("a target of that name").feed)(bytes);
}
