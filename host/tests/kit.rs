//! The conformance kit for plugins: what `qpq plugin new` writes passes it, and each of its trials fails for a plugin that makes
//! the mistake which that trial is for.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a skipped test says so by name")]

#[path = "kit/mistakes.rs"]
mod mistakes;
#[path = "kit/strangers.rs"]
mod strangers;
#[path = "kit/workbench.rs"]
mod workbench;
