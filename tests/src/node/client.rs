//! The command line of a node, as a person or a program uses it.

use std::process::Stdio;

use serde_json::Value;

use crate::{Message, Outcome, TestNode, poll};

/// What a command did.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl TestNode {
    /// Runs `qpq --home … ARGUMENTS` and waits for its end.
    pub fn run(&self, arguments: &[&str]) -> Outcome<Output> {
        let output = self.qpq()?.args(arguments).stdin(Stdio::null()).output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) })
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub fn cli(&self, arguments: &[&str]) -> Outcome<String> {
        let output = self.run(arguments)?;
        if output.code == Some(0) {
            return Ok(output.stdout);
        }
        let told =
            format!("`qpq {}` ended with {:?}: {}{}", arguments.join(" "), output.code, output.stderr, output.stdout);
        Err(self.failure(&told))
    }

    /// Runs a command with `--json` that must succeed, and returns the object that it printed.
    pub fn json(&self, arguments: &[&str]) -> Outcome<Value> {
        let arguments: Vec<_> = arguments.iter().copied().chain(["--json"]).collect();
        let printed = self.cli(&arguments)?;
        serde_json::from_str(&printed).map_err(|error| {
            self.failure(&format!("`qpq {}` printed no JSON ({error}): {printed}", arguments.join(" ")))
        })
    }

    /// The public key, 64 hex digits.
    pub fn peer_id(&self) -> Outcome<String> {
        let identity = self.json(&["mesh", "identity"])?;
        let id = identity.get("peer_id").and_then(Value::as_str);
        id.map(str::to_owned).ok_or_else(|| self.failure(&format!("no peer_id in {identity}")))
    }

    /// Sends a direct message. Returns its id once it is durable at this node.
    pub fn send(&self, to: &str, text: &str) -> Outcome<String> {
        self.message_id(&["mesh", "send", to, text])
    }

    /// Publishes on a channel. Returns the message's id once it is durable at this node.
    pub fn broadcast(&self, topic: &str, text: &str) -> Outcome<String> {
        self.message_id(&["mesh", "broadcast", topic, text])
    }

    /// Joins a channel.
    pub fn subscribe(&self, topic: &str) -> Outcome {
        self.cli(&["mesh", "subscribe", topic]).map(drop)
    }

    /// The newest messages of the inbox, up to 1,000, oldest first.
    pub fn inbox(&self) -> Outcome<Vec<Message>> {
        let page = self.json(&["mesh", "inbox", "--limit", "1000"])?;
        Ok(list(&page, "items").iter().map(Message::from_json).collect())
    }

    /// The whole inbox after a place in it, however long, page by page.
    pub fn inbox_after(&self, mut after: u64) -> Outcome<Vec<Message>> {
        let mut all = Vec::new();
        loop {
            let page = self.json(&["mesh", "inbox", "--limit", "1000", "--after", &after.to_string()])?;
            let items = list(&page, "items").iter().map(Message::from_json);
            let before = all.len();
            all.extend(items);
            after = all.last().map_or(after, |message: &Message| message.seq);
            if all.len() == before {
                return Ok(all);
            }
        }
    }

    /// Waits until the inbox has a message that fits.
    pub fn wait_message(&self, what: &str, fits: impl Fn(&Message) -> bool) -> Outcome<Message> {
        self.wait(what, || Ok(self.inbox()?.into_iter().find(|message| fits(message))))
    }

    /// Waits for a message with that id.
    pub fn wait_id(&self, id: &str) -> Outcome<Message> {
        self.wait_message(&format!("message {id} arrives"), |message| message.id == id)
    }

    /// Waits until that many links are up.
    pub fn wait_links(&self, count: u64) -> Outcome {
        self.wait(&format!("{count} links are up"), || {
            let status = self.json(&["status"])?;
            Ok((status.get("links").and_then(Value::as_u64) == Some(count)).then_some(()))
        })
    }

    /// Waits until it knows a way to another node.
    pub fn wait_way(&self, to: &Self) -> Outcome {
        let to = to.peer_id()?;
        self.wait("a way is known", || {
            let table = self.json(&["mesh", "route"])?;
            let mut routes = table["routes"].as_array().into_iter().flatten();
            Ok(routes.any(|route| route["destination"] == to).then_some(()))
        })
    }

    /// Waits for something at this node; a failure shows its log.
    pub fn wait<T>(&self, what: &str, look: impl FnMut() -> Outcome<Option<T>>) -> Outcome<T> {
        poll::until(what, look).map_err(|failure| self.failure(&failure.to_string()))
    }

    fn message_id(&self, arguments: &[&str]) -> Outcome<String> {
        let receipt = self.json(arguments)?;
        let id = receipt.get("id").and_then(Value::as_str);
        id.map(str::to_owned).ok_or_else(|| self.failure(&format!("no id in {receipt}")))
    }
}

/// The entries of a list in an answer.
pub(crate) fn list<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
