//! The script API in one table: names, arguments, options, permissions, help.
//!
//! Arguments are checked from it, and the editors' definitions and the reference are made from it.

/// What an argument may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string of bytes.
    Text,
    /// A string, or a table that is sent as JSON.
    Payload,
    /// A number.
    Number,
    /// A whole number.
    Integer,
    /// true or false.
    Boolean,
    /// A function.
    Function,
    /// A table.
    Table,
    /// A table with the call's options.
    Options,
    /// A duration: `"10m"`, or seconds.
    Duration,
    /// A moment: Unix seconds, `"08:00"`, or a cron expression.
    When,
    /// A name or a list of names.
    Names,
    /// Anything.
    Any,
}

impl Kind {
    /// How the kind is called in messages.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Payload => "a string or a table",
            Self::Number => "a number",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
            Self::Function => "a function",
            Self::Table | Self::Options => "a table",
            Self::Duration => "a duration such as \"10m\" or a number of seconds",
            Self::When => "a time such as \"08:00\", a cron expression or Unix seconds",
            Self::Names => "a string or a list of strings",
            Self::Any => "a value",
        }
    }
}

/// An argument or an option.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// Whether it may be left out.
    pub optional: bool,
}

/// One function of the API.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// As it is written: `mesh.send`, `mesh.store:get`, `msg:reply`.
    pub name: &'static str,
    /// The arguments in order. The last one of [`Kind::Any`] named `...` stands for any number.
    pub params: &'static [Param],
    /// The keys of the argument of [`Kind::Options`].
    pub options: &'static [Param],
    /// What it returns, in LuaCATS words.
    pub returns: &'static str,
    /// The permission it wants.
    pub needs: Option<&'static str>,
    /// Whether it waits, so that other handlers run meanwhile.
    pub waits: bool,
    /// Whether it changes or sends something: not in a read-only session.
    pub writes: bool,
    /// One or two sentences.
    pub help: &'static str,
}

impl Call {
    /// Whether it is called with a colon.
    pub fn is_method(&self) -> bool {
        self.name.contains(':')
    }

    /// Whether the last argument may come any number of times.
    pub(crate) fn is_variadic(&self) -> bool {
        self.params.last().is_some_and(|param| param.name == "...")
    }
}

pub(crate) const fn param(name: &'static str, kind: Kind) -> Param {
    Param { name, kind, optional: false }
}

pub(crate) const fn maybe(name: &'static str, kind: Kind) -> Param {
    Param { name, kind, optional: true }
}

pub(crate) const fn call(
    name: &'static str,
    params: &'static [Param],
    options: &'static [Param],
    returns: &'static str,
    needs: &'static str,
    help: &'static str,
) -> Call {
    let needs = if needs.is_empty() { None } else { Some(needs) };
    Call { name, params, options, returns, needs, waits: false, writes: false, help }
}

pub(crate) const fn waiting(call: Call) -> Call {
    Call { waits: true, ..call }
}

const fn writing(call: Call) -> Call {
    Call { writes: true, ..call }
}

const PEER: Param = param("peer", Kind::Text);
const OPTS: Param = maybe("options", Kind::Options);
const FN: Param = param("fn", Kind::Function);
const REST: Param = maybe("...", Kind::Any);
const TTL: Param = maybe("ttl", Kind::Duration);
const PRIORITY: Param = maybe("priority", Kind::Text);
const OPTIONAL: Param = maybe("optional", Kind::Boolean);
const MERGE: Param = maybe("merge", Kind::Text);
const SKIP: Param = maybe("skip", Kind::Integer);
const LIMIT: Param = maybe("limit", Kind::Integer);
const REVERSE: Param = maybe("reverse", Kind::Boolean);
const BY: Param = maybe("by", Kind::Any);
const POST: &str = "mesh.post?, mesh.error?";
const SENT: &str = "mesh.receipt?, mesh.error?";

/// Every function of the API.
pub const CALLS: &[Call] = &[
    writing(call(
        "mesh.on",
        &[param("event", Kind::Text), maybe("filter", Kind::Table), FN],
        &[],
        "",
        "",
        "Calls fn with a table at each event: start, stop, reload, envelope, broadcast, reaction, peer_up, peer_down, link_change, \
         route_change, delivered, failed, evicted, board. The filter names fields that must be equal.",
    )),
    writing(call("mesh.on_envelope", &[FN], &[], "", "direct", "Calls fn at each direct message to this node.")),
    writing(call(
        "mesh.on_broadcast",
        &[param("topic", Kind::Text), FN],
        &[],
        "",
        "",
        "Joins the channel and calls fn at each message on it.",
    )),
    writing(call(
        "mesh.command",
        &[param("name", Kind::Text), OPTS, FN],
        &[
            maybe("args", Kind::Text),
            maybe("help", Kind::Text),
            maybe("who", Kind::Names),
            maybe("channel", Kind::Names),
            maybe("all", Kind::Boolean),
        ],
        "",
        "",
        "Answers !name in direct messages, and on the channels named. A string that fn returns is the reply. \
         `who` lists the keys that may use it; \"self\" is this node's own. !help is made from args and help. Of several \
         nodes whose bots could answer on a channel one does, and another when it is silent; with `all` each does.",
    )),
    writing(waiting(call(
        "mesh.send",
        &[param("to", Kind::Text), param("message", Kind::Payload), OPTS],
        &[TTL, PRIORITY, maybe("receipt", Kind::Boolean), maybe("plain", Kind::Boolean), OPTIONAL, MERGE],
        SENT,
        "send",
        "Sends a direct message: to a key, a unique prefix of it or a nickname. Returns once it is on this node's disk.",
    ))),
    writing(waiting(call(
        "mesh.broadcast",
        &[param("topic", Kind::Text), param("message", Kind::Payload), OPTS],
        &[TTL, PRIORITY, maybe("hops", Kind::Integer), OPTIONAL, MERGE],
        SENT,
        "",
        "Publishes on a channel. Returns once it is on this node's disk. What is optional waits while a link is busy or the \
         quota is used up, and is merged with what waits already; with `merge`, it takes the place of what has that name.",
    ))),
    writing(waiting(call(
        "msg:reply",
        &[param("message", Kind::Payload), OPTS],
        &[TTL, PRIORITY],
        SENT,
        "reply",
        "Answers where the message came from: to its sender, or on its channel.",
    ))),
    writing(waiting(call(
        "msg:ask",
        &[param("question", Kind::Payload), OPTS],
        &[maybe("timeout", Kind::Duration), TTL, PRIORITY],
        "mesh.message?, mesh.error?",
        "reply",
        "Asks the sender something where the message came from, and waits for the answer: an hour if not said, a day at \
         most. Other handlers go on meanwhile. Questions don't outlive a reload or restart.",
    ))),
    writing(waiting(call(
        "msg:react",
        &[param("emoji", Kind::Text)],
        &[],
        SENT,
        "reply",
        "Reacts to the message with an emoji, or another few characters.",
    ))),
    writing(call(
        "mesh.every",
        &[param("period", Kind::Duration), FN, OPTS],
        &[maybe("name", Kind::Text)],
        "mesh.timer",
        "",
        "Calls fn again and again, at most once a second. A late timer fires once. Named timers keep their pace over a reload.",
    )),
    writing(call(
        "mesh.after",
        &[param("delay", Kind::Duration), FN, OPTS],
        &[maybe("name", Kind::Text)],
        "mesh.timer",
        "",
        "Calls fn once, later.",
    )),
    writing(call(
        "mesh.at",
        &[param("when", Kind::When), FN, OPTS],
        &[maybe("name", Kind::Text)],
        "mesh.timer",
        "",
        "Calls fn at a time of day (UTC) or at each match of a cron expression; given Unix seconds, once.",
    )),
    writing(call("timer:cancel", &[], &[], "boolean", "", "Ends the timer; whether it was still set.")),
    waiting(call(
        "mesh.sleep",
        &[param("duration", Kind::Duration)],
        &[],
        "",
        "",
        "Suspends this handler; others go on.",
    )),
    call("mesh.now", &[], &[], "number", "", "Unix time in seconds, with milliseconds behind the point."),
    call(
        "mesh.store:get",
        &[param("key", Kind::Text), maybe("default", Kind::Any)],
        &[],
        "any",
        "store",
        "The value of a key, or the default.",
    ),
    writing(call(
        "mesh.store:set",
        &[param("key", Kind::Text), param("value", Kind::Any), OPTS],
        &[TTL],
        "boolean?, mesh.error?",
        "store",
        "Keeps plain data under a key, for ever or for a ttl.",
    )),
    writing(call(
        "mesh.store:incr",
        &[param("key", Kind::Text), maybe("by", Kind::Number)],
        &[],
        "number?, mesh.error?",
        "store",
        "Adds to a number (1 if not said) and returns it.",
    )),
    writing(call(
        "mesh.store:delete",
        &[param("key", Kind::Text)],
        &[],
        "boolean",
        "store",
        "Removes a key; whether it was there.",
    )),
    call(
        "mesh.store:each",
        &[maybe("prefix", Kind::Text), OPTS],
        &[REVERSE, SKIP, LIMIT],
        "fun(): string?, any",
        "store",
        "For loops: keys and values in the order of the keys.",
    ),
    writing(waiting(call(
        "mesh.board",
        &[param("topic", Kind::Text), OPTS],
        &[maybe("keep", Kind::Duration), maybe("moderators", Kind::Names), maybe("posts", Kind::Integer)],
        "mesh.board?, mesh.error?",
        "",
        "Opens the board on a channel, with what the node has of it. It keeps `posts` entries (1000) for `keep` (30d); \
         pins, hides and bans count from `moderators` only (\"self\").",
    ))),
    writing(waiting(call(
        "board:post",
        &[param("text", Kind::Text), OPTS],
        &[BY],
        POST,
        "",
        "Puts up a post; with `by`, a message or a key, for somebody else.",
    ))),
    writing(waiting(call(
        "board:reply",
        &[param("id", Kind::Text), param("text", Kind::Text), OPTS],
        &[BY],
        POST,
        "",
        "Answers a post.",
    ))),
    writing(waiting(call(
        "board:edit",
        &[param("id", Kind::Text), param("text", Kind::Text), OPTS],
        &[BY],
        POST,
        "",
        "Gives a post another text. Only its author can, by the same way as it was written.",
    ))),
    writing(waiting(call(
        "board:delete",
        &[param("id", Kind::Text), OPTS],
        &[BY],
        "boolean?, mesh.error?",
        "",
        "Takes a post down everywhere. Only its author can.",
    ))),
    writing(waiting(call("board:pin", &[param("id", Kind::Text)], &[], POST, "", "Keeps a post above the others."))),
    writing(waiting(call("board:unpin", &[param("id", Kind::Text)], &[], POST, "", "Ends a pin."))),
    writing(waiting(call(
        "board:hide",
        &[param("id", Kind::Text), OPTS],
        &[maybe("reason", Kind::Text)],
        POST,
        "",
        "Leaves a post out of lists, wherever this node is named as a moderator.",
    ))),
    writing(waiting(call("board:show", &[param("id", Kind::Text)], &[], POST, "", "Takes a hide back."))),
    writing(waiting(call(
        "board:ban",
        &[param("key", Kind::Text)],
        &[],
        "boolean?, mesh.error?",
        "",
        "Leaves out all that somebody writes, for 30 days.",
    ))),
    writing(waiting(call("board:unban", &[param("key", Kind::Text)], &[], "boolean?, mesh.error?", "", "Ends a ban."))),
    call(
        "board:get",
        &[param("id", Kind::Text)],
        &[],
        POST,
        "",
        "One post, also a hidden one. The first 6 digits of its id are enough, or more where two begin alike.",
    ),
    call(
        "board:list",
        &[OPTS],
        &[
            SKIP,
            LIMIT,
            maybe("by", Kind::Text),
            REVERSE,
            maybe("replies", Kind::Boolean),
            maybe("hidden", Kind::Boolean),
        ],
        "mesh.post[]",
        "",
        "Posts, the pinned first, then the newest; 20 if not said, 200 at most. `replies` and `hidden` let those in, too.",
    ),
    call(
        "board:thread",
        &[param("id", Kind::Text), OPTS],
        &[LIMIT],
        "mesh.post[]?, mesh.error?",
        "",
        "A post and the replies below it, each with its `depth`.",
    ),
    call(
        "board:search",
        &[param("words", Kind::Text), OPTS],
        &[SKIP, LIMIT],
        "mesh.post[]",
        "",
        "Posts and replies with all these words, newest first.",
    ),
    call("board:size", &[], &[], "number", "", "How many posts and replies are shown."),
    call(
        "mesh.config",
        &[param("defaults", Kind::Table)],
        &[],
        "table",
        "",
        "The configuration: these defaults, what bot.toml says, and over both what the admin set.",
    ),
    waiting(call("mesh.peers", &[], &[], "mesh.peer[]?, mesh.error?", "peers", "The peers that this node knows.")),
    waiting(call("mesh.routes", &[], &[], "mesh.route[]?, mesh.error?", "routes", "The routing table.")),
    waiting(call(
        "mesh.channels",
        &[],
        &[],
        "mesh.channel[]?, mesh.error?",
        "channels",
        "The channels that this node has joined.",
    )),
    writing(waiting(call(
        "mesh.relay.allow",
        &[PEER],
        &[],
        "mesh.peer?, mesh.error?",
        "",
        "Trusts a peer: its messages have room before others'. Needs `relay:trust`.",
    ))),
    writing(waiting(call(
        "mesh.relay.block",
        &[PEER],
        &[],
        "mesh.peer?, mesh.error?",
        "",
        "Refuses a peer's links and messages from now on. Needs `relay:trust`.",
    ))),
    writing(waiting(call(
        "mesh.relay.unblock",
        &[PEER],
        &[],
        "mesh.peer?, mesh.error?",
        "",
        "Takes an allow or a block back. Needs `relay:trust`.",
    ))),
    writing(waiting(call(
        "mesh.relay.limit",
        &[PEER, OPTS],
        &[maybe("messages", Kind::Integer), maybe("bytes", Kind::Integer)],
        "boolean?, mesh.error?",
        "",
        "Bounds what a neighbour may bring in a minute, until the node stops; without options lifts the bound. Needs \
         `relay:limit`.",
    ))),
    waiting(call(
        "mesh.relay.plugins",
        &[],
        &[],
        "mesh.plugin[]?, mesh.error?",
        "",
        "The plugins of the node and their states. Needs `relay:plugins`.",
    )),
    writing(waiting(call(
        "mesh.relay.swap",
        &[param("plugin", Kind::Text), maybe("file", Kind::Text)],
        &[],
        "mesh.plugin?, mesh.error?",
        "",
        "Replaces a running plugin by another library, or by its own file read anew, without losing a message. Needs \
         `relay:plugins`.",
    ))),
    waiting(call(
        "mesh.relay.store",
        &[],
        &[],
        "mesh.store_stats?, mesh.error?",
        "",
        "The figures of the node's store. Needs `relay:store`.",
    )),
    waiting(call(
        "mesh.source",
        &[param("name", Kind::Text)],
        &[],
        "string?, number|mesh.error|nil",
        "",
        "Reads a file or HTTP address that the admin named for this bot under [scripts.bots.NAME.sources], 256 KiB at most; \
         of a file also when it was changed (Unix seconds). Needs `source:NAME`.",
    )),
    waiting(call(
        "mesh.machine",
        &[],
        &[],
        "mesh.machine?, mesh.error?",
        "machine",
        "What babeld and batman-adv on this machine know of neighbours and gateways; `sources` is empty where neither runs.",
    )),
    call("mesh.log.debug", &[REST], &[], "", "", "Writes a line to the node's log."),
    call("mesh.log.info", &[REST], &[], "", "", "Writes a line to the node's log."),
    call("mesh.log.warn", &[REST], &[], "", "", "Writes a line to the node's log."),
    call("mesh.log.error", &[REST], &[], "", "", "Writes a line to the node's log."),
    call(
        "mesh.json.encode",
        &[param("value", Kind::Any)],
        &[],
        "string",
        "",
        "Plain data as JSON. Raises when there is no JSON for it.",
    ),
    call(
        "mesh.json.decode",
        &[param("text", Kind::Text)],
        &[],
        "any, mesh.error?",
        "",
        "Reads JSON; nil and an error when it is none.",
    ),
    call("mesh.base64.encode", &[param("bytes", Kind::Text)], &[], "string", "", "Bytes as base64."),
    call(
        "mesh.base64.decode",
        &[param("text", Kind::Text)],
        &[],
        "string?, mesh.error?",
        "",
        "Reads base64; nil and an error when it is none.",
    ),
    call(
        "mesh.text.truncate",
        &[param("text", Kind::Text), param("bytes", Kind::Integer)],
        &[],
        "string",
        "",
        "Cuts a text to so many bytes, between characters, with an ellipsis.",
    ),
];

/// The call of that name.
pub(crate) fn find(name: &str) -> Option<&'static Call> {
    CALLS.iter().find(|call| call.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_with_options_take_them_and_the_others_do_not() {
        for call in CALLS {
            let takes = call.params.iter().any(|param| param.kind == Kind::Options);
            assert_eq!(takes, !call.options.is_empty(), "{}", call.name);
            assert!(!call.help.is_empty(), "{}", call.name);
            let known = |need| crate::script::manifest::PERMISSIONS.iter().any(|(name, _)| *name == need);
            assert!(call.needs.is_none_or(known), "{}", call.name);
        }
    }
}
