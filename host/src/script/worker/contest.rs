//! Messages on their way to a bot: answers to its questions, answers of others, and commands that others could answer too.

use std::collections::BTreeMap;
use std::time::Instant;

use qpq_schemas::MessageId;

use crate::api::InboxItem;

use super::super::dispatch::{self, Job};
use super::super::failure::Failure;
use super::super::lock;
use super::{Open, Worker};

/// Commands that wait for others at a time. Beyond that the bot answers at once: rather twice than never.
const CONTESTS: usize = 64;

/// A command that waits to see whether another node's bot answers it.
pub(super) struct Contest {
    seq: u64,
    due: Instant,
    topic: String,
    jobs: Vec<Job>,
}

/// All of them, by the command's id.
pub(super) type Contests = BTreeMap<MessageId, Contest>;

/// When the next of them is due.
pub(super) fn next_due(contests: &Contests) -> Option<Instant> {
    contests.values().map(|contest| contest.due).min()
}

impl Worker {
    /// Messages in the order in which they came. Commands that were answered meanwhile, as a bot finds them after an
    /// absence, are left alone.
    pub(super) fn messages(&mut self, items: &[InboxItem]) {
        let answered = |id: MessageId| {
            items.iter().any(|item| item.automatic && item.reply_to == Some(id) && item.from != self.vm.ctx.self_id)
        };
        let late: Vec<bool> = items.iter().map(|item| item.topic.is_some() && answered(item.id)).collect();
        for (item, late) in items.iter().zip(late) {
            if !self.inherited.is_taken(item.seq) {
                self.message(item, late);
            }
        }
    }

    fn message(&mut self, item: &InboxItem, answered: bool) {
        // Boards first: whoever works on the message shall find it there.
        let boards = dispatch::hear(&self.vm, item);
        let told = boards.as_ref().is_ok_and(|jobs| !jobs.is_empty());
        self.react(item, answered, boards);
        // A board says once that it has changed, so this version has to finish what it said.
        if let Some(message) = self.open.get_mut(&item.seq).filter(|_| told && !self.contests.contains_key(&item.id)) {
            message.begun = true;
        }
    }

    fn react(&mut self, item: &InboxItem, answered: bool, boards: Result<Vec<Job>, Failure>) {
        if self.vm.ctx.asked.borrow_mut().take(item) {
            return self.queue(boards, Some(item.seq));
        }
        self.hear(item);
        match dispatch::message(&self.vm, item) {
            Ok(reaction) if reaction.contested && answered => self.queue(boards, Some(item.seq)),
            Ok(reaction) if reaction.contested => {
                self.queue(boards, None);
                self.contest(item, reaction.jobs);
            }
            reaction => {
                let jobs = boards.and_then(|mut jobs| {
                    jobs.extend(reaction?.jobs);
                    Ok(jobs)
                });
                self.queue(jobs, Some(item.seq));
            }
        }
    }

    fn contest(&mut self, item: &InboxItem, jobs: Vec<Job>) {
        let topic = item.topic.clone().unwrap_or_default();
        let (now, me) = (self.now(), self.vm.ctx.self_id);
        let wait = lock(&self.shared.election).wait(&topic, &me, &item.id, now);
        if wait.is_zero() || self.contests.len() >= CONTESTS {
            lock(&self.shared.election).answers(&topic, &me, item.id, now);
            self.queue(Ok(jobs), Some(item.seq));
        } else {
            self.open.insert(item.seq, Open { left: 1, begun: false });
            self.contests.insert(item.id, Contest { seq: item.seq, due: now + wait, topic, jobs });
        }
    }

    /// Another program's message on a channel: perhaps it answers what this bot was about to answer.
    fn hear(&mut self, item: &InboxItem) {
        let (true, Some(topic), Some(command)) = (item.automatic, &item.topic, item.reply_to) else { return };
        if item.from == self.vm.ctx.self_id {
            return;
        }
        let contest = self.contests.remove(&command);
        let (waits, now) = (contest.is_some(), self.now());
        lock(&self.shared.election).heard(topic, item.from, &command, waits, now);
        if let Some(contest) = contest {
            self.close(Some(contest.seq));
        }
    }

    /// Nobody else answered these in time.
    pub(super) fn settle_contests(&mut self) {
        let (now, me) = (self.now(), self.vm.ctx.self_id);
        let due: Vec<MessageId> =
            self.contests.iter().filter(|(_, contest)| contest.due <= now).map(|(id, _)| *id).collect();
        for id in due {
            let Some(contest) = self.contests.remove(&id) else { continue };
            lock(&self.shared.election).answers(&contest.topic, &me, id, now);
            self.queue(Ok(contest.jobs), Some(contest.seq));
        }
    }
}
