//! The conformance kit: what a host does to a plugin, from the friendly to the hostile, and what the plugin must make of it.
//!
//! [`catalogue`] lists the trials. Each runs in a process of its own, since a plugin that breaks the rules may take its
//! process with it: [`run`] runs one of them in this process, and whoever calls it watches that process from outside.
//! `qpq plugin test` does, with the node's own signatures and schema checks behind [`Setting`].

mod actor;
mod case;
mod catalogue;
mod library;
mod links;
mod parcel;
mod process;
mod random;
mod shape;
mod stage;
mod state;
pub mod templates;
mod trials;
mod vtables;

use std::path::PathBuf;

use serde_json::Value;

pub use case::{Stop, run};
pub use catalogue::{Kind, Trial, catalogue};
pub use random::Random;

/// What a trial is run with.
pub struct Setting {
    /// The library. Nobody may change the file meanwhile.
    pub file: PathBuf,
    /// The configuration of each instance.
    pub config: Value,
    /// What random decisions are made from.
    pub seed: u64,
    /// Where a transport listens; by default `SCHEME://127.0.0.1:0`.
    pub listen: Option<String>,
    /// What is dialled, with `{address}` for what stands behind `://` in the URI that `listen` answered, and `{peer}` for
    /// the listener's key in hex; by default that URI as it is.
    pub dial: Option<String>,
    /// Makes the identity of an instance from a seed.
    pub identity: fn([u8; 32]) -> Box<dyn Signer>,
    /// Whether a configuration fits a JSON Schema.
    pub fits: fn(schema: &str, config: &Value) -> Result<(), String>,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting").field("file", &self.file).field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// The identity of an instance under trial, as `qpq.host.identity/1` offers it.
pub trait Signer: Send + Sync {
    /// The public key.
    fn public_key(&self) -> [u8; 32];
    /// Signs for the plugin `id`, if `message` is what `purpose` allows (see [`sign_purpose`](crate::abi::sign_purpose)).
    fn sign(&self, id: &str, purpose: u32, message: &[u8]) -> Option<[u8; 64]>;
    /// The seed that only the plugin `id` gets.
    fn subkey(&self, id: &str) -> [u8; 32];
    /// The secret itself: the plugin under trial is trusted with it.
    fn secret(&self) -> [u8; 32];
}
