//! What tests can call, in one table: names, arguments, options, help. Arguments are checked from it.

use super::super::api::{Call, Field, Group, Kind, Param, Type, call, field, maybe, param, table, waiting};

const WHAT: Param = param("what", Kind::Options).doc("the message");
const FILTER: Param = maybe("filter", Kind::Options).doc("what is looked for; anything if not said");
const NAME: Param = param("name", Kind::Text).doc("a person's or a node's name");
const DURATION: Param = param("duration", Kind::Duration).doc("how long");
const TEXT: Param = maybe("text", Kind::Text);
const TOPIC: Param = maybe("topic", Kind::Text).doc("the channel");
const WITHIN: Param = maybe("within", Kind::Duration).doc("how long to wait for it; 10s if not said");
const WORDS: [Param; 3] =
    [TOPIC, TEXT.doc("the whole text"), maybe("match", Kind::Text).doc("a pattern that a part of the text matches")];
const SENT: &[Param] = &[
    maybe("to", Kind::Text).doc("the recipient, by name or key"),
    WORDS[0],
    WORDS[1],
    WORDS[2],
    maybe("bot", Kind::Text).doc("the bot that sent it"),
    WITHIN,
];
const RECEIVED: &[Param] =
    &[maybe("from", Kind::Text).doc("the sender, by name or key"), WORDS[0], WORDS[1], WORDS[2], WITHIN];
const AUTOMATIC: Param = maybe("automatic", Kind::Boolean).doc("as if a program wrote it");
const PRIORITY: Param = maybe("priority", Kind::Integer).doc("from 0 (low) to 3 (emergency)");
const RECEIPT: Param = maybe("receipt", Kind::Boolean).doc("ask for a receipt");
const REPLY_TO: Param = maybe("reply_to", Kind::Text).doc("the id of the message that it answers");
const REACTION: Param = maybe("reaction", Kind::Boolean).doc("it is a reaction to that message");
const ONE: Param = param("one", Kind::Text).doc("a node's name");
const OTHER: Param = param("other", Kind::Text).doc("another node's name");
const MESSAGE: Param = maybe("message", Kind::Text).doc("what to say when it isn't so");

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
            maybe("from", Kind::Text).doc("who writes"),
            TEXT.doc("what is written"),
            TOPIC,
            maybe("to", Kind::Text).doc("to whom, if not to this node"),
            AUTOMATIC,
            PRIORITY,
            RECEIPT,
            REPLY_TO,
            REACTION,
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
        &[maybe("pattern", Kind::Text).doc("a pattern that a part of the message matches")],
        &[],
        "string",
        "A handler of a bot of this node has failed with such a message, or does within 10s. A test fails when errors are \
         left that it did not expect.",
    ),
    later("node:run", &[], &[], "", "Starts the bots now, which else start with the first thing that happens."),
    later("node:reload", &[], &[], "", "Loads the bots of this node anew, as after a change of their files."),
    now(
        "node:config",
        &[param("values", Kind::Table).doc("names with their values, as in [scripts.config.NAME]")],
        &[],
        "",
        "The admin's configuration of this node's bots.",
    ),
    now(
        "node:limits",
        &[param("limits", Kind::Table).doc("names with their values, as in [scripts.limits]")],
        &[],
        "",
        "The admin's limits for this node's bots.",
    ),
    now(
        "node:grant",
        &[param("permissions", Kind::Table).of("string[]").doc("their names")],
        &[],
        "",
        "The permissions that the admin grants. A version that needs others waits, as on a node: `t:bot_state()` is `waiting`. All, if not said.",
    ),
    now(
        "node:store",
        &[maybe("key", Kind::Text).doc("the key; all of them if not said")],
        &[],
        "any",
        "What the bot keeps under a key, or all of it.",
    ),
    now("node:log", &[], &[], "string[]", "The last lines that the bot wrote to the log."),
    later(
        "node:bot_state",
        &[maybe("bot", Kind::Text).doc("the bot's name; the tested one if not said")],
        &[],
        "string, string?",
        "running, paused, failed or disabled; and the bot's problem.",
    ),
    later(
        "node:emit",
        &[param("event", Kind::Text).of("mesh.event_name").doc("the event's name"), FILTER.doc("its fields")],
        &[
            maybe("peer", Kind::Text).doc("the peer that it is about, by name or key"),
            maybe("name", Kind::Text).doc("the peer's nickname"),
            maybe("id", Kind::Text).doc("the id of the message that it is about"),
            maybe("detail", Kind::Text).doc("a few words"),
        ],
        "",
        "Tells the bots of an event that the mesh doesn't make by itself.",
    ),
    now(
        "node:source",
        &[
            param("name", Kind::Text).doc("the admin's name for the source"),
            maybe("text", Kind::Text).doc("what is read"),
            maybe("code", Kind::Text).doc("why it can't be read"),
        ],
        &[],
        "",
        "What bots read as the source of that name; without a text, reading fails with that code (source-failed if not said).",
    ),
    now(
        "node:machine",
        &[maybe("report", Kind::Table).doc("as `mesh.machine` returns it")],
        &[],
        "",
        "What `mesh.machine` tells: sources, neighbours, gateways, routes, problems. Nothing if not said.",
    ),
    now(
        "node:plugins",
        &[param("plugins", Kind::Table).doc("a list, as `mesh.relay.plugins` returns it")],
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
            TEXT.doc("what is written"),
            TOPIC,
            maybe("to", Kind::Text).doc("to whom"),
            AUTOMATIC,
            PRIORITY,
            RECEIPT,
            REPLY_TO,
            REACTION,
        ],
        "string",
        "Writes to a node or a person (if not said, to the node that she is linked to), or on a channel.",
    ),
    later(
        "person:join",
        &[param("topic", Kind::Text).doc("the channel")],
        &[],
        "",
        "Joins a channel. Who writes on one joins it, too.",
    ),
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
        &[NAME, FILTER.doc("how it is made")],
        &[
            maybe("bots", Kind::Any).of("boolean|string[]").doc("false for none, or the names of those that run on it"),
            maybe("links", Kind::Names).doc("the nodes that it is linked to"),
        ],
        "test.node",
        "A further node, with the tested bot on it; `bots = false` leaves it out, a list of names puts these on. It is linked \
         to all nodes that there are, or to those in `links`.",
    ),
    later(
        "t:link",
        &[ONE, OTHER, FILTER.doc("how it is")],
        &[maybe("latency", Kind::Duration).doc("how long a message takes one way")],
        "",
        "Links two nodes; the latency is one way, 5ms if not said.",
    ),
    later("t:unlink", &[ONE, OTHER], &[], "", "Takes a link away."),
    later(
        "t:partition",
        &[maybe("...", Kind::Any).of("string[]").doc("the parts, each a list of nodes' names")],
        &[],
        "",
        "Breaks the mesh into these lists of nodes; all others are together in one more part. People are where their node is.",
    ),
    later("t:heal", &[], &[], "", "Makes the mesh whole again."),
    now(
        "t:loss",
        &[param("share", Kind::Number).doc("0.3 is every third, about")],
        &[],
        "",
        "Share of the frames that are lost, and repeated later: 0 to 0.9.",
    ),
    later("t:advance", &[DURATION], &[], "", "Lets time pass."),
    now("t:now", &[], &[], "number", "Unix time in seconds, by the mesh's clock."),
    now("t:key", &[NAME], &[], "string", "The key of a person or a node, whether it is there yet or not."),
    now(
        "t:equal",
        &[maybe("got", Kind::Any).doc("what came"), maybe("wanted", Kind::Any).doc("what should have come"), MESSAGE],
        &[],
        "",
        "Both are equal; tables in all that they hold.",
    ),
    now(
        "t:ok",
        &[maybe("value", Kind::Any).doc("what must be so"), MESSAGE],
        &[],
        "",
        "The value is neither nil nor false.",
    ),
    now(
        "t:matches",
        &[param("text", Kind::Text).doc("a text"), param("pattern", Kind::Text).doc("a pattern of Lua"), MESSAGE],
        &[],
        "",
        "The text has a part that matches the pattern.",
    ),
];

/// What is said of tests in generated texts: how one is written, and what it can call.
pub const TEST_GROUPS: &[Group] = &[
    Group {
        name: "tests",
        help: "In files such as `hello_test.lua`, which `qpq script test` runs on a virtual mesh with a virtual clock.",
        calls: &[call(
            "test",
            &[
                param("name", Kind::Text).doc("what is promised"),
                param("fn", Kind::Function)
                    .of("fun(t: test.t)")
                    .doc("plays it on a mesh of its own, and raises when it isn't so"),
            ],
            &[],
            "",
            "",
            "Writes a test down. It runs when the whole file is read.",
        )],
        values: &[],
    },
    Group {
        name: "test mesh",
        help: "What a test can do. `node:` stands for `t`, for a further node and for a person alike.",
        calls: TEST_CALLS,
        values: &[],
    },
];

const NAMED: Field = field("name", "string", "its name");

/// The tables that tests meet, each with all its fields.
pub const TEST_TYPES: &[Type] = &[
    table("test.node", "node", "A node of the virtual mesh.", &[NAMED]),
    table("test.t", "t", "The test: its mesh, and its first node.", &[]).under("test.node"),
    table("test.person", "person", "Somebody with a node of her own.", &[field("key", "string", "her key, 64 digits")])
        .under("test.node"),
    table(
        "test.sent",
        "",
        "A message that a bot sent.",
        &[
            field("text", "string", "the text"),
            field("to", "string?", "the recipient's key; absent on a channel"),
            field("to_name", "string?", "the recipient's name"),
            field("topic", "string?", "the channel"),
            field("bot", "string", "the bot"),
            field("id", "string", "the message's id, 64 digits"),
            field("time", "number", "when it was sent, Unix seconds"),
            field("expires", "number", "when it dies, Unix seconds"),
            field("priority", "mesh.priority", "how urgent it is"),
            field("reply_to", "string?", "the id of the message that it answers"),
            field("reaction", "boolean", "it is a reaction to that message"),
        ],
    ),
    table(
        "test.received",
        "",
        "A message that reached a person.",
        &[
            field("text", "string", "the text"),
            field("from", "string", "the sender's key"),
            field("from_name", "string", "the sender's name"),
            field("topic", "string?", "the channel"),
            field("id", "string", "the message's id, 64 digits"),
            field("time", "number", "when it came, Unix seconds"),
            field("created", "number", "when it was written, Unix seconds"),
            field("expires", "number", "when it dies, Unix seconds"),
            field("automatic", "boolean", "a program wrote it"),
            field("sealed", "boolean", "nobody on the way could read it"),
            field("hops", "integer", "links that it crossed"),
            field("reply_to", "string?", "the id of the message that it answers"),
            field("reaction", "boolean", "it is a reaction to that message"),
            field("priority", "mesh.priority", "how urgent it is"),
        ],
    ),
];

/// The call of that name.
pub(super) fn find(name: &str) -> Option<&'static Call> {
    TEST_CALLS.iter().find(|call| call.name == name)
}

#[cfg(test)]
mod tests {
    use super::super::{TestOrder, run_tests};
    use super::*;

    #[test]
    fn calls_with_options_take_them_and_all_are_explained() {
        for call in TEST_CALLS {
            let takes = call.params.iter().any(|param| param.kind == Kind::Options);
            assert_eq!(takes, !call.options.is_empty(), "{}", call.name);
            assert!(!call.help.is_empty() && call.is_method(), "{}", call.name);
            let undocumented = call.params.iter().chain(call.options).find(|param| param.doc.is_empty());
            assert!(undocumented.is_none(), "{}: {undocumented:?}", call.name);
        }
    }

    #[test]
    fn the_tables_of_tests_have_the_fields_that_are_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let bot = "mesh.command('x', { channel = 'board' }, function(msg) msg:react('ok') return 'x' end)\n\
                   mesh.command('say', { channel = 'board' }, function() mesh.broadcast('board', 'x') end)";
        let keys = |name: &str| {
            let fields = TEST_TYPES.iter().find(|table| table.name == name).unwrap().fields;
            let field = |field: &Field| format!("{} = {}", field.name, if field.optional() { "false" } else { "true" });
            format!("{{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        };
        let test = format!(
            "local function fits(t, values, fields)
               local seen = {{}}
               for _, value in values do
                 for key in pairs(value) do
                   t:ok(fields[key] ~= nil, key .. ' is not written down')
                   seen[key] = true
                 end
                 for key, always in pairs(fields) do t:ok(not always or value[key] ~= nil, key .. ' is missing') end
               end
               for key in pairs(fields) do t:ok(seen[key], key .. ' was never there') end
             end
             test('tables', function(t)
               local anna = t:person('anna')
               anna:join('board')
               t:receive{{ from = 'anna', text = '!x' }}
               t:receive{{ from = 'anna', topic = 'board', text = '!say' }}
               t:advance('1m')
               fits(t, t:sent(), {})
               fits(t, anna:received(), {})
               t:equal(anna.name, 'anna')
               t:equal(anna.key, t:key('anna'))
             end)",
            keys("test.sent"),
            keys("test.received")
        );
        std::fs::write(dir.path().join("bot.lua"), bot).unwrap();
        std::fs::write(dir.path().join("bot_test.lua"), test).unwrap();
        let order = TestOrder { paths: vec![dir.path().to_path_buf()], seed: 1, filter: None };
        let run = run_tests(&order).unwrap();
        assert!(run.ok && run.passed == 1, "{:#?}", run.tests);
    }
}
