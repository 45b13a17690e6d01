//! What the API's functions work on: one for each machine, on its thread.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use mlua::{Function, Table};
use qpq_schemas::PeerId;

use crate::api::{ApiError, NodeApi};

use super::api::{Calls, Command, Fault, Handler, Timers, Unread};
use super::asked::Asked;
use super::board::Board;
use super::call::Running;
use super::limits::{REGISTRATIONS, ScriptLimits};
use super::lock;
use super::manifest::{Manifest, Permissions};
use super::program::Program;
use super::shared::Shared;
use super::store::{BotStore, operations};

/// What the prelude made for the host.
#[derive(Debug)]
pub(crate) struct Helpers {
    /// Turns a raw function into one that raises at the script's line.
    pub shape: Function,
    /// The same of one that many calls share: it is told each one's place.
    pub shape_at: Function,
    /// Makes an error with a code.
    pub error: Function,
    /// Makes a message's table.
    pub message: Function,
    /// The methods of messages.
    pub methods: Table,
    /// Where messages came from.
    pub origins: Table,
    /// What `require` has loaded.
    pub modules: Table,
    /// Makes the iterator of the store.
    pub make_each: Function,
    /// Calls a function, and gives all that it returns in one table.
    pub all_of: Function,
    pub timer_methods: Table,
    pub timer_meta: Table,
    pub board_methods: Table,
    pub board_meta: Table,
}

/// What a machine is given.
pub(crate) struct Parts {
    pub shared: Arc<Shared>,
    pub node: Arc<dyn NodeApi>,
    pub kv: Arc<dyn BotStore>,
    pub limits: ScriptLimits,
    pub program: Program,
    pub permissions: Permissions,
    /// The admin's configuration for this bot.
    pub overrides: serde_json::Map<String, serde_json::Value>,
    pub self_id: PeerId,
    pub self_name: Option<String>,
}

/// One machine's surroundings.
pub(crate) struct Ctx {
    pub shared: Arc<Shared>,
    pub node: Arc<dyn NodeApi>,
    kv: Arc<dyn BotStore>,
    pub limits: ScriptLimits,
    pub manifest: Manifest,
    /// Whether the bot is a folder, not a single file.
    folder: bool,
    permissions: Permissions,
    pub overrides: serde_json::Map<String, serde_json::Value>,
    pub self_id: PeerId,
    pub self_name: Option<String>,
    pub started: Instant,
    helpers: OnceCell<Helpers>,
    calls: OnceCell<Calls>,
    store_table: OnceCell<Table>,
    pub handlers: RefCell<Vec<Handler>>,
    pub commands: RefCell<Vec<Command>>,
    pub timers: RefCell<Timers>,
    /// Channels to listen to.
    pub topics: RefCell<BTreeSet<String>>,
    /// Those of them that the node wasn't asked for yet.
    pub new_topics: RefCell<Vec<String>>,
    /// The boards that it opened, in order.
    pub boards: RefCell<Vec<Arc<Board>>>,
    /// Those that it is about to open, one for each call: they count already.
    pub opening: RefCell<Vec<Arc<Board>>>,
    /// Set when the machine was replaced: it finishes what it has begun.
    pub retired: Cell<bool>,
    /// What the script that runs at the moment does.
    pub running: RefCell<Option<Rc<Running>>>,
    /// Questions that wait for people.
    pub asked: RefCell<Asked>,
    /// Messages that count as handled although their handlers still run: they wait for people.
    pub handled: RefCell<Vec<u64>>,
    /// Lines that were too many for the log, since the last one in it.
    pub unlogged: Cell<u64>,
    /// Calls that change something are refused at the moment.
    pub read_only: Cell<bool>,
    /// The last name that was read in `mesh` and isn't there.
    pub unread: RefCell<Option<Unread>>,
    /// Answers that may still go beyond the quota, since the bot ends.
    pub spare: Cell<u32>,
    /// The last table that was raised as an error.
    pub raised: RefCell<Option<Table>>,
    /// Held while changes are on their way to the disk: whoever waits for his own may find them among another's.
    writing: tokio::sync::Mutex<()>,
}

impl Ctx {
    pub(crate) fn new(parts: Parts) -> (Self, Program) {
        let ctx = Self {
            started: parts.shared.clock.now(),
            shared: parts.shared,
            node: parts.node,
            kv: parts.kv,
            limits: parts.limits,
            manifest: parts.program.source.manifest.clone(),
            folder: parts.program.source.main.contains('/'),
            permissions: parts.permissions,
            overrides: parts.overrides,
            self_id: parts.self_id,
            self_name: parts.self_name,
            helpers: OnceCell::new(),
            calls: OnceCell::new(),
            store_table: OnceCell::new(),
            handlers: RefCell::default(),
            commands: RefCell::default(),
            timers: RefCell::default(),
            topics: RefCell::default(),
            new_topics: RefCell::default(),
            boards: RefCell::default(),
            opening: RefCell::default(),
            retired: Cell::new(false),
            running: RefCell::default(),
            asked: RefCell::default(),
            handled: RefCell::default(),
            unlogged: Cell::new(0),
            read_only: Cell::new(false),
            unread: RefCell::default(),
            spare: Cell::new(0),
            raised: RefCell::default(),
            writing: tokio::sync::Mutex::default(),
        };
        (ctx, parts.program)
    }

    pub(crate) fn helpers(&self) -> mlua::Result<&Helpers> {
        self.helpers.get().ok_or_else(|| mlua::Error::runtime("the machine is not set up"))
    }

    pub(crate) fn set_helpers(&self, helpers: Helpers) {
        let _ = self.helpers.set(helpers);
    }

    /// The functions that the API's calls share.
    pub(crate) fn calls(&self) -> mlua::Result<&Calls> {
        self.calls.get().ok_or_else(|| mlua::Error::runtime("the machine is not set up"))
    }

    pub(crate) fn set_calls(&self, calls: Calls) {
        let _ = self.calls.set(calls);
    }

    pub(crate) fn set_store_table(&self, table: Table) {
        let _ = self.store_table.set(table);
    }

    pub(crate) fn is_store(&self, table: &Table) -> bool {
        self.store_table.get().is_some_and(|store| store.to_pointer() == table.to_pointer())
    }

    /// What the script that runs at the moment does, for the log.
    pub(crate) fn doing(&self) -> Option<String> {
        self.running.borrow().as_ref().map(|running| running.what.to_string())
    }

    /// The bot's clock: Unix time in seconds.
    pub(crate) fn now(&self) -> f64 {
        self.shared.clock.unix().as_secs_f64()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.shared.clock.unix_ms()
    }

    /// Refuses what the bot has no permission for, and says which line to add.
    pub(crate) fn require(&self, need: &str, channel: Option<&str>) -> Result<(), Fault> {
        if self.permissions.allows(need, channel) {
            return Ok(());
        }
        let asked = Permissions::new(self.manifest.needs.clone()).allows(need, channel);
        let need = channel.map_or_else(|| need.to_owned(), |channel| format!("{need}:{channel}"));
        if asked {
            let bot = &self.shared.name;
            let what = format!("the bot has no permission \"{need}\": the admin didn't grant it");
            return Err(Fault::Misuse(format!("{what}; `qpq script approve {bot}` does")));
        }
        let needs: Vec<String> = self.manifest.needs.iter().chain([&need]).map(|need| format!("\"{need}\"")).collect();
        let line = format!("needs = [{}]", needs.join(", "));
        let place = if self.folder {
            format!("write in bot.toml: {line}")
        } else {
            format!("make the bot a folder with init.lua and a bot.toml that says: {line}")
        };
        Err(Fault::Misuse(format!("the bot has no permission \"{need}\"; {place}")))
    }

    /// Room for one more handler, command or topic.
    pub(crate) fn room_to_register(&self) -> Result<(), Fault> {
        let used = self.handlers.borrow().len() + self.commands.borrow().len() + self.topics.borrow().len();
        if used < REGISTRATIONS {
            return Ok(());
        }
        Err(Fault::Misuse(format!(
            "at most {REGISTRATIONS} handlers, commands and channels; register at load, not in handlers"
        )))
    }

    /// Listens to a channel.
    pub(crate) fn listen(&self, topic: &str) -> Result<(), Fault> {
        self.require("listen", Some(topic))?;
        if self.topics.borrow().contains(topic) {
            return Ok(());
        }
        self.room_to_register()?;
        let most = self.limits.channels;
        if self.topics.borrow().len() >= most {
            return Err(Fault::Misuse(format!("a bot listens to at most {most} channels; name fewer")));
        }
        self.topics.borrow_mut().insert(topic.to_owned());
        self.new_topics.borrow_mut().push(topic.to_owned());
        Ok(())
    }

    /// Makes what the bot changed in its store durable.
    pub(crate) async fn flush(&self) -> Result<(), ApiError> {
        let _writing = self.writing.lock().await;
        let dirty = lock(&self.shared.store).take_dirty();
        if dirty.is_empty() {
            return Ok(());
        }
        let result = self.kv.commit(&self.shared.name, operations(&dirty)).await;
        if result.is_err() {
            lock(&self.shared.store).put_back(dirty);
        }
        result
    }
}
