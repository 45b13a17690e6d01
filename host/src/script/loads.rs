//! What a bot's status says of the versions that were loaded: the same on a node as in a test.

use std::sync::atomic::Ordering;

use crate::api::ApiError;

use super::api::clean;
use super::approvals::Standing;
use super::failure::Failure;
use super::host::thread::Loaded;
use super::lock;
use super::log::{About, Level};
use super::shared::{Faults, Offer, PROBLEM_BYTES, Shared, State};

impl Shared {
    /// A version was read, and asks for this.
    pub(crate) fn asks_for(&self, needs: &[String], standing: &Standing) {
        let mut face = lock(&self.face);
        (face.needs, face.missing) = (needs.to_vec(), standing.missing.clone());
        face.denied.clone_from(&standing.denied);
    }

    /// A version waits for the admin. Says why. The one before it may go on.
    pub(crate) fn held(&self, missing: &[String], goes_on: bool) -> String {
        let (name, list) = (&self.name, missing.join("\", \""));
        let why = format!(
            "{name}: asks for \"{list}\", which nobody has approved yet; `qpq script approve {name}` grants it"
        );
        self.keep_log(About { level: Level::Warn, ..About::default() }, why.clone());
        let mut face = lock(&self.face);
        face.load_problem = Some(why.clone());
        face.state = if goes_on { face.state } else { State::Waiting };
        why
    }

    /// A version took over. One that is started again after a fall keeps what is held against it.
    pub(crate) fn took_over(&self, loaded: Loaded, after_fall: bool) {
        if !after_fall {
            *lock(&self.faults) = Faults::default();
        }
        lock(&self.traffic).limit(&loaded.limits, self.clock.now());
        self.figures.loads.fetch_add(1, Ordering::Relaxed);
        let mut face = lock(&self.face);
        (face.commands, face.topics, face.version) = (loaded.commands, loaded.topics, loaded.version);
        (face.load_problem, face.run_problem, face.state) = (None, None, State::Running);
        face.isolation = loaded.isolation;
    }

    /// Says in the log that a version took over.
    pub(crate) fn keep_loaded(&self) {
        let version = lock(&self.face).version.clone();
        let line = version.map_or_else(|| "loaded".to_owned(), |version| format!("loaded, version {version}"));
        self.keep_log(About { event: Some("load".to_owned()), ..About::default() }, line);
    }

    /// Another bot of the node that comes first by name answers these commands: says in the log which of them are this one's
    /// too, and so never reach it.
    pub(crate) fn shadowed_by(&self, other: &str, commands: &[Offer]) {
        let own = lock(&self.face).commands.clone();
        let both = own.iter().filter(|own| commands.iter().any(|offer| offer.name == own.name));
        let both: Vec<String> = both.map(|offer| format!("!{}", offer.name)).collect();
        if !both.is_empty() {
            let line = format!(
                "the bot {other} has {} too, and answers in its place, since it comes first by name; rename one of them",
                both.join(" ")
            );
            self.keep_log(About { level: Level::Warn, ..About::default() }, line);
        }
    }

    /// A version could not be loaded. Says why: it stays visible until it is mended. The one before it may go on.
    pub(crate) fn not_loaded(&self, failure: &Failure, goes_on: bool) -> String {
        let mut shown = if failure.file.is_some() { failure.to_string() } else { format!("{}: {failure}", self.name) };
        let mut line = failure.message.clone();
        if goes_on {
            for text in [&mut shown, &mut line] {
                text.push_str("; the version before goes on");
            }
        }
        self.keep_log(About::failure("load", failure), line);
        let mut face = lock(&self.face);
        face.load_problem = Some(shown.clone());
        // Of files that don't load nothing waits for the admin's word.
        face.missing.clear();
        face.state = if goes_on { face.state } else { State::Failed };
        shown
    }

    /// An answer stayed here.
    pub(crate) fn keep_unsaid(&self, error: &ApiError) {
        self.warn(&format!("an answer was not sent: {error}"));
    }

    /// A line of the host's about the bot, in both logs. It counts as one of the bot's own: others can bring it about by what they
    /// write, so it has the same bound.
    pub(crate) fn warn(&self, text: &str) {
        if !lock(&self.traffic).log.try_take(1.0, self.clock.now()) {
            return;
        }
        let line = clean(text, PROBLEM_BYTES);
        tracing::warn!(target: "qpq::script", bot = %self.name, "{line}");
        self.keep_log(About { level: Level::Warn, ..About::default() }, line);
    }

    /// It used too much CPU too often.
    pub(crate) fn disabled(&self) {
        let mut face = lock(&self.face);
        face.state = State::Disabled;
        let (name, last) = (&self.name, face.run_problem.take().unwrap_or_default());
        face.run_problem =
            Some(format!("disabled after too much CPU time; mend it, then `qpq script reload {name}`. Last: {last}"));
    }
}
