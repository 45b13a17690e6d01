//! Arguments for those who write bots and look after them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

/// Looking after bots.
#[derive(Debug, Clone, Subcommand)]
pub enum ScriptCommand {
    /// Show the bots and their states
    List,
    /// Write a new bot that works at once, with a test, to change it into your own
    New(NewScriptArgs),
    /// Load bots in the sandbox, and say what is wrong with them
    Check {
        /// A .lua file, a folder with init.lua, a folder of bots, or the name of a bot (several may be named)
        /// [default: all bots of the folder of scripts, as for `script new`]
        paths: Vec<PathBuf>,
    },
    /// Run a bot once in its sandbox, with one event, and show what it cost
    Run {
        /// A .lua file, a folder with init.lua, or the name of a bot
        file: PathBuf,
        /// The event, as JSON
        #[arg(long, value_name = "JSON")]
        event: String,
    },
    /// Test bots on a virtual mesh with a virtual clock: days pass in milliseconds
    ///
    /// Tests stand in files such as hello_test.lua beside the bot hello.lua, or in the bot's folder. No node is needed and
    /// none is asked.
    Test(TestScriptArgs),
    /// Show what a bot asks for, and grant it
    Approve(ApproveArgs),
    /// Load one bot anew, or all of them, with what the configuration says of them now
    Reload {
        /// The bot's name
        name: Option<String>,
    },
    /// Show what bots logged
    Logs(ScriptLogsArgs),
    /// Show what bots use of their limits
    Top(TopArgs),
    /// Type Lua into a running bot
    Repl(ScriptReplArgs),
    /// Explain a call, an event or a type of the script API
    Help {
        /// What to explain, such as mesh.send, peer_up, mesh.message or a permission [default: a list of all calls]
        call: Option<String>,
    },
    /// Write the definitions by which editors complete and check bots, and the reference
    Editor {
        /// The folder of scripts to write them into [default: as for `script new`]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// A new bot.
#[derive(Debug, Clone, Args)]
pub struct NewScriptArgs {
    /// Its name: letters, digits, '-' and '_'
    pub name: String,
    /// The folder to make it in [default: where the running node has its bots, else where the configuration says, else ./scripts]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// A single file and its test, without a folder and a bot.toml
    #[arg(long)]
    pub single: bool,
}

/// Which tests of bots to run.
#[derive(Debug, Clone, Args)]
pub struct TestScriptArgs {
    /// A test, a bot or its name, or a folder with either
    #[arg(value_name = "PATH", default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// Make random decisions from this number; a failure names the one that it had
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Run only the tests whose name, or whose bot's name, holds this text
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
}

/// What to grant.
#[derive(Debug, Clone, Args)]
pub struct ApproveArgs {
    /// The bot's name
    pub name: String,
    /// Grant these permissions beside those that every bot has, and no others: it does without [default: all that it asks for]
    #[arg(long, value_name = "A,B", value_delimiter = ',', conflicts_with = "revoke")]
    pub needs: Vec<String>,
    /// Let it run inside the node's own process
    #[arg(long, conflicts_with = "revoke")]
    pub trust: bool,
    /// Take back what was granted, and stop it if it needs that
    #[arg(long)]
    pub revoke: bool,
    /// Don't ask
    #[arg(long, short)]
    pub yes: bool,
}

/// Which lines of the log.
#[derive(Debug, Clone, Args)]
pub struct ScriptLogsArgs {
    /// The bot's name [default: all bots]
    pub name: Option<String>,
    /// Go on with lines as they come, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// At most that many, the newest
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub limit: u32,
    /// Show the calls that led to an error
    #[arg(long)]
    pub traceback: bool,
}

/// What to show of limits.
#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// The bot's name, for all of its limits [default: a line for each bot]
    pub name: Option<String>,
    /// Show it anew each so many seconds, until Ctrl-C [default: 2s at a terminal, once elsewhere]
    #[arg(long, value_name = "TIME", value_parser = super::parse_period)]
    pub watch: Option<Duration>,
    /// Show it once
    #[arg(long, conflicts_with = "watch")]
    pub once: bool,
}

/// Lua for a bot.
#[derive(Debug, Clone, Args)]
pub struct ScriptReplArgs {
    /// The bot's name
    pub name: String,
    /// Let it change and send things
    #[arg(long)]
    pub write: bool,
    /// Run this and leave; exits with 1 when it fails
    #[arg(long, value_name = "CODE")]
    pub eval: Option<String>,
}
