//! Lua bots: one Luau machine for each, closed, with a budget of CPU, memory, messages and storage.
//!
//! A bot is a `.lua` file, or a folder with `init.lua` and `bot.toml`. Each has a thread of its own, so that one that
//! hangs in a C function holds up nobody, and its machine never leaves that thread. Messages are pulled from the
//! node's inbox with a durable cursor; a slow bot lags and nothing queues up for it.
//!
//! Data flows one way: `host` finds bots and starts a `worker` for each version; the worker owns a `vm`, whose
//! functions (`api`) work on a `context`; what outlives a version stands in `shared`. Where the configuration says so,
//! worker and machine are in a `process` of their own instead of a thread.

mod advice;
mod api;
mod approvals;
mod asked;
pub mod bench;
mod board;
mod bucket;
mod budget;
mod call;
mod chatter;
mod clock;
mod context;
mod cron;
mod dispatch;
mod double;
mod duration;
mod elect;
mod failure;
#[cfg(feature = "fuzz-doors")]
pub(crate) mod fuzz;
mod handover;
mod host;
mod lab;
pub mod limits;
mod loads;
mod locked;
mod log;
mod machine;
pub mod manifest;
pub mod meta;
mod once;
mod plain;
mod process;
mod program;
mod pulse;
mod settings;
mod shared;
mod show;
mod source;
mod sources;
mod store;
mod traffic;
mod vm;
mod watch;
mod watched;
mod worker;

pub use api::{
    ALIASES, Alias, Call, ERRORS, EVENTS, Event, Field, GROUPS, Group, KEPT_GLOBALS, Kind, Param, REMOVED_GLOBALS,
    TYPES, Type, calls,
};
pub use double::{MemoryNode, Sent};
pub use host::{BotConfig, Isolation, ScriptConfig, ScriptHost};
pub use lab::{TEST_CALLS, TEST_GROUPS, TEST_TYPES, TestOrder, TestReport, TestRun, run_tests};
pub use limits::{LimitsPatch, ScriptLimits};
pub use manifest::{Manifest, ManifestError};
pub(crate) use once::check;
pub use once::{Diagnostic, RunError, RunReport, Severity, run_once};
pub use process::{ChildProgram, Found, Probed, child_main, probe};
pub(crate) use program::is_unfinished as typed_is_unfinished;
pub(crate) use settings::misfits;
pub use shared::{LiveEvent, LiveKind};
use source::Source;
pub(crate) use source::{Found as FoundBot, bots_at, discover as discover_bots, name_problem as bot_name_problem};
pub(crate) use sources::place_problem as source_place_problem;
pub use store::{BotStore, MemoryStore, StoreOp, StoredEntry};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic elsewhere: what these locks guard is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The beginning of a text, at most `max` bytes, cut between characters.
fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// The known name that a wrong one was probably meant to be; of several as near the first.
pub(crate) fn nearest<'n>(wrong: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let wrong: String = wrong.chars().take(64).collect();
    let scored = names.into_iter().map(|name| (strsim::damerau_levenshtein(&wrong, name), name));
    scored
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
