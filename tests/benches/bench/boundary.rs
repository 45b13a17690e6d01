//! Frames over the plugin boundary, against a direct call and against a channel between two runtimes of one program.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use qpq_host::identity::Identity;
use qpq_host::plugin::{
    Frame, LinkUp, Listeners, NewPath, PluginEvent, PluginSpec, Registry, Running, Settings, TransportEvents,
    TransportHandle,
};
use qpq_plugin_api::FrameBatch;
use qpq_tests::{Failure, Outcome, binaries};
use tokio::runtime::{Builder, Runtime};

use crate::rate::median;
use crate::report::{Goal, Report};

/// Frames that go together, as a busy link hands them over.
const BATCH: usize = 32;

/// Size of a frame: an envelope with a payload of 256 B in a block of its own.
const FRAME: usize = 417;

/// Frames in each turn.
const FRAMES: usize = 400_000;

/// Turns; the median counts.
const TURNS: usize = 5;

/// Batches that wait in the channel: as many frames as a queue at the boundary holds.
const CHANNEL: usize = 1024 / BATCH;

/// How long a frame may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn measure(report: &mut Report) -> Outcome {
    let (sink, back) = (Plugin::start("loop://sink")?, Plugin::start("loop://back")?);
    let mut turns: [Vec<f64>; 4] = Default::default();
    for _ in 0..TURNS {
        let [direct, channel, one_way, both_ways] = &mut turns;
        direct.push(each(call_directly)?);
        channel.push(each(over_channel)?);
        one_way.push(each(|| sink.one_way())?);
        both_ways.push(each(|| back.there_and_back())?);
    }
    let [direct, channel, one_way, both_ways] = turns.map(median);
    report.add("a fresh frame to another object, direct call", direct, "ns");
    report.add("a fresh frame to another runtime, by channel", channel, "ns");
    let entry = report.add("a fresh frame to a plugin's runtime", one_way, "ns");
    entry.ratio_to(channel, "of the channel hop").goal(Goal::RatioAtMost(2.0));
    report.add("a fresh frame to a plugin's runtime and back into the host", both_ways, "ns");
    Ok(())
}

/// Nanoseconds for each frame.
fn each(run: impl FnOnce() -> Outcome) -> Outcome<f64> {
    let began = Instant::now();
    run()?;
    Ok(began.elapsed().as_nanos() as f64 / FRAMES as f64)
}

/// Whoever takes frames in one program.
trait Sink: Send + Sync {
    fn take(&self, frames: Vec<Bytes>) -> usize;
}

struct Count(AtomicUsize);

impl Sink for Count {
    fn take(&self, frames: Vec<Bytes>) -> usize {
        self.0.fetch_add(frames.len(), Ordering::Relaxed) + frames.len()
    }
}

/// Frames as a link makes them: each with bytes of its own.
fn batch() -> Vec<Bytes> {
    (0..BATCH).map(|_| Bytes::copy_from_slice(&[7; FRAME])).collect()
}

fn call_directly() -> Outcome {
    let sink: Arc<dyn Sink> = Arc::new(Count(AtomicUsize::new(0)));
    for _ in 0..FRAMES / BATCH {
        std::hint::black_box(sink.take(batch()));
    }
    Ok(())
}

fn over_channel() -> Outcome {
    let (here, there) = (one_thread()?, one_thread()?);
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Vec<Bytes>>(CHANNEL);
    let counting = there.spawn(async move {
        let mut count = 0;
        while let Some(frames) = receiver.recv().await {
            count += frames.len();
        }
        count
    });
    let sending = here.spawn(async move {
        for _ in 0..FRAMES / BATCH {
            if sender.send(batch()).await.is_err() {
                return;
            }
        }
    });
    here.block_on(sending)?;
    let count = here.block_on(counting)?;
    if count == FRAMES { Ok(()) } else { Err(Failure::new("the channel lost frames")) }
}

fn one_thread() -> Outcome<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// What the host's side of the plugin hears.
#[derive(Default)]
struct Heard {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    frames: usize,
    room: bool,
}

impl Heard {
    fn note(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until `done` says so; it may change the state.
    fn wait(&self, mut done: impl FnMut(&mut State) -> bool) -> Outcome {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, PATIENCE, |state| !done(state));
        if waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
            Err(Failure::new("the plugin does not go on"))
        } else {
            Ok(())
        }
    }
}

impl TransportEvents for Heard {
    fn link_up(&self, _up: LinkUp) {}

    fn link_down(&self, _link: u64, _reason: &str) {}

    fn path_changed(&self, _link: u64, _path: NewPath<'_>) {}

    fn frames(&self, _link: u64, batch: &mut FrameBatch<'_>) {
        let mut count = 0;
        while let Some(frame) = batch.pop() {
            std::hint::black_box(&frame);
            count += 1;
        }
        self.note(|state| state.frames += count);
    }

    fn writable(&self, _link: u64) {
        self.note(|state| state.room = true);
    }

    fn unsent(&self, _frames: Vec<Frame>) {}
}

struct Ears(Arc<Heard>);

impl Listeners for Ears {
    fn transport(&self, _name: &str) -> Arc<dyn TransportEvents> {
        Arc::clone(&self.0) as Arc<dyn TransportEvents>
    }
}

/// The loopback plugin, loaded and linked to itself.
struct Plugin {
    heard: Arc<Heard>,
    transport: TransportHandle,
    link: u64,
    _registry: Registry,
    _runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Plugin {
    fn start(uri: &str) -> Outcome<Self> {
        let (runtime, folder, heard) = (one_thread()?, tempfile::tempdir()?, Arc::new(Heard::default()));
        let settings = Settings {
            folder: folder.path().join("plugins"),
            pinned: Vec::new(),
            trusted_with_key: Vec::new(),
            program: None,
            watch: false,
            restarts: qpq_host::plugin::RestartPolicy::default(),
            identity: Arc::new(Identity::from_seed(&[1; 32])),
            listeners: Arc::new(Ears(Arc::clone(&heard))),
        };
        let spec = PluginSpec { name: "loopback".to_owned(), file: file()?, config: serde_json::json!({}) };
        let (registry, transport, link) = runtime.block_on(async {
            let (registry, mut events) = Registry::start(settings, vec![spec])?;
            let transport = match events.recv().await {
                Some(PluginEvent::Started { running: Running::Transport(transport), .. }) => transport,
                Some(PluginEvent::Failed { reason, .. }) => return Err(Failure::new(reason)),
                _ => return Err(Failure::new("the loopback plugin is no transport")),
            };
            let link = transport.dial(uri, None).await?;
            Ok((registry, transport, link))
        })?;
        Ok(Self { heard, transport, link, _registry: registry, _runtime: runtime, _folder: folder })
    }

    /// Sends all frames, waiting for room as the host does.
    fn send(&self) -> Outcome {
        for _ in 0..FRAMES / BATCH {
            let frames: Vec<_> = batch().into_iter().map(|bytes| Frame { link: self.link, bytes }).collect();
            let mut rest = &frames[..];
            loop {
                self.heard.note(|state| state.room = false);
                rest = rest.get(self.transport.send(rest)..).unwrap_or_default();
                if rest.is_empty() {
                    break;
                }
                self.heard.wait(|state| state.room)?;
            }
        }
        Ok(())
    }

    fn there_and_back(&self) -> Outcome {
        self.heard.note(|state| state.frames = 0);
        self.send()?;
        self.heard.wait(|state| state.frames == FRAMES)
    }

    fn one_way(&self) -> Outcome {
        let arrived = || self.transport.stats()["arrived"].as_u64().unwrap_or_default();
        let wanted = arrived() + FRAMES as u64;
        self.send()?;
        let began = Instant::now();
        while arrived() < wanted {
            if began.elapsed() > PATIENCE {
                return Err(Failure::new("frames were lost on the way to the plugin"));
            }
            std::thread::yield_now();
        }
        Ok(())
    }
}

/// The example plugin, where cargo puts it.
fn file() -> Outcome<PathBuf> {
    let path = binaries::dir()?.join("examples/libloopback.so");
    if path.exists() {
        return Ok(path);
    }
    Err(Failure::new(format!("{} is missing: run `cargo build --release -p qpq-tests --examples`", path.display())))
}
