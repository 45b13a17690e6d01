//! What the line editor asks while a line is typed.

use std::borrow::Cow;

use clap::CommandFactory;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Result};

use super::complete::{complete, hint};
use super::names::Names;
use crate::cli::args::Line;
use crate::cli::term::{Missing, Style};

/// Completion and hints from the table of commands and the node's names.
pub(super) struct Helper {
    table: clap::Command,
    names: Names,
    style: Style,
}

impl Helper {
    /// A helper that offers those names.
    pub(super) fn new(names: Names, style: Style) -> Self {
        let mut table = Line::command();
        table.build();
        Self { table, names, style }
    }
}

impl Completer for Helper {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> Result<(usize, Vec<String>)> {
        Ok(complete(&self.table, line.get(..pos).unwrap_or(line), |kind| self.names.of(kind)))
    }
}

impl Hinter for Helper {
    type Hint = Missing;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Missing> {
        if pos < line.len() { None } else { hint(&self.table, line).map(Missing) }
    }
}

impl Highlighter for Helper {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(self.style.dim(hint))
    }
}

impl Validator for Helper {}

impl rustyline::Helper for Helper {}
