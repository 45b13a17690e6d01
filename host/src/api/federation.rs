//! How domains stand to each other.

use qpq_schemas::PeerId;
use serde::{Deserialize, Serialize};

/// How this node's domain and the others stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FederationReport {
    /// This node's domain.
    pub domain: Option<String>,
    /// The federation plugin; without one this node does not federate.
    pub plugin: Option<String>,
    /// What is wrong with it.
    pub problem: Option<String>,
    /// Where other domains reach this one, as URIs.
    pub listen: Vec<String>,
    /// This node's certificate.
    pub certificate: Option<CertificateInfo>,
    /// The authority that it trusts.
    pub authority: Option<CertificateInfo>,
    /// The other domains.
    pub domains: Vec<DomainInfo>,
    /// Who was refused, newest first.
    pub refused: Vec<RefusedDomain>,
}

/// A certificate in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateInfo {
    /// The domains that it is for.
    pub names: Vec<String>,
    /// When it ends, Unix time in milliseconds.
    pub not_after_ms: Option<u64>,
    /// Whole days until then; 0 also once it has ended.
    pub days_left: Option<u64>,
    /// What is wrong with the files.
    pub problem: Option<String>,
}

/// Another domain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainInfo {
    /// Its name.
    pub domain: String,
    /// `up`, `connecting`, `waiting` (for the next dial) or `down`.
    pub state: String,
    /// Where it is, as the plugin reports it.
    pub remote: Option<String>,
    /// Its server speaks the older interface only.
    pub legacy: bool,
    /// The proven keys of its gateways that are linked.
    pub gateways: Vec<PeerId>,
    /// Smoothed round-trip time in microseconds.
    pub rtt_us: Option<u64>,
    /// Whole days until its certificate ends; 0 also once it has ended.
    pub certificate_days_left: Option<u64>,
    /// Why it can't be reached, or was last lost.
    pub last_error: Option<String>,
    /// When that was, Unix time in milliseconds.
    pub last_error_ms: Option<u64>,
    /// Bridged channels that it wants.
    pub channels: usize,
    /// Envelopes that went there over the present links.
    pub sent: u64,
    /// Envelopes that came from there since the start.
    pub taken: u64,
    /// Their bytes.
    pub taken_bytes: u64,
    /// Envelopes that were put off because its quota was used up.
    pub put_off: u64,
}

/// Somebody who was not let in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedDomain {
    /// From where.
    pub remote: String,
    /// The domain that it claimed or proved.
    pub domain: Option<String>,
    /// Why, and what helps.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// The last time, Unix time in milliseconds.
    pub last_ms: Option<u64>,
}
