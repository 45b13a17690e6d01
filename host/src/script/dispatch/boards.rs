//! Boards hear each message before anybody else does.

use std::sync::Arc;

use super::super::api::{Handler, post_table};
use super::super::board::{Board, Change, Entry};
use super::super::failure::Failure;
use super::super::vm::Vm;
use super::{Job, call, fits};
use crate::api::InboxItem;

/// Tells the bot's boards of a message, and those who watch them. What its own node's programs wrote its handlers don't
/// hear, and what other programs wrote of themselves only where they ask for it: or two bots could answer each other for
/// ever.
pub(in super::super) fn hear(vm: &Vm, item: &InboxItem) -> Result<Vec<Job>, Failure> {
    let Some(topic) = item.topic.as_deref() else { return Ok(Vec::new()) };
    let now_ms = vm.ctx.now_ms();
    let board = vm.ctx.boards.borrow().iter().find(|board| board.topic == topic).cloned();
    let Some(board) = board else { return Ok(Vec::new()) };
    let heard = board.hear(item, now_ms);
    let mut jobs = Vec::new();
    if board.takes_reading(now_ms) {
        jobs.push(Job::Read(Arc::clone(&board)));
    }
    if let Some((entry, change)) = heard
        && !(item.own && item.automatic)
    {
        let by_itself = item.automatic && entry.on_behalf.is_none();
        let handlers: Vec<Handler> = {
            let all = vm.ctx.handlers.borrow();
            all.iter().filter(|h| h.event == "board" && (h.automatic || !by_itself)).cloned().collect()
        };
        for handler in handlers {
            jobs.extend(tell(vm, handler, &board, &entry, &change)?);
        }
    }
    Ok(jobs)
}

/// The reading that all boards want at a machine's first look at the inbox: so nothing is missed that came between its load
/// and then.
pub(in super::super) fn first_reading(vm: &Vm) -> Vec<Job> {
    vm.ctx.boards.borrow().iter().map(|board| Job::Read(Arc::clone(board))).collect()
}

/// The readings that are due.
pub(in super::super) fn due_readings(vm: &Vm) -> Vec<Job> {
    let now_ms = vm.ctx.now_ms();
    let boards = vm.ctx.boards.borrow();
    boards.iter().filter(|board| board.takes_reading(now_ms)).map(|board| Job::Read(Arc::clone(board))).collect()
}

/// When the next one is due, in milliseconds from now.
pub(in super::super) fn next_reading(vm: &Vm) -> Option<u64> {
    let now_ms = vm.ctx.now_ms();
    let boards = vm.ctx.boards.borrow();
    boards.iter().filter_map(|board| board.next_reading_ms(now_ms)).min().map(|at| at.saturating_sub(now_ms))
}

/// Each handler gets a table of its own: the post, with what happened to it.
fn tell(vm: &Vm, handler: Handler, board: &Board, entry: &Entry, change: &Change) -> Result<Option<Job>, Failure> {
    let now_ms = vm.ctx.now_ms();
    let event = vm.make(|lua| {
        let event = board.at(now_ms, |kept| match change.post.and_then(|id| kept.replica.post(&id)) {
            Some(post) => post_table(lua, kept, &post),
            None => {
                let event = lua.create_table()?;
                event.raw_set("author", change.key.map(|key| key.to_string()))?;
                Ok(event)
            }
        })?;
        event.raw_set("event", "board")?;
        event.raw_set("board", board.topic.as_str())?;
        event.raw_set("change", change.word)?;
        event.raw_set("by", entry.author().to_string())?;
        Ok(event)
    })?;
    if !fits(&handler, &event) {
        return Ok(None);
    }
    call(vm, "board", handler.function, event, None).map(Some)
}
