//! `mesh store`

use std::collections::BTreeMap;

use super::name;
use crate::api::{NodeApi, QueueInfo, QueuePage, QueueQuery, StoreStats};
use crate::cli::answer::Answer;
use crate::cli::args::StoreArgs;
use crate::cli::failure::Failure;
use crate::cli::term::{Style, Table, ago, bytes, clean, now_ms};

pub(super) async fn shown(node: &dyn NodeApi, args: StoreArgs, style: Style) -> Result<Answer, Failure> {
    match args.recipient {
        Some(recipient) => {
            let query = QueueQuery { recipient, after: 0, limit: args.limit };
            Ok(queue(&node.queue(query).await?, style))
        }
        None => Ok(figures(&node.store_stats().await?, style)),
    }
}

pub(in crate::cli::commands) fn figures(stats: &StoreStats, style: Style) -> Answer {
    let now = now_ms();
    let mut text = summary(stats, now);
    if let Some(reason) = &stats.read_only {
        text += &style.alarm(&format!("No new messages are taken in: {}.\n", clean(reason)));
    }
    if let Some(lost) = &stats.lost {
        text += &style.alarm(&format!("Lost: {}.\n", clean(lost)));
    }
    let quota = of_quota(stats);
    if !stats.longest.is_empty() {
        text += &format!("\nLongest queues ({quota}):\n{}\n", queues(&stats.longest, stats, style, now));
    }
    if !stats.oldest.is_empty() {
        text += &format!("\nQueues that wait longest:\n{}\n", queues(&stats.oldest, stats, style, now));
    }
    if !stats.senders.is_empty() {
        text += &format!("\nSenders of whom most waits:\n{}\n", senders(stats, style));
    }
    let lists = [
        ("Made room, by the bound that was met", &stats.evicted),
        ("Not taken, by the bound that was met", &stats.refused),
    ];
    for (heading, counts) in lists {
        if !counts.is_empty() {
            text += &format!("\n{heading}: {}.", listed(counts));
        }
    }
    if !stats.counters.is_empty() {
        text += &format!("\nSince the start: {}.", listed(&stats.counters));
    }
    Answer::new("qpq.store/1", stats, text)
}

fn summary(stats: &StoreStats, now: u64) -> String {
    let oldest = stats.oldest_ms.map(|then| format!(", the oldest since {}", ago(then, now))).unwrap_or_default();
    let copies = match stats.replicas {
        0 => String::new(),
        copies => format!("; of {copies} of them a neighbour holds a copy"),
    };
    format!(
        "waiting     {} messages, {}, for {} recipients{oldest}{copies}\nbroadcasts  {} kept, {}\ninbox       {} messages, {}\n\
         in all      {} of {} messages, {} of {}\nseen        {} ids\ndamaged     {} records\non disk     {}\n",
        stats.waiting,
        bytes(stats.waiting_bytes),
        stats.recipients,
        stats.broadcasts,
        bytes(stats.broadcast_bytes),
        stats.inbox,
        bytes(stats.inbox_bytes),
        stats.total,
        stats.quotas.total_messages,
        bytes(stats.total_bytes),
        bytes(stats.quotas.total_bytes),
        stats.seen,
        stats.damaged,
        bytes(stats.disk_bytes),
    )
}

fn of_quota(stats: &StoreStats) -> String {
    let quotas = &stats.quotas;
    format!(
        "{} messages and {} may wait for one, {} % of it from one sender",
        quotas.recipient_messages,
        bytes(quotas.recipient_bytes),
        quotas.sender_share_percent
    )
}

fn listed(counts: &BTreeMap<String, u64>) -> String {
    let counts: Vec<_> = counts.iter().map(|(name, value)| format!("{name} {value}")).collect();
    clean(&counts.join(", "))
}

/// How much of a bound is used, in percent; of messages or bytes, whichever is more.
fn used(messages: u64, bytes: u64, max_messages: u64, max_bytes: u64) -> String {
    let share = |used: u64, max: u64| used.saturating_mul(100).checked_div(max).unwrap_or(0);
    format!("{} %", share(messages, max_messages).max(share(bytes, max_bytes)))
}

fn queues(queues: &[QueueInfo], stats: &StoreStats, style: Style, now: u64) -> String {
    let mut table = Table::new(&["RECIPIENT", "MESSAGES", "SIZE", "USED", "OLDEST"]);
    for queue in queues {
        let quotas = &stats.quotas;
        let (messages, max_messages) = (queue.messages as u64, quotas.recipient_messages);
        table.row([
            name(&queue.recipient, queue.nickname.as_ref()),
            messages.to_string(),
            bytes(queue.bytes),
            used(messages, queue.bytes, max_messages, quotas.recipient_bytes),
            ago(queue.oldest_ms, now),
        ]);
    }
    table.show(style, "")
}

fn senders(stats: &StoreStats, style: Style) -> String {
    let mut table = Table::new(&["SENDER", "MESSAGES", "SIZE", "USED"]);
    for sender in &stats.senders {
        let quotas = &stats.quotas;
        table.row([
            name(&sender.sender, sender.nickname.as_ref()),
            sender.messages.to_string(),
            bytes(sender.bytes),
            used(sender.messages, sender.bytes, quotas.sender_messages, quotas.sender_bytes),
        ]);
    }
    table.show(style, "")
}

fn queue(page: &QueuePage, style: Style) -> Answer {
    let now = now_ms();
    let mut table = Table::new(&["MESSAGE", "FROM", "PRIORITY", "SIZE", "ARRIVED", "EXPIRES"]);
    for item in &page.items {
        table.row([
            item.id.short(),
            name(&item.from, item.from_name.as_ref()),
            priority(item.priority).to_owned(),
            bytes(item.bytes),
            ago(item.received_ms, now),
            ago(item.expires_ms, now),
        ]);
    }
    let heading = format!(
        "{} of {} messages and {} of {} wait for {}.",
        page.messages,
        page.max_messages,
        bytes(page.bytes),
        bytes(page.max_bytes),
        name(&page.recipient, page.nickname.as_ref()),
    );
    Answer::new("qpq.queue/1", page, format!("{heading}\n{}", table.show(style, "")))
}

fn priority(number: u8) -> &'static str {
    match number {
        0 => "low",
        1 => "normal",
        2 => "high",
        _ => "emergency",
    }
}
