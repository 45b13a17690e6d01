//! `mesh.lua`: definitions in LuaCATS, for the Lua language server.

use std::fmt::Write;

use super::super::api::{ALIASES, Call, EVENTS, Kind, Param, Type};
use super::{EVENT_NAME, NOTICE, event_names, events_by_table, handler_argument, options_name, owner, parts, remarks};
use super::{calls, returns_for_editors, tables, takes_event, types, values};

pub(super) fn text() -> String {
    let mut out = String::from("---@meta\n\n");
    for line in NOTICE {
        _ = writeln!(out, "-- {line}");
    }
    for alias in ALIASES {
        _ = writeln!(out, "\n--- {}\n---@alias {} {}", alias.help, alias.name, alias.type_words);
    }
    _ = writeln!(out, "\n--- The name of an event.\n---@alias {EVENT_NAME}");
    for event in EVENTS {
        _ = writeln!(out, "---| \"{}\" # {}", event.name, event.help);
    }
    for table in types() {
        class(&mut out, table);
    }
    _ = writeln!(out, "\n--- What the node offers to a bot.\n---@class mesh");
    for (_, value) in values().filter(|(table, _)| *table == "mesh") {
        let name = value.name.strip_prefix("mesh.").unwrap_or(value.name);
        _ = writeln!(out, "---@field {name} {} {}", value.type_words, value.doc);
    }
    _ = writeln!(out, "mesh = {{}}");
    for (table, calls) in tables() {
        if !matches!(table, "" | "mesh") {
            _ = writeln!(out, "\n{table} = {{}}");
        }
        for (_, value) in values().filter(|(of, _)| *of == table && *of != "mesh") {
            _ = writeln!(out, "\n--- {}\n---@type {}\n{} = nil", value.doc, value.type_words, value.name);
        }
        calls.iter().for_each(|call| function(&mut out, call));
    }
    out
}

fn class(out: &mut String, table: &Type) {
    let base = if table.base.is_empty() { String::new() } else { format!(": {}", table.base) };
    _ = writeln!(out, "\n--- {}\n---@class {}{base}", table.help, table.name);
    for field in table.fields {
        let (mark, words) = match field.type_words.strip_suffix('?') {
            Some(words) => ("?", words),
            None => ("", field.type_words),
        };
        _ = writeln!(out, "---@field {}{mark} {words} {}", field.name, field.doc);
    }
    if table.name == "mesh.error" {
        _ = writeln!(out, "---@operator concat(any): string");
    }
    if !table.receiver.is_empty() {
        _ = writeln!(out, "local {} = {{}}", table.receiver);
        let own = |call: &&Call| owner(parts(call).0).is_some_and(|owner| owner.name == table.name);
        calls().filter(own).for_each(|call| function(out, call));
    }
}

fn function(out: &mut String, call: &Call) {
    if !call.options.is_empty() {
        _ = writeln!(out, "\n---@class {}", options_name(call));
        for option in call.options {
            _ = writeln!(out, "---@field {}? {} {}", option.name, option.type_words, option.doc);
        }
    }
    out.push('\n');
    for line in remarks(call) {
        _ = writeln!(out, "--- {line}");
    }
    if call.params.iter().any(|param| param.type_words == "T") {
        _ = writeln!(out, "---@generic T: table");
    }
    for param in call.params {
        let mark = if param.optional && param.name != "..." { "?" } else { "" };
        _ = writeln!(out, "---@param {}{mark} {} {}", param.name, words(call, param), param.doc);
    }
    if !call.returns.is_empty() {
        _ = writeln!(out, "---@return {}", returns_for_editors(call));
    }
    overloads(out, call);
    let names: Vec<&str> = call.params.iter().map(|param| param.name).collect();
    _ = writeln!(out, "function {}({}) end", call.name, names.join(", "));
}

fn words(call: &Call, param: &Param) -> String {
    if param.kind == Kind::Options { options_name(call) } else { param.type_words.to_owned() }
}

/// The forms without the text before the options, without the table in the middle, and one for each kind of event.
fn overloads(out: &mut String, call: &Call) {
    if takes_event(call) {
        for (gives, events) in events_by_table() {
            let (names, argument) = (event_names(events), handler_argument(gives));
            for filter in ["", "filter: table, "] {
                _ = writeln!(out, "---@overload fun(event: {names}, {filter}fn: fun({argument}: {gives}))");
            }
        }
    } else if let (true, [_, last]) = (call.skips_first(), call.params) {
        let this = if call.is_method() { "self: table, " } else { "" };
        let argument = format!("{}: {}", last.name, words(call, last));
        _ = writeln!(out, "---@overload fun({this}{argument}): {}", returns_for_editors(call));
    } else if let (true, [first, _, last]) = (call.skips_middle(), call.params) {
        let argument = |param: &Param| format!("{}: {}", param.name, words(call, param));
        let returns = returns_for_editors(call);
        let results = if returns.is_empty() { String::new() } else { format!(": {returns}") };
        _ = writeln!(out, "---@overload fun({}, {}){results}", argument(first), argument(last));
    }
}
