//! The running relay.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use iroh_relay::server::{CertConfig, ClientRateLimit, QuicConfig, RelayConfig, Server, ServerConfig, TlsConfig};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use crate::access::Admission;
use crate::certificate::{Certificate, Shown, provider};
use crate::config::Config;
use crate::problem::Problem;
use crate::{guidance, notify};

/// How long the nodes that are connected may take to be told of the end.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(3);

/// How often the certificate's file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Looks between two warnings about a certificate that is about to end: a day's.
const LOOKS_A_DAY: u64 = 24 * 60;

/// A certificate that ends in fewer days is worth a warning.
const WARN_DAYS: u64 = 30;

/// Keys that the relay remembers as well-formed, to save time; 56 bytes each. The library's own default takes 56 MiB.
const KEY_CACHE: usize = 16 * 1024;

/// Runs the relay until a signal ends it.
pub(crate) fn run(path: &Path) -> Result<(), Problem> {
    let config = Config::load(path)?;
    let certificate = Certificate::load(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Problem::System { doing: "start threads", source })?;
    let result = runtime.block_on(async {
        let signals = Signals::new().map_err(|source| Problem::System { doing: "listen for signals", source })?;
        Relay::start(path.to_owned(), config, certificate).await?.serve(signals).await
    });
    // Nothing that still runs is worth waiting for.
    runtime.shutdown_background();
    result
}

/// What the admin or the system may ask for while the relay runs.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    look: Interval,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            look,
        })
    }
}

struct Relay {
    path: PathBuf,
    config: Config,
    certificate: Certificate,
    /// When the file of the certificate was last changed.
    changed: Option<SystemTime>,
    shown: Arc<Shown>,
    admission: Arc<Admission>,
    looks: u64,
    server: Server,
}

impl Relay {
    async fn start(path: PathBuf, config: Config, certificate: Certificate) -> Result<Self, Problem> {
        try_to_listen(&config)?;
        let shown = Arc::new(Shown::new(&certificate));
        let admission = Arc::new(Admission::new(&config));
        let parts = server_config(&config, Arc::clone(&shown), Arc::clone(&admission))?;
        let server = Server::spawn(parts).await.map_err(|error| Problem::Server(format!("{error:#}")))?;
        let changed = changed(&config.certificate);
        Ok(Self { path, config, certificate, changed, shown, admission, looks: 0, server })
    }

    async fn serve(mut self, mut signals: Signals) -> Result<(), Problem> {
        self.announce();
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.hangup.recv() => self.reload(),
                _ = signals.look.tick() => self.look(),
                ended = self.server.join() => return Err(Problem::Server(format!("{ended:?}"))),
            }
        }
        notify::tell("STOPPING=1");
        tracing::info!(nodes = self.admission.count(), "stopping");
        if timeout(SHUTDOWN_WITHIN, self.server.shutdown()).await.is_err() {
            tracing::warn!("some nodes weren't told in time that the relay ends; they will notice");
        }
        Ok(())
    }

    fn announce(&self) {
        let addresses = [self.server.https_addr(), self.server.quic_addr()];
        let [https, qad] = addresses.map(|address| address.map(|address| address.to_string()).unwrap_or_default());
        let who = match &self.config.allow {
            Some(allow) => format!("{} nodes on the list", allow.len()),
            None => "everybody who knows the address".to_owned(),
        };
        tracing::info!(url = guidance::url(&self.config), %https, %qad, who, "ready");
        notify::tell("READY=1");
    }

    /// Takes a certificate that was renewed, and warns of one that ends soon.
    fn look(&mut self) {
        let changed = changed(&self.config.certificate);
        if changed != self.changed {
            self.changed = changed;
            self.take_certificate();
        }
        let days = self.certificate.days_left();
        if days < WARN_DAYS && self.looks.is_multiple_of(LOOKS_A_DAY) {
            tracing::warn!(
                days,
                "the certificate ends soon, and then no node will use this relay: renew it with `qpq-relay cert`"
            );
        }
        self.looks += 1;
    }

    /// Reads the configuration again: who may come in, and the certificate. What can't change while the relay runs stays.
    fn reload(&mut self) {
        let config = match Config::load(&self.path) {
            Ok(config) => config,
            Err(problem) => return tracing::error!("the old configuration stays: {problem}"),
        };
        if (config.https, config.qad) != (self.config.https, self.config.qad) {
            tracing::warn!("other ports or addresses count only after a restart");
        }
        for node in self.admission.update(&config) {
            tracing::info!(%node, "sent away: no longer on the list");
            self.server.relay_service().map(|service| service.clients().disconnect(node, None));
        }
        let old = std::mem::replace(&mut self.config, config);
        (self.config.https, self.config.qad) = (old.https, old.qad);
        self.changed = changed(&self.config.certificate);
        self.take_certificate();
    }

    fn take_certificate(&mut self) {
        match Certificate::load(&self.config) {
            Ok(certificate) => {
                self.shown.replace(&certificate);
                tracing::info!(days = certificate.days_left(), "took the certificate");
                self.certificate = certificate;
            }
            Err(problem) => tracing::error!("the old certificate stays: {problem}"),
        }
    }
}

/// When a file was last changed.
fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// Listens for a moment, so that what is wrong with an address is told with the key that names it.
fn try_to_listen(config: &Config) -> Result<(), Problem> {
    let failed = |what, key, address| move |source| Problem::Listen { what, key, address, source };
    TcpListener::bind(config.https).map_err(failed("nodes (TCP)", "https", config.https))?;
    UdpSocket::bind(config.qad).map_err(failed("address discovery (UDP)", "qad", config.qad))?;
    if let Some(metrics) = config.metrics {
        TcpListener::bind(metrics).map_err(failed("figures (TCP)", "metrics", metrics))?;
    }
    Ok(())
}

fn server_config(config: &Config, shown: Arc<Shown>, admission: Arc<Admission>) -> Result<ServerConfig, Problem> {
    // QUIC is TLS 1.3 alone, and so are all nodes.
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| Problem::Server(error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    // The library always answers probes for captive portals over plain HTTP. Nodes don't ask, so nobody outside gets it.
    let mut relay = RelayConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    relay.tls = Some(TlsConfig::new(config.https, CertConfig::Manual { server_config: tls }));
    relay.limits.client_rx = config.limits.node_bytes_per_second.map(ClientRateLimit::new);
    relay.key_cache_capacity = Some(KEY_CACHE);
    relay.access = admission;
    let mut parts = ServerConfig::default();
    parts.relay = Some(relay);
    parts.quic = Some(QuicConfig::new(config.qad));
    parts.metrics_addr = config.metrics;
    Ok(parts)
}
