//! The libraries by themselves: one stream, batches written as they are, read as they come.

use std::time::Instant;

use bytes::Bytes;
use iroh::endpoint::presets;
use iroh::{EndpointAddr, RelayMode, RelayUrl, TransportAddr};
use qpq_tests::{Failure, Outcome};
use tokio::runtime::Runtime;

use super::{BATCH, Carrier, ENVELOPE, block};
use crate::quic;

/// Protocol of the measurement.
const ALPN: &[u8] = b"bench";

/// Chunks that are read at once.
const CHUNKS: usize = 32;

fn runtime() -> Outcome<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Two ends of quinn.
pub(super) struct Quinn {
    runtime: Runtime,
    near: quinn::Connection,
    far: quinn::Connection,
    _endpoints: (quinn::Endpoint, quinn::Endpoint),
}

impl Quinn {
    pub(super) fn start() -> Outcome<Self> {
        let runtime = runtime()?;
        runtime
            .block_on(async {
                let (server, address, certificate) = quic::server()?;
                let client = quic::client(&certificate)?;
                let accepting = tokio::spawn(async move {
                    let incoming = server.accept().await.ok_or_else(|| Failure::new("nobody came"))?;
                    Ok::<_, Failure>((incoming.await?, server))
                });
                let near = client.connect(address, "localhost")?.await?;
                let (far, server) = accepting.await??;
                Ok((near, far, (client, server)))
            })
            .map(|(near, far, _endpoints)| Self { runtime, near, far, _endpoints })
    }
}

impl Carrier for Quinn {
    fn carry(&mut self, envelopes: usize) -> Outcome<f64> {
        let (near, far, bytes) = (self.near.clone(), self.far.clone(), envelopes * ENVELOPE);
        self.runtime.block_on(async move {
            let began = Instant::now();
            let reading = tokio::spawn(async move {
                let mut stream = far.accept_uni().await?;
                let mut chunks: [Bytes; CHUNKS] = std::array::from_fn(|_| Bytes::new());
                let mut arrived = 0;
                while let Some(n) = stream.read_chunks(&mut chunks).await? {
                    arrived += chunks.iter().take(n).map(Bytes::len).sum::<usize>();
                }
                Ok::<_, Failure>(arrived)
            });
            let mut stream = near.open_uni().await?;
            for _ in 0..envelopes / BATCH {
                stream.write_chunk(block()).await?;
            }
            stream.finish()?;
            all_arrived(reading.await??, bytes, began)
        })
    }
}

/// Two ends of iroh.
pub(super) struct Iroh {
    runtime: Runtime,
    near: iroh::endpoint::Connection,
    far: iroh::endpoint::Connection,
    _endpoints: (iroh::Endpoint, iroh::Endpoint),
}

impl Iroh {
    /// Over the loopback interface, or through that relay only.
    pub(super) fn start(relay: Option<&RelayUrl>) -> Outcome<Self> {
        let runtime = runtime()?;
        runtime
            .block_on(async {
                let (client, server) = (endpoint(relay).await?, endpoint(relay).await?);
                let addr = match relay {
                    Some(url) => {
                        tokio::join!(client.online(), server.online());
                        TransportAddr::Relay(url.clone())
                    }
                    None => {
                        TransportAddr::Ip(*server.bound_sockets().first().ok_or_else(|| Failure::new("no socket"))?)
                    }
                };
                let addr = EndpointAddr::from_parts(server.id(), [addr]);
                let accepting = tokio::spawn(async move {
                    let incoming = server.accept().await.ok_or_else(|| Failure::new("nobody came"))?;
                    Ok::<_, Failure>((incoming.await?, server))
                });
                let near = client.connect(addr, ALPN).await?;
                let (far, server) = accepting.await??;
                Ok((near, far, (client, server)))
            })
            .map(|(near, far, _endpoints)| Self { runtime, near, far, _endpoints })
    }
}

async fn endpoint(relay: Option<&RelayUrl>) -> Outcome<iroh::Endpoint> {
    let builder = iroh::Endpoint::builder(presets::Minimal).alpns(vec![ALPN.to_vec()]).clear_ip_transports();
    let builder = match relay {
        Some(url) => builder.relay_mode(RelayMode::custom([url.clone()])),
        None => builder.relay_mode(RelayMode::Disabled).bind_addr("127.0.0.1:0")?,
    };
    Ok(builder.bind().await?)
}

impl Carrier for Iroh {
    fn carry(&mut self, envelopes: usize) -> Outcome<f64> {
        let (near, far, bytes) = (self.near.clone(), self.far.clone(), envelopes * ENVELOPE);
        self.runtime.block_on(async move {
            let began = Instant::now();
            let reading = tokio::spawn(async move {
                let mut stream = far.accept_uni().await?;
                let mut chunks: [Bytes; CHUNKS] = std::array::from_fn(|_| Bytes::new());
                let mut arrived = 0;
                while let Some(n) = stream.read_many_chunks(&mut chunks).await? {
                    arrived += chunks.iter().take(n).map(Bytes::len).sum::<usize>();
                }
                Ok::<_, Failure>(arrived)
            });
            let mut stream = near.open_uni().await?;
            for _ in 0..envelopes / BATCH {
                stream.write_chunk(block()).await?;
            }
            stream.finish()?;
            all_arrived(reading.await??, bytes, began)
        })
    }
}

fn all_arrived(arrived: usize, sent: usize, began: Instant) -> Outcome<f64> {
    if arrived == sent / (BATCH * ENVELOPE) * (BATCH * ENVELOPE) {
        return Ok(began.elapsed().as_secs_f64());
    }
    Err(Failure::new(format!("{arrived} of {sent} bytes arrived")))
}
