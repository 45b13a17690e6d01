//! Calls for what a bot keeps.

use super::{Call, Group, Kind, LIMIT, OPTS, Param, SKIP, TTL, call, field, maybe, param, writing};

const KEY: Param = param("key", Kind::Text).doc("1 to 128 bytes; keys sort by their bytes");

const CALLS: &[Call] = &[
    call(
        "mesh.store:get",
        &[KEY, maybe("default", Kind::Any).doc("what to return when the key isn't there; nil if not said")],
        &[],
        "any",
        "store",
        "The value of a key, or the default.",
    ),
    writing(call(
        "mesh.store:set",
        &[KEY, param("value", Kind::Any).doc("plain data: texts, numbers, true and false, tables of them"), OPTS],
        &[TTL.doc("for how long it is kept; for ever if not said")],
        "boolean?, mesh.error?",
        "store",
        "Keeps plain data under a key. It is on the disk before the next thing that the bot sends leaves.",
    )),
    writing(call(
        "mesh.store:incr",
        &[KEY, maybe("by", Kind::Number).doc("how much; 1 if not said")],
        &[],
        "number?, mesh.error?",
        "store",
        "Adds to a number, which is 0 where the key isn't there, and returns it.",
    )),
    writing(call("mesh.store:delete", &[KEY], &[], "boolean", "store", "Removes a key; whether it was there.")),
    call(
        "mesh.store:each",
        &[maybe("prefix", Kind::Text).doc("only keys that begin so"), OPTS],
        &[maybe("reverse", Kind::Boolean).doc("from the last key to the first"), SKIP, LIMIT],
        "fun(): string?, any",
        "store",
        "For loops: keys and values in the order of the keys. The loop may change the store.",
    ),
    call(
        "mesh.config",
        &[param("defaults", Kind::Table).of("T").doc("names with their defaults; `{}` takes those of bot.toml")],
        &[],
        "T",
        "",
        "The configuration: these defaults, over them what bot.toml says, over both what the admin set. A name or a type that \
         the defaults don't have is refused.",
    ),
];

pub(super) const GROUP: Group = Group {
    name: "memory",
    help: "The store outlives restarts, `mesh.state` a reload. Both hold plain data: no functions, 32 tables deep at most.",
    calls: CALLS,
    values: &[field(
        "mesh.state",
        "table<string, any>",
        "plain data that is carried over a reload, 64 KiB at most; a new start begins with an empty one",
    )],
};
