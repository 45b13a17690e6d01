//! A small name server of our own, over real sockets: it says what a test wants, also what no honest server says.

mod server;
mod wire;

use std::net::{Ipv4Addr, Ipv6Addr};

pub use server::NameServer;
pub use wire::{announcement, answer};

/// A resource record.
#[derive(Debug, Clone)]
pub struct Record {
    /// Whose it is.
    pub name: String,
    /// How long it counts, in seconds.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Debug, Clone)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Another name.
    Ptr(String),
    /// Some strings.
    Txt(Vec<String>),
    /// Where a service is (RFC 2782).
    Srv {
        /// The lowest is to be tried first.
        priority: u16,
        /// How often this one is to be taken among its equals.
        weight: u16,
        /// The port.
        port: u16,
        /// The host; empty for "not offered".
        target: String,
    },
}

/// The type of a record with an IPv4 address.
pub const TYPE_A: u16 = 1;
/// The type of a record with an IPv6 address.
pub const TYPE_AAAA: u16 = 28;
/// The type of a record that says where a service is.
pub const TYPE_SRV: u16 = 33;

impl Data {
    /// The number of the record's type.
    pub fn kind(&self) -> u16 {
        match self {
            Self::A(_) => TYPE_A,
            Self::Ptr(_) => 12,
            Self::Txt(_) => 16,
            Self::Aaaa(_) => TYPE_AAAA,
            Self::Srv { .. } => TYPE_SRV,
        }
    }
}

/// What the server does with a question.
#[derive(Clone)]
pub enum Reply {
    /// These records.
    Records(Vec<Data>),
    /// A response code without records.
    Code(u8),
    /// Nothing.
    Silence,
    /// Whatever packets these functions make of the question, one after the other.
    Packets(Vec<Packet>),
}

/// Makes a packet of a question.
pub type Packet = fn(&[u8]) -> Vec<u8>;

/// Response code of a server that has trouble (RFC 1035, 4.1.1).
pub const SERVFAIL: u8 = 2;
/// Response code for a name that doesn't exist.
pub const NXDOMAIN: u8 = 3;
