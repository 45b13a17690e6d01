//! What tests can call, in one table: names, arguments, options, help. Arguments are checked from it.

use super::super::api::{Call, Kind, Param, call, maybe, param, waiting};

const WHAT: Param = param("what", Kind::Options);
const FILTER: Param = maybe("filter", Kind::Options);
const NAME: Param = param("name", Kind::Text);
const DURATION: Param = param("duration", Kind::Duration);
const TOPIC: Param = maybe("topic", Kind::Text);
const WITHIN: Param = maybe("within", Kind::Duration);
const WORDS: [Param; 3] = [TOPIC, maybe("text", Kind::Text), maybe("match", Kind::Text)];
const SENT: &[Param] = &[maybe("to", Kind::Text), WORDS[0], WORDS[1], WORDS[2], maybe("bot", Kind::Text), WITHIN];
const RECEIVED: &[Param] = &[maybe("from", Kind::Text), WORDS[0], WORDS[1], WORDS[2], WITHIN];

const fn now(
    name: &'static str,
    params: &'static [Param],
    options: &'static [Param],
    returns: &'static str,
    help: &'static str,
) -> Call {
    call(name, params, options, returns, "", help)
}

const fn later(
    name: &'static str,
    params: &'static [Param],
    options: &'static [Param],
    returns: &'static str,
    help: &'static str,
) -> Call {
    waiting(now(name, params, options, returns, help))
}

/// Every function of tests. `node:` are those of the test's own node, of other nodes and of people; `t:` those of the test
/// alone; `person:` those of people alone.
pub const TEST_CALLS: &[Call] = &[
    later(
        "node:receive",
        &[WHAT],
        &[
            maybe("from", Kind::Text),
            maybe("text", Kind::Text),
            TOPIC,
            maybe("to", Kind::Text),
            maybe("automatic", Kind::Boolean),
            maybe("priority", Kind::Integer),
            maybe("receipt", Kind::Boolean),
            maybe("reply_to", Kind::Text),
            maybe("reaction", Kind::Boolean),
        ],
        "string",
        "Somebody (\"anna\" if not said; \"self\" is the node's own user) writes to this node, or on a channel. The message goes \
         through the mesh, and the test goes on when the mesh is quiet. Returns the message's id.",
    ),
    later(
        "node:expect_sent",
        &[FILTER],
        SENT,
        "test.sent",
        "A bot of this node has sent such a message, or does within 10s. Each message is expected once. Returns it.",
    ),
    later(
        "node:expect_nothing",
        &[FILTER],
        SENT,
        "",
        "No such message was sent that was not expected before, nor is one within 10s.",
    ),
    later("node:expect_silence", &[DURATION], &[], "", "For so long no bot of this node sends anything."),
    later("node:sent", &[], &[], "test.sent[]", "All that the bots of this node sent so far."),
    later(
        "node:expect_error",
        &[maybe("pattern", Kind::Text)],
        &[],
        "string",
        "A handler of a bot of this node has failed with such a message, or does within 10s. A test fails when errors are \
         left that it did not expect.",
    ),
    later("node:run", &[], &[], "", "Starts the bots now, which else start with the first thing that happens."),
    later("node:reload", &[], &[], "", "Loads the bots of this node anew, as after a change of their files."),
    now("node:config", &[param("values", Kind::Table)], &[], "", "The admin's configuration of this node's bots."),
    now("node:limits", &[param("limits", Kind::Table)], &[], "", "The admin's limits for this node's bots."),
    now("node:grant", &[param("permissions", Kind::Table)], &[], "", "The permissions that the admin grants."),
    now("node:store", &[maybe("key", Kind::Text)], &[], "any", "What the bot keeps under a key, or all of it."),
    now("node:log", &[], &[], "string[]", "The last lines that the bot wrote to the log."),
    later(
        "node:bot_state",
        &[maybe("bot", Kind::Text)],
        &[],
        "string, string?",
        "running, paused, failed or disabled; and the bot's problem.",
    ),
    later(
        "node:emit",
        &[param("event", Kind::Text), FILTER],
        &[maybe("peer", Kind::Text), maybe("name", Kind::Text), maybe("id", Kind::Text), maybe("detail", Kind::Text)],
        "",
        "Tells the bots of an event that the mesh doesn't make by itself.",
    ),
    now(
        "node:source",
        &[NAME, maybe("text", Kind::Text), maybe("code", Kind::Text)],
        &[],
        "",
        "What bots read as the source of that name; without a text, reading fails with that code (source-failed if not said).",
    ),
    now(
        "node:machine",
        &[maybe("report", Kind::Table)],
        &[],
        "",
        "What `mesh.machine` tells: sources, neighbours, gateways, routes, problems. Nothing if not said.",
    ),
    now(
        "node:plugins",
        &[param("plugins", Kind::Table)],
        &[],
        "",
        "The node's plugins, a table for each: name, kind, version, state, file, failures, error.",
    ),
    later("node:swaps", &[], &[], "table[]", "What bots swapped, in order: name and file of each."),
    later("node:trusts", &[], &[], "table", "The trust in each peer that the node knows, by its key."),
    later(
        "node:bounds",
        &[],
        &[],
        "table",
        "What bots bounded with `mesh.relay.limit`: messages and bytes, by the key.",
    ),
    now("node:self", &[], &[], "string", "The node's key."),
    now("node:person", &[NAME], &[], "test.person", "Somebody with a node of her own that is linked to this one."),
    later("node:stop", &[], &[], "", "Stops the node in good order."),
    later("node:crash", &[], &[], "", "Takes the node down at once; what was not on its disk is lost."),
    later("node:start", &[], &[], "", "Starts the node again over what its disk holds, and its bots."),
    later(
        "person:send",
        &[WHAT],
        &[
            maybe("text", Kind::Text),
            TOPIC,
            maybe("to", Kind::Text),
            maybe("automatic", Kind::Boolean),
            maybe("priority", Kind::Integer),
            maybe("receipt", Kind::Boolean),
            maybe("reply_to", Kind::Text),
            maybe("reaction", Kind::Boolean),
        ],
        "string",
        "Writes to a node or a person (if not said, to the node that she is linked to), or on a channel.",
    ),
    later("person:join", &[param("topic", Kind::Text)], &[], "", "Joins a channel. Who writes on one joins it, too."),
    later(
        "person:expect_received",
        &[FILTER],
        RECEIVED,
        "test.received",
        "Such a message has arrived, or does within 10s. Each is expected once. Returns it.",
    ),
    later(
        "person:expect_nothing_received",
        &[FILTER],
        RECEIVED,
        "",
        "No such message has arrived that was not expected before, nor does within 10s.",
    ),
    later("person:received", &[], &[], "test.received[]", "All that has arrived, the oldest first."),
    now(
        "t:node",
        &[NAME, FILTER],
        &[maybe("bots", Kind::Any), maybe("links", Kind::Names)],
        "test.node",
        "A further node, with the tested bot on it; `bots = false` leaves it out, a list of names puts these on. It is linked \
         to all nodes that there are, or to those in `links`.",
    ),
    later(
        "t:link",
        &[param("one", Kind::Text), param("other", Kind::Text), FILTER],
        &[maybe("latency", Kind::Duration)],
        "",
        "Links two nodes; the latency is one way, 5ms if not said.",
    ),
    later("t:unlink", &[param("one", Kind::Text), param("other", Kind::Text)], &[], "", "Takes a link away."),
    later(
        "t:partition",
        &[maybe("...", Kind::Any)],
        &[],
        "",
        "Breaks the mesh into these lists of nodes; all others are together in one more part. People are where their node is.",
    ),
    later("t:heal", &[], &[], "", "Makes the mesh whole again."),
    now(
        "t:loss",
        &[param("share", Kind::Number)],
        &[],
        "",
        "Share of the frames that are lost, and repeated later: 0 to 0.9.",
    ),
    later("t:advance", &[DURATION], &[], "", "Lets time pass."),
    now("t:now", &[], &[], "number", "Unix time in seconds, by the mesh's clock."),
    now("t:key", &[NAME], &[], "string", "The key of a person or a node, whether it is there yet or not."),
    now(
        "t:equal",
        &[maybe("got", Kind::Any), maybe("wanted", Kind::Any), maybe("message", Kind::Text)],
        &[],
        "",
        "Both are equal; tables in all that they hold.",
    ),
    now(
        "t:ok",
        &[maybe("value", Kind::Any), maybe("message", Kind::Text)],
        &[],
        "",
        "The value is neither nil nor false.",
    ),
    now(
        "t:matches",
        &[param("text", Kind::Text), param("pattern", Kind::Text), maybe("message", Kind::Text)],
        &[],
        "",
        "The text has a part that matches the pattern.",
    ),
];

/// The call of that name.
pub(super) fn find(name: &str) -> Option<&'static Call> {
    TEST_CALLS.iter().find(|call| call.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_with_options_take_them_and_all_are_explained() {
        for call in TEST_CALLS {
            let takes = call.params.iter().any(|param| param.kind == Kind::Options);
            assert_eq!(takes, !call.options.is_empty(), "{}", call.name);
            assert!(!call.help.is_empty() && call.is_method(), "{}", call.name);
        }
    }
}
