//! Arguments for the operators of federations.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::sections::domain_name;
use crate::pki::{CA_DAYS, CERTIFICATE_DAYS, LONGEST_DAYS};

/// Connecting communities.
#[derive(Debug, Clone, Subcommand)]
pub enum FederationCommand {
    /// Make a certificate authority for the community: ca.pem for every server, ca.key for its keeper alone
    Ca(AuthorityArgs),
    /// Make or renew the certificate of a server
    Cert(CertArgs),
    /// Make a key and a request, so that the key never leaves this machine
    Request(RequestArgs),
    /// Vouch for the authority of another community, for its domains alone
    CrossSign(CrossSignArgs),
    /// Say whether certificate, key and authority fit, and how to mend it if not
    Check(CheckFederationArgs),
    /// Show this domain's certificate, the other domains, and who was refused
    Status,
    /// Measure the round trip to another domain
    Ping {
        /// The domain
        domain: String,
        /// How many times, one second apart
        #[arg(long, short = 'c', value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
        count: u32,
    },
}

/// A new authority.
#[derive(Debug, Clone, Args)]
pub struct AuthorityArgs {
    /// The community's name, for people
    #[arg(long)]
    pub name: String,
    /// The folder for the files
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// How long it holds, in days
    #[arg(long, default_value_t = CA_DAYS, value_parser = days())]
    pub days: u32,
    /// Write the certificate in DER form too
    #[arg(long)]
    pub der: bool,
    /// Replace an authority that is there: every certificate that it issued is void then
    #[arg(long)]
    pub force: bool,
}

/// A certificate.
#[derive(Debug, Clone, Args)]
pub struct CertArgs {
    /// The server's domain, such as node1.mesh.local
    #[arg(value_parser = domain_name)]
    pub domain: String,
    /// The folder of the authority
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub ca: PathBuf,
    /// The folder for the files
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// How long it holds, in days; never longer than its authority
    #[arg(long, default_value_t = CERTIFICATE_DAYS, value_parser = days())]
    pub days: u32,
    /// Sign this request, whose key stays on its server. It must ask for the domain; nothing else of it counts
    #[arg(long, value_name = "FILE")]
    pub request: Option<PathBuf>,
    /// Add a certificate by which another community vouches for this authority (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub chain: Vec<PathBuf>,
    /// Write the files in DER form too
    #[arg(long)]
    pub der: bool,
    /// Make a new certificate for the key that is there
    #[arg(long, conflicts_with = "force")]
    pub renew: bool,
    /// Replace a key and a certificate that are there
    #[arg(long)]
    pub force: bool,
}

/// A request.
#[derive(Debug, Clone, Args)]
pub struct RequestArgs {
    /// The server's domain, such as node1.mesh.local
    #[arg(value_parser = domain_name)]
    pub domain: String,
    /// The folder for the files
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Make a new request for the key that is there
    #[arg(long, conflicts_with = "force")]
    pub renew: bool,
    /// Replace a key that is there: its certificate is void then
    #[arg(long)]
    pub force: bool,
}

/// Another community's authority.
#[derive(Debug, Clone, Args)]
pub struct CrossSignArgs {
    /// The certificate of the other authority, its ca.pem
    pub other: PathBuf,
    /// The domain that it is trusted for, with all below it (may be repeated)
    #[arg(long, value_name = "DOMAIN", required = true, value_parser = domain_name)]
    pub permit: Vec<String>,
    /// The folder of this community's authority
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub ca: PathBuf,
    /// The folder for the file
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// How long it holds, in days; never longer than either authority
    #[arg(long, default_value_t = CERTIFICATE_DAYS, value_parser = days())]
    pub days: u32,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
}

/// Files to check.
#[derive(Debug, Clone, Args)]
pub struct CheckFederationArgs {
    /// The domain that the certificate must be for [default: that of the configuration]
    #[arg(value_parser = domain_name)]
    pub domain: Option<String>,
    /// The certificate, DER or PEM [default: federation_cert of the configuration]
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Its key, DER or PEM [default: federation_key of the configuration]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The authorities that this server trusts, DER or PEM [default: federation_ca of the configuration]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(LONGEST_DAYS))
}
