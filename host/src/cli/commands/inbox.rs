//! `mesh inbox`

use std::io::Write;
use std::time::Duration;

use serde_json::Value;

use super::mesh::name;
use crate::api::{Delivery, InboxItem, InboxPage, InboxQuery, NodeApi};
use crate::cli::Setting;
use crate::cli::answer::Answer;
use crate::cli::args::InboxArgs;
use crate::cli::failure::Failure;
use crate::cli::term::{Style, ago, clean, clean_lines, now_ms};

/// How long one question for new messages waits in the node, in milliseconds.
const WAIT_MS: u64 = 20_000;

/// Between two questions without an answer, in case the node doesn't wait.
const PAUSE: Duration = Duration::from_millis(20);

/// Under this name the command line notes how far its user has read.
const READER: &str = "cli";

/// Before the second and later lines of a message.
const INDENT: &str = "\n    ";

/// Shows a stretch of the inbox.
pub(super) async fn show(node: &dyn NodeApi, args: &InboxArgs, style: Style) -> Result<Answer, Failure> {
    let page = node.inbox(first_query(args)).await?;
    note_read(node, &page).await;
    let now = now_ms();
    let lines: Vec<String> = page.items.iter().map(|item| message_text(item, now, style)).collect();
    let text = if lines.is_empty() { "No messages.".to_owned() } else { lines.join("\n") };
    let items: Vec<Value> = page.items.iter().map(message_json).collect();
    Ok(Answer::new("qpq.inbox/1", &serde_json::json!({ "items": items, "next_after": page.next_after }), text))
}

/// What was shown may make room when the inbox is full. Where that can't be noted (the disk is full or read-only) the messages
/// are shown all the same.
async fn note_read(node: &dyn NodeApi, page: &InboxPage) {
    let Some(last) = page.items.last() else { return };
    if let Err(error) = node.inbox_ack(READER.to_owned(), last.seq).await {
        let note = format!("qpq: how far you have read could not be noted: {error}");
        _ = writeln!(std::io::stderr(), "{note}"); // whoever closed it doesn't want to know
    }
}

fn first_query(args: &InboxArgs) -> InboxQuery {
    InboxQuery {
        after: Some(args.after.unwrap_or(0)),
        limit: usize::try_from(args.limit).unwrap_or(usize::MAX),
        newest: args.after.is_none(),
        ..InboxQuery::default()
    }
}

/// Messages as they come.
pub(in crate::cli) struct Follow {
    first: InboxQuery,
}

impl Follow {
    pub(super) fn new(args: &InboxArgs) -> Self {
        Self { first: first_query(args) }
    }

    /// Prints messages, without end.
    pub(super) async fn run(
        self,
        node: &dyn NodeApi,
        setting: &Setting,
        print: &mut dyn FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut query = self.first;
        loop {
            let page = node.inbox(query).await?;
            for item in &page.items {
                print(&line(item, setting))?;
            }
            note_read(node, &page).await;
            if page.items.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
            query = InboxQuery { after: Some(page.next_after), wait_ms: WAIT_MS, ..InboxQuery::default() };
        }
    }
}

fn line(item: &InboxItem, setting: &Setting) -> String {
    if !setting.json {
        return message_text(item, now_ms(), setting.style);
    }
    Answer::new("qpq.message/1", &message_json(item), "").show(true)
}

/// A message as JSON: the payload as `text`, or as `payload_hex` when it is no text.
fn message_json(item: &InboxItem) -> Value {
    let mut value = serde_json::to_value(item).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("payload");
        let text = std::str::from_utf8(&item.payload).ok();
        let hex = text.is_none().then(|| item.payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        fields.insert("text".to_owned(), text.into());
        fields.insert("payload_hex".to_owned(), hex.into());
    }
    value
}

/// A receipt for a person.
pub(in crate::cli) fn delivery_text(delivery: &Delivery, style: Style) -> String {
    let who = name(&delivery.peer, delivery.peer_name.as_ref());
    format!("{} {}", style.bold("Delivered"), style.dim(&format!("to {who}: message {}", delivery.id.short())))
}

/// A message for a person.
pub(in crate::cli) fn message_text(item: &InboxItem, now: u64, style: Style) -> String {
    let from = if item.own { "me".to_owned() } else { name(&item.from, item.from_name.as_ref()) };
    let topic = item.topic.as_ref().map(|topic| format!(" #{}", clean(topic))).unwrap_or_default();
    let mut marks = String::new();
    if item.priority > 2 {
        marks += " EMERGENCY";
    } else if item.priority == 2 {
        marks += " !";
    }
    if let Some(notice) = &item.notice {
        marks += &match notice.quorum {
            0 => format!(" (notice, {} signatures)", notice.signed.len()),
            quorum => format!(" (notice, signed by {} of {quorum} admins)", notice.counted),
        };
    }
    if !item.sealed {
        marks += " (not sealed)";
    }
    let text = match &item.problem {
        Some(problem) => style.alarm(&format!("(cannot be opened: {})", clean(problem))),
        None => clean_lines(&String::from_utf8_lossy(&item.payload)).replace('\n', INDENT),
    };
    let when = style.dim(&ago(item.received_ms, now));
    format!("{when}  {}{marks}: {text}", style.bold(&format!("{from}{topic}")))
}
