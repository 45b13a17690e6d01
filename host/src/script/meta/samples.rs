//! Settings that let editors find the definitions, for a folder of scripts.

use super::NOTICE;

/// `.luarc.json`: for the Lua language server, which reads no comments there.
pub(super) fn luarc() -> String {
    let settings = serde_json::json!({
        "runtime.version": "Lua 5.1",
        "runtime.path": ["?.lua", "?/init.lua"],
        "runtime.builtin": { "bit32": "enable", "utf8": "enable", "debug": "disable", "io": "disable" },
        "workspace.library": ["meta"],
        "workspace.checkThirdParty": false,
    });
    format!("{settings:#}\n")
}

/// `selene.toml`
pub(super) fn selene() -> String {
    let notice = NOTICE.map(|line| format!("# {line}\n")).concat();
    // A short `if … then return end` on one line is how bots are written.
    format!("{notice}std = \"meta/mesh\"\nexclude = [\"meta/**\"]\n\n[lints]\nmultiple_statements = \"allow\"\n")
}
