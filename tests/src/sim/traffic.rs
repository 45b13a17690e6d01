//! What went over the links, counted at the sender.

use qpq_schemas::envelope::Kind;
use qpq_schemas::link::{FRAME_HEADER_LEN, Frame};

/// Place of an envelope's kind in its wire form.
const KIND_AT: usize = 1;

/// Bytes of frames, with their headers, and without whatever a transport puts around them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// From routing plugin to routing plugin.
    pub route: u64,
    /// Signed node records.
    pub records: u64,
    /// All others that carry no message: subscriptions, history, broadcast trees.
    pub others: u64,
    /// Answers for envelopes.
    pub custody: u64,
    /// Envelopes.
    pub envelopes: u64,
    /// Frames of any kind.
    pub frames: u64,
    /// Broadcasts that arrived at a node, copies of known ones included.
    pub copies: u64,
}

impl Traffic {
    /// Counts a frame that is sent.
    pub fn sent(&mut self, frame: &Frame, scratch: &mut Vec<u8>) {
        self.frames += 1;
        let listed = |wires: &[bytes::Bytes], each: usize| {
            (FRAME_HEADER_LEN + wires.iter().map(|wire| wire.len() + each).sum::<usize>()) as u64
        };
        match frame {
            Frame::Route(bytes) => self.route += (FRAME_HEADER_LEN + bytes.len()) as u64,
            Frame::Records(wires) => self.records += listed(wires, 2),
            Frame::Envelopes(wires) => self.envelopes += listed(wires, 4),
            frame => {
                scratch.clear();
                // One that can't be encoded would never leave a real node either.
                let _ = frame.encode(scratch);
                match frame {
                    Frame::Custody(_) => self.custody += scratch.len() as u64,
                    _ => self.others += scratch.len() as u64,
                }
            }
        }
    }

    /// Counts the broadcasts in a frame that has arrived.
    pub fn arrived(&mut self, frame: &Frame) {
        if let Frame::Envelopes(wires) = frame {
            let broadcast = Kind::Broadcast as u8;
            self.copies += wires.iter().filter(|wire| wire.get(KIND_AT) == Some(&broadcast)).count() as u64;
        }
    }

    /// Bytes that keep the mesh going, as opposed to messages and their answers.
    pub fn control(&self) -> u64 {
        self.route + self.records + self.others
    }

    /// What was added since an earlier moment.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            route: self.route - before.route,
            records: self.records - before.records,
            others: self.others - before.others,
            custody: self.custody - before.custody,
            envelopes: self.envelopes - before.envelopes,
            frames: self.frames - before.frames,
            copies: self.copies - before.copies,
        }
    }
}
