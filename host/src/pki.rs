//! A community's certificate authority, and the certificates by which the servers of two domains know each other.
//!
//! Everything here works on files and needs no node. What is made is proven before it is written: a certificate that the
//! other side would refuse is never handed out. Keys are P-256, which every TLS library takes; keys of other kinds that
//! are there already are used as they are.

mod authority;
mod check;
mod facts;
mod files;
mod folder;
mod key;
mod problem;
mod request;
mod trust;

#[cfg(test)]
mod tests;

pub use check::{Checked, Finding, Level, Report, Trusted, check};
pub use folder::{
    CA_CERTIFICATE, CA_KEY, Certified, Certify, CrossSigned, Files, MadeAuthority, Overwrite, Requested, certify,
    cross_sign, make_authority, request,
};
pub use problem::Problem;

/// How long an authority holds unless said otherwise, in days: ten years, because changing it concerns every server.
pub const CA_DAYS: u32 = 3650;

/// How long a server's certificate holds unless said otherwise, in days.
pub const CERTIFICATE_DAYS: u32 = 365;

/// The longest time for which a certificate can be asked, in days: twenty years.
pub const LONGEST_DAYS: u32 = 7300;

/// Certificates hold from that many days before they were made. A board without a battery-backed clock starts with the
/// time at which it was switched off; a month covers a winter break or a spare part on the shelf. It gives nothing away:
/// the key didn't exist then.
pub const BACKDATED_DAYS: u32 = 30;

/// A certificate that ends sooner than that, in days, gets a warning: time for a visit to a far-away server.
pub const WARNING_DAYS: i64 = 30;

/// Longest name of an authority, in characters (RFC 5280, ub-common-name).
pub const MAX_NAME: usize = 64;

/// The largest certificate, key or request file that is read, in bytes. Real ones have a few thousand.
const MAX_FILE: u64 = 1 << 20;

/// The most certificates that are read from one file, such as a chain or a list of authorities.
const MAX_CHAIN: usize = 64;

const DAY_SECONDS: u64 = 86_400;

/// This machine's clock, in seconds of Unix time.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
