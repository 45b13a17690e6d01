//! A neighbour's whole side of a link: handshake and all that follows, against the real state machine.

use std::sync::Arc;

use bytes::Bytes;
use qpq_host::identity::{Identity, PeerSet};
use qpq_host::link::{Link, LinkConfig, LinkInput, LinkOutput, LinkSetup};
use qpq_schemas::link::{Frame, Role, SubscriptionChange};
use qpq_schemas::{PeerId, TopicId};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{Seeds, Target, wire};

pub(super) const TARGETS: &[Target] = &[Target { name: "link", feed: feed_link, seeds: transcripts }];

/// Milliseconds between two blocks.
const STEP_MS: u64 = 10;

/// What an answer may be larger than the question, in bytes: HELLO, AUTH and CLOSE of this node.
const OWN_WORDS: usize = 1_024;

/// Frames that the transport of the link takes.
const MAX_FRAME: usize = 16 * 1024;

/// A side of the link, always with the same random numbers, so that a transcript can be replayed.
fn side(role: Role) -> Link {
    let setup = LinkSetup {
        role,
        identity: Arc::new(identity(role)),
        blocked: PeerSet::default(),
        expected: None,
        proven_by_transport: None,
        binding: b"binding".to_vec(),
        max_frame: MAX_FRAME,
        reliable: true,
    };
    Link::new(setup, LinkConfig::default(), 0, &mut StdRng::from_seed([role as u8; 32]))
}

fn identity(role: Role) -> Identity {
    Identity::from_seed(&[role as u8 + 1; 32])
}

/// All blocks that an honest neighbour sends in a short conversation.
fn transcripts() -> Seeds {
    let (mut honest, mut node) = (side(Role::Initiator), side(Role::Responder));
    let mut said = Vec::new();
    let mut inputs = vec![LinkInput::Start];
    for round in 0..6 {
        let mut answers = Vec::new();
        for input in inputs.drain(..) {
            honest.handle(input, round * STEP_MS, &mut answers);
        }
        let blocks: Vec<_> = transmitted(&answers).collect();
        said.extend(blocks.iter().cloned());
        let mut replies = Vec::new();
        for block in blocks {
            node.handle(LinkInput::Received(block), round * STEP_MS, &mut replies);
        }
        inputs.extend(transmitted(&replies).map(LinkInput::Received));
        if honest.peer().is_some() {
            inputs.push(LinkInput::Send(frames()));
        }
    }
    vec![join(&said)]
}

fn transmitted(outputs: &[LinkOutput]) -> impl Iterator<Item = Bytes> {
    outputs.iter().filter_map(|output| match output {
        LinkOutput::Transmit(block) => Some(block.clone()),
        _ => None,
    })
}

fn frames() -> Vec<Frame> {
    let topics = vec![TopicId([1; 32])];
    let envelopes = wire::envelopes().into_iter().map(Bytes::from).collect();
    let records = wire::records().into_iter().map(Bytes::from).collect();
    // Larger than a frame of the transport, so that it comes in pieces.
    let route = Frame::Route(Bytes::from(vec![5; 2 * MAX_FRAME]));
    vec![
        Frame::Subscriptions(SubscriptionChange::Set, topics),
        Frame::Envelopes(envelopes),
        Frame::Records(records),
        route,
    ]
}

/// Blocks as one input: each with its length in two bytes.
fn join(blocks: &[Bytes]) -> Vec<u8> {
    blocks.iter().flat_map(|block| [&(block.len() as u16).to_be_bytes()[..], block].concat()).collect()
}

/// The next block of an input; the last one may be short.
fn next_block(rest: &mut &[u8]) -> Option<Bytes> {
    let (length, tail) = rest.split_first_chunk::<2>()?;
    let (block, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)).min(tail.len()));
    *rest = tail;
    Some(Bytes::copy_from_slice(block))
}

/// Nobody gets past the handshake but who holds the key; nothing follows the end; answers are no larger than questions.
fn feed_link(mut bytes: &[u8]) {
    let friend: PeerId = identity(Role::Initiator).peer_id();
    let mut link = side(Role::Responder);
    let (mut outputs, mut now, mut heard) = (Vec::new(), 0, 0);
    link.handle(LinkInput::Start, now, &mut outputs);
    while let Some(block) = next_block(&mut bytes) {
        now += STEP_MS;
        heard += block.len();
        link.handle(LinkInput::Received(block), now, &mut outputs);
    }
    if let Some(deadline) = link.deadline() {
        link.handle(LinkInput::Tick, deadline, &mut outputs);
    }
    assert!(link.peer().is_none_or(|peer| peer == friend), "somebody else got in");
    let frames = outputs.iter().filter(|output| matches!(output, LinkOutput::Frame(_))).count();
    assert!(frames == 0 || link.peer().is_some(), "a frame was taken from a stranger");
    let end = outputs.iter().position(|output| matches!(output, LinkOutput::Closed(_)));
    assert!(end.is_none_or(|end| end + 1 == outputs.len()), "something follows the end");
    let said: usize = transmitted(&outputs).map(|block| block.len()).sum();
    assert!(said <= heard + OWN_WORDS, "{heard} bytes were answered with {said}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_a_conversation_that_gets_past_the_handshake() {
        let transcript = transcripts().remove(0);
        let (mut bytes, mut link, mut outputs) = (&transcript[..], side(Role::Responder), Vec::new());
        while let Some(block) = next_block(&mut bytes) {
            link.handle(LinkInput::Received(block), 0, &mut outputs);
        }
        assert_eq!(link.peer(), Some(identity(Role::Initiator).peer_id()));
        let frames = outputs.iter().filter(|output| matches!(output, LinkOutput::Frame(_))).count();
        assert!(frames >= 4, "only {frames} frames");
        assert!(!outputs.iter().any(|output| matches!(output, LinkOutput::Closed(_))), "{outputs:?}");
    }
}
