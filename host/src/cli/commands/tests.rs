//! Commands against a node in memory.

use clap::Parser;
use qpq_schemas::PeerId;

use super::*;
use crate::api::*;
use crate::cli::args::Cli;
use crate::cli::term::Style;
use crate::control::testing::{Double, item};

fn setting(json: bool) -> Setting {
    Setting { home: None, target: None, json, style: Style::PLAIN }
}

async fn outcome(node: Arc<Double>, line: &[&str]) -> Result<Answer, Failure> {
    let cli = Cli::parse_from(["qpq"].iter().chain(line));
    let connect = || Ok(Arc::clone(&node) as Arc<dyn NodeApi>);
    match run(&setting(cli.global.json), cli.command.unwrap(), &connect).await? {
        Outcome::Answer(answer) => Ok(answer),
        Outcome::Follow(_) | Outcome::Lua(_) => panic!("no answer"),
    }
}

async fn text(line: &[&str]) -> String {
    outcome(Arc::default(), line).await.unwrap().show(false)
}

async fn json(line: &[&str]) -> serde_json::Value {
    serde_json::from_str(&outcome(Arc::default(), line).await.unwrap().show(true)).unwrap()
}

#[tokio::test]
async fn every_answer_in_json_names_its_schema_and_version() {
    for line in [
        &["status"][..],
        &["stop"],
        &["mesh", "identity"],
        &["mesh", "peers"],
        &["mesh", "server", "192.0.2.1:7000"],
        &["mesh", "send", "anna", "x"],
        &["mesh", "broadcast", "news", "x"],
        &["mesh", "subscribe", "news"],
        &["mesh", "unsubscribe", "news"],
        &["mesh", "channels"],
        &["mesh", "create", "crew"],
        &["mesh", "inbox"],
        &["mesh", "route"],
        &["mesh", "route", "--all"],
        &["mesh", "route", "--svg"],
        &["mesh", "route", "--dot"],
        &["mesh", "why", "05050505"],
        &["mesh", "store"],
        &["mesh", "store", "--recipient", "anna"],
        &["plugin", "list"],
        &["plugin", "enable", "x"],
        &["script", "list"],
        &["script", "approve", "announcements", "--yes"],
        &["script", "logs"],
        &["script", "logs", "announcements", "--traceback"],
        &["script", "top"],
        &["script", "top", "announcements", "--once"],
        &["script", "help"],
        &["script", "help", "mesh.send"],
        &["script", "help", "mesh.message"],
        &["script", "help", "peer_up"],
        &["script", "help", "rate-limited"],
        &["script", "help", "logs"],
        &["script", "reload"],
        &["config", "reference"],
    ] {
        let schema = json(line).await["schema"].as_str().unwrap_or_default().to_owned();
        assert!(schema.starts_with("qpq.") && schema.ends_with("/1"), "{line:?}: {schema}");
        assert!(!text(line).await.is_empty(), "{line:?}");
    }
}

#[tokio::test]
async fn an_identity_in_json_has_the_peer_id() {
    assert_eq!(json(&["mesh", "identity"]).await["peer_id"], "01".repeat(32));
}

#[tokio::test]
async fn sending_prints_the_id_of_the_durable_message() {
    assert_eq!(text(&["mesh", "send", "anna", "x"]).await, "05".repeat(32));
    assert_eq!(json(&["mesh", "send", "anna", "x"]).await["id"], "05".repeat(32));
}

#[tokio::test]
async fn the_words_of_a_message_are_joined() {
    let node = Arc::<Double>::default();
    let line = ["mesh", "send", "anna", "Hello", "from", "the mesh!", "--ttl", "3d", "--priority", "high"];
    outcome(Arc::clone(&node), &line).await.unwrap();
    let request = SendRequest {
        to: "anna".into(),
        payload: b"Hello from the mesh!".to_vec(),
        ttl_secs: Some(259_200),
        priority: Some(2),
        ..SendRequest::default()
    };
    assert_eq!(*node.calls.lock().unwrap(), [format!("send {request:?}")]);
}

#[tokio::test]
async fn a_broadcast_says_how_far_it_goes() {
    let node = Arc::<Double>::default();
    outcome(Arc::clone(&node), &["mesh", "broadcast", "news", "x", "--hops", "2"]).await.unwrap();
    assert_eq!(*node.calls.lock().unwrap(), ["broadcast news x over 2 links at most"]);
}

#[tokio::test]
async fn a_notice_is_shown_with_who_signed_it_and_who_is_missing() {
    let shown = text(&["mesh", "emergency", "show", "qpqnotice00"]).await;
    assert!(shown.contains("signed   anna") && shown.contains("(0707070707)"), "{shown}");
    assert!(shown.contains("missing  this node") && shown.contains("1 of 2 admins"), "{shown}");
    assert!(shown.ends_with("\nqpqnotice00") && !shown.contains('\u{1b}'), "{shown:?}");
    assert_eq!(json(&["mesh", "emergency", "show", "qpqnotice00"]).await["notice"], "qpqnotice00");
}

#[tokio::test]
async fn a_message_that_is_a_notice_says_how_many_admins_have_signed_it() {
    let node = Arc::new(Double::default());
    let notice = |quorum| Some(NoticeMark { until_ms: 9, signed: vec![PeerId([7; 32]); 2], counted: 2, quorum });
    *node.messages.lock().unwrap() = vec![
        InboxItem { priority: 3, notice: notice(2), ..item(1) },
        InboxItem { priority: 2, notice: notice(0), ..item(2) },
    ];
    let shown = outcome(node, &["mesh", "inbox"]).await.unwrap().show(false);
    assert!(shown.contains("EMERGENCY (notice, signed by 2 of 2 admins): hello"), "{shown}");
    assert!(shown.contains("! (notice, 2 signatures): hello"), "{shown}");
}

#[tokio::test]
async fn copies_of_a_notice_are_handed_on_together() {
    let node = Arc::<Double>::default();
    for line in [
        &["mesh", "emergency", "draft", "the", "dam breaks", "--ttl", "6h"][..],
        &["mesh", "emergency", "sign", "a", "b"],
        &["mesh", "emergency", "publish", "a"],
    ] {
        outcome(Arc::clone(&node), line).await.unwrap();
    }
    let calls = node.calls.lock().unwrap().clone();
    assert_eq!(calls, ["draft the dam breaks Some(21600)", "sign [\"a\", \"b\"]", "proclaim [\"a\"]"]);
}

#[tokio::test]
async fn a_failed_operation_keeps_its_code() {
    let failure = outcome(Arc::default(), &["mesh", "send", "nobody", "x"]).await.unwrap_err();
    assert_eq!((failure.exit_code(), failure.to_string()), (1, "Nobody is called nobody. (unknown-peer)".into()));
}

#[tokio::test]
async fn a_secret_invite_is_shown_only_when_it_is_asked_for() {
    assert_eq!(json(&["mesh", "create", "crew"]).await["invite"], "invite-text");
    assert!(text(&["mesh", "create", "crew"]).await.contains("invite-text"));
    assert!(!json(&["mesh", "channels"]).await.to_string().contains("invite-text"));
    let failure = outcome(Arc::default(), &["mesh", "invite", "announcements"]).await.unwrap_err();
    assert!(failure.to_string().contains("open channel"), "{failure}");
    let failure = outcome(Arc::default(), &["mesh", "invite", "nowhere"]).await.unwrap_err();
    assert!(failure.to_string().contains("No channel nowhere"), "{failure}");
}

fn hostile() -> InboxItem {
    InboxItem {
        payload: b"first\x1b[2J\nsecond\x07".to_vec(),
        from_name: Some("an\x1b]0;x\x07na".into()),
        topic: Some("ne\u{202e}ws".into()),
        ..item(1)
    }
}

#[tokio::test]
async fn messages_reach_the_terminal_without_their_escapes() {
    let node = Arc::new(Double::default());
    *node.messages.lock().unwrap() = vec![hostile(), InboxItem { payload: vec![0xff, 0], ..item(2) }];
    let shown = outcome(Arc::clone(&node), &["mesh", "inbox"]).await.unwrap();
    let text = shown.show(false);
    assert!(text.contains("anna (0707070707) #news !: first\n    second"), "{text}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");

    let json: serde_json::Value = serde_json::from_str(&shown.show(true)).unwrap();
    assert_eq!(json["items"][0]["text"], "first\x1b[2J\nsecond\x07", "programs get the text as it is");
    assert_eq!(json["items"][1]["payload_hex"], "ff00");
    assert_eq!(json["items"][1]["text"], serde_json::Value::Null);
    assert_eq!(json["next_after"], 2);
}

#[tokio::test]
async fn peers_reach_the_terminal_without_their_escapes() {
    assert!(!text(&["mesh", "peers"]).await.contains('\x1b'));
}

#[tokio::test]
async fn following_goes_on_where_it_was() {
    let node = Double::default();
    *node.messages.lock().unwrap() = vec![item(1), item(2)];
    let cli = Cli::parse_from(["qpq", "mesh", "inbox", "--follow"]);
    let connect = || Err(Failure::Quiet);
    let Outcome::Follow(follow) = run(&setting(true), cli.command.unwrap(), &connect).await.unwrap() else { panic!() };
    let mut lines: Vec<String> = vec![];
    let mut print = |line: &str| {
        lines.push(line.to_owned());
        if lines.len() == 2 {
            node.messages.lock().unwrap().push(item(3));
        }
        if lines.len() == 3 { Err(Failure::Quiet) } else { Ok(()) }
    };
    assert!(matches!(follow.run(&node, &setting(true), &mut print).await, Err(Failure::Quiet)));
    let seqs = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].clone());
    assert_eq!(seqs.collect::<Vec<_>>(), [1, 2, 3]);
    assert!(lines.iter().all(|line| line.contains("qpq.message/1")));
}

#[tokio::test]
async fn commands_for_the_shell_are_refused_at_the_prompt() {
    let failure = outcome(Arc::default(), &["up"]).await.unwrap_err();
    assert_eq!(failure.exit_code(), 2);
}

#[tokio::test]
async fn what_waits_for_approval_is_shown_with_its_remedy() {
    let text = text(&["script", "list"]).await;
    assert!(
        text.contains("waits for your approval of send") && text.contains("`qpq script approve announcements`"),
        "{text}"
    );
}

#[tokio::test]
async fn nothing_is_granted_that_was_not_shown_and_confirmed() {
    let node = Arc::<Double>::default();
    let failure = outcome(Arc::clone(&node), &["script", "approve", "announcements"]).await.unwrap_err();
    assert_eq!(failure.exit_code(), 2);
    let told = failure.to_string();
    assert!(told.contains("send  write direct messages to anybody") && told.contains("--yes"), "{told}");
    assert!(node.calls.lock().unwrap().is_empty());
    outcome(Arc::clone(&node), &["script", "approve", "announcements", "--yes", "--trust"]).await.unwrap();
    let approval = ScriptApproval { needs: vec!["send".into()], revoke: false, trusted: true };
    assert_eq!(*node.calls.lock().unwrap(), [format!("approve announcements {approval:?}")]);
    let failure =
        outcome(Arc::clone(&node), &["script", "approve", "announcements", "--needs", "sned"]).await.unwrap_err();
    assert!(failure.to_string().contains("did you mean \"send\""), "{failure}");
    let failure = outcome(node, &["script", "approve", "anouncements", "--yes"]).await.unwrap_err();
    assert!(failure.to_string().contains("did you mean `announcements`?"), "{failure}");
}

#[tokio::test]
async fn what_a_bot_does_without_is_said_when_it_is_approved() {
    let double = Arc::<Double>::default();
    let failure = outcome(Arc::clone(&double), &["script", "approve", "announcements", "--needs", "send"]).await;
    let told = failure.unwrap_err().to_string();
    assert!(told.contains("without peers, for which it asks too"), "{told}");
    let answer = outcome(double, &["script", "approve", "announcements", "--needs", "send", "--yes"]).await.unwrap();
    assert!(answer.show(false).starts_with("announcements runs without peers."), "{}", answer.show(false));
}

#[tokio::test]
async fn a_reload_that_failed_is_a_failure_and_says_why() {
    let node = Arc::<Double>::default();
    let reload = || outcome(Arc::clone(&node), &["script", "reload", "announcements"]);
    assert!(reload().await.unwrap().print(false).is_ok());
    *node.bot_problem.lock().unwrap() = Some("announcements/init.lua:2: oops".to_owned());
    let answer = reload().await.unwrap();
    assert!(answer.show(false).contains("announcements/init.lua:2: oops"));
    assert!(matches!(answer.print(false), Err(Failure::Told)));
}

#[tokio::test]
async fn the_log_names_bot_level_event_and_line() {
    let shown = text(&["script", "logs"]).await;
    assert!(shown.contains("warn  announcements timer announcements/init.lua:7: could not repeat"), "{shown}");
    assert!(!shown.contains("announcements/init.lua:2"), "{shown}");
    assert!(text(&["script", "logs", "--traceback"]).await.contains("\n    announcements/init.lua:2"));
}

#[tokio::test]
async fn following_the_log_goes_on_after_the_last_line() {
    let node = Double::default();
    let cli = Cli::parse_from(["qpq", "script", "logs", "--follow", "--limit", "5"]);
    let connect = || Ok(Arc::<Double>::default() as Arc<dyn NodeApi>);
    let Outcome::Follow(follow) = run(&setting(true), cli.command.unwrap(), &connect).await.unwrap() else { panic!() };
    let mut lines: Vec<String> = vec![];
    let mut print = |line: &str| {
        lines.push(line.to_owned());
        if lines.len() == 2 { Err(Failure::Quiet) } else { Ok(()) }
    };
    assert!(matches!(follow.run(&node, &setting(true), &mut print).await, Err(Failure::Quiet)));
    assert!(lines.iter().all(|line| line.contains("qpq.script-log-line/1")), "{lines:?}");
    let calls = node.calls.lock().unwrap().clone();
    assert!(calls[0].contains("after: None, limit: 5") && calls[1].contains("after: Some(7)"), "{calls:?}");
}

#[tokio::test]
async fn a_watched_figure_comes_again_and_again() {
    let node = Double::default();
    let cli = Cli::parse_from(["qpq", "script", "top", "--watch", "1"]);
    let connect = || Err(Failure::Quiet);
    let Outcome::Follow(follow) = run(&setting(true), cli.command.unwrap(), &connect).await.unwrap() else { panic!() };
    let mut count = 0;
    let mut print = |line: &str| {
        assert!(line.contains("qpq.script-top/1"));
        count += 1;
        if count == 2 { Err(Failure::Quiet) } else { Ok(()) }
    };
    assert!(matches!(follow.run(&node, &setting(true), &mut print).await, Err(Failure::Quiet)));
}

#[tokio::test]
async fn every_limit_is_shown_with_what_is_used_of_it() {
    let shown = text(&["script", "top", "announcements"]).await;
    assert!(shown.contains("timers") && shown.contains("1 of 32") && shown.contains("  3 %"), "{shown}");
    let all = text(&["script", "top"]).await;
    assert!(all.contains("PAUSES") && all.contains("3 %"), "{all}");
}

#[tokio::test]
async fn typed_code_is_read_only_unless_asked_and_a_failure_is_one() {
    let node = Arc::<Double>::default();
    let answer = outcome(Arc::clone(&node), &["script", "repl", "announcements", "--eval", "1 + 1"]).await.unwrap();
    assert_eq!(answer.show(false), "not so");
    assert!(matches!(answer.print(true), Err(Failure::Told)));
    outcome(Arc::clone(&node), &["script", "repl", "announcements", "--write", "--eval", "x = 1"]).await.unwrap();
    let calls = node.calls.lock().unwrap().clone();
    assert!(calls[0].contains("write: false") && calls[1].contains("write: true"), "{calls:?}");
}

#[tokio::test]
async fn a_call_is_explained_also_by_a_part_of_its_name_and_a_misspelt_one_is_guessed() {
    let explained = text(&["script", "help", "mesh.send"]).await;
    assert!(explained.starts_with("mesh.send(to, message [, options])"), "{explained}");
    assert!(explained.contains(".ttl?") && explained.contains("permission  send"), "{explained}");
    assert_eq!(text(&["script", "help", "store:get"]).await, text(&["script", "help", "mesh.store:get"]).await);
    let failure = outcome(Arc::default(), &["script", "help", "mesh.sned"]).await.unwrap_err();
    assert!(failure.to_string().contains("Did you mean `mesh.send`?"), "{failure}");
    let failure = outcome(Arc::default(), &["script", "help", "brodcast"]).await.unwrap_err();
    assert!(failure.to_string().contains("broadcast`?"), "{failure}");
}

#[tokio::test]
async fn a_table_a_bare_name_a_permission_and_a_global_are_explained() {
    let store = text(&["script", "help", "mesh.store"]).await;
    assert!(store.contains("mesh.store:get(") && store.contains("mesh.store:each("), "{store}");
    assert!(!store.contains("mesh.send("), "{store}");
    assert_eq!(text(&["script", "help", "post"]).await, text(&["script", "help", "board:post"]).await);
    let reply = text(&["script", "help", "reply"]).await;
    for part in ["msg:reply(", "board:reply(", "The permission `reply` allows to answer"] {
        assert!(reply.contains(part), "{reply}");
    }
    let listen = text(&["script", "help", "listen:board"]).await;
    assert!(listen.contains("allows to read the channel board") && listen.contains("[\"listen:board\"]"), "{listen}");
    assert!(text(&["script", "help", "require"]).await.contains("beside the bot's init.lua"));
    assert!(text(&["script", "help", "print"]).await.contains("mesh.log.info"));
    // What is a command means the command.
    assert!(text(&["script", "help", "list"]).await.contains("Usage: "));
}

#[tokio::test]
async fn a_new_bot_overwrites_nothing_and_has_a_name_that_a_bot_can_have() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    let made = outcome(Arc::default(), &["script", "new", "greeter", "--dir", place]).await.unwrap();
    assert!(made.show(false).contains("qpq script check"), "{}", made.show(false));
    assert!(dir.path().join("greeter/init_test.lua").is_file());
    let failure = outcome(Arc::default(), &["script", "new", "Help", "--dir", place]).await.unwrap_err();
    assert!(failure.to_string().contains("`!help` is the node's own command"), "{failure}");
    for line in
        [&["script", "new", "greeter", "--dir", place][..], &["script", "new", "greeter", "--single", "--dir", place]]
    {
        let failure = outcome(Arc::default(), line).await.unwrap_err();
        assert!(failure.to_string().contains("exists already"), "{failure}");
    }
    for bad in ["../up", "lib", "a b", "my_test", ""] {
        let failure = outcome(Arc::default(), &["script", "new", bad, "--dir", place]).await.unwrap_err();
        assert_eq!(failure.exit_code(), 2, "{bad}");
    }
}

#[tokio::test]
async fn editors_files_are_written_and_settings_of_the_author_kept() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    std::fs::write(dir.path().join(".luarc.json"), "{}").unwrap();
    let line = ["script", "editor", "--dir", place];
    let answer = outcome(Arc::default(), &line).await.unwrap();
    assert!(answer.show(false).contains("Left as you have them: .luarc.json"), "{}", answer.show(false));
    assert_eq!(std::fs::read_to_string(dir.path().join(".luarc.json")).unwrap(), "{}");
    assert!(std::fs::read_to_string(dir.path().join("meta/mesh.lua")).unwrap().starts_with("---@meta"));
}

#[tokio::test]
async fn a_new_bot_passes_its_tests_and_a_failure_names_the_line_and_the_seed() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    outcome(Arc::default(), &["script", "new", "greeter", "--single", "--dir", place]).await.unwrap();
    let passed = outcome(Arc::default(), &["script", "test", place]).await.unwrap();
    assert!(passed.show(false).contains("2 passed, 0 failed"), "{}", passed.show(false));
    assert!(passed.print(true).is_ok());
    let test = "\ntest('it', function(t) t:equal(1, 2) end)";
    std::fs::write(dir.path().join("greeter_more_test.lua"), test).unwrap();
    let failed = outcome(Arc::default(), &["script", "test", place, "--seed", "7", "--filter", "it"]).await.unwrap();
    let text = failed.show(false);
    assert!(text.contains("✗ it") && text.contains("greeter_more_test.lua:2: expected 2, got 1"), "{text}");
    assert!(text.contains("--seed 7"), "{text}");
    assert!(matches!(failed.print(true), Err(Failure::Told)));
    let json: serde_json::Value = serde_json::from_str(&failed.show(true)).unwrap();
    assert_eq!((&json["schema"], &json["seed"]), (&"qpq.script-test/1".into(), &7.into()));
    let failure = json["tests"].as_array().unwrap().iter().find(|test| test["name"] == "it").unwrap();
    assert_eq!(failure["error"]["line"], 2, "{failure}");
    let nothing = outcome(Arc::default(), &["script", "test", place, "--filter", "nothing like it"]).await.unwrap_err();
    assert_eq!(nothing.exit_code(), 1);
}
