//! One bot's machine: built, filled with the API, closed, loaded, run.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Once};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::LocalBoxFuture;
use mlua::function::AsyncCallFuture;
use mlua::{Function, IntoLuaMulti, Lua, LuaOptions, MultiValue, StdLib, Table, Value};

use super::api;
use super::budget::Meter;
use super::context::{Ctx, Helpers, Parts};
use super::failure::{Failure, Kind};
use super::limits::{GC, PATTERN_WORK, STATE_BYTES, TABLE_MOVE};
use super::plain::Plain;
use super::program::{Program, prelude};
use super::pulse::Pulse;

/// The share of the memory limit above which a collection follows an event, in percent.
const COLLECT_ABOVE: usize = 50;
/// Coroutines of finished handlers that are kept for the next ones.
const COROUTINES_KEPT: usize = 4;
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
        lua.globals().raw_remove("require")?;
        lua.gc_collect()?;
        ctx.set_helpers(run_prelude(&lua, &ctx, &program)?);
        lua.gc_collect()?;
        let mesh = api::install(&lua, &ctx)?;
        mesh.raw_set("state", api::state_table(&lua, state)?)?;
        lua.globals().raw_set("mesh", &mesh)?;
        lua.sandbox(true)?;
        let (goal, multiplier, step) = GC;
        let params = mlua::state::GcIncParams::default().goal(goal).step_multiplier(multiplier).step_size(step);
        lua.gc_restart();
        lua.gc_set_mode(mlua::state::GcMode::Incremental(params));
        lua.gc_collect()?;
        lua.gc_collect()?;
        lua.set_memory_limit(ctx.limits.memory_bytes)?;
        let watched = Rc::clone(&meter);
        lua.set_interrupt(move |_| watched.interrupt());
        Ok(Rc::new(Self {
            lua,
            ctx,
            meter,
            mesh,
            program,
            pulse,
            broken: Cell::new(false),
            collected_at: Cell::new(0),
        }))
    }

    /// Runs the bot's main file.
    pub(crate) async fn load(self: &Rc<Self>) -> Ran {
        let missing = || Err(mlua::Error::runtime("the main file is missing"));
        let chunk = self.guard(|| self.program.chunk(&self.lua, &self.program.source.main).unwrap_or_else(missing));
        let ms = self.ctx.limits.cpu_at_load_ms;
        match chunk {
            Ok(function) => self.call("load", &function, (), Duration::from_millis(ms)).await,
            Err(failure) => Ran { result: Err(failure), cpu: Duration::ZERO },
        }
    }

    /// Starts a function of the bot, with a CPU budget. `what` it does stands in the log.
    pub(crate) fn call(
        self: &Rc<Self>,
        what: impl Into<Rc<str>>,
        function: &Function,
        args: impl IntoLuaMulti,
        budget: Duration,
    ) -> Call {
        let future = Some(Box::pin(function.call_async(args)));
        let (vm, what) = (Rc::clone(self), what.into());
        Call { vm, what, read_only: false, future, left: budget, cpu: Duration::ZERO, life: None }
    }

    /// Runs a piece of Lua that the admin typed: an expression, or statements. Without `write` it can't change anything but
    /// tables that it makes itself.
    pub(crate) fn eval(self: &Rc<Self>, code: &str, write: bool) -> Result<Call, Failure> {
        let function = self.guard(|| {
            let function = super::program::typed(&self.lua, code)?;
            let env = self.lua.create_table()?;
            let meta = self.lua.create_table()?;
            meta.raw_set("__index", self.lua.globals())?;
            env.set_metatable(Some(meta))?;
            env.set_readonly(!write);
            function.set_environment(if write { self.lua.globals() } else { env })?;
            Ok(function)
        })?;
        let budget = Duration::from_millis(self.ctx.limits.cpu_per_event_ms);
        Ok(Call { read_only: !write, ..self.call("repl", &function, (), budget) })
    }

    /// The bot's state can't be written while a reader looks at it.
    fn protect_state(&self, protect: bool) {
        if let Ok(Value::Table(state)) = self.mesh.raw_get("state") {
            state.set_readonly(protect);
        }
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

    /// A copy of `mesh.state`.
    pub(crate) fn state(&self) -> Result<Plain, Failure> {
        let value: Value = self.make(|_| self.mesh.raw_get("state"))?;
        Plain::from_lua(&value, STATE_BYTES)
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

fn run_prelude(lua: &Lua, ctx: &Rc<Ctx>, program: &Rc<Program>) -> mlua::Result<Helpers> {
    let host = lua.create_table()?;
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
    host.raw_set("globals", lua.globals())?;
    let made: Table = prelude(lua)?.call(host)?;
    let timer_methods = lua.create_table()?;
    let timer_meta = lua.create_table()?;
    timer_meta.raw_set("__index", &timer_methods)?;
    timer_meta.raw_set("__metatable", "mesh.timer")?;
    timer_meta.set_readonly(true);
    Ok(Helpers {
        shape: made.raw_get("shape")?,
        error: made.raw_get("error")?,
        message: made.raw_get("message")?,
        methods: made.raw_get("methods")?,
        origins: made.raw_get("origins")?,
        make_each: made.raw_get("make_each")?,
        timer_methods,
        timer_meta,
    })
}

/// The chunk of a module and its key; or nil and why there is none.
fn module(lua: &Lua, program: &Program, name: &str) -> mlua::Result<MultiValue> {
    let folder = program.source.main.split_once('/').map(|(folder, _)| folder);
    let own = folder.map(|folder| format!("{folder}/{name}"));
    let bases = own.into_iter().chain(name.starts_with("lib/").then(|| name.to_owned()));
    let paths = bases.flat_map(|base| [".lua", ".luau", "/init.lua"].map(|end| format!("{base}{end}")));
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

/// What running a function came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub result: Result<Value, Failure>,
    /// CPU time used.
    pub cpu: Duration,
}

/// A function of the bot that runs. The budget is armed at each poll; dropping it cancels it.
pub(crate) struct Call {
    vm: Rc<Vm>,
    what: Rc<str>,
    read_only: bool,
    future: Option<Pin<Box<AsyncCallFuture<Value>>>>,
    left: Duration,
    cpu: Duration,
    /// The end of its life; made when it first has to wait.
    life: Option<LocalBoxFuture<'static, ()>>,
}

impl Future for Call {
    type Output = Ran;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ran> {
        let this = &mut *self;
        let Some(mut future) = this.future.take() else { return Poll::Pending };
        this.enter();
        this.vm.meter.arm(this.left);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        let spent = this.vm.meter.disarm();
        this.leave();
        this.cpu += spent.cpu;
        this.left = this.left.saturating_sub(spent.cpu);
        let result = match polled {
            Ok(Poll::Pending) if !spent.stopped => {
                this.future = Some(future);
                return this.wait(cx);
            }
            Ok(Poll::Ready(Ok(value))) if !spent.stopped => Ok(value),
            Ok(Poll::Ready(Err(error))) => Err(Failure::from_lua(&error, &this.vm.program.source)),
            Ok(_) => Err(Failure::new(Kind::Cpu, "")),
            Err(_) => {
                this.vm.broken.set(true);
                Err(Failure::new(Kind::Panic, "the machine failed inside; the bot is started anew"))
            }
        };
        let result = if spent.stopped { result.map_err(|failure| failure.of_cpu(this.budget())) } else { result };
        this.finish(result)
    }
}

impl Call {
    fn enter(&self) {
        self.vm.pulse.enter();
        *self.vm.ctx.running.borrow_mut() = Some(Rc::clone(&self.what));
        if self.read_only {
            self.vm.ctx.read_only.set(true);
            self.vm.protect_state(true);
        }
    }

    fn leave(&self) {
        if self.read_only {
            self.vm.ctx.read_only.set(false);
            self.vm.protect_state(false);
        }
        self.vm.pulse.leave();
    }

    fn budget(&self) -> Duration {
        self.left + self.cpu
    }

    fn finish(&mut self, result: Result<Value, Failure>) -> Poll<Ran> {
        self.future = None;
        self.vm.tidy();
        Poll::Ready(Ran { result, cpu: self.cpu })
    }

    /// Suspended: only its life's end can still stop it.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Ran> {
        let secs = self.vm.ctx.limits.handler_life_secs;
        if self.left.is_zero() {
            return self.finish(Err(Failure::new(Kind::Cpu, "").of_cpu(self.cpu)));
        }
        let life = self.life.get_or_insert_with(|| {
            let clock = self.vm.ctx.shared.clock.clone();
            let end = clock.now() + Duration::from_secs(secs);
            Box::pin(async move { clock.sleep_until(end).await })
        });
        match life.as_mut().poll(cx) {
            Poll::Ready(()) => self.finish(Err(Failure::new(
                Kind::Life,
                format!(
                    "still running after {secs} s: a handler may wait that long at most; use mesh.after for later work"
                ),
            ))),
            Poll::Pending => Poll::Pending,
        }
    }
}
