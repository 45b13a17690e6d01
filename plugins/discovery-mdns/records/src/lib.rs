//! What discovery-mdns announces, and what it makes of others' announcements. A library, no plugin: it knows of no sockets,
//! threads or clocks.
#![forbid(unsafe_code)]

pub mod answer;
pub mod fuzz;
pub mod limits;
pub mod record;
