//! `status` and `stop`

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::plugin::plugin_table;
use super::script::bot_table;
use crate::api::{NodeApi, NodeStatus};
use crate::cli::answer::Answer;
use crate::cli::daemon::lock;
use crate::cli::failure::Failure;
use crate::cli::term::{Style, bytes, clean, duration};

/// How long `stop` waits for the process to be gone. Longer than a node may take to drain.
const STOP_WAIT: Duration = Duration::from_secs(10);

pub(super) async fn show(node: &dyn NodeApi, style: Style) -> Result<Answer, Failure> {
    let status = node.status().await?;
    Ok(Answer::new("qpq.status/1", &status, text(&status, style)))
}

fn text(status: &NodeStatus, style: Style) -> String {
    let memory = status.resident_bytes.map(|size| format!(", {} of memory", bytes(size))).unwrap_or_default();
    let mut text = format!(
        "{}\nrunning   version {}, process {}, for {}{memory}\nhome      {}\nlinks     {} up\n\
         store     {} messages wait, {} in the inbox\n\n{}\n\n{}\n",
        style.bold(&status.peer_id.to_string()),
        clean(&status.version),
        status.pid,
        duration(status.uptime_secs),
        clean(&status.home),
        status.links,
        status.store.waiting,
        status.store.inbox,
        plugin_table(&status.plugins, style),
        bot_table(&status.scripts, style),
    );
    for warning in &status.warnings {
        text += &format!("\n{}", style.alarm(&format!("! {}", clean(warning))));
    }
    text
}

/// Stops the node, and waits until its process has let go of the data directory.
pub(super) async fn stop(node: &dyn NodeApi, home: Option<&Path>) -> Result<Answer, Failure> {
    node.shutdown().await?;
    let start = Instant::now();
    while home.is_some_and(lock::is_held) {
        if start.elapsed() > STOP_WAIT {
            let text = "The node has not ended yet. Its log says what it waits for.";
            return Err(Failure::new("still-running", text));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(Answer::new("qpq.stopped/1", &json!({}), "The node has stopped."))
}
