//! The running host: threads, reload, cursor, faults.

mod admin;
mod manners;
mod reload;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use qpq_schemas::PeerId;

use super::process::kind;
use super::write;
use crate::api::{ApiError, BotStatus, Reply, ScriptApproval, ScriptEval, ScriptLogQuery};
use crate::script::{
    BotConfig, BotStore, LiveEvent, LiveKind, MemoryNode, MemoryStore, ScriptConfig, ScriptHost, StoreOp, StoredEntry,
};

/// A store that several hosts can use one after another.
#[derive(Clone, Default)]
pub(super) struct Store {
    inner: Arc<MemoryStore>,
    failing: Arc<Mutex<bool>>,
    /// Whoever commits has to wait for it.
    gate: Arc<Mutex<()>>,
    commits: Arc<AtomicUsize>,
}

impl BotStore for Store {
    fn load(&self, bot: &str) -> Reply<Vec<StoredEntry>> {
        self.inner.load(bot)
    }

    fn commit(&self, bot: &str, ops: Vec<StoreOp>) -> Reply<()> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        drop(self.gate.lock().unwrap());
        if *self.failing.lock().unwrap() {
            return Box::pin(std::future::ready(Err(ApiError::new("disk-full", "no room"))));
        }
        self.inner.commit(bot, ops)
    }
}

/// A host on a node in memory.
pub(super) struct Live {
    node: Arc<MemoryNode>,
    pub(super) host: ScriptHost,
}

const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const EVE: [u8; 32] = [0xee; 32];

impl Live {
    pub(super) fn start(config: ScriptConfig, store: Store) -> Self {
        Self::with_node(config, store, Arc::new(MemoryNode::default()))
    }

    pub(super) fn with_node(config: ScriptConfig, store: Store, node: Arc<MemoryNode>) -> Self {
        let host = ScriptHost::start(config, node.clone(), Arc::new(store));
        Self { node, host }
    }

    /// A host of one folder of scripts.
    fn of(dir: &Path) -> Self {
        Self::start(config(dir), Store::default())
    }

    /// What comes of a future, as the node's runtime would drive it.
    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(future)
    }

    pub(super) fn tell(&self, from: [u8; 32], topic: Option<&str>, text: &str) {
        let seq = self.node.arrive(PeerId(from), topic, text.as_bytes());
        self.host.inbox_grew(seq);
    }

    /// A message was put into the node's inbox.
    pub(super) fn grew(&self, seq: u64) {
        self.host.inbox_grew(seq);
    }

    /// Loads a bot anew.
    #[track_caller]
    pub(super) fn again(&self, name: &str) {
        let list = self.reload(Some(name)).unwrap();
        assert_eq!(list[0].problem, None);
    }

    pub(super) fn errors(&self, name: &str) -> u64 {
        self.bot(name).map_or(0, |bot| bot.errors)
    }

    pub(super) fn happen(&self, event: &LiveEvent) {
        self.host.event(event);
    }

    /// Says something and waits for the next answer.
    #[track_caller]
    pub(super) fn ask(&self, from: [u8; 32], topic: Option<&str>, text: &str) -> String {
        let before = self.texts().len();
        self.tell(from, topic, text);
        self.sent(|sent| sent.len() > before);
        self.texts().swap_remove(before)
    }

    fn texts(&self) -> Vec<String> {
        self.node.sent().iter().map(crate::script::Sent::text).collect()
    }

    #[track_caller]
    pub(super) fn sent(&self, enough: impl Fn(&[String]) -> bool) {
        self.until(|live| enough(&live.texts()));
    }

    #[track_caller]
    pub(super) fn until(&self, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < PATIENCE, "sent {:?}\nbots {:#?}", self.texts(), self.host.list());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn bot(&self, name: &str) -> Option<BotStatus> {
        self.host.list().into_iter().find(|bot| bot.name == name)
    }

    #[track_caller]
    pub(super) fn running(&self, name: &str) {
        self.state(name, "running");
    }

    /// Waits until the bot is in that state and knows its place in the inbox.
    #[track_caller]
    fn state(&self, name: &str, state: &str) {
        self.until(|live| live.bot(name).is_some_and(|bot| bot.state == state));
        if state == "running" {
            self.until(|live| live.node.acked(&format!("bot:{name}")).is_some());
        }
    }

    pub(super) fn reload(&self, name: Option<&str>) -> Result<Vec<BotStatus>, ApiError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(self.host.reload(name.map(str::to_owned)))
    }

    pub(super) fn stop(&self) {
        let start = Instant::now();
        self.host.stop(Duration::from_secs(5));
        assert!(start.elapsed() < Duration::from_secs(4), "the bots didn't stop by themselves");
    }
}

fn config(dir: &Path) -> ScriptConfig {
    ScriptConfig { dirs: vec![dir.to_path_buf()], watch: false, ..kind() }
}

/// The same promises, kept by bots in processes of their own.
mod in_processes {
    use crate::script::tests::process::in_processes;

    in_processes!(
        super::a_saved_file_is_loaded_at_once_and_keeps_the_state,
        super::a_version_that_fails_leaves_the_old_one_running_and_says_why,
        super::a_new_bot_begins_at_the_end_and_an_old_one_where_it_was,
        super::a_new_bot_misses_nothing_whatever_becomes_of_its_first_version,
        super::an_answer_leaves_after_the_store_is_durable,
        super::what_a_manifest_asks_for_less_of_it_has_less_of,
        super::what_is_used_of_each_limit_is_told,
        super::errors_pause_a_bot_and_cpu_kills_disable_it_while_others_go_on,
        super::live_events_timers_start_and_stop_reach_the_bot,
        super::a_slow_bot_lags_and_loses_nothing,
        super::messages_reach_the_new_version_while_the_old_one_finishes,
        super::a_storm_of_saves_ends_with_the_last_version,
        super::of_an_answer_that_is_too_long_the_person_hears_and_the_bot_goes_on,
    );
}

#[test]
fn a_saved_file_is_loaded_at_once_and_keeps_the_state() {
    let dir = tempfile::tempdir().unwrap();
    let version = |n: u32| {
        format!(
            "mesh.state.n = mesh.state.n or 0\nmesh.on('reload', function() mesh.log.info('again') end)\n\
         mesh.on_envelope(function(msg) mesh.state.n = mesh.state.n + 1 msg:reply('v{n} ' .. mesh.state.n) end)"
        )
    };
    write(dir.path(), "bot.lua", &version(1));
    let live = Live::start(ScriptConfig { watch: true, ..config(dir.path()) }, Store::default());
    live.running("bot");
    assert_eq!(live.ask(EVE, None, "x"), "v1 1");
    write(dir.path(), "bot.lua", &version(2));
    live.until(|live| live.bot("bot").is_some_and(|bot| bot.loads == 2));
    assert_eq!(live.ask(EVE, None, "x"), "v2 2");
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(live.bot("bot").unwrap().loads, 2, "reading the files must not load them again");
    std::fs::remove_file(dir.path().join("bot.lua")).unwrap();
    live.until(|live| live.bot("bot").is_none());
    live.stop();
}

#[test]
fn a_version_that_fails_leaves_the_old_one_running_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", "mesh.on_envelope(function(msg) msg:reply('old') end)");
    let live = Live::of(dir.path());
    live.running("bot");
    for (text, problem) in [("\nlocal = 1", "bot.lua:2: Expected"), ("\n\nerror('not today')", "bot.lua:3: not today")]
    {
        write(dir.path(), "bot.lua", text);
        let list = live.reload(Some("bot")).unwrap();
        let goes_on = "; the version before goes on";
        let said = |p: &String| p.starts_with(problem) && p.ends_with(goes_on);
        assert!(list[0].problem.as_ref().is_some_and(said), "{list:?}");
        assert_eq!((list[0].state.as_str(), list[0].loads), ("running", 1));
        assert_eq!(live.ask(EVE, None, "x"), "old");
    }
    write(dir.path(), "bot.lua", "mesh.on_envelope(function(msg) msg:reply('new') end)");
    assert_eq!(live.reload(None).unwrap()[0].problem, None);
    assert_eq!(live.ask(EVE, None, "x"), "new");
    assert_eq!(live.reload(Some("bat")).unwrap_err().code, "unknown-bot");
    live.stop();
}

#[test]
fn a_file_that_can_be_no_bot_is_named_until_it_is_renamed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "my bot.lua", "mesh.on_envelope(function(msg) msg:reply('here') end)");
    let live = Live::start(ScriptConfig { watch: true, ..config(dir.path()) }, Store::default());
    live.until(|live| live.bot("my bot.lua").is_some_and(|bot| bot.problem.is_some()));
    let bot = live.bot("my bot.lua").unwrap();
    assert_eq!(bot.state, "failed");
    assert!(bot.problem.unwrap().starts_with("my bot.lua: `my bot` can't be a bot's name"));
    std::fs::rename(dir.path().join("my bot.lua"), dir.path().join("my-bot.lua")).unwrap();
    live.running("my-bot");
    assert!(live.bot("my bot.lua").is_none());
    assert_eq!(live.ask(EVE, None, "x"), "here");
    write(dir.path(), "my-bot/init.lua", "");
    live.until(|live| live.bot("my-bot.lua").is_some_and(|bot| bot.problem.is_some()));
    live.stop();
}

#[test]
fn a_new_bot_begins_at_the_end_and_an_old_one_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", "mesh.on_envelope(function(msg) msg:reply(msg.text) end)");
    let (node, store) = (Arc::new(MemoryNode::default()), Store::default());
    node.arrive(PeerId(EVE), None, b"history");
    let live = Live::with_node(config(dir.path()), store.clone(), Arc::clone(&node));
    live.running("bot");
    live.tell(EVE, None, "one");
    live.sent(|sent| sent == ["one"]);
    live.stop();
    assert_eq!(node.acked("bot:bot"), Some(2));
    node.arrive(PeerId(EVE), None, b"two");
    let live = Live::with_node(config(dir.path()), store, node);
    live.sent(|sent| sent == ["one", "two"]);
    assert_eq!(live.bot("bot").unwrap().lag, 0);
    live.stop();
}

#[test]
fn a_new_bot_misses_nothing_whatever_becomes_of_its_first_version() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", "error('not yet')");
    let node = Arc::new(MemoryNode::default());
    node.arrive(PeerId(EVE), None, b"history");
    let live = Live::with_node(config(dir.path()), Store::default(), node);
    live.state("bot", "failed");
    live.tell(EVE, None, "one");
    write(dir.path(), "bot.lua", "mesh.on_envelope(function(msg) msg:reply(msg.text) end)");
    live.again("bot");
    live.sent(|sent| sent == ["one"]);
    live.stop();
}

#[test]
fn a_bot_for_which_the_node_is_not_ready_starts_by_itself_and_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", "mesh.on_envelope(function(msg) msg:reply(msg.text) end)");
    let node = Arc::new(MemoryNode::default());
    node.arrive(PeerId(EVE), None, b"history");
    node.refuse_acks(Some(ApiError::new("busy", "try again in a moment")));
    let store = Store::default();
    *store.failing.lock().unwrap() = true;
    let live = Live::with_node(config(dir.path()), store.clone(), Arc::clone(&node));
    live.until(|live| live.bot("bot").is_some_and(|bot| bot.problem.is_some_and(|told| told.contains("no room"))));
    live.tell(EVE, None, "one");
    *store.failing.lock().unwrap() = false;
    live.until(|live| live.bot("bot").is_some_and(|bot| bot.problem.is_some_and(|told| told.contains("in a moment"))));
    live.tell(EVE, None, "two");
    node.refuse_acks(None);
    live.sent(|sent| sent == ["one", "two"]);
    live.stop();
}

#[test]
fn an_answer_leaves_after_the_store_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", "mesh.command('count', {}, function() return 'n = ' .. mesh.store:incr('n') end)");
    let store = Store::default();
    let live = Live::start(config(dir.path()), store.clone());
    live.running("bot");
    *store.failing.lock().unwrap() = true;
    live.tell(EVE, None, "!count");
    live.until(|live| live.bot("bot").is_some_and(|bot| bot.events == 1));
    assert!(live.texts().is_empty());
    *store.failing.lock().unwrap() = false;
    assert_eq!(live.ask(EVE, None, "!count"), "n = 2");
    live.stop();
}

#[test]
fn errors_pause_a_bot_and_cpu_kills_disable_it_while_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "good.lua", "mesh.on_broadcast('good', function(msg) msg:reply('good') end)");
    write(dir.path(), "faulty.lua", "mesh.on_broadcast('faulty', function(msg)\n error('oops') end)");
    write(dir.path(), "greedy.lua", "mesh.on_broadcast('greedy', function(msg) while true do end end)");
    let live = Live::of(dir.path());
    for bot in ["good", "faulty", "greedy"] {
        live.running(bot);
    }
    for _ in 0..5 {
        live.tell(EVE, Some("faulty"), "x");
    }
    live.state("faulty", "paused");
    assert_eq!(live.bot("faulty").unwrap().problem.as_deref(), Some("faulty.lua:2: oops"));
    for _ in 0..3 {
        live.tell(EVE, Some("greedy"), "x");
    }
    live.state("greedy", "disabled");
    let greedy = live.bot("greedy").unwrap();
    assert!(greedy.problem.as_ref().is_some_and(|p| p.contains("qpq script reload greedy")), "{greedy:?}");
    assert_eq!(live.ask(EVE, Some("good"), "x"), "good");
    assert_eq!(live.reload(Some("greedy")).unwrap()[0].state, "running");
    live.stop();
}

#[test]
fn an_honest_bot_answers_everything_beside_greedy_ones() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "honest.lua", "mesh.on_broadcast('honest', function(msg) msg:reply(msg.text) end)");
    for i in 0..3 {
        let text = "mesh.every(1, function() while true do end end) mesh.on_envelope(function() while true do end end)";
        write(dir.path(), &format!("greedy{i}.lua"), text);
    }
    let mut config = config(dir.path());
    config.limits.messages_per_minute = 1_000;
    let live = Live::start(config, Store::default());
    live.running("honest");
    for i in 0..50 {
        live.tell(EVE, None, "spin");
        assert_eq!(live.ask(EVE, Some("honest"), &i.to_string()), i.to_string());
    }
    live.stop();
}

#[test]
fn live_events_timers_start_and_stop_reach_the_bot() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot/bot.toml", "version = \"2.1\"\nneeds = [\"broadcast\", \"peers\"]\n");
    write(
        dir.path(),
        "bot/init.lua",
        "
        mesh.on('start', function() mesh.broadcast('t', 'start') end)
        mesh.on('stop', function() mesh.broadcast('t', 'stop') end)
        mesh.on('peer_up', { name = 'bob' }, function(e) mesh.broadcast('t', e.event .. ' ' .. e.peer:sub(1, 4)) end)
        mesh.after(1, function() mesh.broadcast('t', 'timer') end)",
    );
    let mut config = config(dir.path());
    config.limits.broadcasts_per_minute = 10;
    let granted = vec!["broadcast".to_owned(), "peers".to_owned()];
    config.bots.insert("bot".to_owned(), BotConfig { granted: Some(granted), ..BotConfig::default() });
    let live = Live::start(config, Store::default());
    live.running("bot");
    let peer_up = |name: &str| LiveEvent {
        kind: LiveKind::PeerUp,
        peer: Some(PeerId(EVE)),
        name: Some(name.to_owned()),
        id: None,
        detail: None,
    };
    live.host.event(&peer_up("alice"));
    live.host.event(&peer_up("bob"));
    live.sent(|sent| sent.len() == 3);
    live.stop();
    let mut texts = live.texts();
    assert_eq!(texts.pop().as_deref(), Some("stop"));
    texts.sort();
    assert_eq!(texts, ["peer_up eeee", "start", "timer"]);
    assert_eq!(live.bot("bot").unwrap().version.as_deref(), Some("2.1"));
}

#[test]
fn of_an_answer_that_is_too_long_the_person_hears_and_the_bot_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let text = "mesh.command('long', function(msg, n) return string.rep('x', tonumber(n)) end)";
    write(dir.path(), "bot.lua", text);
    let mut config = config(dir.path());
    config.limits.bytes_per_hour = 1_000_000;
    let live = Live::start(config, Store::default());
    live.running("bot");
    assert_eq!(live.ask(EVE, None, "!long 60000").len(), 60_000);
    assert_eq!(live.ask(EVE, None, "!long 60001"), "the answer of !long is too long to be sent");
    live.until(|live| {
        let query = ScriptLogQuery { bot: Some("bot".into()), ..ScriptLogQuery::default() };
        live.wait(live.host.logs(query)).lines.iter().any(|line| line.text.contains("60001 bytes"))
    });
    assert_eq!(live.ask(EVE, None, "!long 3"), "xxx");
    assert_eq!(live.bot("bot").unwrap().loads, 1);
    live.stop();
}

#[test]
fn a_slow_bot_lags_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "slow.lua", "mesh.on_envelope(function(msg) mesh.sleep(0.01) mesh.store:incr('n') end)");
    let live = Live::of(dir.path());
    live.running("slow");
    for _ in 0..300 {
        live.tell(EVE, None, "x");
    }
    live.until(|live| live.bot("slow").is_some_and(|bot| bot.events == 300 && bot.lag == 0));
    live.until(|live| live.node.acked("bot:slow") == Some(300));
    live.stop();
}

#[test]
fn messages_reach_the_new_version_while_the_old_one_finishes() {
    let dir = tempfile::tempdir().unwrap();
    let text = |version: &str| {
        format!(
            "mesh.on_envelope(function(msg) if msg.text == 'slow' then mesh.sleep(3) end msg:reply('{version} ' .. msg.text) end)"
        )
    };
    write(dir.path(), "bot.lua", &text("old"));
    let live = Live::of(dir.path());
    live.running("bot");
    live.tell(EVE, None, "slow");
    live.until(|live| live.bot("bot").is_some_and(|bot| bot.lag == 0));
    write(dir.path(), "bot.lua", &text("new"));
    live.reload(None).unwrap();
    (0..5).for_each(|n| assert_eq!(live.ask(EVE, None, &n.to_string()), format!("new {n}")));
    live.sent(|sent| sent.last().is_some_and(|last| last == "old slow"));
    live.stop();
}

#[test]
fn a_storm_of_saves_ends_with_the_last_version() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", "-- nothing");
    let live = Live::start(ScriptConfig { watch: true, ..config(dir.path()) }, Store::default());
    live.running("bot");
    for i in 0..100 {
        write(dir.path(), "bot.lua", &format!("mesh.on_envelope(function(msg) msg:reply('{i}') end)"));
        std::thread::sleep(Duration::from_millis(5));
    }
    live.until(|live| {
        live.tell(EVE, None, "?");
        std::thread::sleep(Duration::from_millis(300));
        live.texts().iter().any(|text| text == "99")
    });
    assert!(live.bot("bot").unwrap().loads <= 10, "{:?}", live.bot("bot"));
    live.stop();
}

#[test]
fn a_folder_of_bots_that_comes_later_or_in_place_of_another_is_watched() {
    let dir = tempfile::tempdir().unwrap();
    let scripts = dir.path().join("scripts");
    let live = Live::start(ScriptConfig { watch: true, ..config(&scripts) }, Store::default());
    let says = |folder: &str, word: &str| {
        let text = format!("mesh.on_envelope(function(msg) msg:reply('{word}') end)");
        write(dir.path(), &format!("{folder}/bot.lua"), &text);
    };
    let answers = |word: &str| {
        live.until(|live| {
            live.tell(EVE, None, "?");
            std::thread::sleep(Duration::from_millis(300));
            live.texts().iter().any(|text| text == word)
        });
    };
    says("scripts", "first");
    answers("first");
    says("fresh", "second");
    std::fs::rename(&scripts, dir.path().join("old")).unwrap();
    std::fs::rename(dir.path().join("fresh"), &scripts).unwrap();
    answers("second");
    // Told by the watch of the new one.
    says("scripts", "third");
    answers("third");
    std::fs::remove_dir_all(&scripts).unwrap();
    says("scripts", "fourth");
    answers("fourth");
    says("scripts", "fifth");
    answers("fifth");
    live.stop();
}

#[test]
fn what_a_manifest_asks_for_less_of_it_has_less_of() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot/init.lua", "mesh.on_envelope(function(msg) msg:reply('yes') end)");
    let manifest = |messages: u32| {
        write(
            dir.path(),
            "bot/bot.toml",
            &format!("needs = [\"direct\", \"reply\"]\n[limits]\nmessages_per_minute = {messages}"),
        );
    };
    manifest(2);
    let live = Live::of(dir.path());
    live.running("bot");
    let used = |live: &Live| {
        let limits = live.bot("bot").unwrap().limits;
        limits.into_iter().find(|limit| limit.name == "messages_per_minute").map(|limit| (limit.used > 0, limit.limit))
    };
    assert_eq!(used(&live), Some((false, 2)));
    live.ask(EVE, None, "one");
    // A version that asks for more has more, and what is used stays used.
    manifest(5);
    live.again("bot");
    assert_eq!(used(&live), Some((true, 5)));
    // What one asks for that doesn't load is no matter of the one that goes on.
    manifest(1);
    write(dir.path(), "bot/init.lua", "error('oops')");
    assert!(live.reload(Some("bot")).unwrap()[0].problem.is_some());
    assert_eq!(used(&live), Some((true, 5)));
    live.stop();
}

#[test]
fn what_is_used_of_each_limit_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let text = "assert(mesh.board('board')):post('Free couch')
        mesh.on_broadcast('news', tostring)
        local words = {}
        mesh.on_envelope(function(msg)
            for i = 1, 5e4 do words[i % 100 + 1] = i end
            msg:ask('how many?')
        end)";
    write(dir.path(), "bot/init.lua", text);
    let needs = "needs = [\"direct\", \"reply\", \"listen\", \"broadcast\"]";
    write(dir.path(), "bot/bot.toml", &format!("{needs}\n[limits]\nquestions = 1\nchannels = 999"));
    let live = Live::of(dir.path());
    live.running("bot");
    live.ask(EVE, None, "hello");
    let figures = |live: &Live, name: &str| {
        let limits = live.bot("bot").unwrap().limits;
        limits.into_iter().find(|limit| limit.name == name).map(|limit| (limit.used, limit.limit)).unwrap()
    };
    live.until(|live| figures(live, "questions") == (1, 1));
    // One more question than the bot may have ends at once; what its event took is known then.
    live.tell([0xbb; 32], None, "hello");
    live.until(|live| figures(live, "cpu_per_event_ms").0 > 0);
    assert_eq!(figures(&live, "questions"), (1, 1));
    assert_eq!(figures(&live, "channels"), (2, 64));
    assert_eq!(figures(&live, "board_posts"), (1, 4_000));
    assert!(figures(&live, "cpu_at_load_ms").0 > 0);
    for (name, limit) in [("log_lines_per_second", 20), ("coroutines", 100), ("handler_life_secs", 30)] {
        assert_eq!(figures(&live, name).1, limit, "{name}");
    }
    // Every limit that can be set is told.
    let all = serde_json::to_value(crate::script::ScriptLimits::default()).unwrap();
    assert_eq!(all.as_object().unwrap().len(), live.bot("bot").unwrap().limits.len());
    live.stop();
}

#[test]
fn the_host_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>(_: Option<&T>) {}
    fn sent<T: Send>(_: T) {}
    shared::<ScriptHost>(None);
    let dir = tempfile::tempdir().unwrap();
    let live = Live::of(dir.path());
    sent(live.host.reload(None));
    live.stop();
    assert_eq!(live.reload(None).unwrap_err().code, "scripts-off");
}
