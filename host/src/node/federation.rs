//! The node's side of federation: which links lead to other domains, and how those stand.

use std::collections::BTreeMap;

use serde_json::Value;

use super::door::Door;
use crate::api::{ApiError, CertificateInfo, DomainInfo, FederationReport, RefusedDomain};
use crate::config::FEDERATION_PREFIX;
use crate::core::Core;
use crate::core::federation::Domain;

/// The scheme of links between domains.
pub(super) const SCHEME: &str = "federation";

/// Rows of each list of a plugin's figures that are looked at.
const MAX_ROWS: usize = 4_096;

/// The domain that an address leads to: `federation://DOMAIN` or `federation://DOMAIN@HOST:PORT`. A plugin says of a link only
/// what its certificate has proven.
pub(super) fn domain_of(uri: &str) -> Option<Domain> {
    let rest = uri.strip_prefix(SCHEME)?.strip_prefix("://")?;
    let domain = rest.split(['@', '/', '?', '#']).next()?;
    (!domain.is_empty()).then(|| Domain::from(domain.to_ascii_lowercase()))
}

/// The domain that a link leads to; an empty name, which is refused, where a federation plugin doesn't say.
pub(super) fn domain_behind(plugin: &str, remote: &str) -> Option<Domain> {
    domain_of(remote).or_else(|| plugin.starts_with(FEDERATION_PREFIX).then(|| Domain::from("")))
}

/// Whether a found or known address may be dialled: one of another domain only if the configuration says so.
pub(super) fn is_ordinary(uri: &str) -> bool {
    uri.split_once("://").is_none_or(|(scheme, _)| scheme != SCHEME)
}

impl Door {
    /// How this domain and the others stand.
    pub(super) async fn federation_report(self) -> Result<FederationReport, ApiError> {
        let plugins = match self.plugins.get() {
            Some(registry) => registry.statuses().await,
            None => Vec::new(),
        };
        let plugin = plugins.into_iter().find(|plugin| plugin.kind == "federation");
        let figures = plugin.as_ref().map(|plugin| plugin.stats.clone()).unwrap_or_default();
        let mut report = FederationReport {
            domain: self.shared.domain.clone(),
            plugin: plugin.as_ref().map(|plugin| plugin.name.clone()),
            // Why it failed once is history while it runs.
            problem: plugin
                .as_ref()
                .filter(|plugin| plugin.state != "active")
                .and_then(|plugin| plugin.last_error.clone()),
            listen: texts(&figures["listen"]),
            certificate: certificate(&figures["certificate"]),
            authority: certificate(&figures["authority"]),
            domains: Vec::new(),
            refused: rows(&figures["refused"]).map(refused).collect(),
        };
        let mut domains: BTreeMap<String, DomainInfo> = BTreeMap::new();
        for row in rows(&figures["peers"]) {
            let info = domain_info(row);
            domains.insert(info.domain.clone(), info);
        }
        let links = self.shared.board.by_peer();
        for (name, known) in self.shared.ask(Core::domains).await? {
            let info = domains.entry(name.to_string()).or_insert_with(|| DomainInfo::named(&name));
            (info.channels, info.taken, info.taken_bytes) = (known.channels, known.taken, known.taken_bytes);
            info.put_off = known.put_off;
            for (peer, link) in known.gateways {
                let link = links.get(&peer).and_then(|links| links.iter().find(|known| known.link == link));
                info.gateways.push(peer);
                info.rtt_us = link.and_then(|link| link.rtt_us).or(info.rtt_us);
                info.sent += link.map_or(0, |link| link.sent);
                "up".clone_into(&mut info.state); // the plugin knows of the connection, the core of the proven link
            }
        }
        for (uri, server) in self.shared.dialer.get().map(|dialer| dialer.servers()).unwrap_or_default() {
            let Some(name) = domain_of(&uri) else { continue };
            let info = domains.entry(name.to_string()).or_insert_with(|| DomainInfo::named(&name));
            if info.gateways.is_empty() {
                server.state.word().clone_into(&mut info.state);
                info.last_error = server.last_error.or(info.last_error.take());
            }
        }
        report.domains = domains.into_values().collect();
        Ok(report)
    }
}

impl DomainInfo {
    fn named(domain: &str) -> Self {
        Self { domain: domain.to_owned(), state: "down".to_owned(), ..Self::default() }
    }
}

fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten().take(MAX_ROWS)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    rows(value).filter_map(text).collect()
}

/// Plugins count on below zero.
fn days(value: &Value) -> Option<u64> {
    value.as_i64().map(|days| u64::try_from(days).unwrap_or_default())
}

fn certificate(value: &Value) -> Option<CertificateInfo> {
    value.is_object().then(|| CertificateInfo {
        names: texts(&value["names"]),
        not_after_ms: value["not_after_ms"].as_u64(),
        days_left: days(&value["days_left"]),
        problem: text(&value["error"]),
    })
}

fn domain_info(row: &Value) -> DomainInfo {
    let name = text(&row["domain"]).unwrap_or_default();
    DomainInfo {
        state: text(&row["state"]).unwrap_or_else(|| "down".to_owned()),
        remote: text(&row["remote"]),
        legacy: row["legacy"].as_bool().unwrap_or_default(),
        certificate_days_left: days(&row["certificate_days_left"]),
        last_error: text(&row["last_error"]),
        last_error_ms: row["last_error_ms"].as_u64(),
        ..DomainInfo::named(&name)
    }
}

/// The reason as a person here must read it: where the other side refused, its words are about this node.
fn reason(row: &Value) -> String {
    let reason = text(&row["reason"]).unwrap_or_default();
    match row["by_peer"].as_bool() {
        Some(true) => format!("the other side refuses this node, which is \"the peer\" in its words: {reason}"),
        _ => reason,
    }
}

fn refused(row: &Value) -> RefusedDomain {
    RefusedDomain {
        remote: text(&row["remote"]).unwrap_or_default(),
        domain: text(&row["domain"]),
        reason: reason(row),
        count: row["count"].as_u64().unwrap_or_default(),
        last_ms: row["last_ms"].as_u64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_of_a_federation_lead_to_a_domain() {
        for (uri, domain) in [
            ("federation://b.mesh.local", Some("b.mesh.local")),
            ("federation://B.mesh.local@192.0.2.7:7001", Some("b.mesh.local")),
            ("federation://b.mesh@[2001:db8::1]:7001", Some("b.mesh")),
            ("federation://@192.0.2.7:7001", None),
            ("quic://b.mesh.local:7000", None),
            ("federationx://b", None),
        ] {
            assert_eq!(domain_of(uri).as_deref(), domain, "{uri}");
        }
        assert_eq!(domain_behind("federation-x", "x://a").as_deref(), Some(""));
        assert_eq!(domain_behind("transport-quic", "quic://a:1"), None);
        assert!(is_ordinary("quic://a:1") && !is_ordinary("federation://a"));
    }

    #[test]
    fn figures_of_another_form_do_no_harm() {
        let odd = serde_json::json!({ "domain": 7, "state": null, "certificate_days_left": "x" });
        assert_eq!(domain_info(&odd), DomainInfo::named(""));
        assert_eq!(certificate(&Value::Null), None);
        assert_eq!(rows(&odd).count(), 0);
    }
}
