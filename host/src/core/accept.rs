//! From a checked signature to the disk, and what follows once an envelope is durable.

use std::collections::HashSet;

use qpq_schemas::envelope::{Envelope, Kind, Priority, Refusal};
use qpq_schemas::link::{Answer, Verdict};
use qpq_schemas::receipt::Receipt;
use qpq_schemas::{PeerId, TopicId};

use super::intake::{Candidate, Waiter};
use super::shelf::{Reject, RejectCode};
use super::{Core, Effect, Notice, Ticket};
use crate::api::{self, ApiError};
use crate::store::{Batch, End, Fate, Filed, Head, NewRecord, Places, Quota, SeenState};

/// Evictions of other nodes' messages that are told in a second. A full relay evicts one for each that comes, and who is told
/// can't write to that many senders.
const EVICTIONS_TOLD: u32 = 16;

/// When a neighbour may offer again what came while a forged copy of it was being checked, in seconds.
const RETRY_FORGED_SECS: u16 = 1;

/// When a neighbour may offer again what could not be written, in seconds.
const RETRY_STORE_SECS: u16 = 30;

impl Core {
    /// Has the signatures checked of all that this step brought in, as one batch.
    pub(super) fn flush_checks(&mut self) {
        if self.unchecked.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.unchecked);
        let ticket = self.ticket();
        let envelopes = batch.iter().map(|candidate| candidate.envelope.clone()).collect();
        self.verifying.insert(ticket, batch);
        self.effects.push(Effect::Verify { ticket, envelopes });
    }

    pub(super) fn verified(&mut self, ticket: Ticket, verdicts: Vec<Result<(), Refusal>>, now_ms: u64) {
        let Some(batch) = self.verifying.remove(&ticket) else { return };
        let mut good = Vec::with_capacity(batch.len());
        let verdicts = verdicts.into_iter().chain(std::iter::repeat(Err(Refusal::Signature)));
        for (candidate, verdict) in batch.into_iter().zip(verdicts) {
            match verdict {
                Ok(()) => good.push(candidate),
                Err(refusal) => self.turn_away(&candidate, &refusal, now_ms),
            }
        }
        self.accept(good, now_ms);
    }

    fn turn_away(&mut self, candidate: &Candidate, refusal: &Refusal, now_ms: u64) {
        let verdict = Verdict::Refused;
        self.count(refusal.code());
        self.refused(candidate.id, refusal.code(), candidate.source, now_ms);
        if let Some(link) = candidate.link {
            self.bad_signature(link);
        }
        let (code, why) = (refusal.code(), refusal.to_string());
        self.settle(candidate, &Outcome::Refused { verdict, code, why, retry_secs: 0 });
    }

    /// Has envelopes written, with all others of this step. Where senders want receipts, those are made first: a receipt is
    /// written with its message, so that no crash comes between them. Nobody would make it afterwards, since the message
    /// is known by then.
    pub(super) fn accept(&mut self, candidates: Vec<Candidate>, now_ms: u64) {
        if !self.unreceipted.is_empty() || candidates.iter().any(|candidate| self.wants_receipt(candidate)) {
            self.unreceipted.extend(candidates); // all of them, and what comes behind them, to keep their order
        } else {
            candidates.into_iter().for_each(|candidate| _ = self.take_up(candidate, now_ms));
        }
    }

    /// Asks for the receipts that this step's envelopes want. The last effect of a step, because what comes of it is written
    /// behind what the step wrote.
    pub(super) fn flush_receipts(&mut self) {
        if self.unreceipted.is_empty() {
            return;
        }
        let candidates = std::mem::take(&mut self.unreceipted);
        let wanted = candidates.iter().filter(|candidate| self.wants_receipt(candidate));
        let wanted = wanted.map(|candidate| (candidate.envelope.view().sender(), candidate.id)).collect();
        let ticket = self.ticket();
        self.receipting.insert(ticket, candidates);
        self.effects.push(Effect::MakeReceipts { ticket, wanted });
    }

    pub(super) fn receipts_made(&mut self, ticket: Ticket, receipts: Vec<Option<Envelope>>, now_ms: u64) {
        let mut receipts = receipts.into_iter();
        for candidate in self.receipting.remove(&ticket).unwrap_or_default() {
            let receipt = if self.wants_receipt(&candidate) { receipts.next().flatten() } else { None };
            if self.take_up(candidate, now_ms)
                && let Some(receipt) = receipt
            {
                self.submit(0, receipt, true, now_ms);
            }
        }
    }

    /// Whether it is for this node, and its sender wants to hear that it arrived.
    fn wants_receipt(&self, candidate: &Candidate) -> bool {
        let (view, me) = (candidate.envelope.view(), self.config.me);
        view.kind() == Kind::Direct && view.flags().receipt_wanted && view.destination() == me.0 && view.sender() != me
    }

    fn tell_evicted(&mut self, gone: &Head, now_ms: u64) {
        let second = now_ms / 1_000;
        if self.evictions_told.0 != second {
            self.evictions_told = (second, 0);
        }
        if gone.sender != self.config.me {
            if self.evictions_told.1 == EVICTIONS_TOLD {
                return;
            }
            self.evictions_told.1 += 1;
        }
        self.effects.push(Effect::Notice(Notice::Evicted { id: gone.id, from: gone.sender }));
    }

    /// Finds a place for an envelope and has it written. Whether there is one.
    fn take_up(&mut self, mut candidate: Candidate, now_ms: u64) -> bool {
        self.hear_of(&candidate, now_ms);
        let head = self.head_of(&candidate, now_ms);
        let admitted = self.shelf.admit(&head, now_ms);
        let is_kept = admitted.is_ok();
        match admitted {
            Ok(evicted) => {
                evicted.iter().for_each(|gone| self.tell_evicted(&gone.head, now_ms));
                let batch = &mut self.unwritten.arrivals;
                evicted.iter().for_each(|gone| gone.put_into(batch));
                // Its record says that it is held; the id is written apart only when the record goes.
                self.shelf.file(&head.id, batch);
                batch.append.push(NewRecord { head, wire: candidate.envelope.wire().clone() });
                candidate.head = Some(head);
                self.unwritten.candidates.push(candidate);
            }
            Err(reject) => {
                if reject.code == RejectCode::Outranked {
                    self.remember_unkept(&head, now_ms);
                }
                self.not_kept(&head, now_ms);
                self.no_room(&candidate, reject, now_ms);
            }
        }
        is_kept
    }

    /// Has all written that this step changed. What frees room goes first and by itself: a full disk takes it, and
    /// refuses the rest.
    pub(super) fn flush_writes(&mut self) {
        let Unwritten { mut removals, mut arrivals, candidates } = std::mem::take(&mut self.unwritten);
        if !removals.remove.is_empty() && !arrivals.append.is_empty() {
            // What arrived in this step and is gone again must not be written behind its removal.
            let (first, last) = (arrivals.append.first(), arrivals.append.last());
            let arrived = first.map_or(0, |record| record.head.seq)..=last.map_or(0, |record| record.head.seq);
            arrivals.remove.extend(removals.remove.extract_if(.., |seq| arrived.contains(seq)));
            arrivals.unfile.extend(removals.unfile.extract_if(.., |filed| arrived.contains(&filed.head.seq)));
        }
        if !removals.is_empty() {
            let ticket = self.ticket();
            self.removing.insert(ticket, removals.clone());
            self.effects.push(Effect::Persist { ticket, batch: removals });
        }
        if !candidates.is_empty() {
            let ticket = self.ticket();
            self.persisting.insert(ticket, candidates);
            self.effects.push(Effect::Persist { ticket, batch: arrivals });
        }
    }

    /// A verified envelope shows a way to its sender.
    fn hear_of(&mut self, candidate: &Candidate, now_ms: u64) {
        let Some(link) = candidate.link.filter(|link| !self.leads_out(*link)) else { return };
        let view = candidate.envelope.view();
        let (sender, hops) = (view.sender(), view.hop_count());
        self.with_router(|router, out| router.seen(now_ms, sender, link, hops, out));
    }

    fn head_of(&mut self, candidate: &Candidate, now_ms: u64) -> Head {
        let view = candidate.envelope.view();
        let seq = self.next_seq;
        self.next_seq += 1;
        let places = self.places_of(&candidate.envelope);
        let head = Head::with_id(view, candidate.id, seq, places, now_ms, candidate.source);
        if self.is_emergency(candidate, now_ms) { Head { priority: Priority::Emergency, ..head } } else { head }
    }

    /// What an envelope is kept for here.
    fn places_of(&self, envelope: &Envelope) -> Places {
        let view = envelope.view();
        match view.kind() {
            Kind::Broadcast if self.subscribed.contains(&TopicId(view.destination())) => {
                Places::HISTORY.with(Places::INBOX)
            }
            Kind::Broadcast => Places::HISTORY,
            Kind::Direct if view.destination() == self.config.me.0 => Places::INBOX,
            Kind::Direct | Kind::Receipt => Places::WAITING,
        }
    }

    /// A broadcast that there will never be room for is not fetched again.
    fn remember_unkept(&mut self, head: &Head, now_ms: u64) {
        let fate = Fate::new(End::Evicted(Quota::Topic), now_ms);
        let seen = head.parted(head.passed_on(now_ms), fate);
        self.shelf.note(&seen);
        self.persist(Batch { seen: vec![seen], ..Batch::default() });
    }

    fn no_room(&mut self, candidate: &Candidate, reject: Reject, now_ms: u64) {
        if !matches!(reject.code, RejectCode::Known(_)) {
            let code = reject.quota.map_or(reject.name(), refused_by);
            self.refused(candidate.id, code, candidate.source, now_ms);
        }
        let verdict = match reject.code {
            RejectCode::Known(_) | RejectCode::Outranked => Verdict::Seen,
            RejectCode::Expired => Verdict::TooOld,
            RejectCode::RecipientFull => Verdict::RecipientFull,
            RejectCode::SenderFull => Verdict::SenderFull,
            RejectCode::RelayFull => Verdict::RelayFull,
        };
        // While the recipient's queue flows, room comes soon.
        let recipient = PeerId(candidate.envelope.view().destination());
        let flows = self.links.values().any(|state| state.peer == recipient || state.draining.contains(&recipient));
        let retry_secs = if flows { reject.retry_after_secs.min(1) } else { reject.retry_after_secs };
        let why = format!("no room for it: {}; try again in {} s", reject.name(), reject.retry_after_secs);
        self.settle(candidate, &Outcome::Refused { verdict, code: reject.name(), why, retry_secs });
    }
}

/// What a step changed that must be written.
#[derive(Default)]
pub(super) struct Unwritten {
    /// What is given up, and notes: nobody waits for it.
    pub(super) removals: Batch,
    /// New envelopes, and what makes room for them.
    arrivals: Batch,
    /// Those envelopes, with who waits for them.
    candidates: Vec<Candidate>,
}

/// The name of a refusal by a bound.
fn refused_by(quota: Quota) -> &'static str {
    match quota {
        Quota::Recipient => "recipient-full",
        Quota::SenderShare => "sender-full-at-recipient",
        Quota::Sender => "sender-full",
        Quota::Topic | Quota::TopicShare => "topic-full",
        Quota::Inbox => "inbox-full",
        Quota::InboxShare => "sender-full-in-inbox",
        Quota::Total | Quota::Pending => "relay-full",
        Quota::Link => "link-quota",
    }
}

/// How an envelope fared, for those who wait to hear it.
pub(super) enum Outcome {
    /// It is on this node's disk.
    Durable { expires_ms: u64 },
    /// It was not taken.
    Refused { verdict: Verdict, code: &'static str, why: String, retry_secs: u16 },
}

impl Core {
    pub(super) fn persisted(&mut self, ticket: Ticket, result: &Result<(), String>, now_ms: u64) {
        if let Some(removals) = self.removing.remove(&ticket) {
            if result.is_err() {
                self.not_removed(removals, now_ms);
            }
            return;
        }
        let Some(kept) = self.persisting.remove(&ticket) else { return };
        for candidate in kept {
            match (result, candidate.head) {
                (Ok(()), Some(head)) => self.durable(&candidate, &head, now_ms),
                (Err(why), Some(head)) => self.not_written(&candidate, &head, why),
                (_, None) => {}
            }
        }
    }

    /// Nobody waits for removals, but they are tried until the disk takes them: else what is gone would be held again after the
    /// next start.
    fn not_removed(&mut self, removals: Batch, now_ms: u64) {
        self.count("removals-put-off");
        self.put_off.merge(removals);
        self.put_off_until_ms = now_ms + u64::from(RETRY_STORE_SECS) * 1_000;
    }

    pub(super) fn retry_removals(&mut self, now_ms: u64) {
        let pause_ms = u64::from(RETRY_STORE_SECS) * 1_000;
        self.put_off_until_ms = self.put_off_until_ms.min(now_ms + pause_ms);
        if !self.put_off.is_empty() && self.put_off_until_ms <= now_ms {
            let mut batch = std::mem::take(&mut self.put_off);
            // What came back meanwhile stands in the files under its id: the removal of what was there before waits until it has gone.
            let shelf = &self.shelf;
            let is_back = |filed: &mut Filed| shelf.get(&filed.head.id).is_some_and(|head| head.seq != filed.head.seq);
            // What became of an id since then may be written already, and must not be overruled by an older note.
            for note in &mut batch.seen {
                *note = shelf.seen_entry(&note.id).filter(|now| now.state != SeenState::Held).unwrap_or(*note);
            }
            self.put_off.unfile = batch.unfile.extract_if(.., is_back).collect();
            let back: HashSet<u64> = self.put_off.unfile.iter().map(|filed| filed.head.seq).collect();
            self.put_off.remove = batch.remove.extract_if(.., |seq| back.contains(seq)).collect();
            self.persist(batch);
        }
    }

    fn not_written(&mut self, candidate: &Candidate, head: &Head, why: &str) {
        self.shelf.discard(&head.id);
        let why = format!("the store took nothing: {why}");
        self.count("store-failed");
        let verdict = Verdict::RelayFull;
        self.settle(candidate, &Outcome::Refused { verdict, code: "store-failed", why, retry_secs: RETRY_STORE_SECS });
    }

    /// The envelope is on disk: say so, deliver it, send it on.
    fn durable(&mut self, candidate: &Candidate, head: &Head, now_ms: u64) {
        self.shelf.confirm(&head.id);
        let others = self.settle(candidate, &Outcome::Durable { expires_ms: head.expires_ms });
        // Its topic may have been subscribed while it was being written.
        if self.shelf.get(&head.id).is_some_and(|head| head.places.has(Places::INBOX)) {
            self.effects.push(Effect::InboxGrew { seq: head.seq });
        }
        self.tell_mailbox(head);
        let view = candidate.envelope.view();
        match view.kind() {
            Kind::Broadcast => {
                self.recent.insert(head.seq, candidate.envelope.wire());
                self.spread(head, &others, now_ms);
            }
            Kind::Direct if head.destination == self.config.me.0 => {} // its receipt was written with it
            Kind::Receipt => {
                self.read_receipt(view.payload(), head, now_ms);
                if head.destination != self.config.me.0 {
                    self.forward(candidate, head, now_ms);
                }
            }
            Kind::Direct => self.forward(candidate, head, now_ms),
        }
    }

    fn forward(&mut self, candidate: &Candidate, head: &Head, now_ms: u64) {
        self.recent.insert(head.seq, candidate.envelope.wire());
        self.dispatch(head, now_ms);
    }

    /// Receipts for this node that stand in the store at the start, because a crash came before they were read: their places. The
    /// shell reads them and tells each with [`Event::ReceiptLeft`](super::Event::ReceiptLeft).
    pub fn unread_receipts(&self) -> Vec<u64> {
        self.shelf.queue(&self.config.me).map(|waiting| waiting.seq).collect()
    }

    pub(super) fn receipt_left(&mut self, envelope: &Envelope, now_ms: u64) {
        let held = self.shelf.waiting(&envelope.id()).filter(|head| head.kind == Kind::Receipt);
        if let Some(head) = held.filter(|head| head.destination == self.config.me.0) {
            self.read_receipt(envelope.view().payload(), &head, now_ms);
        }
    }

    /// A recipient's signed word that a message arrived frees the copies that still wait for a way to it. One for this node is used
    /// up by that.
    fn read_receipt(&mut self, payload: &[u8], head: &Head, now_ms: u64) {
        let mine = head.destination == self.config.me.0;
        match Receipt::decode(payload) {
            Ok(receipt) => {
                if self.shelf.get(&receipt.id).is_some_and(|held| held.destination == head.sender.0) {
                    let fate = Fate::new(End::Receipt, now_ms).by(&head.sender.0);
                    self.give_up(&receipt.id, SeenState::Delivered, fate);
                } else if let Some(entry) = self.shelf.receipt_came(&receipt.id, &head.sender, now_ms) {
                    self.persist(Batch { seen: vec![entry], ..Batch::default() });
                }
                if mine {
                    self.effects.push(Effect::Notice(Notice::Delivered { id: receipt.id, by: head.sender }));
                }
            }
            Err(_) => self.count("receipt-malformed"),
        }
        if mine {
            self.give_up(&head.id, SeenState::Delivered, Fate::new(End::Used, now_ms));
        }
    }

    /// Tells everyone who waits for this envelope how it fared. Returns the neighbours that brought it too.
    fn settle(&mut self, candidate: &Candidate, outcome: &Outcome) -> Vec<PeerId> {
        self.pending_bytes = self.pending_bytes.saturating_sub(candidate.envelope.wire().len());
        if let Outcome::Refused { verdict: Verdict::RelayFull | Verdict::RecipientFull | Verdict::SenderFull, .. } =
            outcome
        {
            self.give_back(candidate);
        }
        let Some(pending) = self.pending.remove(&candidate.id) else { return Vec::new() };
        let id = candidate.id;
        let links = pending.waiters.iter().filter_map(|waiter| match waiter {
            Waiter::Link(link) if candidate.link != Some(*link) => self.peer_of(*link),
            _ => None,
        });
        let others = links.collect();
        for waiter in pending.waiters {
            match (waiter, outcome) {
                // Others may have brought the true envelope while a forged copy was being checked.
                (Waiter::Link(link), Outcome::Refused { verdict: Verdict::Refused, .. })
                    if candidate.link != Some(link) =>
                {
                    self.owe(link, Answer { id, verdict: Verdict::RelayFull, retry_after_secs: RETRY_FORGED_SECS });
                }
                (Waiter::Client(token), Outcome::Refused { verdict: Verdict::Refused, .. })
                    if candidate.link.is_some() =>
                {
                    let why = "a forged copy of this envelope was being checked; hand it in again";
                    self.effects.push(Effect::Answer { token, result: Err(ApiError::new("busy", why)) });
                }
                (Waiter::Link(link), Outcome::Durable { .. }) => {
                    self.owe(link, Answer { id, verdict: Verdict::Stored, retry_after_secs: 0 });
                }
                (Waiter::Link(link), Outcome::Refused { verdict, retry_secs, .. }) => {
                    self.owe(link, Answer { id, verdict: *verdict, retry_after_secs: *retry_secs });
                }
                (Waiter::Client(token), Outcome::Durable { expires_ms }) => {
                    let result = Ok(api::Receipt { id, expires_ms: *expires_ms });
                    self.effects.push(Effect::Answer { token, result });
                }
                (Waiter::Client(token), Outcome::Refused { code, why, .. }) => {
                    let result = Err(ApiError::new(code, why.clone()));
                    self.effects.push(Effect::Answer { token, result });
                }
            }
        }
        others
    }
}
