//! What strangers cost a gateway: certificates that it refuses, and handshakes that are never finished.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use qpq_tests::domains::{Authority, Domain};
use qpq_tests::flow::ROOM;
use qpq_tests::{Outcome, TestNode, procfs};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::JoinSet;

use crate::relay::delays;
use crate::report::{Goal, Report};

/// Peers with a certificate of their own making.
const REFUSED: usize = 500;

/// Handshakes that are begun and never finished, and the addresses that they come from.
const HALF_OPEN: usize = 5_000;
const ADDRESSES: usize = 50;

/// Messages between the domains meanwhile, and how many a second.
const PACED: usize = 2_000;
const PACE: u64 = 500;

/// How often a gateway is looked at for what it does when nobody comes.
const IDLE: Duration = Duration::from_secs(2);

pub(super) fn measure(report: &mut Report) -> Outcome {
    let community = Authority::new("Valley")?;
    let (a, b) = (Domain::new("a.mesh")?, Domain::new("b.mesh")?);
    let gate_a = community.gateway(&a, &[], ROOM)?.start()?;
    let gate_b = community.gateway(&b, &[&a], ROOM)?.start()?;
    gate_b.wait_links(1)?;
    let address: SocketAddr = a.address().parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    let rest = || {
        std::thread::sleep(IDLE);
        Ok(())
    };
    let idle = cpu_during(&gate_a, rest)?.as_secs_f64() / IDLE.as_secs_f64();
    let began = std::time::Instant::now();
    let busy = cpu_during(&gate_a, || runtime.block_on(be_refused(address)))?.as_secs_f64();
    let cost = (busy - idle * began.elapsed().as_secs_f64()) / REFUSED as f64 * 1_000.0;
    report.add("CPU of a gateway for a peer whose certificate it refuses", cost, "ms").goal(Goal::AtMost(1.0));

    let quiet = delays(&gate_b, &gate_a, PACED, PACE, 1)?.as_secs_f64() * 1_000.0;
    let flood = std::thread::spawn(move || half_open(address));
    let flooded = delays(&gate_b, &gate_a, PACED, PACE, 2)?.as_secs_f64() * 1_000.0;
    let begun = flood.join().unwrap_or(Ok(0))?;
    report.add(format!("b → a at {PACE}/s, durable at both, p99"), quiet, "ms");
    let entry = report.add(format!("the same while {begun} handshakes are begun and left"), flooded, "ms");
    entry.ratio_to(quiet, "of the p99 without").goal(Goal::RatioAtMost(2.0));
    Ok(())
}

fn cpu_during(node: &TestNode, work: impl FnOnce() -> Outcome) -> Outcome<Duration> {
    let cpu = || Ok::<_, qpq_tests::Failure>(procfs::cpu_time(node.pid()?).unwrap_or_default());
    let before = cpu()?;
    work()?;
    Ok(cpu()?.saturating_sub(before))
}

/// Strangers come one after the other, each with a certificate that nobody vouches for.
async fn be_refused(address: SocketAddr) -> Outcome {
    let own = rcgen::generate_simple_self_signed(["evil.mesh".to_owned()])?;
    let endpoint = endpoint(Ipv4Addr::LOCALHOST, &own)?;
    for _ in 0..REFUSED {
        if let Ok(connection) = endpoint.connect(address, "a.mesh")?.await {
            connection.closed().await;
        }
    }
    Ok(())
}

/// Begins handshakes from many addresses and never answers: the gateway's packets go nowhere.
fn half_open(address: SocketAddr) -> std::io::Result<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Clients talk to this socket, which passes on what they say and drops what they are told.
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let from: Vec<UdpSocket> = (0..ADDRESSES)
        .map(|number| UdpSocket::bind((Ipv4Addr::new(127, 0, 1, u8::try_from(number + 1).unwrap_or(255)), 0)))
        .collect::<Result<_, _>>()?;
    let place = sink.local_addr()?;
    let passing = std::thread::spawn(move || {
        let mut buffer = [0; 2_048];
        for number in 0..HALF_OPEN {
            let Ok(length) = sink.recv(&mut buffer) else { return number };
            let socket = from.get(number % from.len());
            _ = socket.map(|socket| socket.send_to(buffer.get(..length).unwrap_or_default(), address));
        }
        HALF_OPEN
    });
    runtime.block_on(async {
        let Ok(own) = rcgen::generate_simple_self_signed(["evil.mesh".to_owned()]) else { return };
        let Ok(endpoint) = endpoint(Ipv4Addr::LOCALHOST, &own) else { return };
        let mut begun = JoinSet::new();
        for number in 0..HALF_OPEN {
            if let Ok(connecting) = endpoint.connect(place, "a.mesh") {
                begun.spawn(async move { tokio::time::timeout(Duration::from_millis(5), connecting).await.is_ok() });
            }
            if number % 16 == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        while begun.join_next().await.is_some() {}
    });
    Ok(passing.join().unwrap_or_default())
}

/// A client that believes every server, and shows a certificate of its own.
fn endpoint(ip: Ipv4Addr, own: &rcgen::CertifiedKey<rcgen::KeyPair>) -> Outcome<Endpoint> {
    let chain = vec![own.cert.der().clone()];
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible))
        .with_client_auth_cert(chain, key)?;
    tls.alpn_protocols = vec![b"quicproquo/federation/1".to_vec()];
    let mut endpoint = Endpoint::client((ip, 0).into())?;
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)));
    Ok(endpoint)
}

/// Believes every server.
#[derive(Debug)]
struct Gullible;

impl rustls::client::danger::ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &rustls::pki_types::ServerName<'_>,
        _ocsp_response: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
