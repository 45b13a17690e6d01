//! Tests that need something special of the machine say so, and are skipped by name where it is missing.

use std::io::Write;
use std::process::{Command, Stdio};

/// Whether this process may make network namespaces and mount file systems.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether `program` can be started.
pub fn has_program(program: &str, argument: &str) -> bool {
    let status = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Says on the terminal which test is skipped and why, and returns what a skipped test returns.
///
/// Writes past the capture of `cargo test`, which hides the output of tests that pass.
pub fn skip<E>(why: &str) -> Result<(), E> {
    let thread = std::thread::current();
    // A terminal that is gone is no reason to fail a test.
    let _ = writeln!(std::io::stderr(), "SKIPPED {}: {why}", thread.name().unwrap_or("test"));
    Ok(())
}

/// Whether the long programmes were asked for (`make soak`).
pub fn soak() -> bool {
    std::env::var_os("QPQ_SOAK").is_some_and(|value| value == "1")
}

/// So many rounds of each random test, whatever else was asked for.
pub const ROUNDS_ENV: &str = "QPQ_ROUNDS";

/// How many rounds a test runs: few with `make test`, many with `make soak`, or as many as [`ROUNDS_ENV`] says.
pub fn rounds(test: usize, soaked: usize) -> usize {
    let given = std::env::var(ROUNDS_ENV).ok().and_then(|text| text.parse().ok());
    given.unwrap_or(if soak() { soaked } else { test })
}
