//! Text for a terminal.

mod clean;
mod table;
mod when;

use std::io::IsTerminal;

use rustyline::hint::Hint;

pub(super) use clean::{clean, clean_lines, is_unsafe};
pub(super) use table::Table;
pub(super) use when::{ago, bytes, clock, duration, now_ms};

/// Whether text may have colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    colour: bool,
}

impl Style {
    /// No colours.
    pub(super) const PLAIN: Self = Self { colour: false };

    /// Colours when the standard output is a terminal and `NO_COLOR` is not set.
    pub(super) fn of_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: !unwanted && std::io::stdout().is_terminal() }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// For headings.
    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// For what matters less.
    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// For what is worth a look.
    pub(super) fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// For what needs attention.
    pub(super) fn alarm(self, text: &str) -> String {
        self.paint("31", text)
    }
}

/// A hint that only tells: it is no text to take over.
pub(super) struct Missing(pub(super) String);

impl Hint for Missing {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}
