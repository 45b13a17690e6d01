//! What the admin allows between domains.

use std::collections::BTreeSet;
use std::sync::Arc;

use qpq_schemas::TopicId;

use super::Limit;

/// A domain's name, in lower case.
pub type Domain = Arc<str>;

/// What may cross between this domain and others.
#[derive(Debug, Clone)]
pub struct FederationPolicy {
    /// This node's own domain.
    pub domain: Domain,
    /// The domains that may link; all with a good certificate when there is none.
    pub allow: BTreeSet<String>,
    /// The domains that may not.
    pub block: BTreeSet<String>,
    /// Whether to carry mail from one domain to another.
    pub transit: bool,
    /// The topics whose broadcasts cross.
    pub topics: BTreeSet<TopicId>,
    /// What one domain may bring in.
    pub quota: Limit,
}

impl FederationPolicy {
    /// A policy for that domain that lets mail through and nothing else.
    pub fn new(domain: &str) -> Self {
        let (allow, block, topics) = <(BTreeSet<String>, BTreeSet<String>, BTreeSet<TopicId>)>::default();
        Self { domain: Domain::from(domain), allow, block, transit: false, topics, quota: Limit::default() }
    }

    /// Why no link to that domain may stay, if so.
    pub(crate) fn refuses(&self, domain: &Domain) -> Option<String> {
        if domain.is_empty() {
            return Some("the federation plugin does not say which domain this is".to_owned());
        }
        if *domain == self.domain {
            return Some(format!("{domain} is this node's own domain; nodes of one domain link by other transports"));
        }
        let allowed = self.allow.is_empty() || self.allow.contains(&**domain);
        match self.block.contains(&**domain) || !allowed {
            true => Some(format!("the admin of {} does not allow {domain}", self.domain)),
            false => None,
        }
    }
}
