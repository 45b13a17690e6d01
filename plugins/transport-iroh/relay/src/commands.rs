//! What each command does.

use std::io::{IsTerminal, Write};
use std::path::Path;

use tracing_subscriber::EnvFilter;

use crate::args::{Args, Command};
use crate::authority::{Authority, CA_CERTIFICATE, CA_KEY, RELAY_CERTIFICATE};
use crate::certificate::Certificate;
use crate::config::{CONFIG_FILE, Config};
use crate::host::Host;
use crate::problem::Problem;
use crate::secret_file::{self, Secrecy};
use crate::{guidance, server};

/// Runs the command that was given.
pub(crate) fn run(args: Args) -> Result<(), Problem> {
    match args.command {
        Command::Init { folder, hosts, ca, port, qad_port, days } => {
            init(&folder, &hosts, ca.as_deref(), (port, qad_port), days)
        }
        Command::Ca { out } => make_authority(&out),
        Command::Cert { ca, hosts, out, days } => issue(&ca, &hosts, &out, days),
        Command::Check { config } => check(&config),
        Command::Run { config } => {
            start_log(&args.log);
            server::run(&config)
        }
    }
}

fn init(
    folder: &Path,
    hosts: &[Host],
    ca: Option<&Path>,
    (port, qad_port): (u16, u16),
    days: u32,
) -> Result<(), Problem> {
    let config_path = folder.join(CONFIG_FILE);
    if config_path.symlink_metadata().is_ok() {
        return Err(Problem::Exists { path: config_path });
    }
    secret_file::make_folder(folder)?;
    let authority = match ca {
        Some(ca) => Authority::open(ca)?,
        None => Authority::open_or_create(&folder.join("ca"))?,
    };
    authority.issue(folder, hosts, days)?;
    let ca_certificate = place_authority(folder, ca)?;
    let text = guidance::config_file(hosts, port, qad_port, &ca_certificate);
    secret_file::create(&config_path, &text, Secrecy::Public)?;
    let config = Config::load(&config_path)?;
    Certificate::load(&config)?;
    say(&format!(
        "The relay is ready to run:\n\n  qpq-relay run --config {}\n\n\
         Open TCP port {port} and UDP port {qad_port} in the firewall.\n\n{}\n{}",
        config_path.display(),
        guidance::for_nodes(&config),
        keep_safe(&ca.map_or_else(|| folder.join("ca"), Path::to_owned)),
    ));
    Ok(())
}

/// Where the configuration finds the authority's certificate. One from elsewhere is copied beside the relay's own.
fn place_authority(folder: &Path, ca: Option<&Path>) -> Result<String, Problem> {
    let Some(ca) = ca else { return Ok(format!("ca/{CA_CERTIFICATE}")) };
    let text = secret_file::read(&ca.join(CA_CERTIFICATE), Secrecy::Public)?;
    secret_file::replace(&folder.join(CA_CERTIFICATE), &text, Secrecy::Public)?;
    Ok(CA_CERTIFICATE.to_owned())
}

fn make_authority(out: &Path) -> Result<(), Problem> {
    Authority::create(out)?;
    say(&format!("Made {} for all nodes.\n{}", out.join(CA_CERTIFICATE).display(), keep_safe(out)));
    Ok(())
}

fn keep_safe(ca: &Path) -> String {
    format!(
        "{}: whoever has it can pose as your relay. The running relay doesn't need it: keep it elsewhere, with a copy.",
        ca.join(CA_KEY).display()
    )
}

fn issue(ca: &Path, hosts: &[Host], out: &Path, days: u32) -> Result<(), Problem> {
    Authority::open(ca)?.issue(out, hosts, days)?;
    say(&format!(
        "Made {}, good for {days} days. A running relay takes it within a minute, or at once after SIGHUP.",
        out.join(RELAY_CERTIFICATE).display()
    ));
    Ok(())
}

fn check(path: &Path) -> Result<(), Problem> {
    let config = Config::load(path)?;
    let days = Certificate::load(&config)?.days_left();
    say(&format!(
        "{} is good. The certificate holds for {days} more days.\n\n{}",
        path.display(),
        guidance::for_nodes(&config)
    ));
    Ok(())
}

fn start_log(filter: &str) {
    // Each connection that breaks off is an error to iroh: strangers could fill the disk with them.
    let quiet = if filter.contains("iroh_relay") { "" } else { ",iroh_relay::server::http_server=off" };
    let filter = EnvFilter::builder().parse_lossy(format!("{filter}{quiet}"));
    // Only the first log of a process counts, and this is the first.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(std::io::stderr().is_terminal());
    let _ = log.with_writer(std::io::stderr).try_init();
}

fn say(text: &str) {
    // A terminal that is gone is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{text}");
}
