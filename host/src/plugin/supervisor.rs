//! Keeps one plugin running: starts it, waits for its failure, starts it again or gives up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::error::PluginError;
use super::instance::{End, Instance, STOP_DEADLINE};
use super::loader::Image;
use super::policy::{RestartPolicy, Verdict};
use super::registry::{PluginEvent, PluginSpec, Running, Shared};
use crate::api::PluginStatus;

/// What the registry asks of a supervisor.
pub(super) enum Command {
    /// The admin wants it on: forget the failures, and start it now if it isn't.
    Enable(oneshot::Sender<()>),
    /// Drain and stop it for good, within that time.
    Stop(Duration, oneshot::Sender<()>),
}

/// The state that others see.
pub(super) struct Live {
    pub(super) status: PluginStatus,
    pub(super) restart_at: Option<Instant>,
    pub(super) instance: Option<Arc<Instance>>,
}

/// A plugin's state, shared with the registry.
pub(super) type LiveState = Arc<Mutex<Live>>;

pub(super) struct Supervisor {
    spec: PluginSpec,
    shared: Arc<Shared>,
    live: LiveState,
    commands: mpsc::Receiver<Command>,
    policy: RestartPolicy,
    begun: Instant,
    /// Digests of the libraries that ran, in order.
    images: Vec<String>,
}

/// What to do next.
enum Next {
    Start,
    Wait(Option<Duration>),
    End,
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
            shared,
            live,
            commands,
            policy: RestartPolicy::default(),
            begun: Instant::now(),
            images: Vec::new(),
        }
    }

    /// Runs until the plugin is told to stop, or the registry is gone.
    pub(super) async fn run(mut self) {
        let mut next = Next::Start;
        loop {
            next = match next {
                Next::Start => self.one_life().await,
                Next::Wait(time) => self.wait(time).await,
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
        match self.bring_up().await {
            Ok(instance) => {
                let failure = self.attend(&instance).await;
                self.take_down(&instance, failure).await
            }
            // The same file and configuration would be refused again: wait for the admin.
            Err(error @ PluginError::Load(_)) => {
                self.report("failed", &error, None).await;
                Next::Wait(None)
            }
            Err(error) => self.failed(&error, "failed").await,
        }
    }

    async fn bring_up(&mut self) -> Result<Arc<Instance>, PluginError> {
        let shared = Arc::clone(&self.shared);
        self.set_state("starting");
        let image = shared.load(&self.spec).await?;
        self.describe(&image);
        let port = shared.port(&self.spec.name, &image);
        let instance = Instance::create(image, port, &self.spec.config).await?;
        let started = instance.start().await;
        if let Err(error) = started {
            self.shut(&instance, None, STOP_DEADLINE).await;
            return Err(error);
        }
        self.announce(&instance).await;
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

    /// Waits until the instance fails (the error) or shall stop (the command).
    async fn attend(&mut self, instance: &Arc<Instance>) -> Result<(Duration, oneshot::Sender<()>), PluginError> {
        loop {
            tokio::select! {
                why = instance.port.failed() => return Err(instance.failed("work", why.status, &why.message)),
                command = self.commands.recv() => match command {
                    Some(Command::Enable(done)) => { let _ = done.send(()); }
                    Some(Command::Stop(time, done)) => return Ok((time, done)),
                    None => return Ok((STOP_DEADLINE, oneshot::channel().0)),
                },
            }
        }
    }

    async fn take_down(
        &mut self,
        instance: &Arc<Instance>,
        why: Result<(Duration, oneshot::Sender<()>), PluginError>,
    ) -> Next {
        self.live().instance = None;
        match why {
            Ok((time, done)) => {
                self.set_state("quiescing");
                let end = self.shut(instance, Some(time / 2), time / 2).await;
                self.set_state(if end == End::Stopped { "stopped" } else { "zombie" });
                let _ = done.send(());
                Next::End
            }
            Err(error) => {
                let end = self.shut(instance, None, STOP_DEADLINE).await;
                self.failed(&error, if end == End::Stopped { "failed" } else { "zombie" }).await
            }
        }
    }

    async fn shut(&self, instance: &Arc<Instance>, quiesce: Option<Duration>, deadline: Duration) -> End {
        let end = instance.shut(quiesce, deadline).await;
        if instance.late_calls() > 0 {
            tracing::warn!(plugin = %self.spec.name, calls = instance.late_calls(), "calls after the stop were refused");
        }
        end
    }

    async fn failed(&mut self, error: &PluginError, state: &str) -> Next {
        match self.policy.failed(self.begun.elapsed(), rand::random()) {
            Verdict::Restart(wait) => {
                self.report(state, error, Some(wait)).await;
                Next::Wait(Some(wait))
            }
            Verdict::Disable => {
                self.report("disabled", error, None).await;
                Next::Wait(None)
            }
        }
    }

    async fn report(&mut self, state: &str, error: &PluginError, restart: Option<Duration>) {
        let name = self.spec.name.clone();
        let remedy = match restart {
            Some(_) => String::new(),
            None => format!(
                " When the file is mended, run: qpq plugin enable {name}. When the configuration is, start the node again."
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
        let event = PluginEvent::Failed { name, reason, restart, disabled: state == "disabled" };
        self.shared.tell(event).await;
    }

    /// Waits for the time of the next start (`None`: only the admin starts it).
    async fn wait(&mut self, time: Option<Duration>) -> Next {
        let sleep = async {
            match time {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => Next::Start,
            command = self.commands.recv() => match command {
                Some(Command::Enable(done)) => {
                    self.policy.clear();
                    {
                        let mut live = self.live();
                        live.status.failures = 0;
                        live.restart_at = None;
                    }
                    let _ = done.send(());
                    Next::Start
                }
                Some(Command::Stop(_, done)) => {
                    let _ = done.send(());
                    Next::End
                }
                None => Next::End,
            },
        }
    }
}
