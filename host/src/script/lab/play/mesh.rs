//! The form of the mesh: nodes, people, links, partitions, loss.

use std::rc::Rc;
use std::time::Duration;

use mlua::{Lua, Value};

use super::super::super::api::{Args, Fault, Outcome, done};
use super::{Installer, Play, check_name};

/// The largest share of frames that may be lost: beyond it a link would be given up.
const MAX_LOSS: f64 = 0.9;

pub(super) fn install(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.sync("t:node", node)?;
    installer.sync("node:person", |lua, play, args| {
        let home = play.receiver(args)?;
        let name = args.name(0).map_err(Fault::Misuse)?;
        let number = play.person(&name, home)?;
        let is_person = play.stage.world().nodes.get(number).is_some_and(|node| node.home.is_some());
        if !is_person {
            return Err(Fault::Misuse(format!("'{name}' is a node; use t:node(\"{name}\")")));
        }
        let handle = play.handle(lua, &name, &play.person_meta)?;
        handle.raw_set("key", super::super::world::World::key(&name).to_string())?;
        done(lua, handle)
    })?;
    installer.waiting("t:link", |lua, play, args| async move {
        let latency = args.option_duration("latency").map_err(Fault::Misuse)?;
        let latency_us = latency.map(|secs| Duration::from_secs_f64(secs).as_micros() as u64);
        let (one, other) = play.pair(&args)?;
        play.stage.world().link(one, other, latency_us);
        play.stage.settle().await;
        done(&lua, ())
    })?;
    installer.waiting("t:unlink", |lua, play, args| async move {
        let (one, other) = play.pair(&args)?;
        play.stage.world().unlink(one, other);
        play.stage.settle().await;
        done(&lua, ())
    })?;
    installer.waiting("t:partition", |lua, play, args| async move {
        play.stage.begin().await;
        let parts = args.all().iter().enumerate().map(|(i, value)| play.part(i, value)).collect::<Result<_, _>>()?;
        play.stage.world().part(parts);
        play.stage.settle().await;
        done(&lua, ())
    })?;
    installer.waiting("t:heal", |lua, play, _| async move {
        play.stage.begin().await;
        play.stage.world().part(Vec::new());
        play.stage.settle().await;
        done(&lua, ())
    })?;
    installer.sync("t:loss", |lua, play, args| {
        let share = args.number(0).unwrap_or(0.0);
        if !(0.0..=MAX_LOSS).contains(&share) {
            return Err(Fault::Misuse(format!("argument 1 must be from 0 to {MAX_LOSS}")));
        }
        play.stage.world().loss = share;
        done(lua, ())
    })
}

fn node(lua: &Lua, play: &Rc<Play>, args: &Args) -> Outcome {
    let name = args.name(0).map_err(Fault::Misuse)?;
    let found = play.stage.world().find(&name);
    let links = args.option_names("links").map_err(Fault::Misuse)?;
    let number = match found {
        Some(number) => number,
        None => {
            check_name(&name)?;
            let number = play.stage.world().add(&name, None).map_err(Fault::Misuse)?;
            play.put_bots_on(number, &args.option("bots"))?;
            if links.is_none() {
                let mut world = play.stage.world();
                let others: Vec<usize> = (0..number)
                    .filter(|other| world.nodes.get(*other).is_some_and(|node| node.home.is_none()))
                    .collect();
                others.into_iter().for_each(|other| world.link(number, other, None));
            }
            number
        }
    };
    for other in links.into_iter().flatten() {
        let other = play.known(&other)?;
        play.stage.world().link(number, other, None);
    }
    done(lua, play.handle(lua, &name, &play.node_meta)?)
}

impl Play {
    fn put_bots_on(&self, node: usize, wanted: &Value) -> Result<(), Fault> {
        let names: Vec<String> = match wanted {
            Value::Nil | Value::Boolean(true) => self.bot.iter().map(|(name, _)| name.clone()).collect(),
            Value::Boolean(false) => Vec::new(),
            Value::Table(list) => list
                .sequence_values::<String>()
                .collect::<Result<_, _>>()
                .map_err(|_| Fault::Misuse("options.bots must be true, false or a list of names".to_owned()))?,
            _ => return Err(Fault::Misuse("options.bots must be true, false or a list of names".to_owned())),
        };
        let first = self.bots(0);
        for name in names {
            let bot = self.stage.put_on(node, &name, self.other_bot(&name)?);
            // What the admin says of the bot under test holds for it on all nodes, until the test says otherwise.
            if let Some(same) = first.iter().find(|first| first.shared().name == name) {
                bot.config.borrow_mut().clone_from(&same.config.borrow());
            }
        }
        Ok(())
    }

    fn pair(&self, args: &Args) -> Result<(usize, usize), Fault> {
        let name = |i| args.name(i).map_err(Fault::Misuse);
        Ok((self.known(&name(0)?)?, self.known(&name(1)?)?))
    }

    /// One part of a broken mesh: a name or a list of names.
    fn part(&self, i: usize, value: &Value) -> Result<Vec<usize>, Fault> {
        let wrong = || Fault::Misuse(format!("argument {} must be a list of names of nodes", i + 1));
        match value {
            Value::String(name) => Ok(vec![self.known(&name.to_string_lossy())?]),
            Value::Table(list) => {
                let names: Vec<String> = list.sequence_values().collect::<Result<_, _>>().map_err(|_| wrong())?;
                names.iter().map(|name| self.known(name)).collect()
            }
            _ => Err(wrong()),
        }
    }
}
