//! `mesh.board`: boards of signed entries.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use mlua::{IntoLua, Lua, Table, Value};
use qpq_schemas::envelope::MAX_TTL_SECS;
use qpq_schemas::{MessageId, PeerId};

use super::super::board::{
    self, Act, Board, Entry, Find, Kept, Post, Reference, Settings, Source, TEXT_BYTES, Unfound,
};
use super::super::context::Ctx;
use super::super::duration::shorten;
use super::super::limits::NAME_BYTES;
use super::super::lock;
use super::args::beginning;
use super::talk::{MAX_MESSAGE_BYTES, Outgoing, Target, deliver, sender};
use super::{Args, Fault, Installer, Outcome, done};
use crate::api::ApiError;

/// Entries of a board when the bot names no number.
const DEFAULT_POSTS: f64 = 1_000.0;
/// Posts that a list, a thread or a search gives when the bot names no number.
const DEFAULT_LIMIT: f64 = 20.0;
/// Posts that one gives at most: their tables and texts must fit into the bot's memory.
const MAX_LIMIT: f64 = 200.0;
/// Boards that a bot may open.
const BOARDS: usize = 16;

/// What the names of a board's methods begin with.
pub(super) const METHODS: &str = "board:";

pub(super) fn install(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.waiting("mesh.board", open)
}

/// The methods are made when the bot opens its first board: a bot without one shall not pay 25 KiB for them.
fn make_methods(lua: &Lua, ctx: &Rc<Ctx>) -> mlua::Result<()> {
    let methods = &ctx.helpers()?.board_methods;
    if methods.is_readonly() {
        return Ok(()); // they are all there
    }
    let mut installer = Installer::new(lua, ctx, methods)?;
    install_methods(&mut installer)?;
    installer.check_complete(|name| name.starts_with(METHODS))?;
    methods.set_readonly(true);
    Ok(())
}

fn install_methods(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.waiting("board:post", |lua, ctx, args| write(lua, ctx, args, Verb::Post))?;
    installer.waiting("board:reply", |lua, ctx, args| write(lua, ctx, args, Verb::Reply))?;
    installer.waiting("board:edit", |lua, ctx, args| write(lua, ctx, args, Verb::Edit))?;
    installer.waiting("board:delete", |lua, ctx, args| write(lua, ctx, args, Verb::Delete))?;
    installer.waiting("board:pin", |lua, ctx, args| write(lua, ctx, args, Verb::Pin(true)))?;
    installer.waiting("board:unpin", |lua, ctx, args| write(lua, ctx, args, Verb::Pin(false)))?;
    installer.waiting("board:hide", |lua, ctx, args| write(lua, ctx, args, Verb::Hide(true)))?;
    installer.waiting("board:show", |lua, ctx, args| write(lua, ctx, args, Verb::Hide(false)))?;
    installer.waiting("board:ban", |lua, ctx, args| write(lua, ctx, args, Verb::Ban(true)))?;
    installer.waiting("board:unban", |lua, ctx, args| write(lua, ctx, args, Verb::Ban(false)))?;
    installer.sync("board:get", |lua, ctx, args| {
        reading(ctx, args, |kept| {
            let id = find(kept, &args.typed(0, NAME_BYTES))?;
            done(lua, kept.replica.post(&id).map(|post| table(lua, kept, &post)).transpose()?)
        })
    })?;
    installer.sync("board:list", |lua, ctx, args| {
        let find = Find {
            skip: skip(args),
            limit: limit(args),
            by: args.option_text("by", NAME_BYTES).map_err(Fault::Misuse)?.map(|key| author(ctx, &key)).transpose()?,
            reverse: args.option_bool("reverse"),
            replies: args.option_bool("replies"),
            hidden: args.option_bool("hidden"),
        };
        reading(ctx, args, |kept| tables(lua, kept, &kept.replica.list(&find)))
    })?;
    installer.sync("board:thread", |lua, ctx, args| {
        reading(ctx, args, |kept| {
            let id = find(kept, &args.typed(0, NAME_BYTES))?;
            tables(lua, kept, &kept.replica.thread(&id, limit(args)))
        })
    })?;
    installer.sync("board:search", |lua, ctx, args| {
        let words = args.typed(0, TEXT_BYTES);
        reading(ctx, args, |kept| tables(lua, kept, &kept.replica.search(&words, skip(args), limit(args))))
    })?;
    installer.sync("board:size", |lua, ctx, args| reading(ctx, args, |kept| done(lua, kept.replica.size())))
}

async fn open(lua: Lua, ctx: Rc<Ctx>, args: Args) -> Outcome {
    let topic = args.topic(0).map_err(Fault::Misuse)?;
    let settings = settings(&ctx, &args)?;
    make_methods(&lua, &ctx)?;
    ctx.listen(&topic)?;
    let opening = Opening::begin(&ctx, &topic, settings)?;
    // Joining puts the channel's history into the inbox, so it comes first.
    ctx.node.subscribe(topic.clone()).await?;
    opening.board.read(&ctx.node, || ctx.now_ms()).await?;
    let place = opening.finish();
    let handle = lua.create_table_with_capacity(0, 2)?;
    handle.raw_set("place", place)?;
    handle.raw_set("topic", topic)?;
    handle.set_metatable(Some(ctx.helpers()?.board_meta.clone()))?;
    handle.set_readonly(true);
    done(&lua, handle)
}

fn settings(ctx: &Ctx, args: &Args) -> Result<Settings, Fault> {
    let keep = args.option_duration("keep").map_err(Fault::Misuse)?.unwrap_or(f64::from(MAX_TTL_SECS));
    if !(60.0..=f64::from(MAX_TTL_SECS)).contains(&keep) {
        return Err(Fault::Misuse("options.keep must be from 1 minute to 30 days".to_owned()));
    }
    let names = args.option_names("moderators").map_err(Fault::Misuse)?.unwrap_or_else(|| vec!["self".to_owned()]);
    let moderators = names.iter().enumerate().map(|(i, key)| {
        author(ctx, key).map_err(|_| {
            let got = shorten(key);
            Fault::Misuse(format!(
                "options.moderators[{}] must be a key of 64 hexadecimal digits or \"self\", got \"{got}\"; a name can be taken by anyone",
                i + 1
            ))
        })
    });
    let posts = args.option_number("posts").unwrap_or(DEFAULT_POSTS);
    let most = ctx.limits.board_posts;
    if !(1.0..=most as f64).contains(&posts) {
        return Err(Fault::Misuse(format!("options.posts must be from 1 to {most}, the bot's limit `board_posts`")));
    }
    let moderators = moderators.collect::<Result<BTreeSet<PeerId>, Fault>>()?;
    Ok(Settings { keep_ms: (keep * 1_000.0) as u64, moderators, posts: posts as usize })
}

/// A board on its way to be open. It has its place among the bot's boards from the beginning: many calls may wait at the
/// same time. One that fails or is cut off gives the place back.
struct Opening {
    ctx: Rc<Ctx>,
    board: Arc<Board>,
}

impl Opening {
    fn begin(ctx: &Rc<Ctx>, topic: &str, settings: Settings) -> Result<Self, Fault> {
        let board = claim(ctx, topic, settings)?;
        ctx.opening.borrow_mut().push(Arc::clone(&board));
        Ok(Self { ctx: Rc::clone(ctx), board })
    }

    /// The board is open; its place, counted from 1.
    fn finish(self) -> usize {
        let mut boards = self.ctx.boards.borrow_mut();
        if let Some(place) = boards.iter().position(|board| board.topic == self.board.topic) {
            return place + 1;
        }
        boards.push(Arc::clone(&self.board));
        boards.len()
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut opening = self.ctx.opening.borrow_mut();
        if let Some(place) = opening.iter().position(|board| Arc::ptr_eq(board, &self.board)) {
            opening.swap_remove(place);
        }
    }
}

/// The boards that are open or about to be, each once.
fn own_boards(ctx: &Ctx) -> Vec<Arc<Board>> {
    let mut own = ctx.boards.borrow().clone();
    for board in ctx.opening.borrow().iter() {
        if !own.iter().any(|known| known.topic == board.topic) {
            own.push(Arc::clone(board));
        }
    }
    own
}

/// The board of a version before, if it is the same; else a new one.
fn claim(ctx: &Ctx, topic: &str, settings: Settings) -> Result<Arc<Board>, Fault> {
    let own = own_boards(ctx);
    if let Some(open) = own.iter().find(|board| board.topic == topic) {
        if open.is(topic, &settings) {
            return Ok(Arc::clone(open));
        }
        return Err(Fault::Misuse(format!("the board {topic} is open with other options already")));
    }
    let used: usize = own.iter().map(|board| board.at(ctx.now_ms(), |kept| kept.replica.settings().posts)).sum();
    if own.len() >= BOARDS || used + settings.posts > ctx.limits.board_posts {
        let most = ctx.limits.board_posts;
        return Err(Fault::Misuse(format!(
            "at most {BOARDS} boards, with {most} posts in all (the bot's limit `board_posts`); give them fewer `posts`"
        )));
    }
    let mut shared = lock(&ctx.shared.boards);
    if let Some(kept) = shared.iter().find(|board| board.is(topic, &settings)) {
        return Ok(Arc::clone(kept));
    }
    let board = Arc::new(Board::new(topic, settings));
    shared.retain(|board| board.topic != topic && Arc::strong_count(board) > 1); // what no machine uses any more
    shared.push(Arc::clone(&board));
    Ok(board)
}

/// The board before the colon.
fn handle(ctx: &Ctx, args: &Args) -> Result<Arc<Board>, Fault> {
    let place = args.receiver.as_ref().and_then(|handle| handle.raw_get::<usize>("place").ok());
    let boards = ctx.boards.borrow();
    let board = place.and_then(|place| boards.get(place.checked_sub(1)?)).cloned();
    board.ok_or_else(|| Fault::Misuse("this is no board; mesh.board(topic) gives one".to_owned()))
}

fn reading(ctx: &Ctx, args: &Args, read: impl FnOnce(&Kept) -> Outcome) -> Outcome {
    handle(ctx, args)?.at(ctx.now_ms(), |kept| read(kept))
}

fn find(kept: &Kept, text: &str) -> Result<MessageId, Fault> {
    let error = match kept.replica.find(text) {
        Ok(id) => return Ok(id),
        Err(Unfound::Unknown) => {
            let what = format!("there is no post {}; name it by 6 digits of its id or more", shorten(text));
            ApiError::new("unknown-post", what)
        }
        Err(Unfound::Ambiguous(count)) => {
            let what = format!("{count} posts begin with {}; give more digits", shorten(text));
            ApiError::new("ambiguous-post", what)
        }
    };
    Err(Fault::World(error))
}

fn author(ctx: &Ctx, key: &str) -> Result<PeerId, Fault> {
    if key == "self" {
        return Ok(ctx.self_id);
    }
    let wrong = || Fault::Misuse(format!("\"{}\" is no key of 64 hexadecimal digits", shorten(key)));
    key.parse().map_err(|_| wrong())
}

fn skip(args: &Args) -> usize {
    args.option_number("skip").unwrap_or(0.0).max(0.0) as usize
}

fn limit(args: &Args) -> usize {
    args.option_number("limit").unwrap_or(DEFAULT_LIMIT).clamp(0.0, MAX_LIMIT) as usize
}

fn tables(lua: &Lua, kept: &Kept, posts: &[Post<'_>]) -> Outcome {
    let list = lua.create_table_with_capacity(posts.len(), 0)?;
    for post in posts {
        list.raw_push(table(lua, kept, post)?)?;
    }
    done(lua, list)
}

/// A post as a plain table.
pub(crate) fn table(lua: &Lua, kept: &Kept, post: &Post<'_>) -> mlua::Result<Table> {
    let secs = |ms: u64| ms as f64 / 1_000.0;
    let table = lua.create_table_with_capacity(0, 16)?;
    table.raw_set("id", post.id.to_string())?;
    table.raw_set("short", post.short.to_string())?;
    table.raw_set("author", post.author.to_string())?;
    table.raw_set("author_name", kept.name_of(&post.author))?;
    table.raw_set("via", post.via.map(|key| key.to_string()))?;
    table.raw_set("text", post.text)?;
    table.raw_set("created", secs(post.created_ms))?;
    table.raw_set("edited", post.edited_ms.map(secs))?;
    table.raw_set("pinned", post.pinned)?;
    table.raw_set("hidden", post.hidden.is_some())?;
    table.raw_set("reason", post.hidden.filter(|reason| !reason.is_empty()))?;
    table.raw_set("parent", post.parent.map(|id| id.to_string()))?;
    table.raw_set("replies", post.replies)?;
    table.raw_set("expires", secs(post.expires_ms))?;
    table.raw_set("depth", post.depth)?;
    Ok(table)
}

/// What a bot can say on a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Post,
    Reply,
    Edit,
    Delete,
    Pin(bool),
    Hide(bool),
    Ban(bool),
}

impl Verb {
    /// Whether it is for moderators.
    fn moderates(self) -> bool {
        matches!(self, Self::Pin(_) | Self::Hide(_) | Self::Ban(_))
    }
}

/// For whom a bot writes.
struct Person {
    key: PeerId,
    name: Option<String>,
    /// It answers a message that came.
    asked: bool,
}

async fn write(lua: Lua, ctx: Rc<Ctx>, args: Args, verb: Verb) -> Outcome {
    let open = handle(&ctx, &args)?;
    ctx.require("broadcast", Some(&open.topic))?;
    let person = person(&ctx, &args)?;
    let asker = person.as_ref().map(|person| person.key);
    // A moderator's word is that of whoever signs it, so nobody's name stands in it.
    let on_behalf = asker.filter(|_| !verb.moderates());
    let (act, about, rest_ms) = open.at(ctx.now_ms(), |kept| {
        may_moderate(&ctx, verb, kept, asker)?;
        draft(&ctx, &args, verb, kept, on_behalf)
    })?;
    let text = board::write(on_behalf, &act);
    let ttl_secs = ttl_secs(&open, verb, rest_ms, ctx.now_ms());
    let out = Outgoing {
        ttl_secs: Some(ttl_secs),
        reply: person.as_ref().is_some_and(|person| person.asked),
        ..Outgoing::to(Target::Channel(open.topic.clone()), &text)
    };
    let receipt = deliver(&ctx, out).await?;
    let created_ms = receipt.expires_ms.saturating_sub(u64::from(ttl_secs) * 1_000);
    let source = Source { id: receipt.id, signer: ctx.self_id, created_ms, expires_ms: receipt.expires_ms };
    open.at(ctx.now_ms(), |kept| {
        if let Some(Person { key, name: Some(name), .. }) = &person {
            kept.note_name(*key, name);
        }
        if let Some(entry) = Entry::read(&source, text.as_bytes()) {
            kept.replica.apply(entry, ctx.now_ms());
        }
        let post = kept.replica.post(&about.unwrap_or(receipt.id)).filter(|_| verb != Verb::Delete);
        let result = post.map(|post| table(&lua, kept, &post)).transpose()?;
        done(&lua, result.map_or_else(|| true.into_lua(&lua), |table| table.into_lua(&lua))?)
    })
}

fn world(code: &str, what: &str) -> Fault {
    Fault::World(ApiError::new(code, what))
}

/// A bot moderates with its node's key, and only that counts with others; so for a person it does only what the person's own
/// key could do.
fn may_moderate(ctx: &Ctx, verb: Verb, kept: &Kept, asker: Option<PeerId>) -> Result<(), Fault> {
    let moderators = &kept.replica.settings().moderators;
    let asked = "only those whom this board's options name as moderators can ask for that";
    let own = "this board's options name other moderators than this node; add \"self\" to them";
    match asker {
        _ if !verb.moderates() => Ok(()),
        Some(key) if !moderators.contains(&key) => Err(world("not-moderator", asked)),
        _ if !moderators.contains(&ctx.self_id) => Err(world("not-moderator", own)),
        _ => Ok(()),
    }
}

/// What is to be written, the post that it is about, and when that ends.
fn draft(
    ctx: &Ctx,
    args: &Args,
    verb: Verb,
    kept: &Kept,
    on_behalf: Option<PeerId>,
) -> Result<(Act, Option<MessageId>, Option<u64>), Fault> {
    let me = ctx.self_id;
    if [me, on_behalf.unwrap_or(me)].iter().any(|key| kept.replica.bans(key)) {
        return Err(world("banned", "a moderator has banned the author from this board"));
    }
    // All of it may come from people, so nothing in it is a mistake of the bot's.
    let word = args.typed(0, NAME_BYTES);
    if verb == Verb::Post {
        let act = Act::Post { text: text(args, 0)? };
        return checked(on_behalf, act).map(|act| (act, None, None));
    }
    if let Verb::Ban(on) = verb {
        let key = author(ctx, &word).map_err(|_| world("bad-key", "write a key of 64 hexadecimal digits"))?;
        if kept.replica.settings().moderators.contains(&key) {
            return Err(world("moderator", "a moderator can't be banned; take the key out of the board's moderators"));
        }
        return Ok((Act::Ban { key, on }, None, None));
    }
    let id = find(kept, &word)?;
    let is_own = kept.replica.owner(&id) == Some((me, on_behalf));
    if matches!(verb, Verb::Edit | Verb::Delete) && !is_own {
        return Err(world("not-yours", "only its author can change a post, by the same way as it was written"));
    }
    let of = Reference::to(&id);
    let act = match verb {
        Verb::Reply => Act::Reply { to: of, text: text(args, 1)? },
        Verb::Edit => Act::Edit { of, text: text(args, 1)? },
        Verb::Pin(on) => Act::Pin { of, on },
        Verb::Hide(on) => Act::Hide { of, on, reason: reason(args) },
        _ => Act::Delete { of },
    };
    let rest_ms = kept.replica.post(&id).map(|post| post.expires_ms);
    let about = (verb != Verb::Reply).then_some(id);
    checked(on_behalf, act).map(|act| (act, about, rest_ms.filter(|_| about.is_some())))
}

/// Only what reads back as what was meant: a text that begins with `for:KEY` would not.
fn checked(on_behalf: Option<PeerId>, act: Act) -> Result<Act, Fault> {
    let written = board::write(on_behalf, &act);
    if board::parse(&written).is_some_and(|read| read == (on_behalf, act.clone())) {
        return Ok(act);
    }
    Err(world(
        "bad-text",
        "a post can't begin with \"for:\" and a key: that names the person for whom a program writes",
    ))
}

fn text(args: &Args, place: usize) -> Result<Box<str>, Fault> {
    let too_long =
        |len: usize| world("too-long", &format!("a post has at most {TEXT_BYTES} bytes, this one has {len}"));
    let text = args.bytes(place);
    // More than any message has: not even looked at.
    if text.len() > MAX_MESSAGE_BYTES {
        return Err(too_long(text.len()));
    }
    let text = std::str::from_utf8(&text).map_err(|_| world("bad-text", "a post is a text in UTF-8"))?.trim();
    if text.is_empty() {
        return Err(world("bad-text", "a post must not be empty"));
    }
    if text.len() > TEXT_BYTES {
        return Err(too_long(text.len()));
    }
    Ok(text.into())
}

fn reason(args: &Args) -> Box<str> {
    board::reason(&args.option_typed("reason", TEXT_BYTES)).into()
}

/// `by`: a message, or a key.
fn person(ctx: &Ctx, args: &Args) -> Result<Option<Person>, Fault> {
    let wrong = || Fault::Misuse("options.by must be a message or a key of 64 hexadecimal digits".to_owned());
    match args.option("by") {
        Value::Nil => Ok(None),
        Value::String(key) => {
            let key = beginning(&key, NAME_BYTES).parse().map_err(|_| wrong())?;
            Ok(Some(Person { key, name: None, asked: false }))
        }
        Value::Table(message) => {
            let name = message.raw_get("from_name").ok();
            let key = sender(ctx, message)?;
            Ok(Some(Person { key, name, asked: true }))
        }
        _ => Err(wrong()),
    }
}

/// How long an entry lives: a post as long as the board keeps it; what is about a post no shorter than that post, so that no
/// delete dies before what it deletes; a ban as long as anything can.
fn ttl_secs(board: &Board, verb: Verb, ends_ms: Option<u64>, now_ms: u64) -> u32 {
    let keep_ms = board.at(now_ms, |kept| kept.replica.settings().keep_ms);
    let rest_ms = ends_ms.map_or(0, |ends_ms| ends_ms.saturating_sub(now_ms).saturating_add(1_000));
    let secs = keep_ms.max(rest_ms).div_ceil(1_000);
    let longest = MAX_TTL_SECS;
    if matches!(verb, Verb::Ban(_)) { longest } else { u32::try_from(secs).unwrap_or(longest).min(longest) }
}
