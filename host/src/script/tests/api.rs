use serde_json::json;

use super::{holds, limits, raises, run, run_folder, run_with, texts, write};
use crate::script::run_once;

#[test]
fn a_direct_message_reaches_the_bot_and_its_answer_goes_back() {
    let report = run(r#"
        mesh.on_envelope(function(msg)
            assert(msg.event == "envelope" and msg.topic == nil and msg.text == "hello" and #msg.from == 64)
            assert(type(msg.created) == "number" and msg.priority == "normal" and msg.hops == 1)
            local receipt = assert(msg:reply("you said " .. msg.text))
            assert(#receipt.id == 64 and receipt.expires > mesh.now())
        end)"#);
    assert_eq!(report.error, None);
    assert_eq!(report.outputs, [json!({"kind": "send", "to": "aa".repeat(32), "text": "you said hello"})]);
}

#[test]
fn an_answer_to_a_broadcast_goes_to_the_channel_whatever_the_bot_writes_into_the_message() {
    let text = r#"mesh.on_broadcast("board", function(msg)
        msg.topic, msg.from = "elsewhere", "someone"
        msg:reply({ n = 1 })
    end)"#;
    let report = run_with(text, &json!({"topic": "board", "text": "x"}));
    assert_eq!(report.outputs, [json!({"kind": "broadcast", "topic": "board", "text": "{\"n\":1}"})]);
    assert!(run_with(text, &json!({"topic": "other", "text": "x"})).outputs.is_empty());
}

#[test]
fn bots_answer_no_programs_unless_they_ask_for_them_and_never_their_own() {
    let text = r#"mesh.on("envelope", function(msg) msg:reply("people") end)
        mesh.on("envelope", { automatic = true }, function(msg) msg:reply("all") end)"#;
    assert_eq!(texts(&run_with(text, &json!({"text": "x"}))), ["people", "all"]);
    assert_eq!(texts(&run_with(text, &json!({"text": "x", "automatic": true}))), ["all"]);
    assert!(run_with(text, &json!({"text": "x", "automatic": true, "own": true})).outputs.is_empty());
}

#[test]
fn a_misspelt_call_is_told_the_right_name_at_its_line_and_a_name_may_be_asked_for() {
    raises("\nlocal x = 1\nmesh.brodcast('x', 'y')", 3, "there is no mesh.brodcast; did you mean mesh.broadcast?");
    raises("local t = {}\nmesh.relay.alow(t)", 2, "there is no mesh.relay.alow; did you mean mesh.relay.allow?");
    raises("mesh.store:gett('x')", 1, "did you mean mesh.store:get?");
    raises("mesh.after(1, nil, 2)\nmesh.nothing_like_it()", 1, "mesh.after");
    raises("local absent = mesh.foo\nlocal nothing\nnothing()", 3, "attempt to call a nil value");
    holds(
        "assert(mesh.foo == nil and mesh.relay.foo == nil and not rawget(mesh, 'foo')) if mesh.foo then error('x') end",
    );
    holds("assert(getmetatable(mesh) == 'mesh' and not pcall(function() mesh.foo() end))");
}

#[test]
fn filters_compare_fields() {
    let text = r#"mesh.on("broadcast", { topic = "a", from_name = "eve" }, function(msg) msg:reply("yes") end)"#;
    assert_eq!(texts(&run_with(text, &json!({"topic": "a", "from_name": "eve"}))), ["yes"]);
    assert!(run_with(text, &json!({"topic": "a", "from_name": "bob"})).outputs.is_empty());
}

#[test]
fn a_channel_is_the_same_however_a_bot_writes_its_name() {
    let bots = [
        "mesh.on_broadcast('#Board', function(msg) msg:reply('heard') end)",
        "mesh.on('broadcast', { topic = 'BOARD' }, function(msg) msg:reply('heard') end)",
        "mesh.command('x', { channel = { ' Board ' } }, function() return 'heard' end)",
        "mesh.on_broadcast('board', function(msg) assert(mesh.broadcast('#Board', 'heard')) end)",
    ];
    for bot in bots {
        let report = run_with(bot, &json!({"topic": "Board", "text": "!x"}));
        assert_eq!((texts(&report), report.outputs[0]["topic"].as_str()), (vec!["heard"], Some("board")), "{bot}");
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot/bot.toml", "needs = [\"listen:Board\", \"broadcast:#BOARD\"]\n");
    write(dir.path(), "bot/init.lua", "local board = assert(mesh.board('Board'))\nassert(board:post('x'))");
    let report = run_once(&dir.path().join("bot"), &json!({"text": ""}), &limits());
    assert_eq!((report.error, report.outputs[0]["topic"].as_str()), (None, Some("board")));
}

#[test]
fn a_name_that_no_channel_has_is_a_mistake_where_the_bot_listens_and_an_answer_where_it_writes() {
    raises("mesh.on_broadcast('a\\0b', function() end)", 1, "argument 1 (topic)");
    raises("mesh.on('broadcast', { topic = '#' }, function() end)", 1, "argument 2 (filter.topic)");
    raises("mesh.command('x', { channel = '' }, function() end)", 1, "options.channel");
    holds("local ok, err = mesh.broadcast('#', 'x') assert(ok == nil and err.code == 'bad-topic')");
}

#[test]
fn a_run_without_a_node_says_what_a_node_would_say() {
    let failing = run_with("mesh.command('x', {}, function() error('no') end)", &json!({"text": "!x"}));
    assert_eq!(texts(&failing), ["!x failed here; the bot's admin can see why"]);
    let long = run_with("mesh.command('x', {}, function() return ('x'):rep(70000) end)", &json!({"text": "!x"}));
    assert!(long.log.iter().any(|line| line.contains("an answer was not sent")), "{long:?}");
}

#[test]
fn commands_split_arguments_make_help_and_name_their_usage() {
    let text = r#"mesh.command("post", { args = "<topic> <text>", help = "post it", channel = "board" },
        function(msg, topic, text) return topic .. "|" .. text end)"#;
    let say = |topic: Option<&str>, said: &str| run_with(text, &json!({"topic": topic, "text": said}));
    assert_eq!(texts(&say(None, "!post news two words ")), ["news|two words"]);
    assert_eq!(texts(&say(Some("board"), "!POST a b")), ["a|b"]);
    assert_eq!(texts(&say(None, "!post news")), ["usage: !post <topic> <text>"]);
    assert_eq!(texts(&say(None, "!help")), ["bot (script API 1):\n!post <topic> <text> - post it"]);
    assert!(say(Some("other"), "!post a b").outputs.is_empty());
    assert!(say(None, "!unknown").outputs.is_empty());
}

#[test]
fn a_command_answers_with_a_text_or_a_number_and_is_told_what_it_cannot_answer_with() {
    let text = "mesh.command('count', function() return 42 end)\n\
        mesh.command('half', function() return 0.5 end)\n\
        mesh.command('list', function() return { 1 } end)\n\
        mesh.command('flag', function() return true end)\n\
        mesh.command('quiet', function() return nil end)\n\
        mesh.command('itself', function(msg) return msg:reply('said') end)";
    let say = |text_of: &str| run_with(text, &json!({ "text": text_of }));
    assert_eq!(texts(&say("!count")), ["42"]);
    assert_eq!(texts(&say("!half")), ["0.5"]);
    for (command, kind) in [("!list", "table"), ("!flag", "boolean")] {
        let report = say(command);
        assert!(report.outputs.is_empty() && report.error.is_none(), "{report:?}");
        assert!(report.log[0].contains(&format!("returned a {kind} and said nothing")), "{report:?}");
    }
    for (command, said) in [("!quiet", vec![]), ("!itself", vec!["said"])] {
        let report = say(command);
        assert_eq!((texts(&report), report.log.len()), (said, 0), "{report:?}");
    }
}

#[test]
fn a_command_for_some_refuses_others_in_private_and_is_silent_on_a_channel() {
    let text = r#"mesh.command("stop", { who = { "self" }, channel = "board" }, function() return "stopped" end)"#;
    assert_eq!(texts(&run_with(text, &json!({"topic": "board", "text": "!stop", "from": "self"}))), ["stopped"]);
    let refused = run_with(text, &json!({"text": "!stop"}));
    assert_eq!(refused.outputs[0]["kind"], "send");
    // Another node's bot may have another admin.
    assert!(run_with(text, &json!({"topic": "board", "text": "!stop"})).outputs.is_empty());
    raises(
        "mesh.command('x', { who = { 'alice' } }, print_nothing or function() end)",
        1,
        "options.who[1] must be a key of 64",
    );
}

#[test]
fn mistakes_raise_at_the_callers_line_and_say_what_was_wrong() {
    raises("\n\nmesh.broadcast({}, 'x')", 3, "mesh.broadcast: argument 1 (topic) must be a string, got table");
    raises("mesh.on_envelope()", 1, "mesh.on_envelope: argument 1 (fn) must be a function, got nil");
    raises("mesh.now(1)", 1, "mesh.now: takes 0 arguments, got 1");
    raises("mesh.store.get('k')", 1, "mesh.store:get: call it with a colon");
    raises("mesh.on('envelop', function() end)", 1, "did you mean 'envelope'?");
    raises("mesh.broadcast('t', 'x', { tttl = '1d' })", 1, "there is no option 'tttl'; did you mean 'ttl'?");
    raises("mesh.broadcast('t', 'x', { hops = 0 })", 1, "options.hops must be a whole number from 1 to 255");
    raises("mesh.store:each('', { limit = 1.5 })", 1, "options.limit must be a whole number, got 1.5");
    raises("mesh.store:each('', { limit = 'x' })", 1, "options.limit must be a whole number, got string");
    raises("mesh.every(0 / 0, function() end)", 1, "got NaN");
    raises("mesh.store:each({ limt = 1 })", 1, "there is no option 'limt'; did you mean 'limit'?");
    raises("mesh.at('0 22-7 * * *', function() end)", 1, "write 22-23,0-7");
    raises("\nmesh.state = {}", 2, "`mesh.state` stays, and its fields are set, as in mesh.state.count = 1");
    raises("mesh.every('soon', function() end)", 1, "'soon' is no duration");
    raises(
        "local function f()\n  mesh.store:set('k', function() end)\nend\nf()",
        2,
        "argument 2 (value) holds a function",
    );
    raises("mesh.send('x', 'y')", 1, "no permission \"send\"");
    let report = run("mesh.send('x', 'y')");
    assert!(
        report
            .error
            .unwrap()
            .message
            .contains("needs = [\"reply\", \"direct\", \"listen\", \"broadcast\", \"store\", \"send\"]")
    );
}

#[test]
fn mistakes_are_strings_for_pcall_and_world_errors_have_codes() {
    holds(
        r#"
        local ok, err = pcall(mesh.on_envelope, 1)
        assert(not ok and type(err) == "string" and err:find("mesh.on_envelope: argument 1", 1, true), tostring(err))
        local value, err = mesh.json.decode("{")
        assert(value == nil and err.code == "bad-json" and #err.message > 0 and tostring(err) == err.message)
        local _, err = mesh.base64.decode("?")
        assert(err.code == "bad-base64" and ("x: " .. err):sub(1, 3) == "x: ")
    "#,
    );
}

#[test]
fn the_store_keeps_plain_data_counts_and_walks() {
    holds(
        r#"
        local s = mesh.store
        assert(s:get("none") == nil and s:get("none", 7) == 7)
        assert(s:set("n/1", { text = "a", list = { 1, 2, { deep = true } } }))
        assert(s:get("n/1").list[3].deep == true)
        assert(s:incr("count") == 1 and s:incr("count", 4) == 5 and s:get("count") == 5)
        for i = 2, 9 do s:set("n/" .. i, i) end
        local keys = {}
        for key in s:each("n/", { reverse = true, skip = 1, limit = 3 }) do keys[#keys + 1] = key end
        assert(table.concat(keys, " ") == "n/8 n/7 n/6", table.concat(keys, " "))
        for key in s:each({ reverse = true, limit = 1 }) do assert(key == "n/9") end
        for key in s:each("n/") do s:delete(key) end
        assert(s:each("n/")() == nil and s:delete("n/1") == false and s:delete("count") == true)
        s:set("gone", 1, { ttl = "0s" })
        assert(s:get("gone") == nil)
    "#,
    );
}

#[test]
fn the_store_is_bounded() {
    let report = run(r#"
        for i = 1, 200 do
            local ok, err = mesh.store:set("k" .. i, string.rep("x", 16000))
            if not ok then
                assert(err.code == "store-full", err)
                mesh.log.info("full at", i)
                return
            end
        end"#);
    assert_eq!(report.log, ["full at 66"]);
    // What people typed is no mistake of the bot's.
    holds(
        r#"
        local s, long = mesh.store, string.rep("k", 129)
        local ok, err = s:set("k", string.rep("x", 20000))
        assert(ok == nil and err.code == "too-large" and err.message:find("16384"), err)
        for _, key in { long, "", "\0k" } do
            ok, err = s:set(key, 1)
            assert(ok == nil and err.code == "bad-key", err)
            ok, err = s:incr(key)
            assert(ok == nil and err.code == "bad-key", err)
            assert(s:get(key, 7) == 7 and s:delete(key) == false)
        end
    "#,
    );
    raises("mesh.store:set('k', mesh.now)", 1, "argument 2 (value) holds a function");
}

#[test]
fn traffic_is_bounded_with_a_code() {
    let report = run_folder(
        r#"
        mesh.on("start", function()
            for i = 1, 12 do
                local ok, err = mesh.send("bob", "message " .. i)
                if not ok then mesh.log.info(i, err.code) end
            end
        end)"#,
        &json!({"event": "start"}),
    );
    assert_eq!(
        (report.outputs.len(), report.log),
        (10, vec!["11 rate-limited".to_owned(), "12 rate-limited".to_owned()])
    );
}

#[test]
fn timers_fire_and_are_bounded() {
    let text = r#"
        mesh.every("6h", function() mesh.broadcast("a", "every") end)
        mesh.after(5, function() mesh.broadcast("a", "after") end)
        mesh.at("08:00", function() mesh.broadcast("a", "at") end)
        local t = mesh.at("*/5 * * * 1-5", function() mesh.broadcast("a", "never") end)
        assert(t:cancel() == true and t:cancel() == false)"#;
    assert_eq!(texts(&run_with(text, &json!({"event": "timer"}))), ["every", "after", "at"]);
    raises("for i = 1, 40 do mesh.after('1h', function() end) end", 1, "32 timers are set already");
    raises("mesh.every(0.01, function() end)", 1, "at least 1 s");
}

#[test]
fn sleeping_suspends_only_its_handler() {
    let text = r#"
        mesh.on_envelope(function(msg) mesh.sleep("0.2s") msg:reply("late") end)
        mesh.on_envelope(function(msg) msg:reply("at once") end)"#;
    assert_eq!(texts(&run(text)), ["at once", "late"]);
}

#[test]
fn calls_that_wait_work_inside_a_bots_own_coroutines() {
    let report = run(r#"
        mesh.on_envelope(function(msg)
            local co = coroutine.wrap(function(a)
                mesh.sleep(0.01)
                local b = coroutine.yield(a + 1)
                mesh.sleep(0.01)
                msg:reply("got " .. b)
                return "end"
            end)
            assert(co(1) == 2)
            assert(co("b") == "end")
            local thread = coroutine.create(function() mesh.sleep(0.01) error("inside", 0) end)
            local ok, err = coroutine.resume(thread)
            assert(not ok and err == "inside", tostring(err))
        end)"#);
    assert_eq!((report.error.clone(), texts(&report)), (None, vec!["got b"]));
}

#[test]
fn waiting_in_the_wrong_place_is_explained() {
    let report =
        run("mesh.on_envelope(function() table.sort({3, 1, 2}, function(a, b) mesh.sleep(1) return a < b end) end)");
    assert!(report.error.clone().unwrap().message.contains("can't be used inside table.sort"), "{report:?}");
}

#[test]
fn configuration_merges_and_state_is_there() {
    holds(
        r#"
        local cfg = mesh.config { channel = "x", list = {}, n = 3, deep = { a = true } }
        assert(cfg.channel == "x" and cfg.n == 3 and cfg.deep.a == true and #cfg.list == 0)
        mesh.state.count = (mesh.state.count or 0) + 1
        assert(mesh.state.count == 1)
    "#,
    );
}

#[test]
fn the_mesh_can_be_looked_at_with_permission() {
    let report = run_folder(
        r#"
        assert(#mesh.self.id == 64 and mesh.self.name == "memory" and mesh.self.bot == "bot")
        assert(#assert(mesh.peers()) == 0 and #assert(mesh.routes()) == 0 and #assert(mesh.channels()) == 0)
    "#,
        &json!({"event": "start"}),
    );
    assert_eq!(report.error, None);
    raises("mesh.peers()", 1, "no permission \"peers\"");
}

#[test]
fn tools_do_what_they_say() {
    holds(
        r#"
        assert(mesh.json.encode({ 1, 2, { a = "b" } }) == '[1,2,{"a":"b"}]')
        assert(mesh.json.decode('{"a":[1,null,2.5]}').a[3] == 2.5)
        assert(mesh.base64.decode(mesh.base64.encode("\0\1\255")) == "\0\1\255")
        assert(mesh.text.truncate("grüße", 6) == "gr…" or mesh.text.truncate("grüße", 6))
        assert(mesh.seconds("1h 30m") == 5400 and mesh.seconds("3d") == 259200 and mesh.seconds("0s") == 0)
        for _, wrong in { "", "10", "soon", "99999w", "\255" } do
            local secs, err = mesh.seconds(wrong)
            assert(secs == nil and err.code == "bad-duration", wrong)
        end
        assert(math.abs(mesh.now() - os.time()) < 2 and os.date("%Y", 0) == "1970")
        mesh.log.info("a", 1, nil, { } ~= nil)
    "#,
    );
}

#[test]
fn json_that_is_read_is_written_as_it_was() {
    holds(
        r#"
        local json = mesh.json
        for _, text in { "[]", "{}", "[[],{}]", '{"a":[]}', "[1,null,3]", "[null,2]", '[null,{"a":[null,null,7]}]', "1" } do
            assert(json.encode(json.decode(text)) == text, json.encode(json.decode(text)))
        end
        assert(json.encode({}) == "{}" and json.encode(json.array({})) == "[]" and json.encode(json.array({ 1 })) == "[1]")
        assert(json.encode({ 1, nil, 3 }) == "[1,null,3]" and json.encode({ [2] = 1 }) == '{"2":1}')
        assert(json.encode({ 1, [9] = 2 }) == '{"1":1,"9":2}' and json.encode({ 1, x = 2 }) == '{"1":1,"x":2}')
        assert(json.encode({ json.null, json.null, a = nil }) == "[null,null]" and json.encode(json.null) == "null")
        assert(json.encode({ a = json.null }) == '{"a":null}' and json.decode('{"a":null}').a == nil)
        assert(json.encode(setmetatable({}, { __jsontype = "array" })) == "[]")
        assert(json.encode(json.array({ x = 1 })) == '{"x":1}')
        assert(json.encode(json.array({ [5000] = 1 })) == "[" .. ("null,"):rep(4999) .. "1]")
        for _, far in { 60000, 1e9, 1e300 } do assert(not pcall(json.encode, json.array({ [far] = 1 }))) end
        for _, wrong in { table.freeze({}), setmetatable({}, {}), mesh, "x" } do
            assert(not pcall(json.array, wrong))
        end
        assert(not pcall(json.encode, { [json.null] = 1 }))
        local list = json.decode("[1,2]")
        table.insert(list, 3)
        for i, n in list do assert(i == n) end
        assert(#list == 3 and list[4] == nil and json.encode(list) == "[1,2,3]")
        assert(not pcall(function() getmetatable(list).__index = {} end))
        assert(json.encode(setmetatable(list, nil)) == "[1,2,3]")
    "#,
    );
}

#[test]
fn lists_and_null_are_plain_data_and_the_store_keeps_what_is_in_them() {
    let report = run(r#"
        local json = mesh.json
        local value = { list = json.decode("[1,null,3]"), empty = json.array({}), none = json.null }
        assert(mesh.store:set("k", value))
        local kept = mesh.store:get("k")
        assert(kept.list[1] == 1 and kept.list[2] == nil and kept.list[3] == 3)
        assert(next(kept.empty) == nil and kept.none == nil and getmetatable(kept.empty) == nil)
        assert(not pcall(mesh.store.set, mesh.store, "k", { [json.null] = 1 }))
        mesh.state.value = value
        local cfg = mesh.config { list = json.array({}), other = {} }
        assert(json.encode(cfg) == '{"list":[],"other":{}}')
        mesh.on_envelope(function(msg) msg:reply(value) msg:reply(json.array({})) end)"#);
    assert_eq!(report.error, None);
    assert_eq!(texts(&report), [r#"{"empty":[],"list":[1,null,3],"none":null}"#, "[]"]);
}

#[test]
fn a_table_in_the_log_is_shown_with_what_is_in_it_and_cut_where_the_line_ends() {
    let report = run(r#"
        local _, err = mesh.seconds("x")
        local circle = {}
        circle[1], circle[2] = circle, circle
        mesh.log.info("got", { 1, "a\n", nested = { ok = true } }, {}, 7)
        mesh.log.info(err, setmetatable({}, { __tostring = function() return "said" end }))
        mesh.log.info(circle)
        mesh.log.info("x", ("y"):rep(2000), {})"#);
    assert_eq!(report.error, None);
    assert_eq!(report.log[0], r#"got { 1, "a\n", nested = { ok = true } } {} 7"#);
    assert!(report.log[1].starts_with("'x' is no duration") && report.log[1].ends_with(" said"), "{:?}", report.log[1]);
    assert!(report.log[2..].iter().all(|line| line.len() <= 1_024), "{:?}", report.log);
}

#[test]
fn one_handlers_error_stops_no_other() {
    let report =
        run("mesh.on_envelope(function() error('first') end)\nmesh.on_envelope(function(m) m:reply('second') end)");
    assert_eq!(texts(&report), ["second"]);
    assert_eq!(report.error.unwrap().line, Some(1));
}
