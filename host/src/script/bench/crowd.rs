//! Bots that mean harm beside bots that answer: when each of the former is stopped, and how long the latter take meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qpq_schemas::PeerId;

use super::super::double::MemoryNode;
use super::super::host::{ScriptConfig, ScriptHost};
use super::super::store::MemoryStore;
use super::folder::Folder;
use super::places::{PATIENCE, POLL};

/// Bots that answer.
const HONEST: usize = 20;

/// The bodies of handlers that mean harm, one for each way to do it.
const HOSTILE: &[(&str, &str)] = &[
    ("loop", "while true do end"),
    ("loop in pcall", "while true do pcall(function() while true do end end) end"),
    ("loop in xpcall", "xpcall(error, function() while true do end end)"),
    ("loop in coroutines", "while true do coroutine.wrap(function() while true do end end)() end"),
    ("loop in tostring", "tostring(setmetatable({}, { __tostring = function() while true do end end }))"),
    ("loop in index", "local t = setmetatable({}, { __index = function() while true do end end }) return t.x"),
    ("loop in sort", "local t = {} for i = 1, 1000 do t[i] = i end table.sort(t, function() while true do end end)"),
    ("loop in gsub", "('x'):gsub('x', function() while true do end end)"),
    ("yields", "while true do coroutine.yield() end"),
    ("pattern", "return (('a'):rep(30000)):find(('a*'):rep(30) .. 'b')"),
    ("long set", "return (('a'):rep(1000000)):find('[' .. ('b'):rep(100000) .. ']*c')"),
    ("long find", "return (('a'):rep(1000000)):find(('a'):rep(500000) .. 'b', 1, true)"),
    ("rep bomb", "return ('x'):rep(1e9)"),
    ("string bomb", "local s = 'x' while true do s = s .. s end"),
    ("gsub bomb", "return (('x'):rep(1e6)):gsub('x', ('y'):rep(1e4))"),
    ("format bomb", "return string.format(('%99s'):rep(1000), 'x')"),
    ("concat bomb", "local t = {} for i = 1, 20 do t[i] = ('x'):rep(1e6) end return table.concat(t)"),
    ("table bomb", "local t = {} while true do t[#t + 1] = {} end"),
    ("buffer bomb", "return buffer.create(2 ^ 29)"),
    ("move bomb", "table.move({}, 1, 2 ^ 30, 2)"),
    (
        "sort of long strings",
        "local t = {} for i = 1, 2000 do t[i] = ('x'):rep(5000) .. i end while true do table.sort(t) end",
    ),
    ("recursion", "local function f() return 1 + f() end return f()"),
    ("recursion in pcall", "local function f() return pcall(f) end while true do f() end"),
    ("coroutine bomb", "local all = {} while true do all[#all + 1] = coroutine.create(function() end) end"),
    ("timer bomb", "while true do mesh.after('1h', function() end) end"),
    ("messages", "while true do mesh.send(msg.from, 'spam') end"),
    ("broadcasts", "while true do mesh.broadcast('spam', 'spam') end"),
    ("log", "while true do mesh.log.info(('x'):rep(1000)) end"),
    ("store", "local n = 0 while true do n = n + 1 mesh.store:set('k' .. n, ('x'):rep(16000)) end"),
    ("deep value", "local t = {} for i = 1, 1e5 do t = { t } end mesh.store:set('k', t)"),
    ("deep json", "return mesh.json.decode(('['):rep(100000))"),
    ("huge error", "error(('x'):rep(1e6))"),
    ("odd error", "error(setmetatable({}, { __tostring = function() error({}) end }))"),
    ("shared metatable", "getmetatable('').__index = nil"),
    ("globals", "for k in pairs(string) do string[k] = nil end"),
    ("environment", "getfenv(0).print = nil"),
    ("bytecode", "loadstring('\\27Lua')()"),
    ("require outside", "require('../../etc/passwd')"),
];

/// What hostile bots did to others.
#[derive(Debug, Clone, Default)]
pub struct Crowd {
    /// How long each event of a hostile bot took, the slowest, in milliseconds of wall time; and whose it was.
    pub slowest_stop: (f64, &'static str),
    /// The most memory that a hostile bot's machine had after its event, in bytes.
    pub most_memory_bytes: u64,
    /// The delay that of 100 answers of honest bots one exceeds, in milliseconds.
    pub honest_p99_ms: f64,
    /// The same with no hostile bot at work.
    pub alone_p99_ms: f64,
    /// Events of hostile bots.
    pub attacks: usize,
}

/// Lets each hostile bot do its worst so often, while each honest one is asked.
///
/// # Errors
/// When an event doesn't end, or an honest bot doesn't answer.
pub fn crowd(rounds: u32) -> Result<Crowd, String> {
    let mut crowd = Crowd::default();
    let (mut delays, mut alone) = (Vec::new(), Vec::new());
    for (name, body) in HOSTILE {
        let scene = Scene::start(body)?;
        for _ in 0..rounds {
            alone.extend(scene.round(None)?.1);
            let (stop, more) = scene.round(Some(name))?;
            delays.extend(more);
            if stop > crowd.slowest_stop.0 {
                crowd.slowest_stop = (stop, name);
            }
            crowd.attacks += 1;
            crowd.most_memory_bytes = crowd.most_memory_bytes.max(scene.evil().memory_bytes);
        }
        scene.host.stop(Duration::from_secs(5));
    }
    (crowd.honest_p99_ms, crowd.alone_p99_ms) = (p99(&mut delays), p99(&mut alone));
    Ok(crowd)
}

fn p99(delays: &mut [f64]) -> f64 {
    delays.sort_by(f64::total_cmp);
    delays.get(delays.len() * 99 / 100).copied().unwrap_or_default()
}

struct Scene {
    host: ScriptHost,
    node: Arc<MemoryNode>,
    _folder: Folder,
}

impl Scene {
    fn start(body: &str) -> Result<Self, String> {
        let folder = Folder::new()?;
        for n in 0..HONEST {
            let text = format!("mesh.on_broadcast('{n}', function(msg) msg:reply(msg.text) end)");
            folder.write(Path::new(&format!("honest{n}.lua")), &text)?;
        }
        folder
            .write(Path::new("evil/bot.toml"), "needs = [\"direct\", \"reply\", \"send\", \"broadcast\", \"store\"]")?;
        folder.write(Path::new("evil/init.lua"), &format!("mesh.on_envelope(function(msg)\n{body}\nend)"))?;
        let mut config = ScriptConfig { dirs: vec![folder.path().to_owned()], watch: false, ..ScriptConfig::default() };
        // Honest bots answer all rounds.
        config.limits.messages_per_minute = 10_000;
        config.limits.broadcasts_per_minute = 10_000;
        config.limits.bytes_per_hour = 1 << 30;
        let granted = ["direct", "reply", "send", "broadcast", "store"].map(str::to_owned).to_vec();
        config.bots.entry("evil".to_owned()).or_default().granted = Some(granted);
        let node = Arc::new(MemoryNode::default());
        let host = ScriptHost::start(config, Arc::clone(&node) as _, Arc::new(MemoryStore::default()));
        let scene = Self { host, node, _folder: folder };
        scene.wait("all bots run", || {
            let list = scene.host.list();
            list.len() > HONEST && list.iter().all(|bot| bot.state == "running")
        })?;
        scene.wait("all bots read", || {
            let at = |bot: &str| scene.node.acked(&format!("bot:{bot}")).is_some();
            at("evil") && (0..HONEST).all(|n| at(&format!("honest{n}")))
        })?;
        Ok(scene)
    }

    fn evil(&self) -> crate::api::BotStatus {
        self.host.list().into_iter().find(|bot| bot.name == "evil").unwrap_or_else(|| unreachable!("it was written"))
    }

    /// One event of the hostile bot, if any, and one question to each honest one: what the former took, and each of the latter.
    fn round(&self, attack: Option<&str>) -> Result<(f64, Vec<f64>), String> {
        if attack.is_some() && self.evil().state != "running" {
            // Too many errors paused it: its author would save it again.
            futures::executor::block_on(self.host.reload(Some("evil".to_owned())))
                .map_err(|error| error.to_string())?;
        }
        let (events, before) = (self.evil().events, self.node.sent().len());
        let start = Instant::now();
        if attack.is_some() {
            self.host.inbox_grew(self.node.arrive(PeerId([1; 32]), None, b"now"));
        }
        let mut last = 0;
        for n in 0..HONEST {
            last = self.node.arrive(PeerId([2; 32]), Some(&n.to_string()), b"ask");
        }
        self.host.inbox_grew(last);
        let (mut stop, mut delays) = (None, Vec::new());
        self.wait(attack.unwrap_or("no attack"), || {
            let now = start.elapsed().as_secs_f64() * 1e3;
            // What the hostile bot says goes to its sender, or on a channel of its own.
            let answers = self.node.sent().iter().skip(before).filter(|sent| sent.text() == "ask").count();
            delays.resize(answers.min(HONEST).max(delays.len()), now);
            if stop.is_none() && (attack.is_none() || self.evil().events > events) {
                stop = Some(now);
            }
            stop.is_some() && delays.len() == HONEST
        })?;
        Ok((stop.unwrap_or_default(), delays))
    }

    fn wait(&self, what: &str, mut done: impl FnMut() -> bool) -> Result<(), String> {
        let begun = Instant::now();
        while !done() {
            if begun.elapsed() > PATIENCE {
                return Err(format!("{what}: not within a minute; {:?}", self.evil().problem));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}
