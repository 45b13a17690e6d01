//! Measures what an event costs against a raw call of the same machine. For `make bench`; asserts nothing.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::{Function, Lua};
use qpq_schemas::PeerId;

use super::call::Running;
use super::context::Parts;
use super::dispatch::{self, Job};
use super::double::{MemoryNode, SELF, message};
use super::limits::ScriptLimits;
use super::manifest::{Manifest, Permissions};
use super::program::Program;
use super::pulse::Pulse;
use super::shared::Shared;
use super::source::Source;
use super::store::MemoryStore;
use super::vm::Vm;

mod crowd;
mod folder;
mod places;

pub use crowd::{Crowd, crowd};
pub use places::{Place, place, reload};

/// A bot that looks at each message.
const BOT: &str = "local seen = 0\nmesh.on_envelope(function(msg) seen = seen + #msg.text end)\n";
/// The raw side: makes the same table and calls the same function.
const RAW: &str = "
local seen = 0
local meta = { __index = {} }
local function handler(msg) seen = seen + #msg.text end
return function(id, from, from_name, topic, text, sealed, automatic, own, created, received, expires, priority, hops, event)
  handler(setmetatable({
    event = event, id = id, from = from, from_name = from_name, topic = topic, text = text, sealed = sealed,
    automatic = automatic, own = own, created = created, received = received, expires = expires,
    priority = priority, hops = hops,
  }, meta))
end";

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// A call into a plain machine with a fresh table of the same fields, in nanoseconds.
    pub raw_ns: f64,
    /// An event of the script host: dispatch, table, budget, handler, accounts, in nanoseconds.
    pub event_ns: f64,
    /// A small bot's machine at rest, in bytes.
    pub memory_bytes: usize,
}

/// Runs so many events each way.
pub fn run(events: u32) -> Result<Figures, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let vm = machine(BOT)?;
        vm.load().await.result.map_err(|failure| failure.to_string())?;
        let memory_bytes = vm.memory_at_rest();
        let (raw, event) = (raw(events).map_err(|e| e.to_string())?, hosted(&vm, events).await?);
        let each = |time: Duration| time.as_nanos() as f64 / f64::from(events.max(1));
        Ok(Figures { raw_ns: each(raw), event_ns: each(event), memory_bytes })
    })
}

/// What each of so many small bots' machines takes of the process's resident memory, in bytes. Luau takes memory in pages
/// that it has yet to touch, so this is less than it counts itself.
pub fn resident_each(machines: usize) -> Result<usize, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let loaded = async || {
            let vm = machine(BOT)?;
            vm.load().await.result.map_err(|failure| failure.to_string())?;
            Ok::<_, String>(vm)
        };
        let _first = loaded().await?; // what the first one needs for all
        let before = resident()?;
        let mut kept = Vec::with_capacity(machines);
        for _ in 0..machines {
            kept.push(loaded().await?);
        }
        Ok(resident()?.saturating_sub(before) / machines.max(1))
    })
}

fn resident() -> Result<usize, String> {
    let statm = std::fs::read_to_string("/proc/self/statm").map_err(|error| error.to_string())?;
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).ok_or("no resident size")?;
    Ok(pages * rustix::param::page_size())
}

/// A closed machine with a bot of one file in it, not yet loaded.
pub(crate) fn machine(text: &str) -> Result<Rc<Vm>, String> {
    let limits = ScriptLimits::default();
    let source = Source {
        manifest: Manifest::single_file(),
        main: "bot.lua".to_owned(),
        files: [("bot.lua".to_owned(), text.to_owned())].into(),
        hash: 0,
    };
    let program = Program::compile(source).map_err(|failures| format!("{failures:?}"))?;
    let parts = Parts {
        shared: Arc::new(Shared::new("bot", PathBuf::from("bot.lua"), &limits)),
        node: Arc::new(MemoryNode::default()),
        kv: Arc::new(MemoryStore::default()),
        limits,
        permissions: Permissions::new(program.source.manifest.needs.clone()),
        program,
        overrides: serde_json::Map::new(),
        self_id: SELF,
        self_name: None,
    };
    Vm::build(parts, None, Arc::new(Pulse::default())).map_err(|error| error.to_string())
}

fn raw(events: u32) -> mlua::Result<Duration> {
    let lua = Lua::new();
    let function: Function = lua.load(RAW).eval()?;
    let item = crate::api::InboxItem { payload: vec![b'x'; 256], ..message(PeerId([1; 32]), None) };
    let start = Instant::now();
    for _ in 0..events {
        let (id, from, name) = (item.id.to_string(), item.from.to_string(), item.from.short());
        let text = lua.create_string(&item.payload)?;
        let secs = |ms: u64| ms as f64 / 1_000.0;
        let times = (secs(item.created_ms), secs(item.received_ms), secs(item.expires_ms));
        function.call::<()>((
            id.as_str(),
            from.as_str(),
            name,
            item.topic.as_deref(),
            text,
            item.sealed,
            item.automatic,
            item.own,
            times.0,
            times.1,
            times.2,
            "normal",
            item.hops,
            "envelope",
        ))?;
    }
    Ok(start.elapsed())
}

async fn hosted(vm: &Rc<Vm>, events: u32) -> Result<Duration, String> {
    let item = crate::api::InboxItem { payload: vec![b'x'; 256], ..message(PeerId([1; 32]), None) };
    let budget = Duration::from_millis(vm.ctx.limits.cpu_per_event_ms);
    let start = Instant::now();
    for _ in 0..events {
        for job in dispatch::message(vm, &item).map_err(|failure| failure.to_string())?.jobs {
            if let Job::Call { function, args, .. } = job {
                vm.call(Running::new("broadcast", None), &function, args, budget)
                    .await
                    .result
                    .map_err(|failure| failure.to_string())?;
                vm.ctx.flush().await.map_err(|error| error.to_string())?;
            }
        }
    }
    Ok(start.elapsed())
}
