//! What another domain sends: the RPC connection as raw bytes, and arbitrary arguments of a relay call; and what a name server
//! says of it.

use qpq_federation_capnp::fuzz;

use super::Target;

pub(super) const TARGETS: &[Target] = &[
    Target { name: "federation-rpc", feed: fuzz::rpc, seeds: fuzz::rpc_seeds },
    Target { name: "federation-relay", feed: fuzz::relay, seeds: fuzz::relay_seeds },
    Target { name: "federation-dns", feed: fuzz::dns, seeds: fuzz::dns_seeds },
];
