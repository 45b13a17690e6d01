//! What tests of bots can rely on.

mod day;

use std::path::Path;

use super::{TestOrder, TestReport, TestRun, run_tests};

/// A bot that answers, and posts on a channel.
const ECHO: &str = r#"
mesh.command("echo", { args = "<text>", channel = "board" }, function(msg, text) return "echo " .. text end)
mesh.command("fail", {}, function()
  error("no luck")
end)
mesh.command("late", {}, function(msg)
  mesh.sleep("20s")
  return "late"
end)
"#;

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn run_seeded(bot: &str, tests: &str, seed: u64) -> TestRun {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", bot);
    write(dir.path(), "bot_test.lua", tests);
    run_tests(&TestOrder { paths: vec![dir.path().to_path_buf()], seed, filter: None }).unwrap()
}

fn run(bot: &str, tests: &str) -> TestRun {
    run_seeded(bot, tests, 1)
}

/// All tests pass.
#[track_caller]
fn passes(bot: &str, tests: &str) -> TestRun {
    let run = run(bot, tests);
    assert!(run.ok && run.passed > 0, "{:#?}", run.tests);
    run
}

/// The only test fails at that line with that message.
#[track_caller]
fn fails(bot: &str, test: &str, line: usize, message: &str) -> TestReport {
    let run = run(bot, &format!("test('it', function(t)\n{test}\nend)"));
    let report = run.tests.into_iter().next().unwrap();
    let error = report.error.clone().unwrap_or_else(|| panic!("it passed: {report:?}"));
    assert!(error.message.contains(message), "{report:#?}");
    assert_eq!((error.file.as_deref(), error.line), (Some("bot_test.lua"), Some(line)), "{report:#?}");
    report
}

#[test]
fn a_message_goes_through_the_mesh_and_the_answer_comes_back() {
    passes(
        ECHO,
        r#"test("direct", function(t)
            t:receive{ from = "anna", text = "!echo hello" }
            local sent = t:expect_sent{ to = "anna", text = "echo hello" }
            t:equal({ sent.to, sent.to_name, sent.bot }, { t:key("anna"), "anna", "bot" })
            local got = t:person("anna"):expect_received{ from = "a", match = "^echo" }
            t:ok(got.automatic and got.sealed and got.hops == 1)
            t:expect_nothing{}
        end)
        test("on a channel", function(t)
            t:receive{ from = "anna", topic = "board", text = "!echo hello" }
            t:expect_sent{ topic = "board", text = "echo hello" }
            t:person("anna"):expect_received{ topic = "board", text = "echo hello" }
        end)"#,
    );
}

#[test]
fn a_failing_test_is_reported_with_file_and_line_and_what_was_sent_instead() {
    let report = fails(
        ECHO,
        "t:receive{ from = 'anna', text = '!echo one' }\nt:expect_sent{ to = 'anna', text = 'two' }",
        3,
        "expected a message to anna with the text \"two\", within 10 s",
    );
    assert_eq!(report.details, ["sent to anna: \"echo one\""]);
    fails(
        ECHO,
        "t:equal({ 1, a = { 'x' } }, { 1, a = { 'y' } })",
        2,
        "expected { 1, a = { \"y\" } }, got { 1, a = { \"x\" } }",
    );
    fails(ECHO, r"t:equal('a\nb', 'a b')", 2, r#"expected "a b", got "a\nb""#);
    fails(ECHO, r"t:equal('a\0b', 'a\0c', 'bytes')", 2, r#"bytes: expected "a\0c", got "a\0b""#);
    let report = fails(
        ECHO,
        "t:receive{ from = 'anna', text = '!echo a\\0b\\nc' }\nt:expect_sent{ text = 'x\\0y' }",
        3,
        "expected a message with the text \"x\\0y\", within 10 s",
    );
    assert_eq!(report.details, ["sent to anna: \"echo a\\0b\\nc\""]);
    fails(ECHO, "t:receive{ txt = 'x' }", 2, "t:receive: there is no option 'txt'; did you mean 'text'?");
    fails(
        ECHO,
        "t:expect_silence('1m')\nt:receive{ text = '!late' }\nt:expect_silence('1m')",
        4,
        "expected silence, got a message to anna: \"late\"",
    );
}

#[test]
fn what_a_test_writes_to_the_log_is_shown_when_it_fails() {
    let report = fails(ECHO, "mesh.log.info('so far', 1)\nt:ok(false)", 3, "");
    assert_eq!(report.details, ["the test said: so far 1"]);
}

#[test]
fn answers_beyond_the_quota_come_later() {
    passes(
        ECHO,
        "test('it', function(t)
            t:limits{ messages_per_minute = 2 }
            for n = 1, 5 do t:receive{ text = '!echo ' .. n } end
            t:equal(#t:sent(), 2)
            t:advance('3m')
            for n = 1, 5 do t:expect_sent{ text = 'echo ' .. n } end
        end)",
    );
}

#[test]
fn a_test_fails_when_its_bot_did_unless_it_expects_that() {
    let tests = "test('it', function(t) t:receive{ text = '!fail' } end)";
    let report = run(ECHO, tests).tests.into_iter().next().unwrap();
    assert!(report.error.unwrap().message.contains("bot.lua:4: no luck"), "{:?}", report.details);
    passes(
        ECHO,
        "test('it', function(t)
            t:receive{ text = '!fail' }
            t:matches(t:expect_error('no luck'), '^bot.lua:4:')
            local state, problem = t:bot_state()
            t:equal({ state, problem }, { 'running', 'bot.lua:4: no luck' })
        end)",
    );
    let broken = run("mesh.command('x')", "test('it', function(t) t:run() end)");
    assert!(broken.tests[0].error.as_ref().unwrap().message.contains("bot.lua:1: mesh.command"), "{broken:?}");
}

#[test]
fn days_pass_by_themselves_and_timers_quotas_and_pauses_go_by_them() {
    let bot = "
        mesh.every('6h', function() mesh.broadcast('news', 'tick', { ttl = '1h' }) end)
        mesh.at('08:00', function() mesh.store:incr('mornings') end)
        mesh.on_envelope(function(msg) msg:reply(msg.text) end)
        mesh.command('fail', {}, function() error('no') end)
        mesh.store:set('gone', 1, { ttl = '1d' })";
    passes(
        bot,
        "test('sixty-one days', function(t)
            local start = t:now()
            t:advance('61d')
            t:equal(t:now() - start, 61 * 86400)
            t:equal(#t:sent(), 244)
            t:equal(t:store(), { mornings = 61 })
        end)
        test('a quota', function(t)
            for i = 1, 12 do t:receive{ text = 'hello ' .. i } end
            t:equal(#t:sent(), 10)
            t:advance('1m')
            t:receive{ text = 'again' }
            t:expect_sent{ text = 'again' }
        end)
        test('a pause', function(t)
            for _ = 1, 5 do t:receive{ text = '!fail' } end
            for _ = 1, 5 do t:expect_error('no') end
            for _ = 1, 5 do t:expect_sent{ match = '^!fail failed here' } end
            t:equal((t:bot_state()), 'paused')
            t:receive{ text = 'still there?' }
            t:expect_nothing{ within = '50s' }
            t:expect_sent{ text = 'still there?', within = '11s' }
        end)",
    );
}

#[test]
fn a_partition_withholds_and_healing_delivers() {
    let bot = "mesh.on_broadcast('board', function(msg) mesh.log.info(msg.text) end)
        mesh.on_envelope(function(msg) msg:reply('got ' .. msg.text) end)";
    passes(
        bot,
        "test('direct', function(t)
            local b = t:node('b', { bots = false })
            local carl = b:person('carl')
            t:partition({ 'a' }, { 'b' })
            carl:send{ to = 'a', text = 'one' }
            t:expect_nothing{ within = '1h' }
            t:heal()
            t:expect_sent{ to = 'carl', text = 'got one' }
            carl:expect_received{ from = 'a', text = 'got one' }
        end)
        test('a channel', function(t)
            local b, c = t:node('b', { links = { 'a' } }), t:node('c', { links = { 'b' } })
            b:receive{ from = 'bob', topic = 'board', text = 'before' }
            t:partition({ 'a', 'b' }, { 'c' })
            b:receive{ from = 'bob', topic = 'board', text = 'apart' }
            t:equal({ t:log(), b:log(), c:log() }, { { 'before', 'apart' }, { 'before', 'apart' }, { 'before' } })
            t:heal()
            t:advance('10m')
            t:equal(c:log(), { 'before', 'apart' })
        end)",
    );
}

#[test]
fn loss_delays_and_the_seed_repeats_a_run() {
    let tests = "test('it', function(t)
        t:loss(0.6)
        for i = 1, 8 do
            t:receive{ from = 'anna', text = '!echo ' .. i }
            t:person('anna'):expect_received{ text = 'echo ' .. i, within = '2m' }
        end
        t:equal(t:now() .. t:sent()[8].id, '')
    end)";
    let time = |seed| {
        let report = run_seeded(ECHO, tests, seed).tests.into_iter().next().unwrap();
        (report.virtual_secs, report.error.unwrap().message)
    };
    let (first, again, other) = (time(1), time(1), time(2));
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert!(first.0 > 0.5, "nothing was lost: {first:?}");
}

#[test]
fn a_node_stops_crashes_and_starts_over_what_its_disk_holds() {
    let bot = "
        mesh.on('start', function() mesh.store:incr('starts') end)
        mesh.on('stop', function() mesh.store:incr('stops') end)
        mesh.on_envelope(function(msg) msg:reply(msg.text) end)";
    passes(
        bot,
        "test('it', function(t)
            local anna = t:person('anna')
            anna:send{ text = 'one' }
            t:stop()
            anna:send{ text = 'two' }
            t:advance('1h')
            t:start()
            t:expect_sent{ text = 'one' }
            t:expect_sent{ text = 'two' }
            t:equal(t:store(), { starts = 2, stops = 1 })
            t:advance('2s')
            t:crash()
            t:start()
            anna:send{ text = 'three' }
            t:expect_sent{ text = 'three' }
            t:expect_nothing{}
            t:equal(t:store(), { starts = 3, stops = 1 })
        end)",
    );
}

#[test]
fn settings_reloads_and_live_events() {
    let bot = "
        local cfg = mesh.config { word = 'hello' }
        mesh.state.loads = (mesh.state.loads or 0) + 1
        mesh.on_envelope(function(msg) msg:reply(cfg.word .. ' ' .. mesh.state.loads) end)";
    passes(
        bot,
        "test('configuration', function(t)
            t:config{ word = 'moin' }
            t:limits{ messages_per_minute = 1 }
            t:receive{}
            t:expect_sent{ text = 'moin 1' }
            t:receive{}
            t:expect_nothing{}
            t:advance('1m')
            t:reload()
            t:receive{}
            t:expect_sent{ text = 'moin 2' }
        end)
        test('a slip in the configuration', function(t)
            t:config{ wort = 'moin' }
            t:run()
            t:expect_error('did you mean .word.')
            t:equal((t:bot_state()), 'failed')
        end)",
    );
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "watch/bot.toml", "needs = [\"peers\"]\n");
    write(
        dir.path(),
        "watch/init.lua",
        "for _, e in { 'peer_up', 'peer_down', 'evicted' } do\n  mesh.on(e, function(ev) mesh.log.info(ev.event, ev.name or '?') end)\nend",
    );
    let test = "test('it', function(t)
        t:run()
        local anna = t:person('anna')
        t:advance('1s')
        t:unlink('a', 'anna')
        t:emit('evicted', { name = 'x' })
        t:equal(t:log(), { 'peer_up ?', 'peer_down anna', 'evicted x' })
    end)";
    write(dir.path(), "watch/live_test.lua", test);
    let run = run_tests(&TestOrder { paths: vec![dir.path().join("watch")], ..TestOrder::default() }).unwrap();
    assert!(run.ok && run.passed == 1, "{run:#?}");
}

#[test]
fn a_named_timer_keeps_its_moment_over_a_reload_and_one_without_a_name_begins_anew() {
    let bot = "
        local cfg = mesh.config { delay = '1h' }
        mesh.after(cfg.delay, function() mesh.broadcast('t', 'named') end, { name = 'it' })
        mesh.after('1h', function() mesh.log.info('nameless') end)
        mesh.at(mesh.store:get('at') or mesh.now() + 7200, function() mesh.log.info('at') end, { name = 'at' })
        mesh.store:set('at', mesh.store:get('at') or mesh.now() + 7200)";
    passes(
        bot,
        "test('the same delay', function(t)
            t:run()
            t:advance('40m')
            t:reload()
            t:advance('10m')
            t:reload() -- and over a second one
            t:expect_nothing{ within = '9m' }
            t:expect_sent{ topic = 't', text = 'named', within = '2m' }
            t:equal(t:log(), {})
            t:reload() -- what has come is not carried on
            t:expect_nothing{ topic = 't', within = '58m' }
            t:expect_sent{ topic = 't', text = 'named', within = '3m' }
        end)
        test('another delay', function(t)
            t:run()
            t:advance('40m')
            t:config{ delay = '50m' }
            t:reload()
            t:expect_nothing{ within = '49m' }
            t:expect_sent{ topic = 't', text = 'named', within = '2m' }
        end)
        test('a moment', function(t)
            t:run()
            t:advance('1h')
            t:reload()
            t:advance('61m')
            t:equal(#t:log(), 3)
        end)",
    );
}

#[test]
fn a_bot_waits_for_what_the_admin_of_the_test_did_not_grant() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "news/bot.toml", "needs = [\"direct\", \"reply\", \"store\", \"send\"]\n");
    let bot = "mesh.command('who', {}, function(msg) return 'asked ' .. mesh.store:incr('asked') end)";
    write(dir.path(), "news/init.lua", bot);
    let test = "test('it', function(t)
        t:grant{ 'direct', 'reply', 'store' }
        t:receive{ text = '!who' }
        t:expect_nothing{}
        local state, why = t:bot_state()
        t:equal(state, 'waiting')
        t:matches(why, 'news: asks for \"send\", which nobody has approved yet')
        t:grant{ 'direct', 'reply', 'store', 'send' }
        t:reload()
        t:equal((t:bot_state()), 'running')
        t:receive{ text = '!who' }
        t:expect_sent{ text = 'asked 1' }
        t:grant{ 'direct' }
        t:reload()
        t:receive{ text = '!who' }
        t:expect_sent{ text = 'asked 2' } -- the version before goes on
        t:stop()
        t:start()
        t:equal((t:bot_state()), 'waiting')
        t:grant{ 'direct', 'reply', 'store', 'send' }
        t:reload()
        t:receive{ text = '!who' }
        t:expect_sent{ text = 'asked 3' }
    end)";
    write(dir.path(), "news/news_test.lua", test);
    let run = run_tests(&TestOrder { paths: vec![dir.path().join("news")], ..TestOrder::default() }).unwrap();
    assert!(run.ok && run.passed == 1, "{run:#?}");
}

#[test]
fn the_log_says_how_many_lines_were_too_many_for_it() {
    passes(
        "mesh.command('log', { args = '<n>' }, function(_, n) for i = 1, n do mesh.log.info(i) end end)",
        "test('it', function(t)
            t:receive{ text = '!log 25' }
            t:equal(#t:log(), 20)
            t:advance('2s')
            t:receive{ text = '!log 1' }
            t:equal(#t:log(), 22)
            t:equal(t:log()[21], '5 lines before this one were left out: the log takes 20 a second')
        end)",
    );
}

#[test]
fn a_board_on_a_quiet_channel_reads_again_what_belongs_on_it() {
    passes(
        "local board = assert(mesh.board('Board'))
         mesh.command('ban', { args = '<key>' }, function(_, key) board:ban(key) end)
         mesh.command('unban', { args = '<key>' }, function(_, key) board:unban(key) end)
         mesh.command('size', {}, function() return tostring(board:size()) end)",
        "test('it', function(t)
            t:limits{ broadcasts_per_minute = 10 }
            t:receive{ from = 'anna', topic = 'board', text = '!post hello' }
            local function size(n)
                t:receive{ from = 'ben', text = '!size' }
                t:expect_sent{ to = 'ben', text = n }
            end
            for _ = 1, 2 do
                t:receive{ from = 'ben', text = '!ban ' .. t:key('anna') }
                t:expect_sent{ topic = 'board' }
                size('0')
                t:receive{ from = 'ben', text = '!unban ' .. t:key('anna') }
                t:expect_sent{ topic = 'board' }
            end
            t:advance('6m')
            size('1')
        end)",
    );
}

#[test]
fn hopeless_tests_end() {
    let endless = run(ECHO, "test('it', function(t) while true do end end)").tests.remove(0);
    assert_eq!(endless.error.unwrap().message, "stopped after 5000 ms of CPU time, the budget");
    let greedy = "mesh.on_envelope(function() while true do end end)";
    passes(greedy, "test('it', function(t) t:receive{} t:expect_error('stopped after 50 ms of CPU time') end)");
}

#[test]
fn tests_are_found_beside_and_inside_bots_and_count_as_no_sources() {
    let dir = tempfile::tempdir().unwrap();
    let test = "test('it', function(t) t:receive{ text = '!echo x' } t:expect_sent{ text = 'echo x' } end)";
    write(dir.path(), "one.lua", ECHO);
    write(dir.path(), "one_test.lua", test);
    write(dir.path(), "one_more_test.lua", test);
    write(dir.path(), "two/init.lua", ECHO);
    write(dir.path(), "two/util.lua", "return { add = function(a, b) return a + b end }");
    write(dir.path(), "two/tests/deep_test.lua", test);
    write(
        dir.path(),
        "two/util_test.lua",
        "local util = require('util')\ntest('unit', function(t) t:equal(util.add(1, 2), 3) end)",
    );
    write(dir.path(), "lib/l_test.lua", "local l = require('lib/l')\ntest('lib', function(t) t:equal(l, 7) end)");
    write(dir.path(), "lib/l.lua", "return 7");
    let order = |path: &str, filter: Option<&str>| {
        let order = TestOrder { paths: vec![dir.path().join(path)], seed: 1, filter: filter.map(str::to_owned) };
        let run = run_tests(&order).unwrap();
        assert!(run.ok, "{run:#?}");
        run.tests.into_iter().map(|test| (test.bot.unwrap_or_default(), test.name)).collect::<Vec<_>>()
    };
    let names = |all: &[(&str, &str)]| all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    assert_eq!(order("", None), names(&[("", "lib"), ("one", "it"), ("one", "it"), ("two", "it"), ("two", "unit")]));
    assert_eq!(order("one.lua", None), names(&[("one", "it"), ("one", "it")]));
    assert_eq!(order("two", Some("unit")), names(&[("two", "unit")]));
    let source = crate::script::source::read(&dir.path().join("two"), 1 << 20).unwrap();
    assert!(source.files.keys().all(|name| !name.contains("test.lua")), "{:?}", source.files.keys());
}

#[test]
fn what_stands_around_a_node_is_set_by_the_test_and_what_bots_did_to_it_is_seen() {
    let bot = "mesh.command('do', function(msg)
        local text, err = mesh.source('weather')
        local machine = mesh.machine()
        mesh.relay.block(msg.from)
        mesh.relay.limit(mesh.peers()[1].id, { messages = 60 })
        local plugin = mesh.relay.swap('transport-quic', '/spare.so')
        mesh.log.info(text or err.code, machine.neighbours[1].address, mesh.relay.plugins()[1].state, plugin.file)
    end)";
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot/init.lua", bot);
    let needs = "needs = [\"direct\", \"reply\", \"relay\", \"source\", \"machine\", \"peers\"]";
    write(dir.path(), "bot/bot.toml", needs);
    let test = "test('it does', function(t)
        t:source('weather', '12 degrees')
        t:machine { sources = { 'babel' }, neighbours = { { protocol = 'babel', address = 'fe80::2', cost = 96 } } }
        t:plugins { { name = 'transport-quic', kind = 'transport', state = 'failed', error = 'no port' } }
        t:receive { from = 'anna', text = '!do' }
        t:equal(t:log()[1], '12 degrees fe80::2 active /spare.so')
        t:equal(t:swaps(), { { name = 'transport-quic', file = '/spare.so' } })
        t:equal(t:trusts()[t:key('anna')], 'blocked')
        t:equal(t:bounds()[t:key('anna')], { messages = 60 })
        t:source('weather', nil, 'too-large')
        t:receive { from = 'bert', text = '!do' }
        t:matches(t:log()[2], '^too%-large')
    end)";
    write(dir.path(), "bot/init_test.lua", test);
    let run = run_tests(&TestOrder { paths: vec![dir.path().to_path_buf()], seed: 1, filter: None }).unwrap();
    assert!(run.ok && run.passed == 1, "{:#?}", run.tests);
}
