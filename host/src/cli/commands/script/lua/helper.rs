//! What the line editor asks while Lua is typed: names and signatures from the table of the API.

use std::borrow::Cow;

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Result};

use crate::cli::term::{Missing, Style};
use crate::script::meta::signature;
use crate::script::{GROUPS, calls, typed_is_unfinished};

pub(super) struct Helper {
    style: Style,
}

impl Helper {
    pub(super) fn new(style: Style) -> Self {
        Self { style }
    }
}

/// The name at the end of a text, and where it begins.
fn last_name(text: &str) -> (usize, &str) {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':');
    let start = text.rfind(|c: char| !part(c)).map_or(0, |at| at + 1);
    (start, text.get(start..).unwrap_or_default())
}

fn completed(text: &str) -> (usize, Vec<String>) {
    let (start, name) = last_name(text);
    let values = GROUPS.iter().flat_map(|group| group.values).map(|value| value.name);
    let known = calls().map(|call| call.name).filter(|call| call.starts_with("mesh.")).chain(values);
    // Nothing is offered for nothing: it would be the whole table.
    let fits = |known: &&str| !name.is_empty() && known.starts_with(name);
    (start, known.filter(fits).map(str::to_owned).collect())
}

/// The arguments that are still to be typed, behind an opened bracket.
fn missing(text: &str) -> Option<String> {
    let (_, name) = last_name(text.strip_suffix('(')?);
    let call = calls().find(|call| call.name == name)?;
    signature(call).strip_prefix(&format!("{name}(")).map(str::to_owned)
}

impl Completer for Helper {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> Result<(usize, Vec<String>)> {
        Ok(completed(line.get(..pos).unwrap_or(line)))
    }
}

impl Hinter for Helper {
    type Hint = Missing;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Missing> {
        if pos < line.len() { None } else { missing(line).map(Missing) }
    }
}

impl Highlighter for Helper {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(self.style.dim(hint))
    }
}

impl Validator for Helper {
    /// A statement that isn't finished goes on in the next line; an empty line ends it all the same.
    fn validate(&self, typed: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        let code = typed.input();
        let goes_on = !code.ends_with('\n') && typed_is_unfinished(code);
        Ok(if goes_on { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl rustyline::Helper for Helper {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_and_arguments_hinted() {
        assert_eq!(completed("local x = mesh.store:g"), (10, vec!["mesh.store:get".to_owned()]));
        assert_eq!(
            completed("mesh.st"),
            (
                0,
                ["get", "set", "incr", "delete", "each"]
                    .map(|n| format!("mesh.store:{n}"))
                    .into_iter()
                    .chain(["mesh.state".to_owned()])
                    .collect()
            )
        );
        assert!(completed("x = ").1.is_empty());
        assert_eq!(missing("mesh.store:get(").as_deref(), Some("key [, default])"));
        assert_eq!(missing("nothing("), None);
    }
}
