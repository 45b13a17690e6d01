//! Calls and events: what a bot waits for.

use super::{Call, Group, Kind, OPTS, Param, asking, call, maybe, param, writing};

/// Something that a bot can wait for with `mesh.on`.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// Its name.
    pub name: &'static str,
    /// The permission that waiting for it wants; empty for none.
    pub needs: &'static str,
    /// The type of the table that the handler gets.
    pub gives: &'static str,
    /// When it happens, in a sentence.
    pub help: &'static str,
}

const fn event(name: &'static str, needs: &'static str, gives: &'static str, help: &'static str) -> Event {
    Event { name, needs, gives, help }
}

/// Every event.
pub const EVENTS: &[Event] = &[
    event("start", "", "mesh.event", "The bot begins: after its first load, and after each start of the node."),
    event(
        "reload",
        "",
        "mesh.event",
        "A new version took over from one that ran. `mesh.state` is that of the old one.",
    ),
    event(
        "stop",
        "",
        "mesh.event",
        "The bot ends: the node stops, or the bot is taken away. What it does now must be quick. A new version that takes over is \
         no end.",
    ),
    event("envelope", "direct", "mesh.message", "A direct message came that is none of this bot's commands."),
    event("broadcast", "listen", "mesh.message", "A message came on a channel. `{ topic = … }` joins that channel."),
    event(
        "reaction",
        "direct",
        "mesh.message",
        "Somebody reacted to a message of this node; with `{ topic = … }`, on that channel.",
    ),
    event("board", "", "mesh.board_event", "Something changed on a board that the bot has opened."),
    event("peer_up", "peers", "mesh.event", "The first link to a peer is up: `peer`, `name`."),
    event("peer_down", "peers", "mesh.event", "The last link to a peer went down: `peer`, `name`."),
    event(
        "link_change",
        "peers",
        "mesh.event",
        "A link to a peer came or went: `peer`, `name`, and `detail`, which is `up` or `down`.",
    ),
    event("route_change", "routes", "mesh.event", "Ways through the mesh changed; `mesh.routes` tells them."),
    event("delivered", "peers", "mesh.event", "A message of this node reached its recipient: `id`, `peer`, `name`."),
    event(
        "failed",
        "peers",
        "mesh.event",
        "A message of this node died before its recipient had it: `id`, `peer`, `name`, `detail`. It comes once the node is sure of \
         the time: in the first hour after its start, or after a leap of its clock, up to an hour after the message's end.",
    ),
    event(
        "evicted",
        "peers",
        "mesh.event",
        "A message was dropped for want of room: `id`, and `peer` and `name` of its sender.",
    ),
];

const MESSAGE_FN: Param =
    param("fn", Kind::Function).of("fun(msg: mesh.message)").doc("called with the message; it may wait");

const CALLS: &[Call] = &[
    asking(
        "that of the event",
        writing(call(
            "mesh.on",
            &[
                param("event", Kind::Text).of("mesh.event_name").doc("the event's name"),
                maybe("filter", Kind::Table).doc(
                    "fields that must be equal, as in `{ topic = \"board\" }`; `automatic = true` lets messages of programs in, \
                     too",
                ),
                param("fn", Kind::Function).of("fun(event: table)").doc("called with the event's table; it may wait"),
            ],
            &[],
            "",
            "",
            "Calls fn at each event of that name.",
        )),
    ),
    writing(call(
        "mesh.on_envelope",
        &[MESSAGE_FN],
        &[],
        "",
        "direct",
        "Calls fn at each direct message to this node that people wrote and that is no command of the bot.",
    )),
    asking(
        "listen, or listen:TOPIC",
        writing(call(
            "mesh.on_broadcast",
            &[param("topic", Kind::Text).doc("the channel's name"), MESSAGE_FN],
            &[],
            "",
            "",
            "Joins the channel and calls fn at each message that people write on it.",
        )),
    ),
    asking(
        "reply; with channel listen, without it direct",
        writing(call(
            "mesh.command",
            &[
                param("name", Kind::Text).doc("what follows the `!`: letters, digits, `-` and `_`, at most 32"),
                OPTS,
                param("fn", Kind::Function)
                    .of("fun(msg: mesh.message, ...: string): string?")
                    .doc("called with the message and one string for each of `args`; a string that it returns is the answer"),
            ],
            &[
                maybe("args", Kind::Text)
                    .doc("what follows the name, as in `<topic> [count] <text>`: `<>` must be there, `[]` gets a word where there are enough, the last takes the rest"),
                maybe("help", Kind::Text).doc("a line for `!help`"),
                maybe("who", Kind::Names)
                    .doc("the keys that may use it, 64 digits each; \"self\" is this node's own. Everybody if not said"),
                maybe("channel", Kind::Names).doc("where it is answered besides direct messages"),
                maybe("all", Kind::Boolean)
                    .doc("on a channel each node's bot answers; else one of them does, and another when it is silent"),
            ],
            "",
            "",
            "Answers !name in direct messages, and on the channels named. `!help` is made from the help of all commands.",
        )),
    ),
];

pub(super) const GROUP: Group = Group {
    name: "events",
    help: "What a bot waits for. Each handler gets one table of its own; an error in one stops no other.",
    calls: CALLS,
    values: &[],
};
