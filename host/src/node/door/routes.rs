//! The routing table, in the form that every routing plugin can fill.

use std::collections::BTreeMap;

use qpq_schemas::PeerId;
use serde::Deserialize;
use serde_json::Value;

use super::Door;
use crate::api::{ApiError, Feasibility, LostRoute, RouteAlternative, RouteInfo, RouteLink, RouteTable};
use crate::identity::Directory;
use crate::node::clock::now_ms;

/// What a plugin dumps: an object, or only the list of rows.
#[derive(Debug, Default, Deserialize)]
struct Dump {
    #[serde(default)]
    routes: Vec<Row>,
    /// The links; a plugin may tell only how many there are.
    #[serde(default)]
    links: Value,
    #[serde(default)]
    state_bytes: Option<u64>,
    #[serde(default)]
    counters: BTreeMap<String, Value>,
}

/// One destination; what the plugin doesn't know is left out.
#[derive(Debug, Deserialize)]
struct Row {
    destination: PeerId,
    #[serde(default)]
    next_hop: Option<PeerId>,
    #[serde(default)]
    metric: Option<u32>,
    #[serde(default)]
    hops: Option<u8>,
    #[serde(default)]
    age_ms: u64,
    #[serde(default)]
    link: Option<u64>,
    #[serde(default)]
    seqno: Option<u64>,
    #[serde(default)]
    feasibility: Option<Feasibility>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    alternatives: Vec<RouteAlternative>,
}

impl Door {
    pub(super) async fn route_table(self) -> Result<RouteTable, ApiError> {
        let (plugin, dump) = self.shared.ask(|core| core.routes(now_ms())).await?;
        let mut table = route_table(plugin, &dump, &self.shared.directory())?;
        table.here = Some(self.shared.identity.peer_id());
        table.here_name.clone_from(&self.shared.nickname);
        Ok(table)
    }
}

/// What a routing plugin dumped, with the names of the directory.
pub(crate) fn route_table(plugin: String, dump: &str, directory: &Directory) -> Result<RouteTable, ApiError> {
    let mut table = read(plugin, dump)?;
    name_all(&mut table, directory);
    Ok(table)
}

fn read(plugin: String, dump: &str) -> Result<RouteTable, ApiError> {
    let named = plugin.clone();
    let wrong = |error: serde_json::Error| {
        ApiError::new("plugin", format!("the routing plugin {named} shows its table in a form of its own: {error}"))
    };
    let value: Value = serde_json::from_str(dump).unwrap_or_default();
    let dump: Dump = match value {
        Value::Null => Dump::default(),
        Value::Array(_) => Dump { routes: serde_json::from_value(value).map_err(wrong)?, ..Dump::default() },
        object => serde_json::from_value(object).map_err(wrong)?,
    };
    let links: Vec<RouteLink> = match dump.links {
        links @ Value::Array(_) => serde_json::from_value(links).map_err(wrong)?,
        _ => Vec::new(),
    };
    let mut table = RouteTable {
        plugin,
        links,
        state_bytes: dump.state_bytes,
        counters: dump.counters.into_iter().filter_map(|(name, value)| Some((name, value.as_u64()?))).collect(),
        ..RouteTable::default()
    };
    for row in dump.routes {
        let chosen = row.state.as_deref().is_none_or(|state| state == "selected");
        match row.next_hop.filter(|_| chosen) {
            Some(next_hop) => table.routes.push(way(row, next_hop)),
            None => table.lost.push(lost(row)),
        }
    }
    Ok(table)
}

fn way(row: Row, next_hop: PeerId) -> RouteInfo {
    RouteInfo {
        destination: row.destination,
        next_hop,
        nickname: None,
        metric: row.metric.unwrap_or(u32::MAX),
        hops: row.hops,
        age_ms: row.age_ms,
        next_hop_name: None,
        link: row.link,
        seqno: row.seqno,
        feasibility: row.feasibility,
        alternatives: row.alternatives,
    }
}

fn lost(row: Row) -> LostRoute {
    LostRoute {
        destination: row.destination,
        nickname: None,
        state: row.state.unwrap_or_else(|| "retracted".to_owned()),
        age_ms: row.age_ms,
        seqno: row.seqno,
        feasibility: row.feasibility,
        alternatives: row.alternatives,
    }
}

fn name_all(table: &mut RouteTable, directory: &Directory) {
    let name = |peer: &PeerId| directory.name_of(peer).map(str::to_owned);
    for route in &mut table.routes {
        route.nickname = name(&route.destination);
        route.next_hop_name = name(&route.next_hop);
    }
    for lost in &mut table.lost {
        lost.nickname = name(&lost.destination);
    }
    for link in &mut table.links {
        link.nickname = name(&link.peer);
    }
    let of_routes = table.routes.iter_mut().flat_map(|route| &mut route.alternatives);
    let of_lost = table.lost.iter_mut().flat_map(|lost| &mut lost.alternatives);
    for alternative in of_routes.chain(of_lost) {
        alternative.nickname = name(&alternative.next_hop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> String {
        PeerId([byte; 32]).to_string()
    }

    #[test]
    fn a_plugin_that_knows_little_is_understood() {
        let rows =
            format!(r#"[{{"destination":"{}","next_hop":"{}","metric":2,"hops":1,"age_ms":5}}]"#, key(1), key(2));
        for dump in [rows.clone(), format!(r#"{{"routes":{rows}}}"#), format!(r#"{{"routes":{rows},"links":3}}"#)] {
            let table = read("routing-flood".to_owned(), &dump).unwrap();
            let route = &table.routes[0];
            assert_eq!((route.metric, route.hops, route.age_ms), (2, Some(1), 5));
            assert_eq!((route.seqno, route.alternatives.len(), table.lost.len()), (None, 0, 0));
        }
        assert!(read("none".to_owned(), "").unwrap().routes.is_empty());
    }

    #[test]
    fn all_that_a_plugin_may_tell_is_taken_over() {
        let dump = format!(
            r#"{{"routes":[
                {{"destination":"{a}","next_hop":"{b}","link":4,"metric":200,"hops":2,"age_ms":5,"seqno":6,"new_field":1,
                  "feasibility":{{"seqno":5,"metric":96}},"state":"selected",
                  "alternatives":[{{"next_hop":"{c}","metric":300,"seqno":5,"feasible":true,"age_ms":7}}]}},
                {{"destination":"{c}","age_ms":9,"seqno":2,"state":"starved",
                  "alternatives":[{{"next_hop":"{b}","metric":1,"seqno":1,"feasible":false,"age_ms":7}}]}},
                {{"destination":"{b}","next_hop":"{c}","metric":3,"age_ms":9,"state":"retracted"}}],
              "links":[{{"link":4,"peer":"{b}","cost":96,"rtt_us":1500,"loss_ppm":0}}],
              "state_bytes":4096,"counters":{{"updates":3,"name":"x"}}}}"#,
            a = key(1),
            b = key(2),
            c = key(3)
        );
        let table = read("routing-babel".to_owned(), &dump).unwrap();
        assert_eq!(table.routes.len(), 1);
        assert_eq!(table.routes[0].feasibility, Some(Feasibility { seqno: 5, metric: 96 }));
        assert!(table.routes[0].alternatives[0].feasible);
        let lost: Vec<&str> = table.lost.iter().map(|lost| lost.state.as_str()).collect();
        assert_eq!(lost, ["starved", "retracted"]);
        assert_eq!((table.links[0].cost, table.state_bytes), (Some(96), Some(4_096)));
        assert_eq!(table.counters.get("updates"), Some(&3));
    }

    #[test]
    fn a_table_that_cannot_be_read_says_whose_fault_it_is() {
        let error = read("odd".to_owned(), r#"{"routes":[{"destination":"x"}]}"#).unwrap_err();
        assert_eq!(error.code, "plugin");
        assert!(error.message.contains("odd"), "{error}");
    }
}
