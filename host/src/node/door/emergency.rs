//! Emergency notices through the door.

use super::Door;
use crate::api::{ApiError, NoticeInfo, Receipt};
use crate::node::clock::now_ms;
use qpq_schemas::emergency::Notice;

impl Door {
    pub(super) async fn draft_notice(self, text: String, ttl_secs: Option<u32>) -> Result<NoticeInfo, ApiError> {
        let notice = self.shared.desk.draft(text, ttl_secs, now_ms())?;
        Ok(self.tell_of(&notice))
    }

    pub(super) async fn sign_notice(self, copies: Vec<String>) -> Result<NoticeInfo, ApiError> {
        let notice = self.shared.desk.sign(&copies, self.shared.identity.signing_key(), now_ms())?;
        Ok(self.tell_of(&notice))
    }

    pub(super) async fn show_notice(self, copies: Vec<String>) -> Result<NoticeInfo, ApiError> {
        let notice = self.shared.desk.gather(&copies)?;
        Ok(self.tell_of(&notice))
    }

    pub(super) async fn publish_notice(self, copies: Vec<String>) -> Result<Receipt, ApiError> {
        let shared = &self.shared;
        let key = shared.identity.signing_key();
        let envelope = shared.desk.envelope(&copies, &shared.defaults, key, now_ms())?;
        shared.submit(envelope, true).await
    }

    fn tell_of(&self, notice: &Notice) -> NoticeInfo {
        let directory = self.shared.directory();
        let names = |key: &_| directory.name_of(key).map(str::to_owned);
        self.shared.desk.describe(notice, self.shared.identity.peer_id(), &names)
    }
}
