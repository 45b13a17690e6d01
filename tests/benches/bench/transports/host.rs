//! Two ends as the node has them: the plugin as the host's loader loads it, its handle, and the link's state machine, which
//! proves the peer, packs envelopes into blocks and takes them apart.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use iroh::RelayUrl;
use qpq_host::identity::{Identity, PeerSet};
use qpq_host::link::{Link, LinkConfig, LinkInput, LinkOutput, LinkSetup};
use qpq_host::plugin::{
    Frame, LinkUp, Listeners, NewPath, PluginEvent, PluginSpec, Registry, Running, Settings, TransportEvents,
    TransportHandle,
};
use qpq_plugin_api::{FrameBatch, FrameQueue};
use qpq_schemas::link::{Frame as LinkFrame, Role};
use qpq_tests::{Failure, Outcome, binaries};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};

use super::{BATCH, Carrier, batch};

/// How long anything may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Blocks that are taken out of the inbox at once, as the node does it; and their bytes.
const TAKE: (usize, usize) = (64, 1 << 20);

/// Which plugin.
pub(super) enum Kind<'a> {
    Quic,
    /// Direct, or through that relay only.
    Iroh(Option<&'a RelayUrl>),
}

impl Kind<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Quic => "transport-quic",
            Self::Iroh(_) => "transport-iroh",
        }
    }

    fn config(&self) -> serde_json::Value {
        match self {
            Self::Iroh(Some(url)) => json!({ "relays": [url.to_string()], "relay_only": true }),
            _ => json!({}),
        }
    }
}

/// What the plugin's threads leave for an end.
#[derive(Default)]
struct Ears {
    up: Mutex<Option<mpsc::Sender<LinkUp>>>,
    frames: FrameQueue,
    /// Frames came, there is room, or the link is gone.
    news: Notify,
}

impl TransportEvents for Ears {
    fn link_up(&self, up: LinkUp) {
        if let Some(sender) = &*self.up.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = sender.try_send(up);
        }
    }
    fn link_down(&self, _link: u64, _reason: &str) {}
    fn path_changed(&self, _link: u64, _path: NewPath<'_>) {}
    fn frames(&self, _link: u64, batch: &mut FrameBatch<'_>) {
        self.frames.accept(batch);
        self.news.notify_one();
    }
    fn writable(&self, _link: u64) {
        self.news.notify_one();
    }
    fn unsent(&self, _frames: Vec<Frame>) {}
}

struct Same(Arc<Ears>);

impl Listeners for Same {
    fn transport(&self, _name: &str) -> Arc<dyn TransportEvents> {
        Arc::clone(&self.0) as Arc<dyn TransportEvents>
    }
}

/// A plugin that runs, and whoever listens to it.
struct Half {
    identity: Arc<Identity>,
    transport: TransportHandle,
    ears: Arc<Ears>,
    ups: mpsc::Receiver<LinkUp>,
    _registry: Registry,
    _folder: tempfile::TempDir,
}

impl Half {
    async fn start(kind: &Kind<'_>, seed: u8) -> Outcome<Self> {
        let (folder, ears) = (tempfile::tempdir()?, Arc::new(Ears::default()));
        let (sender, ups) = mpsc::channel(4);
        *ears.up.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        let identity = Arc::new(Identity::from_seed(&[seed; 32]));
        let settings = Settings {
            folder: folder.path().join("plugins"),
            pinned: Vec::new(),
            trusted_with_key: vec![kind.name().to_owned()],
            program: None,
            watch: false,
            restarts: qpq_host::plugin::RestartPolicy::default(),
            identity: identity.clone(),
            listeners: Arc::new(Same(Arc::clone(&ears))),
        };
        let spec =
            PluginSpec { name: kind.name().to_owned(), file: binaries::plugin(kind.name())?, config: kind.config() };
        let (registry, mut events) = Registry::start(settings, vec![spec])?;
        match events.recv().await {
            Some(PluginEvent::Started { running: Running::Transport(transport), .. }) => {
                Ok(Self { identity, transport, ears, ups, _registry: registry, _folder: folder })
            }
            Some(PluginEvent::Failed { reason, .. }) => Err(Failure::new(reason)),
            _ => Err(Failure::new(format!("{} is no transport", kind.name()))),
        }
    }

    /// Where the other half dials this one.
    async fn address(&self, kind: &Kind<'_>) -> Outcome<String> {
        match kind {
            Kind::Quic => Ok(self.transport.listen("quic://127.0.0.1:0").await?),
            Kind::Iroh(None) => Ok(self.transport.listen("iroh://127.0.0.1:0").await?),
            Kind::Iroh(Some(_)) => {
                let connected = || self.transport.stats()["relays"][0]["connected"] == true;
                let began = Instant::now();
                while !connected() && began.elapsed() < PATIENCE {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Ok(format!("iroh://{}", self.identity.peer_id()))
            }
        }
    }

    /// The link that came up, with its state machine.
    async fn end(mut self) -> Outcome<End> {
        let up = self.ups.recv().await.ok_or_else(|| Failure::new("no link came up"))?;
        let setup = LinkSetup {
            role: if up.outbound { Role::Initiator } else { Role::Responder },
            identity: Arc::clone(&self.identity),
            blocked: PeerSet::default(),
            expected: None,
            proven_by_transport: up.peer,
            binding: up.channel_binding,
            max_frame: up.max_frame,
            reliable: up.reliable,
        };
        let machine = Link::new(setup, LinkConfig::default(), 0, &mut rand::rng());
        Ok(End {
            number: up.link,
            machine,
            began: Instant::now(),
            waiting: Vec::new(),
            ready: false,
            arrived: 0,
            half: self,
        })
    }
}

/// One end of a link.
struct End {
    number: u64,
    machine: Link,
    began: Instant,
    /// What the transport has not taken yet.
    waiting: Vec<Frame>,
    ready: bool,
    /// Envelopes.
    arrived: usize,
    half: Half,
}

impl End {
    fn step(&mut self, input: LinkInput) -> Outcome {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut outputs = Vec::new();
        self.machine.handle(input, now_ms, &mut outputs);
        for output in outputs {
            match output {
                LinkOutput::Transmit(bytes) => self.waiting.push(Frame { link: self.number, bytes }),
                LinkOutput::Ready { .. } => self.ready = true,
                LinkOutput::Frame(LinkFrame::Envelopes(envelopes)) => self.arrived += envelopes.len(),
                LinkOutput::NotSent(error) => return Err(Failure::new(error.to_string())),
                LinkOutput::Closed(reason) => return Err(Failure::new(reason.to_string())),
                _ => {}
            }
        }
        let taken = self.half.transport.send(&self.waiting);
        self.waiting.drain(..taken.min(self.waiting.len()));
        Ok(())
    }

    /// Waits for news and does what follows.
    async fn go_on(&mut self) -> Outcome {
        if tokio::time::timeout(Duration::from_millis(500), self.half.ears.news.notified()).await.is_err() {
            return self.step(LinkInput::Tick);
        }
        loop {
            let mut blocks: Vec<Bytes> = Vec::new();
            let taken = self.half.ears.frames.take(&mut blocks, TAKE.0, TAKE.1);
            if taken.tell_other_side {
                self.half.transport.resume(self.number);
            }
            if blocks.is_empty() {
                let taken = self.half.transport.send(&self.waiting);
                self.waiting.drain(..taken.min(self.waiting.len()));
                return Ok(());
            }
            for block in blocks {
                self.step(LinkInput::Received(block))?;
            }
        }
    }

    async fn until(&mut self, done: impl Fn(&Self) -> bool) -> Outcome {
        while !done(self) {
            self.go_on().await?;
        }
        Ok(())
    }

    async fn send(&mut self, batches: usize) -> Outcome {
        for _ in 0..batches {
            self.step(LinkInput::Send(vec![LinkFrame::Envelopes(batch())]))?;
            self.until(|end| end.waiting.is_empty()).await?;
        }
        Ok(())
    }
}

/// Two ends of one link.
pub(super) struct Pair {
    runtime: Runtime,
    /// `None` while they carry, and after a failure.
    ends: Option<(End, End)>,
}

impl Pair {
    pub(super) fn start(kind: &Kind<'_>) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let ends = runtime.block_on(async {
            let (here, there) = (Half::start(kind, 1).await?, Half::start(kind, 2).await?);
            let address = there.address(kind).await?;
            if matches!(kind, Kind::Iroh(Some(_))) {
                here.address(kind).await?;
            }
            here.transport.dial(&address, Some(there.identity.peer_id())).await?;
            let (mut near, mut far) = (here.end().await?, there.end().await?);
            near.step(LinkInput::Start)?;
            far.step(LinkInput::Start)?;
            let (one, two) = tokio::join!(near.until(|end| end.ready), far.until(|end| end.ready));
            one.and(two)?;
            Ok::<_, Failure>((near, far))
        })?;
        Ok(Self { runtime, ends: Some(ends) })
    }
}

impl Carrier for Pair {
    fn carry(&mut self, envelopes: usize) -> Outcome<f64> {
        let batches = envelopes / BATCH;
        let (mut near, mut far) = self.ends.take().ok_or_else(|| Failure::new("the link broke before"))?;
        let wanted = far.arrived + batches * BATCH;
        let run = async move {
            let began = Instant::now();
            // A task for each, as in the node.
            let sending = tokio::spawn(async move { near.send(batches).await.map(|()| near) });
            let reading = tokio::spawn(async move { far.until(|end| end.arrived >= wanted).await.map(|()| far) });
            let far = reading.await??;
            let took = began.elapsed().as_secs_f64();
            Ok::<_, Failure>((took, (sending.await??, far)))
        };
        let (took, ends) = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, run).await? })?;
        self.ends = Some(ends);
        Ok(took)
    }
}
