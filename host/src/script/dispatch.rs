//! From what happened to what a bot does about it: handlers to call, or words to say.

use std::borrow::Cow;
use std::sync::Arc;

use mlua::{Function, IntoLua, IntoLuaMulti, Lua, MultiValue, Table, Value};

use crate::api::InboxItem;

mod boards;

pub(super) use boards::{due_readings, first_reading, hear, next_reading};

use super::api::{Command, Handler, Outgoing, PRIORITIES, help};
use super::board::Board;
use super::context::Ctx;
use super::failure::Failure;
use super::shared::LiveEvent;
use super::vm::Vm;

/// Sign that a text is a command.
pub(crate) const COMMAND_SIGN: char = '!';

/// Something to do for a bot.
pub(crate) enum Job {
    /// Call a function; a string that it returns is the answer.
    Call { what: Cow<'static, str>, function: Function, args: MultiValue, answer: Option<Outgoing> },
    /// Answer without the bot: help, usage, refusal.
    Say(Outgoing),
    /// Read into a board what the inbox has of it.
    Read(Arc<Board>),
}

/// What a message makes a bot do.
#[derive(Default)]
pub(crate) struct Reaction {
    pub jobs: Vec<Job>,
    /// Bots of other nodes could do it as well: one is enough.
    pub contested: bool,
}

impl From<Job> for Reaction {
    fn from(job: Job) -> Self {
        Self { jobs: vec![job], contested: false }
    }
}

/// What a message makes the bot do. Its own node's bots' messages it never sees, those of other programs only where
/// a handler asks for them.
pub(crate) fn message(vm: &Vm, item: &InboxItem) -> Result<Reaction, Failure> {
    if item.problem.is_some() || item.own && item.automatic {
        return Ok(Reaction::default());
    }
    if let Some(reaction) = command(vm, item)? {
        return Ok(reaction);
    }
    let event = match (item.reaction, &item.topic) {
        (true, _) => "reaction",
        (false, Some(_)) => "broadcast",
        (false, None) => "envelope",
    };
    let handlers: Vec<Handler> = {
        let all = vm.ctx.handlers.borrow();
        // Reactions on a channel come only to those who named it: the others have no permission for it.
        let permitted = |h: &&Handler| event != "reaction" || item.topic.is_none() || h.has_topic();
        all.iter().filter(|h| h.event == event && (h.automatic || !item.automatic)).filter(permitted).cloned().collect()
    };
    let mut jobs = Vec::with_capacity(handlers.len());
    for handler in handlers {
        // Each handler has its own table: what one writes into it the next one doesn't see.
        let table = vm.make(|lua| message_table(lua, &vm.ctx, item))?;
        if fits(&handler, &table) {
            jobs.push(call(vm, event, handler.function, table, None)?);
        }
    }
    Ok(Reaction { jobs, contested: false })
}

/// A live event.
pub(crate) fn live(vm: &Vm, event: &LiveEvent) -> Result<Vec<Job>, Failure> {
    let name = event.kind.name();
    plain(vm, name, |table| {
        table.raw_set("peer", event.peer.map(|peer| peer.to_string()))?;
        table.raw_set("name", event.name.clone())?;
        table.raw_set("id", event.id.map(|id| id.to_string()))?;
        table.raw_set("detail", event.detail.clone())
    })
}

/// An event of the bot's life: start, reload, stop.
pub(crate) fn plain(
    vm: &Vm,
    event: &'static str,
    fill: impl Fn(&Table) -> mlua::Result<()>,
) -> Result<Vec<Job>, Failure> {
    let handlers: Vec<Handler> = vm.ctx.handlers.borrow().iter().filter(|h| h.event == event).cloned().collect();
    let mut jobs = Vec::with_capacity(handlers.len());
    for handler in handlers {
        let table = vm.make(|lua| {
            let table = lua.create_table()?;
            table.raw_set("event", event)?;
            fill(&table).map(|()| table)
        })?;
        if fits(&handler, &table) {
            jobs.push(call(vm, event, handler.function, table, None)?);
        }
    }
    Ok(jobs)
}

/// A timer that is due.
pub(crate) fn timer(function: Function) -> Job {
    Job::Call { what: "timer".into(), function, args: MultiValue::new(), answer: None }
}

fn call(
    vm: &Vm,
    what: impl Into<Cow<'static, str>>,
    function: Function,
    args: impl IntoLuaMulti,
    answer: Option<Outgoing>,
) -> Result<Job, Failure> {
    let args = vm.make(|lua| args.into_lua_multi(lua))?;
    Ok(Job::Call { what: what.into(), function, args, answer })
}

fn fits(handler: &Handler, event: &Table) -> bool {
    let equal = |(key, wanted): &(Value, Value)| event.raw_get::<Value>(key).is_ok_and(|value| value == *wanted);
    handler.filter.iter().all(equal)
}

/// The table of a message, made by the prelude in one call: cheaper than a call for each field.
pub(crate) fn message_table(lua: &Lua, ctx: &Ctx, item: &InboxItem) -> mlua::Result<Table> {
    let name = item.from_name.clone().unwrap_or_else(|| item.from.short());
    let secs = |ms: u64| ms as f64 / 1_000.0;
    let priority = PRIORITIES.get(usize::from(item.priority)).copied().unwrap_or("normal");
    let (id, from) = (item.id.to_string(), item.from.to_string());
    let text = lua.create_string(&item.payload)?;
    let (created, received, expires) = (secs(item.created_ms), secs(item.received_ms), secs(item.expires_ms));
    ctx.helpers()?.message.call((
        id.as_str(),
        from.as_str(),
        name,
        item.topic.as_deref(),
        text,
        item.sealed,
        item.automatic,
        item.own,
        created,
        received,
        expires,
        priority,
        item.hops,
        item.reply_to.map(|id| id.to_string()),
        item.reaction,
        item.max_hops,
    ))
}

/// The command in a message, if it is one of this bot's.
fn command(vm: &Vm, item: &InboxItem) -> Result<Option<Reaction>, Failure> {
    let Some((name, rest)) = parse(item) else { return Ok(None) };
    let topic = item.topic.as_deref();
    let answer = |text: &str| Outgoing::answer(item, text);
    let here = |command: &&Command| topic.is_none_or(|topic| command.channels.iter().any(|c| c == topic));
    let found = vm.ctx.commands.borrow().iter().filter(here).find(|command| command.name == name).cloned();
    let contested = |job: Job| Reaction { jobs: vec![job], contested: topic.is_some() };
    let Some(command) = found else {
        let speaks = name == "help" && vm.ctx.shared.speaks(&name, topic);
        let help = if speaks { help(&vm.ctx, topic, rest) } else { None };
        return Ok(help.map(|text| contested(Job::Say(answer(&text)))));
    };
    if !vm.ctx.shared.speaks(&name, topic) {
        return Ok(Some(Reaction::default()));
    }
    if command.who.as_ref().is_some_and(|who| !who.contains(&item.from)) {
        // On a channel in silence: another node's bot may have another admin, and anybody could make the bot talk this way.
        let text = format!("!{name} is only for those whom the bot's admin named.");
        let refusal = topic.is_none().then(|| Job::Say(Outgoing::whisper(item, &text)).into());
        return Ok(Some(refusal.unwrap_or_default()));
    }
    let Some(words) = command.split(rest) else {
        return Ok(Some(contested(Job::Say(answer(&format!("usage: {}", command.usage()))))));
    };
    let table = vm.make(|lua| message_table(lua, &vm.ctx, item))?;
    let mut args = vm.make(|lua| table.into_lua_multi(lua))?;
    for word in words {
        args.push_back(vm.make(|lua| word.map(|word| lua.create_string(word)).transpose()?.into_lua(lua))?);
    }
    let what = format!("!{name}");
    let job = call(vm, what, command.function, args, Some(answer("")))?;
    Ok(Some(if command.all { job.into() } else { contested(job) }))
}

/// The name of the command that a message may be.
pub(crate) fn command_name(item: &InboxItem) -> Option<String> {
    parse(item).map(|(name, _)| name)
}

fn parse(item: &InboxItem) -> Option<(String, &str)> {
    if item.automatic || item.reaction {
        return None;
    }
    let text = std::str::from_utf8(&item.payload).ok()?.strip_prefix(COMMAND_SIGN)?;
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (!name.is_empty()).then(|| (name.to_lowercase(), rest))
}
