//! Bots in processes of their own: `isolation = "process"`.
//!
//! A bot of a stranger runs in a child process of this same binary. The child has no files, no environment and no
//! network; all that it can reach is one socket to the host, and it runs the very same `worker` and `vm` as a thread
//! does, on stand-ins for the node and the store ([`proxy`]).
//!
//! ```text
//! supervisor ──orders──► guard ◄──────frames (wire)──────► child: proxy ◄── worker ◄── vm
//!                          │ gate: may it?                   confine: rlimits, seccomp
//!                          │ watch: does it answer?
//!                          ▼
//!                     NodeApi, BotStore
//! ```
//!
//! The host doesn't trust the child: whatever comes over the socket is checked in [`gate`] again, as if a stranger had
//! written it, and a child that breaks a rule is ended. A call of the node that bots use is one variant of
//! [`wire::Call`] and of [`wire::Answer`], and one arm each in [`proxy`], [`gate`] and [`perform`].

mod child;
mod confine;
mod gate;
mod guard;
mod perform;
mod probe;
mod proxy;
mod spawn;
mod watch;
pub(crate) mod wire;

pub(crate) use guard::{Pool, start};
#[cfg(test)]
pub(crate) use probe::probe_with;
pub use probe::{Found, Probed, probe};
pub use spawn::ChildProgram;

use std::ffi::OsString;

/// The hidden first argument with which the binary calls itself to run a bot.
const BOT_ARGUMENT: &str = "__bot";
/// The hidden first argument that confines the process as a bot's and tries what a bot must not; see [`probe`].
const PROBE_ARGUMENT: &str = "__bot-probe";

/// The child's side: call it early in `main`, with the arguments after the program's name. When they ask for a bot it
/// runs the bot to its end and returns `true`; then `main` ends with success.
pub fn child_main(mut arguments: impl Iterator<Item = OsString>) -> bool {
    match arguments.next() {
        Some(first) if first == BOT_ARGUMENT => child::main(),
        Some(first) if first == PROBE_ARGUMENT => probe::main(&arguments.next().unwrap_or_default()),
        _ => return false,
    }
    true
}
