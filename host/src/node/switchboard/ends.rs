//! How links ended, remembered for those who dialled them.

use std::collections::{HashMap, VecDeque};

use qpq_schemas::PeerId;
use qpq_schemas::link::CloseCode;

use super::Entry;
use crate::core::LinkId;
use crate::link::CloseReason;
use crate::node::clock::now_ms;
use crate::node::dialer::End;

/// Ends remembered at most. The dialer looks at once, so this is plenty.
const MAX_ENDS: usize = 1_024;

/// The newest ends.
#[derive(Default)]
pub(super) struct Ends {
    /// The number of the newest end; they are counted from 1.
    last: u64,
    newest: VecDeque<(u64, LinkId, End)>,
    /// What is known already of links that are about to end.
    closing: HashMap<LinkId, (Option<PeerId>, Option<CloseCode>)>,
}

impl Ends {
    /// The link of that peer was not let in.
    pub(super) fn note_refused(&mut self, id: LinkId, peer: PeerId) {
        self.closing.entry(id).or_default().0 = Some(peer);
    }

    /// The link closes for that reason.
    pub(super) fn note_code(&mut self, id: LinkId, reason: &CloseReason) {
        self.closing.entry(id).or_default().1 = reason.wire_code();
    }

    /// The link is gone.
    pub(super) fn note_end(&mut self, id: LinkId, entry: Option<&Entry>, reason: &str) {
        let (refused, code) = self.closing.remove(&id).unwrap_or_default();
        let end = End {
            peer: entry.map(|entry| entry.peer).or(refused),
            code,
            reason: reason.to_owned(),
            lived_ms: entry.map_or(0, |entry| now_ms().saturating_sub(entry.since_ms)),
        };
        self.last += 1;
        self.newest.push_back((self.last, id, end));
        if self.newest.len() > MAX_ENDS {
            self.newest.pop_front();
        }
    }

    pub(super) fn find(&self, id: LinkId) -> Option<End> {
        self.newest.iter().rev().find(|(_, link, _)| *link == id).map(|(_, _, end)| end.clone())
    }

    /// What came after the end of number `seen`, which becomes that of the newest.
    pub(super) fn since(&self, seen: &mut u64) -> Vec<(LinkId, End)> {
        let newer = self.newest.iter().filter(|(number, ..)| number > seen);
        let newer = newer.map(|(_, link, end)| (*link, end.clone())).collect();
        *seen = self.last;
        newer
    }
}
