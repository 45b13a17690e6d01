//! Boards, as bots use them.

use std::sync::Arc;

use qpq_schemas::{MessageId, PeerId};
use serde_json::json;

use super::live::{Live, Store};
use super::process::kind;
use super::{holds, limits, raises, run, run_with, texts, write};
use crate::api::{ApiError, InboxItem};
use crate::script::double::{SELF, message};
use crate::script::{MemoryNode, ScriptConfig, run_once};

const EVE: [u8; 32] = [0xee; 32];
const KEY: &str = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";

/// The id of the n-th entry that came.
fn id(n: u64) -> String {
    MessageId::from(id_bytes(n)).to_string()
}

fn id_bytes(n: u64) -> [u8; 32] {
    let mut id = [0xab; 32];
    id[..8].copy_from_slice(&(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id
}

/// Somebody typed that on the board; the n-th message, made a second after the one before.
fn typed(n: u64, text: &str) -> InboxItem {
    let item = message(PeerId(EVE), Some("board"));
    InboxItem {
        id: MessageId(id_bytes(n)),
        from_name: Some("eve".to_owned()),
        payload: text.as_bytes().to_vec(),
        created_ms: item.created_ms - 10_000_000 + n * 1_000,
        ..item
    }
}

fn config(dir: &std::path::Path) -> ScriptConfig {
    let config = ScriptConfig { dirs: vec![dir.to_path_buf()], watch: false, ..kind() };
    ScriptConfig { limits: limits(), ..config }
}

#[test]
fn a_board_opens_whatever_the_bot_has_made_of_its_globals() {
    let report = run(r#"
        local wrap = coroutine.wrap
        coroutine = { yield = function() error("the bot's own") end }
        table, string, error = nil, nil, nil
        local board = assert(mesh.board("board"))
        local post = assert(board:post("one"))
        wrap(function() assert(board:edit(post.id, "uno")) end)()
        assert(board:get(post.id).text == "uno")
    "#);
    assert_eq!(report.outcome, "ok", "{:?}", report.error);
}

#[test]
fn a_bot_reads_what_it_has_written_at_once() {
    let report = run(r#"
        local board = assert(mesh.board("board"))
        local one = assert(board:post("  one  "))
        assert(#one.id == 64 and #one.short == 6 and one.text == "one" and #one.author == 64 and one.via == nil)
        assert(one.pinned == false and one.hidden == false and one.replies == 0 and one.edited == nil)
        assert(one.expires - one.created == 30 * 86400 and math.abs(one.created - mesh.now()) < 5)
        assert(board:size() == 1 and board:list()[1].id == one.id)
        local edited = assert(board:edit(one.short, "uno"))
        assert(edited.id == one.id and edited.text == "uno" and edited.edited)
        local reply = assert(board:reply(one.id, "two"))
        assert(reply.parent == one.id and board:get(one.id).replies == 1 and board:size() == 2)
        assert(#board:list() == 1 and #board:list({ replies = true }) == 2)
        local thread = board:thread(one.id)
        assert(thread[1].id == one.id and thread[2].id == reply.id and thread[2].depth == 1)
        assert(board:search("UNO")[1].id == one.id and #board:search("three") == 0)
        assert(board:pin(one.id).pinned and not board:unpin(one.id).pinned)
        local hidden = assert(board:hide(one.id, { reason = "off topic" }))
        assert(hidden.hidden and hidden.reason == "off topic" and #board:list() == 0)
        assert(#board:list({ hidden = true }) == 1 and not board:show(one.id).hidden)
        assert(board:delete(one.id) == true)
        local gone, err = board:get(one.id)
        assert(gone == nil and err.code == "unknown-post" and board:size() == 1)
    "#);
    assert_eq!(report.error, None);
    let said = texts(&report);
    assert_eq!(said[0], "!post one");
    assert!(said[1].starts_with("!edit ") && said[1].ends_with(" uno") && said[1].len() == 6 + 64 + 4, "{said:?}");
    assert_eq!(said.len(), 8);
    assert!(report.outputs.iter().all(|output| output["topic"] == "board"));
}

#[test]
fn what_somebody_asked_for_is_posted_in_his_name_and_only_he_changes_it() {
    let text = r#"
        local board = assert(mesh.board("board"))
        mesh.on_envelope(function(msg)
            msg.from = string.rep("0", 64) -- whatever the bot writes into the message
            local post = assert(board:post(msg.text, { by = msg }))
            assert(post.author == KEY and post.author_name == "eve" and post.via == mesh_key(board))
            local none, err = board:edit(post.id, "mine")
            assert(none == nil and err.code == "not-yours")
            assert(board:edit(post.id, "better", { by = msg }).text == "better")
            assert(board:list({ by = KEY })[1].id == post.id and #board:list({ by = "self" }) == 1)
            assert(board:delete(post.id, { by = KEY }))
        end)
        function mesh_key(board) return board:post("x").author end"#;
    let report = run_with(
        &text.replace("KEY", &format!("\"{KEY}\"")),
        &json!({"text": "hello", "from": KEY, "from_name": "eve"}),
    );
    assert_eq!(report.error, None);
    let said = texts(&report);
    assert_eq!(said[0], format!("!post for:{KEY} hello"));
    assert!(said[2].starts_with(&format!("!edit for:{KEY} ")) && said[3].starts_with(&format!("!delete for:{KEY} ")));
}

#[test]
fn what_the_world_refuses_comes_back_with_a_code() {
    holds(
        r#"
        local board = assert(mesh.board("board", { moderators = {}, posts = 10, keep = "1d" }))
        local function refused(code, result, err)
            assert(result == nil and err and err.code == code, code .. ": " .. tostring(err and err.code))
        end
        refused("too-long", board:post(string.rep("x", 9000)))
        refused("too-long", board:post(string.rep("\u{fc}", 40000) .. "x"))
        refused("unknown-post", board:reply("abcdef", "x"))
        refused("unknown-post", board:get("not an id"))
        local post = board:post("x")
        refused("not-moderator", board:pin(post.id))
        refused("not-moderator", board:ban(string.rep("a", 64)))
        local other = assert(mesh.board("other"))
        assert(other:ban(string.rep("a", 64)) == true)
        refused("banned", other:post("x", { by = string.rep("a", 64) }))
        assert(other:unban(string.rep("a", 64)) and other:post("x", { by = string.rep("a", 64) }))
        refused("moderator", other:ban("self"))
        local key = string.rep("a", 64)
        refused("bad-text", other:post("for:" .. key .. " x"))
        for _, wrong in { "  ", "\255" } do
            refused("bad-text", other:post(wrong))
            refused("bad-text", other:reply(other:list()[1].id, wrong))
        end
        assert(other:post("for:" .. key .. " x", { by = key }).text == "for:" .. key .. " x")
        refused("bad-key", other:ban("eve"))
        refused("unknown-post", other:get("\255"))
        assert(#other:search("\255") == 0)
    "#,
    );
}

#[test]
fn a_bot_moderates_for_those_alone_who_moderate() {
    let text = r#"
        local board = assert(mesh.board("board", { moderators = { "self", KEY } }))
        local post = assert(board:post("x"))
        mesh.command("all", {}, function(msg)
            local by, said = { by = msg }, {}
            local function note(result, err) said[#said + 1] = err and err.code or "done" end
            note(board:pin(post.id, by)) note(board:unpin(post.id, by))
            note(board:hide(post.id, { by = msg, reason = "why" })) note(board:show(post.id, by))
            note(board:ban(string.rep("a", 64), by)) note(board:unban(string.rep("a", 64), by))
            return table.concat(said, " ")
        end)"#
        .replace("KEY", &format!("\"{KEY}\""));
    let said = |from: &str| run_with(&text, &json!({"text": "!all", "from": from}));
    let (moderator, other) = (said(KEY), said(&"bb".repeat(32)));
    assert_eq!(texts(&moderator).last(), Some(&"done done done done done done"), "{moderator:?}");
    let entries = texts(&moderator);
    assert!(entries[1].starts_with("!pin ") && !entries.iter().any(|entry| entry.contains("for:")), "{entries:?}");
    assert_eq!(texts(&other)[1..], [["not-moderator"; 6].join(" ")]);
    holds(&format!(
        "local board = assert(mesh.board('board', {{ moderators = {{ '{KEY}' }} }}))
         local done, err = board:pin(board:post('x').id, {{ by = '{KEY}' }})
         assert(done == nil and err.code == 'not-moderator' and err.message:find('add \"self\"'))"
    ));
}

#[test]
fn mistakes_raise_where_they_were_made() {
    raises("\nmesh.board('board', { keep = '31d' })", 2, "options.keep must be from 1 minute to 30 days");
    raises("mesh.board('board', { moderators = 'eve' })", 1, "options.moderators[1] must be a key of 64");
    raises("mesh.board('board', { posts = 5000 })", 1, "options.posts must be from 1 to 4000");
    raises("mesh.board('a\\0b')", 1, "argument 1 (topic)");
    raises("mesh.board('a')\nmesh.board('a', { posts = 5 })", 2, "open with other options already");
    raises("for i = 1, 5 do mesh.board('b' .. i) end", 1, "at most 16 boards, with 4000 posts in all");
    raises("mesh.board('a'):post('x', { by = {} })", 1, "this is no message that the bot received");
    raises("mesh.board('a').list({})", 1, "call it with a colon");
    raises("mesh.board('a'):lst()", 1, "");
}

#[test]
fn a_bot_that_may_not_publish_on_a_channel_reads_its_board_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot/bot.toml", "needs = [\"listen:board\"]\n");
    write(
        dir.path(),
        "bot/init.lua",
        "local board = assert(mesh.board('board'))\nassert(board:size() == 0)\nboard:post('x')",
    );
    let report = run_once(&dir.path().join("bot"), &json!({"text": "x"}), &limits());
    let error = report.error.unwrap();
    assert!(error.message.contains("no permission \"broadcast:board\"") && error.line == Some(3), "{error:?}");
    write(dir.path(), "bot/init.lua", "mesh.board('market')");
    let report = run_once(&dir.path().join("bot"), &json!({"text": "x"}), &limits());
    assert!(report.error.unwrap().message.contains("no permission \"listen:market\""));
}

/// Answers each direct message with what is on the board, and tells of changes.
const READER: &str = r##"
    local board = assert(mesh.board("board"))
    mesh.on_envelope(function(msg)
        local texts = {}
        for _, post in board:list() do texts[#texts + 1] = post.text end
        msg:reply(board:size() .. ": " .. table.concat(texts, ", "))
    end)
    mesh.on("board", { board = "board" }, function(post)
        mesh.broadcast("log", post.change .. " " .. (post.text or "") .. " of " .. post.author_name)
    end)"##;

#[test]
fn what_people_typed_before_the_bot_was_there_is_on_the_board_and_what_they_type_now_changes_it() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", READER);
    let node = Arc::new(MemoryNode::default());
    node.put(typed(1, "!post Lost: one cat"));
    node.put(typed(2, "good morning"));
    node.put(typed(3, &format!("!edit {} Lost: two cats", &id(1)[..6])));
    let live = Live::with_node(config(dir.path()), Store::default(), Arc::clone(&node));
    live.running("bot");
    assert_eq!(live.ask(EVE, None, "?"), "1: Lost: two cats");
    let change = |item: InboxItem, told: &str| {
        let seq = node.put(item);
        live.grew(seq);
        live.sent(|sent| sent.last().is_some_and(|last| last == told));
    };
    change(typed(4, "!post Found: a dog"), "new Found: a dog of eve");
    change(typed(5, &format!("!reply {} which?", id(4))), "new which? of eve");
    change(typed(6, &format!("!edit {} Found: a big dog", id(4))), "edited Found: a big dog of eve");
    change(typed(7, &format!("!delete {}", id(4))), "deleted  of eve");
    // What a program writes of itself its handlers don't hear, what it writes for somebody they do.
    node.put(InboxItem { automatic: true, ..typed(8, "!post I am a program") });
    let via =
        InboxItem { automatic: true, from: PeerId([7; 32]), ..typed(9, &format!("!post for:{KEY} by a program")) };
    change(via, "new by a program of eve");
    assert_eq!(live.ask(EVE, None, "?"), "4: by a program, I am a program, which?, Lost: two cats");
    live.stop();
}

#[test]
fn what_programs_of_its_own_node_wrote_stands_on_the_board_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", READER);
    let node = Arc::new(MemoryNode::default());
    let own = |item: InboxItem| InboxItem { own: true, automatic: true, from: SELF, ..item };
    node.put(own(typed(1, &format!("!post for:{KEY} for eve"))));
    node.put(own(typed(2, "!post by itself")));
    let live = Live::with_node(config(dir.path()), Store::default(), Arc::clone(&node));
    live.running("bot");
    assert_eq!(live.ask(EVE, None, "?"), "2: by itself, for eve");
    live.stop();
}

/// The same promises, kept by bots in processes of their own.
mod in_processes {
    use crate::script::tests::process::in_processes;

    in_processes!(
        super::what_people_typed_before_the_bot_was_there_is_on_the_board_and_what_they_type_now_changes_it,
        super::what_programs_of_its_own_node_wrote_stands_on_the_board_after_a_restart,
        super::a_new_version_goes_on_with_the_board_and_one_with_other_options_reads_it_anew,
        super::boards_that_are_opened_at_the_same_time_have_no_more_room_than_one_after_another,
    );
}

#[test]
fn boards_that_are_opened_at_the_same_time_have_no_more_room_than_one_after_another() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"
        local opened, refused = {}, 0
        local function open(name)
            local done, board = pcall(mesh.board, name, { posts = 2000 })
            if done and board then opened[#opened + 1] = board else refused += 1 end
        end
        for n = 1, 5 do mesh.after(1, function() open("b" .. n) end) end
        for n = 1, 5 do mesh.after(1, function() open("same") end) end
        mesh.on_envelope(function(msg)
            local topics = {}
            for _, board in opened do topics[board.topic] = board:size() end
            local count = 0
            for _ in topics do count += 1 end
            msg:reply(#opened + refused .. " " .. count)
        end)"#;
    write(dir.path(), "bot.lua", text);
    let mut config = config(dir.path());
    config.limits.messages_per_minute = 1_000;
    let live = Live::start(config, Store::default());
    live.running("bot");
    live.until(|live| live.ask(EVE, None, "?") == "10 2");
    live.stop();
}

#[test]
fn a_board_that_is_opened_again_takes_no_room_and_one_that_failed_gives_it_back() {
    holds("for i = 1, 40 do assert(mesh.board('b', { posts = 3000 }):size() == 0) end");
    let dir = tempfile::tempdir().unwrap();
    let text = r#"
        mesh.on_envelope(function(msg)
            local board, err = mesh.board(msg.text, { posts = 4000 })
            msg:reply(board and board.topic or err.code)
        end)"#;
    write(dir.path(), "bot.lua", text);
    let node = Arc::new(MemoryNode::default());
    let live = Live::with_node(config(dir.path()), Store::default(), Arc::clone(&node));
    live.running("bot");
    node.refuse_topics(Some(ApiError::new("disk-full", "no room")));
    assert_eq!(live.ask(EVE, None, "one"), "disk-full");
    node.refuse_topics(None);
    assert_eq!(live.ask(EVE, None, "two"), "two");
    live.stop();
}

#[test]
fn a_new_version_goes_on_with_the_board_and_one_with_other_options_reads_it_anew() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", READER);
    let node = Arc::new(MemoryNode::default());
    node.put(typed(1, "!post one"));
    let live = Live::with_node(config(dir.path()), Store::default(), Arc::clone(&node));
    live.running("bot");
    let seq = node.put(typed(2, "!post two"));
    live.grew(seq);
    live.sent(|sent| sent == ["new two of eve"]);
    live.again("bot");
    assert_eq!(live.ask(EVE, None, "?"), "2: two, one");
    write(dir.path(), "bot.lua", &READER.replace("\"board\")", "\"board\", { posts = 1 })"));
    live.again("bot");
    assert_eq!(live.ask(EVE, None, "?"), "1: two");
    let seq = node.put(typed(3, "!post three"));
    live.grew(seq);
    live.sent(|sent| sent.last().is_some_and(|last| last == "new three of eve"));
    assert_eq!(live.ask(EVE, None, "?"), "1: three");
    live.stop();
}

#[test]
fn a_thousand_posts_are_listed_and_searched_within_the_budget_of_one_event() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"
        local board = assert(mesh.board("board"))
        mesh.on_envelope(function(msg)
            local all = board:list({ limit = 200, skip = 700 })
            local found = board:search("needle haystack", { limit = 200 })
            msg:reply(board:size() .. " " .. #all .. " " .. #found)
        end)"#;
    write(dir.path(), "bot.lua", text);
    let node = Arc::new(MemoryNode::default());
    for n in 0..1_000 {
        let word = if n % 100 == 0 { "needle" } else { "straw" };
        node.put(typed(n, &format!("!post {word} {n} in a HAYSTACK{}", " and more of it".repeat(30))));
    }
    let live = Live::with_node(config(dir.path()), Store::default(), node);
    live.running("bot");
    assert_eq!(live.ask(EVE, None, "?"), "1000 200 10");
    assert_eq!(live.errors("bot"), 0);
    live.stop();
}
