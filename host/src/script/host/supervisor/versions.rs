//! The life of a bot's versions: when one starts, takes over from another, falls and comes back.

use super::*;

/// What is to come in place of the version that runs.
pub(super) enum Next {
    /// It starts once those that were told to stop have ended: what they store and acknowledge is what it begins with.
    Due,
    /// These files start once the version that runs has handed over.
    Asked(Box<Source>),
    /// It loads, and takes over at that place.
    Loading(Version, Option<Place>),
}

/// A version that is no longer its bot's, but has not ended.
pub(super) struct Leaving {
    pub bot: String,
    pub version: Version,
    /// Another one took over, and it finishes what it had begun.
    pub retired: bool,
    /// It was told to stop.
    pub stopped: bool,
}

/// Why a bot is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its files may have changed.
    Saved,
    /// Somebody wants it loaded anew.
    Asked,
    /// The version that ran fell.
    Fallen,
    /// The node was not ready for it, whatever the cause was then.
    Unready,
}

impl Supervisor {
    /// Reads a bot's files and starts a version of them, if they changed or there is another cause.
    pub(super) fn load(&mut self, name: &str, cause: Cause) {
        let Some(bot) = self.bots.get_mut(name) else { return };
        if bot.next.is_some() {
            bot.again = true;
            return;
        }
        let own = self.config.bots.get(name).and_then(|bot| bot.limits.source_bytes);
        let read = bot.found.read(own.unwrap_or(self.config.limits.source_bytes));
        let hash = read.as_ref().map_or_else(|error| error.hash, |source| source.hash);
        if bot.hash == hash && cause == Cause::Saved {
            return;
        }
        bot.hash = hash;
        bot.restart_at = None;
        if cause != Cause::Unready {
            (bot.restarting, bot.unready) = (cause == Cause::Fallen, 0);
        }
        match read {
            Ok(source) => self.admit(name, source),
            Err(error) => self.load_failed(name, &Failure::from(error)),
        }
    }

    /// Goes on with files that ask for no more than was granted.
    fn admit(&mut self, name: &str, source: Source) {
        let Some(bot) = self.bots.get_mut(name) else { return };
        let config = self.config.bots.get(name).cloned().unwrap_or_default();
        let standing = self.approvals.standing(name, &source.manifest.needs, &config);
        bot.shared.asks_for(&source.manifest.needs, &standing);
        if !standing.missing.is_empty() {
            return self.hold(name, &standing.missing);
        }
        if self.leaving.iter().any(|leaving| leaving.bot == name && leaving.stopped) {
            bot.next = Some(Next::Due);
            return;
        }
        match &bot.current {
            Some(current) if ask(current, name, self.messages.clone()) => {
                bot.next = Some(Next::Asked(Box::new(source)));
            }
            _ => self.start(name, source, Handover::default()),
        }
    }

    /// The version that runs has handed over.
    pub(super) fn frozen(&mut self, name: &str, generation: u32, handover: Handover) {
        let Some(bot) = self.bots.get_mut(name) else { return };
        if bot.current.as_ref().is_none_or(|current| current.generation != generation) {
            return;
        }
        match bot.next.take() {
            Some(Next::Asked(source)) => self.start(name, *source, handover),
            next => bot.next = next,
        }
    }

    fn start(&mut self, name: &str, source: Source, handover: Handover) {
        let Some(bot) = self.bots.get_mut(name) else { return };
        self.made += 1;
        let Handover { state, place } = handover;
        let config = self.config.bots.get(name).cloned().unwrap_or_default();
        let permissions = self.approvals.standing(name, &source.manifest.needs, &config).has;
        let start = Start {
            shared: Arc::clone(&bot.shared),
            generation: self.made,
            node: Arc::clone(&self.node),
            kv: Arc::clone(&self.kv),
            limits: self.config.limits.clone(),
            config,
            source,
            permissions,
            state,
            read_store: !bot.store_read,
            messages: self.messages.clone(),
        };
        let started = match isolation(&self.config, &self.approvals, name) {
            Isolation::Thread => thread::start(start),
            Isolation::Process => process::start(start, &self.config.child, &mut self.pool),
        };
        match started {
            Ok(version) => {
                bot.next = Some(Next::Loading(version, place));
                self.alive += 1;
            }
            Err(error) => {
                self.load_failed(name, &Failure::new(Kind::Panic, format!("no place to run the bot: {error}")));
            }
        }
    }

    pub(super) fn loaded(&mut self, name: &str, generation: u32, result: LoadResult) {
        let Some(bot) = self.bots.get_mut(name).filter(|bot| bot.loads(generation)) else { return };
        let Some(Next::Loading(version, place)) = bot.next.take() else { return };
        match result {
            Ok(loaded) => self.take_over(name, version, place, loaded),
            Err(failure) => self.load_failed(name, &failure),
        }
        self.look_again(name);
    }

    fn take_over(&mut self, name: &str, version: Version, place: Option<Place>, loaded: Loaded) {
        let Some(bot) = self.bots.get_mut(name) else { return };
        let old = bot.current.take();
        let reloaded = old.is_some();
        // What a version that fell had begun is done by nobody: it comes again.
        let place = place.filter(|_| reloaded && !bot.fell);
        if let Some(version) = old {
            let _ = version.orders.send(Order::Retire);
            self.leaving.push(Leaving { bot: name.to_owned(), version, retired: true, stopped: false });
        }
        let settled = !self.leaving.iter().any(|leaving| leaving.bot == name && leaving.retired);
        (bot.store_read, bot.fell, bot.restart_at, bot.unready) = (true, false, None, 0);
        let before = lock(&bot.shared.face).commands.clone();
        bot.shared.took_over(loaded, std::mem::take(&mut bot.restarting));
        bot.shared.keep_loaded();
        tracing::info!(target: "qpq::script", bot = name, reloaded, "bot loaded");
        let _ = version.orders.send(Order::Activate { reloaded, place, settled });
        bot.current = Some(version);
        self.tell_of_shadows(name, &before);
        self.settle_waiters(name);
    }

    /// Of two bots with the same command the first by name answers: says so in the log of the other one, where it is new.
    fn tell_of_shadows(&self, name: &str, before: &[Offer]) {
        let Some(bot) = self.bots.get(name) else { return };
        for other in bot.shared.others().iter().filter(|other| other.name.as_str() < name) {
            bot.shared.shadowed_by(&other.name, &other.commands);
        }
        let mut new = lock(&bot.shared.face).commands.clone();
        new.retain(|offer| !before.iter().any(|known| known.name == offer.name));
        for other in self.bots.values().filter(|other| other.shared.name.as_str() > name && other.current.is_some()) {
            other.shared.shadowed_by(name, &new);
        }
    }

    /// The files may have changed again while a version of them loaded.
    fn look_again(&mut self, name: &str) {
        let again = |bot: &mut Bot| bot.next.is_none() && std::mem::take(&mut bot.again);
        if self.bots.get_mut(name).is_some_and(again) {
            self.load(name, Cause::Saved);
        }
    }

    /// The old version goes on; the error stays visible until it is mended.
    fn load_failed(&mut self, name: &str, failure: &Failure) {
        let Some(bot) = self.bots.get_mut(name) else { return };
        let shown = bot.shared.not_loaded(failure, bot.current.is_some());
        tracing::error!(target: "qpq::script", bot = name, "bot not loaded: {shown}");
        if let Some(current) = &bot.current {
            let _ = current.orders.send(Order::Thaw);
        }
        if failure.kind == Kind::Unready {
            let wait = UNREADY.saturating_mul(1 << bot.unready.min(10)).min(UNREADY_MOST);
            bot.unready = bot.unready.saturating_add(1);
            bot.restart_at = Some(Instant::now() + wait);
        } else {
            bot.unready = 0;
        }
        self.settle_waiters(name);
    }

    pub(super) fn ended(&mut self, name: &str, generation: u32, end: &End) {
        self.alive = self.alive.saturating_sub(1);
        if let Some(at) = self.leaving.iter().position(|leaving| leaving.version.generation == generation) {
            let leaving = self.leaving.swap_remove(at);
            return self.left(&leaving, *end != End::Done);
        }
        let Some(bot) = self.bots.get_mut(name) else { return };
        if *end == End::Broken && bot.loads(generation) {
            bot.next = None;
            self.load_failed(name, &Failure::new(Kind::Panic, "the host failed while loading it"));
            return self.look_again(name);
        }
        if bot.current.as_ref().is_none_or(|current| current.generation != generation) {
            return;
        }
        bot.current = None;
        match end {
            End::Done => {}
            End::Disabled => self.disable(name),
            End::Broken => self.restart_later(name, "the machine failed inside", self.config.restart_after),
            End::Killed(why) => self.restart_later(name, why, SOON),
        }
        self.go_on_without(name);
    }

    /// The version that runs ended before it handed over: the next one has to do without.
    fn go_on_without(&mut self, name: &str) {
        let Some(bot) = self.bots.get_mut(name) else { return };
        match bot.next.take() {
            Some(Next::Asked(source)) => {
                let lost = "the old version ended before it handed over; its mesh.state is lost";
                tracing::warn!(target: "qpq::script", bot = name, "{lost}");
                bot.shared.keep_log(About { level: Level::Warn, ..About::default() }, lost.to_owned());
                bot.restart_at = None;
                self.start(name, *source, Handover::default());
            }
            next => bot.next = next,
        }
    }

    /// A version that was replaced or stopped has ended.
    fn left(&mut self, gone: &Leaving, fell: bool) {
        if fell && gone.retired {
            self.come_again(&gone.bot);
        } else {
            self.settle(&gone.bot);
        }
        let waits = self.leaving.iter().any(|leaving| leaving.bot == gone.bot && leaving.stopped);
        let due = |bot: &mut Bot| bot.next.take_if(|next| !waits && matches!(next, Next::Due)).is_some();
        if self.stop_at.is_none() && self.bots.get_mut(&gone.bot).is_some_and(due) {
            self.load(&gone.bot, Cause::Asked);
        }
    }

    /// What a retired version had begun is lost with it, so the bot is loaded once more, at the place that was
    /// acknowledged last.
    fn come_again(&mut self, name: &str) {
        let Some(bot) = self.bots.get_mut(name) else { return };
        bot.fell = true;
        if bot.next.is_none() && bot.current.is_some() && self.stop_at.is_none() {
            self.load(name, Cause::Asked);
        }
    }

    /// Where all that was begun before is done, the newest version may acknowledge.
    fn settle(&mut self, name: &str) {
        let all_done = !self.leaving.iter().any(|leaving| leaving.bot == name && leaving.retired);
        let bot = self.bots.get(name);
        if !all_done || bot.is_some_and(|bot| bot.fell) {
            return;
        }
        let leaving = self.leaving.iter().filter(|leaving| leaving.bot == name).map(|leaving| &leaving.version);
        for version in bot.and_then(|bot| bot.current.as_ref()).into_iter().chain(leaving) {
            let _ = version.orders.send(Order::Settled);
        }
    }

    fn disable(&mut self, name: &str) {
        if let Some(bot) = self.bots.get_mut(name) {
            bot.restart_at = None;
            bot.shared.disabled();
        }
    }

    /// Counts a fall, and starts the bot anew after a while, or not at all after too many.
    fn restart_later(&mut self, name: &str, why: &str, first: Duration) {
        let Some(bot) = self.bots.get_mut(name) else { return };
        tracing::error!(target: "qpq::script", bot = name, "ALARM: {why}");
        lock(&bot.shared.face).run_problem = Some(format!("{name}: {why}"));
        bot.shared.set_state(State::Failed);
        let (verdict, kills) = {
            let mut faults = lock(&bot.shared.faults);
            (faults.kill(Instant::now()), faults.kills())
        };
        if verdict == Verdict::Disable {
            self.disable(name);
        } else {
            let wait = if kills == 1 { first } else { self.config.restart_after };
            (bot.restart_at, bot.unready) = (Some(Instant::now() + wait), 0);
        }
    }

    /// Heartbeats and restarts.
    pub(super) fn look_after(&mut self, name: &str, now: Instant) {
        let Some(bot) = self.bots.get_mut(name) else { return };
        let why = "stuck inside the machine for more than 500 ms; its thread was given up";
        let current_stuck = bot.current.take_if(|current| is_given_up(current)).is_some();
        let next_stuck =
            bot.next.take_if(|next| matches!(next, Next::Loading(version, _) if is_given_up(version))).is_some();
        self.alive = self.alive.saturating_sub(usize::from(current_stuck) + usize::from(next_stuck));
        if next_stuck {
            self.load_failed(name, &Failure::new(Kind::Cpu, why));
        }
        if current_stuck {
            self.restart_later(name, why, self.config.restart_after);
            self.go_on_without(name);
        }
        if next_stuck {
            self.look_again(name);
        }
        let due = |bot: &Bot| bot.next.is_none() && bot.restart_at.is_some_and(|at| at <= now);
        if self.bots.get(name).is_some_and(due) && self.stop_at.is_none() {
            let unready = self.bots.get(name).is_some_and(|bot| bot.unready > 0);
            self.load(name, if unready { Cause::Unready } else { Cause::Fallen });
        }
    }

    /// Heartbeats of those that are about to end.
    pub(super) fn look_after_leaving(&mut self) {
        let (stuck, leaving) = std::mem::take(&mut self.leaving).into_iter().partition(|l| is_given_up(&l.version));
        self.leaving = leaving;
        for gone in Vec::<Leaving>::from_iter(stuck) {
            self.alive = self.alive.saturating_sub(1);
            self.left(&gone, true);
        }
    }

    /// Ends all versions of a bot, for good.
    pub(super) fn stop_versions(&mut self, name: &str) {
        let Some(bot) = self.bots.get_mut(name) else { return };
        let next = match bot.next.take() {
            Some(Next::Loading(version, _)) => Some(version),
            _ => None,
        };
        let versions = bot.current.take().into_iter().chain(next);
        self.leaving.extend(versions.map(|version| Leaving {
            bot: name.to_owned(),
            version,
            retired: false,
            stopped: false,
        }));
        for leaving in self.leaving.iter_mut().filter(|leaving| leaving.bot == name) {
            leaving.stopped = true;
            let _ = leaving.version.orders.send(Order::Stop);
        }
    }
}

impl Bot {
    /// Whether that version is the one that loads.
    fn loads(&self, generation: u32) -> bool {
        matches!(&self.next, Some(Next::Loading(version, _)) if version.generation == generation)
    }
}

/// Asks a version for what the next one gets; whether it was still there. It answers or falls: a thread that doesn't come
/// back is given up, and so is a process.
fn ask(version: &Version, name: &str, messages: Sender<Message>) -> bool {
    let (bot, generation) = (name.to_owned(), version.generation);
    let taker = Box::new(move |handover| {
        let _ = messages.send(Message::Frozen { bot, generation, handover });
    });
    version.orders.send(Order::Freeze(taker)).is_ok()
}

/// Gives a version up if its thread is stuck.
fn is_given_up(version: &Version) -> bool {
    let stuck = version.pulse.is_stuck();
    if stuck {
        version.pulse.abandon();
    }
    stuck
}
