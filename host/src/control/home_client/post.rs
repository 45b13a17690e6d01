//! What goes between the node and this disk: mail, receipts, records.

use bytes::Bytes;
use qpq_schemas::envelope::{Envelope, Kind, LARGEST_PAYLOAD};
use qpq_schemas::receipt::Receipt as DeliveryReceipt;
use qpq_schemas::record::NodeRecord;
use qpq_schemas::signature::Verifier;
use qpq_schemas::{MessageId, PeerId};

use super::Inner;
use crate::api::mailbox::{MailItem, MailPage, MailboxQuery};
use crate::api::{ApiError, InboxItem};
use crate::identity::{About, MIN_PREFIX};
use crate::node::clock::now_ms;
use crate::node::mail::{Opener, receipt};
use crate::store::{Head, Places, StoredRecord};

/// Keys of senders that are kept ready while a page is checked.
const KNOWN_KEYS: usize = 64;

/// This client's record is published again after this time, in milliseconds: routes that were learned from it fade.
const PUBLISH_MS: u64 = 5 * 60_000;

/// What a page came to.
#[derive(Default)]
struct Taken {
    /// For this disk.
    items: Vec<InboxItem>,
    /// What the node may drop: it is on this disk, or is of no use.
    done: Vec<MessageId>,
    /// Who wants to hear that a message arrived.
    receipts: Vec<(PeerId, MessageId)>,
}

impl Inner {
    /// Fetches all that waits. Each page is on this disk before the node hears of it.
    pub(super) async fn collect(&self) -> Result<(), ApiError> {
        let mut session = self.turn.lock().await;
        if !session.subscribed {
            let topics = self.with_channels(|channels| Ok(channels.topics()))?;
            self.mailbox.subscribe(topics).await?;
            session.subscribed = true;
        }
        if let Err(error) = self.publish_record().await {
            tracing::warn!(%error, "this client's record was not taken; others seal for its key alone");
        }
        loop {
            self.files().inbox.check_room()?;
            let after = self.files().inbox.progress(&self.node_key).after;
            let page = self.mailbox.fetch(MailboxQuery { after, ..MailboxQuery::default() }).await?;
            if page.items.is_empty() {
                return Ok(());
            }
            let next_after = page.next_after;
            let taken = self.take(page)?;
            self.files().inbox.add(taken.items, self.node_key, Some(next_after))?;
            for (to, id) in taken.receipts {
                let envelope = receipt(to, id, self.identity.signing_key());
                let envelope = envelope.map_err(|refusal| ApiError::new(refusal.code(), refusal.to_string()))?;
                // One that the node refuses must not hold up the mail behind it. Where the connection is lost, the next call says
                // so, and the message comes again.
                if let Err(error) = self.hand_in(&envelope).await {
                    tracing::warn!(%error, id = %id.short(), "a delivery receipt was not sent");
                }
            }
            let dropped = self.mailbox.acknowledge(taken.done).await?;
            if dropped == 0 && next_after == after {
                return Ok(()); // the same would come again
            }
        }
    }

    /// Checks and opens what a node handed out. It is no more trusted than any relay.
    fn take(&self, page: MailPage) -> Result<Taken, ApiError> {
        self.refresh_keys()?;
        let channels = self.channels()?;
        let files = self.files();
        let me = self.identity.peer_id();
        let desk = &self.desk;
        let opener = Opener { me, channels: &channels, sealing: &files.sealing, directory: &files.directory, desk };
        let mut verifier = Verifier::new(KNOWN_KEYS);
        let mut taken = Taken::default();
        for item in page.items {
            let Some(envelope) = sound(&item, &mut verifier) else {
                tracing::warn!(seq = item.seq, "the node handed out an envelope that is not sound");
                continue;
            };
            let (id, view) = (envelope.id(), envelope.view());
            let wanted = match view.topic() {
                Some(topic) => channels.key(&topic).is_some(),
                None => {
                    taken.done.push(id);
                    view.destination() == me.0
                }
            };
            if !wanted {
                continue;
            }
            if view.kind() == Kind::Receipt {
                if let Ok(receipt) = DeliveryReceipt::decode(view.payload()) {
                    let name = files.directory.name_of(&view.sender()).map(str::to_owned);
                    self.deliveries.came(receipt.id, view.sender(), name, item.received_ms);
                }
                continue;
            }
            if view.kind() == Kind::Direct && view.flags().receipt_wanted {
                taken.receipts.push((view.sender(), id));
            }
            let head = Head::with_id(view, id, item.seq, Places::NONE, item.received_ms, None);
            taken.items.extend(opener.open(&StoredRecord { head, wire: envelope.wire().clone() }));
        }
        Ok(taken)
    }

    /// Tells others how to seal for this key, and the mesh where its mail is kept.
    async fn publish_record(&self) -> Result<(), ApiError> {
        let now = now_ms();
        let published = self.files().inbox.progress(&self.node_key).published_ms;
        if published <= now && now - published < PUBLISH_MS {
            return Ok(());
        }
        self.refresh_keys()?;
        let home = self.mailbox.look_up(self.node_key.to_string()).await?;
        let home = home.iter().filter_map(|wire| checked(wire)).find(|record| record.peer == self.node_key);
        let domain = home.map(|record| record.domain).filter(|domain| !domain.is_empty());
        let about = About { nickname: self.nickname.clone(), domain, addresses: Vec::new() };
        let record = self.files().sealing.own_record(&about, now);
        let record = record.map_err(|error| ApiError::new(error.code(), error.to_string()))?;
        match self.mailbox.publish(record).await {
            Err(error) if error.code == "too-often" => return Ok(()), // another process of this client was faster
            published => published?,
        }
        self.files().inbox.note_published(self.node_key, now)
    }

    /// Whom a text means, and what they say of themselves. The node finds records; it doesn't decide whose they are.
    pub(super) async fn recipient(&self, to: &str) -> Result<(PeerId, Option<NodeRecord>), ApiError> {
        let (to, domain) = to.split_once('@').map_or((to, None), |(peer, domain)| (peer, Some(domain.trim())));
        // Which domain a peer lives in, the home node finds out by itself.
        if domain.is_some_and(|domain| !crate::identity::is_domain(&domain.to_ascii_lowercase())) {
            return Err(ApiError::new(
                "bad-domain",
                "what stands behind the @ is no domain name, such as node1.mesh.local",
            ));
        }
        let to = to.trim();
        let found = self.mailbox.look_up(to.to_owned()).await?;
        let mut records: Vec<NodeRecord> = found.iter().filter_map(|wire| checked(wire)).collect();
        if let Ok(key) = to.parse::<PeerId>() {
            return Ok((key, records.into_iter().find(|record| record.peer == key)));
        }
        let lower = to.to_lowercase();
        let is_prefix = to.len() >= MIN_PREFIX && to.bytes().all(|byte| byte.is_ascii_hexdigit());
        records.retain(|record| match is_prefix {
            true => record.peer.to_string().starts_with(&lower),
            false => record.nickname.to_lowercase() == lower,
        });
        let peers: Vec<String> = records.iter().map(|record| record.peer.to_string()).collect();
        match (records.pop(), records.is_empty()) {
            (Some(record), true) => Ok((record.peer, Some(record))),
            (Some(_), false) => {
                let text = format!("that could be {}; give more digits of the key", peers.join(" or "));
                Err(ApiError::new("ambiguous-peer", text))
            }
            (None, _) => {
                let text = "the node knows no such peer; give its key of 64 hexadecimal digits";
                Err(ApiError::new("unknown-peer", text))
            }
        }
    }
}

/// The envelope, if it is one and its sender signed it.
fn sound(item: &MailItem, verifier: &mut Verifier) -> Option<Envelope> {
    let envelope = Envelope::from_wire(Bytes::copy_from_slice(&item.envelope), LARGEST_PAYLOAD).ok()?;
    verifier.check(envelope.view()).ok()?;
    Some(envelope)
}

/// A record, if its signature fits and it still counts.
fn checked(wire: &[u8]) -> Option<NodeRecord> {
    NodeRecord::verify(wire).ok().filter(|record| record.check_times(now_ms()).is_ok())
}
