//! Tests of bots: `qpq script test`.
//!
//! A test is a function in a `*_test.lua` file. Each plays on a mesh of its own ([`stage`]), made of the real core, real
//! signatures, sealing and channels, and the real worker, sandbox and quotas of bots, under a clock that jumps from one
//! due moment to the next ([`world`]). All that is random follows from a seed. What a test says to the mesh stands in one
//! table ([`calls`]) and is done by [`play`]; [`find`] finds tests, [`run`] runs them.

mod bot;
mod calls;
mod compass;
mod door;
mod find;
mod node;
mod play;
mod pool;
mod run;
mod scene;
mod stage;
#[cfg(test)]
mod tests;
mod world;

pub use calls::{TEST_CALLS, TEST_GROUPS, TEST_TYPES};
pub(crate) use find::bot_of;
pub use run::{TestOrder, TestReport, TestRun, run_tests};
