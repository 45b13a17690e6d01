//! Block lists as text: one key on each line, to be passed on to others.

use std::fmt;

use qpq_schemas::PeerId;

use super::{Directory, MAX_PEERS};
use crate::api::Trust;

/// What stands at the top of an exported list.
const HEADER: &str =
    "# Blocked peers. One key of 64 hexadecimal digits on each line; the rest of a line after # is a comment.\n";

/// How much of a wrong line an error shows, in characters.
const SHOWN: usize = 80;

/// What an import changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Peers that are blocked now and were not before.
    pub added: Vec<PeerId>,
    /// How many were blocked already.
    pub known: usize,
}

/// Why a list was not taken in; nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlocksError {
    /// A line holds no key.
    NoKey {
        /// Its number, from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// A line holds this node's own key.
    Ourselves {
        /// Its number, from 1.
        line: usize,
    },
    /// A line holds the key of a trusted peer.
    Trusted {
        /// Its number, from 1.
        line: usize,
        /// The peer.
        peer: PeerId,
    },
    /// The directory would hold more than [`MAX_PEERS`] peers that the admin has an opinion on.
    Full,
}

impl Directory {
    /// The blocked peers as text, one key on each line, with the nickname as a comment.
    pub fn export_blocks(&self) -> String {
        let blocked = self.peers.iter().filter(|(_, peer)| peer.trust == Trust::Blocked);
        let lines = blocked.map(|(id, peer)| match &peer.nickname {
            Some(name) => format!("{id}  # {name}\n"),
            None => format!("{id}\n"),
        });
        std::iter::once(HEADER.to_owned()).chain(lines).collect()
    }

    /// Blocks the peers of such a list, too: all of them, or none when anything is wrong with a line.
    pub fn import_blocks(&mut self, list: &str) -> Result<Imported, BlocksError> {
        let mut imported = Imported::default();
        for (index, line) in list.lines().enumerate() {
            let Some(peer) = self.read_line(index + 1, line)? else { continue };
            match self.trust(&peer) {
                Trust::Blocked => imported.known += 1,
                _ => imported.added.push(peer),
            }
        }
        imported.added.sort_unstable();
        imported.added.dedup();
        let settled = self.peers.values().filter(|peer| !peer.is_replaceable()).count();
        if settled + imported.added.len() > MAX_PEERS {
            return Err(BlocksError::Full);
        }
        for peer in &imported.added {
            self.set_trust(*peer, Trust::Blocked).map_err(|_| BlocksError::Full)?; // there is room, as was just counted
        }
        Ok(imported)
    }

    /// The key of a line, if it has one.
    fn read_line(&self, line: usize, text: &str) -> Result<Option<PeerId>, BlocksError> {
        let key = text.split('#').next().unwrap_or_default().trim();
        if key.is_empty() {
            return Ok(None);
        }
        // The list comes from others, and the error goes to a terminal.
        let harmless = |letter: char| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
        let no_key = |_| BlocksError::NoKey { line, text: key.chars().take(SHOWN).map(harmless).collect() };
        let peer: PeerId = key.parse().map_err(no_key)?;
        if peer == self.own.peer_id() {
            return Err(BlocksError::Ourselves { line });
        }
        match self.trust(&peer) {
            Trust::Trusted => Err(BlocksError::Trusted { line, peer }),
            _ => Ok(Some(peer)),
        }
    }
}

impl fmt::Display for BlocksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey { line, text } => write!(f, "line {line}: `{text}` is no key of 64 hexadecimal digits"),
            Self::Ourselves { line } => write!(f, "line {line}: that is this node's own key"),
            Self::Trusted { line, peer } => write!(
                f,
                "line {line}: {peer} is trusted here; take the line out, or the trust back with `mesh trust {} known`",
                peer.short()
            ),
            Self::Full => write!(f, "the directory has no room for all of them; it holds {MAX_PEERS} peers"),
        }?;
        f.write_str(". Nothing was blocked")
    }
}

impl std::error::Error for BlocksError {}
