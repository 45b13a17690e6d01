//! What a test can look at: messages, stores, logs, states, the clock.

use mlua::{Lua, Table, Value};

use super::super::super::api::{Fault, PRIORITIES, done};
use super::super::super::lock;
use super::super::super::plain::Plain;
use super::super::world::{Posted, START, World};
use super::{Installer, Play};
use crate::api::InboxItem;

pub(super) fn install(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.waiting("node:sent", |lua, play, args| async move {
        let node = play.receiver(&args)?;
        play.stage.begin().await;
        let all: Vec<Posted> = play.stage.world().posted.iter().filter(|posted| posted.node == node).cloned().collect();
        let list = lua.create_table()?;
        for posted in &all {
            list.raw_push(play.sent_table(&lua, posted)?)?;
        }
        done(&lua, list)
    })?;
    installer.waiting("person:received", |lua, play, args| async move {
        let node = play.receiver(&args)?;
        play.stage.begin().await;
        let list = lua.create_table()?;
        for item in play.inbox(node) {
            list.raw_push(play.received_table(&lua, &item)?)?;
        }
        done(&lua, list)
    })?;
    installer.sync("node:store", |lua, play, args| {
        let bot = play.bot(play.receiver(args)?, None)?;
        let (shared, key) = (bot.shared(), args.string(0));
        let now_ms = shared.clock.unix_ms();
        let store = lock(&shared.store);
        let read = |value: &[u8]| Plain::decode(value).unwrap_or(Plain::Nil).to_lua(lua);
        if let Some(key) = key {
            let found = store.get(&key.as_bytes(), now_ms);
            return done(lua, found.map_or(Ok(Value::Nil), |entry| read(&entry.value))?);
        }
        let (all, mut at) = (lua.create_table()?, None::<Vec<u8>>);
        while let Some((key, entry)) = store.step(&[], at.as_deref(), false, now_ms) {
            all.raw_set(lua.create_string(key)?, read(&entry.value)?)?;
            at = Some(key.to_vec());
        }
        done(lua, all)
    })?;
    installer.sync("node:log", |lua, play, args| {
        let bot = play.bot(play.receiver(args)?, None)?;
        let lines: Vec<String> = bot.shared().book.after(0).into_iter().map(|line| line.text).collect();
        done(lua, lines)
    })?;
    installer.waiting("node:bot_state", |lua, play, args| async move {
        let node = play.receiver(&args)?;
        play.stage.begin().await;
        let name = args.string(0).map(|name| name.to_string_lossy());
        let status = play.bot(node, name.as_deref())?.shared().status();
        done(&lua, (status.state, status.problem))
    })?;
    installer.sync("node:self", |lua, play, args| {
        let node = play.receiver(args)?;
        let key = play.stage.world().nodes.get(node).map(|node| node.peer().to_string());
        done(lua, key)
    })?;
    installer.sync("t:key", |lua, _, args| done(lua, World::key(&args.name(0).map_err(Fault::Misuse)?).to_string()))?;
    installer.sync("t:now", |lua, play, _| done(lua, (START + play.stage.passed()).as_secs_f64()))
}

impl Play {
    /// What has arrived at somebody's node.
    pub(super) fn inbox(&self, node: usize) -> Vec<InboxItem> {
        self.stage.world().nodes.get(node).map(super::super::node::Node::inbox).unwrap_or_default()
    }

    pub(super) fn sent_table(&self, lua: &Lua, posted: &Posted) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        table.raw_set("text", lua.create_string(&posted.payload)?)?;
        table.raw_set("to", posted.to.map(|to| to.to_string()))?;
        table.raw_set("to_name", posted.to.map(|to| self.shown(&to)))?;
        table.raw_set("topic", posted.topic.clone())?;
        table.raw_set("bot", posted.bot.clone())?;
        table.raw_set("id", posted.id.to_string())?;
        table.raw_set("time", (START + posted.at).as_secs_f64())?;
        table.raw_set("expires", posted.expires_ms as f64 / 1_000.0)?;
        table.raw_set("priority", PRIORITIES.get(usize::from(posted.priority)).copied())?;
        table.raw_set("reply_to", posted.reply_to.map(|id| id.to_string()))?;
        table.raw_set("reaction", posted.reaction)?;
        Ok(table)
    }

    pub(super) fn received_table(&self, lua: &Lua, item: &InboxItem) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        table.raw_set("text", lua.create_string(&item.payload)?)?;
        table.raw_set("from", item.from.to_string())?;
        table.raw_set("from_name", self.shown(&item.from))?;
        table.raw_set("topic", item.topic.clone())?;
        table.raw_set("id", item.id.to_string())?;
        table.raw_set("time", item.received_ms as f64 / 1_000.0)?;
        table.raw_set("created", item.created_ms as f64 / 1_000.0)?;
        table.raw_set("expires", item.expires_ms as f64 / 1_000.0)?;
        table.raw_set("automatic", item.automatic)?;
        table.raw_set("sealed", item.sealed)?;
        table.raw_set("hops", item.hops)?;
        table.raw_set("reply_to", item.reply_to.map(|id| id.to_string()))?;
        table.raw_set("reaction", item.reaction)?;
        table.raw_set("priority", PRIORITIES.get(usize::from(item.priority)).copied())?;
        Ok(table)
    }
}
