//! What went wrong in a script, in words a bot's author can use.

use std::time::Duration;

use mlua::{Table, Value};
use serde::{Deserialize, Serialize};

use super::api::{Unread, clean, nearest_method};
use super::budget::CPU_MESSAGE;
use super::cut;
use super::shared::PROBLEM_BYTES;
use super::show::{show, shown_itself};
use super::source::Source;

/// Calls of a traceback that are kept.
const TRACEBACK_LINES: usize = 20;
/// Length of one of them, in bytes.
const TRACEBACK_LINE_BYTES: usize = 200;

/// Luau's words when what is called isn't there. It names no name.
const CALLED_NOTHING: &str = "attempt to call a nil value";

/// Luau's words for a table that nobody may change. They don't say which.
const LOCKED: &str = "attempt to modify a readonly table";

/// The kinds of failure; the words are those of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// The script's own error.
    Error,
    /// The CPU budget is used up.
    Cpu,
    /// The memory limit is reached.
    Memory,
    /// The handler lived too long.
    Life,
    /// The machine itself failed.
    Panic,
    /// The bot was not let in: manifest, permissions, size.
    Refused,
    /// The node could not do its part at the moment: it is tried again.
    Unready,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Cpu => "cpu-limit",
            Self::Memory => "memory-limit",
            Self::Life => "time-limit",
            Self::Panic => "host-error",
            Self::Refused => "refused",
            Self::Unready => "not-ready",
        }
    }
}

/// A failure with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub kind: Kind,
    pub message: String,
    pub file: Option<String>,
    pub line: Option<usize>,
    /// The calls in the bot's files that led to it, innermost first, one on each line.
    pub traceback: Option<String>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), file: None, line: None, traceback: None }
    }

    /// Reads the machine's error: its first line has the place, the rest is a traceback.
    pub(crate) fn from_lua(error: &mlua::Error, source: &Source) -> Self {
        let (kind, text, trace) = unwrap(error);
        // Only so much of a huge message is looked at.
        let text = cut(&text, PROBLEM_BYTES * 2).to_owned();
        let head = text.split("\nstack traceback:").next().unwrap_or_default();
        let place = place(head, source);
        let (file, line, message) = match place {
            Some((file, line, message)) => (Some(file), Some(line), message),
            None => {
                let lines = text.lines().chain(trace.lines().take(40));
                let found = lines.filter_map(|line| self::place(line.trim(), source)).next();
                (found.as_ref().map(|(file, ..)| file.clone()), found.map(|(_, line, _)| line), head)
            }
        };
        let kind = match kind {
            Kind::Error if message.contains(CPU_MESSAGE) => Kind::Cpu,
            Kind::Error if message.starts_with("not enough memory") => Kind::Memory,
            kind => kind,
        };
        let traceback = traceback(&text, trace, source);
        Self { kind, message: clean(&explain(message), PROBLEM_BYTES), file, line, traceback }
    }

    /// The same, with the name of what isn't there, should that have been called where it was read.
    pub(crate) fn naming(mut self, unread: Option<Unread>) -> Self {
        if self.message == CALLED_NOTHING
            && let Some(unread) = unread
            && (self.file.as_ref(), self.line) == (Some(&unread.file), Some(unread.line))
        {
            self.message = unread.told;
        }
        self
    }

    /// The same, with what the raised table says, should there be no more than its address.
    pub(crate) fn telling(mut self, raised: Option<&Table>) -> Self {
        if let Some(table) = raised.filter(|table| self.message.starts_with("table: ") && !shown_itself(table))
            && Value::Table((*table).clone()).to_string().is_ok_and(|address| address == self.message)
        {
            self.message = clean(&told(table), PROBLEM_BYTES);
        }
        self
    }

    /// The same, with the tables that a bot which may write can't change all the same.
    pub(crate) fn explaining_locks(mut self) -> Self {
        if self.message == LOCKED {
            self.message.push_str(
                ": it is frozen, or one of the host's; `mesh.state` stays, and its fields are set, as in mesh.state.count = 1",
            );
        }
        self
    }

    /// The same, told as what it is: the budget was used up.
    pub(crate) fn of_cpu(mut self, budget: Duration) -> Self {
        self.kind = Kind::Cpu;
        self.message = format!("stopped after {} ms of CPU time, the budget", budget.as_millis());
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: {}", self.message),
            (Some(file), None) => write!(f, "{file}: {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

/// What a table says as an error: its message with its code, if it has such, else what stands in it.
fn told(table: &Table) -> String {
    let text = |key| {
        let text = table.raw_get(key).ok().and_then(|value: Value| value.as_string().cloned())?;
        let bytes = text.as_bytes();
        Some(String::from_utf8_lossy(bytes.get(..PROBLEM_BYTES).unwrap_or(&bytes)).into_owned())
    };
    match (text("message"), text("code")) {
        (Some(message), Some(code)) => format!("{message} ({code})"),
        (Some(message), None) => message,
        (None, _) => show(&Value::Table(table.clone()), PROBLEM_BYTES),
    }
}

fn unwrap(error: &mlua::Error) -> (Kind, String, &str) {
    match error {
        mlua::Error::CallbackError { traceback, cause } => {
            let (kind, message, inner) = unwrap(cause);
            (kind, message, if inner.is_empty() { traceback } else { inner })
        }
        mlua::Error::RuntimeError(message) => (Kind::Error, message.clone(), ""),
        mlua::Error::SyntaxError { message, .. } => (Kind::Error, message.clone(), ""),
        mlua::Error::MemoryError(_) => {
            (Kind::Memory, "not enough memory: the bot is at its memory limit".to_owned(), "")
        }
        other => (Kind::Error, other.to_string(), ""),
    }
}

/// The lines of a traceback that are of the bot's own files. The message may hold one, too; the machine's comes last.
fn traceback(text: &str, trace: &str, source: &Source) -> Option<String> {
    let inner = text.split_once("\nstack traceback:").map_or("", |(_, inner)| inner);
    let lines = inner.lines().chain(trace.lines()).map(str::trim).filter(|line| place(line, source).is_some());
    let calls: Vec<String> = lines.take(TRACEBACK_LINES).map(|line| clean(line, TRACEBACK_LINE_BYTES)).collect();
    (!calls.is_empty()).then(|| calls.join("\n"))
}

/// Splits `file:line: message` where the file is one of the bot's.
fn place<'t>(text: &'t str, source: &Source) -> Option<(String, usize, &'t str)> {
    for file in source.files.keys() {
        let rest = text.strip_prefix(file.as_str()).and_then(|rest| rest.strip_prefix(':'));
        let Some(rest) = rest else { continue };
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (line, message) = rest.split_at_checked(digits)?;
        let message = message.strip_prefix(':').unwrap_or(message).trim_start();
        return Some((file.clone(), line.parse().ok()?, message));
    }
    None
}

/// Luau's words for awaiting in the wrong place say little to a bot's author; nor do those for a misspelt method.
fn explain(message: &str) -> String {
    if message.contains("attempt to yield across metamethod/C-call boundary") {
        return "calls that wait (mesh.send, mesh.sleep …) can't be used inside table.sort, string.gsub callbacks or \
                metamethods: do it before or after"
            .to_owned();
    }
    if message.starts_with("invalid argument #") && message.ends_with(" to 'format' (string expected, got table)") {
        return format!("{message}; write %* for a value of any kind");
    }
    let method = message.strip_prefix("attempt to call missing method '").and_then(|rest| rest.split_once('\''));
    match method.and_then(|(wrong, _)| nearest_method(wrong)) {
        Some(near) => format!("{message}; did you mean {near}?"),
        None => message.to_owned(),
    }
}
