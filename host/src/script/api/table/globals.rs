//! The globals of bots.

/// Globals that bots have, beside `mesh` and `require`. `os` has `time`, `date` and `clock` alone, by the bot's clock; `_G` is the
/// bot's own table of globals.
pub const KEPT_GLOBALS: &[&str] = &[
    "assert",
    "error",
    "ipairs",
    "next",
    "pairs",
    "pcall",
    "xpcall",
    "rawequal",
    "rawget",
    "rawlen",
    "rawset",
    "select",
    "setmetatable",
    "getmetatable",
    "tonumber",
    "tostring",
    "type",
    "typeof",
    "unpack",
    "string",
    "table",
    "math",
    "coroutine",
    "utf8",
    "bit32",
    "buffer",
    "os",
    "_G",
    "_VERSION",
];

/// Globals of other hosts that bots don't have, and what to use instead: said when a bot names one.
pub const REMOVED_GLOBALS: &[(&str, &str)] = &[
    ("print", "use mesh.log.info(...)"),
    ("io", "bots touch no files; use mesh.store to keep data"),
    ("debug", "use mesh.log.debug(...)"),
    ("package", "use require(\"name\") for a module of your own folder or of lib/"),
    ("load", "code can't be made at run time; use require for modules"),
    ("loadstring", "code can't be made at run time; use require for modules"),
    ("loadfile", "use require(\"name\") for a module of your own folder or of lib/"),
    ("dofile", "use require(\"name\") for a module of your own folder or of lib/"),
    ("module", "let the file return a table, and use require(\"name\")"),
    ("getfenv", "environments are fixed; pass values as arguments"),
    ("setfenv", "environments are fixed; pass values as arguments"),
    ("collectgarbage", "memory is collected by the host"),
    ("gcinfo", "memory is shown by `qpq script top`"),
    ("newproxy", "use setmetatable"),
];
