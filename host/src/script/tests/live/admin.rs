//! What the admin grants, reads and types.

use super::*;

mod in_processes {
    use crate::script::tests::process::in_processes;

    in_processes!(
        super::what_the_admin_did_not_grant_or_misspelt_is_said,
        super::what_a_new_version_asks_for_in_addition_waits_for_the_admin_and_the_old_one_goes_on,
        super::what_the_admin_does_not_grant_a_bot_does_without_and_what_he_takes_away_is_gone_at_once,
        super::the_log_names_bot_event_and_line_and_an_errors_calls,
        super::an_admin_looks_into_a_running_bot_and_changes_nothing_unless_asked,
        super::typed_code_runs_nothing_of_the_bots_beyond_its_budget_and_its_rights,
    );
}

#[test]
fn what_the_admin_did_not_grant_or_misspelt_is_said() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "asks/bot.toml", "needs = [\"send\", \"store\"]");
    write(dir.path(), "asks/init.lua", "-- nothing");
    write(dir.path(), "conf.lua", "\nlocal cfg = mesh.config { channel = 'x', n = 1 }");
    let mut config = config(dir.path());
    let wrong = serde_json::json!({ "chanel": "y" }).as_object().cloned().unwrap();
    config.bots.insert("conf".to_owned(), BotConfig { config: wrong, ..BotConfig::default() });
    let live = Live::start(config, Store::default());
    live.state("asks", "waiting");
    live.state("conf", "failed");
    let problem = |bot| live.bot(bot).unwrap().problem.unwrap();
    assert!(problem("asks").contains("asks for \"send\", which nobody has approved yet"), "{}", problem("asks"));
    let conf = problem("conf");
    assert!(conf.starts_with("conf.lua:2: ") && conf.contains("did you mean 'channel'?"), "{conf}");
    live.stop();
}

#[test]
fn what_a_new_version_asks_for_in_addition_waits_for_the_admin_and_the_old_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot/bot.toml", "needs = [\"direct\", \"reply\"]");
    write(dir.path(), "bot/init.lua", "mesh.on_envelope(function(msg) msg:reply('old') end)");
    let store = Store::default();
    let live = Live::start(config(dir.path()), store.clone());
    live.running("bot");
    write(dir.path(), "bot/bot.toml", "needs = [\"direct\", \"reply\", \"send\"]");
    write(dir.path(), "bot/init.lua", "mesh.on_envelope(function(msg) mesh.send(msg.from, 'new') end)");
    let bot = live.wait(live.host.reload(Some("bot".into()))).unwrap().remove(0);
    assert_eq!(bot.missing, ["send"]);
    assert_eq!(bot.state, "running");
    assert!(bot.problem.unwrap().contains("`qpq script approve bot`"));
    assert_eq!(live.ask(EVE, None, "who?"), "old");
    // Files that are broken meanwhile are what is wrong now.
    write(dir.path(), "bot/bot.toml", "nme = 'bot'");
    let bot = live.wait(live.host.reload(Some("bot".into()))).unwrap().remove(0);
    assert!(bot.missing.is_empty() && bot.problem.unwrap().starts_with("bot/bot.toml:1: "));
    write(dir.path(), "bot/bot.toml", "needs = [\"direct\", \"reply\", \"send\"]");
    let bot = live.wait(live.host.reload(Some("bot".into()))).unwrap().remove(0);
    assert_eq!(bot.missing, ["send"]);
    let wrong = ScriptApproval { needs: vec!["sent".to_owned()], ..ScriptApproval::default() };
    assert_eq!(live.wait(live.host.approve("bot".into(), wrong)).unwrap_err().code, "unknown-permission");
    let bot = live.wait(live.host.approve("bot".into(), ScriptApproval::default())).unwrap();
    assert_eq!((bot.state.as_str(), bot.missing.len(), bot.problem), ("running", 0, None));
    assert_eq!(live.ask(EVE, None, "who?"), "new");
    live.stop();
    // For good; until it is taken back.
    let live = Live::with_node(config(dir.path()), store, Arc::clone(&live.node));
    live.state("bot", "running");
    let revoke = ScriptApproval { revoke: true, ..ScriptApproval::default() };
    let bot = live.wait(live.host.approve("bot".into(), revoke)).unwrap();
    assert_eq!((bot.state.as_str(), bot.missing), ("waiting", vec!["send".to_owned()]));
    live.stop();
}

#[test]
fn what_the_admin_does_not_grant_a_bot_does_without_and_what_he_takes_away_is_gone_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let text = "mesh.on_envelope(function(msg)\n\
                  local done, err = pcall(mesh.send, msg.from, 'sent')\n\
                  if not done then msg:reply(tostring(err)) end\n\
                end)";
    write(dir.path(), "bot/init.lua", text);
    write(dir.path(), "bot/bot.toml", "needs = [\"direct\", \"reply\", \"send\", \"peers\"]");
    let store = Store::default();
    let live = Live::start(config(dir.path()), store.clone());
    live.state("bot", "waiting");
    let trusted = kind().isolation == crate::script::Isolation::Thread;
    let approve = |live: &Live, needs: &[&str]| {
        let needs = needs.iter().map(|need| (*need).to_owned()).collect();
        let approval = ScriptApproval { needs, revoke: false, trusted };
        let bot = live.wait(live.host.approve("bot".into(), approval)).unwrap();
        assert_eq!((bot.state.as_str(), bot.missing.len(), bot.problem), ("running", 0, None));
        live.running("bot");
        bot.denied
    };
    let denied = |live: &Live| {
        let error = live.ask(EVE, None, "?");
        assert!(error.contains("no permission \"send\": the admin didn't grant it"), "{error}");
    };
    assert_eq!(approve(&live, &["peers"]), ["send"]);
    denied(&live);
    live.stop();
    let live = Live::with_node(config(dir.path()), store, Arc::clone(&live.node));
    live.running("bot");
    denied(&live);
    assert!(approve(&live, &[]).is_empty());
    assert_eq!(live.ask(EVE, None, "?"), "sent");
    assert_eq!(approve(&live, &["peers"]), ["send"]);
    denied(&live);
    // What nobody has decided on still waits, and the version before goes on with what it has.
    write(dir.path(), "bot/bot.toml", "needs = [\"direct\", \"reply\", \"send\", \"routes\"]");
    let bot = live.reload(Some("bot")).unwrap().remove(0);
    assert_eq!((bot.state.as_str(), bot.missing, bot.denied), ("running", vec!["routes".into()], vec!["send".into()]));
    denied(&live);
    live.stop();
}

#[test]
fn the_log_says_that_a_version_was_loaded() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot/bot.toml", "version = \"2.1\"");
    write(dir.path(), "bot/init.lua", "-- nothing");
    write(dir.path(), "plain.lua", "-- nothing");
    let live = Live::of(dir.path());
    live.running("bot");
    live.running("plain");
    live.again("bot");
    let lines = |bot: &str| {
        let page = live.wait(live.host.logs(ScriptLogQuery { bot: Some(bot.into()), ..ScriptLogQuery::default() }));
        page.lines.into_iter().map(|line| format!("{} {}", line.level, line.text)).collect::<Vec<_>>()
    };
    assert_eq!(lines("bot"), ["info loaded, version 2.1"; 2]);
    assert_eq!(lines("plain"), ["info loaded"]);
    live.stop();
}

#[test]
fn a_bot_whose_command_another_one_answers_says_so_in_its_log_whichever_came_first() {
    let dir = tempfile::tempdir().unwrap();
    let text = "mesh.command('list', function() return 'x' end) mesh.command(NAME, function() return 'x' end)";
    write(dir.path(), "second.lua", &text.replace("NAME", "'two'"));
    let live = Live::of(dir.path());
    live.running("second");
    write(dir.path(), "first.lua", &text.replace("NAME", "'one'"));
    live.reload(None).unwrap();
    live.again("second");
    live.again("first");
    let warned = |bot: &str| {
        let page = live.wait(live.host.logs(ScriptLogQuery { bot: Some(bot.into()), ..ScriptLogQuery::default() }));
        let warnings = page.lines.into_iter().filter(|line| line.level == "warn").map(|line| line.text);
        warnings.collect::<Vec<_>>()
    };
    assert!(warned("first").is_empty(), "{:?}", warned("first"));
    let told = warned("second");
    assert!(told.len() >= 2 && told.iter().all(|line| line.starts_with("the bot first has !list too")), "{told:?}");
    live.stop();
}

#[test]
fn the_log_names_bot_event_and_line_and_an_errors_calls() {
    let dir = tempfile::tempdir().unwrap();
    let text = "local function inner() error('broken') end\n\
                mesh.command('fail', function() inner() end)\n\
                mesh.command('say', function() mesh.log.warn('well', 1) end)";
    write(dir.path(), "bot.lua", text);
    let live = Live::of(dir.path());
    live.running("bot");
    live.tell(EVE, None, "!say");
    live.tell(EVE, None, "!fail");
    live.until(|live| live.bot("bot").is_some_and(|bot| bot.errors == 1));
    let page = live.wait(live.host.logs(ScriptLogQuery { bot: Some("bot".into()), ..ScriptLogQuery::default() }));
    let [_, said, failed] = &page.lines[..] else { panic!("{page:?}") };
    assert_eq!((said.text.as_str(), said.level.as_str()), ("well 1", "warn"));
    assert_eq!((said.event.as_deref(), said.place.as_deref()), (Some("!say"), Some("bot.lua:3")));
    assert_eq!((failed.text.as_str(), failed.event.as_deref()), ("broken", Some("!fail")));
    assert_eq!(failed.place.as_deref(), Some("bot.lua:1"));
    let calls: Vec<&str> = failed.traceback.as_deref().unwrap().lines().collect();
    assert!(calls[0].starts_with("bot.lua:1") && calls[1].starts_with("bot.lua:2"), "{calls:?}");
    live.stop();
}

#[test]
fn an_admin_looks_into_a_running_bot_and_changes_nothing_unless_asked() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("lib")).unwrap();
    write(&dir.path().join("lib"), "words.lua", "return { x = 1, deep = { y = {} } }");
    let text = "mesh.state.count = 41 mesh.store:set('a', { 1, 'x' }) counter = 7\n\
                mesh.state.list = { { 1 } } mesh.state.list.loop = mesh.state.list kept = { {} }\n\
                mesh.state.frozen = table.freeze({ { 1 } }) require('lib/words')";
    write(dir.path(), "bot.lua", text);
    let live = Live::of(dir.path());
    live.running("bot");
    let run = |code: &str, write| {
        let eval = ScriptEval { bot: "bot".to_owned(), code: code.to_owned(), write };
        live.wait(live.host.eval(eval)).unwrap()
    };
    assert_eq!(run("mesh.state.count + 1", false).result, "42");
    assert_eq!(run("mesh.store:get('a')", false).result, "{ 1, \"x\" }");
    assert_eq!(run("local t = {} for i = 1, 3 do t[i] = i end return t", false).result, "{ 1, 2, 3 }");
    let changes = [
        "mesh.store:set('a', 1)",
        "mesh.state.count = 1",
        "mesh.state.list[1] = 5",
        "mesh.state.list[1][1] = 5",
        "mesh.state.frozen[1][1] = 5",
        "table.insert(mesh.state.list, 5)",
        "require('lib/words').x = 2",
        "require('lib/words').deep.y.z = 2",
        "kept[1].x = 1",
        "counter = 1",
        "mesh.broadcast('x', 'y')",
    ];
    for change in changes {
        let error = run(change, false).error.unwrap();
        assert!(error.contains("read-only") || error.contains("readonly"), "{change}: {error}");
    }
    assert_eq!(run("mesh.state.count", false).result, "41");
    assert_eq!(run("mesh.state.count = 1", true).error, None);
    assert_eq!(run("mesh.state.count", false).result, "1");
    assert_eq!(run("mesh.state.list[1][1] = 5 require('lib/words').deep.y = 6", true).error, None);
    assert!(run("mesh.state.frozen[2] = 5", true).error.is_some());
    assert_eq!(run("{ mesh.state.list[1][1], require('lib/words').deep.y }", false).result, "{ 5, 6 }");
    assert_eq!(
        run("mesh.state.none, nil, 'x', { a = tostring ~= nil }", false).result,
        "nil, nil, \"x\", { a = true }"
    );
    assert_eq!(run("pcall(error, 'x')", false).result, "false, \"x\"");
    let failed = run("mesh.seconds('soon')", false).result;
    assert!(failed.starts_with("nil, { code = \"bad-duration\", message = "), "{failed}");
    assert_eq!(run("mesh.log.info('x')", false).result, "");
    let many = run("table.unpack(table.create(3000, ('x'):rep(100)))", false).result;
    assert!(many.len() < 17 << 10 && many.ends_with('…'), "{} bytes", many.len());
    assert!(run("while true do end", false).error.unwrap().contains("CPU"));
    assert!(run("1 +", false).error.unwrap().contains("repl:1"));
    let nobody = ScriptEval { bot: "bott".to_owned(), ..ScriptEval::default() };
    let error = live.wait(live.host.eval(nobody)).unwrap_err();
    assert!(error.code == "unknown-bot" && error.message.contains("'bot'"), "{error}");
    live.stop();
}

#[test]
fn typed_code_runs_nothing_of_the_bots_beyond_its_budget_and_its_rights() {
    let dir = tempfile::tempdir().unwrap();
    let text = "endless = setmetatable({}, { __index = function() while true do end end })\n\
                writes = setmetatable({}, { __index = function(_, key)\n\
                  pcall(mesh.store.set, mesh.store, 'written', 1) return 'x'\n\
                end })";
    write(dir.path(), "bot.lua", text);
    let live = Live::of(dir.path());
    live.running("bot");
    let run = |code: &str| {
        let eval = ScriptEval { bot: "bot".to_owned(), code: code.to_owned(), write: false };
        live.wait(live.host.eval(eval)).unwrap()
    };
    assert_eq!(run("writes.limit").result, "\"x\"");
    assert_eq!(run("writes.limit.len").error, None);
    assert_eq!(run("mesh.store:get('written')").result, "nil");
    assert!(run("endless.limit").error.unwrap().contains("CPU"));
    assert!(run("local x = endless.limit").error.unwrap().contains("CPU"));
    let bot = live.bot("bot").unwrap();
    assert_eq!((bot.state.as_str(), bot.loads), ("running", 1));
    live.stop();
}
