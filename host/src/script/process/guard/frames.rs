//! What comes from a process, and what becomes of its calls.

use super::super::super::api::clean;
use super::super::super::cut;
use super::super::super::host::Loaded;
use super::super::super::limits::{LIVE_QUEUE, STATE_BYTES, TIMER_KEY_BYTES};
use super::super::super::log::{About, Level};
use super::super::super::shared::{Offer, PROBLEM_BYTES, State};
use super::super::super::store::operations;
use super::super::wire::{Report, ToHost};
use super::*;
use crate::api::ScriptEvaluated;

/// Log lines of one report.
const REPORT_LINES: usize = 64;
/// Longest event, place and call of a traceback in the bot's log, in bytes; and how many calls.
const ABOUT_BYTES: usize = 200;
const TRACEBACK_LINES: usize = 20;
/// Longest result of typed code, in bytes.
const EVALUATED_BYTES: usize = 32 << 10;
/// Longest line about the bot in the node's log, in bytes.
const TRACE_BYTES: usize = 4 << 10;

impl Guard {
    /// Takes what has come, as long as the process is heard.
    pub(super) fn take_frames(&mut self) -> Result<(), Fall> {
        while self.listens() {
            let before = self.frames.buffer.len();
            let Some(frame) = self.frames.next()? else { break };
            let pages = (before - self.frames.buffer.len()) / FRAME_PAGE_BYTES;
            self.rate.take(1.0 + pages as f64);
            self.frame(frame)?;
        }
        give_back(&mut self.frames.buffer);
        Ok(())
    }

    fn frame(&mut self, frame: ToHost) -> Result<(), Fall> {
        match frame {
            ToHost::Confined { without_seccomp } => self.confined(without_seccomp),
            ToHost::Loaded { commands, topics, memory } => self.loaded(commands, topics, memory),
            ToHost::Failed(failure) => self.failed(failure),
            ToHost::Call { id, call } => self.call(id, call),
            ToHost::Report(report) => {
                self.report(&report);
                Ok(())
            }
            ToHost::Trace { level, text } => {
                self.trace(level, &text);
                Ok(())
            }
            ToHost::Handover(handover) => self.handed_over(handover),
            // Why it was killed is for the host to say.
            ToHost::Ended(End::Killed(_)) => Err(Fall::Broken("it said that it was killed".to_owned())),
            // One that went of its own accord would look as if it ran on.
            ToHost::Ended(End::Done) if !matches!(self.phase, Phase::Loading | Phase::Ending(_)) => {
                Err(Fall::Broken("it said that it is done when nobody had told it to end".to_owned()))
            }
            ToHost::Ended(end) => Err(Fall::Done(end)),
            ToHost::Evaluated { id, evaluated } => {
                self.evaluated(id, evaluated);
                Ok(())
            }
            ToHost::Pong(id) => {
                self.watch.pong(id);
                Ok(())
            }
        }
    }

    fn loaded(&mut self, commands: Vec<Offer>, topics: Vec<String>, memory: u64) -> Result<(), Fall> {
        if self.phase != Phase::Loading || self.prepared.is_some() {
            return Err(Fall::Broken("it said that it is loaded when it was not loading".to_owned()));
        }
        let commands = self.gate.loaded(commands, topics).map_err(fall)?;
        self.watch.loaded();
        self.shared.figures.memory.store(memory, Ordering::Relaxed);
        let topics = self.gate.topics().cloned().collect();
        let version = self.start.source.manifest.version.clone();
        self.phase = Phase::Waiting;
        self.told.loaded(Ok(Loaded {
            commands,
            topics,
            version,
            isolation: self.isolation,
            limits: self.limits.clone(),
        }));
        Ok(())
    }

    fn failed(&mut self, failure: Failure) -> Result<(), Fall> {
        if self.phase != Phase::Loading {
            return Err(Fall::Broken("it said that it didn't load when it was loaded".to_owned()));
        }
        let Failure { kind, message, file, line, traceback } = failure;
        // The file is one of the bot's own.
        let file = file.filter(|file| self.start.source.files.contains_key(file));
        let (message, traceback) = (clean(&message, PROBLEM_BYTES), traceback.map(|text| lines(&text)));
        // Only the node knows whether it is ready.
        let kind = if kind == Kind::Unready { Kind::Refused } else { kind };
        let failure = Failure { kind, message, file, line, traceback };
        Err(Fall::Refused(failure))
    }

    fn call(&mut self, id: u64, call: Call) -> Result<(), Fall> {
        let admitted = self.gate.admit(call, &mut lock(&self.shared.traffic), self.shared.clock.now());
        match admitted {
            Ok(Call::Commit(ops)) => self.commit(id, &ops),
            Ok(Call::Inbox(query)) if self.waits(&query) => {
                self.held.push((id, query));
                Ok(())
            }
            Ok(call) => {
                self.queue(id, call);
                Ok(())
            }
            Err(Refusal::Answer(error)) => self.push(&ToChild::Answer { id, answer: Err(error) }),
            Err(refusal) => Err(fall(refusal)),
        }
    }

    /// Does a call, or lets it wait for its turn.
    pub(super) fn queue(&mut self, id: u64, call: Call) {
        let kept = match &call {
            Call::Inbox(query) => Kept::Inbox(query.clone()),
            Call::IsBusy
            | Call::Peers
            | Call::Routes
            | Call::Channels
            | Call::Plugins
            | Call::StoreStats
            | Call::Machine
            | Call::Source(_) => Kept::Wide,
            Call::Send(request) => Kept::Sent(request.to.clone()),
            _ => Kept::Other,
        };
        if !matches!(kept, Kept::Other | Kept::Sent(_)) {
            if self.wide >= WIDE_AT_ONCE {
                self.queued.push_back((id, call));
                return;
            }
            self.wide += 1;
        }
        let reply = perform(&*self.start.node, &self.told.bot, call);
        self.calls.push(Box::pin(async move { (id, kept, reply.await) }));
    }

    /// The changes take effect at once, for this bot's other versions too; the answer comes when they are durable.
    fn commit(&mut self, id: u64, ops: &[StoreOp]) -> Result<(), Fall> {
        let now = self.shared.clock.unix_ms();
        let dirty = {
            let mut store = lock(&self.shared.store);
            match store.apply(ops, &self.limits, now) {
                Ok(()) => store.take_dirty(),
                Err(error) => {
                    drop(store);
                    return self.push(&ToChild::Answer { id, answer: Err(error) });
                }
            }
        };
        self.siblings.tell(&self.told.bot, self.told.generation, ops);
        let written = operations(&dirty);
        let bytes = written.iter().map(StoreOp::bytes).sum();
        self.commit_bytes += bytes;
        let reply = self.start.kv.commit(&self.told.bot, written);
        let shared = Arc::clone(&self.shared);
        self.calls.push(Box::pin(async move {
            let result = reply.await;
            if result.is_err() {
                lock(&shared.store).put_back(dirty);
            }
            (id, Kept::Commit(bytes), result.map(Answer::Done))
        }));
        Ok(())
    }

    pub(super) fn answered(&mut self, id: u64, kept: Kept, result: Result<Answer, ApiError>) -> Result<(), Fall> {
        if matches!(kept, Kept::Inbox(_) | Kept::Wide) {
            self.wide = self.wide.saturating_sub(1);
            if let Some((id, call)) = self.queued.pop_front() {
                self.queue(id, call);
            }
        }
        let query = match kept {
            Kept::Inbox(query) if self.waits(&query) => {
                self.held.push((id, query));
                return Ok(());
            }
            Kept::Inbox(query) => Some(query),
            Kept::Commit(bytes) => {
                self.commit_bytes = self.commit_bytes.saturating_sub(bytes);
                None
            }
            Kept::Sent(to) => {
                if let Ok(Answer::Receipt(receipt)) = &result {
                    self.gate.wrote(&to, receipt.id);
                }
                None
            }
            Kept::Wide | Kept::Other => None,
        };
        if matches!(result, Ok(Answer::Page(_))) {
            self.others()?;
        }
        let answer = result.map(|answer| self.passed(answer, query.as_ref()));
        self.push(&ToChild::Answer { id, answer })
    }

    /// Whether a read of the inbox has to wait until the bot is active: one that moves its place. A look back at a channel
    /// doesn't.
    fn waits(&self, query: &InboxQuery) -> bool {
        self.phase != Phase::Active && query.topic.is_none()
    }

    /// An answer as the bot may see it, and what follows from it for the bot's figures.
    fn passed(&mut self, answer: Answer, query: Option<&InboxQuery>) -> Answer {
        let figures = &self.shared.figures;
        match &answer {
            Answer::Receipt(_) => _ = figures.sent.fetch_add(1, Ordering::Relaxed),
            Answer::Channel(_) => lock(&self.shared.face).topics = self.gate.topics().cloned().collect(),
            _ => {}
        }
        match (answer, query) {
            (Answer::Page(page), Some(query)) => {
                let page = self.gate.hand_over(page, query);
                if query.topic.is_none() {
                    let at = self.gate.handed();
                    figures.pulled.store(at, Ordering::Relaxed);
                    self.shared.inbox_seq.fetch_max(at, Ordering::Relaxed);
                }
                Answer::Page(page)
            }
            (answer, _) => strip(answer),
        }
    }

    /// Tells the process which commands the other bots answer, where that has changed: it is about to need it.
    fn others(&mut self) -> Result<(), Fall> {
        let others = self.shared.others();
        if others == self.others {
            return Ok(());
        }
        self.others.clone_from(&others);
        self.push(&ToChild::Others(others))
    }

    fn report(&mut self, report: &Report) {
        let (figures, seen) = (&self.shared.figures, &self.seen);
        let more = |now: u64, before: u64| now.saturating_sub(before);
        figures.events.fetch_add(more(report.events, seen.events), Ordering::Relaxed);
        figures.errors.fetch_add(more(report.errors, seen.errors), Ordering::Relaxed);
        figures.pauses.fetch_add(report.pauses.saturating_sub(seen.pauses), Ordering::Relaxed);
        figures.kills.fetch_add(report.kills.saturating_sub(seen.kills), Ordering::Relaxed);
        figures.memory.store(report.memory, Ordering::Relaxed);
        figures.timers.store(report.timers, Ordering::Relaxed);
        figures.handlers.store(report.handlers, Ordering::Relaxed);
        figures.questions.store(report.questions, Ordering::Relaxed);
        figures.board_posts.store(report.board_posts, Ordering::Relaxed);
        figures.load_cpu_us.store(report.load_cpu_us, Ordering::Relaxed);
        figures.event_cpu_us.store(report.event_cpu_us, Ordering::Relaxed);
        let now = Instant::now();
        for (about, text) in report.log.iter().take(REPORT_LINES) {
            if !self.book_rate.try_take(1.0, now) {
                break;
            }
            let About { level, event, place, traceback } = about.clone();
            let short = |text: String| clean(&text, ABOUT_BYTES);
            let (event, place, traceback) = (event.map(short), place.map(short), traceback.map(|text| lines(&text)));
            self.shared.keep_log(About { level, event, place, traceback }, clean(text, PROBLEM_BYTES));
        }
        let mut face = lock(&self.shared.face);
        if let Some(problem) = &report.problem {
            face.run_problem = Some(clean(problem, PROBLEM_BYTES));
        }
        if self.phase == Phase::Active && report.paused != self.seen.paused {
            face.state = if report.paused { State::Paused } else { State::Running };
        }
        drop(face);
        self.seen = Report { log: Vec::new(), problem: None, ..report.clone() };
    }

    fn trace(&self, level: Level, text: &str) {
        if !lock(&self.shared.traffic).log.try_take(1.0, self.shared.clock.now()) {
            return;
        }
        let (bot, text) = (&self.told.bot, clean(text, TRACE_BYTES));
        match level {
            Level::Error => tracing::error!(target: "qpq::script", bot, "{text}"),
            Level::Warn => tracing::warn!(target: "qpq::script", bot, "{text}"),
            Level::Info => tracing::info!(target: "qpq::script", bot, "{text}"),
            Level::Debug => tracing::debug!(target: "qpq::script", bot, "{text}"),
        }
    }

    /// What typed code came to, for whoever typed it.
    fn evaluated(&mut self, id: u64, evaluated: ScriptEvaluated) {
        let Some(place) = self.evals.iter().position(|(of, _)| *of == id) else { return };
        let (_, reply) = self.evals.swap_remove(place);
        let shown = |text: &str| cut(text, EVALUATED_BYTES).to_owned();
        let ScriptEvaluated { result, error, cpu_us } = evaluated;
        let (result, error) = (shown(&result), error.as_deref().map(shown));
        // Whoever asked may be gone.
        let _ = reply.send(ScriptEvaluated { result, error, cpu_us });
    }

    fn handed_over(&mut self, handover: wire::Handover) -> Result<(), Fall> {
        let wire::Handover { state, timers, place, live } = handover;
        let Some((taker, _)) = self.taker.take() else {
            return Err(Fall::Broken("it handed over what nobody asked for".to_owned()));
        };
        let state = match state {
            Some(bytes) if bytes.len() > STATE_BYTES => {
                return Err(Fall::Broken(format!("a state of {} bytes", bytes.len())));
            }
            Some(bytes) => match Plain::decode(&bytes) {
                Some(plain) => Some(plain),
                None => return Err(Fall::Broken("a state that can't be read".to_owned())),
            },
            None => None,
        };
        let reached = self.gate.handed().max(self.inherited);
        if place.as_ref().is_some_and(|place| place.pulled > reached) {
            return Err(Fall::Broken("a place in the inbox that it never came to".to_owned()));
        }
        let fits = |(name, due): &(String, f64)| name.len() <= TIMER_KEY_BYTES && due.is_finite();
        let timers = timers.into_iter().filter(fits).take(self.limits.timers);
        *lock(&self.shared.timers) = Carried::new(timers, self.shared.clock.unix().as_secs_f64());
        let live = live.into_iter().take(LIVE_QUEUE).filter(|event| self.gate.hears(event));
        self.shared.put_back_live(live);
        taker(Handover { state, place });
        Ok(())
    }
}

/// A text of several lines, each of them clean, and not too many.
fn lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().take(TRACEBACK_LINES).map(|line| clean(line, ABOUT_BYTES)).collect();
    lines.join("\n")
}

fn fall(refusal: Refusal) -> Fall {
    match refusal {
        Refusal::Answer(error) => Fall::Broken(error.message),
        Refusal::Broken(why) => Fall::Broken(why),
    }
}
