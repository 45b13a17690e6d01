//! What a bot may use. Every figure is a default that the admin can change, for all bots or for one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// CPU for one event, in milliseconds, shared over its awaits: 20 times what a busy board needs.
pub const CPU_PER_EVENT_MS: u64 = 50;
/// CPU for loading a bot, in milliseconds.
pub const CPU_AT_LOAD_MS: u64 = 250;
/// Share of one core on average over [`CPU_WINDOW`], in percent.
pub const CPU_PERCENT: u64 = 5;
/// The window of the CPU average.
pub const CPU_WINDOW: Duration = Duration::from_secs(60);
/// Memory of one machine, in bytes.
pub const MEMORY_BYTES: usize = 16 << 20;
/// Handlers in flight at a time.
pub const HANDLERS: usize = 16;
/// How long a handler may take with all its waiting, in seconds.
pub const HANDLER_LIFE_SECS: u64 = 30;
/// Questions to people (`msg:ask`) that wait at a time.
pub const QUESTIONS: usize = 64;
/// Live coroutines of a bot's own.
pub const COROUTINES: usize = 100;
/// Timers that are set.
pub const TIMERS: usize = 32;
/// The shortest period of a timer, in seconds.
pub const TIMER_MIN_SECS: u64 = 1;
/// Messages a minute.
pub const MESSAGES_PER_MINUTE: u32 = 10;
/// Broadcasts a minute.
pub const BROADCASTS_PER_MINUTE: u32 = 1;
/// Bytes of messages and broadcasts an hour.
pub const BYTES_PER_HOUR: u32 = 64 << 10;
/// Bytes kept in the store, keys and values together.
pub const STORE_BYTES: usize = 1 << 20;
/// Bytes written to the store a minute: at once it may be written four times anew, and a day's worth is some gigabytes at most.
pub const STORE_BYTES_PER_MINUTE: u32 = 4 << 20;
/// What a change of the store counts for beside its key and value, in bytes: about what it takes on the disk.
pub const STORE_OP_BYTES: usize = 32;
/// Keys in the store.
pub const STORE_KEYS: usize = 10_000;
/// Length of a key, in bytes.
pub const STORE_KEY_BYTES: usize = 128;
/// Length of a value as it is stored, in bytes.
pub const STORE_VALUE_BYTES: usize = 16 << 10;
/// Entries of all boards of a bot: 2 KiB each, outside of its machine's memory.
pub const BOARD_POSTS: usize = 4_000;
/// Log lines a second.
pub const LOG_LINES_PER_SECOND: u32 = 20;
/// Length of a log line, in bytes; the rest is cut off.
pub const LOG_LINE_BYTES: usize = 1 << 10;
/// Size of one source file, in bytes.
pub const SOURCE_FILE_BYTES: usize = 256 << 10;
/// Source files of one bot, the shared library's included.
pub const SOURCE_FILES: usize = 32;
/// Size of all source files of one bot, in bytes.
pub const SOURCE_BYTES: usize = 1 << 20;
/// Errors in a minute that pause a bot.
pub const ERRORS_TO_PAUSE: usize = 5;
/// How long the first, the second and each later pause lasts.
pub const PAUSES: [Duration; 3] = [Duration::from_secs(60), Duration::from_secs(300), Duration::from_secs(1_800)];
/// Events stopped for their CPU time within [`KILL_WINDOW`] that disable a bot until the admin acts.
pub const KILLS_TO_DISABLE: usize = 3;
/// The window of [`KILLS_TO_DISABLE`].
pub const KILL_WINDOW: Duration = Duration::from_secs(600);
/// Plain data carried over a reload in `mesh.state`, in bytes.
pub const STATE_BYTES: usize = 64 << 10;
/// Nesting of plain data.
pub const DATA_DEPTH: usize = 32;
/// Handlers, commands and topics that a bot may register.
pub const REGISTRATIONS: usize = 256;
/// Channels that a bot may listen to: a node joins 1,024 in all.
pub const CHANNELS: usize = 64;
/// Names of recipients, channels, plugins, sources and other things, as scripts give them, in bytes: an invite takes that much.
pub const NAME_BYTES: usize = 512;
/// Name of a command, in bytes.
pub const COMMAND_BYTES: usize = 32;
/// Arguments of a command, as its help shows them, in bytes.
pub const COMMAND_ARGS_BYTES: usize = 256;
/// Help of a command, in bytes; also with its name and arguments before it, when what is too much is cut off.
pub const HELP_BYTES: usize = 1 << 10;
/// Name of a timer, or of what messages that wait are merged by, in bytes.
pub const KEY_BYTES: usize = 256;
/// What a timer is known by over reloads, in bytes: its name, and how far off it is.
pub const TIMER_KEY_BYTES: usize = KEY_BYTES + DURATION_BYTES;
/// A duration as it is written, in bytes.
pub const DURATION_BYTES: usize = 64;
/// Product of subject and pattern length that string searches accept: about 10 ms of work that nothing can interrupt.
pub const PATTERN_WORK: usize = 4 << 20;
/// Elements that `table.move` moves at once.
pub const TABLE_MOVE: usize = 1 << 20;
/// Live events (peers, routes) that wait for a bot; the oldest go first when it is full.
pub const LIVE_QUEUE: usize = 64;
/// Text that `mesh.json` reads at once, in bytes.
pub const JSON_BYTES: usize = 256 << 10;
/// The limits without which no bot can live, and the least of each: as for the admin's settings of all bots.
const LEASTS: [Least; 7] = [
    Least("cpu_per_event_ms", 1, |patch| patch.cpu_per_event_ms),
    Least("cpu_at_load_ms", 1, |patch| patch.cpu_at_load_ms),
    Least("cpu_percent", 1, |patch| patch.cpu_percent),
    Least("memory_bytes", 1 << 20, |patch| patch.memory_bytes.map(|bytes| bytes as u64)),
    Least("handlers", 1, |patch| patch.handlers.map(|count| count as u64)),
    Least("handler_life_secs", 1, |patch| patch.handler_life_secs),
    Least("source_bytes", 1 << 10, |patch| patch.source_bytes.map(|bytes| bytes as u64)),
];
/// How long a bot may stay inside the machine before its thread counts as stuck.
pub const STUCK: Duration = Duration::from_millis(500);
/// Cycle goal of the collector in percent of the live data, its speed and its step: small steps, little garbage.
pub(crate) const GC: (i32, i32, i32) = (130, 400, 1_024);

macro_rules! limits {
    ($($(#[$doc:meta])* $field:ident : $type:ty = $default:expr,)*) => {
        /// The limits in force for a bot.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct ScriptLimits { $($(#[$doc])* pub $field: $type,)* }

        impl Default for ScriptLimits {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        /// Some of the limits: what a manifest asks for, or what an admin sets for one bot.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct LimitsPatch {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)*
        }

        impl ScriptLimits {
            /// These limits, lowered where the patch asks for less. A manifest can't raise a limit; the admin can.
            pub fn lowered(mut self, patch: &LimitsPatch) -> Self {
                $(if let Some(value) = patch.$field { self.$field = self.$field.min(value); })*
                self
            }

            /// These limits with the patch's values in place.
            pub fn replaced(mut self, patch: &LimitsPatch) -> Self {
                $(if let Some(value) = patch.$field { self.$field = value; })*
                self
            }
        }
    };
}

/// A limit's name, its least, and what a patch says of it.
struct Least(&'static str, u64, fn(&LimitsPatch) -> Option<u64>);

/// A limit that is too low for any bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLow {
    /// The limit's name.
    pub name: &'static str,
    /// What was asked for.
    pub value: u64,
    /// The least that a bot can live with.
    pub least: u64,
}

impl std::fmt::Display for TooLow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, value, least } = self;
        write!(f, "limits: {name} = {value} is too little for any bot; write {least} or more, or leave it out")
    }
}

impl std::error::Error for TooLow {}

impl LimitsPatch {
    /// Refuses a limit that no bot can live with.
    ///
    /// # Errors
    /// For the first such limit.
    pub fn check(&self) -> Result<(), TooLow> {
        let too_low = |Least(name, least, of): &Least| {
            let value = of(self).filter(|value| value < least)?;
            Some(TooLow { name, value, least: *least })
        };
        LEASTS.iter().find_map(too_low).map_or(Ok(()), Err)
    }
}

limits! {
    /// CPU for one event, in milliseconds.
    cpu_per_event_ms: u64 = CPU_PER_EVENT_MS,
    /// CPU for loading, in milliseconds.
    cpu_at_load_ms: u64 = CPU_AT_LOAD_MS,
    /// Share of one core on average over a minute, in percent.
    cpu_percent: u64 = CPU_PERCENT,
    /// Memory of the machine, in bytes.
    memory_bytes: usize = MEMORY_BYTES,
    /// Handlers in flight.
    handlers: usize = HANDLERS,
    /// Longest life of a handler, in seconds.
    handler_life_secs: u64 = HANDLER_LIFE_SECS,
    /// Questions to people that wait.
    questions: usize = QUESTIONS,
    /// Live coroutines.
    coroutines: usize = COROUTINES,
    /// Timers that are set.
    timers: usize = TIMERS,
    /// Channels that it listens to.
    channels: usize = CHANNELS,
    /// Messages a minute.
    messages_per_minute: u32 = MESSAGES_PER_MINUTE,
    /// Broadcasts a minute.
    broadcasts_per_minute: u32 = BROADCASTS_PER_MINUTE,
    /// Bytes sent an hour.
    bytes_per_hour: u32 = BYTES_PER_HOUR,
    /// Bytes in the store.
    store_bytes: usize = STORE_BYTES,
    /// Bytes written to the store a minute.
    store_bytes_per_minute: u32 = STORE_BYTES_PER_MINUTE,
    /// Keys in the store.
    store_keys: usize = STORE_KEYS,
    /// Length of a value in the store, in bytes.
    store_value_bytes: usize = STORE_VALUE_BYTES,
    /// Entries of all its boards.
    board_posts: usize = BOARD_POSTS,
    /// Log lines a second.
    log_lines_per_second: u32 = LOG_LINES_PER_SECOND,
    /// Size of all source files, in bytes.
    source_bytes: usize = SOURCE_BYTES,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_lowers_limits_and_never_raises_them() {
        let patch = LimitsPatch { timers: Some(2), handlers: Some(999), ..LimitsPatch::default() };
        let limits = ScriptLimits::default().lowered(&patch);
        assert_eq!((limits.timers, limits.handlers), (2, HANDLERS));
        assert_eq!(ScriptLimits::default().replaced(&patch).handlers, 999);
    }

    #[test]
    fn a_limit_that_no_bot_can_live_with_is_refused() {
        for Least(name, least, _) in LEASTS {
            let patch = |value: u64| serde_json::from_value::<LimitsPatch>(serde_json::json!({ name: value })).unwrap();
            assert_eq!(patch(least - 1).check(), Err(TooLow { name, value: least - 1, least }));
            assert_eq!(patch(least).check(), Ok(()));
        }
        let nothing = LimitsPatch { timers: Some(0), messages_per_minute: Some(0), ..LimitsPatch::default() };
        assert_eq!(nothing.check(), Ok(()), "a bot can live without these");
    }

    #[test]
    fn unknown_limits_are_refused() {
        assert!(serde_json::from_str::<ScriptLimits>(r#"{"timer": 3}"#).is_err());
    }
}
