//! The far end of a bridged link: it speaks the link protocol with the host, and has nothing to say but envelopes and
//! answers. No I/O.

use bytes::Bytes;
use qpq_schemas::envelope::{Envelope, Kind, LARGEST_PAYLOAD};
use qpq_schemas::link::{Answer, Frame, Hello, Role, Verdict, sign_auth, unpack, verify_auth};
use qpq_schemas::signature::SigningKey;

/// What a block of the host means.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    /// Say this.
    Say(Frame),
    /// The handshake is done.
    Up,
    /// An envelope for a recipient of the other domain.
    Envelope(Envelope),
    /// What became of envelopes that were offered.
    Answers(Vec<Answer>),
    /// The host closes the link, or broke its protocol; why.
    Closed(String),
}

/// One far end.
pub(super) struct FarEnd {
    key: SigningKey,
    role: Role,
    binding: Vec<u8>,
    ours: Hello,
    theirs: Option<Hello>,
    up: bool,
}

impl FarEnd {
    /// A far end with that key. `binding` is what the host was told.
    pub(super) fn new(key: SigningKey, role: Role, binding: Vec<u8>, random: [u8; 32]) -> Self {
        let ours = Hello::new(key.public(), random);
        Self { key, role, binding, ours, theirs: None, up: false }
    }

    /// What is said first.
    pub(super) fn hello(&self) -> Frame {
        Frame::Hello(self.ours.clone())
    }

    /// Takes a block.
    pub(super) fn take(&mut self, block: Bytes) -> Vec<Event> {
        let mut events = Vec::new();
        for frame in unpack(block) {
            let closed = match frame {
                Ok(frame) => self.take_frame(frame, &mut events),
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = closed {
                events.push(Event::Closed(why));
                break;
            }
        }
        events
    }

    fn take_frame(&mut self, frame: Frame, events: &mut Vec<Event>) -> Result<(), String> {
        match frame {
            Frame::Hello(theirs) if self.theirs.is_none() => {
                let (initiator, responder) = in_order(self.role, &self.ours, &theirs);
                let auth = sign_auth(&self.key, self.role, initiator, responder, &self.binding);
                self.theirs = Some(theirs);
                events.push(Event::Say(Frame::Auth(auth)));
            }
            Frame::Auth(signature) if !self.up => {
                let theirs = self.theirs.as_ref().ok_or("AUTH came before HELLO")?;
                let (initiator, responder) = in_order(self.role, &self.ours, theirs);
                verify_auth(self.role.other(), initiator, responder, &self.binding, &signature)
                    .map_err(|e| e.to_string())?;
                self.up = true;
                events.push(Event::Up);
            }
            Frame::Close(close) => return Err(format!("{} (code {})", close.reason, close.code.0)),
            Frame::Ping(number) => events.push(Event::Say(Frame::Pong(number))),
            Frame::Envelopes(envelopes) if self.up => {
                envelopes.into_iter().for_each(|wire| take_envelope(wire, events));
            }
            Frame::Custody(answers) if self.up => events.push(Event::Answers(answers)),
            Frame::Hello(_) | Frame::Auth(_) | Frame::Envelopes(_) | Frame::Custody(_) => {
                return Err("a frame out of place".into());
            }
            // Subscriptions, notes of what is held, records, routes: a server of the older kind knows none of them.
            _ => {}
        }
        Ok(())
    }
}

fn in_order<'a>(role: Role, ours: &'a Hello, theirs: &'a Hello) -> (&'a Hello, &'a Hello) {
    match role {
        Role::Initiator => (ours, theirs),
        Role::Responder => (theirs, ours),
    }
}

fn take_envelope(wire: Bytes, events: &mut Vec<Event>) {
    // The host has checked it; one that can't be read has no id to answer for.
    let Ok(envelope) = Envelope::from_wire(wire, LARGEST_PAYLOAD) else { return };
    match envelope.view().kind() {
        Kind::Direct | Kind::Receipt => events.push(Event::Envelope(envelope)),
        Kind::Broadcast => {
            let refused = Answer { id: envelope.id(), verdict: Verdict::Refused, retry_after_secs: 0 };
            events.push(Event::Say(Frame::Custody(vec![refused])));
        }
    }
}

#[cfg(test)]
mod tests {
    use qpq_schemas::envelope::{Draft, Flags};
    use qpq_schemas::link::{Close, CloseCode, Sync};

    use super::*;

    const BINDING: [u8; 3] = [1, 2, 3];

    fn end(seed: u8, role: Role) -> FarEnd {
        FarEnd::new(SigningKey::from_seed(&[seed; 32]), role, BINDING.to_vec(), [seed; 32])
    }

    fn block(frame: &Frame) -> Bytes {
        let mut out = Vec::new();
        frame.encode(&mut out).unwrap();
        out.into()
    }

    fn said(events: Vec<Event>) -> Frame {
        match events.into_iter().next() {
            Some(Event::Say(frame)) => frame,
            other => panic!("{other:?}"),
        }
    }

    /// Two of them with a link between.
    fn pair() -> (FarEnd, FarEnd) {
        let (mut one, mut two) = (end(1, Role::Initiator), end(2, Role::Responder));
        let auth_of_two = said(two.take(block(&one.hello())));
        let auth_of_one = said(one.take(block(&two.hello())));
        assert_eq!(one.take(block(&auth_of_two)), [Event::Up]);
        assert_eq!(two.take(block(&auth_of_one)), [Event::Up]);
        (one, two)
    }

    fn envelope(kind: Kind) -> Envelope {
        let draft = Draft {
            kind,
            flags: Flags::default(),
            max_hops: 3,
            ttl_secs: 60,
            created_ms: 1,
            nonce: [0; 8],
            destination: [9; 32],
            payload: vec![1],
        };
        draft.sign(&SigningKey::from_seed(&[5; 32])).unwrap()
    }

    #[test]
    fn both_roles_shake_hands() {
        pair();
    }

    #[test]
    fn another_binding_does_not_fit() {
        let (mut one, two) = (end(1, Role::Initiator), end(2, Role::Responder));
        let mut other = FarEnd { binding: vec![7], ..two };
        let auth = said(other.take(block(&one.hello())));
        one.take(block(&other.hello()));
        assert!(matches!(&one.take(block(&auth))[..], [Event::Closed(_)]));
    }

    #[test]
    fn direct_envelopes_are_passed_on_and_broadcasts_refused() {
        let (mut one, _) = pair();
        let wires = [Kind::Direct, Kind::Broadcast, Kind::Receipt].map(|kind| envelope(kind).wire().clone());
        let events = one.take(block(&Frame::Envelopes(wires.to_vec())));
        let refused = Answer { id: envelope(Kind::Broadcast).id(), verdict: Verdict::Refused, retry_after_secs: 0 };
        assert_eq!(
            events,
            [
                Event::Envelope(envelope(Kind::Direct)),
                Event::Say(Frame::Custody(vec![refused])),
                Event::Envelope(envelope(Kind::Receipt)),
            ]
        );
    }

    #[test]
    fn pings_are_answered_and_what_it_does_not_know_is_ignored() {
        let (mut one, _) = pair();
        assert_eq!(one.take(block(&Frame::Ping(7))), [Event::Say(Frame::Pong(7))]);
        assert_eq!(one.take(block(&Frame::Sync(Sync::Have(Vec::new())))), []);
        assert_eq!(one.take(block(&Frame::Route(Bytes::from_static(&[1])))), []);
    }

    #[test]
    fn nothing_is_taken_before_the_handshake_and_broken_blocks_end_the_link() {
        let mut one = end(1, Role::Initiator);
        let early = one.take(block(&Frame::Envelopes(vec![envelope(Kind::Direct).wire().clone()])));
        assert!(matches!(&early[..], [Event::Closed(_)]));
        assert!(matches!(&one.take(Bytes::from_static(&[1, 2]))[..], [Event::Closed(_)]));
        let close = Frame::Close(Close { code: CloseCode::DUPLICATE, reason: "another link".into() });
        assert_eq!(one.take(block(&close)), [Event::Closed("another link (code 6)".into())]);
    }
}
