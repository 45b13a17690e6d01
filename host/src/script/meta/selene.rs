//! `mesh.yml`: a standard library for selene, on top of the Luau that it knows.

use std::fmt::Write;

use super::super::api::{Call, EVENTS, Kind, Param, REMOVED_GLOBALS, TYPES};
use super::{NOTICE, calls, owner, parts, takes_event, values};

/// Globals and fields of selene's Luau that bots don't have either. It drops only what is named in full.
const REMOVED: &[(&str, &[&str])] = &[
    ("", &["arg"]),
    ("os", &["difftime", "execute", "exit", "getenv", "remove", "rename", "setlocale", "tmpname"]),
    (
        "io",
        &[
            "close", "flush", "input", "lines", "open", "output", "popen", "read", "stderr", "stdin", "stdout",
            "tmpfile",
        ],
    ),
    ("io", &["type", "write"]),
    ("package", &["cpath", "loaded", "loaders", "loadlib", "path", "preload", "seeall"]),
    ("debug", &["info", "traceback"]),
    (
        "vector",
        &["abs", "angle", "ceil", "clamp", "create", "cross", "dot", "floor", "magnitude", "max", "min", "normalize"],
    ),
    ("vector", &["one", "sign", "zero"]),
];

pub(super) fn text() -> String {
    let mut out = String::new();
    for line in NOTICE {
        _ = writeln!(out, "# {line}");
    }
    out.push_str("---\nbase: luau\nname: mesh\nglobals:\n");
    for call in calls().filter(|call| owner(parts(call).0).is_none()) {
        function(&mut out, call);
    }
    for (_, value) in values() {
        match TYPES.iter().find(|table| table.name == value.type_words) {
            Some(table) => {
                for field in table.fields {
                    // A property would have no methods, and most are texts: `mesh.self.id:sub(1, 8)`.
                    _ = writeln!(out, "  {}.{}:\n    any: true", value.name, field.name);
                }
            }
            None => _ = writeln!(out, "  {}:\n    any: true", value.name),
        }
    }
    for (name, _) in REMOVED_GLOBALS {
        _ = writeln!(out, "  {name}:\n    removed: true");
    }
    for (table, names) in REMOVED {
        let dot = if table.is_empty() { "" } else { "." };
        for name in *names {
            _ = writeln!(out, "  {table}{dot}{name}:\n    removed: true");
        }
    }
    out
}

fn function(out: &mut String, call: &Call) {
    _ = writeln!(out, "  {}:", call.name.replace(':', "."));
    if call.is_method() {
        out.push_str("    method: true\n");
    }
    // Whatever is only read for its result.
    if !call.writes && !call.returns.is_empty() {
        out.push_str("    must_use: true\n");
    }
    if call.params.is_empty() {
        out.push_str("    args: []\n");
        return;
    }
    out.push_str("    args:\n");
    for (place, param) in call.params.iter().enumerate() {
        match (call.skips_middle(), place) {
            // The options may stand here.
            (false, 0) if call.skips_first() => out.push_str("      - required: false\n        type: any\n"),
            // The function may stand here.
            (true, 1) => out.push_str("      - type: any\n"),
            (true, 2) => out.push_str("      - required: false\n        type: function\n"),
            _ => argument(out, call, param),
        }
    }
}

fn argument(out: &mut String, call: &Call, param: &Param) {
    if param.optional {
        out.push_str("      - required: false\n        type:");
    } else {
        out.push_str("      - type:");
    }
    if param.kind == Kind::Text && takes_event(call) {
        for event in EVENTS {
            _ = write!(out, "\n          - {}", event.name);
        }
    } else {
        _ = write!(out, " {}", kind(param));
    }
    out.push('\n');
}

fn kind(param: &Param) -> &'static str {
    match param.kind {
        _ if param.name == "..." => "\"...\"",
        Kind::Text => "string",
        Kind::Number | Kind::Integer => "number",
        Kind::Boolean => "bool",
        Kind::Function => "function",
        Kind::Table | Kind::Options => "table",
        // It has no word for one of several types.
        Kind::Payload | Kind::Duration | Kind::When | Kind::Names | Kind::Any => "any",
    }
}
