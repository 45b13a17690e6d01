//! Bad plugins: each is refused with a typed reason and a remedy, or stopped; the host stays alive.

#[path = "bad_plugins/bench.rs"]
mod bench;
#[path = "bad_plugins/refused.rs"]
mod refused;
#[path = "bad_plugins/running.rs"]
mod running;
#[path = "bad_plugins/setup.rs"]
mod setup;
#[path = "bad_plugins/swapped.rs"]
mod swapped;
#[path = "bad_plugins/watched.rs"]
mod watched;
