//! Who a client is, and what it may do.

use std::sync::Arc;

use qpq_schemas::PeerId;
use qpq_schemas::envelope::{EnvelopeRef, LARGEST_PAYLOAD};

use super::fault::to_exception;
use crate::api::ApiError;
use crate::api::mailbox::MailboxApi;

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything: it can open the control socket.
    Owner,
    /// Everything, over the network.
    Admin,
    /// Have a mailbox, and send what it has signed.
    User,
}

impl Role {
    /// The word that `whoami` answers.
    pub fn word(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::User => "user",
        }
    }
}

/// A client that was let in.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) role: Role,
    /// The key that it has proven over the network, and the mailboxes of the node.
    pub(super) proven: Option<(PeerId, Arc<dyn MailboxApi>)>,
}

impl Caller {
    /// Who came through the control socket.
    pub(super) fn owner() -> Self {
        Self { role: Role::Owner, proven: None }
    }

    /// For calls that everybody may make.
    #[allow(clippy::unused_self, reason = "the counterpart of `admins`")]
    pub(super) fn everyone(&self, _call: &str) -> capnp::Result<()> {
        Ok(())
    }

    /// For calls that only the owner and admins may make.
    pub(super) fn admins(&self, call: &str) -> capnp::Result<()> {
        match self.role {
            Role::Owner | Role::Admin => Ok(()),
            Role::User => Err(to_exception(&not_permitted(call))),
        }
    }

    /// A user hands in only what its own key has signed. The signature itself the node checks.
    pub(super) fn may_enqueue(&self, envelope: &[u8]) -> Result<(), ApiError> {
        let (Role::User, Some((key, _))) = (self.role, &self.proven) else { return Ok(()) };
        match EnvelopeRef::parse(envelope, LARGEST_PAYLOAD) {
            Ok(view) if view.sender() != *key => {
                let text = format!(
                    "This envelope is signed by {}. A user hands in only its own; let the other key connect itself.",
                    view.sender()
                );
                Err(ApiError::new("not-permitted", text))
            }
            _ => Ok(()), // what is no envelope the node refuses, and says why
        }
    }
}

fn not_permitted(call: &str) -> ApiError {
    let text = format!(
        "A user of this node may not call {call}. Its admin can put your key into `clients.admins`; \
         a node of your own (`qpq up`) does all of it."
    );
    ApiError::new("not-permitted", text)
}
