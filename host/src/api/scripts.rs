//! Bots, as an admin sees them.

use serde::{Deserialize, Serialize};

/// A bot's state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BotStatus {
    /// The bot's name.
    pub name: String,
    /// Version from its manifest.
    pub version: Option<String>,
    /// The file or folder.
    pub path: String,
    /// `running`, `waiting` (for approval), `paused`, `failed` or `disabled`.
    pub state: String,
    /// The load error or the last handler error, with file and line; stays until mended.
    pub problem: Option<String>,
    /// The commands it answers.
    pub commands: Vec<String>,
    /// The channels it listens to.
    pub topics: Vec<String>,
    /// Events handled.
    pub events: u64,
    /// Handlers that failed.
    pub errors: u64,
    /// CPU time used, in milliseconds.
    pub cpu_ms: u64,
    /// Memory of its machine, in bytes.
    pub memory_bytes: u64,
    /// Messages and broadcasts sent.
    pub sent: u64,
    /// Bytes kept in its store.
    pub stored_bytes: u64,
    /// Inbox messages that it has yet to handle.
    pub lag: u64,
    /// Times it was loaded.
    pub loads: u32,
    /// Where it runs: `thread`, `process`, or `process without seccomp`.
    pub isolation: String,
    /// The permissions that its manifest asks for.
    pub needs: Vec<String>,
    /// Those of them that the admin has yet to approve; until then it doesn't run.
    pub missing: Vec<String>,
    /// Those of them that the admin saw and didn't grant: it runs without.
    pub denied: Vec<String>,
    /// Times it was paused for too many errors.
    pub pauses: u32,
    /// Events that were stopped for their CPU time.
    pub kills: u32,
    /// What it uses of each of its limits.
    pub limits: Vec<LimitUse>,
}

/// One limit of a bot, and what it uses of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitUse {
    /// The limit, as it is called in the configuration.
    pub name: String,
    /// How much is used: of a budget that fills up again, what is spent; of the one for an event, the most that one took. 0 of
    /// what nobody counts: coroutines, the life of a handler, the sizes of a value and of the source.
    pub used: u64,
    /// The limit.
    pub limit: u64,
}

/// What an admin grants a bot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptApproval {
    /// The permissions. Empty grants what the bot asks for now.
    pub needs: Vec<String>,
    /// Takes back what was granted instead.
    pub revoke: bool,
    /// The bot may run inside the node's own process.
    pub trusted: bool,
}

/// Which log lines to return.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptLogQuery {
    /// Only this bot's.
    pub bot: Option<String>,
    /// Only lines with a larger number; `None` takes the newest ones.
    pub after: Option<u64>,
    /// At most that many (0 takes 100; capped at 1,000).
    pub limit: usize,
    /// When there is none yet, wait so long for one, in milliseconds (capped at 60,000).
    pub wait_ms: u64,
}

/// One line that a bot logged, or the host about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptLogLine {
    /// Its number; grows over all bots.
    pub seq: u64,
    /// When, Unix time in milliseconds.
    pub at_ms: u64,
    /// The bot.
    pub bot: String,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// What the bot was doing: `!list`, `timer`, `load`.
    pub event: Option<String>,
    /// File and line.
    pub place: Option<String>,
    /// The line, without control characters.
    pub text: String,
    /// Of an error: the calls that led to it, innermost first, one on each line.
    pub traceback: Option<String>,
}

/// A stretch of the bots' log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptLogPage {
    /// The lines, oldest first.
    pub lines: Vec<ScriptLogLine>,
    /// Pass this as `after` to go on.
    pub next_after: u64,
}

/// A piece of Lua to be run inside a bot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptEval {
    /// The bot.
    pub bot: String,
    /// An expression or statements.
    pub code: String,
    /// Calls that change or send something are allowed.
    pub write: bool,
}

/// What such a piece came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptEvaluated {
    /// What it returned, as text for people.
    pub result: String,
    /// Why it failed, with its line.
    pub error: Option<String>,
    /// CPU time, in microseconds.
    pub cpu_us: u64,
}

/// A text from outside that a bot may read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceText {
    /// The text, as bytes.
    pub text: Vec<u8>,
    /// When it was changed last, where that is known; Unix time in milliseconds.
    pub changed_ms: Option<u64>,
}

/// What a neighbour may bring in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkLimit {
    /// Messages a minute.
    pub messages_per_minute: u64,
    /// Bytes a minute.
    pub bytes_per_minute: u64,
}

/// What the machine's own mesh routing knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineReport {
    /// Who was asked with success: `babel`, `batman`. Empty on a machine that runs neither.
    pub sources: Vec<String>,
    /// The neighbours of this machine.
    pub neighbours: Vec<MachineNeighbour>,
    /// The ways out of the mesh.
    pub gateways: Vec<MachineGateway>,
    /// Routes that babeld knows.
    pub routes: u64,
    /// Who could not be asked, and why.
    pub problems: Vec<String>,
}

/// A neighbour of the machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineNeighbour {
    /// `babel` or `batman`.
    pub protocol: String,
    /// Its address.
    pub address: String,
    /// The interface that it is seen on.
    pub interface: String,
    /// How much is heard of it, from 0 to 1.
    pub quality: Option<f64>,
    /// Babel's cost of the link.
    pub cost: Option<u64>,
    /// Throughput in kbit/s, as B.A.T.M.A.N. V estimates it.
    pub kbit: Option<u64>,
    /// Milliseconds since it was heard.
    pub seen_ms: Option<u64>,
}

/// A way out of the mesh.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineGateway {
    /// `babel` or `batman`.
    pub protocol: String,
    /// Its id or address.
    pub address: String,
    /// The neighbour that leads to it.
    pub via: String,
}
