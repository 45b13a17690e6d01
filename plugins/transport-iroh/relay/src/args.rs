//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::host::Host;

/// How long a server certificate holds, in days: two years.
const CERTIFICATE_DAYS: u32 = 730;

/// The longest time for which a certificate can be asked, in days: the authority's own twenty years.
const LONGEST_DAYS: i64 = 7300;

/// Run a relay of your own, so that nodes behind routers reach each other.
///
/// From nothing to a running relay:
///
///   qpq-relay init /etc/qpq-relay --host 192.0.2.1
///   qpq-relay run --config /etc/qpq-relay/relay.toml
///
/// `init` prints what goes into the configuration of the nodes. No domain name and no public server is needed.
#[derive(Debug, Parser)]
#[command(name = "qpq-relay", version, verbatim_doc_comment)]
pub(crate) struct Args {
    /// What to log, as `level` or `module=level,…`.
    #[arg(long, global = true, env = "QPQ_RELAY_LOG", default_value = "info,iroh_relay=warn", value_name = "FILTER")]
    pub(crate) log: String,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make everything a relay needs in a folder: authority, certificate, configuration.
    Init {
        /// The folder. Made if it isn't there; nothing in it is overwritten.
        folder: PathBuf,
        /// How nodes reach the relay: an IPv4 address or a name. May be given several times; the first goes into the URL.
        #[arg(long = "host", required = true, value_name = "ADDRESS|NAME")]
        hosts: Vec<Host>,
        /// The folder of an authority that exists already, for a second relay. Without it, `FOLDER/ca` is made or used.
        #[arg(long, value_name = "FOLDER")]
        ca: Option<PathBuf>,
        /// TCP port of the relay.
        #[arg(long, default_value_t = 443)]
        port: u16,
        /// UDP port of the address discovery.
        #[arg(long, default_value_t = 7842)]
        qad_port: u16,
        /// How long the certificate holds, in days.
        #[arg(long, default_value_t = CERTIFICATE_DAYS, value_parser = days())]
        days: u32,
    },
    /// Make a certificate authority for the community: `ca.pem` for all nodes, `ca.key` for nobody else.
    Ca {
        /// The folder for both files.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
    /// Make or renew the certificate of a relay: `relay.pem`, and `relay.key` if there is none yet.
    Cert {
        /// The folder of the authority.
        #[arg(long, value_name = "FOLDER")]
        ca: PathBuf,
        /// How nodes reach the relay: an IPv4 address or a name. May be given several times.
        #[arg(long = "host", required = true, value_name = "ADDRESS|NAME")]
        hosts: Vec<Host>,
        /// The folder for both files.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// How long the certificate holds, in days.
        #[arg(long, default_value_t = CERTIFICATE_DAYS, value_parser = days())]
        days: u32,
    },
    /// Check the configuration and the certificate, and print what goes into the configuration of the nodes.
    Check {
        /// The configuration file.
        #[arg(long, default_value = "relay.toml", value_name = "FILE")]
        config: PathBuf,
    },
    /// Run the relay until SIGTERM or Ctrl-C. SIGHUP reads the certificate and the list of nodes again.
    Run {
        /// The configuration file.
        #[arg(long, default_value = "relay.toml", value_name = "FILE")]
        config: PathBuf,
    },
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=LONGEST_DAYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
