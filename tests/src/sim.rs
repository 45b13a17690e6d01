//! The simulator: thousands of real node cores with real routing plugins, under a virtual clock, on a virtual network and
//! virtual disks. One seed replays a run exactly.
//!
//! Real are the cores (`qpq_host::core`) with everything that they hold, the routing libraries, loaded through the C ABI, the
//! envelopes, their signatures and their bytes. Modelled are the links ([`net`]), the disks ([`qpq_host::sim::Disk`]), the time that checks
//! take, and clients ([`world`]). `tests/README.md` says more.

pub mod audit;
pub mod chaos;
pub mod checks;
pub mod net;
pub mod node;
pub mod options;
pub mod recorder;
pub mod scenario;
pub mod svg;
pub mod table;
pub mod topology;
pub mod traffic;
pub mod world;

pub use options::{Detection, Options};
pub use topology::{Graph, Shape};
pub use world::World;
