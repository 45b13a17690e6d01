//! `mesh.relay`, `mesh.source`, `mesh.machine`: for bots that look after a node, each behind a permission of its own.

use std::rc::Rc;

use mlua::{Lua, Table};

use crate::api::{ApiError, LinkLimit, MachineGateway, MachineNeighbour, PluginStatus, StoreStats, Trust};

use super::super::context::Ctx;
use super::network::{list, peer};
use super::{Args, Fault, Installer, Outcome, done};

pub(super) fn install(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.waiting("mesh.relay.allow", |lua, ctx, args| judge(lua, ctx, args, Trust::Trusted))?;
    installer.waiting("mesh.relay.block", |lua, ctx, args| judge(lua, ctx, args, Trust::Blocked))?;
    installer.waiting("mesh.relay.unblock", |lua, ctx, args| judge(lua, ctx, args, Trust::Known))?;
    installer.waiting("mesh.relay.limit", limit)?;
    installer.waiting("mesh.relay.plugins", |lua, ctx, _| async move {
        ctx.require("relay", Some("plugins"))?;
        let plugins = ctx.node.plugins().await?;
        done(&lua, list(&lua, &plugins, plugin)?)
    })?;
    installer.waiting("mesh.relay.swap", |lua, ctx, args| async move {
        ctx.require("relay", Some("plugins"))?;
        let name = args.name(0).map_err(Fault::Misuse)?;
        let file = args.string(1).map(|_| args.name(1)).transpose().map_err(Fault::Misuse)?;
        let swapped = ctx.node.plugin_swap(name, file).await?;
        done(&lua, plugin(&lua, &swapped)?)
    })?;
    installer.waiting("mesh.relay.store", |lua, ctx, _| async move {
        ctx.require("relay", Some("store"))?;
        let stats = ctx.node.store_stats().await?;
        done(&lua, store(&lua, &stats)?)
    })?;
    installer.waiting("mesh.source", |lua, ctx, args| async move {
        let name = args.name(0).map_err(Fault::Misuse)?;
        ctx.require("source", Some(&name))?;
        let source = ctx.node.source(ctx.shared.name.clone(), name).await?;
        let text = lua.create_string(&source.text)?;
        done(&lua, (text, source.changed_ms.map(|ms| ms as f64 / 1e3)))
    })?;
    installer.waiting("mesh.machine", |lua, ctx, _| async move {
        let report = ctx.node.machine().await?;
        let table = lua.create_table()?;
        table.raw_set("sources", report.sources)?;
        table.raw_set("neighbours", list(&lua, &report.neighbours, machine_neighbour)?)?;
        table.raw_set("gateways", list(&lua, &report.gateways, machine_gateway)?)?;
        table.raw_set("routes", report.routes)?;
        table.raw_set("problems", report.problems)?;
        done(&lua, table)
    })
}

/// Who names the peer may be a person, so a bad name is no mistake of the bot's.
fn nobody(error: String) -> Fault {
    Fault::World(ApiError::new("unknown-peer", error))
}

async fn judge(lua: Lua, ctx: Rc<Ctx>, args: Args, trust: Trust) -> Outcome {
    ctx.require("relay", Some("trust"))?;
    let who = args.name(0).map_err(nobody)?;
    let info = ctx.node.set_trust(who, trust).await?;
    done(&lua, peer(&lua, &info)?)
}

async fn limit(lua: Lua, ctx: Rc<Ctx>, args: Args) -> Outcome {
    ctx.require("relay", Some("limit"))?;
    let who = args.name(0).map_err(nobody)?;
    let number = |name: &str| match args.option_number(name) {
        Some(n) if n < 1.0 => {
            Err(Fault::Misuse(format!("options.{name} must be at least 1; mesh.relay.block shuts a peer out")))
        }
        n => Ok(n.map(|n| n as u64)),
    };
    let limit = match (number("messages")?, number("bytes")?) {
        (None, None) => None,
        (messages, bytes) => Some(LinkLimit {
            messages_per_minute: messages.unwrap_or(u64::MAX),
            bytes_per_minute: bytes.unwrap_or(u64::MAX),
        }),
    };
    ctx.node.limit_link(who, limit).await?;
    done(&lua, true)
}

fn plugin(lua: &Lua, plugin: &PluginStatus) -> mlua::Result<Table> {
    let row = lua.create_table()?;
    row.raw_set("name", plugin.name.as_str())?;
    row.raw_set("kind", plugin.kind.as_str())?;
    row.raw_set("version", plugin.version.as_str())?;
    row.raw_set("state", plugin.state.as_str())?;
    row.raw_set("file", plugin.file.as_str())?;
    row.raw_set("failures", plugin.failures)?;
    row.raw_set("error", plugin.last_error.as_deref())?;
    Ok(row)
}

fn store(lua: &Lua, stats: &StoreStats) -> mlua::Result<Table> {
    let row = lua.create_table()?;
    row.raw_set("waiting", stats.waiting)?;
    row.raw_set("waiting_bytes", stats.waiting_bytes)?;
    row.raw_set("recipients", stats.recipients)?;
    row.raw_set("broadcasts", stats.broadcasts)?;
    row.raw_set("inbox", stats.inbox)?;
    row.raw_set("total", stats.total)?;
    row.raw_set("total_bytes", stats.total_bytes)?;
    row.raw_set("disk_bytes", stats.disk_bytes)?;
    row.raw_set("oldest", stats.oldest_ms.map(|ms| ms as f64 / 1e3))?;
    row.raw_set("read_only", stats.read_only.as_deref())?;
    row.raw_set("lost", stats.lost.as_deref())?;
    let counters = lua.create_table()?;
    for (name, count) in &stats.counters {
        counters.raw_set(name.as_str(), *count)?;
    }
    row.raw_set("counters", counters)?;
    Ok(row)
}

fn machine_neighbour(lua: &Lua, neighbour: &MachineNeighbour) -> mlua::Result<Table> {
    let row = lua.create_table()?;
    row.raw_set("protocol", neighbour.protocol.as_str())?;
    row.raw_set("address", neighbour.address.as_str())?;
    row.raw_set("interface", neighbour.interface.as_str())?;
    row.raw_set("quality", neighbour.quality)?;
    row.raw_set("cost", neighbour.cost)?;
    row.raw_set("kbit", neighbour.kbit)?;
    row.raw_set("seen", neighbour.seen_ms.map(|ms| ms as f64 / 1e3))?;
    Ok(row)
}

fn machine_gateway(lua: &Lua, gateway: &MachineGateway) -> mlua::Result<Table> {
    let row = lua.create_table()?;
    row.raw_set("protocol", gateway.protocol.as_str())?;
    row.raw_set("address", gateway.address.as_str())?;
    row.raw_set("via", gateway.via.as_str())?;
    Ok(row)
}
