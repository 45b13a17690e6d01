//! The tables that scripts meet, and names of types.

use super::{Alias, Field, Type, field, table};

const fn alias(name: &'static str, type_words: &'static str, help: &'static str) -> Alias {
    Alias { name, type_words, help }
}

/// Other names for types. `mesh.event_name` is made from the events.
pub const ALIASES: &[Alias] = &[
    alias(
        "mesh.duration",
        "string|number",
        "A duration: \"90s\", \"10m\", \"6h\", \"3d\", \"2w\", or a number of seconds.",
    ),
    alias(
        "mesh.moment",
        "string|number",
        "A moment: \"08:00\" (UTC), a cron expression such as \"*/15 8-18 * * 1-5\", or Unix seconds.",
    ),
    alias("mesh.priority", "\"low\"|\"normal\"|\"high\"|\"emergency\"", "What goes first, and is dropped last."),
    alias(
        "mesh.change",
        "\"new\"|\"edited\"|\"deleted\"|\"pinned\"|\"unpinned\"|\"hidden\"|\"shown\"|\"banned\"|\"unbanned\"",
        "What happened on a board.",
    ),
    alias("mesh.trust", "\"known\"|\"trusted\"|\"blocked\"", "How far the admin trusts a peer."),
];

const POST_FIELDS: &[Field] = &[
    field("id", "string", "the post's id, 64 digits"),
    field("short", "string", "its first digits, as many as tell it from others"),
    field("author", "string", "who wrote it: a key"),
    field("author_name", "string", "the author's nickname, or the beginning of the key"),
    field("via", "string?", "the key of the node whose bot wrote it for the author"),
    field("text", "string", "the text as it is now"),
    field("created", "number", "when it was written, Unix seconds"),
    field("edited", "number?", "when its text was changed, Unix seconds"),
    field("pinned", "boolean", "a moderator keeps it above the others"),
    field("hidden", "boolean", "a moderator left it out of lists"),
    field("reason", "string?", "why, if it was said"),
    field("parent", "string?", "the id of the post that it answers"),
    field("replies", "integer", "how many replies are shown below it"),
    field("expires", "number", "when it dies, Unix seconds"),
    field("depth", "integer", "in a thread, how far below the first post it is; 0 elsewhere"),
];

const BOARD_EVENT_FIELDS: &[Field] = &[
    field("event", "\"board\"", "the event's name"),
    field("board", "string", "the board's channel"),
    field("change", "mesh.change", "what happened"),
    field("by", "string", "whose message did it: a key"),
    field("author", "string", "who wrote the post; of a ban, who is banned: a key"),
    field("author_name", "string?", "the author's nickname, or the beginning of the key; absent in bans"),
    field("id", "string?", "the post's id, 64 digits; absent in bans, as is all that follows"),
    field("short", "string?", "its first digits"),
    field("via", "string?", "the key of the node whose bot wrote it for the author"),
    field("text", "string?", "the text as it is now"),
    field("created", "number?", "when it was written, Unix seconds"),
    field("edited", "number?", "when its text was changed, Unix seconds"),
    field("pinned", "boolean?", "a moderator keeps it above the others"),
    field("hidden", "boolean?", "a moderator left it out of lists"),
    field("reason", "string?", "why, if it was said"),
    field("parent", "string?", "the id of the post that it answers"),
    field("replies", "integer?", "how many replies are shown below it"),
    field("expires", "number?", "when it dies, Unix seconds"),
    field("depth", "integer?", "always 0 here"),
];

/// The tables that scripts meet, each with all its fields.
pub const TYPES: &[Type] = &[
    table(
        "mesh.message",
        "msg",
        "A message that came: direct, or on a channel.",
        &[
            field(
                "event",
                "\"envelope\"|\"broadcast\"",
                "`envelope` for a direct message, `broadcast` for one on a channel",
            ),
            field("id", "string", "the message's id, 64 digits"),
            field("from", "string", "the sender's key, 64 digits; it is proved by a signature"),
            field("from_name", "string", "the sender's nickname, or the beginning of the key; anybody can take a name"),
            field("topic", "string?", "the channel; absent in direct messages"),
            field("text", "string", "what was written, any bytes"),
            field("sealed", "boolean", "nobody on the way could read it"),
            field("automatic", "boolean", "a program wrote it"),
            field("own", "boolean", "it comes from this node itself"),
            field("created", "number", "when it was written by the sender's clock, Unix seconds"),
            field("received", "number", "when it came here, Unix seconds"),
            field("expires", "number", "when it dies, Unix seconds"),
            field("priority", "mesh.priority", "how urgent the sender calls it"),
            field("hops", "integer", "links that it crossed"),
            field("reply_to", "string?", "the id of the message that it answers"),
            field("reaction", "boolean", "it is a reaction to that message, not an answer"),
        ],
    ),
    table(
        "mesh.event",
        "",
        "What happened to the bot or in the mesh; which fields there are depends on the event.",
        &[
            field("event", "mesh.event_name", "the event's name"),
            field("peer", "string?", "the key of the peer that it is about"),
            field("name", "string?", "the peer's nickname"),
            field("id", "string?", "the id of the message that it is about"),
            field("detail", "string?", "a few words: the transport, the reason"),
        ],
    ),
    table(
        "mesh.receipt",
        "",
        "What sending returns: the message is on this node's disk, or, if it is optional, waits for room.",
        &[
            field("id", "string?", "the message's id, 64 digits; absent while it waits for room"),
            field("expires", "number?", "when it dies, Unix seconds"),
            field("queued", "boolean?", "true when it waits for room; absent else"),
        ],
    ),
    table(
        "mesh.error",
        "",
        "What the world did: the second result of a call whose first is nil. It can be joined to texts with `..`.",
        &[
            field("code", "string", "a word that stays the same, such as `rate-limited`"),
            field("message", "string", "what went wrong, for people"),
        ],
    ),
    table("mesh.timer", "timer", "A timer that is set.", &[field("id", "integer", "its number in this bot")]),
    table(
        "mesh.board",
        "board",
        "A board that the bot has opened.",
        &[field("topic", "string", "the channel that it is on"), field("place", "integer", "its number in this bot")],
    ),
    table("mesh.post", "", "A post or a reply on a board.", POST_FIELDS),
    table(
        "mesh.board_event",
        "",
        "What changed on a board: the post as it is now, with what was done to it.",
        BOARD_EVENT_FIELDS,
    ),
    table(
        "mesh.peer",
        "",
        "A peer that the node knows.",
        &[
            field("id", "string?", "its key, 64 digits; absent for a server that never answered"),
            field("name", "string?", "its nickname"),
            field("state", "string", "`up`, `connecting`, `waiting` or `idle`"),
            field("trust", "mesh.trust", "how far the admin trusts it"),
            field("links", "integer", "links that are up"),
            field("rtt", "number?", "the shortest round trip of them, in seconds"),
            field("last_seen", "number?", "when it was last linked or heard of, Unix seconds"),
        ],
    ),
    table(
        "mesh.route",
        "",
        "A line of the routing table.",
        &[
            field("to", "string", "whom it leads to: a key"),
            field("name", "string?", "that one's nickname"),
            field("via", "string", "the neighbour to which messages go: a key"),
            field("metric", "number", "the cost; smaller is better"),
            field("hops", "integer?", "links to cross, where the routing plugin knows"),
            field("age", "number", "seconds since it was last confirmed"),
        ],
    ),
    table(
        "mesh.channel",
        "",
        "A channel that the node has joined.",
        &[
            field("name", "string", "its name"),
            field("id", "string", "its id on the wire, 64 digits"),
            field("private", "boolean", "only who has the invite can read it"),
        ],
    ),
    table(
        "mesh.plugin",
        "",
        "A plugin of the node.",
        &[
            field("name", "string", "its name"),
            field("kind", "string", "`transport`, `discovery`, `routing` or `federation`"),
            field("version", "string", "its version"),
            field(
                "state",
                "string",
                "`active` when it runs; `starting`, `quiescing`, `drained` or `stopped` on the way; `failed`, `zombie` (it \
                 hangs) or `disabled` when it doesn't",
            ),
            field("file", "string", "the library that runs"),
            field("failures", "integer", "how often it failed"),
            field("error", "string?", "how it failed last"),
        ],
    ),
    table(
        "mesh.store_stats",
        "",
        "The figures of the node's store.",
        &[
            field("waiting", "integer", "messages that wait for a next hop or their recipient"),
            field("waiting_bytes", "integer", "their size"),
            field("recipients", "integer", "recipients with something waiting"),
            field("broadcasts", "integer", "broadcasts kept for late joiners"),
            field("inbox", "integer", "messages in the inbox"),
            field("total", "integer", "messages kept in all"),
            field("total_bytes", "integer", "their size"),
            field("disk_bytes", "integer", "size of the database"),
            field("oldest", "number?", "when the oldest waiting message came, Unix seconds"),
            field("read_only", "string?", "why the store takes nothing new, if it doesn't"),
            field("lost", "string?", "what vanished files took away, if any did"),
            field(
                "counters",
                "table<string, integer>",
                "counts since the start: `accepted`, `delivered`, `evicted` and more",
            ),
        ],
    ),
    table(
        "mesh.machine",
        "",
        "What the machine's own mesh routing knows.",
        &[
            field("sources", "string[]", "who was asked: `babel`, `batman`; empty where neither runs"),
            field("neighbours", "mesh.machine_neighbour[]", "the machine's neighbours"),
            field("gateways", "mesh.machine_gateway[]", "the ways out of the mesh"),
            field("routes", "integer", "routes that babeld knows"),
            field("problems", "string[]", "who could not be asked, and why"),
        ],
    ),
    table(
        "mesh.machine_neighbour",
        "",
        "A neighbour of the machine.",
        &[
            field("protocol", "string", "`babel` or `batman`"),
            field("address", "string", "its address"),
            field("interface", "string", "the interface that it is seen on"),
            field("quality", "number?", "how much is heard of it, from 0 to 1"),
            field("cost", "integer?", "Babel's cost of the link"),
            field("kbit", "integer?", "throughput in kbit/s, as B.A.T.M.A.N. V estimates it"),
            field("seen", "number?", "seconds since it was heard"),
        ],
    ),
    table(
        "mesh.machine_gateway",
        "",
        "A way out of the mesh.",
        &[
            field("protocol", "string", "`babel` or `batman`"),
            field("address", "string", "its id or address"),
            field("via", "string", "the neighbour that leads to it"),
        ],
    ),
    table(
        "mesh.self",
        "",
        "The node and the bot themselves.",
        &[
            field("id", "string", "the node's key, 64 digits"),
            field("name", "string?", "the node's nickname"),
            field("bot", "string", "the bot's name"),
            field("version", "string?", "the bot's version, from bot.toml"),
        ],
    ),
];
