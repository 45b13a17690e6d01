//! Looking after the links to other domains.

use clap::Subcommand;

/// Looking after the links to other domains.
#[derive(Debug, Clone, Subcommand)]
pub enum FederationCommand {
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
