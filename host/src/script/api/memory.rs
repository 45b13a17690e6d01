//! `mesh.store`, `mesh.state` and `mesh.config`.

use std::rc::Rc;

use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Value};
use serde_json::{Map, Value as Json};

use super::super::context::Ctx;
use super::super::limits::{STORE_KEY_BYTES, STORE_OP_BYTES};
use super::super::plain::Plain;
use super::super::store::{Entry, check_key};
use super::super::{lock, nearest};
use super::table::find;
use super::{Args, Fault, Installer, Outcome, done, enter, settle};
use crate::api::ApiError;

/// Bytes of a configuration.
const CONFIG_BYTES: usize = 64 << 10;

pub(super) fn install(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.sync("mesh.store:get", get)?;
    installer.sync("mesh.store:set", set)?;
    installer.sync("mesh.store:incr", incr)?;
    installer.sync("mesh.store:delete", |lua, ctx, args| {
        let was_there = key(args).is_ok_and(|key| lock(&ctx.shared.store).delete(&key, ctx.now_ms()));
        done(lua, was_there)
    })?;
    each(installer)?;
    installer.sync("mesh.config", config)?;
    let store = installer.group("store")?;
    installer.ctx.set_store_table(store);
    Ok(())
}

/// What people typed may be part of a key or a value, so one that doesn't fit is refused and no mistake of the bot's.
fn key(args: &Args) -> Result<Vec<u8>, ApiError> {
    let key = args.bytes(0);
    check_key(&key).map_err(|why| ApiError::new("bad-key", format!("a key of the store {why}")))?;
    Ok(key)
}

fn read(ctx: &Ctx, key: &[u8]) -> Option<Plain> {
    let store = lock(&ctx.shared.store);
    store.get(key, ctx.now_ms()).and_then(|entry| Plain::decode(&entry.value))
}

fn get(lua: &Lua, ctx: &Rc<Ctx>, args: &Args) -> Outcome {
    match key(args).ok().and_then(|key| read(ctx, &key)) {
        Some(value) => done(lua, value.to_lua(lua)?),
        None => done(lua, args.value(1)),
    }
}

fn set(lua: &Lua, ctx: &Rc<Ctx>, args: &Args) -> Outcome {
    let key = key(args)?;
    let max = ctx.limits.store_value_bytes;
    let value = match Plain::from_lua(&args.value(1), max) {
        Ok(value) => value,
        Err(why) if why == Plain::too_large(max) => return Err(too_large(ctx).into()),
        Err(why) => return Err(Fault::Misuse(format!("argument 2 (value) {why}"))),
    };
    let ttl = args.option_duration("ttl").map_err(Fault::Misuse)?;
    let expires_ms = ttl.map(|secs| ctx.now_ms().saturating_add((secs * 1_000.0) as u64));
    put(ctx, &key, &value, expires_ms)?;
    done(lua, true)
}

fn put(ctx: &Ctx, key: &[u8], value: &Plain, expires_ms: Option<u64>) -> Result<(), Fault> {
    let value = value.encode();
    if value.len() > ctx.limits.store_value_bytes {
        return Err(too_large(ctx).into());
    }
    let written = STORE_OP_BYTES + key.len() + value.len();
    lock(&ctx.shared.traffic).may_store(written, ctx.shared.clock.now())?;
    lock(&ctx.shared.store).put(key, Entry { value, expires_ms }, &ctx.limits, ctx.now_ms())?;
    lock(&ctx.shared.traffic).stored.take(written as f64);
    Ok(())
}

fn too_large(ctx: &Ctx) -> ApiError {
    ApiError::new("too-large", format!("a value of the store has at most {} bytes", ctx.limits.store_value_bytes))
}

fn incr(lua: &Lua, ctx: &Rc<Ctx>, args: &Args) -> Outcome {
    let key = key(args)?;
    let expires_ms = lock(&ctx.shared.store).get(&key, ctx.now_ms()).and_then(|entry| entry.expires_ms);
    let old = match read(ctx, &key) {
        None => 0.0,
        Some(Plain::Number(n)) => n,
        Some(_) => return Err(Fault::Misuse("the key holds no number".to_owned())),
    };
    let sum = old + args.number(1).unwrap_or(1.0);
    put(ctx, &key, &Plain::Number(sum), expires_ms)?;
    done(lua, sum)
}

/// `each` is two raw functions: one reads the options, one walks. The prelude makes an iterator of them.
fn each(installer: &mut Installer<'_>) -> mlua::Result<()> {
    let Some(call) = find("mesh.store:each") else { return Err(mlua::Error::runtime("mesh.store:each is missing")) };
    let (lua, ctx) = (installer.lua, Rc::clone(installer.ctx));
    let raw = lua.create_function(move |lua, values: MultiValue| {
        let outcome = enter(&ctx, call, values).and_then(|args| {
            let limit = args.option_number("limit").map_or(f64::INFINITY, |n| n.max(0.0));
            let skip = args.option_number("skip").unwrap_or(0.0).max(0.0);
            // No key has a longer beginning, so nothing is found either way.
            let prefix = args
                .string(0)
                .map_or_else(Vec::new, |text| text.as_bytes().iter().take(STORE_KEY_BYTES + 1).copied().collect());
            done(lua, (lua.create_string(prefix)?, args.option_bool("reverse"), skip, limit))
        });
        settle(lua, &ctx, call, outcome)
    })?;
    let ctx = Rc::clone(installer.ctx);
    let walk =
        lua.create_function(move |lua, (prefix, at, reverse): (mlua::LuaString, Option<mlua::LuaString>, bool)| {
            let at = at.map(|at| at.as_bytes().to_vec());
            let store = lock(&ctx.shared.store);
            let found = store.step(&prefix.as_bytes(), at.as_deref(), reverse, ctx.now_ms());
            match found {
                Some((key, entry)) => {
                    let value = Plain::decode(&entry.value).unwrap_or(Plain::Nil).to_lua(lua)?;
                    (lua.create_string(key)?, value).into_lua_multi(lua)
                }
                None => ().into_lua_multi(lua),
            }
        })?;
    let function: Function = installer.ctx.helpers()?.make_each.call((raw, walk))?;
    installer.put(call, function)
}

/// Defaults of the script, over them bot.toml's, over both the admin's.
fn config(lua: &Lua, ctx: &Rc<Ctx>, args: &Args) -> Outcome {
    let defaults = Plain::from_lua(&args.value(0), CONFIG_BYTES).and_then(|plain| plain.to_json());
    let defaults = defaults.map_err(|e| Fault::Misuse(format!("argument 1 (defaults) {e}")))?;
    let mut merged = match defaults {
        Json::Object(map) if map.is_empty() => ctx.manifest.config.clone(),
        Json::Object(map) => map,
        _ => return Err(Fault::Misuse("argument 1 (defaults) has names as keys".to_owned())),
    };
    let known: Map<String, Json> =
        merged.iter().chain(&ctx.manifest.config).map(|(k, v)| (k.clone(), v.clone())).collect();
    merged.extend(ctx.manifest.config.clone());
    for (key, value) in &ctx.overrides {
        check_override(&known, key, value).map_err(Fault::Misuse)?;
        merged.insert(key.clone(), value.clone());
    }
    done(lua, Plain::from_json(&Json::Object(merged)).to_lua(lua)?)
}

fn check_override(known: &Map<String, Json>, key: &str, value: &Json) -> Result<(), String> {
    let Some(default) = known.get(key) else {
        let near =
            nearest(key, known.keys().map(String::as_str)).map_or(String::new(), |n| format!("; did you mean '{n}'?"));
        return Err(format!("the admin's configuration sets '{key}', which the bot doesn't have{near}"));
    };
    // An empty Lua table may be a list or an object.
    let same = kind(default) == kind(value) || *default == Json::Object(Map::new()) && value.is_array();
    if same {
        return Ok(());
    }
    Err(format!("the admin's configuration sets '{key}' to {}; it must be {}", kind(value), kind(default)))
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "nothing",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "a table",
    }
}

/// The state carried over a reload, or an empty table.
pub(crate) fn state_table(lua: &Lua, carried: Option<&Plain>) -> mlua::Result<Value> {
    match carried {
        Some(plain @ Plain::Table(_)) => plain.to_lua(lua),
        _ => lua.create_table().map(Value::Table),
    }
}
