//! The `mesh` table: from the one table of calls to functions in a machine.

mod args;
mod board;
mod events;
mod memory;
mod names;
mod network;
mod relay;
mod table;
mod talk;
mod time;
mod tools;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Table, Value};

use crate::api::ApiError;

pub(crate) use args::Args;
pub(crate) use board::table as post_table;
pub(crate) use events::{Command, Handler, event_needs, help};
pub(crate) use memory::state_table;
pub(crate) use names::{Named, Unread, named, nearest_method};
pub use table::{
    ALIASES, Alias, Call, ERRORS, EVENTS, Event, Field, GROUPS, Group, KEPT_GLOBALS, Kind, Param, REMOVED_GLOBALS,
    TYPES, Type, calls,
};
pub(crate) use table::{call, field, maybe, param, table, waiting};
#[cfg(test)]
pub(crate) use talk::Target;
pub(crate) use talk::{
    MAX_MESSAGE_BYTES, Outgoing, PRIORITIES, deliver, deliver_answer, deliver_answers, deliver_when_free,
};
pub(crate) use time::Timers;
pub(crate) use tools::clean;

use super::context::Ctx;

/// What is in `mesh` beside calls, about.
const GROUPS_AND_VALUES: usize = 8;

/// Why a call of a script was not done.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The programmer's mistake: raised at the script's line.
    Misuse(String),
    /// What the world does: returned as `nil, err`.
    World(ApiError),
    /// The machine's own error, such as no memory.
    Lua(mlua::Error),
}

impl From<mlua::Error> for Fault {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        Self::World(error)
    }
}

/// What a call returns to its script.
pub(crate) type Outcome = Result<MultiValue, Fault>;

/// Results for a script.
pub(crate) fn done(lua: &Lua, results: impl IntoLuaMulti) -> Outcome {
    Ok(results.into_lua_multi(lua)?)
}

/// A call that is done at once, as Rust does it.
type AtOnce = fn(&Lua, &Rc<Ctx>, &Args) -> Outcome;

/// A call that waits, as Rust does it.
type Waiting = Rc<dyn Fn(Lua, Rc<Ctx>, Args) -> LocalBoxFuture<'static, Outcome>>;

/// Calls of one kind, by their places.
type Places<F> = Rc<RefCell<Vec<(&'static Call, F)>>>;

/// The calls of one machine. All of a kind share one function, since each of its own would take memory in each machine.
/// They are made before the bot runs: mlua takes what they need from the globals, and those are the bot's later.
pub(crate) struct Calls {
    at_once: Places<AtOnce>,
    waiting: Places<Waiting>,
    /// Does the call at a place of `at_once`.
    do_at_once: Function,
    /// Does the call at a place of `waiting`.
    do_waiting: Function,
}

impl Calls {
    fn new(lua: &Lua, ctx: &Rc<Ctx>) -> mlua::Result<Self> {
        let (at_once, waiting) = (Places::default(), Places::default());
        let (do_at_once, do_waiting) = (do_at_once(lua, ctx, &at_once)?, do_waiting(lua, ctx, &waiting)?);
        Ok(Self { at_once, waiting, do_at_once, do_waiting })
    }
}

/// Puts calls into the `mesh` table of one machine.
pub(crate) struct Installer<'a> {
    pub lua: &'a Lua,
    pub ctx: &'a Rc<Ctx>,
    calls: &'a Calls,
    mesh: Table,
    methods: Table,
    installed: Vec<&'static str>,
}

impl<'a> Installer<'a> {
    fn new(lua: &'a Lua, ctx: &'a Rc<Ctx>, mesh: &Table) -> mlua::Result<Self> {
        let methods = ctx.helpers()?.methods.clone();
        Ok(Self { lua, ctx, calls: ctx.calls()?, mesh: mesh.clone(), methods, installed: Vec::new() })
    }

    /// All calls of that kind in the table are in the machine.
    fn check_complete(&self, kind: impl Fn(&str) -> bool) -> mlua::Result<()> {
        let wanted = calls().map(|call| call.name).filter(|name| kind(name));
        let missing: Vec<&str> = wanted.filter(|name| !self.installed.contains(name)).collect();
        match missing.as_slice() {
            [] => Ok(()),
            _ => Err(mlua::Error::runtime(format!("calls in the table and not in the machine: {missing:?}"))),
        }
    }

    /// A call that is done at once.
    pub(crate) fn sync(&mut self, name: &str, f: AtOnce) -> mlua::Result<()> {
        let call = known(name)?;
        let place = push(&self.calls.at_once, (call, f));
        self.put(call, self.shaped(&self.calls.do_at_once, place)?)
    }

    /// A call that waits.
    pub(crate) fn waiting<F>(&mut self, name: &str, f: fn(Lua, Rc<Ctx>, Args) -> F) -> mlua::Result<()>
    where
        F: Future<Output = Outcome> + 'static,
    {
        let call = known(name)?;
        let f: Waiting = Rc::new(move |lua, ctx, args| f(lua, ctx, args).boxed_local());
        let place = push(&self.calls.waiting, (call, f));
        self.put(call, self.shaped(&self.calls.do_waiting, place)?)
    }

    fn shaped(&self, raw: &Function, place: usize) -> mlua::Result<Function> {
        self.ctx.helpers()?.shape_at.call((raw, place))
    }

    /// Puts a function where its name says.
    pub(crate) fn put(&mut self, call: &'static Call, function: Function) -> mlua::Result<()> {
        self.installed.push(call.name);
        let (path, name) = table_of(call);
        let place = match path {
            "msg" => self.methods.clone(),
            "timer" => self.ctx.helpers()?.timer_methods.clone(),
            "board" => self.ctx.helpers()?.board_methods.clone(),
            "mesh" => self.mesh.clone(),
            inner => self.group(inner.trim_start_matches("mesh."))?,
        };
        place.raw_set(name, function)
    }

    /// A table inside `mesh`, made when it isn't there.
    pub(crate) fn group(&self, name: &str) -> mlua::Result<Table> {
        if let Some(table) = self.mesh.raw_get::<Option<Table>>(name)? {
            return Ok(table);
        }
        let table = self.lua.create_table_with_capacity(0, calls_in(&format!("mesh.{name}")))?;
        self.mesh.raw_set(name, &table)?;
        Ok(table)
    }
}

/// Adds to the end and returns the place; one that has a place keeps it, so that trying again and again takes no room.
fn push<F>(places: &Places<F>, call: (&'static Call, F)) -> usize {
    let mut places = places.borrow_mut();
    if let Some(at) = places.iter().position(|(known, _)| std::ptr::eq(*known, call.0)) {
        return at;
    }
    places.push(call);
    places.len() - 1
}

fn at<F: Clone>(places: &Places<F>, place: usize) -> mlua::Result<(&'static Call, F)> {
    places.borrow().get(place).cloned().ok_or_else(|| mlua::Error::runtime("there is no such call"))
}

/// The function that all calls are done by that are done at once.
fn do_at_once(lua: &Lua, ctx: &Rc<Ctx>, places: &Places<AtOnce>) -> mlua::Result<Function> {
    let (ctx, places) = (Rc::clone(ctx), Rc::clone(places));
    lua.create_function(move |lua, (place, values): (usize, MultiValue)| {
        let (call, f) = at(&places, place)?;
        let outcome = enter(&ctx, call, values).and_then(|args| f(lua, &ctx, &args));
        settle(lua, &ctx, call, outcome)
    })
}

/// The function that all calls that wait are done by.
fn do_waiting(lua: &Lua, ctx: &Rc<Ctx>, places: &Places<Waiting>) -> mlua::Result<Function> {
    let (ctx, places) = (Rc::clone(ctx), Rc::clone(places));
    lua.create_async_function(move |lua, (place, values): (usize, MultiValue)| {
        let (ctx, found) = (Rc::clone(&ctx), at(&places, place));
        async move {
            let (call, f) = found?;
            let outcome = match enter(&ctx, call, values) {
                Ok(args) => f(lua.clone(), Rc::clone(&ctx), args).await,
                Err(fault) => Err(fault),
            };
            settle(&lua, &ctx, call, outcome)
        }
    })
}

/// Builds `mesh`.
pub(crate) fn install(lua: &Lua, ctx: &Rc<Ctx>) -> mlua::Result<Table> {
    let helpers = ctx.helpers()?;
    // Tables that grow leave what they had before, and all of it stays resident.
    let mesh = lua.create_table_with_capacity(0, calls_in("mesh") + GROUPS_AND_VALUES)?;
    ctx.set_calls(Calls::new(lua, ctx)?);
    let mut installer = Installer::new(lua, ctx, &mesh)?;
    events::install(&mut installer)?;
    talk::install(&mut installer)?;
    time::install(&mut installer)?;
    memory::install(&mut installer)?;
    network::install(&mut installer)?;
    relay::install(&mut installer)?;
    board::install(&mut installer)?;
    tools::install(&mut installer)?;
    installer.check_complete(|name| !name.starts_with(board::METHODS))?;
    names::watch(lua, ctx, &mesh)?;
    for pair in mesh.pairs::<Value, Value>() {
        // `mesh.state` is the bot's own; the other tables are the host's.
        if let (Value::String(name), Value::Table(table)) = pair?
            && name.as_bytes() != b"state".as_slice()
        {
            table.set_readonly(true);
        }
    }
    helpers.methods.set_readonly(true);
    helpers.timer_methods.set_readonly(true);
    Ok(mesh)
}

/// The table that a call is in, and its name there.
fn table_of(call: &Call) -> (&'static str, &'static str) {
    call.name.rsplit_once(['.', ':']).unwrap_or(("mesh", call.name))
}

/// How many calls are in a table.
fn calls_in(table: &str) -> usize {
    calls().filter(|call| table_of(call).0 == table).count()
}

fn known(name: &str) -> mlua::Result<&'static Call> {
    table::find(name).ok_or_else(|| mlua::Error::runtime(format!("{name} is not in the table of calls")))
}

/// Checks arguments and permission.
pub(crate) fn enter(ctx: &Ctx, call: &'static Call, values: MultiValue) -> Result<Args, Fault> {
    let args = Args::check(ctx, call, values).map_err(Fault::Misuse)?;
    if ctx.read_only.get() && call.writes {
        let message = "changes something, and this session is read-only; begin one with --write";
        return Err(Fault::Misuse(message.to_owned()));
    }
    if let Some(need) = call.needs {
        ctx.require(need, None)?;
    }
    Ok(args)
}

/// The raw results: what to raise, or nil and the results.
pub(crate) fn settle(lua: &Lua, ctx: &Ctx, call: &Call, outcome: Outcome) -> mlua::Result<MultiValue> {
    match outcome {
        Ok(mut results) => {
            results.push_front(Value::Nil);
            Ok(results)
        }
        Err(Fault::Misuse(message)) => (format!("{}: {message}", call.name),).into_lua_multi(lua),
        Err(Fault::World(error)) => {
            let error: Value = ctx.helpers()?.error.call((error.code, error.message))?;
            (Value::Nil, Value::Nil, error).into_lua_multi(lua)
        }
        Err(Fault::Lua(error)) => Err(error),
    }
}
