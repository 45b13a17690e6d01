//! Programs in other languages: a client in Python, from nothing but the schema.

use std::path::{Path, PathBuf};
use std::process::Command;

use qpq_tests::{Outcome, TestNode, ensure, skip};
use serde_json::Value;

/// An interpreter that has pycapnp: the one of `make test-tools`, or any.
fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    [root.join("target/python/bin/python3"), "python3".into()].into_iter().find(|python| {
        Command::new(python).args(["-c", "import capnp"]).output().is_ok_and(|output| output.status.success())
    })
}

#[test]
fn a_client_in_python_needs_nothing_but_the_schema() -> Outcome {
    let Some(python) = python() else {
        return skip::skip("python3 or its module pycapnp is missing (make test-tools)");
    };
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let node = TestNode::plan("a").start()?;
    let output = Command::new(python)
        .arg(tests.join("python/node_client.py"))
        .arg(tests.join("../schemas/node.capnp"))
        .arg(node.home().join("node.sock"))
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout)?;
    let key = node.peer_id()?;
    ensure!(seen["peer_id"] == key.as_str() && seen["who"] == key.as_str() && seen["role"] == "owner", "{seen}");
    ensure!(seen["api_level"].as_u64() == Some(qpq_host::control::API_LEVEL.into()), "{seen}");
    ensure!(seen["channel"] == "python" && seen["text"] == "from Python" && seen["own"] == true, "{seen}");
    ensure!(seen["left"] == 0, "what was acknowledged comes again: {seen}");
    ensure!(seen["mailbox"].as_str().is_some_and(|reason| reason.contains("no-key: ")), "{seen}");
    let message = node.wait_message("the message is in the inbox", |message| message.text == "from Python")?;
    ensure!(message.topic.as_deref() == Some("python"), "{message:?}");
    Ok(())
}
