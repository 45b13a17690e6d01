//! The nodes that were found, and what the host has yet to hear of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use qpq_plugin_api::PeerEvent;

use crate::answer::Node;
use crate::limits::{ANSWER_WITHIN, CONFIRM, MAX_NODES, MAX_REPORTS, RETRY};

/// Something to tell the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What happened.
    pub event: PeerEvent,
    /// To whom.
    pub node: Node,
}

#[derive(Debug)]
struct Entry {
    node: Node,
    since: Instant,
    /// When the host is told the next time.
    due: Instant,
    /// Whether the host knows of it.
    told: bool,
    /// When it is given up unless it answers; set after a fresh start of the responder.
    gone_by: Option<Instant>,
}

/// Found nodes, by the name of their instance. Bounded by [`MAX_NODES`].
#[derive(Debug, Default)]
pub struct Nodes {
    entries: BTreeMap<String, Entry>,
    /// Pushed out by others, for the figures.
    evicted: u64,
}

impl Nodes {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many were pushed out because there were too many.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// A node has answered. It may answer several times with a part of its addresses, so what is the same is not reported.
    pub fn found(&mut self, node: Node, now: Instant) -> Vec<Report> {
        if let Some(entry) = self.entries.get_mut(&node.id) {
            entry.gone_by = None;
            if entry.node == node {
                return Vec::new();
            }
            entry.node = node.clone();
            entry.due = now + CONFIRM;
            let event = if entry.told { PeerEvent::Changed } else { PeerEvent::Found };
            entry.told = true;
            return vec![Report { event, node }];
        }
        let mut reports = self.make_room();
        let entry = Entry { node: node.clone(), since: now, due: now + CONFIRM, told: true, gone_by: None };
        self.entries.insert(node.id.clone(), entry);
        reports.push(Report { event: PeerEvent::Found, node });
        reports
    }

    /// The oldest goes: so nobody can keep newcomers out by filling the table, and who was found long ago is linked by now.
    fn make_room(&mut self) -> Vec<Report> {
        if self.entries.len() < MAX_NODES {
            return Vec::new();
        }
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.since).map(|(id, _)| id.clone());
        self.evicted += 1;
        oldest.and_then(|id| self.lost(&id)).into_iter().collect()
    }

    /// A node said goodbye, or its records have run out.
    pub fn lost(&mut self, id: &str) -> Option<Report> {
        let entry = self.entries.remove(id)?;
        entry.told.then_some(Report { event: PeerEvent::Lost, node: entry.node })
    }

    /// The host had no room for a report. One of a loss is not repeated: the host forgets what it doesn't hear of.
    pub fn refused(&mut self, report: &Report, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&report.node.id) {
            entry.told = report.event != PeerEvent::Found && entry.told;
            entry.due = now + RETRY;
        }
    }

    /// The responder starts afresh and knows nobody: who doesn't answer soon is gone.
    pub fn doubt(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.gone_by.get_or_insert(now + ANSWER_WITHIN);
        }
    }

    /// Forgets all, as for a host that begins to listen.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// What is due: confirmations, what the host had no room for, nodes that have not answered. At most [`MAX_REPORTS`].
    pub fn due(&mut self, now: Instant) -> Vec<Report> {
        let gone = self.entries.iter().filter(|(_, entry)| entry.gone_by.is_some_and(|by| by <= now));
        let gone: Vec<String> = gone.map(|(id, _)| id.clone()).take(MAX_REPORTS).collect();
        let mut reports: Vec<Report> = gone.iter().filter_map(|id| self.lost(id)).collect();
        let due = self.entries.values_mut().filter(|entry| entry.due <= now);
        for entry in due.take(MAX_REPORTS - reports.len()) {
            let event = if entry.told { PeerEvent::Changed } else { PeerEvent::Found };
            entry.told = true;
            entry.due = now + CONFIRM;
            reports.push(Report { event, node: entry.node.clone() });
        }
        reports
    }

    /// How long the oldest is known.
    pub fn oldest(&self, now: Instant) -> Option<Duration> {
        self.entries.values().map(|entry| now.saturating_duration_since(entry.since)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: usize) -> Node {
        Node { id: format!("node{n:05}"), server: Some(format!("a:{}", n + 1)), ..Node::default() }
    }

    fn events(reports: &[Report]) -> Vec<PeerEvent> {
        reports.iter().map(|report| report.event).collect()
    }

    #[test]
    fn the_same_answer_again_is_no_news() {
        let (mut nodes, now) = (Nodes::default(), Instant::now());
        assert_eq!(events(&nodes.found(node(1), now)), [PeerEvent::Found]);
        assert!(nodes.found(node(1), now).is_empty());
        let other = Node { domain: Some("x".into()), ..node(1) };
        assert_eq!(events(&nodes.found(other, now)), [PeerEvent::Changed]);
        assert_eq!(nodes.lost("node00001").unwrap().event, PeerEvent::Lost);
        assert_eq!(nodes.lost("node00001"), None);
    }

    #[test]
    fn who_is_there_is_confirmed_every_minute() {
        let (mut nodes, now) = (Nodes::default(), Instant::now());
        nodes.found(node(1), now);
        assert!(nodes.due(now + CONFIRM / 2).is_empty());
        assert_eq!(events(&nodes.due(now + CONFIRM)), [PeerEvent::Changed]);
        assert!(nodes.due(now + CONFIRM).is_empty());
    }

    #[test]
    fn a_report_that_found_no_room_comes_again() {
        let (mut nodes, now) = (Nodes::default(), Instant::now());
        let report = nodes.found(node(1), now).pop().unwrap();
        nodes.refused(&report, now);
        assert!(nodes.due(now).is_empty());
        assert_eq!(events(&nodes.due(now + RETRY)), [PeerEvent::Found]);
        let report = Report { event: PeerEvent::Found, ..report };
        nodes.refused(&report, now);
        assert_eq!(nodes.lost("node00001"), None, "the host never heard of it");
    }

    #[test]
    fn ten_thousand_nodes_push_each_other_out() {
        let (mut nodes, start) = (Nodes::default(), Instant::now());
        for n in 0..10_000 {
            let reports = nodes.found(node(n), start + Duration::from_millis(n as u64));
            let full = n >= MAX_NODES;
            assert_eq!(events(&reports).len(), if full { 2 } else { 1 });
            if full {
                assert_eq!(reports[0].node, node(n - MAX_NODES), "the oldest goes");
            }
        }
        assert_eq!((nodes.len(), nodes.evicted()), (MAX_NODES, 10_000 - MAX_NODES as u64));
        assert!(nodes.due(start + 2 * CONFIRM).len() <= MAX_REPORTS);
    }

    #[test]
    fn after_a_fresh_start_the_silent_ones_are_gone() {
        let (mut nodes, now) = (Nodes::default(), Instant::now());
        nodes.found(node(1), now);
        nodes.found(node(2), now);
        nodes.doubt(now);
        assert!(nodes.found(node(2), now).is_empty());
        let reports = nodes.due(now + ANSWER_WITHIN);
        assert_eq!((events(&reports), &reports[0].node), (vec![PeerEvent::Lost], &node(1)));
        assert_eq!(nodes.len(), 1);
    }
}
