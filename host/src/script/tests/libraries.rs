//! Libraries in pure Lua, as people know them from elsewhere, run through `require` as they are. These were written for the
//! purpose; they lean on what such libraries lean on: metatables of all kinds, patterns, varargs, weak tables, `os.date`.

use super::write;
use crate::script::{ScriptLimits, run_once};

const LIBRARIES: [(&str, &str); 4] = [
    ("json", include_str!("libraries/json.lua")),
    ("class", include_str!("libraries/class.lua")),
    ("inspect", include_str!("libraries/inspect.lua")),
    ("date", include_str!("libraries/date.lua")),
];

/// Runs a bot that has the libraries, once from its own folder and once from the shared one; what it logged.
fn run(code: &str) -> Vec<String> {
    let mut logs = Vec::new();
    for place in ["bot/", "lib/"] {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in LIBRARIES {
            write(dir.path(), &format!("{place}{name}.lua"), text);
        }
        let prefix = if place == "lib/" { "lib/" } else { "" };
        let text = code.replace("require(\"", &format!("require(\"{prefix}"));
        write(dir.path(), "bot/init.lua", &format!("mesh.on('start', function()\n{text}\nend)"));
        let start = serde_json::json!({ "event": "start" });
        let report = run_once(&dir.path().join("bot"), &start, &ScriptLimits::default());
        assert_eq!(report.error, None, "{place}");
        logs.push(report.log);
    }
    assert_eq!(logs[0], logs[1]);
    logs.remove(0)
}

#[test]
fn a_json_library_runs_unmodified() {
    let log = run(r#"
        local json = require("json")
        local text = json.encode { list = { 1, 2.5, "three\n" }, yes = true, nested = { deep = { x = "\"q\"" } } }
        mesh.log.info(text)
        local back = json.decode(text)
        mesh.log.info(back.list[2], back.list[3] == "three\n", back.nested.deep.x, json.decode('"\\u00e4"'))
        mesh.log.info(select(2, pcall(json.decode, "[1, 2")):match("expected.*") ~= nil)
        local loop = {}
        loop[1] = loop
        mesh.log.info(select(2, pcall(json.encode, loop)):match("circular reference"))
        mesh.log.info(mesh.json.encode(json.decode(mesh.json.encode { a = { 1 } })))
    "#);
    assert_eq!(log[0], r#"{"list":[1,2.5,"three\n"],"nested":{"deep":{"x":"\"q\""}},"yes":true}"#);
    assert_eq!(log[1..], ["2.5 true \"q\" ä", "true", "circular reference", "{\"a\":[1]}"]);
}

#[test]
fn a_class_library_runs_unmodified() {
    let log = run(r#"
        local class = require("class")
        local Animal = class("Animal")
        function Animal:initialize(name) self.name = name end
        function Animal:speak() return self.name .. " makes a sound" end
        Animal.__tostring = function(self) return "<" .. self.name .. ">" end
        Animal.__eq = function(a, b) return a.name == b.name end
        local Dog = class("Dog", Animal)
        function Dog:speak() return Animal.speak(self) .. ": woof" end
        Dog:includes { fetch = function(self, what) return self.name .. " fetches " .. what end }
        local rex = Dog("Rex")
        mesh.log.info(rex:speak(), rex:fetch("a stick"), tostring(rex), tostring(Dog))
        mesh.log.info(rex:isInstanceOf(Animal), Animal("x"):isInstanceOf(Dog), rex == Dog("Rex"))
        function Animal:late() return "added later to " .. self.name end
        mesh.log.info(rex:late())
    "#);
    assert_eq!(
        log,
        ["Rex makes a sound: woof Rex fetches a stick <Rex> class Dog", "true false true", "added later to Rex"]
    );
}

#[test]
fn an_inspect_library_runs_unmodified() {
    let log = run(r#"
        local inspect = require("inspect")
        local t = { 1, "two", { 3 }, name = "x", ["a key"] = true }
        t.self = t
        mesh.log.info((inspect(t):gsub("\n%s*", " ")))
        mesh.log.info((inspect(setmetatable({}, { __index = { a = 1 } })):gsub("\n%s*", " ")), inspect({ {} }, { depth = 1 }))
        mesh.log.info((inspect { f = print == nil, n = 0 / 1, s = "a\0b'\"" }:gsub("\n%s*", " ")))
    "#.replace("print == nil", "rawequal(1, 2)").as_str());
    assert_eq!(log[0], "{ 1, \"two\", { 3 }, [\"a key\"] = true, name = \"x\", self = <table 1> }");
    assert_eq!(log[1], "{ <metatable> = { __index = { a = 1 } } } { {...} }");
    assert_eq!(log[2], "{ f = false, n = 0, s = \"a\\0b'\\\"\" }");
}

#[test]
fn a_date_library_runs_unmodified() {
    let log = run(r#"
        local date = require("date")
        local a, b = date("2024-02-28T23:59:30"), date("2024-03-01")
        mesh.log.info(tostring(a:add { days = 1 }), b - a, a < b, a == date("2024-02-28 23:59:30"))
        mesh.log.info(b:short(), b:weekday(), a:format("%d.%m.%y"), "at " .. a)
        mesh.log.info(select(2, date("soon")), date.now() > b)
    "#);
    assert_eq!(
        log,
        ["2024-02-29 23:59:30 86430 true true", "1 Mar 2024 6 28.02.24 at 2024-02-28 23:59:30", "no date: soon true"]
    );
}
