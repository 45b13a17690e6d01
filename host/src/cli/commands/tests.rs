//! Commands against a node in memory.

use clap::Parser;

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
        Outcome::Follow(_) => panic!("no answer"),
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
