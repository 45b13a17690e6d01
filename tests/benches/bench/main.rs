//! Figures of the node as ratios to limits measured in the same run. No assertions: the table is for people.
//!
//! `make bench`, or `cargo bench -p qpq-tests -- [--json] [SECTION …]`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing a table is what this program is for")]

mod boundary;
mod discovery;
mod federation;
mod idle;
mod machine;
mod quic;
mod rate;
mod relay;
mod report;
mod scripts;
mod signatures;
mod store;
mod swap;
mod transports;

use std::process::ExitCode;

use qpq_tests::Outcome;
use report::Report;

/// A group of figures under its name.
type Section = (&'static str, fn(&mut Report) -> Outcome);

const SECTIONS: &[Section] = &[
    ("signatures", signatures::measure),
    ("boundary", boundary::measure),
    ("scripts", scripts::measure),
    ("store", store::measure),
    ("restart", store::restart::nodes),
    ("quic", quic::measure),
    ("transports", transports::measure),
    ("relay", relay::measure),
    ("federation", federation::measure),
    ("discovery", discovery::measure),
    ("swap", swap::measure),
    ("idle", idle::measure),
];

/// Sections that are measured only when they are asked for.
const LARGE: &[Section] = &[("capacity", store::capacity::measure)];

fn main() -> ExitCode {
    if let Ok(text) = std::env::var(store::bulk::CHILD) {
        return match store::bulk::child(&text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("{failure}");
                ExitCode::FAILURE
            }
        };
    }
    // `cargo bench` passes `--bench`; what else begins with a dash is an option, the rest are names of sections.
    let (options, wanted): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|word| word.starts_with('-'));
    let mut report = Report::new();
    let mut failed = false;
    let large = LARGE.iter().filter(|(name, _)| wanted.iter().any(|word| word == name));
    let usual = SECTIONS.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| word == name));
    for (name, measure) in usual.chain(large) {
        eprintln!("measuring: {name}");
        report.section(name);
        if let Err(failure) = measure(&mut report) {
            eprintln!("{name}: {failure}");
            failed = true;
        }
    }
    print!("{}", if options.iter().any(|option| option == "--json") { report.json() } else { report.table() });
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
