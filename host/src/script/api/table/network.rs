//! Calls that look at the mesh.

use super::{Call, Group, call, field, waiting};

const CALLS: &[Call] = &[
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
];

pub(super) const GROUP: Group = Group {
    name: "mesh",
    help: "What the node knows of the mesh around it.",
    calls: CALLS,
    values: &[field("mesh.self", "mesh.self", "the node and the bot themselves")],
};
