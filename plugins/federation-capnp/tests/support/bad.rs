//! Bad certificates, and the code of the reason for which each is refused.

use std::net::{IpAddr, Ipv4Addr};

use qpq_federation_capnp::MAX_INTERMEDIATES;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, SanType};

use super::pki::{Ca, Leaf, params, self_signed};

/// A bad certificate.
pub struct Bad {
    pub what: &'static str,
    pub code: &'static str,
    /// The domains that can be read in it.
    pub names: &'static [&'static str],
    pub leaf: Leaf,
}

/// All of them, for `c.example`, where that CA is trusted.
pub fn certificates(ca: &Ca) -> Vec<Bad> {
    let named = leaves(ca).into_iter().chain(chains(ca));
    let named = named.map(|(what, code, leaf)| Bad { what, code, names: &["c.example"], leaf });
    named.chain(nameless(ca).into_iter().map(|(what, code, leaf)| Bad { what, code, names: &[], leaf })).collect()
}

type Case = (&'static str, &'static str, Leaf);

fn with(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = params("c.example");
    change(&mut params);
    params
}

/// The certificate itself is bad.
fn leaves(ca: &Ca) -> Vec<Case> {
    let expired = with(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let early = with(|params| {
        params.not_before = rcgen::date_time_ymd(2090, 1, 1);
        params.not_after = rcgen::date_time_ymd(2095, 1, 1);
    });
    let authority = with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let usage = with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]);
    let good = ca.issue("c.example");
    let mismatch = Leaf { chain: good.chain, key: ca.issue("c.example").key };
    vec![
        ("it is over", "certificate-expired", ca.sign(&expired)),
        ("it is not valid yet", "certificate-not-yet-valid", ca.sign(&early)),
        ("it is of another CA", "unknown-authority", Ca::new("another").issue("c.example")),
        (
            "its CA has the name of the right one, and another key",
            "unknown-authority",
            Ca::new("ca").issue("c.example"),
        ),
        ("it is signed by itself", "certificate-self-signed", self_signed(&params("c.example"))),
        ("it is that of a CA", "certificate-is-authority", ca.sign(&authority)),
        ("it is for something else", "certificate-usage", ca.sign(&usage)),
        ("the key is another", "key-mismatch", mismatch),
    ]
}

/// The certificate is good, and what stands above it is not.
fn chains(ca: &Ca) -> Vec<Case> {
    let over = ca.below_with("over", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let no_ca = ca.below_with("no CA", |params| params.is_ca = IsCa::ExplicitNoCa);
    vec![
        ("an intermediate certificate is over", "certificate-expired", below(&over)),
        ("an intermediate certificate says CA:FALSE", "certificate-malformed", below(&no_ca)),
        ("there is an intermediate certificate too many", "certificate-malformed", deep(ca, MAX_INTERMEDIATES + 1)),
    ]
}

/// A certificate that stands below so many intermediate ones, all good.
pub fn deep(ca: &Ca, depth: usize) -> Leaf {
    let mut all: Vec<Ca> = Vec::new();
    for level in 0..depth {
        all.push(all.last().unwrap_or(ca).below(&format!("level {level}")));
    }
    let mut leaf = all.last().unwrap_or(ca).issue("c.example");
    leaf.chain.extend(all.iter().rev().map(Ca::der));
    leaf
}

fn below(above: &Ca) -> Leaf {
    let mut leaf = above.issue("c.example");
    leaf.chain.push(above.der());
    leaf
}

/// No domain can be read in it.
fn nameless(ca: &Ca) -> Vec<Case> {
    let none = with(|params| params.subject_alt_names.clear());
    // A name for many domains stands for none.
    let many = with(|params| params.subject_alt_names = super::pki::params("*.example").subject_alt_names);
    let address = SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let address = with(|params| params.subject_alt_names = vec![address]);
    let encoded = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut leaf = ca.issue("c.example");
        let mut der = leaf.chain.remove(0).to_vec();
        change(&mut der);
        leaf.chain.push(der.into());
        leaf
    };
    vec![
        ("it has no name", "certificate-without-domain", ca.sign(&none)),
        ("its name is a wildcard", "certificate-without-domain", ca.sign(&many)),
        ("its name is an IP address", "certificate-without-domain", ca.sign(&address)),
        ("it is cut off", "certificate-malformed", encoded(&|der| der.truncate(der.len() / 2))),
        ("there is something behind it", "certificate-malformed", encoded(&|der| der.push(0))),
        ("it is rubbish", "certificate-malformed", encoded(&|der| *der = b"rubbish".to_vec())),
    ]
}
