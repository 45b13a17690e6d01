//! The protocol of routing-babel: a distance vector without loops, after Babel (RFC 8966), as pure state machines.
//!
//! [`babel`] holds the rules, [`table`] what is known, [`wire`] what crosses the links; none of them knows of plugins, clocks
//! or threads. A crate of its own, so that programs can have it beside other plugins: a plugin's library exports the one
//! symbol that hosts look for.
#![forbid(unsafe_code)]

pub mod babel;
pub mod bucket;
pub mod clock;
pub mod config;
pub mod cost;
pub mod counters;
pub mod fuzz;
pub mod limits;
pub mod neighbour;
#[cfg(test)]
mod net;
pub mod random;
pub mod record;
pub mod table;
#[cfg(test)]
mod testing;
pub mod wire;
