//! How the other domains stand, for people.

use std::collections::BTreeMap;

use qpq_schemas::PeerId;

use super::{Core, Domain};
use crate::core::LinkId;

/// How another domain stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainReport {
    /// The links that are used to its gateways.
    pub gateways: Vec<(PeerId, LinkId)>,
    /// Bridged channels that it wants.
    pub channels: usize,
    /// Envelopes that it brought.
    pub taken: u64,
    /// Their bytes.
    pub taken_bytes: u64,
    /// Envelopes that were put off because its quota was used up.
    pub put_off: u64,
}

impl Core {
    /// How each domain stands that was linked to since the start.
    pub fn domains(&self) -> BTreeMap<Domain, DomainReport> {
        let mut domains: BTreeMap<Domain, DomainReport> = BTreeMap::new();
        for (domain, quota) in &self.federation.quotas {
            let report = domains.entry(Domain::clone(domain)).or_default();
            (report.taken, report.taken_bytes, report.put_off) = (quota.taken, quota.taken_bytes, quota.put_off);
        }
        for (peer, link) in self.gateways() {
            let Some(domain) = self.domain_of(&peer) else { continue };
            let report = domains.entry(Domain::clone(domain)).or_default();
            report.gateways.push((peer, link));
            report.channels += self.federation.wanted.get(&peer).map_or(0, std::collections::BTreeSet::len);
        }
        domains
    }
}
