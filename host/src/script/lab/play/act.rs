//! What happens to nodes and bots: messages, events, starts and stops.

use std::rc::Rc;
use std::time::Duration;

use mlua::{Lua, Value};

use super::super::super::api::{Args, Fault, MAX_MESSAGE_BYTES, Outcome, done};
use super::super::super::limits::LimitsPatch;
use super::super::super::plain::Plain;
use super::super::super::shared::{LiveEvent, LiveKind};
use super::super::stage::Until;
use super::super::world::World;
use super::{Installer, Play};
use crate::api::{BroadcastRequest, SendRequest};

/// Bytes of a configuration, as in `mesh.config`.
const CONFIG_BYTES: usize = 64 << 10;

/// Who writes when a test doesn't say.
const SOMEBODY: &str = "anna";

pub(super) fn install(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.waiting("node:receive", |lua, play, args| async move {
        let node = play.receiver(&args)?;
        play.stage.begin().await;
        let sender = match text(&args, "from")?.as_deref() {
            Some("self") => node,
            from => play.person(from.unwrap_or(SOMEBODY), node)?,
        };
        let to = match text(&args, "to")? {
            Some(to) => play.known(&to)?,
            None => node,
        };
        write(&lua, &play, &args, sender, to).await
    })?;
    installer.waiting("person:send", |lua, play, args| async move {
        let sender = play.receiver(&args)?;
        play.stage.begin().await;
        let to = match text(&args, "to")? {
            Some(to) => play.known(&to)?,
            None => play.stage.world().nodes.get(sender).and_then(|node| node.home).unwrap_or(sender),
        };
        write(&lua, &play, &args, sender, to).await
    })?;
    installer.waiting("person:join", |lua, play, args| async move {
        let node = play.receiver(&args)?;
        play.stage.begin().await;
        let topic = args.name(0).map_err(Fault::Misuse)?;
        play.stage.world().join(node, &topic, false)?;
        play.stage.settle().await;
        done(&lua, ())
    })?;
    installer.waiting("node:run", |lua, play, _| async move {
        play.stage.begin().await;
        done(&lua, ())
    })?;
    installer.waiting("node:reload", |lua, play, args| async move {
        let node = play.receiver(&args)?;
        play.stage.begin().await;
        for bot in play.bots(node) {
            play.stage.reload(&bot).await;
        }
        done(&lua, ())
    })?;
    installer.waiting("node:stop", |lua, play, args| async move {
        let node = play.receiver(&args)?;
        play.stage.begin().await;
        play.bots(node).iter().for_each(|bot| bot.stop());
        play.stage.settle().await;
        play.collect_errors();
        play.stage.world().stop(node, false);
        play.stage.settle().await;
        done(&lua, ())
    })?;
    installer.waiting("node:crash", |lua, play, args| async move {
        let node = play.receiver(&args)?;
        play.stage.begin().await;
        play.collect_errors();
        play.bots(node).iter().for_each(|bot| bot.kill());
        play.stage.world().stop(node, true);
        play.stage.settle().await;
        done(&lua, ())
    })?;
    installer.waiting("node:start", |lua, play, args| async move {
        let node = play.receiver(&args)?;
        play.stage.world().start(node);
        play.stage.begin().await;
        play.stage.settle().await;
        done(&lua, ())
    })?;
    installer.waiting("node:emit", emit)?;
    installer.waiting("t:advance", |lua, play, args| async move {
        play.stage.begin().await;
        let time = Duration::from_secs_f64(args.duration(0).map_err(Fault::Misuse)?);
        play.stage.wait(Until::Time, play.stage.passed() + time).await;
        done(&lua, ())
    })?;
    settings(installer)
}

fn settings(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.sync("node:config", |lua, play, args| {
        let values = object(args)?;
        play.configure(play.receiver(args)?, |config| config.config.clone_from(&values));
        done(lua, ())
    })?;
    installer.sync("node:limits", |lua, play, args| {
        let limits: LimitsPatch = serde_json::from_value(serde_json::Value::Object(object(args)?))
            .map_err(|error| Fault::Misuse(error.to_string()))?;
        play.configure(play.receiver(args)?, |config| config.limits.clone_from(&limits));
        done(lua, ())
    })?;
    installer.sync("node:grant", |lua, play, args| {
        let list = args.table(0).map(|table| table.sequence_values::<String>().collect::<Result<Vec<_>, _>>());
        let granted = list.transpose().map_err(|_| Fault::Misuse("argument 1 must be a list of names".to_owned()))?;
        play.configure(play.receiver(args)?, |config| config.granted.clone_from(&granted));
        done(lua, ())
    })
}

fn object(args: &Args) -> Result<serde_json::Map<String, serde_json::Value>, Fault> {
    let plain = Plain::from_lua(&args.value(0), CONFIG_BYTES).and_then(|plain| plain.to_json());
    match plain.map_err(|error| Fault::Misuse(format!("argument 1 {error}")))? {
        serde_json::Value::Object(map) => Ok(map),
        _ => Err(Fault::Misuse("argument 1 has names as keys".to_owned())),
    }
}

pub(super) fn text(args: &Args, name: &str) -> Result<Option<String>, Fault> {
    args.option_text(name, MAX_MESSAGE_BYTES).map_err(Fault::Misuse)
}

/// A person writes, and the mesh carries it as far as it can now.
async fn write(lua: &Lua, play: &Play, args: &Args, sender: usize, to: usize) -> Outcome {
    play.stage.settle().await; // a person who is new here is known first
    let payload = args.option("text").as_string().map_or_else(Vec::new, |text| text.as_bytes().to_vec());
    let (automatic, reaction) = (args.option_bool("automatic"), args.option_bool("reaction"));
    let reply_to = text(args, "reply_to")?.map(|id| id.parse()).transpose();
    let reply_to = reply_to.map_err(|error| Fault::Misuse(format!("options.reply_to: {error}")))?;
    let priority = args.option_number("priority").map(|number| number.clamp(0.0, 255.0) as u8);
    let answer = {
        let mut world = play.stage.world();
        match text(args, "topic")? {
            Some(topic) => {
                world.join(sender, &topic, false)?;
                let said = BroadcastRequest { topic, payload, automatic, priority, ..BroadcastRequest::default() };
                let request = BroadcastRequest { reply_to, reaction, ..said };
                world.broadcast(sender, request, None)?
            }
            None => {
                let to = world.nodes.get(to).map(|node| node.peer().to_string()).unwrap_or_default();
                let receipt = args.option_bool("receipt");
                let said = SendRequest { to, payload, automatic, priority, receipt, ..SendRequest::default() };
                let request = SendRequest { reply_to, reaction, ..said };
                world.send(sender, request, None)?
            }
        }
    };
    play.stage.settle().await;
    match answer.await {
        Ok(receipt) => done(lua, receipt?.id.to_string()),
        Err(_) => Err(Fault::Misuse("the sender's node went down meanwhile".to_owned())),
    }
}

async fn emit(lua: Lua, play: Rc<Play>, args: Args) -> Outcome {
    let node = play.receiver(&args)?;
    play.stage.begin().await;
    let name = args.name(0).map_err(Fault::Misuse)?;
    const KINDS: [LiveKind; 7] = [
        LiveKind::PeerUp,
        LiveKind::PeerDown,
        LiveKind::LinkChange,
        LiveKind::RouteChange,
        LiveKind::Delivered,
        LiveKind::Failed,
        LiveKind::Evicted,
    ];
    let Some(kind) = KINDS.into_iter().find(|kind| kind.name() == name) else {
        let all = KINDS.map(LiveKind::name).join(", ");
        return Err(Fault::Misuse(format!("there is no event '{name}' to make (events: {all})")));
    };
    let peer = text(&args, "peer")?;
    let id = text(&args, "id")?.map(|id| id.parse()).transpose();
    let event = LiveEvent {
        kind,
        peer: peer.as_deref().map(World::key),
        name: text(&args, "name")?.or(peer.filter(|peer| peer.parse::<qpq_schemas::PeerId>().is_err())),
        id: id.map_err(|error| Fault::Misuse(format!("options.id: {error}")))?,
        detail: text(&args, "detail")?,
    };
    play.bots(node).iter().for_each(|bot| bot.shared().push_live(event.clone()));
    play.stage.settle().await;
    done(&lua, Value::Nil)
}
