//! `qpq-relay`: a relay for nodes that reach each other over transport-iroh, run by a community for itself.
//!
//! Two nodes behind routers that let nothing in can't find each other alone. A relay that both can reach tells each how
//! the outside sees it (QUIC address discovery), so that they can open a direct path, and carries their packets, which
//! stay sealed, where no direct path comes about. The certificate comes from an authority of one's own: neither a domain
//! name nor anybody's public server is needed.
#![forbid(unsafe_code)]

mod access;
mod args;
mod authority;
mod certificate;
mod commands;
mod config;
mod guidance;
mod host;
mod notify;
mod problem;
mod secret_file;
mod server;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match commands::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // A terminal that is gone can't be told that it is.
            let _ = writeln!(std::io::stderr(), "qpq-relay: {problem}");
            ExitCode::from(problem.exit_code())
        }
    }
}
