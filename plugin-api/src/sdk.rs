//! The safe side: traits to implement, handles to call, and the glue between them and the C structs.

pub(crate) mod discovery;
pub(crate) mod error;
mod export;
pub(crate) mod frames;
pub(crate) mod glue;
pub(crate) mod guard;
pub(crate) mod host;
pub(crate) mod identity;
pub(crate) mod op;
pub(crate) mod outbox;
pub(crate) mod plugin;
pub(crate) mod queue;
pub(crate) mod routing;
pub(crate) mod store;
pub(crate) mod stream;
pub(crate) mod task;
#[cfg(feature = "tracing")]
mod tracing;
pub(crate) mod transport;

#[cfg(test)]
mod tests;
