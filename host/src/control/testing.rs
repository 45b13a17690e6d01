//! A node in memory, for the tests of those who talk to a node.

mod samples;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use qpq_schemas::{MessageId, PeerId};

use crate::api::*;
pub(crate) use samples::*;

/// Answers each call with something recognisable, and notes what was asked.
#[derive(Default)]
pub(crate) struct Double {
    /// The calls so far, as text.
    pub(crate) calls: Mutex<Vec<String>>,
    /// What the inbox holds.
    pub(crate) messages: Mutex<Vec<InboxItem>>,
    /// The envelopes that it holds.
    pub(crate) mail: Mutex<Vec<Vec<u8>>>,
    /// What is wrong with its bot after it was loaded anew.
    pub(crate) bot_problem: Mutex<Option<String>>,
    /// Lets calls of `peers` hang.
    pub(crate) stuck: AtomicBool,
    waiting: std::sync::Arc<AtomicUsize>,
}

impl Double {
    /// How many calls hang or wait for a message now.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    fn wait<T: Send + 'static>(&self, time: Duration, value: T) -> Reply<T> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let guard = Waiting(self.waiting.clone());
        async move {
            let _guard = guard;
            tokio::time::sleep(time).await;
            Ok(value)
        }
        .boxed()
    }

    fn note(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }
}

fn receipt() -> Receipt {
    Receipt { id: MessageId([5; 32]), expires_ms: 1_700_600_000_000 }
}

fn ready<T: Send + 'static>(value: T) -> Reply<T> {
    async move { Ok(value) }.boxed()
}

impl NodeApi for Double {
    fn status(&self) -> Reply<NodeStatus> {
        ready(NodeStatus {
            version: "0.1.0".into(),
            pid: 42,
            home: "/home/x".into(),
            peer_id: PeerId([1; 32]),
            uptime_secs: 61,
            links: 1,
            resident_bytes: Some(1 << 20),
            plugins: vec![plugin()],
            scripts: vec![bot()],
            store: stats(),
            warnings: vec!["transport-quic failed; run `qpq plugin enable transport-quic`".into()],
            mapped_libraries: 3,
        })
    }

    fn identity(&self) -> Reply<IdentityInfo> {
        ready(IdentityInfo {
            peer_id: PeerId([1; 32]),
            nickname: Some("relay".into()),
            domain: None,
            listen: vec!["quic://0.0.0.0:7000".into()],
            identity_file: "/home/x/identity.json".into(),
            known_peers: 1,
            fingerprint: "12345 67890".into(),
        })
    }

    fn peers(&self) -> Reply<Vec<PeerInfo>> {
        if self.stuck.load(Ordering::SeqCst) {
            return self.wait(Duration::from_secs(30), vec![]);
        }
        ready(vec![peer()])
    }

    fn note_server(&self, address: String) -> Reply<ServerNote> {
        self.note(format!("note_server {address}"));
        ready(ServerNote { address: format!("quic://{address}"), peer_id: None, state: "connecting".into() })
    }

    fn forget_server(&self, address: String) -> Reply<Option<String>> {
        self.note(format!("forget_server {address}"));
        ready(Some("it stands in `peers`".to_owned()))
    }

    fn deliveries(&self, query: DeliveryQuery) -> Reply<DeliveryPage> {
        self.note(format!("deliveries {:?} {}", query.after, query.wait_ms));
        let delivery = Delivery {
            seq: 4,
            id: MessageId([5; 32]),
            peer: PeerId([7; 32]),
            peer_name: Some("anna".into()),
            at_ms: 1_700_000_000_000,
        };
        let items = query.after.map(|_| delivery).into_iter().collect();
        ready(DeliveryPage { items, next_after: 4 })
    }

    fn ping(&self, peer: String, count: u32) -> Reply<PingReport> {
        self.note(format!("ping {peer} {count}"));
        ready(ping())
    }

    fn federation(&self) -> Reply<FederationReport> {
        ready(federation())
    }

    fn set_trust(&self, name: String, trust: Trust) -> Reply<PeerInfo> {
        self.note(format!("set_trust {name} {trust:?}"));
        ready(PeerInfo { trust, ..peer() })
    }

    fn export_blocks(&self) -> Reply<String> {
        ready(format!("{}\n", PeerId([7; 32])))
    }

    fn import_blocks(&self, list: String) -> Reply<BlocksImported> {
        self.note(format!("import_blocks {list}"));
        ready(BlocksImported { added: 2, known: 1 })
    }

    fn send(&self, request: SendRequest) -> Reply<Receipt> {
        self.note(format!("send {request:?}"));
        if request.to == "nobody" {
            return async { Err(ApiError::new("unknown-peer", "Nobody is called nobody.")) }.boxed();
        }
        ready(receipt())
    }

    fn broadcast(&self, request: BroadcastRequest) -> Reply<Receipt> {
        let far = request.max_hops.map(|hops| format!(" over {hops} links at most")).unwrap_or_default();
        self.note(format!("broadcast {} {}{far}", request.topic, String::from_utf8_lossy(&request.payload)));
        ready(receipt())
    }

    fn enqueue(&self, envelope: Bytes) -> Reply<Receipt> {
        if envelope.is_empty() {
            return async { Err(ApiError::new("length", "The envelope is empty.")) }.boxed();
        }
        ready(receipt())
    }

    fn subscribe(&self, topic: String) -> Reply<ChannelInfo> {
        self.note(format!("subscribe {topic}"));
        ready(channel(&topic))
    }

    fn unsubscribe(&self, topic: String) -> Reply<()> {
        self.note(format!("unsubscribe {topic}"));
        ready(())
    }

    fn create_private(&self, name: String) -> Reply<ChannelInfo> {
        ready(ChannelInfo { private: true, invite: Some("invite-text".into()), ..channel(&name) })
    }

    fn channels(&self) -> Reply<Vec<ChannelInfo>> {
        ready(vec![channel("announcements")])
    }

    fn inbox(&self, query: InboxQuery) -> Reply<InboxPage> {
        let after = query.after.unwrap_or(0);
        let items: Vec<InboxItem> =
            self.messages.lock().unwrap().iter().filter(|item| item.seq > after).cloned().collect();
        let next_after = items.last().map_or(after, |item| item.seq);
        if !items.is_empty() || query.wait_ms == 0 {
            return ready(InboxPage { items, next_after });
        }
        self.wait(Duration::from_millis(query.wait_ms), InboxPage { items, next_after })
    }

    fn inbox_ack(&self, reader: String, seq: u64) -> Reply<()> {
        self.note(format!("ack {reader} {seq}"));
        ready(())
    }

    fn routes(&self) -> Reply<RouteTable> {
        ready(route_table())
    }

    fn why(&self, id: String) -> Reply<WhyReport> {
        self.note(format!("why {id}"));
        ready(why(&id))
    }

    fn queue(&self, query: QueueQuery) -> Reply<QueuePage> {
        self.note(format!("queue {} {} {}", query.recipient, query.after, query.limit));
        ready(queue_page())
    }

    fn export_mail(&self, query: ExportQuery) -> Reply<ExportPage> {
        self.note(format!("export_mail {query:?}"));
        let held = self.mail.lock().unwrap().clone();
        let page: Vec<_> = held.iter().skip(query.place as usize).take(2).cloned().collect();
        let next = query.place + page.len() as u64;
        let held = held.len() as u64;
        let damaged = u64::from(!page.is_empty());
        ready(ExportPage { envelopes: page, next: (next < held).then_some(next), damaged, held })
    }

    fn import_mail(&self, envelopes: Vec<Bytes>) -> Reply<Vec<ImportOutcome>> {
        self.note(format!("import_mail {}", envelopes.len()));
        let mut held = self.mail.lock().unwrap();
        let mut outcome = |wire: &Bytes| {
            let known = held.iter().any(|other| other[..] == wire[..]);
            held.push(wire.to_vec());
            let code = if known { "known" } else { "new" };
            ImportOutcome { id: Some(MessageId([5; 32])), code: code.to_owned(), message: known.then(|| "here".into()) }
        };
        ready(envelopes.iter().map(&mut outcome).collect())
    }

    fn store_stats(&self) -> Reply<StoreStats> {
        ready(stats())
    }

    fn plugins(&self) -> Reply<Vec<PluginStatus>> {
        ready(vec![plugin()])
    }

    fn plugin_enable(&self, name: String) -> Reply<PluginStatus> {
        ready(PluginStatus { name, ..plugin() })
    }

    fn plugin_swap(&self, name: String, file: Option<String>) -> Reply<PluginStatus> {
        self.note(format!("plugin_swap {name} {file:?}"));
        ready(PluginStatus { name, ..plugin() })
    }

    fn scripts(&self) -> Reply<Vec<BotStatus>> {
        ready(vec![bot()])
    }

    fn script_reload(&self, name: Option<String>) -> Reply<Vec<BotStatus>> {
        self.note(format!("reload {name:?}"));
        let problem = self.bot_problem.lock().unwrap().clone();
        ready(vec![BotStatus { problem, missing: Vec::new(), ..bot() }])
    }

    fn script_approve(&self, name: String, approval: ScriptApproval) -> Reply<BotStatus> {
        self.note(format!("approve {name} {approval:?}"));
        ready(bot())
    }

    fn script_logs(&self, query: ScriptLogQuery) -> Reply<ScriptLogPage> {
        self.note(format!("logs {query:?}"));
        let line = ScriptLogLine {
            seq: 7,
            at_ms: 1_700_000_000_000,
            bot: "announcements".into(),
            level: "warn".into(),
            event: Some("timer".into()),
            place: Some("announcements/init.lua:7".into()),
            text: "could not repeat".into(),
            traceback: Some("announcements/init.lua:7\nannouncements/init.lua:2".into()),
        };
        ready(ScriptLogPage { lines: vec![line], next_after: 7 })
    }

    fn script_eval(&self, eval: ScriptEval) -> Reply<ScriptEvaluated> {
        self.note(format!("eval {eval:?}"));
        ready(ScriptEvaluated { result: "2".into(), error: Some("not so".into()), cpu_us: 3 })
    }

    fn emergency_draft(&self, text: String, ttl_secs: Option<u32>) -> Reply<NoticeInfo> {
        self.note(format!("draft {text} {ttl_secs:?}"));
        ready(notice())
    }

    fn emergency_sign(&self, copies: Vec<String>) -> Reply<NoticeInfo> {
        self.note(format!("sign {copies:?}"));
        ready(notice())
    }

    fn emergency_show(&self, copies: Vec<String>) -> Reply<NoticeInfo> {
        self.note(format!("show {copies:?}"));
        ready(notice())
    }

    fn emergency_publish(&self, copies: Vec<String>) -> Reply<Receipt> {
        self.note(format!("proclaim {copies:?}"));
        ready(Receipt { id: MessageId([9; 32]), expires_ms: 5 })
    }

    fn shutdown(&self) -> Reply<()> {
        self.note("shutdown");
        ready(())
    }
}

struct Waiting(std::sync::Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
