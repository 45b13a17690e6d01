//! A node in memory, for the tests of those who talk to a node.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use qpq_schemas::{MessageId, PeerId, TopicId};

use crate::api::*;

/// Answers each call with something recognisable, and notes what was asked.
#[derive(Default)]
pub(crate) struct Double {
    /// The calls so far, as text.
    pub(crate) calls: Mutex<Vec<String>>,
    /// What the inbox holds.
    pub(crate) messages: Mutex<Vec<InboxItem>>,
    /// The envelopes that it holds.
    pub(crate) mail: Mutex<Vec<Vec<u8>>>,
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

/// A message with that place in the inbox.
pub(crate) fn item(seq: u64) -> InboxItem {
    InboxItem {
        seq,
        id: MessageId([seq as u8; 32]),
        from: PeerId([7; 32]),
        from_name: Some("anna".into()),
        topic: None,
        payload: b"hello".to_vec(),
        sealed: true,
        automatic: false,
        created_ms: 1_700_000_000_000,
        received_ms: 1_700_000_000_500,
        expires_ms: 1_700_600_000_000,
        priority: 2,
        hops: 3,
        own: false,
        problem: None,
        reply_to: Some(MessageId([3; 32])),
        reaction: true,
        max_hops: 16,
        notice: None,
    }
}

/// A notice that one of two has signed.
pub(crate) fn notice() -> NoticeInfo {
    let signed = NoticeKey { key: PeerId([7; 32]), name: Some("anna\u{1b}[2J".into()), admin: true, own: false };
    let missing = NoticeKey { key: PeerId([8; 32]), name: None, admin: true, own: true };
    NoticeInfo {
        notice: "qpqnotice00".into(),
        text: "the dam breaks".into(),
        until_ms: 1_700_600_000_000,
        channel: Some("emergency".into()),
        topic_id: TopicId([4; 32]),
        signed: vec![signed],
        missing: vec![missing],
        counted: 1,
        quorum: 2,
    }
}

pub(crate) fn channel(name: &str) -> ChannelInfo {
    ChannelInfo {
        name: name.to_owned(),
        topic_id: TopicId([9; 32]),
        private: false,
        epoch: 0,
        subscribers: vec!["user".into()],
        invite: None,
    }
}

pub(crate) fn peer() -> PeerInfo {
    let link = LinkInfo {
        link: 4,
        transport: "transport-quic".into(),
        remote: "192.0.2.7:7000".into(),
        outbound: true,
        rtt_us: Some(1_500),
        since_ms: 1_700_000_000_000,
        in_flight: 1,
        sent: 2,
        received: 3,
        relayed: true,
        loss_ppm: Some(4_000),
        preferred: true,
    };
    PeerInfo {
        peer_id: Some(PeerId([7; 32])),
        nickname: Some("anna\u{1b}[31m".into()),
        trust: Trust::Trusted,
        addresses: vec!["quic://192.0.2.7:7000".into()],
        state: "up".into(),
        links: vec![link],
        last_seen_ms: None,
        last_error: Some("refused".into()),
        discovered: vec![discovered()],
    }
}

fn discovered() -> Discovered {
    Discovered {
        plugin: "discovery-mdns".into(),
        interface: Some("eth0".into()),
        domain: Some("node1.mesh.local".into()),
        server: Some("192.0.2.7:7000".into()),
        addresses: vec!["quic://192.0.2.7:7000".into()],
        first_seen_ms: 1_700_000_000_000,
        last_seen_ms: 1_700_000_001_000,
    }
}

fn ping() -> PingReport {
    let link = LinkPing {
        link: 4,
        transport: "transport-quic".into(),
        remote: "192.0.2.7:7000".into(),
        relayed: false,
        preferred: true,
        rtts_us: vec![1_500, 2_500],
        lost: 1,
    };
    PingReport {
        peer_id: PeerId([7; 32]),
        nickname: Some("anna".into()),
        links: vec![link],
        next_hop: Some(PeerId([8; 32])),
    }
}

fn federation() -> FederationReport {
    let certificate = CertificateInfo {
        names: vec!["node1.mesh.local".into()],
        not_after_ms: Some(1_800_000_000_000),
        days_left: Some(0),
        problem: Some("it has ended".into()),
    };
    let domain = DomainInfo {
        domain: "node2.mesh.local".into(),
        state: "up".into(),
        remote: Some("federation://node2.mesh.local@192.0.2.7:7001".into()),
        legacy: true,
        gateways: vec![PeerId([7; 32]), PeerId([8; 32])],
        rtt_us: Some(1_500),
        certificate_days_left: Some(90),
        last_error: Some("gone".into()),
        last_error_ms: Some(1_700_000_000_000),
        channels: 2,
        sent: 3,
        taken: 4,
        taken_bytes: 5,
        put_off: 6,
    };
    let refused = RefusedDomain {
        remote: "192.0.2.9:4000".into(),
        domain: None,
        reason: "no certificate".into(),
        count: 3,
        last_ms: Some(1_700_000_000_000),
    };
    FederationReport {
        domain: Some("node1.mesh.local".into()),
        plugin: Some("federation-capnp".into()),
        problem: None,
        listen: vec!["federation://node1.mesh.local@192.0.2.1:7001".into()],
        certificate: Some(certificate),
        authority: None,
        domains: vec![domain],
        refused: vec![refused],
    }
}

pub(crate) fn plugin() -> PluginStatus {
    PluginStatus {
        name: "transport-quic".into(),
        kind: "transport".into(),
        version: "0.1.0".into(),
        file: "/lib/x.so".into(),
        sha256: "00".into(),
        state: "failed".into(),
        failures: 2,
        last_error: Some("panicked".into()),
        restart_in_ms: Some(500),
        generation: 3,
        stats: serde_json::json!({ "frames": 12 }),
        swaps: vec![swap()],
    }
}

fn swap() -> SwapReport {
    SwapReport {
        file: "/lib/y.so".into(),
        version: "0.2.0".into(),
        sha256: "11".into(),
        state: "fell-back".into(),
        reason: Some("it could not listen".into()),
        at_ms: 1_700_000_000_000,
        took_ms: Some(40),
        pause_us: Some(12_000),
    }
}

pub(crate) fn bot() -> BotStatus {
    BotStatus {
        name: "announcements".into(),
        version: None,
        path: "scripts/announcements".into(),
        state: "running".into(),
        problem: None,
        commands: vec!["announce".into()],
        topics: vec!["announcements".into()],
        events: 1,
        errors: 2,
        cpu_ms: 3,
        memory_bytes: 4,
        sent: 5,
        stored_bytes: 6,
        lag: 7,
        loads: 8,
        isolation: "thread".into(),
        needs: vec!["send".into()],
        missing: vec!["send".into()],
        pauses: 9,
        kills: 10,
        limits: vec![LimitUse { name: "timers".into(), used: 1, limit: 32 }],
    }
}

/// A way with an alternative, and a destination without one. The names are meant to do harm.
pub(crate) fn route_table() -> RouteTable {
    let feasibility = Some(Feasibility { seqno: 5, metric: 96 });
    let alternative = RouteAlternative {
        next_hop: PeerId([9; 32]),
        nickname: Some("</text><script>\u{1b}[31m\"}]".into()),
        metric: 300,
        seqno: Some(5),
        feasible: true,
        age_ms: Some(2_000),
    };
    let route = RouteInfo {
        destination: PeerId([7; 32]),
        next_hop: PeerId([8; 32]),
        nickname: Some("anna\u{1b}[31m\" -> x; <b>&".into()),
        metric: 200,
        hops: Some(2),
        age_ms: 1_000,
        next_hop_name: Some("ben".into()),
        link: Some(4),
        seqno: Some(6),
        feasibility,
        alternatives: vec![alternative.clone()],
    };
    let lost = LostRoute {
        destination: PeerId([6; 32]),
        nickname: None,
        state: "starved".into(),
        age_ms: 4_000,
        seqno: Some(2),
        feasibility,
        alternatives: vec![RouteAlternative { feasible: false, seqno: None, age_ms: None, ..alternative }],
    };
    let link = |link, peer: u8| RouteLink {
        link,
        peer: PeerId([peer; 32]),
        nickname: None,
        cost: Some(96),
        rtt_us: Some(1_500),
        loss_ppm: Some(10),
    };
    RouteTable {
        plugin: "routing-babel".into(),
        routes: vec![route],
        lost: vec![lost],
        links: vec![link(4, 8), RouteLink { cost: None, rtt_us: None, loss_ppm: None, ..link(5, 9) }],
        here: Some(PeerId([1; 32])),
        here_name: Some("here".into()),
        state_bytes: Some(4_096),
        counters: [("updates".to_owned(), 3)].into(),
    }
}

/// A message that waits, with all that can be told of one.
pub(crate) fn why(id: &str) -> WhyReport {
    let hop = HopInfo {
        peer: PeerId([8; 32]),
        nickname: Some("ben\u{1b}[31m".into()),
        state: "declined".into(),
        since_ms: Some(1),
        until_ms: Some(1_700_000_000_000),
        verdict: Some("recipient-full".into()),
    };
    let wait = WaitInfo { place: 3, queue: 5, mailbox: false, known: true, hops: vec![hop], next_ms: Some(9) };
    WhyReport {
        id: id.to_owned(),
        state: "waiting".into(),
        kind: Some("direct".into()),
        own: true,
        from: Some(PeerId([7; 32])),
        from_name: Some("anna\u{1b}[31m".into()),
        to: Some("06".repeat(32)),
        to_name: Some("cleo".into()),
        topic: Some("news".into()),
        source: Some("08".repeat(8)),
        source_name: Some("ben".into()),
        created_ms: Some(1),
        received_ms: Some(2),
        expires_ms: Some(3),
        remembered_ms: Some(4),
        wait: Some(wait),
        inbox: Some("unread".into()),
        at_ms: Some(5),
        by: Some("09".repeat(8)),
        by_name: Some("dora".into()),
        how: Some("receipt".into()),
        quota: Some("total".into()),
        refused: Some(RefusedInfo { code: "signature".into(), at_ms: 6, source: None, source_name: None }),
    }
}

pub(crate) fn queue_page() -> QueuePage {
    let item = QueuedItem {
        id: MessageId([5; 32]),
        from: PeerId([7; 32]),
        from_name: Some("anna\u{1b}[31m".into()),
        priority: 2,
        bytes: 200,
        created_ms: 1_700_000_000_000,
        received_ms: 1_700_000_000_500,
        expires_ms: 1_700_600_000_000,
        source: Some(PeerId([8; 32])),
    };
    QueuePage {
        recipient: PeerId([6; 32]),
        nickname: Some("cleo".into()),
        messages: 5,
        bytes: 1_000,
        max_messages: 1_000,
        max_bytes: 4 << 20,
        items: vec![item],
    }
}

pub(crate) fn stats() -> StoreStats {
    let queue = QueueInfo {
        recipient: PeerId([7; 32]),
        nickname: Some("anna".into()),
        messages: 1,
        bytes: 200,
        oldest_ms: 1_700_000_000_000,
    };
    let sender = SenderUse { sender: PeerId([8; 32]), nickname: None, messages: 1, bytes: 200 };
    StoreStats {
        waiting: 1,
        oldest: vec![queue.clone()],
        longest: vec![queue],
        senders: vec![sender],
        evicted: [("topic".to_owned(), 2)].into(),
        refused: [("recipient".to_owned(), 3)].into(),
        quotas: StoreQuotas { recipient_messages: 1_000, ..StoreQuotas::default() },
        oldest_ms: Some(1_700_000_000_000),
        counters: [("accepted".to_owned(), 5)].into(),
        read_only: Some("disk full".into()),
        lost: Some("journals are gone".into()),
        ..StoreStats::default()
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
        ready(vec![bot()])
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
