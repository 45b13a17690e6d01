//! Comparing values: `t:equal`, `t:ok`, `t:matches`.

use mlua::{Table, Value};

use super::super::super::api::{Args, Fault, done};
use super::super::super::limits::DATA_DEPTH;
use super::expect::shorten;
use super::{Installer, unmet};

/// Characters of a value that a failure shows.
const SHOWN_CHARS: usize = 400;

pub(super) fn install(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.sync("t:equal", |lua, _, args| {
        let (got, wanted) = (args.value(0), args.value(1));
        if equal(&got, &wanted, DATA_DEPTH)? {
            return done(lua, ());
        }
        Err(unmet(format!("{}expected {}, got {}", note(args, 2), show(&wanted), show(&got))))
    })?;
    installer.sync("t:ok", |lua, _, args| match args.value(0) {
        value @ (Value::Nil | Value::Boolean(false)) => {
            Err(unmet(format!("{}expected a value that is true, got {}", note(args, 1), show(&value))))
        }
        _ => done(lua, ()),
    })?;
    installer.sync("t:matches", |lua, play, args| {
        let pattern = args.name(1).map_err(Fault::Misuse)?;
        if play.matches(&args.bytes(0), &pattern)? {
            return done(lua, ());
        }
        let text = shorten(&args.bytes(0));
        Err(unmet(format!("{}expected a text that matches \"{pattern}\", got \"{text}\"", note(args, 2))))
    })
}

/// The test's own words, in front of ours.
fn note(args: &Args, i: usize) -> String {
    args.string(i).map_or(String::new(), |note| format!("{}: ", note.to_string_lossy()))
}

fn equal(one: &Value, other: &Value, depth: usize) -> Result<bool, Fault> {
    match (one, other) {
        (Value::Table(one), Value::Table(other)) if one != other => {
            if depth == 0 {
                return Err(Fault::Misuse(format!("tables are nested more than {DATA_DEPTH} deep")));
            }
            let mut count = 0_usize;
            for pair in one.pairs::<Value, Value>() {
                let (key, value) = pair?;
                count += 1;
                if !equal(&value, &other.raw_get(key)?, depth - 1)? {
                    return Ok(false);
                }
            }
            Ok(other.pairs::<Value, Value>().count() == count)
        }
        _ => Ok(one == other),
    }
}

/// A value as it would be written in Lua.
fn show(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, DATA_DEPTH);
    if text.chars().count() > SHOWN_CHARS { text.chars().take(SHOWN_CHARS).chain(['…']).collect() } else { text }
}

fn write(text: &mut String, value: &Value, depth: usize) {
    if text.len() > SHOWN_CHARS * 4 {
        return;
    }
    match value {
        Value::String(string) => text.push_str(&format!("\"{}\"", string.to_string_lossy())),
        Value::Table(_) if depth == 0 => text.push_str("{…}"),
        Value::Table(table) => {
            text.push('{');
            let entries = entries(table);
            for (i, (key, value)) in entries.iter().enumerate() {
                text.push_str(if i == 0 { " " } else { ", " });
                if let Some(key) = key {
                    text.push_str(&format!("{key} = "));
                }
                write(text, value, depth - 1);
            }
            text.push_str(if entries.is_empty() { "}" } else { " }" });
        }
        other => text.push_str(&other.to_string().unwrap_or_default()),
    }
}

/// What a table holds: its list first, then the other keys in order.
fn entries(table: &Table) -> Vec<(Option<String>, Value)> {
    let length = table.raw_len();
    let in_list = |key: &Value| {
        let number = match key {
            Value::Integer(number) => *number as f64,
            Value::Number(number) => *number,
            _ => 0.0,
        };
        number.fract() == 0.0 && number >= 1.0 && number <= length as f64
    };
    let list = table.sequence_values::<Value>().flatten().map(|value| (None, value));
    let mut named: Vec<(Option<String>, Value)> = table
        .pairs::<Value, Value>()
        .flatten()
        .filter(|(key, _)| !in_list(key))
        .map(|(key, value)| (Some(key.to_string().unwrap_or_default()), value))
        .collect();
    named.sort_by(|(one, _), (other, _)| one.cmp(other));
    list.chain(named).collect()
}
