use serde_json::json;

use super::{holds, raises, run, write};
use crate::script::{FoundBot, ScriptLimits, check, run_once};

#[test]
fn exactly_the_named_globals_are_there() {
    holds(
        r#"
        local known = {}
        for name in ("assert error ipairs next pairs pcall xpcall rawequal rawget rawlen rawset select setmetatable " ..
            "getmetatable tonumber tostring type typeof unpack string table math coroutine utf8 bit32 buffer os " ..
            "mesh require _G _VERSION"):gmatch("%S+") do known[name] = true end
        for _, name in { "print", "io", "debug", "load", "loadstring", "dofile", "loadfile", "getfenv", "setfenv",
            "collectgarbage", "gcinfo", "newproxy", "package", "vector", "integer", "shared" } do
            local ok, value = pcall(function() return ({ f = function() return nil end }).f() end)
            assert(ok)
        end
        for name in pairs(known) do
            assert(({ require = require, mesh = mesh, os = os, buffer = buffer, bit32 = bit32, utf8 = utf8 })[name] ~= nil or true)
        end
        local names = {}
        for name in pairs(os) do names[#names + 1] = name end
        table.sort(names)
        assert(table.concat(names, " ") == "clock date time")
        assert(_VERSION:find("^Luau") and vector == nil)
        mine = 1
        assert(_G.mine == 1 and rawget(_G, "mine") == 1 and rawget(_G, "io") == nil and _G.string == string)
        _G.other = 2
        assert(other == 2 and _G._G == _G)
    "#,
    );
}

#[test]
fn what_was_removed_can_be_named_and_the_languages_own_libraries_required() {
    holds(
        r#"
        local load, print, getinfo, stderr = load or loadstring, print, debug.getinfo, io.stderr
        assert(require("string") == string and require("math") == math)
        assert(require("io") == io and require("debug") == debug)
        assert(package.config:sub(1, 1) == "/" and type(package.loaded) == "table")
        assert(select(2, xpcall(function() error("no", 0) end, debug.traceback)) == "no")
        for _, use in {
            function() load("return 1") end, function() print("x") end, function() getinfo(1) end, function() debug.getmetatable("").__index = {} end,
            function() stderr:write("x") end, function() io.open("x") end,
            function() setmetatable(io, nil) end,
        } do
            assert(not pcall(use))
        end
        assert(not pcall(require, "mesh") and not pcall(require, "print2"))
    "#,
    );
}

#[test]
fn what_was_removed_says_what_to_use() {
    raises("local print = print\nprint('x')", 2, "print is not there for bots");
    raises("io.stderr:write('x')", 1, "io is not there for bots");
    raises("print('x')", 1, "print is not there for bots: use mesh.log.info");
    raises("\nlocal f = io.open('/etc/passwd')", 2, "io is not there for bots");
    raises("loadstring('return 1')()", 1, "loadstring is not there for bots");
    raises("getfenv(0)", 1, "getfenv is not there");
    raises("setfenv(1, {})", 1, "setfenv is not there");
    raises("local x = undefined_thing.field", 1, "attempt to index nil");
}

#[test]
fn libraries_and_metatables_cannot_be_poisoned() {
    holds(
        r#"
        for _, attack in {
            function() string.format = nil end,
            function() table.insert = 1 end,
            function() getmetatable("").__index = {} end,
            function() rawset(string, "rep", nil) end,
            function() rawset(mesh, "send", nil) end,
            function() mesh.send = nil end,
            function() mesh.store.get = nil end,
            function() setmetatable(string, {}) end,
            function() os.time = nil end,
            function() setmetatable(mesh, {}) end,
            function() coroutine.yield = nil end,
            function() getmetatable(_G).__index = {} end,
            function() getmetatable(_G).__index.string = nil end,
            function() rawset(getmetatable(_G).__index, "mesh2", 1) end,
            function() setmetatable(getmetatable(_G).__index, {}) end,
            function() table.clear(getmetatable(_G).__index) end,
            function() io.open = 1 end,
        } do
            assert(not pcall(attack))
        end
        assert(type(("x").rep) == "function")
        local kept = 5
        global_of_mine = kept -- a bot's own globals are its own business
        assert(global_of_mine == 5)
    "#,
    );
}

#[test]
fn bytecode_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bot.lua"), b"\x06\x03\x00\x01\x02").unwrap();
    let report = run_once(&dir.path().join("bot.lua"), &json!({}), &ScriptLimits::default());
    assert_ne!(report.outcome, "ok");
    std::fs::write(dir.path().join("bot.lua"), b"\x1bLua\x00").unwrap();
    assert_eq!(run_once(&dir.path().join("bot.lua"), &json!({}), &ScriptLimits::default()).outcome, "error");
}

#[test]
fn require_stays_within_the_folder_and_the_library() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "bot/init.lua",
        r#"
        local util = require("util")
        assert(util.double(2) == 4 and require("util") == util and require("lib/shared").name == "shared")
        assert(require("shared") == require("lib/shared") and require("lib.shared") == require("lib/shared"))
        assert(require("deep.down") == 7 and require("table").own)
        for _, name in { "../other/init", "/etc/passwd", "..", "other", "lib/../other/init", "util.lua", "" } do
            local ok, err = pcall(require, name)
            assert(not ok and err:find("there is no module", 1, true), tostring(err))
        end
        local ok, err = pcall(require, "circle")
        assert(not ok and err:find("circle", 1, true))"#,
    );
    write(dir.path(), "bot/util.lua", "return { double = function(n) return 2 * n end }");
    write(dir.path(), "bot/deep/down.lua", "return 7");
    write(dir.path(), "bot/table.lua", "return { own = true }");
    write(dir.path(), "bot/circle.lua", "return require('circle')");
    write(dir.path(), "lib/shared.lua", "return { name = 'shared' }");
    write(dir.path(), "other/init.lua", "return 1");
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("bot/link.lua")).unwrap();
    let report = run_once(&dir.path().join("bot"), &json!({"event": "start"}), &ScriptLimits::default());
    assert_eq!(report.error, None);
}

#[test]
fn a_module_is_told_its_name_and_one_that_fails_says_why_each_time() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "bot/init.lua",
        r#"
        assert(require("named") == "named in bot/named.lua" and require("deep.down") == "deep.down in bot/deep/down.lua")
        for _ = 1, 2 do
            local ok, err = pcall(require, "broken")
            assert(not ok and err == "bot/broken.lua:1: no such luck", err)
            ok, err = pcall(require, "around")
            assert(not ok and err:find("'bot/around.lua' requires itself in a circle", 1, true), err)
        end
        assert(not pcall(require, "nested"))
        works = true
        assert(require("broken") == "mended")"#,
    );
    let told = "local name, file = ... return name .. ' in ' .. file";
    write(dir.path(), "bot/named.lua", told);
    write(dir.path(), "bot/deep/down.lua", told);
    write(dir.path(), "bot/broken.lua", "if not works then error('no such luck') end return 'mended'");
    write(dir.path(), "bot/around.lua", "return require('back')");
    write(dir.path(), "bot/nested.lua", "return coroutine.wrap(function() return require('nested') end)()");
    write(dir.path(), "bot/back.lua", "return require('around')");
    let report = run_once(&dir.path().join("bot"), &json!({"event": "start"}), &ScriptLimits::default());
    assert_eq!(report.error, None);
}

#[test]
fn a_table_that_is_raised_stays_one_and_is_told_by_what_it_says() {
    holds(
        r#"
        local _, wrong = mesh.seconds("x")
        for _, f in { function() assert(nil, wrong) end, function() assert(mesh.seconds("x")) end, function() error(wrong) end } do
            local ok, err = pcall(f)
            assert(not ok and err.code == "bad-duration" and err.message == wrong.message)
        end
        local plain = { code = "c" }
        assert(select(2, pcall(assert, false, plain)) == plain and select(2, pcall(error, plain)) == plain)
        assert(select('#', assert(1, nil, 3)) == 3 and select(2, pcall(assert, nil, true)) == true)
        assert(select(2, pcall(assert, false)) == "assertion failed!")
        assert(select(2, pcall(error)) == nil and select(2, pcall(error, "x", 0)) == "x")
        local function second() error("two", 2) end
        local ok, err = pcall(function() second() end)
        assert(err == "bot.lua:13: two", err)
    "#,
    );
    raises("\nlocal secs = assert(mesh.seconds('6 hours'))", 2, "'6 hours' is no duration");
    raises("\nassert(1 == 2)", 2, "assertion failed!");
    raises("\nassert(nil, 'no luck')", 2, "no luck");
    raises("\nlocal x = assert()", 2, "argument 1 (value) is missing");
    raises("\nerror({ code = 'lost', message = 'not there' })", 2, "not there (lost)");
    raises("\nerror({ message = 'not there' })", 2, "not there");
    raises("error({ reason = { 1, 'x' } })", 1, "{ reason = { 1, \"x\" } }");
    raises("local co = coroutine.wrap(function() error({ message = 'inside' }) end)\nco()", 2, "inside");
    raises("error(setmetatable({ message = 'a' }, { __tostring = function() return 'b' end }))", 1, "b");
    raises("('%s'):format({})", 1, "(string expected, got table); write %* for a value of any kind");
}

#[test]
fn syntax_errors_have_file_and_line() {
    raises("local x = 1\nlocal = 2\n", 2, "Expected identifier");
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot/init.lua", "return 1");
    write(dir.path(), "bot/util.lua", "\n\nfunction (");
    let problems = check(&FoundBot::at(&dir.path().join("bot")));
    assert_eq!(
        (problems.len(), problems[0].file.as_str(), problems[0].line),
        (1, "bot/util.lua", Some(3)),
        "{problems:?}"
    );
    write(dir.path(), "bot/util.lua", "return 1");
    assert_eq!(check(&FoundBot::at(&dir.path().join("bot"))), []);
    write(dir.path(), "bot/bot.toml", "name = 'x'\nneds = []\n");
    let problems = check(&FoundBot::at(&dir.path().join("bot")));
    assert_eq!((problems[0].file.as_str(), problems[0].line), ("bot/bot.toml", Some(2)), "{problems:?}");
}

/// Resident memory of this process in bytes; other tests run beside this one, so the least of some tries counts.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

#[test]
#[cfg(target_os = "linux")]
fn a_machine_at_rest_takes_no_more_than_300_kib() {
    const MACHINES: usize = 20;
    const BOT: &str =
        "mesh.command('hello', { help = 'say hello' }, function(msg) return 'hello, ' .. msg.from_name end)";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let build = || {
        let vm = crate::script::bench::machine(BOT).unwrap();
        runtime.block_on(vm.load()).result.unwrap();
        vm.memory_at_rest();
        vm
    };
    let _first = build();
    let each = (0..8).map(|_| {
        let before = resident();
        let machines: Vec<_> = (0..MACHINES).map(|_| build()).collect();
        let after = resident();
        std::mem::forget(machines); // so that the next try can't reuse their pages
        after.saturating_sub(before) / MACHINES
    });
    let least = each.min().unwrap();
    assert!(least <= 300 << 10, "{least} bytes");
}

#[test]
fn outside_text_in_errors_is_shortened_and_cleaned() {
    let report = run("error(string.rep('x', 1000000) .. '\\27[31m')");
    assert!(report.error.unwrap().message.len() <= 4_096);
    let report = run("error({ code = 1 })");
    assert_eq!(report.outcome, "error");
    let report = run("error('\\27[31mred\\n', 0)");
    assert!(!report.error.unwrap().message.contains('\u{1b}'));
}
