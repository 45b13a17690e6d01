//! Emergency notices: a text that several admins sign, so that relays can give it precedence.
//!
//! The byte table stands in `schemas/spec/emergency.md`.

mod error;
mod text;

pub use error::NoticeError;
pub use text::MAX_NOTICE_LINE;

use sha2::{Digest, Sha256};

use crate::signature::{Domain, SigningKey, verify};
use crate::wire::{Reader, is_control};
use crate::{PeerId, TopicId};

/// Longest text of a notice, in bytes.
pub const MAX_NOTICE_TEXT: usize = 2_048;
/// Signatures on a notice at most: checking them all takes about a millisecond.
pub const MAX_SIGNATURES: usize = 16;
/// Length of the longest notice, in bytes.
pub const MAX_NOTICE_BYTES: usize = 1 + 32 + 8 + 2 + MAX_NOTICE_TEXT + 1 + MAX_SIGNATURES * 96;

const VERSION: u8 = 1;

/// A text for all, with the signatures that were put on it. That they are good is for its reader to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    topic: TopicId,
    until_ms: u64,
    text: String,
    /// By rising keys.
    signatures: Vec<(PeerId, [u8; 64])>,
}

impl Notice {
    /// A notice that nobody has signed yet, over at `until_ms` (Unix time in milliseconds).
    ///
    /// # Errors
    /// When the text is empty, too long, or holds characters that hide or steer a terminal.
    pub fn new(topic: TopicId, until_ms: u64, text: impl Into<String>) -> Result<Self, NoticeError> {
        let text = text.into();
        check_text(&text)?;
        Ok(Self { topic, until_ms, text, signatures: Vec::new() })
    }

    /// The channel that it is for.
    pub fn topic(&self) -> TopicId {
        self.topic
    }

    /// When it is over, Unix time in milliseconds.
    pub fn until_ms(&self) -> u64 {
        self.until_ms
    }

    /// What it says.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Who has signed, by rising keys, and whether the signature is good. Checking one takes about 60 µs.
    pub fn signatures(&self) -> impl Iterator<Item = (PeerId, bool)> + '_ {
        self.signatures.iter().map(|(key, signature)| (*key, self.is_good(*key, signature)))
    }

    /// Whether so many of those whom `counts` names have signed. One bad signature of theirs, and it has no quorum: nobody
    /// honest passes one on, and so whoever makes notices up costs their reader one check each, not sixteen.
    pub fn has_quorum(&self, counts: impl Fn(&PeerId) -> bool, quorum: usize) -> bool {
        let named = self.signatures.iter().filter(|(key, _)| counts(key));
        let enough = named.clone().count() >= quorum;
        enough && named.take(quorum).all(|(key, signature)| self.is_good(*key, signature))
    }

    /// Puts a signature on it, in place of an earlier one with the same key.
    ///
    /// # Errors
    /// [`NoticeError::Signatures`] when it has [`MAX_SIGNATURES`] of others.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), NoticeError> {
        let (signer, signature) = (key.public(), key.sign(Domain::EMERGENCY, &[&self.signed()]));
        match self.signatures.binary_search_by_key(&signer, |(key, _)| *key) {
            Ok(at) => self.signatures.splice(at..=at, [(signer, signature)]).for_each(drop),
            Err(_) if self.signatures.len() >= MAX_SIGNATURES => return Err(NoticeError::Signatures),
            Err(at) => self.signatures.insert(at, (signer, signature)),
        }
        Ok(())
    }

    /// Takes over the good signatures that another copy of the same notice has; false when it is another notice, and for those
    /// that there is no room for.
    pub fn merge(&mut self, other: &Self) -> bool {
        let same = other.signed() == self.signed();
        let good = other.signatures.iter().filter(|(key, signature)| same && other.is_good(*key, signature));
        let mut all = same;
        for (key, signature) in good {
            match self.signatures.binary_search_by_key(key, |(key, _)| *key) {
                Ok(at) => self.signatures.splice(at..=at, [(*key, *signature)]).for_each(drop),
                Err(at) if self.signatures.len() < MAX_SIGNATURES => self.signatures.insert(at, (*key, *signature)),
                Err(_) => all = false,
            }
        }
        all
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.text.len() + self.signatures.len() * 96);
        out.push(VERSION);
        out.extend_from_slice(&self.topic.0);
        out.extend_from_slice(&self.until_ms.to_be_bytes());
        out.extend_from_slice(&(self.text.len() as u16).to_be_bytes());
        out.extend_from_slice(self.text.as_bytes());
        out.push(self.signatures.len() as u8);
        for (key, signature) in &self.signatures {
            out.extend_from_slice(&key.0);
            out.extend_from_slice(signature);
        }
        out
    }

    /// Reads a notice. The signatures are not checked.
    ///
    /// # Errors
    /// Says which rule the bytes break.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoticeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8().ok_or(NoticeError::Length)? {
            VERSION => {}
            version => return Err(NoticeError::Version(version)),
        }
        let topic = TopicId(reader.array().ok_or(NoticeError::Length)?);
        let until_ms = reader.u64().ok_or(NoticeError::Length)?;
        let len = reader.u16().ok_or(NoticeError::Length)?;
        let text = reader.take(usize::from(len)).ok_or(NoticeError::Length)?;
        let text = std::str::from_utf8(text).map_err(|_| NoticeError::Text)?;
        check_text(text)?;
        let count = reader.u8().ok_or(NoticeError::Length)?;
        if usize::from(count) > MAX_SIGNATURES {
            return Err(NoticeError::Signatures);
        }
        let mut signatures: Vec<(PeerId, [u8; 64])> = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let key = PeerId(reader.array().ok_or(NoticeError::Length)?);
            let signature = reader.array().ok_or(NoticeError::Length)?;
            if signatures.last().is_some_and(|(last, _)| *last >= key) {
                return Err(NoticeError::Signatures);
            }
            signatures.push((key, signature));
        }
        if !reader.is_empty() {
            return Err(NoticeError::Length);
        }
        Ok(Self { topic, until_ms, text: text.to_owned(), signatures })
    }

    /// The same for each copy of a notice, whoever has signed it.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.signed()).into()
    }

    /// What each admin signs, behind the domain.
    fn signed(&self) -> Vec<u8> {
        [&self.topic.0, self.until_ms.to_be_bytes().as_slice(), self.text.as_bytes()].concat()
    }

    fn is_good(&self, key: PeerId, signature: &[u8; 64]) -> bool {
        verify(key, Domain::EMERGENCY, &[&self.signed()], signature).is_ok()
    }
}

fn check_text(text: &str) -> Result<(), NoticeError> {
    if text.is_empty() || text.len() > MAX_NOTICE_TEXT {
        return Err(NoticeError::Length);
    }
    let hides = |c: char| is_control(c) && c != '\n' && c != '\t';
    if text.contains(hides) { Err(NoticeError::Text) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
