//! Calls that send.

use super::{Call, Group, Kind, OPTS, PRIORITY, Param, TTL, asking, call, maybe, param, waiting, writing};

const MESSAGE: Param =
    param("message", Kind::Payload).doc("the text, any bytes; a table is sent as JSON. At most 60,000 bytes");
const QUESTION: Param = param("question", Kind::Payload).doc("the text; a table is sent as JSON");
const LIFE: Param = TTL.doc("how long it lives on its way, such as \"3d\"; what the node is set to if not said");
const OPTIONAL: Param = maybe("optional", Kind::Boolean)
    .doc("it may wait while a link is busy or the quota is used up, and be merged with what waits already");
const MERGE: Param =
    maybe("merge", Kind::Text).doc("a name: of what is optional and waits, the newest with that name is sent alone");
const SENT: &str = "mesh.receipt?, mesh.error?";

const CALLS: &[Call] = &[
    writing(waiting(call(
        "mesh.send",
        &[param("to", Kind::Text).doc("a key, a unique beginning of one, or a nickname"), MESSAGE, OPTS],
        &[
            LIFE,
            PRIORITY,
            maybe("receipt", Kind::Boolean)
                .doc("ask for a receipt: the event `delivered` tells bots with the permission `peers` of it"),
            maybe("plain", Kind::Boolean).doc("send without sealing, readable by every relay"),
            OPTIONAL,
            MERGE,
        ],
        SENT,
        "send",
        "Sends a direct message. Returns once it is on this node's disk.",
    ))),
    asking(
        "broadcast, or broadcast:TOPIC",
        writing(waiting(call(
            "mesh.broadcast",
            &[param("topic", Kind::Text).doc("the channel's name"), MESSAGE, OPTS],
            &[
                LIFE,
                PRIORITY,
                maybe("hops", Kind::Integer)
                    .doc("over how many links it may go, 1 to 255; 1 is for the neighbours alone"),
                OPTIONAL,
                MERGE,
            ],
            SENT,
            "",
            "Publishes on a channel. Returns once it is on this node's disk.",
        ))),
    ),
    writing(waiting(call(
        "msg:reply",
        &[MESSAGE, OPTS],
        &[LIFE, PRIORITY],
        SENT,
        "reply",
        "Answers where the message came from: to its sender, or on its channel.",
    ))),
    writing(waiting(call(
        "msg:ask",
        &[QUESTION, OPTS],
        &[maybe("timeout", Kind::Duration).doc("how long to wait: an hour if not said, a day at most"), LIFE, PRIORITY],
        "mesh.message?, mesh.error?",
        "reply",
        "Asks the sender something where the message came from, and waits for the answer. Questions don't outlive a reload or \
         restart.",
    ))),
    writing(waiting(call(
        "msg:react",
        &[param("emoji", Kind::Text).doc("an emoji, or another few characters")],
        &[],
        SENT,
        "reply",
        "Reacts to the message.",
    ))),
];

pub(super) const GROUP: Group = Group {
    name: "talking",
    help: "What a bot sends is marked as automatic: other bots don't answer it. Quotas bound it: err.code is then `rate-limited`.",
    calls: CALLS,
    values: &[],
};
