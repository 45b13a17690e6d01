//! Boards: posts, replies, edits, deletes, pins and moderation, as signed entries on a channel.
//!
//! An entry is an ordinary broadcast, so its author has signed it, the host spreads and keeps it, and the comparison of
//! histories brings nodes in step that were apart. A board is a fold over the set of entries that a node holds: in which
//! order they came, and how often, makes no difference. The rules stand in `host/docs/boards.md`.

mod entry;
mod fold;
mod kept;
mod marks;
mod reference;
mod view;

#[cfg(feature = "fuzz-doors")]
pub(crate) use entry::fuzz;
pub(crate) use entry::{Act, Entry, Source, TEXT_BYTES, is_entry, parse, reason, write};
pub(crate) use fold::{Change, Settings};
pub(crate) use kept::{Board, Kept};
pub(crate) use reference::Reference;
pub(crate) use view::{Find, Post, Unfound};

#[cfg(test)]
mod tests;
