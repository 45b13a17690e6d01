//! A peer that proves its key as it should, and then says whatever a test or a benchmark wants.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use qpq_schemas::envelope::{Draft, Flags, Kind, Priority};
use qpq_schemas::link::{Frame, Hello, Role, sign_auth, unpack};
use qpq_schemas::signature::SigningKey;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

use crate::{Failure, Outcome};

/// How long the other side may take for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A link to a node over QUIC, without a node at this end.
#[derive(Debug)]
pub struct RawLink {
    /// Who this end is.
    pub key: SigningKey,
    /// The stream to the node.
    pub send: SendStream,
    recv: RecvStream,
    /// The connection under it.
    pub connection: Connection,
    endpoint: Endpoint,
}

/// The end of a link that speaks.
#[derive(Debug)]
pub struct Mouth {
    stream: SendStream,
    /// Carries the connection.
    _endpoint: Endpoint,
}

/// The end of a link that listens.
#[derive(Debug)]
pub struct Ear(RecvStream);

impl Mouth {
    /// Sends frames as one block.
    pub async fn say(&mut self, frames: &[Frame]) -> Outcome {
        say(&mut self.stream, &block_of(frames)?).await
    }
}

impl Ear {
    /// The frames of the next block.
    pub async fn hear(&mut self) -> Outcome<Vec<Frame>> {
        hear(&mut self.0).await
    }
}

fn block_of(frames: &[Frame]) -> Outcome<Vec<u8>> {
    let mut block = Vec::new();
    for frame in frames {
        frame.encode(&mut block)?;
    }
    Ok(block)
}

async fn say(stream: &mut SendStream, block: &[u8]) -> Outcome {
    let mut bytes = u32::try_from(block.len())?.to_be_bytes().to_vec();
    bytes.extend_from_slice(block);
    Ok(in_time(stream.write_all(&bytes)).await??)
}

async fn hear(stream: &mut RecvStream) -> Outcome<Vec<Frame>> {
    let mut length = [0; 4];
    in_time(stream.read_exact(&mut length)).await??;
    let mut block = vec![0; u32::from_be_bytes(length) as usize];
    in_time(stream.read_exact(&mut block)).await??;
    Ok(unpack(Bytes::from(block)).filter_map(Result::ok).collect())
}

impl RawLink {
    /// Connects and opens the stream, but doesn't say HELLO.
    pub async fn connect(seed: &[u8; 32], address: &str) -> Outcome<Self> {
        let endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let tls = QuicClientConfig::try_from(tls(seed)?)?;
        let connecting = endpoint.connect_with(ClientConfig::new(Arc::new(tls)), address.parse()?, "127.0.0.1")?;
        let connection = in_time(connecting).await??;
        let (mut send, mut recv) = in_time(connection.open_bi()).await??;
        send.write_all(&[0; 4]).await?;
        let mut opening = [0; 4];
        in_time(recv.read_exact(&mut opening)).await??;
        Ok(Self { key: SigningKey::from_seed(seed), send, recv, connection, endpoint })
    }

    /// Connects and proves the key: the node has an authenticated link from now on.
    pub async fn enter(seed: &[u8; 32], address: &str) -> Outcome<Self> {
        let mut link = Self::connect(seed, address).await?;
        let mine = Hello::new(link.key.public(), rand::random());
        link.say(&[Frame::Hello(mine.clone())]).await?;
        let theirs = loop {
            if let Some(Frame::Hello(hello)) = link.hear().await?.into_iter().next() {
                break hello;
            }
        };
        let mut binding = [0; 32];
        let exported = link.connection.export_keying_material(&mut binding, b"EXPORTER-qpq-link-v1", b"");
        exported.map_err(|_| Failure::new("no channel binding"))?;
        let auth = sign_auth(&link.key, Role::Initiator, &mine, &theirs, &binding);
        link.say(&[Frame::Auth(auth)]).await?;
        Ok(link)
    }

    /// Sends frames as one block.
    pub async fn say(&mut self, frames: &[Frame]) -> Outcome {
        say(&mut self.send, &block_of(frames)?).await
    }

    /// Sends any bytes as a block.
    pub async fn say_raw(&mut self, block: &[u8]) -> Outcome {
        say(&mut self.send, block).await
    }

    /// The frames of the next block.
    pub async fn hear(&mut self) -> Outcome<Vec<Frame>> {
        hear(&mut self.recv).await
    }

    /// Both ends apart.
    pub fn split(self) -> (Mouth, Ear) {
        (Mouth { stream: self.send, _endpoint: self.endpoint }, Ear(self.recv))
    }

    /// Reads until a frame fits.
    pub async fn hear_until<T>(&mut self, mut fits: impl FnMut(Frame) -> Option<T>) -> Outcome<T> {
        loop {
            for frame in self.hear().await? {
                if let Frame::Ping(number) = frame {
                    self.say(&[Frame::Pong(number)]).await?;
                } else if let Some(found) = fits(frame) {
                    return Ok(found);
                }
            }
        }
    }
}

/// A draft of a plain message to that recipient, or broadcast on that topic, made now.
pub fn draft(kind: Kind, destination: [u8; 32], payload: Vec<u8>) -> Draft {
    Draft {
        kind,
        flags: Flags { sealed: kind == Kind::Broadcast, receipt_wanted: false, priority: Priority::Normal },
        max_hops: 16,
        ttl_secs: 3_600,
        created_ms: now_ms(),
        nonce: rand::random(),
        destination,
        payload,
    }
}

/// Unix time in milliseconds.
pub fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
}

async fn in_time<T>(work: impl IntoFuture<Output = T>) -> Outcome<T> {
    let late = |_| Failure::new("the node did not answer in time");
    tokio::time::timeout(PATIENCE, work.into_future()).await.map_err(late)
}

fn tls(seed: &[u8; 32]) -> Outcome<rustls::ClientConfig> {
    let public = SigningKey::from_seed(seed).public().0;
    let spki = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00], &public[..]].concat();
    // PKCS#8 version 1 (RFC 8410, 7) around the seed.
    let prefix = [0x30, 0x2e, 0x02, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from([prefix.as_slice(), seed].concat()));
    let key = ring::default_provider().key_provider.load_private_key(der)?;
    let shown = rustls::sign::CertifiedKey::new(vec![CertificateDer::from(spki)], key);
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(shown))));
    config.alpn_protocols = vec![b"quicproquo/link/1".to_vec()];
    Ok(config)
}

/// Trusts whoever answers: the intruder has nothing to lose.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
