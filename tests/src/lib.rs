//! What the end-to-end tests, the benchmarks and the demo share: real `qpq` processes in homes of their own,
//! network namespaces, and one plain function for each parser of outside bytes.
#![forbid(unsafe_code)]

pub mod binaries;
pub mod dns;
pub mod domains;
pub mod failure;
pub mod flow;
pub mod fuzz;
pub mod impaired;
pub mod lab;
pub mod line;
pub mod mdns;
pub mod message;
pub mod node;
pub mod poll;
pub mod power;
pub mod procfs;
pub mod random;
pub mod raw_link;
pub mod recorder;
pub mod relay;
pub mod sim;
pub mod skip;
pub mod wire;

pub use failure::{Failure, Outcome};
pub use flow::{Flow, Tally};
pub use impaired::{ImpairedPath, Impairment};
pub use lab::Lab;
pub use line::Line;
pub use message::Message;
pub use node::{Plan, TestNode};
pub use random::Random;
pub use relay::Relay;
pub use wire::Wire;
