//! What the end-to-end tests, the benchmarks and the demo share: real `qpq` processes in homes of their own,
//! network namespaces, and one plain function for each parser of outside bytes.
#![forbid(unsafe_code)]

pub mod binaries;
pub mod failure;
pub mod flow;
pub mod fuzz;
pub mod lab;
pub mod line;
pub mod message;
pub mod node;
pub mod poll;
pub mod procfs;
pub mod random;
pub mod skip;

pub use failure::{Failure, Outcome};
pub use flow::{Flow, Tally};
pub use lab::Lab;
pub use line::Line;
pub use message::Message;
pub use node::{Plan, TestNode};
pub use random::Random;
