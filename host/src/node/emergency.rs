//! Emergency notices on this side of the mesh: made, signed, put together, published, shown.

use std::collections::BTreeSet;

use qpq_schemas::channel::ChannelKey;
use qpq_schemas::emergency::{MAX_SIGNATURES, Notice, NoticeError};
use qpq_schemas::envelope::{Envelope, MAX_TTL_SECS};
use qpq_schemas::signature::SigningKey;
use qpq_schemas::{PeerId, TopicId};

use super::mail::Defaults;
use crate::api::{ApiError, NoticeInfo, NoticeKey, NoticeMark};
use crate::config::Config;

/// How long a notice holds when nobody says, in seconds: a day.
const DEFAULT_SECS: u32 = 86_400;
/// Copies of a notice that are put together at a time: one of each who can sign.
const MAX_COPIES: usize = MAX_SIGNATURES;

/// What the configuration says of emergencies. The default names no admins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desk {
    admins: BTreeSet<PeerId>,
    quorum: usize,
    channel: String,
}

/// Names for keys.
pub(crate) type Names<'a> = &'a dyn Fn(&PeerId) -> Option<String>;

impl Desk {
    /// What that configuration says.
    pub(crate) fn of(config: &Config) -> Self {
        let policy = config.emergency_policy();
        let (admins, quorum) = policy.map_or_else(Default::default, |policy| (policy.admins, policy.quorum));
        Self { admins, quorum, channel: config.emergency.channel.clone() }
    }

    fn channel(&self) -> Result<ChannelKey, ApiError> {
        let wrong = |error| ApiError::new("bad-topic", format!("`emergency.channel` in the configuration: {error}"));
        ChannelKey::open(&self.channel).map_err(wrong)
    }

    /// Whether a notice is for this node's channel for emergencies.
    fn is_ours(&self, notice: &Notice) -> bool {
        self.channel().is_ok_and(|channel| channel.topic_id() == notice.topic())
    }

    /// A notice that nobody has signed yet.
    pub(crate) fn draft(&self, text: String, ttl_secs: Option<u32>, now_ms: u64) -> Result<Notice, ApiError> {
        let secs = ttl_secs.unwrap_or(DEFAULT_SECS);
        if secs == 0 || secs > MAX_TTL_SECS {
            return Err(ApiError::new("bad-ttl", format!("a notice holds for 1 s to 30 days, not {secs} s")));
        }
        Notice::new(self.channel()?.topic_id(), now_ms + u64::from(secs) * 1_000, text).map_err(|error| refused(&error))
    }

    /// The notice of these copies, with all good signatures on them.
    pub(crate) fn gather(&self, copies: &[String]) -> Result<Notice, ApiError> {
        if copies.is_empty() || copies.len() > MAX_COPIES {
            let text = format!("give 1 to {MAX_COPIES} copies of a notice");
            return Err(ApiError::new("bad-notice", text));
        }
        let copies: Vec<Notice> =
            copies.iter().map(|text| Notice::from_text(text)).collect::<Result<_, _>>().map_err(|e| refused(&e))?;
        let Some(first) = copies.first() else { return Err(refused(&NoticeError::Length)) };
        let mut all = Notice::new(first.topic(), first.until_ms(), first.text()).map_err(|error| refused(&error))?;
        for copy in &copies {
            if copy.digest() != all.digest() {
                return Err(ApiError::new("mixed-notices", "these are copies of different notices"));
            }
            if !all.merge(copy) {
                return Err(refused(&NoticeError::Signatures));
            }
        }
        Ok(all)
    }

    /// As [`Desk::gather`], signed with this key too.
    pub(crate) fn sign(&self, copies: &[String], key: &SigningKey, now_ms: u64) -> Result<Notice, ApiError> {
        let mut notice = self.gather(copies)?;
        self.check(&notice, now_ms)?;
        notice.sign(key).map_err(|error| refused(&error))?;
        Ok(notice)
    }

    /// The envelope that carries a notice. It dies with it.
    pub(crate) fn envelope(
        &self,
        copies: &[String],
        defaults: &Defaults,
        key: &SigningKey,
        now_ms: u64,
    ) -> Result<Envelope, ApiError> {
        let notice = self.gather(copies)?;
        self.check(&notice, now_ms)?;
        let (counted, signed) = (self.counted(&notice), notice.signatures().count());
        if counted < self.quorum || signed == 0 {
            let wanted = self.quorum.max(1);
            let text = format!(
                "{counted} of the {wanted} admins that it takes have signed; `qpq mesh emergency sign NOTICE` on the node of another admin adds its signature"
            );
            return Err(ApiError::new("no-quorum", text));
        }
        let secs = (notice.until_ms().saturating_sub(now_ms) / 1_000).min(u64::from(MAX_TTL_SECS));
        let secs = u32::try_from(secs).ok().filter(|secs| *secs > 0).ok_or_else(over)?;
        defaults.notice(&notice, secs, now_ms, &self.channel()?, key)
    }

    fn check(&self, notice: &Notice, now_ms: u64) -> Result<(), ApiError> {
        if notice.until_ms() <= now_ms {
            return Err(over());
        }
        if !self.is_ours(notice) {
            let text = format!(
                "the notice is not for the channel {}; `emergency.channel` in the configuration names another one",
                self.channel
            );
            return Err(ApiError::new("other-channel", text));
        }
        Ok(())
    }

    fn counted(&self, notice: &Notice) -> usize {
        notice.signatures().filter(|(key, good)| *good && self.admins.contains(key)).count()
    }

    /// What there is to know of a notice.
    pub(crate) fn describe(&self, notice: &Notice, me: PeerId, names: Names<'_>) -> NoticeInfo {
        let describe =
            |key: PeerId| NoticeKey { key, name: names(&key), admin: self.admins.contains(&key), own: key == me };
        let signed: Vec<PeerId> = notice.signatures().filter(|(_, good)| *good).map(|(key, _)| key).collect();
        let missing = self.admins.iter().filter(|admin| !signed.contains(admin)).copied().map(describe).collect();
        NoticeInfo {
            notice: notice.to_text(),
            text: notice.text().to_owned(),
            until_ms: notice.until_ms(),
            channel: self.is_ours(notice).then(|| self.channel.clone()),
            topic_id: notice.topic(),
            counted: number(self.counted(notice)),
            quorum: number(self.quorum),
            signed: signed.into_iter().map(describe).collect(),
            missing,
        }
    }

    /// What stands on a message with a notice that came on that channel.
    pub(crate) fn mark(&self, notice: &Notice, topic: Option<TopicId>) -> NoticeMark {
        let right = topic == Some(notice.topic()) && self.is_ours(notice);
        NoticeMark {
            until_ms: notice.until_ms(),
            signed: notice.signatures().filter(|(_, good)| *good).map(|(key, _)| key).collect(),
            counted: if right { number(self.counted(notice)) } else { 0 },
            quorum: number(self.quorum),
        }
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn refused(error: &NoticeError) -> ApiError {
    ApiError::new(error.code(), error.to_string())
}

fn over() -> ApiError {
    ApiError::new("notice-over", "the notice is over; make a new one with `qpq mesh emergency draft`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use qpq_schemas::envelope::Priority;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed(&[n; 32])
    }

    fn desk(admins: &[u8], quorum: usize) -> Desk {
        let admins = admins.iter().map(|n| key(*n).public()).collect();
        Desk { admins, quorum, channel: "emergency".into() }
    }

    fn defaults() -> Defaults {
        Defaults { ttl_secs: 604_800, max_hops: 16, max_payload: 65_536 }
    }

    #[test]
    fn copies_that_two_admins_signed_apart_are_published_together() {
        let desk = desk(&[1, 2, 3], 2);
        let draft = desk.draft("the dam breaks".into(), Some(3_600), NOW_MS).unwrap().to_text();
        let signed: Vec<String> =
            [1, 2].map(|n| desk.sign(std::slice::from_ref(&draft), &key(n), NOW_MS).unwrap().to_text()).to_vec();
        let publish = |copies: &[String]| desk.envelope(copies, &defaults(), &key(9), NOW_MS);
        assert_eq!(publish(&signed[..1]).unwrap_err().code, "no-quorum");
        let envelope = publish(&signed).unwrap();
        let view = envelope.view();
        assert_eq!(view.flags().priority, Priority::Emergency);
        assert_eq!(view.expires_ms(), NOW_MS + 3_600_000, "it dies with its notice");
        let info = desk.describe(&desk.gather(&signed).unwrap(), key(2).public(), &|_| None);
        assert_eq!((info.counted, info.quorum, info.channel.as_deref()), (2, 2, Some("emergency")));
        assert_eq!(info.missing.iter().map(|admin| admin.key).collect::<Vec<_>>(), [key(3).public()]);
        assert!(info.signed.iter().all(|key| key.admin) && info.signed.iter().filter(|key| key.own).count() == 1);
    }

    #[test]
    fn what_is_over_for_another_channel_or_mixed_is_refused_with_a_word() {
        let desk = desk(&[1, 2], 1);
        let of = |text: &str| vec![desk.draft(text.into(), Some(60), NOW_MS).unwrap().to_text()];
        let code = |copies: &[String], now_ms| desk.sign(copies, &key(1), now_ms).unwrap_err().code;
        assert_eq!(code(&of("a"), NOW_MS + 60_000), "notice-over");
        assert_eq!(code(&[of("a"), of("b")].concat(), NOW_MS), "mixed-notices");
        assert_eq!(code(&[], NOW_MS), "bad-notice");
        assert_eq!(code(&["qpqinvite00".into()], NOW_MS), "notice-prefix");
        let other = Desk { channel: "market".into(), ..desk.clone() };
        let other = other.draft("a".into(), None, NOW_MS).unwrap().to_text();
        assert_eq!(code(&[other], NOW_MS), "other-channel");
        assert_eq!(desk.draft(String::new(), None, NOW_MS).unwrap_err().code, "notice-length");
        assert_eq!(desk.draft("a".into(), Some(0), NOW_MS).unwrap_err().code, "bad-ttl");
    }
}
