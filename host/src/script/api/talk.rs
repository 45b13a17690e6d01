//! Sending: `mesh.send`, `mesh.broadcast`, `msg:reply`.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mlua::{Lua, Table, Value};
use qpq_schemas::{MessageId, PeerId};

use crate::api::{ApiError, BroadcastRequest, InboxItem, Receipt, SendRequest};

use super::super::context::Ctx;
use super::super::dispatch::message_table;
use super::super::duration::shorten;
use super::super::limits::{KEY_BYTES, NAME_BYTES};
use super::super::{cut, lock};
use super::{Args, Fault, Installer, Outcome, done};

/// Largest message of a bot, in bytes: the largest payload less room for sealing.
pub(crate) const MAX_MESSAGE_BYTES: usize = 60_000;
/// How long a question waits, in seconds, where the script doesn't say; and at most.
const ASK_SECS: f64 = 3_600.0;
const ASK_MAX_SECS: f64 = 86_400.0;
/// The names of the priorities, from low to emergency.
pub(crate) const PRIORITIES: [&str; 4] = ["low", "normal", "high", "emergency"];

/// Whom a message goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Peer(String),
    Channel(String),
}

/// A message on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub target: Target,
    pub payload: Vec<u8>,
    pub ttl_secs: Option<u32>,
    pub priority: Option<u8>,
    pub receipt: bool,
    pub plain: bool,
    /// Links that a broadcast may cross.
    pub max_hops: Option<u8>,
    /// The message that this one answers.
    pub reply_to: Option<MessageId>,
    /// A reaction and no text.
    pub reaction: bool,
    /// An answer counts as a message, wherever it goes; other broadcasts have their own, smaller quota.
    pub reply: bool,
}

impl Outgoing {
    /// Whether it counts as a broadcast, not as a message or an answer.
    fn is_published(&self) -> bool {
        matches!(self.target, Target::Channel(_)) && !self.reply
    }

    /// Whether another one goes to the same place in the same way, whatever it says.
    pub(crate) fn goes_as(&self, other: &Self) -> bool {
        Self { payload: Vec::new(), ..self.clone() } == Self { payload: Vec::new(), ..other.clone() }
    }

    /// In how many seconds the quota has room for it; never is infinite.
    fn wait(&self, ctx: &Ctx) -> f64 {
        let (mut traffic, now) = (lock(&ctx.shared.traffic), ctx.shared.clock.now());
        let spared = self.reply && ctx.spare.get() > 0 && traffic.may_go_last(self.payload.len(), now);
        if spared { 0.0 } else { traffic.wait(self.is_published(), self.payload.len(), now) }
    }

    /// Charges for it.
    fn charge(&self, ctx: &Ctx) -> Result<(), ApiError> {
        let (mut traffic, now) = (lock(&ctx.shared.traffic), ctx.shared.clock.now());
        let (charged, spare) = (traffic.admit(self.is_published(), self.payload.len(), now), ctx.spare.get());
        if charged.is_err() && self.reply && spare > 0 && traffic.may_go_last(self.payload.len(), now) {
            ctx.spare.set(spare - 1);
            return Ok(());
        }
        charged
    }

    /// An answer in plain words, in the scope of the question: to its sender, or on its channel and no farther than it went.
    pub(crate) fn answer(item: &InboxItem, text: &str) -> Self {
        Self { reply_to: Some(item.id), ..Self::to(origin(item.from, item.topic.as_deref()), text).within(item) }
    }

    /// The same, to the sender alone.
    pub(crate) fn whisper(item: &InboxItem, text: &str) -> Self {
        Self { reply_to: Some(item.id), ..Self::to(origin(item.from, None), text) }
    }

    fn within(mut self, item: &InboxItem) -> Self {
        self.max_hops = item.topic.as_ref().map(|_| item.max_hops.max(1));
        self
    }

    /// A text in plain words.
    pub(crate) fn to(target: Target, text: &str) -> Self {
        let payload = cut(text, MAX_MESSAGE_BYTES).as_bytes().to_vec();
        Self {
            target,
            payload,
            ttl_secs: None,
            priority: None,
            receipt: false,
            plain: false,
            max_hops: None,
            reply_to: None,
            reaction: false,
            reply: true,
        }
    }
}

pub(super) fn install(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.waiting("mesh.send", send)?;
    installer.waiting("mesh.broadcast", broadcast)?;
    installer.waiting("msg:reply", reply)?;
    installer.waiting("msg:react", react)?;
    installer.waiting("msg:ask", ask)
}

async fn send(lua: Lua, ctx: Rc<Ctx>, args: Args) -> Outcome {
    // Who names the peer may be a person, so a bad name is no mistake of the bot's.
    let to = args.name(0).map_err(|error| Fault::World(ApiError::new("unknown-peer", error)))?;
    let mut out = outgoing(Target::Peer(to), &args, 1, false)?;
    out.receipt = args.option_bool("receipt");
    out.plain = args.option_bool("plain");
    say(&lua, &ctx, &args, out).await
}

async fn broadcast(lua: Lua, ctx: Rc<Ctx>, args: Args) -> Outcome {
    // Who names the channel may be a person, so a bad name is no mistake of the bot's.
    let topic = args.topic(0).map_err(|error| Fault::World(ApiError::new("bad-topic", error)))?;
    ctx.require("broadcast", Some(&topic))?;
    let mut out = outgoing(Target::Channel(topic), &args, 1, false)?;
    out.max_hops = args.option_number("hops").map(hops).transpose()?;
    say(&lua, &ctx, &args, out).await
}

/// Sends; or keeps for later what is optional, while there is no room for it.
async fn say(lua: &Lua, ctx: &Rc<Ctx>, args: &Args, out: Outgoing) -> Outcome {
    let merge = args.option_text("merge", KEY_BYTES).map_err(Fault::Misuse)?;
    if !args.option_bool("optional") {
        if merge.is_some() {
            return Err(Fault::Misuse("options.merge is for messages that may wait: set optional = true".to_owned()));
        }
        return give_receipt(lua, &deliver(ctx, out).await?);
    }
    let (now, wait) = (ctx.shared.clock.now(), out.wait(ctx));
    // What never has room is refused now.
    let waits = wait.is_finite() && (wait > 0.0 || !lock(&ctx.shared.chatter).is_empty());
    if waits || wait.is_finite() && ctx.node.is_busy().await? {
        lock(&ctx.shared.chatter).add(out, merge, ctx.limits.bytes_per_hour as usize, now);
        ctx.shared.wake.notify_one();
        let table = lua.create_table_with_capacity(0, 1)?;
        table.raw_set("queued", true)?;
        return done(lua, table);
    }
    give_receipt(lua, &deliver(ctx, out).await?)
}

/// Sends the first of what waits for room, if there is room now.
pub(crate) async fn deliver_when_free(ctx: &Ctx) -> Result<(), ApiError> {
    let busy = ctx.node.is_busy().await?;
    let now = ctx.shared.clock.now();
    let fits = |out: &Outgoing| out.wait(ctx) <= 0.0;
    let Some(out) = lock(&ctx.shared.chatter).take(busy, now, fits) else { return Ok(()) };
    deliver(ctx, out).await.map(|_| ())
}

/// Sends the answers that wait for room, as far as there is room for them. One that fails holds up no other.
pub(crate) async fn deliver_answers(ctx: &Ctx) {
    loop {
        let fits = |out: &Outgoing| out.reply && out.wait(ctx) <= 0.0;
        let next = lock(&ctx.shared.chatter).take(false, ctx.shared.clock.now(), fits);
        let Some(out) = next else { return };
        if let Err(error) = deliver(ctx, out).await {
            ctx.shared.keep_unsaid(&error);
        }
    }
}

async fn reply(lua: Lua, ctx: Rc<Ctx>, args: Args) -> Outcome {
    let out = Origin::of(&ctx, &args)?.answer(&args)?;
    give_receipt(&lua, &deliver(&ctx, out).await?)
}

async fn react(lua: Lua, ctx: Rc<Ctx>, args: Args) -> Outcome {
    let mut out = Origin::of(&ctx, &args)?.answer(&args)?;
    out.reaction = true;
    give_receipt(&lua, &deliver(&ctx, out).await?)
}

async fn ask(lua: Lua, ctx: Rc<Ctx>, args: Args) -> Outcome {
    let timeout = args.option_duration("timeout").map_err(Fault::Misuse)?.unwrap_or(ASK_SECS);
    if timeout > ASK_MAX_SECS {
        return Err(Fault::Misuse("options.timeout must be a day at most".to_owned()));
    }
    let most = ctx.limits.questions;
    if ctx.asked.borrow().len() >= most {
        let message = format!("{most} questions wait already, the limit; give them a shorter timeout");
        return Err(Fault::World(ApiError::new("too-many-questions", message)));
    }
    if ctx.retired.get() {
        return Err(Fault::World(ended()));
    }
    let origin = Origin::of(&ctx, &args)?;
    let topic = match &origin.target {
        Target::Channel(topic) => Some(topic.clone()),
        Target::Peer(_) => None,
    };
    let from = origin.from;
    // While it runs this far, the handler that asks is the one that runs.
    let running = ctx.running.borrow().clone();
    let receipt = deliver(&ctx, origin.answer(&args)?).await?;
    let answer = ctx.asked.borrow_mut().add(receipt.id, from, topic);
    let until = ctx.shared.clock.now() + Duration::from_secs_f64(timeout);
    if let Some(running) = &running {
        running.asks_until.set(Some(until));
        // The message that led to the question is dealt with; the answer is a new one.
        ctx.handled.borrow_mut().extend(running.seq.take());
        ctx.shared.wake.notify_one();
    }
    let answered = tokio::select! {
        answer = answer => answer.map_err(|_| ended()),
        () = ctx.shared.clock.sleep_until(until) => Err(ApiError::new("timeout", format!("no answer in {timeout} s"))),
    };
    if let Some(running) = &running {
        running.asks_until.set(None);
    }
    let item = answered?;
    done(&lua, message_table(&lua, &ctx, &item)?)
}

fn ended() -> ApiError {
    ApiError::new("ended", "the bot was loaded anew or stopped before an answer came")
}

/// Where a message came from, out of its script's reach.
struct Origin {
    target: Target,
    from: PeerId,
    id: MessageId,
    /// How far a broadcast may go.
    max_hops: Option<u8>,
}

impl Origin {
    fn of(ctx: &Ctx, args: &Args) -> Result<Self, Fault> {
        let message = args.receiver.clone().map_or(Value::Nil, Value::Table);
        let unknown = || Fault::Misuse("this is no message that the bot received".to_owned());
        let origin: Option<Table> = ctx.helpers()?.origins.raw_get(message)?;
        let origin = origin.ok_or_else(unknown)?;
        let (from, topic): (String, Option<String>) = (origin.raw_get("from")?, origin.raw_get("topic")?);
        let id: String = origin.raw_get("id")?;
        let hops: u8 = origin.raw_get("max_hops")?;
        let max_hops = topic.as_ref().map(|_| hops.max(1));
        let peer = from.parse().map_err(|_| unknown())?;
        let target = topic.map_or(Target::Peer(from), Target::Channel);
        Ok(Self { target, from: peer, id: id.parse().map_err(|_| unknown())?, max_hops })
    }

    /// What the script says there.
    fn answer(self, args: &Args) -> Result<Outgoing, Fault> {
        let mut out = outgoing(self.target, args, 0, true)?;
        (out.reply_to, out.max_hops) = (Some(self.id), self.max_hops);
        Ok(out)
    }
}

/// Who sent a message that the bot received, whatever the script wrote into it.
pub(crate) fn sender(ctx: &Ctx, message: Table) -> Result<PeerId, Fault> {
    let unknown = || Fault::Misuse("this is no message that the bot received".to_owned());
    let origin: Option<Table> = ctx.helpers()?.origins.raw_get(message)?;
    let from: String = origin.ok_or_else(unknown)?.raw_get("from")?;
    from.parse().map_err(|_| unknown())
}

fn outgoing(target: Target, args: &Args, payload: usize, reply: bool) -> Result<Outgoing, Fault> {
    let ttl = args.option_duration("ttl").map_err(Fault::Misuse)?;
    let priority =
        args.option_text("priority", NAME_BYTES).map_err(Fault::Misuse)?.map(|name| priority(&name)).transpose()?;
    Ok(Outgoing {
        target,
        payload: args.payload(payload, MAX_MESSAGE_BYTES).map_err(Fault::Misuse)?,
        ttl_secs: ttl.map(|secs| secs.ceil() as u32),
        priority,
        receipt: false,
        plain: false,
        max_hops: None,
        reply_to: None,
        reaction: false,
        reply,
    })
}

fn hops(number: f64) -> Result<u8, Fault> {
    let fits = number.fract() == 0.0 && (1.0..=255.0).contains(&number);
    fits.then_some(number as u8)
        .ok_or_else(|| Fault::Misuse(format!("options.hops must be a whole number from 1 to 255, got {number}")))
}

fn priority(name: &str) -> Result<u8, Fault> {
    let place = PRIORITIES.iter().position(|known| *known == name);
    place.and_then(|place| u8::try_from(place).ok()).ok_or_else(|| {
        Fault::Misuse(format!("options.priority must be one of {}, got \"{}\"", PRIORITIES.join(", "), shorten(name)))
    })
}

fn give_receipt(lua: &Lua, receipt: &Receipt) -> Outcome {
    let table: Table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("id", receipt.id.to_string())?;
    table.raw_set("expires", receipt.expires_ms as f64 / 1_000.0)?;
    done(lua, table)
}

/// Sends a message, within the bot's quota, after its store changes are durable.
pub(crate) async fn deliver(ctx: &Ctx, out: Outgoing) -> Result<Receipt, ApiError> {
    out.charge(ctx)?;
    ctx.flush().await?;
    let Outgoing { target, payload, ttl_secs, priority, receipt, plain, max_hops, reply_to, reaction, .. } = out;
    let sent = match target {
        Target::Peer(to) => {
            let automatic = true;
            let request =
                SendRequest { to, payload, ttl_secs, priority, receipt, plain, automatic, reply_to, reaction };
            ctx.node.send(request).await?
        }
        Target::Channel(topic) => {
            let automatic = true;
            let request =
                BroadcastRequest { topic, payload, ttl_secs, priority, automatic, max_hops, reply_to, reaction };
            ctx.node.broadcast(request).await?
        }
    };
    ctx.shared.figures.sent.fetch_add(1, Ordering::Relaxed);
    Ok(sent)
}

/// Keeps an answer for when the quota has room again, if it has none now: who asked shall not wait in vain. Whether it did.
async fn keep_for_later(ctx: &Ctx, out: &Outgoing) -> Result<bool, ApiError> {
    let wait = out.wait(ctx);
    if wait <= 0.0 || !wait.is_finite() || lock(&ctx.shared.chatter).is_full() {
        return Ok(false);
    }
    ctx.flush().await?;
    let (longest, now) = (ctx.limits.bytes_per_hour as usize, ctx.shared.clock.now());
    lock(&ctx.shared.chatter).add(out.clone(), None, longest, now);
    ctx.shared.wake.notify_one();
    Ok(true)
}

/// Sends what a command answers. A person waits: of an answer that is too long, that is said; the log says more.
pub(crate) async fn deliver_answer(ctx: &Ctx, mut out: Outgoing, what: &str, text: &[u8]) -> Result<(), ApiError> {
    let too_long = text.len() > MAX_MESSAGE_BYTES;
    out.payload = if too_long { format!("the answer of {what} is too long to be sent").into() } else { text.to_vec() };
    if !keep_for_later(ctx, &out).await? {
        deliver(ctx, out).await?;
    }
    if !too_long {
        return Ok(());
    }
    let message = format!("that of {what} has {} bytes, a message has {MAX_MESSAGE_BYTES} at most", text.len());
    Err(ApiError::new("too-large", message))
}

/// The answer to a person: to the sender, or on the channel.
fn origin(from: PeerId, topic: Option<&str>) -> Target {
    topic.map_or_else(|| Target::Peer(from.to_string()), |topic| Target::Channel(topic.to_owned()))
}
