//! Whether the promise held.

use std::fmt::Write;

use super::{Chaos, To};
use crate::sim::node::counters;

/// What a run has shown.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// What broke the promise; none when it held.
    pub broken: Vec<String>,
    /// Messages that were acknowledged.
    pub acknowledged: usize,
    /// The digest of the outcome.
    pub state_hash: String,
    /// All that happened, and where the messages in question are.
    pub story: String,
    /// Loops that the audit found.
    pub loops: u64,
}

impl Chaos {
    /// `differences` between memories and disks count, too.
    pub(super) fn verdict(mut self, seed: u64, differences: Vec<String>) -> Verdict {
        let mut broken = differences;
        let mut traces = String::new();
        for (sent, node) in self.missing() {
            broken.push(format!("{} from {} never came to {node}", sent.id.short(), sent.from));
            traces += &self.trace(sent.id);
        }
        if self.world.inboxes.doubled > 0 {
            broken.push(format!(
                "{} came twice, first {:?}",
                self.world.inboxes.doubled, self.world.inboxes.first_double
            ));
        }
        broken.extend(self.astray());
        if self.world.audit.loops > 0 {
            broken.push(format!("{} loops, first {:?}", self.world.audit.loops, self.world.audit.first_loop));
        }
        let mut story = self.story.join("\n");
        story += &format!("\n{traces}\nseed {seed}\n");
        let stored = self.sent.iter().filter(|sent| self.world.answers.is_stored(sent.token)).count();
        let (loops, state_hash) = (self.world.audit.loops, self.world.state_hash());
        self.story.clear();
        Verdict { broken, acknowledged: stored, state_hash, story, loops }
    }

    /// Messages that came to somebody whom they are not for.
    fn astray(&self) -> Vec<String> {
        let nodes = 0..self.world.nodes.len() as u32;
        let direct =
            self.sent.iter().filter_map(|sent| if let To::Node(to) = sent.to { Some((sent, to)) } else { None });
        direct
            .flat_map(|(sent, to)| nodes.clone().filter(move |node| *node != to).map(move |node| (sent, node)))
            .filter(|(sent, node)| self.world.delivered(*node, &sent.id) > 0)
            .map(|(sent, node)| format!("{} came to {node} instead", sent.id.short()))
            .collect()
    }

    /// Where a message is.
    fn trace(&self, id: qpq_schemas::MessageId) -> String {
        let mut out = format!("{}:\n", id.short());
        for (number, node) in self.world.nodes.iter().enumerate() {
            let Some(core) = &node.core else { continue };
            let (state, on_disk) = (core.shelf().seen(&id), node.disk.holds(&id));
            // Writing into a string can't fail.
            let _ = writeln!(out, "  {number}: {state:?}, on disk {on_disk}, {}", counters(core));
        }
        out
    }
}
