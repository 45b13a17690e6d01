//! Scripts that mean harm. Each is stopped within its budget, and the host lives on.

use std::time::{Duration, Instant};

use super::{limits, run};
use crate::script::RunReport;
use crate::script::limits::MEMORY_BYTES;

/// Wall time within which a run must end: the budgets and a good deal for a crowded test machine.
const WITHIN: Duration = Duration::from_secs(4);
/// CPU time allowed beyond the budget: the longest stretch inside C that nothing interrupts, in a debug build.
const SLACK_MS: f64 = 150.0;

/// Runs the code in a handler.
#[track_caller]
fn attack(code: &str) -> RunReport {
    let started = Instant::now();
    let report = run(&format!("mesh.on_envelope(function(msg)\n{code}\nend)"));
    let took = started.elapsed();
    assert!(took < WITHIN, "{took:?} for {code}");
    let budget = (limits().cpu_at_load_ms + limits().cpu_per_event_ms) as f64;
    assert!(report.cpu_ms < budget + SLACK_MS, "{} ms for {code}", report.cpu_ms);
    assert!(report.memory_bytes <= MEMORY_BYTES as u64, "{} bytes for {code}", report.memory_bytes);
    report
}

#[track_caller]
fn stopped(code: &str) {
    let report = attack(code);
    assert_eq!(report.outcome, "cpu-limit", "{code}: {report:?}");
    let told = format!("stopped after {} ms of CPU time, the budget", limits().cpu_per_event_ms);
    assert_eq!(report.error.map(|error| error.message), Some(told), "{code}");
}

/// Ends one way or another, within the limits.
#[track_caller]
fn contained(code: &str) -> String {
    let report = attack(code);
    assert!(["ok", "error", "cpu-limit", "memory-limit"].contains(&report.outcome.as_str()), "{code}: {report:?}");
    report.outcome
}

#[test]
fn endless_loops_are_stopped_wherever_they_hide() {
    stopped("while true do end");
    stopped("while true do pcall(function() while true do end end) end");
    stopped("while true do pcall(error, 'x') end");
    stopped("xpcall(function() error('x') end, function() while true do end end)");
    stopped("xpcall(function() while true do end end, function() while true do end end)");
    stopped("local function f() return pcall(f) end while true do f() end");
    stopped("repeat local co = coroutine.wrap(function() while true do end end) pcall(co) until false");
    stopped("coroutine.wrap(function() while true do coroutine.yield() end end)() while true do end");
    stopped("local t = setmetatable({}, { __tostring = function() while true do end end }) tostring(t)");
    stopped("local t = setmetatable({}, { __index = function() while true do end end }) return t.x");
    stopped(
        "local t = setmetatable({}, { __eq = function() while true do end end }) return t == setmetatable({}, getmetatable(t))",
    );
    stopped("local t = setmetatable({}, { __concat = function() while true do end end }) return t .. 'x'");
    stopped("local t = setmetatable({}, { __iter = function() return function() return 1 end end }) for _ in t do end");
    stopped("local t = {} for i = 1, 1000 do t[i] = i end table.sort(t, function() while true do end end)");
    stopped("for i = 1, 1e15 do end");
    stopped("local function f(n) if n > 0 then f(n - 1) f(n - 1) end end f(60)");
    stopped("local s = ('x'):rep(10) while true do s:gsub('x', function() return 'y' end) end");
    stopped("while true do coroutine.wrap(function() end)() end");
    stopped("while true do mesh.now() end");
    stopped("while true do mesh.log.info('spam') end");
    stopped("while true do pcall(mesh.store.set, mesh.store, 'k', { 1 }) end");
    // Stopped some milliseconds late, since nothing interrupts a search.
    stopped("local t = table.create(5e5, 1) while true do table.find(t, 2) end");
}

#[test]
fn a_stopped_loop_is_named_with_its_line() {
    let line = |code: &str| attack(code).error.and_then(|error| Some((error.file?, error.line?)));
    // The handler's first line is the second of the file.
    assert_eq!(line("local n = 0\n\nwhile true do n = n + 1 end"), Some(("bot.lua".to_owned(), 4)));
    assert_eq!(line("\nlocal function spin() while true do end end\nspin()"), Some(("bot.lua".to_owned(), 3)));
    assert_eq!(line("\n\nreturn (('a'):rep(30000)):find(('a*'):rep(30) .. 'b')"), Some(("bot.lua".to_owned(), 4)));
    assert_eq!(line("\n\nwhile true do pcall(function() while true do end end) end"), Some(("bot.lua".to_owned(), 4)));
    assert_eq!(line("coroutine.wrap(function()\nwhile true do end end)()"), Some(("bot.lua".to_owned(), 3)));
}

#[test]
fn handlers_that_only_yield_or_wait_end_too() {
    stopped("while true do coroutine.yield() end");
    let report = attack("while true do mesh.json.encode({}) end");
    assert_eq!(report.outcome, "cpu-limit");
}

#[test]
fn patterns_cannot_explode() {
    stopped("return (('a'):rep(30000)):find(('a*'):rep(30) .. 'b')");
    stopped("return (('a'):rep(200000)):match('.-.-.-.-b')");
    contained("return (('a'):rep(1000000)):find(('a'):rep(500000) .. 'b', 1, true)");
    contained("return (('a'):rep(1000000)):find('[' .. ('b'):rep(100000) .. ']*c')");
    contained("return (('x'):rep(1000000)):gsub('', ('y'):rep(1000))");
    contained("return #(('a'):rep(4000000)):split('a')");
    contained("return (('('):rep(300000)):find(('('):rep(300))");
    contained("return (('a'):rep(100000)):find('%b' .. 'ab')");
}

#[test]
fn what_the_host_reads_of_a_table_is_bounded() {
    let wide = "local t = {} t[1] = t for i = 1, 500 do t[('\\1'):rep(990) .. i] = 1 end";
    assert_eq!(contained(&format!("{wide} error(t)")), "error");
    contained(&format!("{wide} mesh.log.info(t)"));
    contained("error({ message = ('x'):rep(5e6) })");
    let roomy = "local big = table.create(4e5) local many = table.create(2000, big)";
    contained(&format!("{roomy} return mesh.json.encode(many)"));
    contained(&format!("{roomy} mesh.store:set('k', many)"));
    contained(&format!("{roomy} mesh.log.info(many)"));
    contained(&format!("{roomy} error(many)"));
    contained("pcall(require, ('\\255'):rep(5e6))");
}

#[test]
fn memory_bombs_hit_the_limit_and_nothing_else() {
    assert_eq!(contained("return ('x'):rep(1e9)"), "memory-limit");
    assert_eq!(contained("local s = 'x' while true do s = s .. s end"), "memory-limit");
    assert_ne!(contained("local t = {} while true do t[#t + 1] = {} end"), "ok");
    assert_ne!(contained("local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end"), "ok");
    assert_ne!(contained("return table.create(2^26, 1)"), "ok");
    assert_ne!(contained("return buffer.create(2^29)"), "ok");
    assert_ne!(contained("local t = {} for i = 1, 20 do t[i] = ('x'):rep(1e6) end return table.concat(t)"), "ok");
    contained("return string.format(('%99s'):rep(1000), 'x')");
    contained("return string.format('%s', ('x'):rep(1e7))");
    contained("return (('x'):rep(1e6)):gsub('x', ('y'):rep(1e4))");
    contained("while true do pcall(function() local s = 'x' while true do s = s .. s end end) end");
    contained("return utf8.char(table.unpack(table.create(7000, 1000)))");
    contained("return table.unpack({}, 1, 1e8)");
    contained("return select('#', table.unpack(table.create(1e6, 1)))");
    contained("return table.concat({}, 'x', 1, 2^31)");
}

#[test]
fn huge_ranges_of_tables_are_bounded() {
    contained("table.move({}, 1, 2^30, 2)");
    contained("table.move({}, 1, 2^20 - 1, 2) table.move({}, -2^31, 2^31, 1)");
    contained("local t = {} for i = 1, 2000 do t[i] = ('x'):rep(5000) .. i end while true do table.sort(t) end");
    contained("local t = {} for i = 1, 1e5 do t[i] = 'x' end while true do table.insert(t, 1, 1) end");
    contained("local t = table.create(1e5, 1) while #t > 0 do table.remove(t, 1) end");
    contained("local t = {} t[2^52] = 1 return #t, next(t)");
    contained("table.sort({ 3, 2, 1 }, function() return true end)");
    contained("table.sort({ 3, 'x', {} })");
    contained("table.clone(table.create(5e5, 1)) while true do table.clone(table.create(1e4, 1)) end");
    contained("table.clear(setmetatable({}, { __metatable = 1 }))");
}

#[test]
fn deep_recursion_is_an_error_of_the_script() {
    contained("local function f() return 1 + f() end return f()");
    contained("local function f(n) return pcall(f) end return f()");
    contained("local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k] end return t.x");
    contained("local a = {} for i = 1, 1e5 do a = setmetatable({}, { __index = a }) end return a.x");
    contained("local t = {} for i = 1, 1e5 do t = { t } end mesh.store:set('k', t)");
    contained("local t = {} t.t = t return mesh.json.encode(t)");
    contained("local t = {} t.t = t mesh.state.t = t");
    contained("local function f() return coroutine.wrap(f)() end return f()");
    contained("local s = {} for i = 1, 1e5 do s[i] = '[' end return mesh.json.decode(table.concat(s))");
}

#[test]
fn coroutine_and_timer_bombs_are_refused() {
    let report = attack(
        "for i = 1, 200 do coroutine.resume(coroutine.create(function() keep = coroutine.running() coroutine.yield() end)) end",
    );
    assert!(["ok", "error"].contains(&report.outcome.as_str()), "{report:?}");
    let report = attack("local all = {} for i = 1, 200 do all[i] = coroutine.create(function() end) end");
    assert!(report.error.unwrap().message.contains("100 coroutines are alive already"));
    let report = attack("while true do mesh.after('1h', function() end) end");
    assert!(report.error.unwrap().message.contains("32 timers"));
    let report = attack("while true do mesh.on_envelope(function() end) end");
    assert!(report.error.unwrap().message.contains("at most 256"));
}

#[test]
fn messages_storage_and_log_without_end_stay_within_the_quota() {
    let report = attack("for i = 1, 1000 do msg:reply('spam ' .. i) end");
    assert_eq!(report.outputs.len(), 10);
    let report = attack("for i = 1, 1000 do mesh.log.info('spam ' .. i) end");
    assert!(report.log.len() <= 21, "{}", report.log.len());
    contained("for i = 1, 1e5 do mesh.store:set('k' .. i, ('x'):rep(1000)) end");
    let report = attack("msg:reply(('x'):rep(70000))");
    assert!(report.error.unwrap().message.contains("at most 60000"));
}

#[test]
fn no_call_works_long_on_a_long_text() {
    let short = |code: &str| assert_eq!(attack(code).error, None, "{code}");
    short("assert(select(2, mesh.base64.decode(('/'):rep(14e6))).code == 'too-large')");
    short("assert(not pcall(mesh.sleep, ('9'):rep(14e6)))");
    short("assert(not pcall(mesh.store.set, mesh.store, 'k', 1, { ttl = ('9'):rep(14e6) }))");
    short("assert(not pcall(mesh.at, '0:' .. ('*/1,'):rep(16e5) .. '1', tostring))");
    short("assert(not pcall(mesh.board, ('é'):rep(7e6)))");
    short("local long = ('\\128'):rep(14e6) assert(#mesh.text.truncate(long, 1e6) == 1e6)");
    short("for _ in mesh.store:each(('k'):rep(14e6)) do end");
    short("local long = ('n'):rep(14e6) assert(mesh[long] == nil and not pcall(mesh.on, long, tostring))");
}

#[test]
fn error_values_of_any_kind_are_survived() {
    for value in [
        "{}",
        "('x'):rep(1e7)",
        "nil",
        "setmetatable({}, { __tostring = function() while true do end end })",
        "function() end",
        "buffer.create(10)",
        "coroutine.create(function() end)",
        "0/0",
    ] {
        assert_ne!(contained(&format!("error({value})")), "ok", "{value}");
    }
    assert_ne!(contained("local ok, e = pcall(mesh.on, {}) error(e)"), "ok");
    assert_ne!(contained("error(select(2, mesh.json.decode('{')))"), "ok");
}

#[test]
fn loading_has_its_own_budget() {
    let started = Instant::now();
    let report = run("while true do end");
    assert_eq!(report.outcome, "cpu-limit");
    assert!(report.cpu_ms < 250.0 + SLACK_MS && started.elapsed() < WITHIN);
    let deep = format!("return {}1{}", "(".repeat(50_000), ")".repeat(50_000));
    assert_eq!(run(&deep).outcome, "error");
    let long = format!("local t = {{ {} }}", "{},".repeat(60_000));
    assert!(["ok", "error", "memory-limit"].contains(&run(&long).outcome.as_str()));
}

#[test]
fn the_hosts_markers_cannot_be_forged_into_harm() {
    contained("local t = mesh.every('1h', function() end) t.id = -1 t:cancel() t.id = {} t:cancel()");
    contained("local m = { reply = msg.reply } m:reply('x')");
    contained("msg.reply(nil, 'x')");
    contained("getmetatable(msg).__index = nil");
    contained("mesh.store.get({}, 'k')");
    contained("for _, f in { msg.reply, mesh.sleep, mesh.broadcast } do pcall(coroutine.wrap(f)) end");
    contained("local co = coroutine.running() pcall(coroutine.close, co) pcall(coroutine.resume, co)");
    contained("local co = coroutine.create(mesh.sleep) coroutine.resume(co, 0.01) pcall(coroutine.close, co)");
}
