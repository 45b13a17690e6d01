//! Arguments for the authors of plugins.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// A new plugin.
#[derive(Debug, Clone, Args)]
pub struct NewPluginArgs {
    /// Its name: lower-case letters, digits and '-', such as `radio`
    pub name: String,
    /// The language it is written in
    #[arg(long, value_enum)]
    pub lang: PluginLanguage,
    /// What it does
    #[arg(long, value_enum, default_value = "transport")]
    pub kind: NewPluginKind,
    /// The folder to make it in; it must not exist [default: ./KIND-NAME]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// A language for plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PluginLanguage {
    /// Rust, with the SDK's sources beside it
    Rust,
    /// C, with the header beside it
    C,
}

/// What a new plugin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NewPluginKind {
    /// Carries frames between nodes
    Transport,
    /// Decides over which links messages go
    Routing,
}

/// A plugin and what to try of it.
#[derive(Debug, Clone, Args)]
pub struct TestPluginArgs {
    /// The shared library
    pub file: PathBuf,
    /// Run this test alone (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Run the tests that failed the last time, with the same seed
    #[arg(long, conflicts_with = "only")]
    pub only_failed: bool,
    /// Make random decisions from this number; a failure names the one that it had
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The configuration of the plugin, as JSON
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub config: String,
    /// Where a transport listens [default: SCHEME://127.0.0.1:0]
    #[arg(long, value_name = "URI")]
    pub listen: Option<String>,
    /// What is dialled: {address} is where the other listens, {peer} its key [default: what listening answered]
    #[arg(long, value_name = "URI")]
    pub dial: Option<String>,
    /// Print the names of the tests, and run none
    #[arg(long)]
    pub list: bool,
}
