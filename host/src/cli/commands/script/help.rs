//! `script help`: the API, from its table.

use clap::CommandFactory;
use serde_json::{Value, json};

use crate::cli::answer::Answer;
use crate::cli::args::Cli;
use crate::cli::failure::Failure;
use crate::script::manifest::{PERMISSIONS, check_need, meaning};
use crate::script::meta::{calls, groups, permission, signature, types};
use crate::script::{ALIASES, Call, ERRORS, EVENTS, Event, KEPT_GLOBALS, Param, REMOVED_GLOBALS, Type, nearest};

pub(super) fn run(what: Option<&str>) -> Result<Answer, Failure> {
    let Some(what) = what else { return Ok(overview()) };
    let name = what.split('(').next().unwrap_or(what).trim();
    if let Some(call) = calls().find(|call| alike(call.name, name)) {
        return Ok(Answer::new("qpq.script-help/1", &call_json(call), call_text(call)));
    }
    if let Some(table) = types().find(|table| table.name == name) {
        return Ok(Answer::new("qpq.script-help/1", &type_json(table), type_text(table)));
    }
    if let Some(event) = EVENTS.iter().find(|event| event.name == name) {
        let json = json!({ "event": event.name, "needs": event.needs, "gives": event.gives, "help": event.help });
        return Ok(Answer::new("qpq.script-help/1", &json, event_text(event)));
    }
    let line =
        |kind: &str, help: &str| Ok(Answer::new("qpq.script-help/1", &json!({ kind: name, "help": help }), help));
    if let Some(value) = groups().flat_map(|group| group.values).find(|value| value.name == name) {
        return line("value", &format!("{} ({}): {}.", value.name, value.type_words, value.doc));
    }
    if let Some(alias) = ALIASES.iter().find(|alias| alias.name == name) {
        return line("type", &format!("{} = {}\n\n{}", alias.name, alias.type_words, alias.help));
    }
    if let Some(answer) = several(name) {
        return Ok(answer);
    }
    if let Some(text) = permission_text(name) {
        return line("permission", &text);
    }
    if let Some(text) = global_text(name) {
        return line("global", &text);
    }
    if let Some((_, meaning)) = ERRORS.iter().find(|(code, _)| *code == name) {
        return line("error", &format!("err.code == \"{name}\": {meaning}."));
    }
    // `qpq script help logs` is what others call `qpq script logs --help`.
    if let Some(text) = command_help(name) {
        return Ok(Answer::new("qpq.script-help/1", &json!({ "command": name, "help": text }), text));
    }
    Err(unknown(name))
}

/// Whether a call is meant: `mesh.store.get`, `store:get` and `send` will do, too.
fn alike(call: &str, name: &str) -> bool {
    let plain = |text: &str| text.replace(':', ".");
    let (call, mut name) = (plain(call), plain(name));
    // What any node can do, a test's own and a person can.
    for who in ["t.", "person."] {
        if call.starts_with("node.") && name.starts_with(who) {
            name = name.replacen(who, "node.", 1);
        }
    }
    call == name || call.strip_prefix("mesh.") == Some(&*name)
}

/// The calls of a table, such as `mesh.store`, or those with this last part, such as `post`. What is a command of the command
/// line, too, means that one.
fn several(name: &str) -> Option<Answer> {
    let of = |is_meant: &dyn Fn(&str) -> bool| calls().filter(|call| is_meant(call.name)).collect::<Vec<_>>();
    let inside = of(&|call| before(call) == name);
    let ends = |call: &str| last(call) == name && command_help(name).is_none();
    let found = if inside.is_empty() { of(&ends) } else { inside };
    if let [call] = found[..] {
        return Some(Answer::new("qpq.script-help/1", &call_json(call), call_text(call)));
    }
    let text = |call: &&Call| format!("{}\n    {}\n", signature(call), call.help);
    let mut page = found.iter().map(text).collect::<String>();
    if let Some(text) = permission_text(name) {
        page += &format!("\n{text}\n");
    }
    page += "\n`script help NAME` explains one of them.";
    let calls = found.iter().map(|call| call_json(call)).collect::<Vec<_>>();
    (!calls.is_empty()).then(|| Answer::new("qpq.script-help/1", &json!({ "name": name, "calls": calls }), page))
}

/// `mesh.store:get` is in `mesh.store`.
fn before(call: &str) -> &str {
    call.rsplit_once(['.', ':']).map_or("", |(before, _)| before)
}

/// `mesh.store:get` ends in `get`.
fn last(call: &str) -> &str {
    call.rsplit(['.', ':']).next().unwrap_or(call)
}

/// A permission, also one for a channel or a part: `listen:board`.
fn permission_text(name: &str) -> Option<String> {
    let whole = PERMISSIONS.iter().find(|(permission, _)| *permission == name).map(|(_, allows)| (*allows).to_owned());
    let allows = whole.or_else(|| check_need(name).is_ok().then(|| meaning(name)))?;
    Some(format!("The permission `{name}` allows to {allows}. Ask for it in bot.toml: needs = [\"{name}\"]"))
}

/// What is there beside `mesh`, or isn't.
fn global_text(name: &str) -> Option<String> {
    if name == "require" {
        let text = "require(name) loads a module once and returns what its file returns: NAME.lua beside the bot's init.lua, or one \
                    that several bots share, require(\"lib/NAME\").";
        return Some(text.to_owned());
    }
    if let Some((_, instead)) = REMOVED_GLOBALS.iter().find(|(removed, _)| *removed == name) {
        return Some(format!("`{name}` is not there for bots: {instead}"));
    }
    KEPT_GLOBALS.contains(&name).then(|| match name {
        "os" => "`os` has `time`, `date` and `clock` alone, by the bot's clock.".to_owned(),
        _ => format!("`{name}` is the one of Luau: https://luau.org/library"),
    })
}

fn unknown(name: &str) -> Failure {
    let whole = calls().map(|call| call.name).chain(types().map(|table| table.name));
    let known = whole.chain(EVENTS.iter().map(|event| event.name));
    // `sned` is near to `mesh.send` by its last part.
    let near = nearest(name, known).or_else(|| {
        let part = nearest(name, calls().map(|call| last(call.name)))?;
        calls().map(|call| call.name).find(|call| last(call) == part)
    });
    let near = near.map_or(String::new(), |near| format!(" Did you mean `{near}`?"));
    Failure::Usage(format!("The script API has no `{name}`.{near} `script help` lists all calls."))
}

fn command_help(name: &str) -> Option<String> {
    let mut root = Cli::command();
    root.build();
    let mut command = root.find_subcommand("script")?.find_subcommand(name)?.clone();
    Some(command.render_long_help().to_string())
}

fn overview() -> Answer {
    let mut text = String::new();
    for group in groups() {
        text += &format!("{}: {}\n", group.name, group.help);
        for call in group.calls {
            text += &format!("  {}\n", signature(call));
        }
        for value in group.values {
            text += &format!("  {}\n", value.name);
        }
        text.push('\n');
    }
    let events = EVENTS.iter().map(|event| event.name).collect::<Vec<_>>().join(", ");
    let types = types().map(|table| table.name).collect::<Vec<_>>().join(", ");
    text += &format!("events for mesh.on: {events}\n\ntypes: {types}\n\n`script help NAME` explains one of them.");
    let groups: Vec<Value> = groups()
        .map(|group| {
            let calls: Vec<Value> = group.calls.iter().map(call_json).collect();
            json!({ "name": group.name, "help": group.help, "calls": calls })
        })
        .collect();
    Answer::list("qpq.script-calls/1", "groups", &groups, text)
}

fn call_text(call: &Call) -> String {
    let mut text = format!("{}\n\n{}", signature(call), call.help);
    if call.waits {
        text += " It waits; other handlers go on meanwhile.";
    }
    text += "\n";
    let mut rows: Vec<(String, String)> = call.params.iter().map(|param| row("", param)).collect();
    rows.extend(call.options.iter().map(|option| row("  .", option)));
    let wide = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, help) in &rows {
        text += &format!("\n  {name:<wide$}  {help}");
    }
    if !rows.is_empty() {
        text += "\n";
    }
    if !call.returns.is_empty() {
        text += &format!("\nreturns     {}", call.returns);
    }
    if let Some(need) = permission(call) {
        text += &format!("\npermission  {need}");
    }
    text
}

fn row(before: &str, param: &Param) -> (String, String) {
    let optional = if param.optional { "?" } else { "" };
    (format!("{before}{}{optional}", param.name), format!("{}: {}", param.type_words, param.doc))
}

fn type_text(table: &Type) -> String {
    let mut text = format!("{}\n\n{}\n", table.name, table.help);
    let wide = table.fields.iter().map(|field| field.name.len()).max().unwrap_or(0);
    for field in table.fields {
        text += &format!("\n  {:<wide$}  {}: {}", field.name, field.type_words, field.doc);
    }
    let methods = calls().filter(|call| call.name.split_once(':').is_some_and(|(who, _)| who == table.receiver));
    for method in methods {
        text += &format!("\n  {}", signature(method));
    }
    text
}

fn event_text(event: &Event) -> String {
    let need = if event.needs.is_empty() { String::new() } else { format!("\n\npermission  {}", event.needs) };
    format!("mesh.on(\"{}\", fn): fn gets a {}\n\n{}{need}", event.name, event.gives, event.help)
}

fn call_json(call: &Call) -> Value {
    json!({
        "call": call.name,
        "signature": signature(call),
        "params": call.params.iter().map(param_json).collect::<Vec<_>>(),
        "options": call.options.iter().map(param_json).collect::<Vec<_>>(),
        "returns": call.returns,
        "permission": permission(call),
        "waits": call.waits,
        "writes": call.writes,
        "help": call.help,
    })
}

fn param_json(param: &Param) -> Value {
    json!({ "name": param.name, "type": param.type_words, "optional": param.optional, "help": param.doc })
}

fn type_json(table: &Type) -> Value {
    let field =
        |field: &crate::script::Field| json!({ "name": field.name, "type": field.type_words, "help": field.doc });
    json!({ "type": table.name, "help": table.help, "fields": table.fields.iter().map(field).collect::<Vec<_>>() })
}
