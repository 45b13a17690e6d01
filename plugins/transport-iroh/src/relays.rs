//! How the configured relays stand.

use std::collections::BTreeMap;
use std::time::Instant;

use iroh::endpoint::RelayStatus;
use iroh::{Endpoint, RelayUrl, Watcher};
use serde_json::{Value, json};

use crate::address::printable;
use crate::limits::RELAY_PATIENCE;

/// How one configured relay stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relay {
    /// Where it is.
    pub(crate) url: RelayUrl,
    /// Whether it is the one at which others find this node: the nearest that answers.
    pub(crate) home: bool,
    /// Whether it is the home relay and the connection to it is up.
    pub(crate) connected: bool,
    /// Why the connection to it failed last.
    pub(crate) last_error: Option<String>,
}

impl Relay {
    fn new(url: &RelayUrl, status: Option<&RelayStatus>) -> Self {
        Self {
            url: url.clone(),
            home: status.is_some(),
            connected: status.is_some_and(RelayStatus::is_connected),
            last_error: status.and_then(RelayStatus::last_error).map(|error| printable(&format!("{error:#}"))),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "url": self.url.to_string(),
            "home": self.home,
            "connected": self.connected,
            "last_error": self.last_error,
        })
    }
}

/// How all of them stand. Without an endpoint none is connected.
pub(crate) fn look(configured: &[RelayUrl], endpoint: Option<&Endpoint>) -> Vec<Relay> {
    let statuses = endpoint.map(|endpoint| endpoint.home_relay_status().get()).unwrap_or_default();
    let of = |url: &RelayUrl| statuses.iter().find(|status| status.url() == url);
    configured.iter().map(|url| Relay::new(url, of(url))).collect()
}

/// For `stats`.
pub(crate) fn to_json(relays: &[Relay]) -> Value {
    relays.iter().map(Relay::to_json).collect()
}

/// Turns what [`look`] sees into lines for the log: iroh itself says nothing about a relay that is dead, foreign or silent.
#[derive(Debug)]
pub(crate) struct Reporter {
    /// Since when no relay is connected.
    cut_off: Option<Instant>,
    reported: bool,
    connected: BTreeMap<String, bool>,
}

/// A line for the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// An admin should act.
    Warn(String),
    /// Good to know.
    Info(String),
}

impl Reporter {
    /// Nothing was connected so far.
    pub(crate) fn new(now: Instant) -> Self {
        Self { cut_off: Some(now), reported: false, connected: BTreeMap::new() }
    }

    /// What is new.
    pub(crate) fn look(&mut self, relays: &[Relay], now: Instant) -> Vec<Line> {
        let mut lines = Vec::new();
        for relay in relays {
            let url = relay.url.to_string();
            let before = self.connected.insert(url.clone(), relay.connected).unwrap_or(false);
            if relay.connected && !before {
                lines.push(Line::Info(format!("connected to the relay {url}")));
            }
        }
        if relays.is_empty() || relays.iter().any(|relay| relay.connected) {
            (self.cut_off, self.reported) = (None, false);
        } else if !self.reported && now.duration_since(*self.cut_off.get_or_insert(now)) >= RELAY_PATIENCE {
            self.reported = true;
            lines.push(Line::Warn(complaint(relays)));
        }
        lines
    }
}

fn complaint(relays: &[Relay]) -> String {
    let why = |relay: &Relay| {
        let why = relay.last_error.as_deref().unwrap_or("it does not answer");
        format!("{} ({why})", relay.url)
    };
    let all: Vec<String> = relays.iter().map(why).collect();
    format!(
        "no relay can be reached: {}; nodes behind a NAT don't find this one meanwhile. Is the relay up, its certificate from \
         an authority in `relay_ca`, and this node on its list?",
        all.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn relay(connected: bool) -> Relay {
        Relay { url: "https://a.example".parse().unwrap(), home: connected, connected, last_error: None }
    }

    #[test]
    fn a_dead_relay_is_reported_once_until_it_was_back() {
        let begun = Instant::now();
        let at = |secs| begun + Duration::from_secs(secs);
        let mut reporter = Reporter::new(begun);
        assert_eq!(reporter.look(&[relay(false)], at(9)), []);
        assert!(matches!(&reporter.look(&[relay(false)], at(10))[..], [Line::Warn(why)] if why.contains("a.example")));
        assert_eq!(reporter.look(&[relay(false)], at(60)), []);
        assert!(matches!(&reporter.look(&[relay(true)], at(61))[..], [Line::Info(_)]));
        assert_eq!(reporter.look(&[relay(true)], at(62)), []);
        assert_eq!(reporter.look(&[relay(false)], at(63)), []);
        assert!(matches!(&reporter.look(&[relay(false)], at(73))[..], [Line::Warn(_)]));
    }

    #[test]
    fn without_relays_there_is_nothing_to_say() {
        let begun = Instant::now();
        let mut reporter = Reporter::new(begun);
        assert_eq!(reporter.look(&[], begun + Duration::from_secs(100)), []);
    }
}
