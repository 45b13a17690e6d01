//! No connection stands on an earlier one: each proves both certificates anew.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::ServerName;
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::CertifiedKey;
use rustls::{NamedGroup, SignatureScheme};
use support::Node;
use support::pki::{Ca, Files, Leaf};
use support::server::{OldServer, tls};
use support::stranger::{Caller, Stranger, run};

/// A client's memory of sessions that counts.
#[derive(Debug)]
struct Tickets {
    sessions: ClientSessionMemoryCache,
    given: AtomicUsize,
    used: AtomicUsize,
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.sessions.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.kx_hint(server)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.given.fetch_add(1, Ordering::SeqCst);
        self.sessions.insert_tls13_ticket(server, ticket);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let ticket = self.sessions.take_tls13_ticket(server)?;
        self.used.fetch_add(1, Ordering::SeqCst);
        Some(ticket)
    }
}

/// Shows a client's certificate, and counts how often it was asked for.
#[derive(Debug)]
struct Asked {
    own: Arc<CertifiedKey>,
    times: AtomicUsize,
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.times.fetch_add(1, Ordering::SeqCst);
        Some(self.own.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A server's memory of sessions that counts.
#[derive(Debug)]
struct Sessions {
    sessions: Arc<ServerSessionMemoryCache>,
    kept: AtomicUsize,
    taken: AtomicUsize,
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.kept.fetch_add(1, Ordering::SeqCst);
        self.sessions.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.taken.fetch_add(1, Ordering::SeqCst);
        self.sessions.take(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// What a client has seen that connects twice with one memory.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// It was given tickets.
    tickets: bool,
    /// Tickets that it used.
    used: usize,
    /// How often it was asked for its certificate.
    asked: usize,
}

fn connect_twice(uri: &str, leaf: &Leaf) -> Seen {
    let key = any_supported_type(&leaf.key).unwrap();
    let own = Arc::new(CertifiedKey::new(leaf.chain.clone(), key));
    let asked = Arc::new(Asked { own, times: AtomicUsize::new(0) });
    let sessions = ClientSessionMemoryCache::new(16);
    let tickets = Arc::new(Tickets { sessions, given: AtomicUsize::new(0), used: AtomicUsize::new(0) });
    let stranger = Stranger::with(leaf.clone());
    let mut config = stranger.tls();
    config.resumption = Resumption::store(tickets.clone());
    config.client_auth_cert_resolver = asked.clone();
    run(async {
        for _ in 0..2 {
            let caller = Caller::over(stranger.connect_with(config.clone(), uri).await).await;
            // The answer comes behind the tickets.
            caller.service.federation_health_request().send().promise.await.unwrap();
            caller.connection.close(0u32.into(), b"");
        }
    });
    Seen {
        tickets: tickets.given.load(Ordering::SeqCst) > 0,
        used: tickets.used.load(Ordering::SeqCst),
        asked: asked.times.load(Ordering::SeqCst),
    }
}

#[test]
fn a_client_is_given_no_ticket_and_shows_its_certificate_each_time() {
    let ca = Ca::new("ca");
    let leaf = ca.issue("c.example");
    let node = Node::with(1, &Files::good("a.example", &ca));
    let seen = connect_twice(&node.listen_anywhere(), &leaf);
    assert_eq!(seen, Seen { tickets: false, used: 0, asked: 2 });
    // A server that does resume sees the certificate of the same client once.
    let server = OldServer::start("b.example", &ca.issue("b.example"), &ca);
    assert_eq!(connect_twice(&server.uri, &leaf), Seen { tickets: true, used: 1, asked: 1 });
}

#[test]
fn a_node_that_dials_uses_no_ticket() {
    let ca = Ca::new("ca");
    let sessions = ServerSessionMemoryCache::new(16);
    let sessions = Arc::new(Sessions { sessions, kept: AtomicUsize::new(0), taken: AtomicUsize::new(0) });
    let mut tls = tls(&ca.issue("b.example"), &ca, qpq_federation_capnp::ALPN);
    tls.session_storage = sessions.clone();
    let server = OldServer::start_with("b.example", tls);
    let node = Node::with(1, &Files::good("a.example", &ca));
    for _ in 0..2 {
        node.dial(&server.uri).unwrap();
    }
    assert!(sessions.kept.load(Ordering::SeqCst) > 0, "the server has offered it");
    assert_eq!(sessions.taken.load(Ordering::SeqCst), 0);
    // Another client does.
    connect_twice(&server.uri, &ca.issue("c.example"));
    assert_eq!(sessions.taken.load(Ordering::SeqCst), 1);
}
