//! The child's stand-ins for the node and the store: each call goes over the socket, its answer comes back.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Notify, oneshot};

use crate::api::*;

use super::super::lock;
use super::super::store::{BotStore, StoreOp, StoredEntry};
use super::wire::{self, Answer, Call, ToHost};

/// The buffer of a quiet link is given back when it has grown beyond that, in bytes.
const BUFFER_KEPT: usize = 64 << 10;

type Pending = oneshot::Sender<Result<Answer, ApiError>>;

#[derive(Default)]
struct Inner {
    out: BytesMut,
    pending: HashMap<u64, Pending>,
    calls: u64,
}

/// The child's end of the socket: what goes out, and who waits for an answer. Bounded by what the bot does: each of its
/// handlers waits for one answer at a time.
#[derive(Default)]
pub(super) struct Link {
    inner: Mutex<Inner>,
    grew: Notify,
}

impl Link {
    /// Puts a frame at the end of what goes out.
    pub(super) fn push(&self, frame: &ToHost) {
        // What the child makes itself can be written.
        let _ = wire::put(&mut lock(&self.inner).out, frame);
        self.grew.notify_one();
    }

    /// Hands an answer to whoever waits for it; a handler that was given up waits no more.
    pub(super) fn answered(&self, id: u64, answer: Result<Answer, ApiError>) {
        if let Some(pending) = lock(&self.inner).pending.remove(&id) {
            let _ = pending.send(answer);
        }
    }

    /// Writes what is pushed, until the host is gone.
    pub(super) async fn write(&self, socket: &mut OwnedWriteHalf) {
        loop {
            self.grew.notified().await;
            if self.drain(socket).await.is_err() {
                return;
            }
        }
    }

    /// Writes all that was pushed so far.
    pub(super) async fn drain(&self, socket: &mut OwnedWriteHalf) -> std::io::Result<()> {
        loop {
            let mut out = std::mem::take(&mut lock(&self.inner).out);
            if out.is_empty() {
                return Ok(());
            }
            socket.write_all(&out).await?;
            out.clear();
            let mut inner = lock(&self.inner);
            if inner.out.is_empty() && out.capacity() <= BUFFER_KEPT {
                inner.out = out;
            }
        }
    }

    /// Asks the host. The question is on its way when this returns, so questions arrive in the order of the calls.
    fn ask<T: Send + 'static>(&self, call: Call, read: fn(Answer) -> Option<T>) -> Reply<T> {
        let (pending, answer) = oneshot::channel();
        let id = {
            let mut inner = lock(&self.inner);
            inner.calls += 1;
            let id = inner.calls;
            inner.pending.insert(id, pending);
            id
        };
        self.push(&ToHost::Call { id, call });
        Box::pin(async move {
            let answer = answer.await.map_err(|_| ApiError::new("internal", "the host is gone"))?;
            read(answer?).ok_or_else(|| ApiError::new("internal", "the host answered something else"))
        })
    }
}

macro_rules! reader {
    ($variant:ident) => {
        |answer| match answer {
            Answer::$variant(value) => Some(value),
            _ => None,
        }
    };
    ($variant:ident boxed) => {
        |answer| match answer {
            Answer::$variant(value) => Some(*value),
            _ => None,
        }
    };
}

/// What bots use goes to the host; the rest isn't here.
impl NodeApi for Link {
    fn is_busy(&self) -> Reply<bool> {
        self.ask(Call::IsBusy, reader!(Busy))
    }

    fn peers(&self) -> Reply<Vec<PeerInfo>> {
        self.ask(Call::Peers, reader!(Peers))
    }

    fn routes(&self) -> Reply<RouteTable> {
        self.ask(Call::Routes, reader!(Routes))
    }

    fn channels(&self) -> Reply<Vec<ChannelInfo>> {
        self.ask(Call::Channels, reader!(Channels))
    }

    fn plugins(&self) -> Reply<Vec<PluginStatus>> {
        self.ask(Call::Plugins, reader!(Plugins))
    }

    fn plugin_swap(&self, name: String, file: Option<String>) -> Reply<PluginStatus> {
        self.ask(Call::PluginSwap(name, file), |answer| match answer {
            Answer::Plugins(mut plugins) => plugins.pop(),
            _ => None,
        })
    }

    fn store_stats(&self) -> Reply<StoreStats> {
        self.ask(Call::StoreStats, reader!(StoreStats boxed))
    }

    fn machine(&self) -> Reply<MachineReport> {
        self.ask(Call::Machine, reader!(Machine))
    }

    /// The host knows the bot's name itself.
    fn source(&self, _bot: String, name: String) -> Reply<SourceText> {
        self.ask(Call::Source(name), reader!(Source))
    }

    fn set_trust(&self, peer: String, trust: Trust) -> Reply<PeerInfo> {
        self.ask(Call::SetTrust(peer, trust), reader!(Peer boxed))
    }

    fn limit_link(&self, peer: String, limit: Option<LinkLimit>) -> Reply<()> {
        self.ask(Call::LimitLink(peer, limit), reader!(Done))
    }

    fn send(&self, request: SendRequest) -> Reply<Receipt> {
        self.ask(Call::Send(request), reader!(Receipt))
    }

    fn broadcast(&self, request: BroadcastRequest) -> Reply<Receipt> {
        self.ask(Call::Broadcast(request), reader!(Receipt))
    }

    fn subscribe(&self, topic: String) -> Reply<ChannelInfo> {
        self.ask(Call::Subscribe(topic), reader!(Channel boxed))
    }

    fn inbox(&self, query: InboxQuery) -> Reply<InboxPage> {
        self.ask(Call::Inbox(query), reader!(Page))
    }

    /// The host knows the reader's name itself.
    fn inbox_ack(&self, _reader: String, seq: u64) -> Reply<()> {
        self.ask(Call::InboxAck(seq), reader!(Done))
    }
}

impl BotStore for Link {
    /// The entries came with the bot.
    fn load(&self, _bot: &str) -> Reply<Vec<StoredEntry>> {
        Box::pin(std::future::ready(Err(ApiError::new("not-here", "the entries came with the bot"))))
    }

    fn commit(&self, _bot: &str, ops: Vec<StoreOp>) -> Reply<()> {
        self.ask(Call::Commit(ops), reader!(Done))
    }
}
