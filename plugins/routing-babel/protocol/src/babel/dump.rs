//! The table, for people and programs.

use serde_json::{Value, json};

use super::Babel;
use crate::cost::INFINITE;
use crate::record::Key;
use crate::table::{Flag, RowId, SELF_SLOT, Slot};

impl Babel {
    /// The whole state as JSON; see the README.
    pub fn dump(&self) -> Value {
        let mut rows: Vec<(&Key, RowId)> = self.table.used().map(|row| (&self.table.row(row).key, row)).collect();
        rows.sort_unstable();
        let rows = rows.into_iter().filter(|(_, row)| Some(*row) != self.own);
        json!({
            "routes": rows.map(|(_, row)| self.dump_row(row)).collect::<Vec<_>>(),
            "links": self.dump_links(),
            "state_bytes": self.state_bytes(),
            "counters": self.counters.json(),
        })
    }

    /// Bytes of memory that the state takes.
    pub fn state_bytes(&self) -> usize {
        let neighbours: usize = self.neighbours.iter().map(|one| one.bytes() + size_of_val(one)).sum();
        let queues = (self.prompt.rows.capacity() + self.lazy.rows.capacity()) * size_of::<RowId>();
        let maps = self.starving.len() * size_of::<(RowId, super::starve::Starving)>()
            + self.wanted.len() * size_of::<(RowId, super::request::Wanted)>();
        size_of::<Self>() + self.table.bytes() + self.graves.bytes() + neighbours + queues + maps
    }

    fn dump_row(&self, row: RowId) -> Value {
        let (one, now) = (self.table.row(row), self.clock.now());
        let way = self.way(row);
        let state = match one.next_hop() {
            Some(_) => "selected",
            None if one.has(Flag::Starved) => "starved",
            None => "retracted",
        };
        let feasibility =
            one.feasibility().map(|(lag, metric)| json!({ "seqno": one.newest - u64::from(lag), "metric": metric }));
        let next = one.next_hop().and_then(|slot| self.neighbours.get(usize::from(slot)));
        let mut value = json!({
            "destination": hex(&one.key),
            "metric": way.metric,
            "hops": way.is_finite().then_some(way.hops),
            "age_ms": one.age_ms(now),
            "seqno": if way.is_finite() { way.seqno } else { one.newest },
            "feasibility": feasibility,
            "state": state,
            "alternatives": self.dump_alternatives(row),
        });
        if let (Some(next), Some(value)) = (next, value.as_object_mut()) {
            value.insert("next_hop".into(), hex(&next.key).into());
            value.insert("link".into(), next.best_link().map(|link| link.id).into());
        }
        value
    }

    /// The other neighbours with a way, the cheapest first.
    fn dump_alternatives(&self, row: RowId) -> Vec<Value> {
        let one = self.table.row(row);
        let chosen = one.next_hop().unwrap_or(SELF_SLOT);
        let cells = self.table.cells(row).iter().zip(&self.costs).enumerate();
        let mut others: Vec<(u32, Slot)> = cells
            .map(|(slot, (cell, cost))| (cell.metric().saturating_add(*cost), slot as Slot))
            .filter(|(metric, slot)| *metric < INFINITE && *slot != chosen)
            .collect();
        others.sort_unstable();
        let line = |(metric, slot): (u32, Slot)| {
            let (cell, neighbour) = (self.table.cell(row, slot), self.neighbours.get(usize::from(slot))?);
            Some(json!({
                "next_hop": hex(&neighbour.key),
                "metric": metric,
                "seqno": one.newest - u64::from(cell.lag),
                "feasible": one.is_feasible(cell.lag, cell.metric()),
                "age_ms": cell.age_ms(self.clock.now()),
            }))
        };
        others.into_iter().filter_map(line).collect()
    }

    fn dump_links(&self) -> Vec<Value> {
        let all = self.neighbours.iter().flat_map(|one| one.links.iter().map(move |link| (link, &one.key)));
        all.map(|(link, peer)| {
            json!({
                "link": link.id, "peer": hex(peer), "cost": link.cost,
                "rtt_us": link.rtt_us, "loss_ppm": link.loss_ppm,
            })
        })
        .collect()
    }
}

fn hex(key: &Key) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}
