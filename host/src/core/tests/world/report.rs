//! What a test that failed tells of its world.

use super::*;

impl World {
    pub(in crate::core::tests) fn report(&self) -> String {
        let line = |(number, node): (usize, &Node)| {
            format!(
                "{number}: links {:?}, {:?}, {:?}\n",
                node.links,
                node.core.shelf().stats().counters,
                node.core.counters()
            )
        };
        self.nodes.iter().enumerate().map(line).collect()
    }

    /// What waits at these nodes, and where else it is.
    pub(in crate::core::tests) fn left(&self, nodes: &[usize]) -> String {
        let heads = nodes.iter().flat_map(|node| {
            let shelf = self.nodes[*node].core.shelf();
            let recipients: Vec<_> = shelf.recipients().collect();
            recipients
                .into_iter()
                .flat_map(|to| shelf.queue(&to).map(move |w| (*node, to, w.id)).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        });
        let told = heads.map(|(node, to, id)| {
            let to_node = self.nodes.iter().position(|n| n.key.public() == to);
            let head = self.nodes[node].core.shelf().get(&id);
            format!(
                "at {node} for {to_node:?} {:?}: {id:?} home {:?} now {}\n{}",
                head,
                self.nodes[node].core.resolve_destination(&to, self.now_ms),
                self.now_ms,
                self.traces(&id)
            )
        });
        told.collect()
    }

    /// Where a message is, and what each node remembers of it.
    pub(in crate::core::tests) fn traces(&self, id: &MessageId) -> String {
        let line = |(number, node): (usize, &Node)| {
            let on = |(link, state): (&LinkId, &LinkState)| {
                let neighbour = &node.core.neighbours[&state.peer];
                format!(
                    "{link}: {:?} in flight {} copied {}",
                    neighbour.declined.get(id),
                    state.in_flight.contains_key(id),
                    neighbour.copied.contains_key(id)
                )
            };
            let links: Vec<String> = node.core.links.iter().map(on).collect();
            format!(
                "{number}: {:?} {links:?} flying {}\n",
                node.core.shelf().seen_entry(id),
                node.core.flying.contains_key(id)
            )
        };
        self.nodes.iter().enumerate().map(line).collect()
    }
}
