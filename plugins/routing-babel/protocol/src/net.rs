//! A network of state machines under a virtual clock: links with latency, in order; nodes that crash; an audit that walks the
//! next hops after each change.

mod measure;
mod promises;
mod world;

use world::{Plan, World};
