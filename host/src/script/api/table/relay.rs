//! Calls for bots that look after a node.

use super::{Call, Group, Kind, OPTS, Param, asking, call, maybe, param, waiting, writing};

const PEER: Param = param("peer", Kind::Text).doc("a key, a unique beginning of one, or a nickname");
const TRUST: &str = "relay:trust, or relay";
const PLUGINS: &str = "relay:plugins, or relay";

const CALLS: &[Call] = &[
    asking(
        TRUST,
        writing(waiting(call(
            "mesh.relay.allow",
            &[PEER],
            &[],
            "mesh.peer?, mesh.error?",
            "",
            "Trusts a peer: its messages have room before others'.",
        ))),
    ),
    asking(
        TRUST,
        writing(waiting(call(
            "mesh.relay.block",
            &[PEER],
            &[],
            "mesh.peer?, mesh.error?",
            "",
            "Refuses a peer's links and messages from now on.",
        ))),
    ),
    asking(
        TRUST,
        writing(waiting(call(
            "mesh.relay.unblock",
            &[PEER],
            &[],
            "mesh.peer?, mesh.error?",
            "",
            "Takes an allow or a block back.",
        ))),
    ),
    asking(
        "relay:limit, or relay",
        writing(waiting(call(
            "mesh.relay.limit",
            &[PEER, OPTS],
            &[
                maybe("messages", Kind::Integer).doc("messages a minute; 1 at least"),
                maybe("bytes", Kind::Integer).doc("bytes a minute; 1 at least"),
            ],
            "boolean?, mesh.error?",
            "",
            "Bounds what a neighbour may bring in, until the node stops; without options lifts the bound.",
        ))),
    ),
    asking(
        PLUGINS,
        waiting(call(
            "mesh.relay.plugins",
            &[],
            &[],
            "mesh.plugin[]?, mesh.error?",
            "",
            "The plugins of the node and their states.",
        )),
    ),
    asking(
        PLUGINS,
        writing(waiting(call(
            "mesh.relay.swap",
            &[
                param("plugin", Kind::Text).doc("the plugin's name"),
                maybe("file", Kind::Text).doc("the new library; its own file, read anew, if not said"),
            ],
            &[],
            "mesh.plugin?, mesh.error?",
            "",
            "Replaces a running plugin by another library, without losing a message.",
        ))),
    ),
    asking(
        "relay:store, or relay",
        waiting(call(
            "mesh.relay.store",
            &[],
            &[],
            "mesh.store_stats?, mesh.error?",
            "",
            "The figures of the node's store.",
        )),
    ),
    asking(
        "source:NAME, or source",
        waiting(call(
            "mesh.source",
            &[param("name", Kind::Text).doc("as the admin named it")],
            &[],
            "string?, number|mesh.error|nil",
            "",
            "Reads a file or HTTP address that the admin named for this bot under [scripts.bots.NAME.sources], 256 KiB at most; \
             of a file also when it was changed (Unix seconds).",
        )),
    ),
    waiting(call(
        "mesh.machine",
        &[],
        &[],
        "mesh.machine?, mesh.error?",
        "machine",
        "What babeld and batman-adv on this machine know of neighbours and gateways.",
    )),
];

pub(super) const GROUP: Group = Group {
    name: "relay",
    help: "For bots that look after a node, or bring in what is outside of the mesh. Each has a permission of its own.",
    calls: CALLS,
    values: &[],
};
