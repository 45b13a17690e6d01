//! The table of commands.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use qpq_schemas::MessageId;

mod federation;
mod mail;
mod plugin;
mod script;
mod store;

use crate::control::quic::Target;
pub use federation::{AuthorityArgs, CertArgs, CheckFederationArgs, CrossSignArgs, FederationCommand, RequestArgs};
pub use mail::{ExportArgs, RouteArgs, StoreArgs};
pub use plugin::{NewPluginArgs, NewPluginKind, PluginLanguage, TestPluginArgs};
pub use script::{ApproveArgs, NewScriptArgs, ScriptCommand, ScriptLogsArgs, ScriptReplArgs, TestScriptArgs, TopArgs};
pub use store::StoreCommand;

/// A mesh node for community networks: messages, boards and bots with no server and no internet.
///
/// Without a command, it starts a node if none runs in the data directory, and opens the prompt.
#[derive(Debug, Parser)]
#[command(name = "qpq", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 1 the operation failed, 2 wrong usage, 3 no node running, 78 bad configuration."
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// The data directory [default: $QPQ_HOME, or $XDG_DATA_HOME/qpq, or ~/.local/share/qpq]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Use the node at that address, over the network, with the identity in the data directory [env: QPQ_CONNECT]
    ///
    /// As one of its admins, all commands work as beside the node. As a user, those that send and receive do: mail waits
    /// there and is fetched, opened and kept here. Without a key, the node's key is noted when it is first met, and must
    /// stay the same.
    #[arg(long, global = true, value_name = "[KEY@]HOST:PORT")]
    pub connect: Option<Target>,
    /// Print JSON, with the name and version of its schema inside
    #[arg(long, global = true)]
    pub json: bool,
}

/// A line of the REPL: the same commands, and a way out.
#[derive(Debug, Parser)]
#[command(name = "", no_binary_name = true, disable_version_flag = true, max_term_width = 100)]
#[command(
    help_template = "{subcommands}\n\nEvery command takes --help. Keys: Tab completes, Ctrl-R searches, Ctrl-D leaves."
)]
pub struct Line {
    /// Print JSON, with the name and version of its schema inside
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: LineCommand,
}

/// What can be said at the prompt.
#[derive(Debug, Subcommand)]
pub enum LineCommand {
    /// The commands of the command line.
    #[command(flatten)]
    Shared(Command),
    /// Leave the prompt
    #[command(alias = "exit")]
    Quit,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Talk to other nodes
    Mesh {
        /// What to do.
        #[command(subcommand)]
        command: MeshCommand,
    },
    /// Show the node's state in one page
    Status,
    /// Look after plugins
    Plugin {
        /// What to do.
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Write bots and look after them
    #[command(disable_help_subcommand = true)]
    Script {
        /// What to do.
        #[command(subcommand)]
        command: ScriptCommand,
    },
    /// Connect communities: certificates by which servers of different domains know each other
    Federation {
        /// What to do.
        #[command(subcommand)]
        command: FederationCommand,
    },
    /// Look after the store on the disk
    Store {
        /// What to do.
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// Show, check and explain the configuration
    Config {
        /// What to do.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Run a node in the foreground
    Up(UpArgs),
    /// Open the prompt, and run a node meanwhile if none runs
    Repl(UpArgs),
    /// Drain and stop the running node
    Stop,
    /// Print completions for a shell
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write one for each command into a folder
    Man {
        /// The folder.
        dir: Option<PathBuf>,
    },
}

/// How a node is started.
#[derive(Debug, Clone, Default, Args)]
pub struct UpArgs {
    /// Listen here instead of where the configuration says (may be repeated)
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Vec<String>,
    /// Keep a link to this server, instead of those of the configuration (may be repeated)
    #[arg(long, value_name = "HOST:PORT")]
    pub peer: Vec<String>,
    /// Look for bots in this folder instead of where the configuration says (may be repeated)
    #[arg(long, value_name = "DIR")]
    pub scripts: Vec<PathBuf>,
    /// Look for plugins in this folder instead of where the configuration says (may be repeated)
    #[arg(long, value_name = "DIR")]
    pub plugins: Vec<PathBuf>,
    /// Read this file instead of qpq-server.toml in the data directory
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set a key of the configuration (may be repeated); a list is written a,b
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub set: Vec<(String, String)>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT")]
    pub log: Option<LogStyle>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogStyle {
    /// For people
    Text,
    /// One JSON object on each line
    Json,
}

/// Talking to other nodes.
#[derive(Debug, Clone, Subcommand)]
pub enum MeshCommand {
    /// Show this node's public key and addresses
    Identity,
    /// Show the known peers and the links to them
    Peers,
    /// Note a server's address, and keep a link to it
    Server {
        /// HOST:PORT, or an address with its transport
        address: String,
    },
    /// Keep no link to an address any more
    Forget {
        /// The address, as `mesh peers` shows it
        address: String,
    },
    /// Measure the round trip to a neighbour, over each link to it
    Ping {
        /// Who: a public key, at least 8 digits of its beginning, or a nickname
        peer: String,
        /// How many times, one second apart
        #[arg(long, short = 'c', value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
        count: u32,
    },
    /// Say how far a peer is trusted
    Trust {
        /// Who: a public key, at least 8 digits of its beginning, or a nickname
        peer: String,
        /// How far
        #[arg(value_enum, default_value = "trusted")]
        level: TrustLevel,
    },
    /// Refuse a peer's links and messages
    Block {
        /// Who: a public key, at least 8 digits of its beginning, or a nickname
        peer: String,
    },
    /// Refuse a peer no more
    Unblock {
        /// Who: a public key, at least 8 digits of its beginning, or a nickname
        peer: String,
    },
    /// Exchange lists of blocked peers
    Blocks {
        /// What to do.
        #[command(subcommand)]
        command: BlocksCommand,
    },
    /// Send a direct message
    Send(SendArgs),
    /// Publish a message on a channel
    Broadcast(BroadcastArgs),
    /// Proclaim an emergency: a notice that several admins sign goes before everything else
    Emergency {
        /// What to do.
        #[command(subcommand)]
        command: EmergencyCommand,
    },
    /// Join a channel, by its name or an invite
    Subscribe {
        /// The channel's name, or an invite
        topic: String,
    },
    /// Leave a channel
    Unsubscribe {
        /// The channel's name
        topic: String,
    },
    /// Show the joined channels
    Channels,
    /// Make a private channel, and show its invite
    #[command(visible_alias = "private")]
    Create {
        /// The channel's name
        name: String,
    },
    /// Show the invite of a private channel, as text and as a QR code
    Invite {
        /// The channel's name
        topic: String,
    },
    /// Show messages: direct ones, and those of joined channels
    Inbox(InboxArgs),
    /// Say what became of a message: where it waits and why, who has it, or how it ended
    Why {
        /// The message's id, or at least 8 digits of its beginning
        id: String,
    },
    /// Show the routing table, or draw it
    Route(RouteArgs),
    /// Show what waits for whom, and what was evicted or refused for which bound
    Store(StoreArgs),
    /// Write waiting messages into a file, to be carried to another node
    ///
    /// They stay here as well, until somebody has taken custody of them or they expire. Without a choice: all that wait for somebody.
    Export(ExportArgs),
    /// Take in the messages of such a file, as if a neighbour offered them
    ///
    /// Each is checked, and none is taken twice. Of a damaged file everything is taken in that can be read; the rest is named.
    Import {
        /// The file
        file: PathBuf,
    },
}

/// How far a peer is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TrustLevel {
    /// Heard of, no opinion
    Known,
    /// Vouched for by you
    Trusted,
    /// Its links and messages are refused
    Blocked,
}

/// Lists of blocked peers.
#[derive(Debug, Clone, Subcommand)]
pub enum BlocksCommand {
    /// Print the blocked peers, one key on each line
    Export,
    /// Block the peers of a list, too
    Import {
        /// The list, or - for the standard input
        file: PathBuf,
    },
}

/// Notices of emergencies, which go from admin to admin as text.
#[derive(Debug, Clone, Subcommand)]
pub enum EmergencyCommand {
    /// Write a notice, for admins to sign
    Draft {
        /// The text
        #[arg(required = true, num_args = 1..)]
        text: Vec<String>,
        /// How long it holds, such as 6h or 2d [default: 24h]
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        ttl: Option<Duration>,
    },
    /// Put this node's signature on a notice; several copies with signatures of others are put together
    Sign(NoticeArgs),
    /// Publish a notice that enough admins have signed
    Publish(NoticeArgs),
    /// Show what a notice says, who has signed it, and who is missing
    Show(NoticeArgs),
}

/// A notice.
#[derive(Debug, Clone, Args)]
pub struct NoticeArgs {
    /// The notice as `draft` or `sign` printed it, or several copies of it
    #[arg(required = true, num_args = 1..=16, value_name = "NOTICE")]
    pub notice: Vec<String>,
}

/// A direct message.
#[derive(Debug, Clone, Args)]
pub struct SendArgs {
    /// Whom to: a public key, at least 8 digits of its beginning, or a nickname; with @DOMAIN where it lives in another
    pub peer: String,
    /// The text
    #[arg(required = true, num_args = 1..)]
    pub text: Vec<String>,
    /// How long the message lives, such as 30m, 12h or 3d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub ttl: Option<Duration>,
    /// How urgent it is
    #[arg(long, value_enum)]
    pub priority: Option<Priority>,
    /// Ask for a delivery receipt
    #[arg(long)]
    pub receipt: bool,
    /// Wait so long for the receipt, such as 30s; without one by then, exit with 1
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "receipt")]
    pub wait: Option<Duration>,
    /// Send without sealing, readable by every relay
    #[arg(long)]
    pub plain: bool,
    /// The message that this one answers, by its id
    #[arg(long, value_name = "ID")]
    pub reply_to: Option<MessageId>,
}

/// A message for a channel.
#[derive(Debug, Clone, Args)]
pub struct BroadcastArgs {
    /// The channel's name
    pub topic: String,
    /// The text
    #[arg(required = true, num_args = 1..)]
    pub text: Vec<String>,
    /// How long the message lives, such as 30m, 12h or 3d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub ttl: Option<Duration>,
    /// How urgent it is
    #[arg(long, value_enum)]
    pub priority: Option<Priority>,
    /// Over how many links it may go, such as 1 for the neighbours alone
    #[arg(long, value_name = "LINKS", value_parser = clap::value_parser!(u8).range(1..))]
    pub hops: Option<u8>,
    /// The message that this one answers, by its id
    #[arg(long, value_name = "ID")]
    pub reply_to: Option<MessageId>,
}

/// How urgent a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Priority {
    /// Goes last, and is dropped first
    Low,
    /// As usual
    Normal,
    /// Before others
    High,
    /// As high; before everything goes only what `mesh emergency` publishes
    Emergency,
}

/// Which messages.
#[derive(Debug, Clone, Args)]
pub struct InboxArgs {
    /// Go on with messages as they come, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// At most that many, the newest
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    pub limit: u32,
    /// The oldest messages after this place in the inbox, instead of the newest
    #[arg(long, value_name = "SEQ")]
    pub after: Option<u64>,
}

/// Looking after plugins.
#[derive(Debug, Clone, Subcommand)]
pub enum PluginCommand {
    /// Show the loaded plugins and their states
    List,
    /// Write a new plugin that builds, works and passes the tests, to change it into your own
    New(NewPluginArgs),
    /// Say whether a plugin file fits this host, and how to mend it if not
    Check {
        /// The shared library
        file: PathBuf,
    },
    /// Try whether a plugin keeps its promises to a host, each test in a process of its own
    Test(TestPluginArgs),
    /// Replace a running plugin's library, without losing a message
    ///
    /// The new library is loaded and started beside the old one, which then drains and makes way. If the new one fails, the
    /// old one goes on or comes back, and the reason is printed. Replacing the plugin's file does the same by itself
    /// (`plugins.watch`). The swap holds until the node starts again. `qpq plugin list` shows how it goes.
    Swap {
        /// The plugin's name, as `qpq plugin list` shows it
        name: String,
        /// The new library, of the same kind [default: the plugin's configured file, read again]
        file: Option<PathBuf>,
    },
    /// Start a plugin at once that was refused, or disabled after too many failures
    ///
    /// A disabled one is tried again by itself, too: at first after 2 minutes, at last each hour. `qpq plugin list` shows when.
    /// Its file and its section of the configuration, `plugins.trusted_with_key` too, are read anew.
    Enable {
        /// The plugin's name
        name: String,
    },
}

/// The configuration.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with a configuration file, with file, line and column
    Check {
        /// The file [default: qpq-server.toml in the data directory]
        file: Option<PathBuf>,
    },
    /// Print the values in effect, and where each came from
    Print,
    /// Print every key with its type, default, unit and meaning
    Reference,
}

/// `KEY=VALUE`
fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// A number and a unit: `90s`, `30m`, `12h`, `3d`, `2w`; seconds without a unit.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time, such as 90s, 30m, 12h, 3d or 2w");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(wrong()),
    };
    let secs = number.parse::<u32>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)?;
    Ok(Duration::from_secs(secs.into()))
}

/// The time between two looks: a second at least.
fn parse_period(text: &str) -> Result<Duration, String> {
    let period = parse_duration(text)?;
    if period.is_zero() { Err("it must be at least 1s".to_owned()) } else { Ok(period) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_table_of_commands_is_sound() {
        Cli::command().debug_assert();
        Line::command().debug_assert();
    }

    #[test]
    fn every_command_and_argument_is_explained() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments().filter(|argument| !argument.is_global_set()) {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            for sub in command.get_subcommands() {
                assert!(sub.get_about().is_some(), "{}", sub.get_name());
                check(sub);
            }
        }
        check(&Cli::command());
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse_duration("90").unwrap(), Duration::from_secs(90));
        assert_eq!(parse_duration("3d").unwrap(), Duration::from_secs(259_200));
        for bad in ["", "d", "-1d", "1y", "1.5h", "99999999999s", "9999999w"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_may_stand_before_and_after() {
        let cli = Cli::parse_from(["qpq", "--home", "/h", "mesh", "send", "anna", "hello", "there", "--json"]);
        assert!(cli.global.json && cli.global.home == Some("/h".into()));
        let Some(Command::Mesh { command: MeshCommand::Send(send) }) = cli.command else { panic!("not a send") };
        assert_eq!(send.text, ["hello", "there"]);
    }
}
