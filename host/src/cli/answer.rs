//! What a command prints: text for people, or JSON with its schema's name and version.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value};

use super::failure::Failure;
use super::term::is_unsafe;

/// The outcome of a command, in both forms.
#[derive(Debug)]
pub(super) struct Answer {
    json: Map<String, Value>,
    text: String,
    failed: bool,
}

impl Answer {
    /// An answer whose JSON has the fields of `value`, which must be a struct or map.
    pub(super) fn new(schema: &str, value: &impl Serialize, text: impl Into<String>) -> Self {
        let mut json = Map::new();
        json.insert("schema".to_owned(), schema.into());
        if let Ok(Value::Object(fields)) = serde_json::to_value(value) {
            json.extend(fields);
        }
        Self { json, text: text.into(), failed: false }
    }

    /// An answer whose JSON has one list.
    pub(super) fn list<T: Serialize>(schema: &str, name: &str, items: &[T], text: impl Into<String>) -> Self {
        Self::new(schema, &serde_json::json!({ name: items }), text)
    }

    /// The same, of an operation that failed: it is printed, and the exit code says so.
    pub(super) fn failed(self) -> Self {
        Self { failed: true, ..self }
    }

    /// The answer as one line of JSON, or as text.
    pub(super) fn show(&self, as_json: bool) -> String {
        if as_json { escaped(&Value::Object(self.json.clone()).to_string()) } else { self.text.trim_end().to_owned() }
    }

    /// Prints the answer.
    pub(super) fn print(&self, as_json: bool) -> Result<(), Failure> {
        print_line(&self.show(as_json))?;
        if self.failed { Err(Failure::Told) } else { Ok(()) }
    }
}

/// JSON in which what could do harm at a terminal is written as `\u…`, which means the same. In JSON such characters are in
/// texts alone, which come from others.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unsafe(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// Prints a line. Fails quietly when nobody reads any more.
pub(super) fn print_line(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = if line.is_empty() { Ok(()) } else { writeln!(out, "{line}") };
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::Quiet),
        other => other.map_err(Failure::io),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_harmful_stands_in_json_and_it_means_the_same() {
        let text = "a\u{9b}2Jb\u{202e}c\u{7f}\u{2028}\u{e0041}\u{1b}[31m ü 👧 \n";
        let shown = Answer::new("qpq.test/1", &serde_json::json!({ "text": text }), "").show(true);
        assert!(!shown.chars().any(is_unsafe) && shown.contains("\\u009b2J") && shown.contains("ü 👧"), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["text"], text);
    }
}
