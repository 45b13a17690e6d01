//! Answers that a test recognises.

use qpq_schemas::{MessageId, PeerId, TopicId};

use crate::api::*;

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

pub(crate) fn discovered() -> Discovered {
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

pub(crate) fn ping() -> PingReport {
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

pub(crate) fn federation() -> FederationReport {
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

pub(crate) fn swap() -> SwapReport {
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
        denied: vec!["peers".into()],
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
