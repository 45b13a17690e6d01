//! Keeps one plugin running: starts it, waits for its failure, starts it again or gives up.

mod swapping;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qpq_schemas::PeerId;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::error::PluginError;
use super::instance::{End, Instance, STOP_DEADLINE};
use super::loader::Image;
use super::policy::{RestartPolicy, Verdict};
use super::port::Port;
use super::registry::{PluginEvent, PluginSpec, Running, Shared};
use super::swap::{Probation, Quarantine};
use crate::api::PluginStatus;

/// What the registry asks of a supervisor.
pub(super) enum Command {
    /// The admin wants it on: forget the failures, and start it now if it isn't, with that configuration where it is given.
    Enable(Option<Value>, oneshot::Sender<()>),
    /// Replace its library.
    Swap(Order),
    /// Its file may have changed.
    Changed,
    /// Drain and stop it for good, within that time.
    Stop(Duration, oneshot::Sender<()>),
}

/// The admin's order to replace a library.
pub(super) struct Order {
    /// The new one; `None` for the configured file.
    pub(super) file: Option<PathBuf>,
    /// Hears what came of it.
    pub(super) reply: oneshot::Sender<Result<(), PluginError>>,
}

/// The state that others see.
pub(super) struct Live {
    pub(super) status: PluginStatus,
    pub(super) restart_at: Option<Instant>,
    pub(super) instance: Option<Arc<Instance>>,
    /// The pause of the last swap, while it isn't over yet.
    pub(super) pause: Option<Pause>,
}

/// So many lives may end in a call that does not come back; each leaves a thread. After that a plugin that was switched off is
/// no more tried by itself.
const MAX_HUNG: u32 = 24;

/// A neighbour that is not back after so long does not count in the pause: it may have gone for good.
const MISSED: Duration = Duration::from_secs(5);

/// A pause that is measured: how long a neighbour had no link, from the last frame that the old instance took in to the first
/// of the new; none for one that came over before its old link had ended. The longest of all neighbours counts.
pub(super) struct Pause {
    /// When the old one was told to part: where nothing flowed, the pause began then.
    parted: Instant,
    old: Arc<Port>,
    new: Arc<Port>,
}

impl Pause {
    /// How long it was; `None` while it goes on.
    fn length(&self) -> Option<Duration> {
        let (before, after) = (self.old.taken(), self.new.taken());
        let pause = |(peer, (_, last)): (&PeerId, &(Instant, Instant))| {
            let (first, _) = after.get(peer)?;
            Some(first.saturating_duration_since((*last).max(self.parted)))
        };
        let over: Vec<Duration> = before.iter().filter_map(pause).collect();
        let all = over.len() == before.len() || self.parted.elapsed() >= MISSED;
        over.into_iter().max().filter(|_| all)
    }
}

impl Live {
    /// Puts the pause into the report of the last swap, once it is over.
    pub(super) fn measure_pause(&mut self) {
        let over = self.pause.as_ref().and_then(Pause::length);
        if let (Some(pause), Some(report)) = (over, self.status.swaps.last_mut()) {
            report.pause_us = Some(u64::try_from(pause.as_micros()).unwrap_or(u64::MAX));
            self.pause = None;
        }
    }
}

/// A plugin's state, shared with the registry.
pub(super) type LiveState = Arc<Mutex<Live>>;

pub(super) struct Supervisor {
    spec: PluginSpec,
    shared: Arc<Shared>,
    live: LiveState,
    commands: mpsc::Receiver<Command>,
    policy: RestartPolicy,
    /// Lives that ended in a call that does not come back.
    hung: u32,
    begun: Instant,
    /// Digests of the libraries that ran, in order.
    images: Vec<String>,
    /// The library to start, after a swap; before one, what the configured file holds.
    chosen: Option<Arc<Image>>,
    /// Since the last swap.
    probation: Option<Probation>,
    quarantine: Quarantine,
    /// What the last swap left behind, for its report.
    left_behind: Option<&'static str>,
}

/// What ends an instance, or may.
enum Fate {
    Failed(PluginError),
    Stop(Duration, oneshot::Sender<()>),
    Swap(Order),
    Changed,
}

/// What to do next.
enum Next {
    Start,
    Wait(Pending),
    End,
}

/// What is waited for before the next start, besides the admin.
#[derive(Clone, Copy)]
struct Pending {
    /// The time; `None`: no start by itself.
    time: Option<Duration>,
    /// Another file starts it at once.
    or_file: bool,
}

impl Supervisor {
    pub(super) fn new(
        spec: PluginSpec,
        shared: Arc<Shared>,
        live: LiveState,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        Self {
            spec,
            live,
            commands,
            policy: shared.restarts.clone(),
            shared,
            hung: 0,
            begun: Instant::now(),
            images: Vec::new(),
            chosen: None,
            probation: None,
            quarantine: Quarantine::default(),
            left_behind: None,
        }
    }

    /// Runs until the plugin is told to stop, or the registry is gone.
    pub(super) async fn run(mut self) {
        let mut next = Next::Start;
        loop {
            next = match next {
                Next::Start => self.one_life().await,
                Next::Wait(pending) => self.wait(pending).await,
                Next::End => return,
            };
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_state(&self, state: &str) {
        state.clone_into(&mut self.live().status.state);
    }

    async fn one_life(&mut self) -> Next {
        let mut instance = match self.bring_up().await {
            Ok(instance) => instance,
            Err(error) => return self.failed(&error, "failed").await,
        };
        self.announce(&instance).await;
        loop {
            let swapped = match self.attend(&instance).await {
                Fate::Failed(error) => return self.broken(&instance, &error).await,
                Fate::Stop(time, done) => return self.end(&instance, time, done).await,
                Fate::Swap(order) => self.ordered_swap(instance, order).await,
                Fate::Changed => self.swap_if_changed(instance).await,
            };
            instance = match swapped {
                Ok(instance) => instance,
                Err(next) => return next,
            };
        }
    }

    async fn bring_up(&mut self) -> Result<Arc<Instance>, PluginError> {
        self.set_state("starting");
        let image = match &self.chosen {
            Some(image) => Arc::clone(image),
            None => self.shared.load_tried(&self.spec).await?,
        };
        self.describe(&image);
        self.make(image).await
    }

    /// An instance of that library, started.
    async fn make(&self, image: Arc<Image>) -> Result<Arc<Instance>, PluginError> {
        let port = self.shared.port(&self.spec.name, &image);
        let instance = Instance::create(image, port, &self.spec.config).await?;
        if let Err(error) = instance.start().await {
            self.shut(&instance, None, STOP_DEADLINE).await;
            return Err(error);
        }
        Ok(instance)
    }

    /// Shows what was loaded.
    fn describe(&mut self, image: &Image) {
        let known = self.images.iter().position(|digest| *digest == image.sha256);
        let place = known.unwrap_or_else(|| {
            self.images.push(image.sha256.clone());
            self.images.len() - 1
        });
        let mut live = self.live();
        let info = &image.descriptor.info;
        live.status.kind.clone_from(&info.kind);
        live.status.version.clone_from(&info.version);
        live.status.sha256.clone_from(&image.sha256);
        live.status.generation = u32::try_from(place + 1).unwrap_or(u32::MAX);
    }

    async fn announce(&mut self, instance: &Arc<Instance>) {
        {
            let mut live = self.live();
            "active".clone_into(&mut live.status.state);
            live.restart_at = None;
            live.instance = Some(Arc::clone(instance));
        }
        tracing::info!(plugin = %self.spec.name, version = %instance.image.descriptor.info.version, "plugin started");
        if let Some(running) = Running::of(instance) {
            self.shared.tell(PluginEvent::Started { name: self.spec.name.clone(), running }).await;
        }
    }

    /// Waits for something that ends the instance.
    async fn attend(&mut self, instance: &Arc<Instance>) -> Fate {
        loop {
            tokio::select! {
                why = instance.port.failed() => return Fate::Failed(instance.failed("work", why.status, &why.message)),
                command = self.commands.recv() => match command {
                    Some(Command::Enable(_, done)) => { let _ = done.send(()); }
                    Some(Command::Swap(order)) => return Fate::Swap(order),
                    Some(Command::Changed) => return Fate::Changed,
                    Some(Command::Stop(time, done)) => return Fate::Stop(time, done),
                    None => return Fate::Stop(STOP_DEADLINE, oneshot::channel().0),
                },
            }
        }
    }

    async fn end(&mut self, instance: &Arc<Instance>, time: Duration, done: oneshot::Sender<()>) -> Next {
        self.live().instance = None;
        self.set_state("quiescing");
        let end = self.shut(instance, Some(time / 2), time / 2).await;
        self.set_state(if end == End::Stopped { "stopped" } else { "zombie" });
        let _ = done.send(());
        Next::End
    }

    /// A running instance failed.
    async fn broken(&mut self, instance: &Arc<Instance>, error: &PluginError) -> Next {
        self.live().instance = None;
        let end = self.shut(instance, None, STOP_DEADLINE).await;
        if self.go_back(instance, error) {
            return Next::Start;
        }
        self.failed(error, if end == End::Stopped { "failed" } else { "zombie" }).await
    }

    async fn shut(&self, instance: &Arc<Instance>, quiesce: Option<Duration>, deadline: Duration) -> End {
        let end = instance.shut(quiesce, deadline).await;
        if instance.late_calls() > 0 {
            tracing::warn!(plugin = %self.spec.name, calls = instance.late_calls(), "calls after the stop were refused");
        }
        end
    }

    async fn failed(&mut self, error: &PluginError, state: &str) -> Next {
        self.hung += u32::from(state == "zombie" || matches!(error, PluginError::Hung { .. }));
        let (state, pending) = if error.is_lasting() {
            (state, Pending { time: None, or_file: true })
        } else {
            match self.policy.failed(self.begun.elapsed(), rand::random()) {
                Verdict::Restart(wait) => (state, Pending { time: Some(wait), or_file: false }),
                Verdict::Disable(wait) => {
                    ("disabled", Pending { time: Some(wait).filter(|_| self.hung < MAX_HUNG), or_file: true })
                }
            }
        };
        self.report(state, error, pending.time).await;
        Next::Wait(pending)
    }

    async fn report(&mut self, state: &str, error: &PluginError, restart: Option<Duration>) {
        let name = self.spec.name.clone();
        let disabled = state == "disabled";
        let remedy = match restart {
            Some(_) if !disabled => String::new(),
            Some(_) => format!(
                " It is off, and tried again now and then, ever more seldom, at last each hour. At once: qpq plugin enable {name}."
            ),
            None if matches!(error, PluginError::KeyKept { .. }) => format!(" Then run: qpq plugin enable {name}."),
            None => format!(
                " When that is mended, run: qpq plugin enable {name}. It reads the file and the plugin's section of the \
                 configuration anew."
            ),
        };
        let reason = format!("{error}{remedy}");
        tracing::error!(plugin = %name, state, restart_ms = restart.map(|r| r.as_millis() as u64), "{reason}");
        let failures = self.policy.recent(self.begun.elapsed());
        {
            let mut live = self.live();
            state.clone_into(&mut live.status.state);
            live.status.failures = failures;
            live.status.last_error = Some(reason.clone());
            live.restart_at = restart.map(|wait| Instant::now() + wait);
        }
        let event = PluginEvent::Failed { name, reason, restart, disabled };
        self.shared.tell(event).await;
    }

    /// Waits for the next start.
    async fn wait(&mut self, pending: Pending) -> Next {
        let end = pending.time.map(|time| tokio::time::Instant::now() + time);
        loop {
            let sleep = async {
                match end {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            let command = tokio::select! {
                () = sleep => return Next::Start,
                command = self.commands.recv() => command,
            };
            match command {
                Some(Command::Enable(config, done)) => {
                    if let Some(config) = config {
                        self.spec.config = config;
                    }
                    self.begin_afresh();
                    let _ = done.send(());
                    return Next::Start;
                }
                Some(Command::Changed) if pending.or_file && self.is_new().await => {
                    self.begin_afresh();
                    return Next::Start;
                }
                Some(Command::Changed) => {}
                Some(Command::Swap(order)) => {
                    if self.replace_stopped(order).await {
                        return Next::Start;
                    }
                }
                Some(Command::Stop(_, done)) => {
                    let _ = done.send(());
                    return Next::End;
                }
                None => return Next::End,
            }
        }
    }

    /// The admin acted: no failure counts any more, and the configured file is loaded again.
    fn begin_afresh(&mut self) {
        self.policy.clear();
        self.chosen = None;
        self.probation = None;
        let mut live = self.live();
        live.status.failures = 0;
        live.restart_at = None;
    }
}
