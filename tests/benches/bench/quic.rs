//! Raw QUIC, as fast as quinn carries frames of an envelope's size: the limit of the transport.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use qpq_tests::Outcome;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, ServerConfig};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;

use crate::report::Report;

/// Size of a frame with its length: an envelope with a payload of 256 B.
const FRAME: usize = 256 + 157 + 4;

/// Frames in one write, as a busy link packs them.
const BATCH: usize = 64;

/// Frames in the measurement.
const FRAMES: usize = 1_000_000;

/// Round trips in the measurement.
const PINGS: usize = 2_000;

/// The row that other sections compare with.
pub(crate) const LIMIT: &str = "raw QUIC, frames of 417 B on one stream, both ends in one process";

pub(crate) fn measure(report: &mut Report) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (server, address, certificate) = server()?;
        let serving = tokio::spawn(serve(server));
        let connection = client(&certificate)?.connect(address, "localhost")?.await?;
        report.add(LIMIT, one_way(&connection).await?, "/s");
        report.add("raw QUIC, round trip of one frame, mean", round_trips(&connection).await? * 1e6, "µs");
        connection.close(0_u32.into(), b"");
        serving.await?
    })
}

pub(crate) fn server() -> Outcome<(Endpoint, SocketAddr, rustls::pki_types::CertificateDer<'static>)> {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = own.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())?;
    let address = endpoint.local_addr()?;
    Ok((endpoint, address, certificate))
}

pub(crate) fn client(certificate: &rustls::pki_types::CertificateDer<'static>) -> Outcome<Endpoint> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)));
    Ok(endpoint)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Reads each stream to its end, frame by frame, and says at its end how many there were.
async fn serve(endpoint: Endpoint) -> Outcome {
    let Some(incoming) = endpoint.accept().await else { return Ok(()) };
    let connection = incoming.await?;
    // Ends when the client closes the connection.
    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
        tokio::spawn(async move {
            let mut frame = [0; FRAME];
            let mut count = 0_u64;
            while receive.read_exact(&mut frame).await.is_ok() {
                count += 1;
                if frame[0] == 1 {
                    let _ = send.write_all(&frame).await;
                }
            }
            let _ = send.write_all(&count.to_be_bytes()).await;
            let _ = send.finish();
        });
    }
    Ok(())
}

/// Frames a second in one direction.
async fn one_way(connection: &quinn::Connection) -> Outcome<f64> {
    let (mut send, mut receive) = connection.open_bi().await?;
    let block = vec![0; FRAME * BATCH];
    let began = Instant::now();
    for _ in 0..FRAMES / BATCH {
        send.write_all(&block).await?;
    }
    send.finish()?;
    let mut count = [0; 8];
    receive.read_exact(&mut count).await?;
    Ok(u64::from_be_bytes(count) as f64 / began.elapsed().as_secs_f64())
}

/// Seconds for a frame there and back.
async fn round_trips(connection: &quinn::Connection) -> Outcome<f64> {
    let (mut send, mut receive) = connection.open_bi().await?;
    let mut frame = [1; FRAME];
    let began = Instant::now();
    for _ in 0..PINGS {
        send.write_all(&frame).await?;
        receive.read_exact(&mut frame).await?;
    }
    let each = began.elapsed().as_secs_f64() / PINGS as f64;
    send.finish()?;
    Ok(each)
}
