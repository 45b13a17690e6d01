//! `mesh send`

use std::time::{Duration, Instant};

use serde_json::json;

use super::name;
use crate::api::*;
use crate::cli::answer::Answer;
use crate::cli::args::{Priority, SendArgs};
use crate::cli::failure::Failure;

/// How long one question for receipts waits in the node at most, in milliseconds.
const WAIT_MS: u64 = 20_000;

/// Sends, and waits for the receipt when that was asked for.
pub(super) async fn run(node: &dyn NodeApi, args: SendArgs) -> Result<Answer, Failure> {
    let Some(wait) = args.wait else { return Ok(super::receipt(&node.send(send_request(args)).await?)) };
    let place = node.deliveries(DeliveryQuery::default()).await?.next_after;
    let sent = Instant::now();
    let receipt = node.send(send_request(args)).await?;
    let delivery = delivery_of(node, &receipt, place, sent + wait).await?;
    let mut json = serde_json::to_value(&receipt).unwrap_or_default();
    json["delivered"] = json!(delivery);
    Ok(match delivery {
        Some(delivery) => {
            let who = name(&delivery.peer, delivery.peer_name.as_ref());
            let text = format!("{}\nDelivered to {who} within {} ms.", receipt.id, sent.elapsed().as_millis());
            Answer::new("qpq.receipt/1", &json, text)
        }
        None => {
            let text = format!(
                "{}\nNo receipt came within {} s. The message stays on its way until it expires; the prompt (`qpq repl`) and \
                 the log tell when a receipt comes.",
                receipt.id,
                wait.as_secs()
            );
            Answer::new("qpq.receipt/1", &json, text).failed()
        }
    })
}

/// Waits for that message's receipt until the deadline.
async fn delivery_of(
    node: &dyn NodeApi,
    receipt: &Receipt,
    mut after: u64,
    deadline: Instant,
) -> Result<Option<Delivery>, Failure> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let wait_ms = u64::try_from(left.as_millis()).unwrap_or(WAIT_MS).min(WAIT_MS);
        let page = node.deliveries(DeliveryQuery { after: Some(after), wait_ms }).await?;
        after = page.next_after;
        if let Some(delivery) = page.items.into_iter().find(|delivery| delivery.id == receipt.id) {
            return Ok(Some(delivery));
        }
        if left.is_zero() {
            return Ok(None);
        }
    }
}

pub(super) fn ttl_secs(ttl: Option<Duration>) -> Option<u32> {
    ttl.map(|ttl| u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX))
}

pub(super) fn priority(priority: Option<Priority>) -> Option<u8> {
    priority.map(|priority| match priority {
        Priority::Low => 0,
        Priority::Normal => 1,
        Priority::High => 2,
        Priority::Emergency => 3,
    })
}

fn send_request(args: SendArgs) -> SendRequest {
    SendRequest {
        to: args.peer,
        payload: args.text.join(" ").into_bytes(),
        ttl_secs: ttl_secs(args.ttl),
        priority: priority(args.priority),
        receipt: args.receipt,
        plain: args.plain,
        automatic: false,
        reply_to: args.reply_to,
        reaction: false,
    }
}
