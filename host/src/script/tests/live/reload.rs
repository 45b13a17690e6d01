//! From version to version: nothing is lost, nothing done twice, nothing acknowledged too early.

use super::*;

mod in_processes {
    use crate::script::tests::process::in_processes;

    in_processes!(
        super::a_reload_takes_over_what_the_configuration_says_of_the_bot_by_then,
        super::over_many_reloads_each_message_is_answered_once,
        super::what_a_paused_version_had_not_begun_the_next_one_does,
        super::a_new_version_acknowledges_nothing_before_the_old_one_has_finished,
        super::live_events_that_come_during_a_reload_reach_the_new_version,
        super::live_events_that_come_during_a_pause_are_not_lost,
        super::a_place_that_could_not_be_written_is_written_later,
        super::a_message_is_acknowledged_after_its_changes_are_durable,
        super::a_version_that_is_held_up_still_hands_over_its_state,
        super::a_bot_that_moves_to_a_folder_begins_when_the_old_one_has_ended,
        super::a_bot_that_stops_while_its_old_version_finishes_acknowledges_all,
    );
}

/// A configuration with room to talk.
fn talkative(dir: &Path) -> ScriptConfig {
    let mut config = config(dir);
    (config.limits.messages_per_minute, config.limits.broadcasts_per_minute) = (100_000, 100_000);
    config.limits.bytes_per_hour = 100_000_000;
    (config.limits.cpu_percent, config.limits.cpu_per_event_ms) = (100, 1_000);
    config
}

/// Saves a version and loads it, while something else happens.
fn load_beside(live: &Live, meanwhile: impl FnOnce()) {
    std::thread::scope(|scope| {
        let load = scope.spawn(|| live.reload(Some("bot")).unwrap());
        meanwhile();
        assert_eq!(load.join().unwrap()[0].problem, None);
    });
}

#[test]
fn over_many_reloads_each_message_is_answered_once() {
    const MESSAGES: usize = 200;
    let dir = tempfile::tempdir().unwrap();
    let text = "mesh.on_envelope(function(msg) mesh.sleep(0.02) mesh.store:incr('n') msg:reply(msg.text) end)";
    write(dir.path(), "bot.lua", text);
    let mut config = talkative(dir.path());
    config.limits.handlers = 2;
    let live = Live::start(config, Store::default());
    live.running("bot");
    std::thread::scope(|scope| {
        let talk = scope.spawn(|| {
            for n in 0..MESSAGES {
                live.tell(EVE, None, &n.to_string());
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        while !talk.is_finished() {
            live.again("bot");
        }
    });
    live.again("bot");
    live.until(|live| live.node.acked("bot:bot") == Some(MESSAGES as u64));
    let mut answered: Vec<usize> = live.texts().iter().map(|text| text.parse().unwrap()).collect();
    answered.sort_unstable();
    assert_eq!(answered, (0..MESSAGES).collect::<Vec<_>>());
    live.stop();
}

#[test]
fn what_a_paused_version_had_not_begun_the_next_one_does() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", "mesh.on_envelope(function(msg) error('oops') end)");
    let mut config = talkative(dir.path());
    config.limits.handlers = 1;
    let live = Live::start(config, Store::default());
    live.running("bot");
    let seqs: Vec<u64> = (1..=8).map(|n| live.node.arrive(PeerId(EVE), None, n.to_string().as_bytes())).collect();
    live.host.inbox_grew(seqs[7]);
    live.state("bot", "paused");
    write(dir.path(), "bot.lua", "mesh.on_envelope(function(msg) msg:reply(msg.text) end)");
    live.again("bot");
    live.until(|live| live.node.acked("bot:bot") == Some(8));
    assert_eq!(live.texts(), ["6", "7", "8"]);
    live.stop();
}

/// Messages that say `slow` wait for one that says `go`.
const PATIENT: &str = "mesh.on_envelope(function(msg)
    if msg.text == 'go' then mesh.store:set('go', true) end
    while msg.text == 'slow' and not mesh.store:get('go') do mesh.sleep(0.05) end
    msg:reply(VERSION .. msg.text)
end)";

fn patient(version: &str) -> String {
    PATIENT.replace("VERSION", &format!("'{version} '"))
}

#[test]
fn a_new_version_acknowledges_nothing_before_the_old_one_has_finished() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", &patient("old"));
    let live = Live::start(talkative(dir.path()), Store::default());
    live.running("bot");
    live.tell(EVE, None, "slow");
    live.until(|live| live.bot("bot").is_some_and(|bot| bot.lag == 0));
    write(dir.path(), "bot.lua", &patient("new"));
    live.again("bot");
    assert_eq!(live.ask(EVE, None, "a"), "new a");
    // Longer than it ever waits before it acknowledges.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(live.node.acked("bot:bot"), Some(0));
    live.tell(EVE, None, "go");
    live.until(|live| live.node.acked("bot:bot") == Some(3));
    let mut texts = live.texts();
    texts.sort();
    assert_eq!(texts, ["new a", "new go", "old slow"]);
    live.stop();
}

#[test]
fn a_bot_that_stops_while_its_old_version_finishes_acknowledges_all() {
    let dir = tempfile::tempdir().unwrap();
    let text = |version: &str| {
        format!(
            "mesh.on_envelope(function(msg) if msg.text == 'slow' then mesh.sleep(2) end msg:reply('{version} ' .. msg.text) end)"
        )
    };
    write(dir.path(), "bot.lua", &text("old"));
    let live = Live::start(talkative(dir.path()), Store::default());
    live.running("bot");
    live.tell(EVE, None, "slow");
    live.until(|live| live.bot("bot").is_some_and(|bot| bot.lag == 0));
    write(dir.path(), "bot.lua", &text("new"));
    live.again("bot");
    assert_eq!(live.ask(EVE, None, "a"), "new a");
    live.host.stop(Duration::from_secs(60));
    assert_eq!(live.texts().len(), 2);
    assert_eq!(live.node.acked("bot:bot"), Some(2));
}

fn peer_up() -> LiveEvent {
    LiveEvent { kind: LiveKind::PeerUp, peer: Some(PeerId(EVE)), name: None, id: None, detail: None }
}

/// A bot that may see peers and publish.
fn watcher(dir: &Path, text: &str) -> ScriptConfig {
    write(dir, "bot/bot.toml", "needs = [\"broadcast\", \"peers\", \"direct\"]");
    write(dir, "bot/init.lua", text);
    let granted = ["broadcast", "peers", "direct"].map(str::to_owned).to_vec();
    let mut config = talkative(dir);
    config.bots.insert("bot".to_owned(), BotConfig { granted: Some(granted), ..BotConfig::default() });
    config
}

#[test]
fn live_events_that_come_during_a_reload_reach_the_new_version() {
    let dir = tempfile::tempdir().unwrap();
    let text = "mesh.on('peer_up', function() mesh.broadcast('t', 'up') end)";
    let live = Live::start(watcher(dir.path(), text), Store::default());
    live.running("bot");
    write(dir.path(), "bot/init.lua", &format!("{text} mesh.broadcast('t', 'loading') mesh.sleep(0.5)"));
    load_beside(&live, || {
        live.sent(|sent| sent == ["loading"]);
        live.happen(&peer_up());
    });
    live.sent(|sent| sent == ["loading", "up"]);
    live.stop();
}

#[test]
fn live_events_that_come_during_a_pause_are_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let text = "mesh.on_envelope(function() error('oops') end)";
    let live = Live::start(watcher(dir.path(), text), Store::default());
    live.running("bot");
    (0..5).for_each(|_| live.tell(EVE, None, "x"));
    live.state("bot", "paused");
    live.happen(&peer_up());
    // A version that looks at them as it may would have taken it by now.
    std::thread::sleep(Duration::from_millis(100));
    write(dir.path(), "bot/init.lua", "mesh.on('peer_up', function() mesh.broadcast('t', 'up') end)");
    live.again("bot");
    live.sent(|sent| sent == ["up"]);
    live.stop();
}

#[test]
fn a_place_that_could_not_be_written_is_written_later() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", "mesh.on_envelope(function(msg) msg:reply(msg.text) end)");
    let live = Live::of(dir.path());
    live.running("bot");
    live.node.refuse_acks(Some(ApiError::new("disk-full", "no room")));
    assert_eq!(live.ask(EVE, None, "a"), "a");
    // Time for an attempt.
    std::thread::sleep(Duration::from_millis(1_500));
    live.node.refuse_acks(None);
    live.until(|live| live.node.acked("bot:bot") == Some(1));
    live.stop();
}

#[test]
fn a_message_is_acknowledged_after_its_changes_are_durable() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", "mesh.on_envelope(function(msg) mesh.store:set('last', msg.text) end)");
    let store = Store::default();
    let live = Live::start(config(dir.path()), store.clone());
    live.running("bot");
    *store.failing.lock().unwrap() = true;
    live.tell(EVE, None, "x");
    live.until(|live| live.bot("bot").is_some_and(|bot| bot.events == 1));
    // Time to acknowledge, if it would.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(live.node.acked("bot:bot"), Some(0));
    *store.failing.lock().unwrap() = false;
    live.until(|live| live.node.acked("bot:bot") == Some(1));
    let kept = live.wait(store.load("bot")).unwrap();
    assert!(kept.iter().any(|(key, ..)| key == b"last"), "{kept:?}");
    live.stop();
}

#[test]
fn a_version_that_is_held_up_still_hands_over_its_state() {
    let dir = tempfile::tempdir().unwrap();
    let text = "mesh.on_envelope(function(msg)
        mesh.state.n = (mesh.state.n or 0) + 1
        mesh.store:set('n', mesh.state.n)
        msg:reply(VERSION .. mesh.state.n)
    end)";
    write(dir.path(), "bot.lua", &text.replace("VERSION", "'old '"));
    let store = Store::default();
    let live = Live::start(config(dir.path()), store.clone());
    live.running("bot");
    assert_eq!(live.ask(EVE, None, "x"), "old 1");
    let held = store.gate.lock().unwrap();
    let before = store.commits.load(Ordering::Relaxed);
    live.tell(EVE, None, "x");
    live.until(|_| store.commits.load(Ordering::Relaxed) > before);
    write(dir.path(), "bot.lua", &text.replace("VERSION", "'new '"));
    load_beside(&live, || {
        std::thread::sleep(Duration::from_secs(1));
        drop(held);
    });
    live.sent(|sent| sent.len() == 2);
    assert_eq!(live.ask(EVE, None, "x"), "new 3");
    live.stop();
}

#[test]
fn a_bot_that_moves_to_a_folder_begins_when_the_old_one_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let text = |version: &str| {
        format!(
            "mesh.on_envelope(function(msg)
                if msg.text == 'slow' then mesh.sleep(1) end
                msg:reply('{version} ' .. msg.text .. ' ' .. mesh.store:incr('n'))
            end)"
        )
    };
    write(dir.path(), "bot.lua", &text("file"));
    let live = Live::start(talkative(dir.path()), Store::default());
    live.running("bot");
    live.tell(EVE, None, "slow");
    live.until(|live| live.bot("bot").is_some_and(|bot| bot.lag == 0));
    std::fs::remove_file(dir.path().join("bot.lua")).unwrap();
    write(dir.path(), "bot/init.lua", &text("folder"));
    live.reload(None).unwrap();
    live.running("bot");
    live.tell(EVE, None, "x");
    live.until(|live| live.node.acked("bot:bot") == Some(2));
    assert_eq!(live.texts(), ["file slow 1", "folder x 2"]);
    live.stop();
}

#[test]
fn a_reload_takes_over_what_the_configuration_says_of_the_bot_by_then() {
    let dir = tempfile::tempdir().unwrap();
    let text = "local cfg = mesh.config { word = 'hello' }\nmesh.on_envelope(function(msg)\n\
                mesh.state.n = (mesh.state.n or 0) + 1 msg:reply(cfg.word .. ' ' .. mesh.state.n) end)";
    write(dir.path(), "bot.lua", text);
    write(dir.path(), "other.lua", text);
    let live = Live::of(dir.path());
    live.running("bot");
    live.running("other");
    let says = |word: &str| {
        let config = serde_json::json!({ "word": word }).as_object().cloned().unwrap();
        BotConfig { config, ..BotConfig::default() }
    };
    let told = |config: &BotConfig| ["bot", "other"].map(|bot| (bot.to_owned(), config.clone())).into();
    live.host.configure(Some("bot"), told(&says("moin")));
    live.again("bot");
    live.again("other");
    live.tell(EVE, None, "?");
    live.sent(|sent| sent.len() == 2);
    let mut texts = live.texts();
    texts.sort();
    assert_eq!(texts, ["hello 1", "moin 1"]);
    let timers =
        |bot: &str| live.bot(bot).unwrap().limits.into_iter().find(|limit| limit.name == "timers").unwrap().limit;
    let limits = crate::script::LimitsPatch { timers: Some(7), ..Default::default() };
    live.host.configure(None, told(&BotConfig { limits, ..says("moin") }));
    live.reload(None).unwrap();
    live.running("bot");
    assert_eq!((timers("bot"), timers("other")), (7, 7));
    live.tell(EVE, None, "?");
    live.sent(|sent| sent.len() == 4);
    assert_eq!(live.texts()[2..], ["moin 2", "moin 2"], "limits alone are a reload like any other");
    assert_eq!(live.bot("bot").unwrap().loads, 3);
    live.host.configure(Some("bot"), told(&BotConfig { enabled: false, ..BotConfig::default() }));
    assert_eq!(live.reload(Some("bot")).unwrap_err().code, "bot-off");
    assert!(live.bot("bot").is_none() && live.bot("other").is_some());
    live.host.configure(Some("bot"), told(&says("servus")));
    live.again("bot");
    live.running("bot");
    live.stop();
}

#[test]
fn a_command_that_waits_for_another_nodes_bot_is_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let text = "mesh.command('hi', { channel = 'board' }, function(msg) return 'hi' end)";
    write(dir.path(), "bot.lua", text);
    let live = Live::of(dir.path());
    live.running("bot");
    let put = |from, command: Option<u8>, answers: Option<u8>| {
        let id = |n| qpq_schemas::MessageId([n; 32]);
        let mut item = crate::script::double::message(PeerId(from), Some("board"));
        (item.automatic, item.reply_to) = (answers.is_some(), answers.map(id));
        (item.id, item.payload) = (id(command.unwrap_or(99)), b"!hi".to_vec());
        let seq = live.node.put(item);
        live.grew(seq);
        seq
    };
    // A key that comes first in the order of this channel.
    let rival = [2; 32];
    put(EVE, Some(1), None);
    live.sent(|sent| sent.len() == 1);
    let seq = put(rival, None, Some(1));
    live.until(|live| live.node.acked("bot:bot") == Some(seq));
    // The other one answers: the new version hears it.
    put(EVE, Some(2), None);
    live.until(|live| live.bot("bot").is_some_and(|bot| bot.lag == 0));
    live.again("bot");
    let seq = put(rival, None, Some(2));
    live.until(|live| live.node.acked("bot:bot") == Some(seq));
    assert_eq!(live.texts(), ["hi"]);
    // Nobody does: the new version answers.
    put(EVE, Some(3), None);
    live.until(|live| live.bot("bot").is_some_and(|bot| bot.lag == 0));
    live.again("bot");
    live.sent(|sent| sent.len() == 2);
    live.stop();
}
