//! A transport plugin that gives every frame back from a thread of its own, or, dialled as `loop://sink`, drops it there.
//! The benchmark of the plugin boundary measures with it what the boundary costs and nothing else.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use qpq_plugin_api::{
    Error, FrameBatch, FrameQueue, Host, LinkUp, Op, Plugin, QueueLimits, Transport, TransportHost, export_plugin,
};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// The one link that `dial` makes.
const LINK: u64 = 1;

/// Frames taken from the queue at a time.
const BATCH: usize = 32;

/// What the plugin's thread shares with the host's calls.
struct Loop {
    host: TransportHost,
    queue: FrameQueue,
    /// Frames that came to the plugin's thread.
    arrived: AtomicU64,
    /// Frames are dropped there instead of being given back.
    sink: AtomicBool,
    /// There is something to do: frames came, or the host has room again.
    work: Notify,
}

/// The plugin.
struct Loopback {
    shared: Arc<Loop>,
    runtime: Mutex<Option<Runtime>>,
}

impl Plugin for Loopback {
    fn create(host: Host, _instance: &str, _config: serde_json::Value) -> Result<Self, Error> {
        let shared = Loop {
            host: host.transport()?,
            queue: FrameQueue::new(QueueLimits::default()),
            arrived: AtomicU64::new(0),
            sink: AtomicBool::new(false),
            work: Notify::new(),
        };
        Ok(Self { shared: Arc::new(shared), runtime: Mutex::new(None) })
    }

    fn start(&self, op: Op) {
        match tokio::runtime::Builder::new_multi_thread().worker_threads(1).build() {
            Ok(runtime) => {
                runtime.spawn(give_back(Arc::clone(&self.shared)));
                *self.runtime.lock().unwrap_or_else(PoisonError::into_inner) = Some(runtime);
                op.ok();
            }
            Err(error) => op.fail(&Error::failed(error.to_string())),
        }
    }

    fn stop(&self, deadline: Duration) -> Result<(), Error> {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(deadline);
        }
        Ok(())
    }
}

impl Transport for Loopback {
    fn listen(&self, op: Op, uri: &str) {
        op.done(Ok::<_, Error>(uri));
    }

    fn dial(&self, op: Op, uri: &str, _peer: Option<[u8; 32]>) {
        self.shared.sink.store(uri == "loop://sink", Ordering::Release);
        // From a thread of its own: the host must not be called from inside its calls.
        let (host, remote) = (self.shared.host, uri.to_owned());
        std::thread::spawn(move || {
            let up = LinkUp {
                link: LINK,
                op: op.id(),
                outbound: true,
                relayed: false,
                reliable: true,
                peer: None,
                remote: &remote,
                max_frame: 65_536,
                channel_binding: &[],
                rtt: None,
            };
            match host.link_up(&up) {
                Ok(()) => op.ok(),
                Err(error) => op.fail(&error),
            }
        });
    }

    fn close(&self, _link: u64, _reason: &str) {}

    fn send(&self, frames: &mut FrameBatch<'_>) {
        self.shared.queue.accept(frames);
        self.shared.work.notify_one();
    }

    fn resume(&self, _link: u64) {
        self.shared.work.notify_one();
    }

    fn stats(&self) -> serde_json::Value {
        serde_json::json!({ "arrived": self.shared.arrived.load(Ordering::Acquire) })
    }
}

/// Hands every frame back to the host, or drops it, until the runtime is stopped.
async fn give_back(shared: Arc<Loop>) {
    let mut frames = VecDeque::with_capacity(BATCH);
    loop {
        if frames.is_empty() {
            let taken = shared.queue.take(&mut frames, BATCH, usize::MAX);
            shared.arrived.fetch_add(taken.frames as u64, Ordering::Release);
            if taken.tell_other_side {
                shared.host.writable(LINK);
            }
            if taken.frames > 0 && shared.sink.load(Ordering::Acquire) {
                frames.clear();
                continue;
            }
        }
        if frames.is_empty() || shared.host.deliver(LINK, &mut frames) == 0 {
            shared.work.notified().await;
        }
    }
}

export_plugin! {
    transport: Loopback,
    id: "transport-loopback",
    config_schema: r#"{"type": "object", "additionalProperties": false}"#,
}
