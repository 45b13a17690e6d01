//! Values as an author would write them in a script, for people: bounded, and nothing of the script's runs for it.

use std::collections::BTreeMap;

use mlua::{Table, Value};

use super::cut;
use super::limits::DATA_DEPTH;

/// Entries of a table that are looked at.
const ENTRIES: usize = 200;
/// What is shown of a key, in bytes.
const KEY_BYTES: usize = 64;

/// Tables that are looked at: to walk one with much more room than values takes long, and bytes don't count it.
const TABLES: usize = 32;

/// A value in at most so many bytes, and an ellipsis where that is too little.
pub(crate) fn show(value: &Value, max_bytes: usize) -> String {
    let mut shown = Shown { text: String::new(), max_bytes, tables: TABLES };
    shown.write(value, DATA_DEPTH);
    let text = shown.text;
    if text.len() > max_bytes { format!("{}…", cut(&text, max_bytes)) } else { text }
}

/// What is written so far, and how much may come.
struct Shown {
    text: String,
    max_bytes: usize,
    tables: usize,
}

impl Shown {
    fn is_full(&self) -> bool {
        self.text.len() > self.max_bytes
    }

    fn write(&mut self, value: &Value, depth: usize) {
        match value {
            _ if self.is_full() => {}
            Value::String(string) => {
                // Nothing behind this is shown.
                let bytes = string.as_bytes();
                self.text.push_str(&quoted(bytes.get(..=self.max_bytes).unwrap_or(&bytes)));
            }
            Value::Table(_) if depth == 0 || self.tables == 0 => self.text.push_str("{…}"),
            Value::Table(table) => {
                self.tables -= 1;
                let entries = entries(table);
                self.text.push('{');
                for (i, (key, value)) in entries.iter().enumerate() {
                    if self.is_full() {
                        return;
                    }
                    self.text.push_str(if i == 0 { " " } else { ", " });
                    self.text.push_str(key);
                    self.write(value, depth - 1);
                }
                self.text.push_str(match entries.len() {
                    0 => "}",
                    ENTRIES.. => ", … }",
                    _ => " }",
                });
            }
            other => self.text.push_str(&other.to_string().unwrap_or_default()),
        }
    }
}

/// Whether a table says itself how it is written.
pub(crate) fn shown_itself(table: &Table) -> bool {
    let named = table.metatable().and_then(|meta| meta.raw_get::<Value>("__tostring").ok());
    named.is_some_and(|function| !function.is_nil())
}

/// A text in one line: what can't be seen in it is written as in a script.
pub(crate) fn in_line(bytes: &[u8]) -> String {
    escaped(bytes, char::is_control)
}

/// A text in quotes.
fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", escaped(bytes, |c| c != '\''))
}

fn escaped(bytes: &[u8], escapes: fn(char) -> bool) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if escapes(c) { text.extend(c.escape_debug()) } else { text.push(c) }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// What a table holds, each with what stands before its value: the list first, then the other keys in order.
fn entries(table: &Table) -> Vec<(String, Value)> {
    let (mut listed, mut named) = (BTreeMap::new(), Vec::new());
    for (key, value) in table.pairs::<Value, Value>().flatten().take(ENTRIES) {
        match place(&key) {
            Some(place) => _ = listed.insert(place, value),
            None => named.push((format!("{} = ", key_text(&key)), value)),
        }
    }
    named.sort_by(|(one, _), (other, _)| one.cmp(other));
    let in_list = |(expected, (place, value))| {
        let key = if place == expected { String::new() } else { format!("[{place}] = ") };
        (key, value)
    };
    (1..).zip(listed).map(in_list).chain(named).collect()
}

/// A key's place in a list.
fn place(key: &Value) -> Option<u32> {
    let number = match key {
        Value::Integer(number) => *number as f64,
        Value::Number(number) => *number,
        _ => return None,
    };
    (number.fract() == 0.0 && number >= 1.0 && number <= f64::from(u32::MAX)).then_some(number as u32)
}

fn key_text(key: &Value) -> String {
    match key {
        Value::String(name) if is_name(&name.as_bytes()) => name.to_string_lossy(),
        Value::String(name) => {
            let bytes = name.as_bytes();
            format!("[{}]", quoted(bytes.get(..KEY_BYTES).unwrap_or(&bytes)))
        }
        Value::Boolean(_) | Value::Integer(_) | Value::Number(_) => {
            format!("[{}]", key.to_string().unwrap_or_default())
        }
        other => format!("[{}]", other.type_name()),
    }
}

/// Whether a key can be written without quotes.
fn is_name(key: &[u8]) -> bool {
    key.len() <= KEY_BYTES
        && key.first().is_some_and(|first| !first.is_ascii_digit())
        && key.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

#[cfg(test)]
mod tests {
    use mlua::Lua;

    use super::*;

    fn shown(code: &str, max_bytes: usize) -> String {
        let lua = Lua::new();
        show(&lua.load(code).eval().unwrap(), max_bytes)
    }

    #[test]
    fn values_are_shown_as_they_are_written() {
        for (code, text) in [
            ("nil", "nil"),
            ("1.5", "1.5"),
            (r#""a\nb\0c\"d'\xff""#, r#""a\nb\0c\"d'\xff""#),
            ("{}", "{}"),
            ("{ 1, 'x', { true } }", r#"{ 1, "x", { true } }"#),
            (
                "{ b = 1, a = 2, ['a b'] = 3, [2] = 4, [1.5] = 5 }",
                r#"{ [2] = 4, ["a b"] = 3, [1.5] = 5, a = 2, b = 1 }"#,
            ),
            ("setmetatable({ 1 }, { __tostring = error, __iter = error, __index = error })", "{ 1 }"),
        ] {
            assert_eq!(shown(code, 100), text, "{code}");
        }
    }

    #[test]
    fn what_is_large_deep_or_in_a_circle_is_cut() {
        assert_eq!(shown("('x'):rep(1e6)", 5), "\"xxxx…");
        let circle = shown("local t = {} t[1], t[2] = t, t return t", 300);
        assert!(circle.len() < 310 && circle.ends_with('…'), "{circle}");
        let long = shown("local t = {} for i = 1, 1e6 do t[i] = 1 end return t", 1 << 20);
        assert!(long.len() < 4_000 && long.ends_with("1, … }"), "{long}");
        let wide = "local t = {} t[1] = t for i = 1, 998 do t[('\\1'):rep(990) .. i] = 1 end return t";
        assert!(shown(wide, 1 << 20).len() < TABLES * ENTRIES * (KEY_BYTES * 6 + 20));
        let roomy = shown("return table.create(1000, table.create(9e5))", 1 << 20);
        assert_eq!((roomy.matches("{}").count(), roomy.matches("{…}").count()), (TABLES - 1, ENTRIES - TABLES + 1));
    }
}
