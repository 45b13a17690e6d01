//! Arguments of the commands about mail that waits, and about routes.

use std::path::PathBuf;

use clap::Args;

/// Which part of the store.
#[derive(Debug, Clone, Default, Args)]
pub struct StoreArgs {
    /// Show the messages that wait for one recipient, in the order in which they go
    #[arg(long, value_name = "PEER")]
    pub recipient: Option<String>,
    /// At most that many of them
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100, requires = "recipient")]
    pub limit: u32,
}

/// How the routing table is shown.
#[derive(Debug, Clone, Default, Args)]
pub struct RouteArgs {
    /// Show the other ways that neighbours offer as well
    #[arg(long)]
    pub all: bool,
    /// Draw links and next hops, as text for Graphviz
    #[arg(long, conflicts_with = "all")]
    pub dot: bool,
    /// Draw links and next hops, as an SVG picture
    #[arg(long, conflicts_with_all = ["all", "dot"])]
    pub svg: bool,
    /// Write the picture into this file instead of the standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Which envelopes are exported.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// The file; one that is there already is not touched
    pub file: PathBuf,
    /// Only what waits for this peer: a public key, at least 8 digits of its beginning, or a nickname
    #[arg(long, value_name = "PEER", conflicts_with_all = ["topic", "all"])]
    pub recipient: Option<String>,
    /// Only the messages that are kept of this channel
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pub topic: Option<String>,
    /// What waits, and the messages that are kept of all channels
    #[arg(long)]
    pub all: bool,
}
