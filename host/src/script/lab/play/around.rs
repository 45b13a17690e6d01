//! What stands around a node: sources, the machine's routing, plugins; and what bots did to the node.

use mlua::{Lua, Table, Value};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::super::super::api::{Args, Fault, done};
use super::super::super::plain::Plain;
use super::{Installer, Play};
use crate::api::{ApiError, MachineGateway, MachineNeighbour, MachineReport, PluginStatus, SourceText, Trust};

/// Bytes of a table that a test sets.
const TABLE_BYTES: usize = 256 << 10;

pub(super) fn install(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.sync("node:source", |lua, play, args| {
        let name = args.name(0).map_err(Fault::Misuse)?;
        let changed_ms = Some(play.stage.world().now_ms());
        let source = match args.string(1) {
            Some(text) => Ok(SourceText { text: text.as_bytes().to_vec(), changed_ms }),
            None => {
                let code = args.string(2).map_or_else(|| "source-failed".to_owned(), |code| code.to_string_lossy());
                Err(ApiError::new(&code, "the test says so"))
            }
        };
        with(play, args, |node| node.scene.sources.insert(name, source))?;
        done(lua, ())
    })?;
    installer.sync("node:machine", |lua, play, args| {
        let report = match args.table(0) {
            Some(table) => machine(&table)?,
            None => MachineReport::default(),
        };
        with(play, args, |node| node.scene.machine = report)?;
        done(lua, ())
    })?;
    installer.sync("node:plugins", |lua, play, args| {
        let rows: Vec<Json> = rows(&args.value(0))?;
        let plugins = rows.iter().map(plugin).collect();
        with(play, args, |node| node.scene.plugins = plugins)?;
        done(lua, ())
    })?;
    installer.waiting("node:swaps", |lua, play, args| async move {
        let node = play.receiver(&args)?;
        play.stage.begin().await;
        let swaps = play.stage.world().nodes.get(node).map(|node| node.scene.swaps.clone()).unwrap_or_default();
        let list = lua.create_table()?;
        for (name, file) in swaps {
            let row = lua.create_table()?;
            row.raw_set("name", name)?;
            row.raw_set("file", file)?;
            list.raw_push(row)?;
        }
        done(&lua, list)
    })?;
    installer.waiting("node:trusts", |lua, play, args| async move {
        let node = play.receiver(&args)?;
        play.stage.begin().await;
        let table = lua.create_table()?;
        if let Some(node) = play.stage.world().nodes.get(node) {
            for (peer, entry) in node.directory.entries() {
                let word = match entry.trust {
                    Trust::Known => "known",
                    Trust::Trusted => "trusted",
                    Trust::Blocked => "blocked",
                };
                table.raw_set(peer.to_string(), word)?;
            }
        }
        done(&lua, table)
    })?;
    installer.waiting("node:bounds", |lua, play, args| async move {
        let node = play.receiver(&args)?;
        play.stage.begin().await;
        let limits = play.stage.world().nodes.get(node).map(|node| node.scene.limits.clone()).unwrap_or_default();
        let table = lua.create_table()?;
        for (peer, limit) in limits {
            table.raw_set(peer.to_string(), bound(&lua, limit.messages_per_minute, limit.bytes_per_minute)?)?;
        }
        done(&lua, table)
    })
}

fn bound(lua: &Lua, messages: u64, bytes: u64) -> mlua::Result<Table> {
    let finite = |n: u64| (n != u64::MAX).then_some(n as f64);
    let row = lua.create_table()?;
    row.raw_set("messages", finite(messages))?;
    row.raw_set("bytes", finite(bytes))?;
    Ok(row)
}

fn with<T>(play: &Play, args: &Args, f: impl FnOnce(&mut super::super::node::Node) -> T) -> Result<(), Fault> {
    let node = play.receiver(args)?;
    if let Some(node) = play.stage.world().nodes.get_mut(node) {
        f(node);
    }
    Ok(())
}

fn rows<T: DeserializeOwned>(value: &Value) -> Result<Vec<T>, Fault> {
    let json = Plain::from_lua(value, TABLE_BYTES).and_then(|plain| plain.to_json()).map_err(Fault::Misuse)?;
    match json {
        // An empty Lua table is written as an object.
        Json::Object(map) if map.is_empty() => Ok(Vec::new()),
        json => serde_json::from_value(json).map_err(|error| Fault::Misuse(format!("argument 1: {error}"))),
    }
}

fn word(row: &Json, name: &str) -> String {
    row.get(name).and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn number(row: &Json, name: &str) -> Option<f64> {
    row.get(name).and_then(Json::as_f64)
}

fn plugin(row: &Json) -> PluginStatus {
    let state = match word(row, "state") {
        state if state.is_empty() => "active".to_owned(),
        state => state,
    };
    PluginStatus {
        name: word(row, "name"),
        kind: word(row, "kind"),
        version: word(row, "version"),
        file: word(row, "file"),
        sha256: String::new(),
        state,
        failures: number(row, "failures").unwrap_or(0.0) as u32,
        last_error: row.get("error").and_then(Json::as_str).map(str::to_owned),
        restart_in_ms: None,
        generation: 1,
        stats: Json::Null,
        swaps: Vec::new(),
    }
}

fn machine(table: &Table) -> Result<MachineReport, Fault> {
    let neighbour = |row: &Json| MachineNeighbour {
        protocol: word(row, "protocol"),
        address: word(row, "address"),
        interface: word(row, "interface"),
        quality: number(row, "quality"),
        cost: number(row, "cost").map(|n| n as u64),
        kbit: number(row, "kbit").map(|n| n as u64),
        seen_ms: number(row, "seen").map(|secs| (secs * 1e3) as u64),
    };
    let gateway = |row: &Json| MachineGateway {
        protocol: word(row, "protocol"),
        address: word(row, "address"),
        via: word(row, "via"),
    };
    let list = |name: &str| -> Result<Vec<Json>, Fault> {
        match table.raw_get::<Value>(name)? {
            Value::Nil => Ok(Vec::new()),
            value => rows(&value),
        }
    };
    let texts = |name: &str| -> Result<Vec<String>, Fault> {
        Ok(list(name)?.iter().filter_map(|row| row.as_str().map(str::to_owned)).collect())
    };
    Ok(MachineReport {
        sources: texts("sources")?,
        neighbours: list("neighbours")?.iter().map(neighbour).collect(),
        gateways: list("gateways")?.iter().map(gateway).collect(),
        routes: table.raw_get::<Option<u64>>("routes")?.unwrap_or(0),
        problems: texts("problems")?,
    })
}
