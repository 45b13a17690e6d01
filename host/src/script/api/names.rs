//! What stands in `mesh`, and what a name that doesn't was probably meant to be.

use std::rc::Rc;

use mlua::{Lua, Table, Value};

use super::super::context::Ctx;
use super::super::duration::shorten;
use super::super::limits::NAME_BYTES;
use super::super::nearest;
use super::args::beginning;
use super::{Call, GROUPS, calls};

/// Something that scripts may find in `mesh`.
#[derive(Debug, Clone)]
pub(crate) enum Named {
    Call(&'static Call),
    /// A value, or a table with calls.
    Other,
    /// Nothing of that name is there; in words.
    Unknown(String),
}

/// A name that a script read and that isn't there, with the place where it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unread {
    pub file: String,
    pub line: usize,
    /// That there is no such thing, and what was probably meant.
    pub told: String,
}

/// What `mesh.a` or, with two words, `mesh.a.b` is. More words lead into values.
pub(crate) fn named(words: &[&str]) -> Named {
    let Some((first, rest)) = words.split_first() else { return Named::Other };
    let inside = inner(first);
    match (rest.first(), inside.is_empty()) {
        (Some(second), false) => match inside.iter().find(|(name, _)| name == second) {
            Some((_, call)) => Named::Call(call),
            None if values().any(|value| value.split_once('.') == Some((first, second))) => Named::Other,
            None => unknown(first, second),
        },
        (_, false) => Named::Other,
        (_, true) => match calls().find(|call| call.name.strip_prefix("mesh.") == Some(first)) {
            Some(call) => Named::Call(call),
            None if values().any(|value| value == *first) => Named::Other,
            None => unknown("", first),
        },
    }
}

/// The calls in a table of `mesh`, by their last names; none where it is no such table.
fn inner(table: &str) -> Vec<(&'static str, &'static Call)> {
    let inside = |call: &'static Call| {
        let (place, name) = call.name.strip_prefix("mesh.")?.split_once(['.', ':'])?;
        (place == table).then_some((name, call))
    };
    calls().filter_map(inside).collect()
}

fn values() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|group| group.values).filter_map(|value| value.name.strip_prefix("mesh."))
}

/// There is nothing of that name in that table of `mesh`, or in `mesh` itself.
fn unknown(table: &str, wrong: &str) -> Named {
    let known: Vec<&str> = if table.is_empty() {
        let first = |call: &'static Call| call.name.strip_prefix("mesh.")?.split(['.', ':']).next();
        calls().filter_map(first).chain(values()).collect()
    } else {
        inner(table).into_iter().map(|(name, _)| name).collect()
    };
    let full = |name: &str| {
        let there = inner(table).into_iter().find(|(known, _)| *known == name).map(|(_, call)| call.name.to_owned());
        let place = if table.is_empty() { "mesh".to_owned() } else { format!("mesh.{table}") };
        there.unwrap_or_else(|| format!("{place}.{name}"))
    };
    let near = nearest(wrong, known).map_or(String::new(), |near| format!("; did you mean {}?", full(near)));
    Named::Unknown(format!("there is no {}{near}", full(&shorten(wrong))))
}

/// The method of a message, timer or board that a wrong one was probably meant to be.
pub(crate) fn nearest_method(wrong: &str) -> Option<&'static str> {
    let methods = || calls().filter_map(|call| call.name.rsplit_once(':').map(|(_, method)| (method, call.name)));
    let near = nearest(wrong, methods().map(|(method, _)| method))?;
    methods().find(|(method, _)| *method == near).map(|(_, name)| name)
}

/// Notes names that are read in `mesh` and aren't there: should one be called at once, the error can tell it. To read one is
/// no error: that is how a script asks whether something is there.
pub(super) fn watch(lua: &Lua, ctx: &Rc<Ctx>, mesh: &Table) -> mlua::Result<()> {
    let mut groups = Vec::new();
    for pair in mesh.pairs::<String, Value>() {
        let (name, value) = pair?;
        groups.extend(value.as_table().filter(|_| !inner(&name).is_empty()).map(|table| (name, table.clone())));
    }
    let meta = lua.create_table()?;
    meta.raw_set("__metatable", "mesh")?;
    for table in groups.iter().map(|(_, table)| table).chain([mesh]) {
        table.set_metatable(Some(meta.clone()))?;
    }
    let places: Vec<_> = groups.into_iter().map(|(name, table)| (table.to_pointer(), name)).collect();
    let ctx = Rc::downgrade(ctx);
    let index = lua.create_function(move |lua, (table, name): (Table, Value)| {
        let place = places.iter().find(|(known, _)| *known == table.to_pointer()).map(|(_, name)| name.as_str());
        if let (Value::String(name), Some(ctx)) = (name, ctx.upgrade()) {
            *ctx.unread.borrow_mut() = unread(lua, place, &beginning(&name, NAME_BYTES));
        }
        Ok(Value::Nil)
    })?;
    meta.raw_set("__index", index)?;
    meta.set_readonly(true);
    Ok(())
}

fn unread(lua: &Lua, table: Option<&str>, name: &str) -> Option<Unread> {
    let words: Vec<&str> = table.into_iter().chain([name]).collect();
    let Named::Unknown(told) = named(&words) else { return None };
    let place = |debug: &mlua::debug::Debug<'_>| {
        let file = debug.source().source?.strip_prefix('@')?.to_owned();
        Some(Unread { file, line: debug.current_line()?, told })
    };
    lua.inspect_stack(1, place)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_and_value_is_known_and_a_misspelt_one_is_told_the_right_name() {
        let words = |name: &'static str| name.split(['.', ':']).skip(1).collect::<Vec<_>>();
        for call in calls().filter(|call| call.name.starts_with("mesh.")) {
            assert!(matches!(named(&words(call.name)), Named::Call(found) if found.name == call.name), "{}", call.name);
        }
        for known in [&["self"][..], &["self", "name"], &["state", "x", "y"], &["store"], &["log"], &["json", "null"]] {
            assert!(matches!(named(known), Named::Other), "{known:?}");
        }
        let told = |words: &[&str]| match named(words) {
            Named::Unknown(told) => told,
            other => panic!("{other:?}"),
        };
        assert_eq!(told(&["brodcast"]), "there is no mesh.brodcast; did you mean mesh.broadcast?");
        assert_eq!(told(&["stroe", "get"]), "there is no mesh.stroe; did you mean mesh.store?");
        assert_eq!(told(&["store", "gett"]), "there is no mesh.store.gett; did you mean mesh.store:get?");
        assert_eq!(told(&["relay", "alow"]), "there is no mesh.relay.alow; did you mean mesh.relay.allow?");
        assert_eq!(told(&["something_else"]), "there is no mesh.something_else");
        assert_eq!(nearest_method("repyl"), Some("msg:reply"));
    }
}
