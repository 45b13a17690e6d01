//! `reference.md`: the API for people.

use std::fmt::Write;

use super::super::api::{ALIASES, Call, ERRORS, EVENTS, Group, KEPT_GLOBALS, Kind, REMOVED_GLOBALS, Type};
use super::super::manifest::{API_VERSION, PERMISSIONS};
use super::{NOTICE, groups, permission, signature, types};

/// Headings after the groups.
const PARTS: [&str; 6] = ["Names of events", "Types", "Names of types", "Permissions", "Error codes", "Globals"];

pub(super) fn text() -> String {
    let mut out = format!("# The script API, version {API_VERSION}\n\n<!-- {} -->\n\n", NOTICE.join(" "));
    out.push_str(
        "One global, `mesh`. Arguments in `[ ]` may be left out; options are a table, as in `{ ttl = \"3d\" }`. A programmer's \
         mistake raises an error at the caller's file and line. What the world does comes back as `nil, err` with `err.code`. \
         `qpq script help mesh.send` shows a call in the terminal.\n\n",
    );
    for heading in groups().map(heading).chain(PARTS.map(str::to_owned)) {
        _ = writeln!(out, "- [{heading}](#{})", heading.to_lowercase().replace(' ', "-"));
    }
    groups().for_each(|group| section(&mut out, group));
    out.push_str(
        "\n## Names of events\n\n`mesh.on(event, fn)` waits for them. The handler gets a table of the type named.\n\n",
    );
    rows(&mut out, &["event", "table", "permission", "when"]);
    for event in EVENTS {
        row(&mut out, &[&code(event.name), &linked(event.gives), &maybe_code(event.needs), event.help]);
    }
    out.push_str("\n## Types\n");
    types().for_each(|table| structure(&mut out, table));
    out.push_str("\n## Names of types\n\n");
    rows(&mut out, &["name", "stands for", "what it is"]);
    for alias in ALIASES {
        row(&mut out, &[&code(alias.name), &code(alias.type_words), alias.help]);
    }
    out.push_str("\n## Permissions\n\nA bot asks for them in `bot.toml`, as `needs = [\"send\", \"listen:board\"]`; the admin grants them.\n\n");
    rows(&mut out, &["permission", "allows to"]);
    for (name, allows) in PERMISSIONS {
        row(&mut out, &[&code(name), allows]);
    }
    out.push_str("\n## Error codes\n\nWhat `err.code` can be; plugins and the disk may say other words.\n\n");
    rows(&mut out, &["code", "meaning"]);
    for (name, meaning) in ERRORS {
        row(&mut out, &[&code(name), meaning]);
    }
    globals(&mut out);
    out
}

fn heading(group: &Group) -> String {
    let (first, rest) = group.name.split_at_checked(1).unwrap_or(("", group.name));
    format!("{}{rest}", first.to_uppercase())
}

fn section(out: &mut String, group: &Group) {
    _ = writeln!(out, "\n## {}\n\n{}", heading(group), group.help);
    for value in group.values {
        _ = writeln!(out, "\n### `{}`\n\n{}: {}.", value.name, linked(value.type_words), value.doc);
    }
    group.calls.iter().for_each(|call| entry(out, call));
}

fn entry(out: &mut String, call: &Call) {
    _ = write!(out, "\n### `{}`\n\n{}", signature(call), call.help);
    if call.waits {
        out.push_str(" It waits; other handlers go on meanwhile.");
    }
    out.push('\n');
    if !call.params.is_empty() {
        out.push('\n');
    }
    for param in call.params {
        if call.options.is_empty() || param.kind != Kind::Options {
            let mark = if param.optional { ", optional" } else { "" };
            _ = writeln!(out, "- `{}` ({}{mark}): {}", param.name, linked(param.type_words), param.doc);
            continue;
        }
        let mark = if param.optional { ", optional" } else { "" };
        _ = writeln!(out, "- `{}` (table{mark}):", param.name);
        for option in call.options {
            _ = writeln!(out, "  - `{}` ({}): {}", option.name, linked(option.type_words), option.doc);
        }
    }
    if call.params.is_empty() && (!call.returns.is_empty() || permission(call).is_some()) {
        out.push('\n');
    }
    if !call.returns.is_empty() {
        _ = writeln!(out, "- returns {}", linked(call.returns));
    }
    if let Some(need) = permission(call) {
        let need = if call.needs.is_some() { code(need) } else { need.to_owned() };
        _ = writeln!(out, "- permission: {need}");
    }
}

fn structure(out: &mut String, table: &Type) {
    let base =
        if table.base.is_empty() { String::new() } else { format!(" It has all of {}, too.", linked(table.base)) };
    _ = writeln!(out, "\n### `{}`\n\n{}{base}\n", table.name, table.help);
    if table.fields.is_empty() {
        return;
    }
    rows(out, &["field", "type", "what it says"]);
    for field in table.fields {
        row(out, &[&code(field.name), &linked(field.type_words), field.doc]);
    }
}

fn globals(out: &mut String) {
    let kept = KEPT_GLOBALS.iter().map(|name| code(name)).collect::<Vec<_>>().join(", ");
    _ = writeln!(
        out,
        "\n## Globals\n\n`mesh`, `require` (files of the bot's folder and of the shared `lib/`, and the language's own libraries), {kept}. \
         `os` has `time`, `date` and `clock`, by the bot's clock.\n\nWhat other hosts have and bots don't. It may be named; calling it \
         raises an error:\n"
    );
    rows(out, &["global", "instead"]);
    for (name, instead) in REMOVED_GLOBALS {
        row(out, &[&code(name), instead]);
    }
}

fn rows(out: &mut String, heads: &[&str]) {
    row(out, heads);
    row(out, &vec!["---"; heads.len()]);
}

fn row(out: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    _ = writeln!(out, "| {} |", cells.join(" | "));
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn maybe_code(text: &str) -> String {
    if text.is_empty() { String::new() } else { code(text) }
}

/// A type, with a link where it has a section of its own.
fn linked(words: &str) -> String {
    let bare = words.trim_end_matches(['?', '[', ']']);
    let single = types().any(|table| table.name == bare);
    if single { format!("[`{words}`](#{})", bare.replace('.', "")) } else { code(words) }
}
