//! What a bot sees of the mesh: `mesh.self`, peers, routes, channels.

use mlua::{Lua, Table, Value};

use crate::api::{ChannelInfo, PeerInfo, RouteInfo, Trust};

use super::{Installer, done};

pub(super) fn install(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.waiting("mesh.peers", |lua, ctx, _| async move {
        let peers = ctx.node.peers().await?;
        done(&lua, list(&lua, &peers, peer)?)
    })?;
    installer.waiting("mesh.routes", |lua, ctx, _| async move {
        let table = ctx.node.routes().await?;
        done(&lua, list(&lua, &table.routes, route)?)
    })?;
    installer.waiting("mesh.channels", |lua, ctx, _| async move {
        let channels = ctx.node.channels().await?;
        done(&lua, list(&lua, &channels, channel)?)
    })?;
    let me = installer.group("self")?;
    me.raw_set("id", installer.ctx.self_id.to_string())?;
    me.raw_set("name", installer.ctx.self_name.clone())?;
    me.raw_set("bot", installer.ctx.shared.name.clone())?;
    me.raw_set("version", installer.ctx.manifest.version.clone())
}

pub(super) fn list<T>(lua: &Lua, items: &[T], row: fn(&Lua, &T) -> mlua::Result<Table>) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(items.len(), 0)?;
    for item in items {
        table.raw_push(row(lua, item)?)?;
    }
    Ok(Value::Table(table))
}

pub(super) fn peer(lua: &Lua, peer: &PeerInfo) -> mlua::Result<Table> {
    let row = lua.create_table()?;
    row.raw_set("id", peer.peer_id.map(|id| id.to_string()))?;
    row.raw_set("name", peer.nickname.clone())?;
    row.raw_set("state", peer.state.clone())?;
    let trust = match peer.trust {
        Trust::Known => "known",
        Trust::Trusted => "trusted",
        Trust::Blocked => "blocked",
    };
    row.raw_set("trust", trust)?;
    row.raw_set("links", peer.links.len())?;
    let rtt_us = peer.links.iter().filter_map(|link| link.rtt_us).min();
    row.raw_set("rtt", rtt_us.map(|us| us as f64 / 1e6))?;
    row.raw_set("last_seen", peer.last_seen_ms.map(|ms| ms as f64 / 1e3))?;
    Ok(row)
}

fn route(lua: &Lua, route: &RouteInfo) -> mlua::Result<Table> {
    let row = lua.create_table()?;
    row.raw_set("to", route.destination.to_string())?;
    row.raw_set("name", route.nickname.clone())?;
    row.raw_set("via", route.next_hop.to_string())?;
    row.raw_set("metric", route.metric)?;
    row.raw_set("hops", route.hops)?;
    row.raw_set("age", route.age_ms as f64 / 1e3)?;
    Ok(row)
}

/// Without the invite: that is a secret.
fn channel(lua: &Lua, channel: &ChannelInfo) -> mlua::Result<Table> {
    let row = lua.create_table()?;
    row.raw_set("name", channel.name.clone())?;
    row.raw_set("id", channel.topic_id.to_string())?;
    row.raw_set("private", channel.private)?;
    Ok(row)
}
