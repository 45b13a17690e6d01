//! Who is refused, why, and that both ends say so: the operator who can mend it reads the same reason.

mod support;

use qpq_plugin_api::Status;
use quinn::{Connection, ConnectionError, Endpoint};
use rcgen::ExtendedKeyUsagePurpose;
use serde_json::json;
use support::Node;
use support::bad::certificates as bad_certificates;
use support::pki::{Ca, Files, params};
use support::server::{OldServer, config};
use support::stranger::{Caller, Stranger, run};

/// What a refused client hears: the text of the close.
fn heard(uri: &str, stranger: &Stranger) -> String {
    run(async {
        let (_endpoint, connected) = stranger.connect(uri).await;
        match connected {
            // A client of TLS 1.3 is done before the server has judged its certificate.
            Ok(connection) => text(&closed_unread(&connection).await),
            Err(error) => text(&error),
        }
    })
}

/// Waits for the close, and checks that the server has read and sent no application data before it.
async fn closed_unread(connection: &Connection) -> ConnectionError {
    let error = connection.closed().await;
    assert_eq!(connection.stats().frame_rx.stream, 0, "not a byte of application data");
    error
}

fn text(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionClosed(close) => {
            format!("{} {}", u64::from(close.error_code) & 0xff, String::from_utf8_lossy(&close.reason))
        }
        ConnectionError::ApplicationClosed(close) => String::from_utf8_lossy(&close.reason).into_owned(),
        other => other.to_string(),
    }
}

/// A friend still gets in, and no link of anybody else ever came up.
fn assert_unharmed(node: &Node, uri: &str, ca: &Ca) {
    let links = node.told().up.len();
    let friend = Node::with(9, &Files::good("friend.example", ca));
    friend.dial(uri).unwrap();
    node.link_from("friend.example");
    assert_eq!(node.told().up.len(), links + 1);
    assert!(node.told().failures.is_empty(), "{:?}", node.told().failures);
}

#[test]
fn each_bad_certificate_of_a_client_has_its_own_reason_at_both_ends() {
    let ca = Ca::new("ca");
    for bad in bad_certificates(&ca) {
        let code = bad.code;
        let node = Node::with(1, &Files::good("a.example", &ca));
        let uri = node.listen_anywhere();
        let said = heard(&uri, &Stranger::with(bad.leaf));
        assert!(said.contains(&format!("{code}: ")), "{}: {said}", bad.what);
        let refusal = node.refusal(code);
        assert!(refusal["remote"].as_str().unwrap().starts_with("127.0.0.1:"), "{refusal}");
        assert_eq!((&refusal["by_peer"], &refusal["count"]), (&json!(false), &json!(1)));
        assert_eq!(refusal["domain"], json!(bad.names.first()), "{}", bad.what);
        node.logged(&format!("was refused: {code}: "));
        assert!(node.told().up.is_empty());
        assert_unharmed(&node, &uri, &ca);
    }
}

#[test]
fn each_bad_certificate_of_a_server_has_its_own_reason_at_both_ends() {
    let ca = Ca::new("ca");
    for bad in bad_certificates(&ca) {
        let code = bad.code;
        let node = Node::with(1, &Files::good("a.example", &ca));
        let server = OldServer::start("c.example", &bad.leaf, &ca);
        let (status, why) = node.dial(&server.uri).unwrap_err();
        assert_eq!(status, Status::REFUSED, "{}: {why}", bad.what);
        assert!(why.starts_with(&format!("{code}: ")), "{}: {why}", bad.what);
        assert_eq!(node.peer("c.example")["last_error"], why);
        node.logged(&format!("was refused: {code}: "));
        assert!(node.told().up.is_empty());
    }
}

#[test]
fn a_certificate_for_one_side_is_not_good_for_the_other() {
    let ca = Ca::new("ca");
    let for_one = |usage| {
        let mut params = params("c.example");
        params.extended_key_usages = vec![usage];
        ca.sign(&params)
    };
    let node = Node::with(1, &Files::good("a.example", &ca));
    let uri = node.listen_anywhere();
    let said = heard(&uri, &Stranger::with(for_one(ExtendedKeyUsagePurpose::ServerAuth)));
    assert!(said.contains("certificate-usage: "), "{said}");
    node.refusal("certificate-usage");
    let server = OldServer::start("c.example", &for_one(ExtendedKeyUsagePurpose::ClientAuth), &ca);
    let (status, why) = node.dial(&server.uri).unwrap_err();
    assert_eq!(status, Status::REFUSED, "{why}");
    assert!(why.starts_with("certificate-usage: "), "{why}");
    assert_unharmed(&node, &uri, &ca);
}

#[test]
fn a_ca_that_was_vouched_for_is_good_for_no_other_domain() {
    let (ca, hill) = (Ca::new("ca"), Ca::new("hill"));
    let files = Files::good("a.example", &ca);
    files.trust_certificates(&[ca.der(), ca.vouch(&hill, "hill", "hill.mesh")]);
    let node = Node::with(1, &files);
    let uri = node.listen_anywhere();
    // They trust the node; the node trusts them for hill.mesh.
    let friend = Node::with(2, &Files::new("hill.mesh", &hill.issue("hill.mesh"), &[&ca]));
    friend.dial(&uri).unwrap();
    node.link_from("hill.mesh");
    let valley = Node::with(3, &Files::new("valley.mesh", &hill.issue("valley.mesh"), &[&ca]));
    let valley_uri = valley.listen_anywhere();
    let mut both = params("hill.mesh");
    both.subject_alt_names.extend(params("valley.mesh").subject_alt_names);
    let both = Node::with(4, &Files::new("hill.mesh", &hill.sign(&both), &[&ca]));
    let code = "domain-not-permitted: ";
    for peer in [&valley, &both] {
        let (status, why) = peer.dial(&uri).unwrap_err();
        assert_eq!(status, Status::REFUSED);
        assert!(why.starts_with(code) && why.contains("--permit") && why.contains("valley.mesh"), "{why}");
        assert_eq!(peer.refusal("domain-not-permitted")["by_peer"], true);
    }
    assert_eq!(node.refusal("domain-not-permitted")["by_peer"], false);
    node.logged(&format!("was refused: {code}"));
    let (status, why) = node.dial(&valley_uri).unwrap_err();
    assert_eq!(status, Status::REFUSED);
    assert!(why.starts_with(code) && why.contains("--permit"), "{why}");
    valley.logged(&format!("refuses this node: {code}"));
    assert!(valley.told().up.is_empty() && node.told().up.len() == 1);
}

#[test]
fn the_other_node_reads_why_it_was_refused() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let listener = Node::with(1, &Files::good("a.example", &ca));
    let uri = listener.listen_anywhere();
    // It trusts the listener; the listener doesn't trust it.
    let dialler = Node::with(2, &Files::new("b.example", &other.issue("b.example"), &[&ca]));
    let (status, why) = dialler.dial(&uri).unwrap_err();
    assert_eq!(status, Status::REFUSED);
    assert!(why.starts_with("unknown-authority: ") && why.contains("cross-sign"), "{why}");
    assert_eq!(dialler.peer("a.example")["last_error"], why);
    assert_eq!(dialler.refusal("unknown-authority")["by_peer"], true);
    dialler.logged("refuses this node: unknown-authority: ");
    assert_eq!(listener.refusal("unknown-authority")["domain"], "b.example");
    // The other way round: the dialler refuses, the listener reads it.
    let wary = Node::with(3, &Files::new("c.example", &ca.issue("c.example"), &[&other]));
    let (_, why) = wary.dial(&uri).unwrap_err();
    assert!(why.starts_with("unknown-authority: "), "{why}");
    listener.logged("refuses this node: unknown-authority: ");
}

#[test]
fn who_shows_no_certificate_is_refused() {
    let ca = Ca::new("ca");
    let node = Node::with(1, &Files::good("a.example", &ca));
    let uri = node.listen_anywhere();
    let said = heard(&uri, &Stranger { leaf: None, ..Stranger::with(ca.issue("c.example")) });
    assert!(said.starts_with("116 "), "{said}");
    assert_eq!(node.refusal("no-certificate")["by_peer"], false);
    node.logged("was refused: no-certificate: ");
    assert_unharmed(&node, &uri, &ca);
}

#[test]
fn another_protocol_and_older_tls_are_refused_in_the_handshake() {
    let ca = Ca::new("ca");
    let node = Node::with(1, &Files::good("a.example", &ca));
    let uri = node.listen_anywhere();
    let said = heard(&uri, &Stranger { alpn: b"h3", ..Stranger::with(ca.issue("c.example")) });
    assert!(said.starts_with("120 "), "{said}");
    node.refusal("wrong-protocol");
    node.logged("was refused: wrong-protocol: ");
    let said = heard(&uri, &Stranger { old: true, ..Stranger::with(ca.issue("c.example")) });
    assert!(said.starts_with("70 "), "{said}");
    node.refusal("tls-version");
    node.logged("was refused: tls-version: ");
    assert_unharmed(&node, &uri, &ca);
}

#[test]
fn early_data_which_could_be_replayed_is_never_taken() {
    let ca = Ca::new("ca");
    let node = Node::with(1, &Files::good("a.example", &ca));
    let uri = node.listen_anywhere();
    assert!(!run(Stranger::with(ca.issue("c.example")).early_data_is_taken(&uri)));
}

#[test]
fn a_server_with_another_protocol_is_named() {
    let ca = Ca::new("ca");
    let node = Node::with(1, &Files::good("a.example", &ca));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let server = Endpoint::server(config(&ca.issue("c.example"), &ca, b"h3"), "127.0.0.1:0".parse().unwrap()).unwrap();
    let uri = format!("federation://c.example@{}", server.local_addr().unwrap());
    runtime.spawn(async move {
        while let Some(incoming) = server.accept().await {
            let _ = incoming.await;
        }
    });
    let (status, why) = node.dial(&uri).unwrap_err();
    assert_eq!(status, Status::REFUSED, "{why}");
    assert!(why.starts_with("wrong-protocol: "), "{why}");
    node.logged("wrong-protocol: ");
}

#[test]
fn the_domain_that_was_dialled_must_be_in_the_certificate() {
    let ca = Ca::new("ca");
    let dialler = Node::with(1, &Files::good("a.example", &ca));
    let listener = Node::with(2, &Files::good("b.example", &ca));
    let addr = listener.listen_anywhere().rsplit_once('@').unwrap().1.to_owned();
    let (status, why) = dialler.dial(&format!("federation://c.example@{addr}")).unwrap_err();
    assert_eq!(status, Status::REFUSED);
    assert!(why.starts_with("wrong-domain: ") && why.contains("dialled c.example, found b.example"), "{why}");
    dialler.refusal("wrong-domain");
    listener.logged("refuses this node: wrong-domain: ");
    assert!(listener.told().up.is_empty());
}

#[test]
fn blocked_and_unlisted_domains_are_refused_at_both_ends() {
    let ca = Ca::new("ca");
    for (policy, code) in
        [(json!({"block": ["B.Example"]}), "domain-blocked"), (json!({"allow": ["c.example"]}), "domain-not-listed")]
    {
        let listener = Node::new(1, &Files::good("a.example", &ca), &policy);
        let uri = listener.listen_anywhere();
        let dialler = Node::with(2, &Files::good("b.example", &ca));
        let (status, why) = dialler.dial(&uri).unwrap_err();
        assert_eq!(status, Status::REFUSED);
        assert!(why.starts_with(&format!("{code}: ")), "{why}");
        assert_eq!(listener.refusal(code)["domain"], "b.example");
        assert!(listener.told().up.is_empty());
        // The node doesn't dial such a domain either.
        let (status, why) = listener.dial("federation://b.example@127.0.0.1:9").unwrap_err();
        assert_eq!(status, Status::REFUSED);
        assert!(why.starts_with(&format!("{code}: ")), "{why}");
        Node::with(3, &Files::good("c.example", &ca)).dial(&uri).unwrap();
    }
}

#[test]
fn a_wrong_origin_or_version_is_refused_with_its_reason() {
    let ca = Ca::new("ca");
    let node = Node::with(1, &Files::good("a.example", &ca));
    let uri = node.listen_anywhere();
    run(async {
        let caller = Caller::connect(&Stranger::with(ca.issue("c.example")), &uri).await;
        let health = caller.service.federation_health_request().send().promise.await.unwrap();
        let health = health.get().unwrap();
        assert_eq!(health.get_status().unwrap(), "ok");
        assert_eq!(health.get_server_domain().unwrap(), "a.example");
        let error = caller.relay(&[1; 32], &[1], 2, "c.example").await.unwrap_err();
        assert!(error.extra.contains("wrong-version: ") && error.extra.contains("got 2"), "{error}");
        let error = caller.relay(&[1; 32], &[1], 1, "d.example").await.unwrap_err();
        assert!(error.extra.contains("wrong-origin: ") && error.extra.contains("stated d.example"), "{error}");
        let error = caller.relay(&[1; 31], &[1], 1, "c.example").await.unwrap_err();
        assert!(error.extra.contains("bad-argument: "), "{error}");
        // The connection lives on: these were faults of calls.
        caller.service.federation_health_request().send().promise.await.unwrap();
    });
    assert_eq!(node.refusal("wrong-version")["domain"], "c.example");
    node.refusal("wrong-origin");
    node.logged("was refused: wrong-origin: ");
    assert!(node.told().up.is_empty());
}

#[test]
fn a_link_for_another_domain_than_the_certificates_is_refused() {
    let ca = Ca::new("ca");
    let node = Node::with(1, &Files::good("a.example", &ca));
    let uri = node.listen_anywhere();
    run(async {
        let caller = Caller::connect(&Stranger::with(ca.issue("c.example")), &uri).await;
        let mut request = caller.mesh.open_request();
        request.get().init_auth().set_origin("d.example");
        let _call = request.send();
        let closed = text(&caller.connection.closed().await);
        assert!(closed.starts_with("wrong-origin: "), "{closed}");
    });
    node.refusal("wrong-origin");
    assert!(node.told().up.is_empty());
    assert_unharmed(&node, &uri, &ca);
}

#[test]
fn methods_that_a_node_does_not_offer_say_so() {
    let ca = Ca::new("ca");
    let node = Node::with(1, &Files::good("a.example", &ca));
    let uri = node.listen_anywhere();
    run(async {
        let caller = Caller::connect(&Stranger::with(ca.issue("c.example")), &uri).await;
        let errors = [
            caller.service.proxy_fetch_key_package_request().send().promise.await.err().unwrap(),
            caller.service.proxy_fetch_hybrid_key_request().send().promise.await.err().unwrap(),
            caller.service.proxy_resolve_user_request().send().promise.await.err().unwrap(),
        ];
        for error in errors {
            assert_eq!(error.kind, capnp::ErrorKind::Unimplemented);
            assert!(error.extra.contains("unimplemented"), "{error}");
        }
    });
}

#[test]
fn an_operator_reads_that_others_will_refuse_the_certificate() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let mut over = params("a.example");
    over.not_after = rcgen::date_time_ymd(2020, 1, 1);
    for (leaf, code) in [(ca.sign(&over), "certificate-expired"), (other.issue("a.example"), "unknown-authority")] {
        let node = Node::with(1, &Files::new("a.example", &leaf, &[&ca]));
        let error = node.stats()["certificate"]["error"].clone();
        assert!(error.as_str().unwrap().starts_with(&format!("others will refuse us: {code}: ")), "{error}");
        node.logged("others will refuse us");
    }
}

#[test]
fn renewed_certificates_are_used_and_broken_ones_are_not() {
    let (ca, new_ca) = (Ca::new("ca"), Ca::new("new"));
    let files = Files::good("a.example", &ca);
    let node = Node::with(1, &files);
    let uri = node.listen_anywhere();
    let friend = Node::with(2, &Files::new("b.example", &ca.issue("b.example"), &[&ca, &new_ca]));
    let link = friend.dial(&uri).unwrap();
    support::pki::write(&files.path("cert"), b"rubbish");
    node.logged("so the old ones stay");
    let error = node.stats()["certificate"]["error"].clone();
    assert!(error.as_str().unwrap().contains("no certificate"), "{error}");
    friend.dial(&uri).unwrap();
    let stranger = Node::with(3, &Files::new("c.example", &new_ca.issue("c.example"), &[&ca, &new_ca]));
    assert!(stranger.dial(&uri).is_err());
    files.trust(&[&new_ca, &ca]);
    files.show(&new_ca.issue("a.example"));
    node.logged("certificate files have changed");
    let deadline = std::time::Instant::now() + support::SOON;
    while stranger.dial(&uri).is_err() {
        assert!(std::time::Instant::now() < deadline);
    }
    assert_eq!(node.stats()["certificate"]["error"], json!(null));
    friend.dial(&uri).unwrap();
    assert!(!friend.told().down.contains_key(&link), "a link that is up stays up");
}
