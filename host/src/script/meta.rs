//! Texts made from the table of calls: the editors' definitions, and the reference.
//!
//! The files in the repository's `scripts/` are these; a test fails when they are stale, and says how to write them anew.

mod cats;
mod luau;
mod reference;
mod samples;
mod selene;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;

use super::api::{Call, EVENTS, Event, GROUPS, Group, Kind, Param, TYPES, Type};
use super::lab::{TEST_GROUPS, TEST_TYPES};

/// A generated file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaFile {
    /// Where it belongs, below a folder of scripts.
    pub path: &'static str,
    /// What stands in it.
    pub text: String,
}

/// Every generated file.
pub fn files() -> Vec<MetaFile> {
    let file = |path, text| MetaFile { path, text };
    vec![
        file("meta/mesh.lua", cats::text()),
        file("meta/mesh.d.luau", luau::text()),
        file("meta/mesh.yml", selene::text()),
        file("meta/reference.md", reference::text()),
        file(".luarc.json", samples::luarc()),
        file("selene.toml", samples::selene()),
    ]
}

/// The first lines of generated files, without the sign of a comment.
const NOTICE: [&str; 2] =
    ["Made from the host's table of calls; changes here are lost.", "`qpq script editor` writes it anew."];

/// Every group of calls: of bots, then of tests.
pub fn groups() -> impl Iterator<Item = &'static Group> {
    GROUPS.iter().chain(TEST_GROUPS)
}

/// Every call of bots and tests.
pub fn calls() -> impl Iterator<Item = &'static Call> {
    groups().flat_map(|group| group.calls)
}

/// The tables that bots and tests meet.
pub fn types() -> impl Iterator<Item = &'static Type> + Clone {
    TYPES.iter().chain(TEST_TYPES)
}

/// As it is called: `mesh.send(to, message [, options])`.
pub fn signature(call: &Call) -> String {
    let mut text = String::new();
    for (place, param) in call.params.iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        match (param.optional && param.name != "...", place) {
            (true, 0) => text += &format!("[{}]", param.name),
            (true, _) => text += &format!(" [, {}]", param.name),
            (false, _) => text += &format!("{comma}{}", param.name),
        }
    }
    format!("{}({text})", call.name)
}

/// The permission that a call wants, in words.
pub fn permission(call: &Call) -> Option<&str> {
    call.needs.or((!call.asks.is_empty()).then_some(call.asks))
}

/// The name of the type of a call's options: `mesh.send.options`, `mesh.message.reply.options`.
fn options_name(call: &Call) -> String {
    let (receiver, name) = parts(call);
    let owner = owner(receiver).map_or(receiver, |owner| owner.name);
    format!("{owner}.{name}.options")
}

/// What stands before the last dot or colon of a call's name, and what behind it.
fn parts(call: &Call) -> (&'static str, &'static str) {
    call.name.rsplit_once(['.', ':']).unwrap_or(("", call.name))
}

/// The type whose methods have that receiver.
fn owner(receiver: &str) -> Option<&'static Type> {
    types().find(|table| !table.receiver.is_empty() && table.receiver == receiver)
}

/// `mesh` and the tables inside it that have functions, each with its calls; under no name, calls that are globals.
fn tables() -> BTreeMap<&'static str, Vec<&'static Call>> {
    let mut tables: BTreeMap<&'static str, Vec<&'static Call>> = BTreeMap::new();
    for call in calls() {
        let (receiver, _) = parts(call);
        if owner(receiver).is_none() {
            tables.entry(receiver).or_default().push(call);
        }
    }
    tables
}

/// Events by the table that their handlers get.
fn events_by_table() -> BTreeMap<&'static str, Vec<&'static Event>> {
    let mut by_table: BTreeMap<&'static str, Vec<&'static Event>> = BTreeMap::new();
    for event in EVENTS {
        by_table.entry(event.gives).or_default().push(event);
    }
    by_table
}

/// How a handler calls the table that it gets.
fn handler_argument(gives: &str) -> &'static str {
    TYPES.iter().find(|table| table.name == gives && !table.receiver.is_empty()).map_or("event", |table| table.receiver)
}

/// Whether a call takes the name of an event and a function for it.
fn takes_event(call: &Call) -> bool {
    let has = |fits: fn(&Param) -> bool| call.params.iter().any(fits);
    has(|param| param.type_words == EVENT_NAME) && has(|param| param.kind == Kind::Function)
}

/// What a call returns, as editors are told it: the error behind a result that may be nil is there whenever somebody looks at it,
/// and neither language server can tell that from the result.
fn returns_for_editors(call: &Call) -> String {
    call.returns.replace("?, mesh.error?", "?, mesh.error")
}

/// The names of all events, as a type.
const EVENT_NAME: &str = "mesh.event_name";

fn event_names<'e>(events: impl IntoIterator<Item = &'e Event>) -> String {
    events.into_iter().map(|event| format!("\"{}\"", event.name)).collect::<Vec<_>>().join("|")
}

/// What is said of a call beside its help.
fn remarks(call: &Call) -> Vec<String> {
    let mut remarks = vec![call.help.to_owned()];
    remarks.extend(call.waits.then(|| "It waits; other handlers go on meanwhile.".to_owned()));
    remarks.extend(permission(call).map(|need| format!("Permission: {need}.")));
    remarks
}

/// The groups' values, each with the table that it is in: `mesh.self`, `mesh.json.null`.
fn values() -> impl Iterator<Item = (&'static str, &'static super::api::Field)> {
    groups()
        .flat_map(|group| group.values)
        .map(|value| (value.name.rsplit_once('.').map_or("", |(table, _)| table), value))
}
