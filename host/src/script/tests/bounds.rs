//! What scripts give is bounded where it comes in: the host keeps no long text, and no call works long on one.

use serde_json::json;

use crate::api::ApiError;

use super::{holds, limits, raises, run, run_folder, texts};
use crate::script::limits::{CHANNELS, HELP_BYTES, KEY_BYTES};
use crate::script::shared::{Among, Offer, Shared, State};
use crate::script::{ScriptLimits, lock, run_once};

#[test]
fn no_memory_is_no_memory_and_not_memory_without_end() {
    let dir = tempfile::tempdir().unwrap();
    super::write(dir.path(), "bot.lua", "local all = {} for i = 1, 64 do all[i] = buffer.create(2^20) end");
    let limits = ScriptLimits { memory_bytes: 0, ..limits() };
    let report = run_once(&dir.path().join("bot.lua"), &json!({ "event": "start" }), &limits);
    assert_ne!(report.outcome, "ok", "{report:?}");
    assert!(report.memory_bytes < 4 << 20, "{report:?}");
}

#[test]
fn what_the_host_keeps_of_a_script_is_short() {
    raises(
        "mesh.every('1h', tostring, { name = ('n'):rep(257) })",
        1,
        "options.name must have at most 256 bytes, has 257",
    );
    raises("mesh.command('a', { help = ('h'):rep(1025) }, tostring)", 1, "options.help must have at most 1024 bytes");
    raises("mesh.command('a', { args = ('a'):rep(257) }, tostring)", 1, "options.args must have at most 256 bytes");
    raises("mesh.command('a', { channel = ('c'):rep(65) }, tostring)", 1, "at most 64 are allowed");
    raises("mesh.on_broadcast(('c'):rep(14e6), tostring)", 1, "argument 1 must have at most 512 bytes");
    raises("mesh.on('broadcast', { topic = ('é'):rep(7e6) }, tostring)", 1, "at most 64 are allowed");
    let merge = "mesh.on('start', function() mesh.send('a', 'b', { optional = true, merge = ('m'):rep(257) }) end)";
    let report = run_folder(merge, &json!({ "event": "start" }));
    assert!(report.error.unwrap().message.contains("options.merge must have at most 256 bytes"));
    holds(&format!("mesh.every('1h', tostring, {{ name = ('n'):rep({KEY_BYTES}) }})"));
    holds(&format!("mesh.command('a', {{ help = ('h'):rep({HELP_BYTES}) }}, tostring)"));
}

#[test]
fn what_people_type_is_bounded_and_raises_nothing() {
    let text = "mesh.on('start', function()\n\
        local long = ('x'):rep(14e5)\n\
        for _, told in { { mesh.send(long, 'hi') }, { mesh.relay.allow(long) }, { mesh.relay.limit(long) } } do\n\
          assert(told[1] == nil and told[2].code == 'unknown-peer')\n\
        end\n\
        local board = assert(mesh.board('board'))\n\
        assert(select(2, board:post(long)).code == 'too-long')\n\
        assert(select(2, board:get(long)).code == 'unknown-post')\n\
        assert(select(2, board:hide(long, { reason = long })).code == 'unknown-post')\n\
        assert(#board:search(long) == 0)\n\
        local secs, err = mesh.seconds(('9'):rep(14e5))\n\
        assert(secs == nil and err.code == 'bad-duration')\n\
      end)";
    assert_eq!(run_folder(text, &json!({ "event": "start" })).error, None);
}

#[test]
fn a_bot_takes_few_of_the_nodes_channels() {
    let listen = "for i = 1, 200 do mesh.on_broadcast('c' .. i, tostring) end";
    raises(listen, 1, &format!("at most {CHANNELS} channels"));
    let commands = "for i = 1, 200 do mesh.command('c' .. i, { channel = 'c' .. i }, tostring) end";
    raises(commands, 1, &format!("at most {CHANNELS} channels"));
    let dir = tempfile::tempdir().unwrap();
    super::write(dir.path(), "bot.lua", listen);
    let limits = ScriptLimits { channels: 3, ..limits() };
    let report = run_once(&dir.path().join("bot.lua"), &json!({ "event": "start" }), &limits);
    assert!(report.error.unwrap().message.contains("at most 3 channels"), "the admin's number counts");
    // What is refused is not joined: the one channel over the number of registrations.
    let full = "for i = 1, 256 do mesh.on_envelope(tostring) end mesh.on_broadcast('board', tostring)";
    raises(full, 1, "at most 256 handlers, commands and channels");
    holds("for i = 1, 100 do mesh.on_broadcast('board', tostring) end");
}

#[test]
fn base64_reads_all_that_it_writes() {
    holds("local bytes = ('x'):rep(256 * 1024) assert(mesh.base64.decode(mesh.base64.encode(bytes)) == bytes)");
}

#[test]
fn a_bot_writes_no_more_to_the_disk_than_it_may() {
    let text = "local value, done, err = ('x'):rep(16000), 0, nil\n\
        for i = 1, 400 do\n\
          local ok\n\
          ok, err = mesh.store:set('k' .. i % 4, value)\n\
          if not ok then break end\n\
          done += 1\n\
        end\n\
        assert(done >= 200 and done < 300, tostring(done))\n\
        assert(err.code == 'rate-limited' and err.message:find('writing to its store'), err.message)\n\
        assert(select(2, mesh.store:set('k', value)).code == 'rate-limited')\n\
        assert(mesh.store:get('k1') == value and mesh.store:delete('k1'))";
    holds(text);
}

#[test]
fn answers_that_others_make_fail_fill_no_log() {
    let bot = Shared::new("bot", "bot.lua".into(), &limits());
    (0..1_000).for_each(|_| bot.keep_unsaid(&ApiError::new("rate-limited", "the quota is used up")));
    let lines = bot.book.after(0).len();
    assert!(lines > 0 && lines < 100, "{lines}");
}

#[test]
fn help_of_many_bots_is_bounded() {
    let known = std::sync::Arc::new(std::sync::RwLock::new(Vec::new()));
    let among = || Among { known: std::sync::Arc::downgrade(&known), ..Among::default() };
    let bots = (0..100).map(|number| {
        let bot = Shared::among(&format!("bot{number}"), "bot.lua".into(), &ScriptLimits::default(), among());
        let offer = |n| Offer { name: format!("c{n}"), help: "h".repeat(HELP_BYTES), channels: Vec::new() };
        {
            let mut face = lock(&bot.face);
            (face.state, face.commands) = (State::Running, (0..100).map(offer).collect());
        }
        std::sync::Arc::new(bot)
    });
    known.write().unwrap().extend(bots);
    let first = std::sync::Arc::clone(&known.read().unwrap()[0]);
    let lines: usize = first.others_help(None, 10_000).iter().map(|(_, lines)| lines.len()).sum();
    assert_eq!(lines, 10, "10 KiB are begun");
    assert!(texts(&run("mesh.command('a', { help = ('h'):rep(1024), args = ('a'):rep(256) }, tostring)")).is_empty());
}
