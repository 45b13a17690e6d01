//! HELLO and AUTH: each side proves its key to the other, for this connection and no other.

use qpq_schemas::PeerId;
use qpq_schemas::link::{Frame, Hello, LINK_VERSION, MIN_TRANSPORT_FRAME, Role, sign_auth, verify_auth};
use qpq_schemas::packet::{Ephemeral, PacketError, PacketKeys};
use rand::CryptoRng;

use super::LinkSetup;
use super::close::{CloseReason, Stage, Violation};

/// The oldest version of the link protocol that this node still speaks.
const OLDEST_VERSION: u8 = 1;

/// A handshake under way.
pub(super) struct Handshake {
    setup: LinkSetup,
    /// Where packets are sealed: the pair whose public half is our HELLO's random bytes.
    ephemeral: Option<Ephemeral>,
    ours: Hello,
    theirs: Option<Hello>,
    started: bool,
}

impl Handshake {
    pub(super) fn new(setup: LinkSetup, features: u32, rng: &mut impl CryptoRng) -> Self {
        let ephemeral = (!setup.reliable).then(|| Ephemeral::generate(rng));
        let mut random = [0; 32];
        match &ephemeral {
            Some(ephemeral) => random = ephemeral.public(), // as random as any
            None => rng.fill_bytes(&mut random),
        }
        let ours = Hello { features, ..Hello::new(setup.identity.peer_id(), random) };
        Self { setup, ephemeral, ours, theirs: None, started: false }
    }

    /// Our HELLO, the first time; an error where no link can run over that transport.
    pub(super) fn start(&mut self) -> Result<Option<Frame>, CloseReason> {
        self.check_transport()?;
        let first = !std::mem::replace(&mut self.started, true);
        Ok(first.then(|| Frame::Hello(self.ours.clone())))
    }

    fn check_transport(&self) -> Result<(), CloseReason> {
        if self.setup.max_frame < MIN_TRANSPORT_FRAME {
            return Err(CloseReason::FrameTooSmall { max_frame: self.setup.max_frame });
        }
        Ok(())
    }

    /// What the neighbour has to send next.
    pub(super) fn stage(&self) -> Stage {
        if self.theirs.is_none() { Stage::Hello } else { Stage::Auth }
    }

    /// Takes the neighbour's HELLO and returns our AUTH.
    pub(super) fn take_hello(&mut self, theirs: Hello) -> Result<Frame, CloseReason> {
        if self.theirs.is_some() {
            return Err(Violation::unexpected(&Frame::Hello(theirs), Stage::Auth).into());
        }
        self.check_hello(&theirs)?;
        let (initiator, responder) = self.in_order(&theirs);
        let key = self.setup.identity.signing_key();
        let signature = sign_auth(key, self.setup.role, initiator, responder, &self.setup.binding);
        self.theirs = Some(theirs);
        Ok(Frame::Auth(signature))
    }

    fn check_hello(&self, theirs: &Hello) -> Result<(), CloseReason> {
        let found = theirs.peer;
        if theirs.version < OLDEST_VERSION {
            return Err(CloseReason::Version { theirs: theirs.version, ours: LINK_VERSION });
        }
        // Our own key: we dialled ourselves, somebody sends our HELLO back, or somebody has a copy of our key.
        if found == self.ours.peer {
            return Err(CloseReason::Ourselves);
        }
        if let Some(proven) = self.setup.proven_by_transport.filter(|proven| *proven != found) {
            return Err(CloseReason::ContradictsTransport { proven, claimed: found });
        }
        if let Some(expected) = self.setup.expected.filter(|expected| *expected != found) {
            return Err(CloseReason::WrongPeer { expected, found });
        }
        Ok(())
    }

    /// The keys that follow from both HELLOs, on a transport that isn't reliable.
    pub(super) fn packet_keys(&self) -> Result<PacketKeys, CloseReason> {
        let bad = || CloseReason::from(Violation::Packet(PacketError::BadKey));
        let (ephemeral, theirs) = (self.ephemeral.as_ref().ok_or_else(bad)?, self.theirs.as_ref().ok_or_else(bad)?);
        let (initiator, responder) = self.in_order(theirs);
        ephemeral.keys(self.setup.role, initiator, responder).map_err(|error| Violation::Packet(error).into())
    }

    /// Takes the neighbour's AUTH and returns its key, now proven, and the features of both.
    pub(super) fn take_auth(&self, signature: &[u8; 64]) -> Result<(PeerId, u32), CloseReason> {
        let Some(theirs) = &self.theirs else {
            return Err(Violation::unexpected(&Frame::Auth(*signature), Stage::Hello).into());
        };
        let (initiator, responder) = self.in_order(theirs);
        verify_auth(self.setup.role.other(), initiator, responder, &self.setup.binding, signature)
            .map_err(|error| CloseReason::AuthFailed { claimed: theirs.peer, error })?;
        // Only now, so that nobody learns whom we block by claiming keys that it doesn't have.
        if self.setup.blocked.contains(&theirs.peer) {
            return Err(CloseReason::Blocked(theirs.peer));
        }
        Ok((theirs.peer, self.ours.features & theirs.features))
    }

    /// Both HELLOs, that of the side that dialled first.
    fn in_order<'a>(&'a self, theirs: &'a Hello) -> (&'a Hello, &'a Hello) {
        match self.setup.role {
            Role::Initiator => (&self.ours, theirs),
            Role::Responder => (theirs, &self.ours),
        }
    }
}
