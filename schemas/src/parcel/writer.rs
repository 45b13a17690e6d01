//! Making such a file.

use super::{HEAD_LEN, HEADER_LEN, MAGIC, SUM_LEN, VERSION, sum};
use crate::PeerId;

/// Numbers the envelopes and makes their bytes.
#[derive(Debug, Default)]
pub struct ParcelWriter {
    written: u64,
}

impl ParcelWriter {
    /// A file's header: when it is made (Unix time in milliseconds), and by which node. Both are for people only.
    pub fn header(made_ms: u64, by: &PeerId) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, 0, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&made_ms.to_be_bytes());
        out.extend_from_slice(&by.0);
        out.extend_from_slice(&sum::<SUM_LEN>(&[&out]));
        out
    }

    /// Adds one envelope, as it travels. One over [`super::MAX_ENVELOPE`] can't come from a node, and is left out.
    pub fn envelope(&mut self, wire: &[u8], out: &mut Vec<u8>) {
        if wire.is_empty() || wire.len() > super::MAX_ENVELOPE {
            return;
        }
        self.piece(wire, out);
        self.written += 1;
    }

    /// The end mark, with how many envelopes there were.
    pub fn end(self, out: &mut Vec<u8>) {
        self.piece(&[], out);
    }

    /// Envelopes so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    fn piece(&self, wire: &[u8], out: &mut Vec<u8>) {
        let mut head = Vec::with_capacity(HEAD_LEN);
        head.extend_from_slice(&u32::try_from(wire.len()).unwrap_or_default().to_be_bytes());
        head.extend_from_slice(&self.written.to_be_bytes());
        head.extend_from_slice(&sum::<4>(&[&MAGIC, &head]));
        out.extend_from_slice(&head);
        out.extend_from_slice(wire);
        out.extend_from_slice(&sum::<SUM_LEN>(&[&head, wire]));
    }
}
