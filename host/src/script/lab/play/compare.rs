//! Comparing values: `t:equal`, `t:ok`, `t:matches`.

use mlua::Value;

use super::super::super::api::{Args, Fault, done};
use super::super::super::limits::DATA_DEPTH;
use super::super::super::show::show;
use super::expect::shorten;
use super::{Installer, unmet};

/// What a failure shows of a value, in bytes.
const SHOWN_BYTES: usize = 400;

pub(super) fn install(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.sync("t:equal", |lua, _, args| {
        let (got, wanted) = (args.value(0), args.value(1));
        if equal(&got, &wanted, DATA_DEPTH)? {
            return done(lua, ());
        }
        Err(unmet(format!("{}expected {}, got {}", note(args, 2), show(&wanted, SHOWN_BYTES), show(&got, SHOWN_BYTES))))
    })?;
    installer.sync("t:ok", |lua, _, args| match args.value(0) {
        value @ (Value::Nil | Value::Boolean(false)) => {
            Err(unmet(format!("{}expected a value that is true, got {}", note(args, 1), show(&value, SHOWN_BYTES))))
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
