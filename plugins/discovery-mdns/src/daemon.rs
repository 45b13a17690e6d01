//! The responder: everything that is asked of `mdns-sd`.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mdns_sd::{
    DaemonStatus, Error, IfKind, IfPredicate, Metrics, Receiver, ResolvedService, ScopedIp, ServiceDaemon,
    ServiceEvent, ServiceInfo,
};

use crate::answer::Answer;
use crate::config::Config;
use crate::limits::{IP_CHECK_SECS, MAX_CACHED, MAX_STRINGS, MAX_TIMERS};
use crate::record::Own;
use crate::valve::Sockets;

/// Between two looks at whether the responder's thread has ended.
const STEP: Duration = Duration::from_millis(2);

/// A responder with its own thread and sockets. Nothing here blocks but [`Daemon::end`].
#[derive(Clone)]
pub(crate) struct Daemon {
    responder: ServiceDaemon,
    sockets: Arc<Sockets>,
}

impl Daemon {
    /// Starts it on the interfaces that the configuration allows, also on those that come later.
    pub(crate) fn start(config: &Config) -> Result<Self, Error> {
        let sockets = Arc::new(Sockets::before(config.port));
        let daemon = ServiceDaemon::new_with_port(config.port)?;
        let config = config.clone();
        let unwanted = IfPredicate::new(move |interface| !config.allows(&interface.name, interface.ip()));
        daemon.disable_interface(IfKind::Predicate(unwanted))?;
        daemon.set_ip_check_interval(IP_CHECK_SECS)?;
        Ok(Self { responder: daemon, sockets })
    }

    /// Announces a service; again, when it has changed.
    pub(crate) fn announce(&self, service: ServiceInfo) -> Result<(), Error> {
        self.responder.register(service)
    }

    /// Takes a service back: others hear a goodbye.
    pub(crate) fn withdraw(&self, fullname: &str) {
        // The only failure is a responder that takes nothing; then the goodbye comes when it ends.
        _ = self.responder.unregister(fullname);
    }

    pub(crate) fn browse(&self, service: &str) -> Result<Receiver<ServiceEvent>, Error> {
        self.responder.browse(service)
    }

    pub(crate) fn stop_browsing(&self, service: &str) {
        _ = self.responder.stop_browse(service); // as in `withdraw`
    }

    /// Asks how much it keeps. The answer comes over the channel.
    pub(crate) fn ask_load(&self) -> Result<Receiver<Metrics>, Error> {
        self.responder.get_metrics()
    }

    /// It has answered, so its sockets are open.
    pub(crate) fn answered(&self) {
        self.sockets.opened();
    }

    /// Ends it when it is flooded, and so would not hear that it shall.
    pub(crate) fn rescue(&self, deadline: Duration) {
        self.sockets.shut();
        self.end(deadline);
    }

    /// Ends it, with a goodbye for each service, and waits until its thread is gone.
    pub(crate) fn end(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        let mut ended = self.responder.shutdown();
        while matches!(ended, Err(Error::Again)) && Instant::now() < until {
            std::thread::sleep(STEP);
            ended = self.responder.shutdown();
        }
        if let Ok(ended) = ended {
            _ = ended.recv_timeout(until.saturating_duration_since(Instant::now())); // gone is gone, with or without a word
        }
        while !self.is_gone() && Instant::now() < until {
            std::thread::sleep(STEP);
        }
    }

    /// Whether its thread has ended.
    pub(crate) fn is_gone(&self) -> bool {
        match self.responder.status() {
            Ok(status) => matches!(status.try_recv(), Ok(DaemonStatus::Shutdown)),
            Err(error) => matches!(error, Error::DaemonShutdown),
        }
    }
}

/// Whether the responder keeps more than it should: somebody floods the network.
pub(crate) fn is_overloaded(load: &Metrics) -> bool {
    let count = |name: &str| load.get(name).copied().unwrap_or(0);
    cached(load) > MAX_CACHED || count("timer") > MAX_TIMERS
}

/// Records that the responder keeps.
pub(crate) fn cached(load: &Metrics) -> i64 {
    load.iter().filter(|(name, _)| name.starts_with("cached-")).map(|(_, count)| *count).sum()
}

/// The service of this node. Its name and host are of this instance of the plugin alone: another one of the same node, as
/// during a live swap, isn't taken back when this one is.
pub(crate) fn service(own: &Own, name: &str, service: &str) -> Result<ServiceInfo, Error> {
    let strings = own.strings();
    let host = format!("qpq-{name}.local.");
    let mut info = ServiceInfo::new(service, name, &host, "", own.port(), &strings[..])?.enable_addr_auto();
    // Nobody else has this name, so there is no need to ask around for a second before using it.
    info.set_requires_probe(false);
    Ok(info)
}

/// A name that no other instance has: the beginning of the key, and a random number.
pub(crate) fn unique_name(peer: &str) -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("{}-{:08x}", peer.get(..16).unwrap_or(peer), random & 0xffff_ffff)
}

/// What the responder resolved, in our own terms.
pub(crate) fn answer(resolved: &ResolvedService) -> Answer {
    let strings = resolved.get_properties().iter().take(MAX_STRINGS);
    let interface = resolved.get_addresses().iter().find_map(|address| match address {
        ScopedIp::V4(v4) => v4.interface_ids().first(),
        ScopedIp::V6(v6) => Some(v6.scope_id()),
        _ => None,
    });
    Answer {
        fullname: resolved.fullname.clone(),
        service: resolved.ty_domain.clone(),
        strings: strings.map(|string| (string.key().to_owned(), string.val().unwrap_or_default().to_vec())).collect(),
        interface: interface.map(|interface| (interface.name.clone(), interface.index)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_fit_a_label() {
        let peer = "ab".repeat(32);
        let (one, other) = (unique_name(&peer), unique_name(&peer));
        assert!(one != other && one.len() <= 59 && one.starts_with("abababababababab-"), "{one} {other}");
        assert!(!one.contains('.'));
    }

    #[test]
    fn too_many_records_or_timers_are_too_much() {
        let load = |name: &str, count| Metrics::from([("cached-ptr".to_owned(), 10), (name.to_owned(), count)]);
        assert!(!is_overloaded(&load("cached-txt", 100)));
        assert!(is_overloaded(&load("cached-txt", MAX_CACHED)));
        assert!(is_overloaded(&load("timer", MAX_TIMERS + 1)));
        assert!(!is_overloaded(&load("browse", MAX_CACHED * 2)));
    }
}
