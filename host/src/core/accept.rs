//! From a checked signature to the disk, and what follows once an envelope is durable.

use qpq_schemas::envelope::{Envelope, Kind, Refusal};
use qpq_schemas::link::{Answer, Verdict};
use qpq_schemas::receipt::DeliveryReceipt;
use qpq_schemas::{MessageId, PeerId};

use super::intake::{Candidate, Waiter, verdict_of};
use super::shelf::{Head, Reject, SeenState};
use super::{Core, Effect, LinkId, Notice, Ticket};
use crate::api::{ApiError, Receipt};
use crate::store::{Batch, NewRecord};

impl Core {
    pub(super) fn verify(&mut self, batch: Vec<Candidate>) {
        if batch.is_empty() {
            return;
        }
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
                Err(refusal) => self.turn_away(&candidate, Verdict::Refused, &refusal),
            }
        }
        self.accept(good, now_ms);
    }

    fn turn_away(&mut self, candidate: &Candidate, verdict: Verdict, refusal: &Refusal) {
        self.count(refusal.code());
        if let Some(link) = candidate.link {
            self.bad_signature(link);
        }
        self.settle(candidate, Outcome::Refused { verdict, code: refusal.code(), why: refusal.to_string(), retry: 0 });
    }

    /// Finds a place for each envelope and has them written together.
    pub(super) fn accept(&mut self, candidates: Vec<Candidate>, now_ms: u64) {
        let mut batch = Batch::default();
        let mut kept = Vec::with_capacity(candidates.len());
        for mut candidate in candidates {
            self.hear_of(&candidate, now_ms);
            let head = self.head_of(&candidate, now_ms);
            match self.shelf.admit(head.clone(), self.role_of(&head), now_ms) {
                Ok(evicted) => {
                    batch.remove.extend(evicted);
                    batch.seen.extend(self.shelf.seen_entry(&head.id));
                    batch.append.push(NewRecord { head: head.clone(), wire: candidate.envelope.wire().clone() });
                    candidate.head = Some(head);
                    kept.push(candidate);
                }
                Err(reject) => self.no_room(&candidate, reject),
            }
        }
        if kept.is_empty() {
            return;
        }
        let ticket = self.ticket();
        self.persisting.insert(ticket, kept);
        self.effects.push(Effect::Persist { ticket, batch });
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
    pub(super) fn persisted(&mut self, ticket: Ticket, result: Result<(), String>, now_ms: u64) {
        // Removals and notes have tickets too, but nobody waits for them: after a crash they are simply done again.
        let Some(kept) = self.persisting.remove(&ticket) else { return };
        for candidate in kept {
            match (&result, candidate.head.clone()) {
                (Ok(()), Some(head)) => self.durable(&candidate, &head, now_ms),
                (Err(why), Some(head)) => self.not_written(&candidate, &head, why),
                (_, None) => {}
            }
        }
    }

    fn not_written(&mut self, candidate: &Candidate, head: &Head, why: &str) {
        self.shelf.roll_back(&head.id);
        let why = format!("the store took nothing: {why}");
        self.count("store-failed");
        self.settle(candidate, Outcome::Refused { verdict: Verdict::RelayFull, code: "store-failed", why, retry_secs: 30 });
    }

    /// The envelope is on disk: say so, deliver it, send it on.
    fn durable(&mut self, candidate: &Candidate, head: &Head, now_ms: u64) {
        self.count("accepted");
        self.settle(candidate, Outcome::Durable { expires_ms: head.expires_ms });
        match head.kind {
            Kind::Broadcast => {
                self.recent.insert(head.seq, candidate.envelope.wire());
                if self.subscribed.contains(&head.destination.into()) {
                    self.effects.push(Effect::InboxGrew { seq: head.seq });
                }
                self.spread(head, now_ms);
            }
            Kind::Direct | Kind::Receipt if head.destination == self.config.me.0 => self.deliver(candidate, head),
            Kind::Direct | Kind::Receipt => {
                self.recent.insert(head.seq, candidate.envelope.wire());
                self.dispatch(head, now_ms);
            }
        }
        if head.kind == Kind::Receipt {
            self.receipt(candidate.envelope.view().payload(), head);
        }
    }

    fn deliver(&mut self, candidate: &Candidate, head: &Head) {
        self.count("delivered");
        if head.kind == Kind::Direct {
            self.effects.push(Effect::InboxGrew { seq: head.seq });
            if candidate.envelope.view().flags().receipt_wanted && head.sender != self.config.me {
                self.effects.push(Effect::MakeReceipt { to: head.sender, id: head.id });
            }
        }
    }

    /// A recipient's signed word that a message arrived frees the copies that still wait for a way to it.
    fn receipt(&mut self, payload: &[u8], head: &Head) {
        let Ok(receipt) = DeliveryReceipt::decode(payload) else { return self.count("receipt-malformed") };
        if self.shelf.waiting(&receipt.id).is_some_and(|held| held.destination == head.sender.0) {
            self.give_up(&receipt.id, SeenState::Delivered);
        }
        if head.destination == self.config.me.0 {
            self.effects.push(Effect::Notice(Notice::Delivered { id: receipt.id, by: head.sender }));
        }
    }

    /// Tells everyone who waits for this envelope how it fared.
    fn settle(&mut self, candidate: &Candidate, outcome: Outcome) {
        self.pending_bytes = self.pending_bytes.saturating_sub(candidate.envelope.wire().len());
        let Some(pending) = self.pending.remove(&candidate.id) else { return };
        let id = candidate.id;
        for waiter in pending.waiters {
            match (waiter, &outcome) {
                (Waiter::Link(link), Outcome::Durable { .. }) => {
                    self.owe(link, Answer { id, verdict: Verdict::Stored, retry_after_secs: 0 });
                }
                (Waiter::Link(link), Outcome::Refused { verdict, retry_secs, .. }) => {
                    self.owe(link, Answer { id, verdict: *verdict, retry_after_secs: *retry_secs });
                }
                (Waiter::Client(token), Outcome::Durable { expires_ms }) => {
                    let result = Ok(Receipt { id, expires_ms: *expires_ms });
                    self.effects.push(Effect::Answer { token, result });
                }
                (Waiter::Client(token), Outcome::Refused { code, why, .. }) => {
                    let result = Err(ApiError::new(code, why.clone()));
                    self.effects.push(Effect::Answer { token, result });
                }
            }
        }
    }
}
