//! Calls for boards.

use super::{Call, Group, Kind, LIMIT, OPTS, Param, SKIP, asking, call, maybe, param, waiting, writing};

const ID: Param = param("id", Kind::Text).doc("the post's id, or its first 6 digits or more");
const TEXT: Param = param("text", Kind::Text).doc("what is written");
const BY: Param = maybe("by", Kind::Any)
    .of("mesh.message|string")
    .doc("for whom it is written: the message that asked for it, or a key; this node itself if not said");
const ORDERED_BY: Param = maybe("by", Kind::Any)
    .of("mesh.message|string")
    .doc("who orders it: the message that asked for it, or a key; nothing is done unless it is one of the board's moderators");
const POST: &str = "mesh.post?, mesh.error?";
const DONE: &str = "boolean?, mesh.error?";

const CALLS: &[Call] = &[
    asking(
        "listen, or listen:TOPIC; to write also broadcast, or broadcast:TOPIC",
        writing(waiting(call(
            "mesh.board",
            &[param("topic", Kind::Text).doc("the channel that the board is on"), OPTS],
            &[
                maybe("keep", Kind::Duration)
                    .doc("how long entries are kept: from 1 minute to 30 days, which it is if not said"),
                maybe("moderators", Kind::Names).doc(
                    "whose pins, hides and bans count: keys of 64 digits each, or \"self\", which it is if not said",
                ),
                maybe("posts", Kind::Integer).doc("how many entries are kept; 1000 if not said"),
            ],
            "mesh.board?, mesh.error?",
            "",
            "Opens the board on a channel, with what the node has of it.",
        ))),
    ),
    writing(waiting(call("board:post", &[TEXT, OPTS], &[BY], POST, "", "Puts up a post."))),
    writing(waiting(call("board:reply", &[ID, TEXT, OPTS], &[BY], POST, "", "Answers a post."))),
    writing(waiting(call(
        "board:edit",
        &[ID, TEXT, OPTS],
        &[BY],
        POST,
        "",
        "Gives a post another text. Only its author can, by the same way as it was written.",
    ))),
    writing(waiting(call(
        "board:delete",
        &[ID, OPTS],
        &[BY],
        DONE,
        "",
        "Takes a post down everywhere. Only its author can.",
    ))),
    writing(waiting(call("board:pin", &[ID, OPTS], &[ORDERED_BY], POST, "", "Keeps a post above the others."))),
    writing(waiting(call("board:unpin", &[ID, OPTS], &[ORDERED_BY], POST, "", "Ends a pin."))),
    writing(waiting(call(
        "board:hide",
        &[ID, OPTS],
        &[maybe("reason", Kind::Text).doc("why, for those who look at hidden posts"), ORDERED_BY],
        POST,
        "",
        "Leaves a post out of lists, wherever this node is named as a moderator.",
    ))),
    writing(waiting(call("board:show", &[ID, OPTS], &[ORDERED_BY], POST, "", "Takes a hide back."))),
    writing(waiting(call(
        "board:ban",
        &[param("key", Kind::Text).doc("whose posts: a key of 64 digits"), OPTS],
        &[ORDERED_BY],
        DONE,
        "",
        "Leaves out all that somebody writes, for 30 days.",
    ))),
    writing(waiting(call(
        "board:unban",
        &[param("key", Kind::Text).doc("whose posts: a key of 64 digits"), OPTS],
        &[ORDERED_BY],
        DONE,
        "",
        "Ends a ban.",
    ))),
    call("board:get", &[ID], &[], POST, "", "One post, also a hidden one."),
    call(
        "board:list",
        &[OPTS],
        &[
            SKIP,
            LIMIT.doc("at most so many: 20 if not said, 200 at most"),
            maybe("by", Kind::Text).doc("only what this key wrote"),
            maybe("reverse", Kind::Boolean).doc("the oldest first"),
            maybe("replies", Kind::Boolean).doc("with replies among them"),
            maybe("hidden", Kind::Boolean).doc("with hidden ones among them"),
        ],
        "mesh.post[]",
        "",
        "Posts, the pinned first, then the newest.",
    ),
    call(
        "board:thread",
        &[ID, OPTS],
        &[LIMIT.doc("at most so many: 20 if not said, 200 at most")],
        "mesh.post[]?, mesh.error?",
        "",
        "A post and the replies below it, each with its `depth`.",
    ),
    call(
        "board:search",
        &[param("words", Kind::Text).doc("words that must all be in the text, in any case"), OPTS],
        &[SKIP, LIMIT.doc("at most so many: 20 if not said, 200 at most")],
        "mesh.post[]",
        "",
        "Posts and replies with all these words, newest first.",
    ),
    call("board:size", &[], &[], "number", "", "How many posts and replies are shown."),
];

pub(super) const GROUP: Group = Group {
    name: "boards",
    help: "Signed posts on a channel, kept in step between all nodes that have joined it. The event `board` tells of changes.",
    calls: CALLS,
    values: &[],
};
