//! Replaces a running plugin's library. The order of the steps, and why, stands in `host/docs/swap.md`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::{Next, Order, Pause, Supervisor};
use crate::api::SwapReport;
use crate::plugin::error::{PluginError, SwapProblem};
use crate::plugin::instance::{End, Instance, STOP_DEADLINE};
use crate::plugin::loader::Image;
use crate::plugin::registry::KIND_UNKNOWN;
use crate::plugin::swap::{DRAIN, Probation, keep};
use crate::plugin::{check, file};

/// Said of a swap whose old instance hangs.
const ZOMBIE: &str = "the old instance did not stop in time; it is left alone as a zombie, which keeps its memory until \
                      the node starts again";

/// What came of a change-over.
enum Outcome {
    /// The new one runs.
    Done(Arc<Instance>),
    /// The old one never stopped.
    Refused(Arc<Instance>, PluginError),
    /// The old library runs again, in a new instance.
    FellBack(Arc<Instance>, PluginError),
    /// Neither runs.
    Lost(PluginError),
}

impl Supervisor {
    fn problem(&self, problem: SwapProblem) -> PluginError {
        PluginError::Swap { plugin: self.spec.name.clone(), problem }
    }

    /// The admin's order, while the plugin runs.
    pub(super) async fn ordered_swap(&mut self, old: Arc<Instance>, order: Order) -> Result<Arc<Instance>, Next> {
        let file = order.file.clone().unwrap_or_else(|| self.spec.file.clone());
        if let Some(sha256) = digest(&file).await {
            self.quarantine.pardon(&sha256);
        }
        let any_id = order.file.is_some();
        let (result, error) = self.swap(old, file, any_id).await;
        let _ = order.reply.send(error.map_or(Ok(()), Err)); // who asked may have gone
        result
    }

    /// An order while nothing runs, and something waits to be started: another library is started in its place. Whether there
    /// is something to start. Without a file there is nothing to replace; `qpq plugin enable` is for that.
    pub(super) async fn replace_stopped(&mut self, order: Order) -> bool {
        let Some(file) = order.file.clone() else {
            self.refuse_order(order);
            return false;
        };
        let kind = self.live().status.kind.clone();
        let loaded = self.try_stopped(&file, &kind).await;
        match loaded {
            Ok(image) => {
                self.begin_afresh();
                self.chosen = Some(image);
                let _ = order.reply.send(Ok(())); // who asked may have gone
                true
            }
            Err(error) => {
                let _ = order.reply.send(Err(error));
                false
            }
        }
    }

    async fn try_stopped(&mut self, file: &Path, kind: &str) -> Result<Arc<Image>, PluginError> {
        if let Some(sha256) = digest(file).await {
            self.quarantine.pardon(&sha256);
        }
        if let Some(program) = &self.shared.program
            && let Some(why) = check::fatal(program, file).await
        {
            return Err(self.problem(SwapProblem::Fatal(why)));
        }
        let image = Arc::clone(&self.shared).load(&self.spec, file).await?;
        let new = &image.descriptor.info;
        if kind != KIND_UNKNOWN && new.kind != kind {
            return Err(self.problem(SwapProblem::OtherKind(new.kind.clone(), kind.to_owned())));
        }
        if new.kind == "store" {
            return Err(self.problem(SwapProblem::Unsupported(new.kind.clone())));
        }
        Ok(image)
    }

    /// An order while nothing runs.
    pub(super) fn refuse_order(&self, order: Order) {
        let state = self.live().status.state.clone();
        let _ = order.reply.send(Err(self.problem(SwapProblem::NotRunning(state))));
    }

    /// The watcher saw something happen to the file.
    pub(super) async fn swap_if_changed(&mut self, old: Arc<Instance>) -> Result<Arc<Instance>, Next> {
        if !self.is_new().await {
            return Ok(old);
        }
        let file = self.spec.file.clone();
        self.swap(old, file, false).await.0
    }

    /// Whether the configured file holds a library that neither runs nor is known as bad.
    pub(super) async fn is_new(&self) -> bool {
        let Some(sha256) = digest(&self.spec.file).await else { return false };
        if let Some(why) = self.quarantine.why(&sha256) {
            let name = &self.spec.name;
            tracing::info!(plugin = %name, why, "the file holds a library that failed before; `qpq plugin swap {name}` tries it again");
            return false;
        }
        self.live().status.sha256 != sha256
    }

    async fn swap(
        &mut self,
        old: Arc<Instance>,
        file: PathBuf,
        any_id: bool,
    ) -> (Result<Arc<Instance>, Next>, Option<PluginError>) {
        let began = Instant::now();
        self.open_report(&file);
        let tried = digest(&file).await; // by its end another library may stand there
        let outcome = match self.prepare(&old, &file, any_id).await {
            Ok(new) => self.change_over(old, new).await,
            Err(error) => Outcome::Refused(old, error),
        };
        let (state, error) = match &outcome {
            Outcome::Done(_) => ("done", None),
            Outcome::Refused(_, error) => ("refused", Some(error.clone())),
            Outcome::FellBack(_, error) => ("fell-back", Some(error.clone())),
            Outcome::Lost(error) => ("failed", Some(error.clone())),
        };
        self.close_report(state, error.as_ref(), began);
        if let (Some(error), Some(sha256)) = (&error, tried) {
            self.quarantine.add(&sha256, &error.to_string());
        }
        let result = match outcome {
            Outcome::Done(instance) | Outcome::Refused(instance, _) | Outcome::FellBack(instance, _) => Ok(instance),
            Outcome::Lost(error) => Err(self.failed(&error, "failed").await),
        };
        (result, error)
    }

    /// Loads, checks, makes and starts the new one beside the old.
    async fn prepare(&mut self, old: &Arc<Instance>, file: &Path, any_id: bool) -> Result<Arc<Instance>, PluginError> {
        self.phase("being tried and loaded", "active");
        if let Some(program) = &self.shared.program
            && let Some(why) = check::fatal(program, file).await
        {
            return Err(self.problem(SwapProblem::Fatal(why)));
        }
        let image = Arc::clone(&self.shared).load(&self.spec, file).await?;
        let (new, running) = (&image.descriptor.info, &old.image.descriptor.info);
        if let Some(report) = self.live().status.swaps.last_mut() {
            report.version.clone_from(&new.version);
            report.sha256.clone_from(&image.sha256);
        }
        if new.kind != running.kind {
            return Err(self.problem(SwapProblem::OtherKind(new.kind.clone(), running.kind.clone())));
        }
        if new.kind == "store" {
            return Err(self.problem(SwapProblem::Unsupported(new.kind.clone())));
        }
        if new.id != running.id && !any_id {
            return Err(self.problem(SwapProblem::OtherId(new.id.clone(), running.id.clone())));
        }
        self.phase("loaded; it is being created and started", "active");
        let new = self.make(image).await?;
        self.phase("started", "active");
        Ok(new)
    }

    async fn change_over(&mut self, old: Arc<Instance>, new: Arc<Instance>) -> Outcome {
        let before = Arc::clone(&old.image);
        let outcome = if old.needs_exclusive() || new.needs_exclusive() {
            self.one_after_the_other(old, new).await
        } else {
            self.side_by_side(old, new).await
        };
        if let Outcome::Done(new) = &outcome {
            self.probation = Some(Probation::new(before, Instant::now()));
            self.chosen = Some(Arc::clone(&new.image));
        }
        outcome
    }

    /// Both can work at once: make before break.
    async fn side_by_side(&mut self, old: Arc<Instance>, new: Arc<Instance>) -> Outcome {
        self.phase("taking over", "active");
        if let Err(why) = self.shared.adopt(&new).await {
            self.shut(&new, None, STOP_DEADLINE).await;
            return Outcome::Refused(old, self.problem(SwapProblem::TakeOver(why)));
        }
        let parted = Instant::now();
        self.part(&old).await;
        self.seat(&new);
        self.measure(&old, &new, parted);
        let end = self.shut(&old, None, STOP_DEADLINE).await;
        self.note_end(end);
        Outcome::Done(new)
    }

    /// Only one can hold what they need, such as a port: the new one gets it as soon as the old one has let go.
    async fn one_after_the_other(&mut self, old: Arc<Instance>, new: Arc<Instance>) -> Outcome {
        if old.can_overlap() && new.can_overlap() {
            self.phase("started; the links come over to it", "active");
            self.shared.overlap(&new).await;
        }
        let parted = Instant::now();
        let before = Arc::clone(&old.image);
        // The new one waits for the port while the old one drains, so that it has it the moment it is free.
        let (adopted, ()) = tokio::join!(self.shared.adopt(&new), self.part(&old));
        self.phase("taking over", "drained");
        let adopted = match adopted {
            Err(_) => self.shared.adopt(&new).await, // a plugin that doesn't wait for its port
            adopted => adopted,
        };
        // Only now do neighbours hear of the end: they must find the new one when they come back.
        let end = self.shut(&old, None, STOP_DEADLINE).await;
        self.note_end(end);
        let adopted = match adopted {
            Err(_) => self.shared.adopt(&new).await, // a plugin that lets go only in `stop`
            adopted => adopted,
        };
        match adopted {
            Ok(()) => {
                self.seat(&new);
                self.measure(&old, &new, parted);
                Outcome::Done(new)
            }
            Err(why) => {
                self.shut(&new, None, STOP_DEADLINE).await;
                self.bring_back(before, why).await
            }
        }
    }

    /// The new one could not take over, and the old one has stopped: starts the old library again.
    async fn bring_back(&mut self, before: Arc<Image>, why: String) -> Outcome {
        self.phase(&format!("given up ({why})"), "being started again");
        let revived = match self.make(Arc::clone(&before)).await {
            Ok(instance) => match self.shared.adopt(&instance).await {
                Ok(()) => Ok(instance),
                Err(why) => {
                    self.shut(&instance, None, STOP_DEADLINE).await;
                    Err(why)
                }
            },
            Err(error) => Err(error.to_string()),
        };
        self.chosen = Some(before);
        match revived {
            Ok(instance) => {
                self.seat(&instance);
                Outcome::FellBack(instance, self.problem(SwapProblem::TakeOver(why)))
            }
            Err(also) => {
                self.live().instance = None;
                Outcome::Lost(self.problem(SwapProblem::BothFailed(why, also)))
            }
        }
    }

    /// Neighbours are told, what was accepted is flushed, what was received is delivered.
    async fn part(&self, old: &Arc<Instance>) {
        self.phase("started; it waits for the old one", "quiescing");
        old.port.part().await;
        old.drain(DRAIN).await;
    }

    fn note_end(&mut self, end: End) {
        self.left_behind = (end == End::Zombie).then_some(ZOMBIE);
    }

    /// Shows the new instance as the running one.
    fn seat(&mut self, new: &Arc<Instance>) {
        self.describe(&new.image);
        let mut live = self.live();
        "active".clone_into(&mut live.status.state);
        live.instance = Some(Arc::clone(new));
    }

    fn measure(&self, old: &Arc<Instance>, new: &Arc<Instance>, parted: Instant) {
        // A transport that carried nothing has no pause.
        let carried = !old.port.taken().is_empty();
        let pause = || Pause { parted, old: Arc::clone(&old.port), new: Arc::clone(&new.port) };
        self.live().pause = carried.then(pause);
    }

    /// After a failure of the running instance: goes back to the library before the last swap, if that was just now.
    pub(super) fn go_back(&mut self, instance: &Arc<Instance>, error: &PluginError) -> bool {
        let fallback = self.probation.take().and_then(|probation| probation.fallback(Instant::now()));
        let Some(before) = fallback.filter(|before| before.sha256 != instance.image.sha256) else { return false };
        let text = format!("it failed right after the swap: {error}");
        tracing::error!(plugin = %self.spec.name, "the new library is given up, and the one before it starts again: {text}");
        self.quarantine.add(&instance.image.sha256, &text);
        self.chosen = Some(before);
        let mut live = self.live();
        live.pause = None;
        if let Some(report) = live.status.swaps.last_mut() {
            "fell-back".clone_into(&mut report.state);
            report.reason = Some(text);
        }
        true
    }

    fn open_report(&self, file: &Path) {
        let report = SwapReport {
            file: file.display().to_string(),
            state: "running".to_owned(),
            at_ms: unix_ms(),
            ..SwapReport::default()
        };
        let mut live = self.live();
        live.measure_pause();
        live.pause = None;
        keep(&mut live.status.swaps, report);
    }

    /// Shows how far the two instances are.
    fn phase(&self, incoming: &str, outgoing: &str) {
        let mut live = self.live();
        let old = live.status.generation;
        if let Some(report) = live.status.swaps.last_mut() {
            report.reason = Some(format!("the new library is {incoming}; generation {old} is {outgoing}"));
        }
        if matches!(outgoing, "quiescing" | "drained") {
            outgoing.clone_into(&mut live.status.state);
        }
    }

    fn close_report(&mut self, state: &str, error: Option<&PluginError>, began: Instant) {
        let left_behind = self.left_behind.take();
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match error {
            Some(error) => tracing::error!(plugin = %self.spec.name, state, took_ms, "swap: {error}"),
            None => tracing::info!(plugin = %self.spec.name, state, took_ms, "swapped"),
        }
        let mut live = self.live();
        if let Some(report) = live.status.swaps.last_mut() {
            state.clone_into(&mut report.state);
            report.reason = error.map(ToString::to_string).or(left_behind.map(str::to_owned));
            report.took_ms = Some(took_ms);
        }
    }
}

async fn digest(file: &Path) -> Option<String> {
    let file = file.to_owned();
    tokio::task::spawn_blocking(move || file::digest(&file)).await.ok().flatten()
}

fn unix_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
