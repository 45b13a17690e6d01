//! One bot's machine: built, filled with the API, closed, loaded, run.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use mlua::{Function, IntoLuaMulti, Lua, LuaOptions, MultiValue, StdLib, Table, Value};

use super::api;
use super::budget::Meter;
use super::call::{Call, Ran, Running};
use super::context::{Ctx, Helpers, Parts};
use super::failure::{Failure, Kind};
use super::limits::{GC, PATTERN_WORK, STATE_BYTES, TABLE_MOVE};
use super::locked::Locked;
use super::plain::Plain;
use super::program::{Program, prelude};
use super::pulse::Pulse;
use super::source::Source;

/// The share of the memory limit above which a collection follows an event, in percent.
const COLLECT_ABOVE: usize = 50;
/// In a process of its own, handlers leave the thread to the socket that often: the host wants to be answered.
const TURN: Duration = Duration::from_millis(50);
/// Coroutines of finished handlers that are kept for the next ones.
const COROUTINES_KEPT: usize = 4;
/// What the prelude gets from the host, about.
const HOST_FIELDS: usize = 16;
/// Calls that are looked through for the line at which a handler was stopped.
const PLACE_LEVELS: usize = 20;
const LIBRARIES: [StdLib; 8] = [
    StdLib::COROUTINE,
    StdLib::TABLE,
    StdLib::OS,
    StdLib::STRING,
    StdLib::UTF8,
    StdLib::BIT,
    StdLib::MATH,
    StdLib::BUFFER,
];

/// A machine with its bot.
pub(crate) struct Vm {
    lua: Lua,
    pub ctx: Rc<Ctx>,
    meter: Rc<Meter>,
    mesh: Table,
    program: Rc<Program>,
    pulse: Arc<Pulse>,
    /// A panic left the machine in an unknown state.
    broken: Cell<bool>,
    collected_at: Cell<usize>,
    /// Since when handlers run without a pause; `None` where nobody waits for one.
    turn: Cell<Option<Instant>>,
}

impl Vm {
    /// Builds a closed machine with the API in it; nothing of the bot has run yet.
    pub(crate) fn build(parts: Parts, state: Option<&Plain>, pulse: Arc<Pulse>) -> mlua::Result<Rc<Self>> {
        prepare_process();
        let libraries = LIBRARIES.into_iter().fold(StdLib::COROUTINE, |all, library| all | library);
        let lua = Lua::new_with(libraries, LuaOptions::default().thread_pool_size(COROUTINES_KEPT))?;
        let (ctx, program) = Ctx::new(parts);
        let (ctx, program, meter) = (Rc::new(ctx), Rc::new(program), Rc::new(Meter::new()));
        lua.gc_stop();
        remove_globals(&lua)?;
        lua.gc_collect()?;
        ctx.set_helpers(run_prelude(&lua, &ctx, &program)?);
        lua.gc_collect()?;
        let mesh = api::install(&lua, &ctx)?;
        mesh.raw_set("state", api::state_table(&lua, state)?)?;
        lua.globals().raw_set("mesh", &mesh)?;
        lua.sandbox(true)?;
        // The table that a bot's own globals are in; those of the host behind it can't be changed.
        lua.globals().raw_set("_G", lua.globals())?;
        let (goal, multiplier, step) = GC;
        let params = mlua::state::GcIncParams::default().goal(goal).step_multiplier(multiplier).step_size(step);
        lua.gc_restart();
        lua.gc_set_mode(mlua::state::GcMode::Incremental(params));
        lua.gc_collect()?;
        lua.gc_collect()?;
        // The machine takes 0 as no limit at all.
        lua.set_memory_limit(ctx.limits.memory_bytes.max(1))?;
        let watched = Rc::clone(&meter);
        lua.set_interrupt(move |lua| watched.interrupt(|| place(lua)));
        Ok(Rc::new(Self {
            lua,
            ctx,
            meter,
            mesh,
            program,
            pulse,
            broken: Cell::new(false),
            collected_at: Cell::new(0),
            turn: Cell::new(None),
        }))
    }

    /// Runs the bot's main file.
    pub(crate) async fn load(self: &Rc<Self>) -> Ran {
        let missing = || Err(mlua::Error::runtime("the main file is missing"));
        let chunk = self.guard(|| self.program.chunk(&self.lua, &self.program.source.main).unwrap_or_else(missing));
        let ms = self.ctx.limits.cpu_at_load_ms;
        match chunk {
            Ok(function) => {
                let ran = self.call(Running::new("load", None), &function, (), Duration::from_millis(ms)).await;
                let figures = &self.ctx.shared.figures;
                if ran.result.is_ok() {
                    figures.load_cpu_us.store(ran.cpu.as_micros() as u64, Ordering::Relaxed);
                    figures.event_cpu_us.store(0, Ordering::Relaxed);
                }
                ran
            }
            Err(failure) => Ran { result: Err(failure), cpu: Duration::ZERO },
        }
    }

    /// Starts a function of the bot, with a CPU budget.
    pub(crate) fn call(
        self: &Rc<Self>,
        running: Rc<Running>,
        function: &Function,
        args: impl IntoLuaMulti,
        budget: Duration,
    ) -> Call {
        Call::new(Rc::clone(self), running, function.call_async(args), budget)
    }

    /// Runs a piece of Lua that the admin typed: an expression, or statements. Without `write` it can't change the bot's tables.
    /// A function of the bot that it calls can still change that function's own variables. All that it returns comes in a table,
    /// with their number as `n`.
    pub(crate) fn eval(self: &Rc<Self>, code: &str, write: bool) -> Result<Call, Failure> {
        let (all_of, function) = self.guard(|| {
            let function = super::program::typed(&self.lua, code)?;
            let env = self.lua.create_table()?;
            let meta = self.lua.create_table()?;
            meta.raw_set("__index", self.lua.globals())?;
            env.set_metatable(Some(meta))?;
            env.raw_set("_G", &env)?;
            env.set_readonly(!write);
            function.set_environment(if write { self.lua.globals() } else { env })?;
            Ok((self.ctx.helpers()?.all_of.clone(), function))
        })?;
        let budget = Duration::from_millis(self.ctx.limits.cpu_per_event_ms);
        Ok(self.call(Running::new("repl", None), &all_of, function, budget).read_only(!write))
    }

    /// Locks the bot's tables while a reader looks at them.
    pub(super) fn lock_tables(&self) -> Locked {
        let modules = self.ctx.helpers().map(|helpers| helpers.modules.clone());
        Locked::below([Some(self.mesh.clone()), Some(self.lua.globals()), modules.ok()].into_iter().flatten())
    }

    /// Whether handlers are to pause.
    pub(super) fn turn_is_over(&self) -> bool {
        self.turn.get().is_some_and(|begun| begun.elapsed() > TURN)
    }

    /// A pause is over. From the first of these calls on handlers pause each [`TURN`].
    pub(crate) fn begin_turn(&self) {
        self.turn.set(Some(Instant::now()));
    }

    /// Runs something that may panic inside the machine's own code.
    fn guard<T>(&self, f: impl FnOnce() -> mlua::Result<T>) -> Result<T, Failure> {
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(result) => result.map_err(|error| Failure::from_lua(&error, &self.program.source)),
            Err(_) => {
                self.broken.set(true);
                Err(Failure::new(Kind::Panic, "the machine failed inside; the bot is started anew"))
            }
        }
    }

    /// Makes values for the bot.
    pub(crate) fn make<T>(&self, f: impl FnOnce(&Lua) -> mlua::Result<T>) -> Result<T, Failure> {
        self.guard(|| f(&self.lua))
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(super) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    pub(super) fn source(&self) -> &Source {
        &self.program.source
    }

    /// A panic left the machine in an unknown state.
    pub(super) fn set_broken(&self) {
        self.broken.set(true);
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    pub(crate) fn memory(&self) -> usize {
        self.lua.used_memory()
    }

    /// Collects garbage after an event when half of the memory is used, unless a collection just didn't help.
    pub(crate) fn tidy(&self) {
        let used = self.lua.used_memory();
        let above = self.ctx.limits.memory_bytes * COLLECT_ABOVE / 100;
        if used > above && used > self.collected_at.get() + self.collected_at.get() / 8 {
            let _ = self.guard(|| self.lua.gc_collect());
            self.collected_at.set(self.lua.used_memory());
        }
    }

    /// Memory after a full collection, in bytes.
    pub(crate) fn memory_at_rest(&self) -> usize {
        // Two rounds: what the first one finalises the second one frees.
        let _ = self.guard(|| self.lua.gc_collect().and_then(|()| self.lua.gc_collect()));
        self.lua.used_memory()
    }

    /// A copy of `mesh.state`, as it crosses to another process: without the marks of lists.
    pub(crate) fn state(&self) -> Result<Plain, Failure> {
        let value: Value = self.make(|_| self.mesh.raw_get("state"))?;
        Plain::from_lua(&value, STATE_BYTES)
            .map(|plain| Plain::decode(&plain.encode()).unwrap_or(Plain::Nil))
            .map_err(|e| Failure::new(Kind::Error, format!("mesh.state isn't carried over: {e}")))
    }
}

/// Settings of the whole process, before its first machine.
fn prepare_process() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Otherwise table.move works through a huge empty range. Unknown in another Luau, which is no harm:
        // the prelude bounds the range.
        let _ = Lua::set_fflag("LuauTableMoveTimeoutFix", true);
    });
}

/// The innermost line of the bot's that runs now, as an error begins; empty where there is none.
fn place(lua: &Lua) -> String {
    let line = |level| {
        lua.inspect_stack(level, |call| {
            let (source, line) = (call.source(), call.current_line()?);
            let file = source.short_src.filter(|file| file != "host")?;
            Some(format!("{file}:{line}: "))
        })
    };
    (0..PLACE_LEVELS).map_while(line).flatten().next().unwrap_or_default()
}

/// Removes what bots don't have. The prelude's own `require` comes later.
fn remove_globals(lua: &Lua) -> mlua::Result<()> {
    let globals = lua.globals();
    for pair in globals.pairs::<String, Value>() {
        let (name, _) = pair?;
        if !api::KEPT_GLOBALS.contains(&name.as_str()) {
            globals.raw_set(name, Value::Nil)?;
        }
    }
    Ok(())
}

fn run_prelude(lua: &Lua, ctx: &Rc<Ctx>, program: &Rc<Program>) -> mlua::Result<Helpers> {
    let host = lua.create_table_with_capacity(0, HOST_FIELDS)?;
    host.raw_set("pattern_work", PATTERN_WORK)?;
    host.raw_set("table_move", TABLE_MOVE)?;
    host.raw_set("coroutines", ctx.limits.coroutines)?;
    host.raw_set("pending", Value::LightUserData(Lua::poll_pending()))?;
    host.raw_set("collect", lua.create_function(|lua, ()| lua.gc_collect())?)?;
    let clock = Rc::clone(ctx);
    host.raw_set("now", lua.create_function(move |_, ()| Ok(clock.now()))?)?;
    let clock = Rc::clone(ctx);
    host.raw_set(
        "uptime",
        lua.create_function(move |_, ()| {
            let up = clock.shared.clock.now().saturating_duration_since(clock.started);
            Ok(up.as_secs_f64())
        })?,
    )?;
    let program = Rc::clone(program);
    host.raw_set(
        "chunk",
        lua.create_function(move |lua, name: mlua::LuaString| module(lua, &program, &name.to_string_lossy()))?,
    )?;
    host.raw_set("runs", lua.create_function(|lua, function: Function| Ok(runs(lua, &function)))?)?;
    let raised = Rc::downgrade(ctx);
    host.raw_set(
        "raised",
        lua.create_function(move |_, table: Table| {
            if let Some(ctx) = raised.upgrade() {
                *ctx.raised.borrow_mut() = Some(table);
            }
            Ok(())
        })?,
    )?;
    host.raw_set("globals", lua.globals())?;
    host.raw_set("instead", lua.create_function(instead)?)?;
    let made: Table = prelude(lua)?.call(host)?;
    let (timer_methods, timer_meta) = class(lua, "mesh.timer")?;
    let (board_methods, board_meta) = class(lua, "mesh.board")?;
    Ok(Helpers {
        shape: made.raw_get("shape")?,
        shape_at: made.raw_get("shape_at")?,
        error: made.raw_get("error")?,
        message: made.raw_get("message")?,
        methods: made.raw_get("methods")?,
        origins: made.raw_get("origins")?,
        modules: made.raw_get("modules")?,
        make_each: made.raw_get("make_each")?,
        all_of: made.raw_get("all_of")?,
        timer_methods,
        timer_meta,
        board_methods,
        board_meta,
    })
}

/// Whether the coroutine that asks is inside of that function.
fn runs(lua: &Lua, function: &Function) -> bool {
    let is_it = |level| lua.inspect_stack(level, |call| call.function() == *function);
    (0..).map_while(is_it).any(|is_it| is_it)
}

/// The methods of a kind of objects, still empty, and the metatable that gives them.
fn class(lua: &Lua, name: &str) -> mlua::Result<(Table, Table)> {
    let (methods, meta) = (lua.create_table()?, lua.create_table()?);
    meta.raw_set("__index", &methods)?;
    meta.raw_set("__metatable", name)?;
    meta.set_readonly(true);
    Ok((methods, meta))
}

/// What to use in place of a global that bots don't have. A function, since a table of them would stay in each machine.
fn instead(_: &Lua, name: Value) -> mlua::Result<Option<&'static str>> {
    let Value::String(name) = name else { return Ok(None) };
    let name = name.as_bytes();
    Ok(api::REMOVED_GLOBALS.iter().find(|(gone, _)| *gone.as_bytes() == *name).map(|(_, hint)| *hint))
}

/// The chunk of a module and its key; or nil and why there is none. Points stand for folders, as elsewhere. The bot's own
/// folder comes first, then the shared library, whose modules name each other without `lib/`.
fn module(lua: &Lua, program: &Program, name: &str) -> mlua::Result<MultiValue> {
    let folder = program.source.main.split_once('/').map(|(folder, _)| folder);
    let names = [name.to_owned(), name.replace('.', "/")];
    let own = names.iter().filter_map(|name| folder.map(|folder| format!("{folder}/{name}")));
    let whole = names.iter().filter(|name| name.starts_with("lib/")).cloned();
    let shared = names.iter().map(|name| format!("lib/{name}"));
    let paths = own
        .chain(whole)
        .chain(shared)
        .flat_map(|base| [".lua", ".luau", "/init.lua"].map(|end| format!("{base}{end}")));
    for path in paths {
        if let Some(chunk) = program.chunk(lua, &path) {
            return (chunk?, path).into_lua_multi(lua);
        }
    }
    let shown = super::duration::shorten(name);
    let message = format!(
        "require: there is no module '{shown}': name a file of the bot's own folder, as in require(\"util\"), \
         or of the shared library, as in require(\"lib/util\")"
    );
    (Value::Nil, message).into_lua_multi(lua)
}
