use std::pin::pin;
use std::task::Poll;

use crate::abi::Status;
use crate::sdk::error::Error;
use crate::sdk::guard::catch;
use crate::sdk::host::Host;

/// A task for the plugin's own runtime, watched: a panic in it ends it and is reported to the host, which then starts a new
/// instance. Spawn what this returns. It can be sent to another thread if `task` can.
pub async fn guarded(host: Host, task: impl Future<Output = ()>) {
    let mut task = pin!(task);
    let watched = std::future::poll_fn(|context| {
        catch(|| task.as_mut().poll(context)).unwrap_or_else(|panic| {
            host.fail(&Error::new(Status::PANIC, format!("a task panicked: {}", panic.0)));
            Poll::Ready(())
        })
    });
    watched.await;
}
