//! What `batctl neighbors_json` and `gateways_json` print.

use serde::Deserialize;

use crate::api::{MachineGateway, MachineReport};

use super::neighbour;

#[derive(Deserialize)]
struct Neighbour {
    neigh_address: String,
    hard_ifname: String,
    last_seen_msecs: Option<u64>,
    /// In kbit/s (B.A.T.M.A.N. V).
    throughput: Option<u64>,
    /// Of 255 (B.A.T.M.A.N. IV).
    tq: Option<u64>,
}

#[derive(Deserialize)]
struct Gateway {
    orig_address: String,
    router: Option<String>,
}

pub(super) fn read(neighbours: &str, gateways: &str, report: &mut MachineReport) -> Result<(), serde_json::Error> {
    let neighbours: Vec<Neighbour> = serde_json::from_str(neighbours)?;
    let gateways: Vec<Gateway> = serde_json::from_str(gateways)?;
    for row in neighbours {
        let mut found = neighbour("batman", &row.neigh_address, &row.hard_ifname);
        found.seen_ms = row.last_seen_msecs;
        found.kbit = row.throughput;
        found.quality = row.tq.map(|tq| tq.min(255) as f64 / 255.0);
        report.neighbours.push(found);
    }
    for row in gateways {
        report.gateways.push(MachineGateway {
            protocol: "batman".to_owned(),
            address: super::super::api::clean(&row.orig_address, 64),
            via: super::super::api::clean(&row.router.unwrap_or_default(), 64),
        });
    }
    Ok(())
}
