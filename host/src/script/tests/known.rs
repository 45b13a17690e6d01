//! Well-known libraries in pure Lua, as Debian ships them, run through `require` as they are: from the bot's own folder, and
//! from the shared one. `make test-tools` installs them; where one is missing, its test says so and passes.

use std::io::Write;
use std::path::Path;

use super::write;
use crate::script::{ScriptLimits, run_once};

/// Where Debian's packages put modules that run in each version of Lua.
const INSTALLED: &str = "/usr/share/lua/5.1";
const SAY: &str = "local function say(...)
    local words = {}
    for i = 1, select('#', ...) do words[i] = tostring((select(i, ...))) end
    mesh.log.info(table.concat(words, ' '))
end";

/// The modules that a text requires.
fn required(text: &str) -> impl Iterator<Item = &str> {
    text.split("require").skip(1).filter_map(|rest| {
        let name = rest.trim_start_matches([' ', '(']).strip_prefix(['"', '\''])?;
        name.split(['"', '\'']).next()
    })
}

/// Copies a module with those that it requires; not what isn't installed, of which a library may make use where it is.
fn copy(module: &str, to: &Path) {
    let name = module.replace('.', "/");
    let place = to.join(format!("{name}.lua"));
    let Ok(text) = std::fs::read(Path::new(INSTALLED).join(format!("{name}.lua"))) else { return };
    if !place.exists() {
        let text = String::from_utf8_lossy(&text).into_owned();
        write(to, &format!("{name}.lua"), &text);
        required(&text).for_each(|other| copy(other, to));
    }
}

/// A bot that is given the libraries which its code requires says this.
#[track_caller]
fn says(code: &str, expected: &[&str]) {
    let missing =
        required(code).find(|module| !Path::new(INSTALLED).join(format!("{}.lua", module.replace('.', "/"))).exists());
    if let Some(module) = missing {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("test");
        _ = writeln!(
            std::io::stderr(),
            "SKIPPED {test}: {module} is not in {INSTALLED}; `make test-tools` installs it"
        );
        return;
    }
    for place in ["bot", "lib"] {
        let dir = tempfile::tempdir().unwrap();
        required(code).for_each(|module| copy(module, &dir.path().join(place)));
        write(dir.path(), "bot/init.lua", &format!("{SAY}\nmesh.on('start', function()\n{code}\nend)"));
        let start = serde_json::json!({ "event": "start" });
        let report = run_once(&dir.path().join("bot"), &start, &ScriptLimits::default());
        assert_eq!(
            (report.error, report.log),
            (None, expected.iter().map(|line| (*line).to_owned()).collect()),
            "{place}"
        );
    }
}

#[test]
fn dkjson_runs_unmodified() {
    says(
        r#"
        local json = require("dkjson")
        local text = json.encode({ name = "mesh", list = { 1, 2, { deep = true } }, none = json.null }, { keyorder = { "name", "list", "none" } })
        say(text)
        local back, at, err = json.decode(text)
        say(back.list[3].deep, back.none == nil, err)
        say(json.decode("[1, 2"))
        say(json.encode({ 1, 2 }, { indent = true }):gsub("%s+", ""))
    "#,
        &[
            r#"{"name":"mesh","list":[1,2,{"deep":true}],"none":null}"#,
            "true true nil",
            "nil 6 unterminated array at line 1, column 1",
            "[1,2] 0",
        ],
    );
}

#[test]
fn inspect_runs_unmodified() {
    says(
        r#"
        local inspect = require("inspect")
        local t = { 1, "two", name = "x" } t.self = t
        say((inspect(t):gsub("%s+", " ")))
        say(inspect({ a = { b = { c = {} } } }, { depth = 2, newline = "", indent = "" }))
    "#,
        &[r#"<1>{ 1, "two", name = "x", self = <table 1> }"#, "{a = {b = {...}}}"],
    );
}

#[test]
fn basexx_runs_unmodified() {
    says(
        r#"
        local basexx = require("basexx")
        say(basexx.to_base64("quicproquo"), basexx.from_base64("cXVpY3Byb3F1bw=="), basexx.to_hex("mesh"), basexx.to_base32("mesh"), basexx.from_crockford(basexx.to_crockford("mesh")))
        say(basexx.from_base64("*"))
    "#,
        &["cXVpY3Byb3F1bw== quicproquo 6D657368 NVSXG2A= mesh", "nil *"],
    );
}

#[test]
fn binaryheap_runs_unmodified() {
    says(
        r#"
        local heap = require("binaryheap").minUnique()
        for name, due in pairs { tea = 3, bread = 9, bus = 1 } do heap:insert(due, name) end
        heap:update("bread", 2)
        say(heap:peek())
        say(heap:pop(), heap:pop(), heap:pop(), heap:pop())
    "#,
        &["bus 1", "bus bread tea"],
    );
}

#[test]
fn fifo_runs_unmodified() {
    says(
        r#"
        local queue = require("fifo")("a", "b")
        queue:push("c")
        say(queue:pop(), queue:length(), queue:peek(2))
        queue:setempty(function() return "empty" end)
        say(queue:pop(), queue:pop(), queue:pop())
    "#,
        &["a 2 c true", "b c empty"],
    );
}

#[test]
fn messagepack_runs_unmodified() {
    says(
        r#"
        local mp = require("MessagePack")
        local bytes = mp.pack { 1, -2, 300, "mesh", true, { a = 1.5 } }
        local back = mp.unpack(bytes)
        say(#bytes, back[1], back[2], back[3], back[4], back[5], back[6].a)
        local items = {}
        for _, value in mp.unpacker(mp.pack("x") .. mp.pack(7)) do items[#items + 1] = value end
        say(items[1], items[2], (pcall(mp.unpack, "\xc1")))
    "#,
        &["24 1 -2 300 mesh true 1.5", "x 7 false"],
    );
}

#[test]
fn moses_runs_unmodified() {
    says(
        r#"
        local M = require("moses")
        say(table.concat(M.map({ 1, 2, 3 }, function(v) return v * 2 end), ","), M.reduce({ 1, 2, 3, 4 }, function(a, b) return a + b end))
        say(table.concat(M.unique({ 1, 1, 2, 3, 3 }), ","), M.chain({ 5, 3, 9 }):sort():first(1):value()[1], table.concat(M.keys({ x = 1 }), ","))
    "#,
        &["2,4,6 10", "1,2,3 3 x"],
    );
}

#[test]
fn argparse_runs_unmodified() {
    says(
        r#"
        local argparse = require("argparse")
        local parser = argparse("!remind", "Be told in time")
        parser:argument("text"):args("+")
        parser:option("-i --in", "in how long", "10m")
        parser:flag("-q --quiet")
        local ok, args = parser:pparse { "-q", "--in", "2h", "the", "bread" }
        say(ok, args["in"], args.quiet, table.concat(args.text, " "))
        say(parser:pparse { "--wrong" })
        say((parser:get_usage():gsub("%s+", " ")))
    "#,
        &[
            "true 2h true the bread",
            "false unknown option '--wrong'",
            "Usage: !remind [-h] [-i <in>] [-q] <text> [<text>] ...",
        ],
    );
}

#[test]
fn mediator_runs_unmodified() {
    says(
        r#"
        local mediator = require("mediator")()
        local heard = {}
        mediator:subscribe({ "news", "local" }, function(text) heard[#heard + 1] = "local " .. text return nil, true end)
        mediator:subscribe({ "news" }, function(text) heard[#heard + 1] = "all " .. text return nil, true end, { predicate = function(text) return text ~= "x" end })
        mediator:publish({ "news", "local" }, "one")
        mediator:publish({ "news" }, "x")
        say(table.concat(heard, "; "))
    "#,
        &["local one; all one"],
    );
}

#[test]
fn penlights_classes_and_containers_run_unmodified() {
    says(
        r#"
        local class, List, OrderedMap = require("pl.class"), require("pl.List"), require("pl.OrderedMap")
        local Animal = class()
        function Animal:_init(name) self.name = name end
        function Animal:__tostring() return self.name .. ": " .. self:speak() end
        local Dog = class(Animal)
        function Dog:speak() return "woof" end
        say(tostring(Dog("rex")), Dog("rex"):is_a(Animal))
        local list = List { 3, 1, 2 }
        say(tostring(list:sort():map("*", 10)), list:filter(function(n) return n > 1 end):len(), list:slice(1, 2):concat("-"))
        local map = OrderedMap()
        map:set("z", 1) map:set("a", 2)
        say(tostring(map), map:keys():concat(","))
    "#,
        &["rex: woof true", "{10,20,30} 2 1-2", "{z=1,a=2} z,a"],
    );
}

#[test]
fn penlights_strings_and_tables_run_unmodified() {
    says(
        r#"
        local stringx, tablex, pretty, Set = require("pl.stringx"), require("pl.tablex"), require("pl.pretty"), require("pl.Set")
        say(stringx.split("a, b, c", ", "):concat("|"), stringx.strip("  x "), stringx.startswith("mesh", "me"), stringx.title("hello world"))
        say(tablex.deepcompare({ 1, { 2 } }, { 1, { 2 } }), #tablex.keys({ a = 1, b = 2 }), tablex.reduce("+", { 1, 2, 3 }))
        say(pretty.write({ 1, "two", { x = true } }, ""), tostring(Set { 1 } + Set { 2 } == Set { 2, 1 }))
    "#,
        &["a|b|c x true Hello World", "true 2 6", r#"{1,"two",{x=true}} true"#],
    );
}

#[test]
fn penlights_dates_run_unmodified() {
    says(
        r#"
        local Date = require("pl.Date")
        local day = Date { year = 2027, month = 2, day = 27, hour = 12 }
        local later = Date(day):add { day = 2 }
        say(day:year(), later:month(), later:day(), day < later, later:diff(day).time / 86400, day:weekday_name(true))
    "#,
        &["2027 3 1 true 2 Saturday"],
    );
}

#[test]
fn penlights_sequences_and_templates_run_unmodified() {
    says(
        r#"
        local seq, sip, url, text = require("pl.seq"), require("pl.permute"), require("pl.url"), require("pl.text")
        say(seq.sum { 1, 2, 3 }, seq.copy(seq.take(seq.range(1, 9), 3)):concat(","), #seq.copy(sip.iter { 1, 2, 3 }), url.quote("a b&c"), text.Template("hi ${name}"):substitute { name = "anna" })
    "#,
        &["6 1,2,3 6 a%20b%26c hi anna"],
    );
}

#[test]
fn penlights_lexer_and_xml_run_unmodified() {
    says(
        r#"
        local lexer, xml, data = require("pl.lexer"), require("pl.xml"), require("pl.data")
        local kinds = {}
        for kind in lexer.lua("x = 'y' + 2") do kinds[#kinds + 1] = kind end
        say(table.concat(kinds, " "))
        local doc = xml.parse("<a b='1'><c>text</c></a>")
        say(doc.tag, doc.attr.b, doc:child_with_name("c"):get_text())
    "#,
        &["iden = string + number", "a 1 text"],
    );
}
