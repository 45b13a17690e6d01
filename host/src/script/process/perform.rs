//! Doing at the node what the gate has let through.

use futures::FutureExt;

use crate::api::{ApiError, NodeApi, Reply};

use super::super::worker::reader;
use super::wire::{Answer, Call};

/// Does a call for a bot. Commits go to the store, not to the node; see [`super::guard`].
pub(super) fn perform(node: &dyn NodeApi, bot: &str, call: Call) -> Reply<Answer> {
    match call {
        Call::IsBusy => answer(node.is_busy(), Answer::Busy),
        Call::Peers => answer(node.peers(), Answer::Peers),
        Call::Routes => answer(node.routes(), Answer::Routes),
        Call::Channels => answer(node.channels(), Answer::Channels),
        Call::Plugins => answer(node.plugins(), Answer::Plugins),
        Call::StoreStats => answer(node.store_stats(), |stats| Answer::StoreStats(Box::new(stats))),
        Call::Machine => answer(node.machine(), Answer::Machine),
        Call::Source(name) => answer(node.source(bot.to_owned(), name), Answer::Source),
        Call::SetTrust(peer, trust) => answer(node.set_trust(peer, trust), |peer| Answer::Peer(Box::new(peer))),
        Call::LimitLink(peer, limit) => answer(node.limit_link(peer, limit), Answer::Done),
        Call::PluginSwap(name, file) => answer(node.plugin_swap(name, file), |plugin| Answer::Plugins(vec![plugin])),
        Call::Send(request) => answer(node.send(request), Answer::Receipt),
        Call::Broadcast(request) => answer(node.broadcast(request), Answer::Receipt),
        Call::Subscribe(topic) => answer(node.subscribe(topic), |channel| Answer::Channel(Box::new(channel))),
        Call::Inbox(query) => answer(node.inbox(query), Answer::Page),
        Call::InboxAck(seq) => answer(node.inbox_ack(reader(bot), seq), Answer::Done),
        Call::Commit(_) => std::future::ready(Err(ApiError::new("internal", "no call of the node"))).boxed(),
    }
}

fn answer<T: Send + 'static>(reply: Reply<T>, wrap: fn(T) -> Answer) -> Reply<Answer> {
    reply.map(move |result| result.map(wrap)).boxed()
}
