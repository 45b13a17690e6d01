//! The iroh endpoint: its settings, sockets and relays.
//!
//! There is one endpoint, since of two with one key a relay knows only the newer. iroh binds all sockets when it makes it, so
//! another address to listen at means another endpoint: the links of the one before are flushed and ended, and come back.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use iroh::endpoint::{
    BindOpts, Builder, ConnectOptions, Connection, IdleTimeout, QuicTransportConfig, VarInt, presets,
};
use iroh::tls::CaTlsConfig;
use iroh::{Endpoint, EndpointAddr, RelayConfig, RelayMap, RelayMode, RelayUrl, SecretKey};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, timeout};

use crate::config::Config;
use crate::error::Error;
use crate::limits::{ALPN, BIND_PATIENCE, BIND_RETRY, CLOSE_PATIENCE, MAX_LISTEN, MAX_ROOTS};

/// Makes the endpoint and keeps it until the end.
#[derive(Debug)]
pub(crate) struct Net {
    config: Config,
    relays: Vec<RelayUrl>,
    /// Authorities of the relays' certificates; none: the public ones.
    roots: Vec<CertificateDer<'static>>,
    /// The node's key, from `start` on. iroh wipes it when it is dropped.
    key: OnceLock<SecretKey>,
    /// Held by whoever makes an endpoint or ends it.
    turn: Mutex<()>,
    open: RwLock<Open>,
}

#[derive(Debug, Default)]
struct Open {
    endpoint: Option<Endpoint>,
    /// Where it listens, with the ports that were chosen.
    listening: Vec<SocketAddr>,
    closed: bool,
}

impl Net {
    /// No sockets yet.
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let relays = config.relay_urls().map_err(Error::Setup)?;
        let roots = read_roots(&config)?;
        let (turn, open) = (Mutex::default(), RwLock::default());
        Ok(Self { config, relays, roots, key: OnceLock::new(), turn, open })
    }

    /// Sets the node's key; before anything else.
    pub(crate) fn set_key(&self, secret: &[u8; 32]) {
        let _ = self.key.set(SecretKey::from_bytes(secret));
    }

    /// The configured relays.
    pub(crate) fn relays(&self) -> &[RelayUrl] {
        &self.relays
    }

    /// The endpoint, if there is one.
    pub(crate) fn current(&self) -> Option<Endpoint> {
        self.read().endpoint.clone()
    }

    /// Where it listens.
    pub(crate) fn listening(&self) -> Vec<SocketAddr> {
        self.read().listening.clone()
    }

    /// The endpoint; `new` is told of it if it was made just now.
    pub(crate) async fn endpoint(&self, new: impl FnOnce(Endpoint)) -> Result<Endpoint, Error> {
        let turn = self.turn.lock().await;
        if let Some(endpoint) = self.current() {
            return Ok(endpoint);
        }
        let listening = self.listening();
        let endpoint = self.bind(&listening, &turn).await?;
        self.keep(endpoint.clone(), listening)?;
        new(endpoint.clone());
        Ok(endpoint)
    }

    /// Listens at `addr` too. `vacate` ends the links of the endpoint that has to give way, if there is one; `new` is told of
    /// the new one. Returns the address with the port that was chosen.
    pub(crate) async fn listen(
        &self,
        addr: SocketAddr,
        vacate: impl Future<Output = ()>,
        new: impl FnOnce(Endpoint),
    ) -> Result<SocketAddr, Error> {
        if self.config.relay_only {
            return Err(Error::RelayOnly);
        }
        let turn = self.turn.lock().await;
        let before = self.listening();
        if before.contains(&addr) {
            return Err(Error::Bind { addr, source: io::ErrorKind::AddrInUse.into() });
        }
        if before.len() >= MAX_LISTEN {
            return Err(Error::TooManySockets);
        }
        if self.current().is_some() {
            vacate.await;
            self.close_current().await;
        }
        let wanted: Vec<SocketAddr> = before.iter().copied().chain([addr]).collect();
        let (bound, failed) = match self.bind(&wanted, &turn).await {
            Ok(endpoint) => (endpoint, None),
            Err(error) if before.is_empty() => return Err(error),
            // What worked before goes on.
            Err(error) => (self.bind(&before, &turn).await?, Some(error)),
        };
        let sockets = bound.bound_sockets();
        let found = sockets.iter().find(|socket| socket.ip() == addr.ip() && !before.contains(socket)).copied();
        let listening = before.into_iter().chain(found.filter(|_| failed.is_none())).collect();
        self.keep(bound.clone(), listening)?;
        new(bound);
        match failed {
            Some(error) => Err(error),
            None => found.ok_or_else(|| Error::Setup(format!("iroh did not say where it bound {addr}"))),
        }
    }

    /// Ends the endpoint, for good. Peers are told.
    pub(crate) async fn close(&self) {
        self.write().closed = true;
        self.close_current().await;
    }

    async fn close_current(&self) {
        let endpoint = self.write().endpoint.take();
        if let Some(endpoint) = endpoint {
            let _ = timeout(CLOSE_PATIENCE, endpoint.close()).await;
        }
    }

    fn keep(&self, endpoint: Endpoint, listening: Vec<SocketAddr>) -> Result<(), Error> {
        let mut open = self.write();
        if open.closed {
            return Err(Error::Stopping);
        }
        (open.endpoint, open.listening) = (Some(endpoint), listening);
        Ok(())
    }

    /// A port that is in use is tried again for a while: the endpoint before this one is just giving it up.
    async fn bind(&self, listening: &[SocketAddr], _turn: &MutexGuard<'_, ()>) -> Result<Endpoint, Error> {
        let deadline = Instant::now() + BIND_PATIENCE;
        loop {
            if self.read().closed {
                return Err(Error::Stopping);
            }
            let busy = listening.iter().find_map(|addr| probe(*addr).err().map(|source| (*addr, source)));
            match busy {
                Some((_, source)) if source.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                    sleep(BIND_RETRY).await;
                }
                Some((addr, source)) => return Err(Error::Bind { addr, source }),
                None => return self.builder(listening)?.bind().await.map_err(|e| setup(&e)),
            }
        }
    }

    fn builder(&self, listening: &[SocketAddr]) -> Result<Builder, Error> {
        let key = self.key.get().ok_or_else(|| Error::Setup("the transport was not started".to_owned()))?;
        let mut builder = Endpoint::builder(presets::Minimal)
            .secret_key(key.clone())
            .alpns(vec![ALPN.to_vec()])
            .transport_config(self.transport(self.config.idle_timeout_ms)?)
            // Each link proves the keys anew.
            .max_tls_tickets(0)
            .relay_mode(self.relay_mode())
            .clear_ip_transports();
        if !self.roots.is_empty() {
            builder = builder.ca_tls_config(CaTlsConfig::custom_roots(self.roots.iter().cloned()));
        }
        let sockets = if self.config.relay_only { Vec::new() } else { sockets(listening) };
        for (addr, options) in sockets {
            builder = builder.bind_addr_with_opts(addr, options).map_err(|e| setup(&e))?;
        }
        Ok(builder)
    }

    fn relay_mode(&self) -> RelayMode {
        if self.relays.is_empty() {
            return RelayMode::Disabled;
        }
        let port = self.config.relay_qad_port;
        let config = |url: &RelayUrl| {
            let mut relay = RelayConfig::from(url.clone());
            relay.quic = relay.quic.filter(|_| port != 0 && url.scheme() == "https").map(|mut quic| {
                quic.port = port;
                quic
            });
            relay
        };
        RelayMode::Custom(self.relays.iter().map(config).collect::<RelayMap>())
    }

    /// Connects to a peer at one of those addresses.
    pub(crate) async fn connect(&self, endpoint: &Endpoint, addr: EndpointAddr) -> Result<Connection, Error> {
        let peer = *addr.id.as_bytes();
        // The idle timeout bounds the handshake too, and a relay may have to be connected to first. Once the link is up the
        // smaller one of both ends counts.
        let patient = self.config.dial_timeout_ms.max(self.config.idle_timeout_ms);
        let options = ConnectOptions::new().with_transport_config(self.transport(patient)?);
        let connecting = endpoint.connect_with_opts(addr, ALPN, options).await;
        let connecting = connecting.map_err(|e| Error::of_connect(&e.into(), peer))?;
        connecting.await.map_err(|e| Error::of_connect(&e.into(), peer))
    }

    fn transport(&self, idle_ms: u32) -> Result<QuicTransportConfig, Error> {
        let config = &self.config;
        let millis = |ms: u32| Duration::from_millis(ms.into());
        let idle = IdleTimeout::try_from(millis(idle_ms)).map_err(|e| setup(&e))?;
        let window = VarInt::from_u32(config.receive_window);
        Ok(QuicTransportConfig::builder()
            .max_concurrent_bidi_streams(VarInt::from_u32(1))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(millis(config.keep_alive_ms))
            .default_path_max_idle_timeout(millis(config.path_idle_ms))
            .default_path_keep_alive_interval(millis(config.keep_alive_ms))
            .stream_receive_window(window)
            .receive_window(window)
            .send_window(config.send_window.into())
            .build())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Open> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Open> {
        self.open.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sockets for these addresses to listen at. A family without any gets one for dialling, on a free port; on the loopback
/// interface if nothing listens elsewhere.
fn sockets(listening: &[SocketAddr]) -> Vec<(SocketAddr, BindOpts)> {
    let local = !listening.is_empty() && listening.iter().all(|addr| addr.ip().is_loopback());
    let spare: [SocketAddr; 2] = if local {
        [(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()]
    } else {
        [(Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::UNSPECIFIED, 0).into()]
    };
    let mut sockets = Vec::new();
    for spare in spare {
        let mut family = listening.iter().filter(|addr| addr.is_ipv4() == spare.is_ipv4());
        match family.next() {
            Some(first) => sockets.push((*first, BindOpts::default())),
            None => sockets.push((spare, BindOpts::default().set_is_required(false))),
        }
        // The first takes what no other is nearer to; each other sends to itself only, and answers whom it hears.
        sockets.extend(
            family.map(|addr| (*addr, BindOpts::default().set_prefix_len(if addr.is_ipv4() { 32 } else { 128 }))),
        );
    }
    sockets
}

/// Whether the address can be bound: iroh's own error doesn't say which one could not.
fn probe(addr: SocketAddr) -> io::Result<()> {
    std::net::UdpSocket::bind(addr).map(drop)
}

/// The certificates in the `relay_ca` files.
fn read_roots(config: &Config) -> Result<Vec<CertificateDer<'static>>, Error> {
    let mut roots = Vec::new();
    for file in &config.relay_ca {
        let wrong = |why: String| Error::Setup(format!("`relay_ca` names {}: {why}", file.display()));
        let certificates = CertificateDer::pem_file_iter(file).map_err(|e| wrong(e.to_string()))?;
        let before = roots.len();
        for certificate in certificates {
            roots.push(certificate.map_err(|e| wrong(e.to_string()))?);
            if roots.len() > MAX_ROOTS {
                return Err(wrong(format!("more than {MAX_ROOTS} certificates in all")));
            }
        }
        if roots.len() == before {
            return Err(wrong("it holds no certificate; give the authority's certificate in PEM form".to_owned()));
        }
    }
    Ok(roots)
}

fn setup(error: &impl std::error::Error) -> Error {
    Error::Setup(format!("iroh could not be set up: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(listening: &[&str]) -> Vec<(String, bool)> {
        let listening: Vec<SocketAddr> = listening.iter().map(|addr| addr.parse().unwrap()).collect();
        sockets(&listening).into_iter().map(|(addr, options)| (addr.to_string(), options.is_required())).collect()
    }

    #[test]
    fn each_family_has_a_socket() {
        let spare = |addr: &str| (addr.to_owned(), false);
        let asked = |addr: &str| (addr.to_owned(), true);
        assert_eq!(bound(&[]), [spare("0.0.0.0:0"), spare("[::]:0")]);
        assert_eq!(bound(&["10.0.0.1:5"]), [asked("10.0.0.1:5"), spare("[::]:0")]);
        assert_eq!(bound(&["[::]:5", "0.0.0.0:5"]), [asked("0.0.0.0:5"), asked("[::]:5")]);
    }

    #[test]
    fn who_listens_on_the_loopback_interface_only_stays_there() {
        assert_eq!(bound(&["127.0.0.1:5"]), [("127.0.0.1:5".to_owned(), true), ("[::1]:0".to_owned(), false)]);
    }
}
