//! What virtual meshes are made of: one for the tests of bots (`qpq script test`), and the simulator of thousands of nodes
//! in `tests/`. Their nodes are real cores; this is what stands in for clocks, disks and radio.

mod disk;
mod queue;
mod random;
mod travel;

pub use disk::Disk;
pub use queue::Queue;
pub use random::Random;
pub use travel::travel_us;
