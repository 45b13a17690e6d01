//! Log, JSON, base64, text.

use std::rc::Rc;

use mlua::{Lua, Value};

use crate::api::ApiError;

use super::super::context::Ctx;
use super::super::limits::{JSON_BYTES, LOG_LINE_BYTES};
use super::super::log::{About, Level};
use super::super::plain::{Plain, is_list, mark_list};
use super::super::show::{show, shown_itself};
use super::super::{cut, lock};
use super::{Args, Fault, Installer, Outcome, done};

/// Base64 that is read at once, in bytes: what is written at once can be read.
const BASE64_BYTES: usize = JSON_BYTES.div_ceil(3) * 4;
/// Longest place, in bytes.
const PLACE_BYTES: usize = 200;

pub(super) fn install(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.sync("mesh.log.debug", |lua, ctx, args| log(lua, ctx, args, Level::Debug))?;
    installer.sync("mesh.log.info", |lua, ctx, args| log(lua, ctx, args, Level::Info))?;
    installer.sync("mesh.log.warn", |lua, ctx, args| log(lua, ctx, args, Level::Warn))?;
    installer.sync("mesh.log.error", |lua, ctx, args| log(lua, ctx, args, Level::Error))?;
    installer.sync("mesh.json.encode", |lua, _, args| {
        let plain = Plain::from_lua(&args.value(0), JSON_BYTES).and_then(|plain| plain.to_json());
        let json = plain.map_err(|e| Fault::Misuse(format!("argument 1 (value) {e}")))?;
        done(lua, json.to_string())
    })?;
    installer.sync("mesh.json.decode", json_decode)?;
    installer.sync("mesh.json.array", json_array)?;
    installer.group("json")?.raw_set("null", Value::NULL)?;
    installer.sync("mesh.base64.encode", |lua, _, args| {
        let bytes = args.bytes(0);
        if bytes.len() > JSON_BYTES {
            return Err(Fault::Misuse(format!("argument 1 (bytes) must have at most {} KiB", JSON_BYTES >> 10)));
        }
        done(lua, base64_encode(&bytes))
    })?;
    installer.sync("mesh.base64.decode", |lua, _, args| {
        let text = args.bytes(0);
        if text.len() > BASE64_BYTES {
            let message = format!("more than {} KiB of base64", BASE64_BYTES >> 10);
            return Err(Fault::World(ApiError::new("too-large", message)));
        }
        let bytes = base64_decode(&text);
        done(lua, lua.create_string(bytes.ok_or_else(|| ApiError::new("bad-base64", "the text is no base64"))?)?)
    })?;
    installer.sync("mesh.text.truncate", |lua, _, args| {
        let max = args.number(1).unwrap_or(0.0).max(0.0) as usize;
        let Some(text) = args.string(0) else { return done(lua, "") };
        done(lua, lua.create_string(truncate(&text.as_bytes(), max))?)
    })
}

fn json_decode(lua: &Lua, _: &Rc<Ctx>, args: &Args) -> Outcome {
    let text = args.bytes(0);
    if text.len() > JSON_BYTES {
        return Err(Fault::World(ApiError::new("too-large", format!("more than {} KiB of JSON", JSON_BYTES >> 10))));
    }
    match serde_json::from_slice(&text) {
        Ok(json) => done(lua, Plain::from_json(&json).to_lua(lua)?),
        Err(error) => Err(Fault::World(ApiError::new("bad-json", error.to_string()))),
    }
}

fn json_array(lua: &Lua, _: &Rc<Ctx>, args: &Args) -> Outcome {
    let Some(table) = args.table(0) else { return done(lua, ()) };
    if table.is_readonly() || table.has_metatable() && !is_list(&table) {
        let message = "argument 1 (table) must be a table of the bot's own without a metatable";
        return Err(Fault::Misuse(message.to_owned()));
    }
    mark_list(lua, &table)?;
    done(lua, table)
}

/// One line of log: arguments apart by spaces, without control characters, cut to the limit.
fn log(lua: &Lua, ctx: &Rc<Ctx>, args: &Args, level: Level) -> Outcome {
    let mut line = String::new();
    for value in args.all() {
        if line.len() >= LOG_LINE_BYTES {
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        let left = LOG_LINE_BYTES.saturating_sub(line.len());
        match value {
            Value::String(text) => {
                let bytes = text.as_bytes();
                line.push_str(&String::from_utf8_lossy(bytes.get(..left).unwrap_or(&bytes)));
            }
            Value::Table(table) if !shown_itself(table) => line.push_str(&show(value, left)),
            other => line.push_str(&other.to_string()?),
        }
    }
    let line = clean(&line, LOG_LINE_BYTES);
    if !lock(&ctx.shared.traffic).log.try_take(1.0, ctx.shared.clock.now()) {
        ctx.unlogged.set(ctx.unlogged.get() + 1);
        return done(lua, ());
    }
    if let lost @ 1.. = ctx.unlogged.take() {
        let most = ctx.limits.log_lines_per_second;
        let line = format!("{lost} lines before this one were left out: the log takes {most} a second");
        ctx.shared.keep_log(About { level: Level::Warn, event: ctx.doing(), ..About::default() }, line);
    }
    let place = caller(lua);
    write(&ctx.shared.name, level, place.as_deref(), &line);
    let about = About { level, event: ctx.doing(), place, traceback: None };
    ctx.shared.keep_log(about, line);
    done(lua, ())
}

/// The script's line that called: one above the wrapper around the raw function.
fn caller(lua: &Lua) -> Option<String> {
    const SCRIPT: usize = 2;
    lua.inspect_stack(SCRIPT, |frame| {
        let file = frame.source().short_src?.into_owned();
        let line = frame.current_line()?;
        Some(format!("{}:{line}", clean(&file, PLACE_BYTES)))
    })?
}

fn write(bot: &str, level: Level, at: Option<&str>, line: &str) {
    match level {
        Level::Error => tracing::error!(target: "qpq::script", bot, at, "{line}"),
        Level::Warn => tracing::warn!(target: "qpq::script", bot, at, "{line}"),
        Level::Info => tracing::info!(target: "qpq::script", bot, at, "{line}"),
        Level::Debug => tracing::debug!(target: "qpq::script", bot, at, "{line}"),
    }
}

/// A text without control characters, at most so many bytes long.
pub(crate) fn clean(text: &str, max: usize) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    cut(text, max).chars().map(visible).collect()
}

/// Cuts at a character's edge, and shows that it did.
fn truncate(text: &[u8], max: usize) -> Vec<u8> {
    const ELLIPSIS: &str = "…";
    if text.len() <= max {
        return text.to_vec();
    }
    let mark = if max >= ELLIPSIS.len() { ELLIPSIS } else { "" };
    let mut end = max - mark.len();
    // No character is longer than four bytes: what goes on for more is no text, and is cut anywhere.
    let edge = (end.saturating_sub(3)..=end).rev().find(|at| text.get(*at).is_some_and(|byte| byte & 0xC0 != 0x80));
    end = edge.unwrap_or(end);
    [text.get(..end).unwrap_or_default(), mark.as_bytes()].concat()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, with padding.
fn base64_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = (group >> (18 - 6 * i) & 63) as usize;
            let used = i <= chunk.len();
            out.push(if used { ALPHABET.get(digit).map_or('=', |byte| char::from(*byte)) } else { '=' });
        }
    }
    out
}

/// RFC 4648; padding may be missing, spaces and other letters are refused.
fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    let digits: &[u8] = match text {
        [digits @ .., b'=', b'='] | [digits @ .., b'='] => digits,
        digits => digits,
    };
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for chunk in digits.chunks(4) {
        let mut group = 0u32;
        for digit in chunk {
            group = group << 6 | u32::try_from(ALPHABET.iter().position(|known| known == digit)?).ok()?;
        }
        group <<= 6 * (4 - chunk.len());
        let bytes = match chunk.len() {
            4 => 3,
            3 => 2,
            2 => 1,
            _ => return None,
        };
        out.extend(group.to_be_bytes().iter().skip(1).take(bytes));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_follows_the_rfc() {
        for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64_encode(plain.as_bytes()), text);
            assert_eq!(base64_decode(text.as_bytes()).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!(base64_decode(b"a b="), None);
        assert_eq!(base64_decode(b"a"), None);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(truncate("grün".as_bytes(), 10), "grün".as_bytes());
        assert_eq!(truncate("grüner".as_bytes(), 6), "gr…".as_bytes());
        assert_eq!(clean("a\x1b[31m\nb", 10), "a [31m b");
    }
}
