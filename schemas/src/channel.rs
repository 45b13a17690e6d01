//! Channels: a topic with a key. Who knows the key can read and find the channel; who said what is signed all the same.
//!
//! The byte tables of the payload and of the invite stand in `schemas/spec/channel.md`.

pub(crate) mod base32;
mod invite;
mod key;
mod name;

pub use invite::{InviteError, MAX_INVITE_TEXT, qr};
pub use key::{CHANNEL_OVERHEAD, ChannelError, ChannelKey};
pub use name::{MAX_NAME_LEN, NameError, normalise};

#[cfg(test)]
mod tests;
