//! Tasks of this plugin's runtime. A panic in one is reported to the host, which then starts a new instance.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use qpq_plugin_api::{Error, Host, Status, catch};
use tokio::runtime::Handle;

/// Runs `task` on that runtime.
pub(crate) fn spawn(runtime: &Handle, host: Host, task: impl Future<Output = ()> + Send + 'static) {
    drop(runtime.spawn(Guarded { host, task: Box::pin(task) }));
}

struct Guarded {
    host: Host,
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Guarded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let caught = catch(|| self.task.as_mut().poll(context));
        caught.unwrap_or_else(|panic| {
            self.host.fail(&Error::new(Status::PANIC, format!("a task panicked: {}", panic.0)));
            Poll::Ready(())
        })
    }
}
