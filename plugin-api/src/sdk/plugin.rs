use std::time::Duration;

use crate::sdk::error::Error;
use crate::sdk::host::Host;
use crate::sdk::op::Op;

/// One instance of a plugin: how it comes to be and ends. The order is `create`, `start`, (work), `quiesce`, `stop`, drop;
/// `quiesce` is left out when the instance failed.
pub trait Plugin: Send + Sync + Sized + 'static {
    /// Makes an instance from a configuration that fits the plugin's schema. Starts no thread, opens nothing.
    fn create(host: Host, instance: &str, config: serde_json::Value) -> Result<Self, Error>;

    /// Starts what it needs (its runtime, its threads) and answers `op`. Must not block.
    fn start(&self, op: Op) {
        op.ok();
    }

    /// Takes on nothing new, flushes what it accepted, hands the rest back, then answers `op`. Must not block.
    fn quiesce(&self, op: Op, deadline: Duration) {
        let _ = deadline;
        op.ok();
    }

    /// Ends and joins every thread within `deadline`. After the return nothing of the instance runs any more.
    fn stop(&self, deadline: Duration) -> Result<(), Error> {
        let _ = deadline;
        Ok(())
    }
}
