//! What a test says, done on its stage: the methods of `t`, of nodes and of people.

mod act;
mod around;
mod compare;
mod expect;
mod look;
mod mesh;

use std::cell::RefCell;
use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;

use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Table, Value};
use qpq_schemas::PeerId;

use super::super::BotConfig;
use super::super::api::{Args, Call, Fault, Outcome, enter};
use super::super::context::Ctx;
use super::super::failure::Failure;
use super::super::source::bot_at;
use super::super::vm::Vm;
use super::bot::Bot;
use super::calls::{TEST_CALLS, find};
use super::stage::Stage;
use crate::api::ApiError;
use crate::identity::sanitise_nickname;

/// The node that a test begins with.
pub(super) const FIRST: &str = "a";

/// The code of an expectation that didn't come true.
const UNMET: &str = "unmet";

/// See the module.
pub(super) struct Play {
    ctx: Rc<Ctx>,
    pub stage: Rc<Stage>,
    /// The bot under test: its name, and where it is.
    bot: Option<(String, PathBuf)>,
    /// The folder in which other bots are looked for.
    folder: PathBuf,
    /// Lua's `string.find`.
    find: Function,
    test_meta: Table,
    node_meta: Table,
    person_meta: Table,
    /// What more there is to say of the expectation that didn't come true.
    pub details: RefCell<Vec<String>>,
    /// Errors of bots that no test has expected so far.
    pub errors: RefCell<Vec<(usize, String)>>,
    /// Messages that people have been expected to receive: by whom, and which.
    received: RefCell<Vec<(usize, u64)>>,
}

/// An expectation that didn't come true.
fn unmet(message: impl Into<String>) -> Fault {
    Fault::World(ApiError::new(UNMET, message))
}

impl Play {
    /// Puts the bot under test on the first node, and the methods into the test's machine.
    pub(super) fn new(
        vm: &Vm,
        stage: Rc<Stage>,
        bot: Option<(String, PathBuf)>,
        folder: PathBuf,
    ) -> Result<Rc<Self>, Failure> {
        vm.make(|lua| {
            let meta = |name: &str| -> mlua::Result<Table> {
                let meta = lua.create_table()?;
                meta.raw_set("__index", lua.create_table()?)?;
                meta.raw_set("__metatable", name)?;
                Ok(meta)
            };
            let play = Rc::new(Self {
                ctx: Rc::clone(&vm.ctx),
                stage,
                bot,
                folder,
                find: lua.globals().get::<Table>("string")?.get("find")?,
                test_meta: meta("test")?,
                node_meta: meta("test.node")?,
                person_meta: meta("test.person")?,
                details: RefCell::default(),
                errors: RefCell::default(),
                received: RefCell::default(),
            });
            play.install(lua)?;
            Ok(play)
        })
    }

    fn install(self: &Rc<Self>, lua: &Lua) -> mlua::Result<()> {
        let mut installer = Installer { lua, play: self, installed: Vec::new() };
        act::install(&mut installer)?;
        around::install(&mut installer)?;
        expect::install(&mut installer)?;
        look::install(&mut installer)?;
        mesh::install(&mut installer)?;
        compare::install(&mut installer)?;
        let missing: Vec<&str> =
            TEST_CALLS.iter().map(|call| call.name).filter(|name| !installer.installed.contains(name)).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(mlua::Error::runtime(format!("calls of tests without code: {missing:?}")))
        }
    }

    /// The first node with the bot on it, as the test's `t`.
    pub(super) fn begin(&self, lua: &Lua) -> mlua::Result<Table> {
        let node = self.stage.world().add(FIRST, None).map_err(mlua::Error::runtime)?;
        if let Some((name, path)) = &self.bot {
            self.stage.put_on(node, name, path.clone());
        }
        self.handle(lua, FIRST, &self.test_meta)
    }

    fn handle(&self, lua: &Lua, name: &str, meta: &Table) -> mlua::Result<Table> {
        let handle = lua.create_table()?;
        handle.raw_set("name", name)?;
        handle.set_metatable(Some(meta.clone()))?;
        Ok(handle)
    }

    /// The node that a method was called on.
    fn receiver(&self, args: &Args) -> Result<usize, Fault> {
        let name: Option<String> = args.receiver.as_ref().and_then(|table| table.raw_get("name").ok());
        self.known(&name.unwrap_or_default())
    }

    /// The node or person of that name, who must be there.
    fn known(&self, name: &str) -> Result<usize, Fault> {
        let world = self.stage.world();
        world.find(name).ok_or_else(|| {
            let names: Vec<&str> = world.nodes.iter().map(|node| node.name.as_str()).collect();
            Fault::Misuse(format!("there is no node or person '{name}'; there are {}", names.join(", ")))
        })
    }

    /// Somebody of that name, made and linked to `home` when there is none yet.
    fn person(&self, name: &str, home: usize) -> Result<usize, Fault> {
        if let Some(number) = self.stage.world().find(name) {
            return Ok(number);
        }
        check_name(name)?;
        let mut world = self.stage.world();
        let number = world.add(name, Some(home)).map_err(Fault::Misuse)?;
        world.link(number, home, None);
        Ok(number)
    }

    /// The bots of a node.
    fn bots(&self, node: usize) -> Vec<Rc<Bot>> {
        self.stage.bots.borrow().iter().filter(|bot| bot.node == node).cloned().collect()
    }

    /// The bot of that name on a node, or its first.
    fn bot(&self, node: usize, name: Option<&str>) -> Result<Rc<Bot>, Fault> {
        let bots = self.bots(node);
        let found = bots.iter().find(|bot| name.is_none_or(|name| bot.shared().name == name)).cloned();
        found.ok_or_else(|| {
            let names: Vec<String> = bots.iter().map(|bot| bot.shared().name.clone()).collect();
            let there =
                if names.is_empty() { "there is none".to_owned() } else { format!("there are {}", names.join(", ")) };
            Fault::Misuse(format!("no such bot runs on this node; {there}"))
        })
    }

    /// Changes the admin's settings of a node's bots.
    fn configure(&self, node: usize, change: impl Fn(&mut BotConfig)) {
        self.bots(node).iter().for_each(|bot| change(&mut bot.config.borrow_mut()));
    }

    /// A bot beside the one under test.
    fn other_bot(&self, name: &str) -> Result<PathBuf, Fault> {
        if let Some((_, path)) = self.bot.as_ref().filter(|(own, _)| own == name) {
            return Ok(path.clone());
        }
        let paths =
            [self.folder.join(name), self.folder.join(format!("{name}.lua")), self.folder.join(format!("{name}.luau"))];
        let found = paths.into_iter().find(|path| bot_at(path).is_some());
        found.ok_or_else(|| Fault::Misuse(format!("there is no bot '{name}' in {}", self.folder.display())))
    }

    /// Takes in what failed in bots since the last look.
    pub(super) fn collect_errors(&self) {
        for bot in self.stage.bots.borrow().iter() {
            let new = std::mem::take(&mut *super::super::lock(&bot.shared().problems));
            self.errors.borrow_mut().extend(new.into_iter().map(|error| (bot.node, error)));
        }
    }

    /// What to raise, or nil and the results.
    fn settle(&self, lua: &Lua, call: &Call, outcome: Outcome) -> mlua::Result<MultiValue> {
        let shown = call.name.strip_prefix("node:").map_or_else(|| call.name.to_owned(), |name| format!("t:{name}"));
        match outcome {
            Ok(mut results) => {
                self.details.borrow_mut().clear(); // a failure before that was caught
                results.push_front(Value::Nil);
                Ok(results)
            }
            Err(Fault::Misuse(message)) => (format!("{shown}: {message}"),).into_lua_multi(lua),
            Err(Fault::World(error)) if error.code == UNMET => (error.message,).into_lua_multi(lua),
            Err(Fault::World(error)) => (format!("{shown}: {error}"),).into_lua_multi(lua),
            Err(Fault::Lua(error)) => Err(error),
        }
    }

    /// How a key is called in reports.
    fn shown(&self, peer: &PeerId) -> String {
        self.stage.world().name_of(peer).map_or_else(|| peer.short(), str::to_owned)
    }
}

fn check_name(name: &str) -> Result<(), Fault> {
    match sanitise_nickname(name) {
        Some(clean) if clean == name && name != "self" => Ok(()),
        _ => Err(Fault::Misuse(format!("'{}' can't be a name", super::super::duration::shorten(name)))),
    }
}

/// Puts methods into the test's machine.
struct Installer<'a> {
    lua: &'a Lua,
    play: &'a Rc<Play>,
    installed: Vec<&'static str>,
}

impl Installer<'_> {
    /// A call that is done at once.
    fn sync(&mut self, name: &str, f: fn(&Lua, &Rc<Play>, &Args) -> Outcome) -> mlua::Result<()> {
        let (call, play) = (known(name)?, Rc::clone(self.play));
        let raw = self.lua.create_function(move |lua, values: MultiValue| {
            play.settle(lua, call, enter(&play.ctx, call, values).and_then(|args| f(lua, &play, &args)))
        })?;
        self.place(call, raw)
    }

    /// A call during which time may pass.
    fn waiting<F>(&mut self, name: &str, f: fn(Lua, Rc<Play>, Args) -> F) -> mlua::Result<()>
    where
        F: Future<Output = Outcome> + 'static,
    {
        let (call, play) = (known(name)?, Rc::clone(self.play));
        let raw = self.lua.create_async_function(move |lua, values: MultiValue| {
            let play = Rc::clone(&play);
            async move {
                let outcome = match enter(&play.ctx, call, values) {
                    Ok(args) => f(lua.clone(), Rc::clone(&play), args).await,
                    Err(fault) => Err(fault),
                };
                play.settle(&lua, call, outcome)
            }
        })?;
        self.place(call, raw)
    }

    fn place(&mut self, call: &'static Call, raw: Function) -> mlua::Result<()> {
        self.installed.push(call.name);
        let function: Function = self.play.ctx.helpers()?.shape.call(raw)?;
        let (of, name) = call.name.split_once(':').unwrap_or_default();
        let (test, node, person) = (&self.play.test_meta, &self.play.node_meta, &self.play.person_meta);
        let metas: &[&Table] = match of {
            "node" => &[test, node, person],
            "person" => &[person],
            _ => &[test],
        };
        for meta in metas {
            meta.raw_get::<Table>("__index")?.raw_set(name, &function)?;
        }
        Ok(())
    }
}

fn known(name: &str) -> mlua::Result<&'static Call> {
    find(name).ok_or_else(|| mlua::Error::runtime(format!("{name} is not in the table of calls")))
}
