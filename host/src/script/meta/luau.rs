//! `mesh.d.luau`: definitions for luau-lsp, in Luau's own types.

use std::fmt::Write;

use super::super::api::{ALIASES, Call, EVENTS, Kind, Param, Type as Table};
use super::words::{Type, list, luau_name, luau_results, one};
use super::{EVENT_NAME, NOTICE, event_names, options_name, owner, parts, remarks};
use super::{calls, returns_for_editors, tables, takes_event, types, values};

pub(super) fn text() -> String {
    let mut out = String::new();
    for line in NOTICE {
        _ = writeln!(out, "-- {line}");
    }
    for alias in ALIASES {
        _ = writeln!(out, "\n--- {}", alias.help);
        _ = writeln!(out, "export type {} = {}", luau_name(alias.name), converted(alias.type_words));
    }
    _ = writeln!(out, "\n--- The name of an event.");
    _ = writeln!(out, "export type {} = {}", luau_name(EVENT_NAME), converted(&event_names(EVENTS)));
    calls().filter(|call| !call.options.is_empty()).for_each(|call| options(&mut out, call));
    types().for_each(|table| structure(&mut out, table));
    for (table, calls) in tables().into_iter().filter(|(table, _)| !table.is_empty()) {
        let own = luau_name(&format!("{table}."));
        let opening = if table == "mesh" { "What the node offers to a bot." } else { table };
        _ = writeln!(out, "\n--- {opening}\nexport type {own} = {{");
        calls.iter().for_each(|call| function(&mut out, call, &own));
        if table == "mesh" {
            inner(&mut out);
        }
        for (_, value) in values().filter(|(of, _)| *of == table) {
            let (_, name) = value.name.rsplit_once('.').unwrap_or(("", value.name));
            _ = writeln!(out, "\t--- {}\n\t{name}: {},", value.doc, converted(value.type_words));
        }
        out.push_str("}\n");
    }
    out.push_str("\ndeclare mesh: Mesh\n");
    for call in tables().remove("").unwrap_or_default() {
        let forms = forms(call, "");
        _ = writeln!(out, "\n--- {}\ndeclare {}: {}", call.help, call.name, forms.join(" & "));
    }
    out
}

/// What else is in `mesh`.
fn inner(out: &mut String) {
    for name in tables().into_keys().filter(|name| !matches!(*name, "" | "mesh")) {
        _ = writeln!(out, "\t{}: {},", name.trim_start_matches("mesh."), luau_name(&format!("{name}.")));
    }
}

/// Types of the table are sound, a test sees to it; `any` stands for one that isn't.
fn converted(words: &str) -> String {
    one(words).map_or_else(|| "any".to_owned(), |found| found.luau())
}

fn options(out: &mut String, call: &Call) {
    _ = writeln!(out, "\n--- Options of {}.\nexport type {} = {{", call.name, luau_name(&options_name(call)));
    for option in call.options {
        let of = one(option.type_words).map_or_else(|| "any".to_owned(), |found| found.or_nothing().luau());
        _ = writeln!(out, "\t--- {}\n\t{}: {of},", option.doc, option.name);
    }
    out.push_str("}\n");
}

fn structure(out: &mut String, table: &Table) {
    let name = luau_name(table.name);
    let joined = table.name == "mesh.error";
    let open = if joined { "typeof(setmetatable({} :: {" } else { "{" };
    let base = if table.base.is_empty() { String::new() } else { format!("{} & ", luau_name(table.base)) };
    _ = writeln!(out, "\n--- {}\nexport type {name} = {base}{open}", table.help);
    for field in table.fields {
        _ = writeln!(out, "\t--- {}\n\t{}: {},", field.doc, field.name, converted(field.type_words));
    }
    let own = |call: &&Call| owner(parts(call).0).is_some_and(|owner| owner.name == table.name);
    calls().filter(own).for_each(|call| function(out, call, &name));
    let concat = "}, {} :: { __concat: (any, any) -> string, __tostring: (any) -> string }))\n";
    out.push_str(if joined { concat } else { "}\n" });
}

/// A function as a field of `own`.
fn function(out: &mut String, call: &Call, own: &str) {
    for line in remarks(call) {
        _ = writeln!(out, "\t--- {line}");
    }
    if takes_event(call) {
        _ = writeln!(
            out,
            "\t--- With the type of its argument, as in `function(msg: MeshMessage)`, fn is checked and completed."
        );
    }
    let (_, name) = parts(call);
    let forms = forms(call, own);
    let text = match forms.as_slice() {
        [only] => only.clone(),
        several => several.iter().map(|form| format!("({form})")).collect::<Vec<_>>().join(" & "),
    };
    _ = writeln!(out, "\t{name}: {text},");
}

/// The type of a table of which the call returns another with the same keys.
const GENERIC: &str = "T";

/// The forms of a call: one, or more where its arguments can be left out or decide on others.
fn forms(call: &Call, own: &str) -> Vec<String> {
    // Luau would give the configuration no other keys than those of the defaults, and `{}` has none.
    let results = if call.returns == GENERIC {
        "any".to_owned()
    } else {
        luau_results(&list(&returns_for_editors(call)).unwrap_or_default())
    };
    let form = |params: &[String]| {
        let this = call.is_method().then(|| format!("self: {own}"));
        let all: Vec<String> = this.into_iter().chain(params.iter().cloned()).collect();
        format!("({}) -> {results}", all.join(", "))
    };
    if takes_event(call) {
        // One form for each kind of event would be exact, but Luau gives a function no type by the text of another argument: it
        // would find fault with good bots.
        let event = format!("event: {}", luau_name(EVENT_NAME));
        let (filter, handler) = (format!("filter: {}", luau_name("table")), "fn: (event: any) -> ...any".to_owned());
        return vec![form(&[event.clone(), handler.clone()]), form(&[event, filter, handler])];
    }
    let params: Vec<String> = call.params.iter().map(|param| argument(call, param)).collect();
    match (call.skips_middle() || call.skips_first(), params.as_slice()) {
        (true, [first, last]) => vec![form(std::slice::from_ref(last)), form(&[first.clone(), last.clone()])],
        (true, [first, middle, last]) => {
            vec![form(&[first.clone(), last.clone()]), form(&[first.clone(), middle.clone(), last.clone()])]
        }
        _ => vec![form(&params)],
    }
}

fn argument(call: &Call, param: &Param) -> String {
    if param.name == "..." {
        return "...any".to_owned();
    }
    let of = match param.kind {
        Kind::Options => Some(Type::Name(options_name(call))),
        Kind::Table if param.type_words == GENERIC => one("table<string, any>"),
        _ => one(param.type_words),
    };
    let of = of.unwrap_or(Type::Name("any".to_owned())).handler();
    let of = if param.optional { of.or_nothing() } else { of };
    format!("{}: {}", param.name, of.luau())
}
