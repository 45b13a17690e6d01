//! Arguments for the authors of bots.

use std::path::PathBuf;

use clap::Args;

/// Which tests of bots to run.
#[derive(Debug, Clone, Args)]
pub struct TestScriptArgs {
    /// A test, a bot, or a folder with either
    #[arg(value_name = "PATH", default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// Make random decisions from this number; a failure names the one that it had
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Run only the tests whose name, or whose bot's name, holds this text
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
}
