//! The envelope check against the raw signature check, which is the limit of every relay.

use ed25519_dalek::Verifier as _;
use ed25519_zebra::batch;
use qpq_schemas::PeerId;
use qpq_schemas::envelope::{DEFAULT_MAX_PAYLOAD, Draft, Envelope, EnvelopeRef, Flags, Kind};
use qpq_schemas::signature::{DEFAULT_KEY_CACHE, Domain, SigningKey, Verifier};
use qpq_tests::{Outcome, Random};

use crate::rate::rates;
use crate::report::{Goal, Report};

/// Senders that take turns.
const SENDERS: usize = 32;

/// Different envelopes; each is checked again and again.
const ENVELOPES: usize = 256;

/// Payload of the envelopes, in bytes.
const PAYLOAD: usize = 256;

/// Size of the batches, such as a busy link brings together.
const BATCH: usize = 64;

/// The row that other sections call the signature limit.
pub(crate) const LIMIT: &str = "raw check, best of these";

/// The same for envelopes that came in together.
pub(crate) const BATCH_LIMIT: &str = "raw batches, best of these";

/// An envelope, and its parts as the raw libraries want them.
struct Sample {
    envelope: Envelope,
    sender: PeerId,
    message: Vec<u8>,
    zebra_key: ed25519_zebra::VerificationKey,
    zebra_signature: ed25519_zebra::Signature,
    dalek_key: ed25519_dalek::VerifyingKey,
    dalek_signature: ed25519_dalek::Signature,
}

pub(crate) fn measure(report: &mut Report) -> Outcome {
    let samples = samples()?;
    singly(report, &samples);
    in_batches(report, &samples);
    signing(report)
}

fn samples() -> Outcome<Vec<Sample>> {
    let mut random = Random::seeded(1);
    let keys: Vec<_> = (0..SENDERS).map(|_| SigningKey::from_seed(&random.bytes32())).collect();
    keys.iter().cycle().take(ENVELOPES).map(|key| sample(key, &mut random)).collect()
}

/// A plain direct message from that sender.
pub(crate) fn draft(random: &mut Random) -> Draft {
    Draft {
        kind: Kind::Direct,
        flags: Flags::default(),
        max_hops: 8,
        ttl_secs: 3_600,
        created_ms: 1_800_000_000_000,
        nonce: random.next_u64().to_be_bytes(),
        destination: random.bytes32(),
        payload: random.bytes(PAYLOAD),
    }
}

fn sample(key: &SigningKey, random: &mut Random) -> Outcome<Sample> {
    let envelope = draft(random).sign(key)?;
    let view = envelope.view();
    let (sender, signature) = (view.sender(), *view.signature());
    Ok(Sample {
        message: [Domain::ENVELOPE.as_bytes(), view.signed()].concat(),
        zebra_key: ed25519_zebra::VerificationKey::try_from(sender.0)?,
        zebra_signature: ed25519_zebra::Signature::from(signature),
        dalek_key: ed25519_dalek::VerifyingKey::from_bytes(&sender.0)?,
        dalek_signature: ed25519_dalek::Signature::from_bytes(&signature),
        sender,
        envelope,
    })
}

/// Walks over the samples, one at each call.
fn each<'a>(samples: &'a [Sample], mut work: impl FnMut(&'a Sample) -> bool) -> impl FnMut() -> usize {
    let mut turn = samples.iter().cycle();
    move || {
        let done = turn.next().is_some_and(&mut work);
        assert!(done, "an honest envelope was refused");
        1
    }
}

fn singly(report: &mut Report, samples: &[Sample]) {
    let verifier = Verifier::new(DEFAULT_KEY_CACHE);
    let [parse, id, check, zebra, dalek, strict] = rates([
        &mut each(samples, |s| EnvelopeRef::parse(s.envelope.wire(), DEFAULT_MAX_PAYLOAD).is_ok()),
        &mut each(samples, |s| s.envelope.view().id().0 != [0; 32]),
        &mut each(samples, |s| check_one(&verifier, s)),
        &mut each(samples, |s| s.zebra_key.verify(&s.zebra_signature, &s.message).is_ok()),
        &mut each(samples, |s| s.dalek_key.verify(&s.message, &s.dalek_signature).is_ok()),
        &mut each(samples, |s| s.dalek_key.verify_strict(&s.message, &s.dalek_signature).is_ok()),
    ]);
    report.add("raw check, ed25519-zebra, key kept", zebra, "/s");
    report.add("raw check, ed25519-dalek, key kept", dalek, "/s");
    report.add("raw check, ed25519-dalek strict, key kept", strict, "/s");
    report.add("parse", parse, "/s");
    report.add("message id", id, "/s");
    let best = zebra.max(dalek).max(strict);
    report.add(LIMIT, best, "/s");
    let entry = report.add("envelope: parse, id, check", check, "/s");
    entry.ratio_to(best, "of the best raw rate").goal(Goal::RatioAtLeast(0.9));
}

fn check_one(verifier: &Verifier, sample: &Sample) -> bool {
    let Ok(view) = EnvelopeRef::parse(sample.envelope.wire(), DEFAULT_MAX_PAYLOAD) else { return false };
    std::hint::black_box(view.id());
    verifier.check(view).is_ok()
}

fn in_batches(report: &mut Report, samples: &[Sample]) {
    let verifier = Verifier::new(DEFAULT_KEY_CACHE);
    let mut groups = [(); 3].map(|()| samples.chunks(BATCH).cycle());
    let [checked, zebra_group, dalek_group] = &mut groups;
    let [check, zebra, dalek] = rates([
        &mut || checked.next().map_or(0, |group| check_batch(&verifier, group)),
        &mut || zebra_group.next().map_or(0, zebra_batch),
        &mut || dalek_group.next().map_or(0, dalek_batch),
    ]);
    report.add(format!("raw batches of {BATCH}, ed25519-zebra"), zebra, "/s");
    report.add(format!("raw batches of {BATCH}, ed25519-dalek, keys kept"), dalek, "/s");
    let best = zebra.max(dalek);
    report.add(BATCH_LIMIT, best, "/s");
    let entry = report.add(format!("envelopes in batches of {BATCH}: parse, id, check"), check, "/s");
    entry.ratio_to(best, "of the best raw rate").goal(Goal::RatioAtLeast(0.9));
}

fn check_batch(verifier: &Verifier, group: &[Sample]) -> usize {
    let views: Vec<_> =
        group.iter().filter_map(|s| EnvelopeRef::parse(s.envelope.wire(), DEFAULT_MAX_PAYLOAD).ok()).collect();
    for view in &views {
        std::hint::black_box(view.id());
    }
    let results = verifier.check_batch(&views, &mut rand::rng());
    assert!(results.iter().all(Result::is_ok), "an honest envelope was refused");
    results.len()
}

fn zebra_batch(group: &[Sample]) -> usize {
    let mut batch = batch::Verifier::new();
    for sample in group {
        batch.queue((sample.sender.0.into(), sample.zebra_signature, &sample.message));
    }
    assert!(batch.verify(rand::rng()).is_ok(), "an honest batch was refused");
    group.len()
}

fn dalek_batch(group: &[Sample]) -> usize {
    let messages: Vec<_> = group.iter().map(|s| s.message.as_slice()).collect();
    let signatures: Vec<_> = group.iter().map(|s| s.dalek_signature).collect();
    let keys: Vec<_> = group.iter().map(|s| s.dalek_key).collect();
    assert!(ed25519_dalek::verify_batch(&messages, &signatures, &keys).is_ok(), "an honest batch was refused");
    group.len()
}

fn signing(report: &mut Report) -> Outcome {
    use ed25519_dalek::Signer;
    let mut random = Random::seeded(2);
    let seed = random.bytes32();
    let (key, raw) = (SigningKey::from_seed(&seed), ed25519_dalek::SigningKey::from_bytes(&seed));
    let draft = draft(&mut random);
    let message = [Domain::ENVELOPE.as_bytes(), draft.sign(&key)?.view().signed()].concat();
    let [ours, limit] = rates([&mut || usize::from(draft.sign(&key).is_ok()), &mut || {
        std::hint::black_box(raw.sign(&message));
        1
    }]);
    report.add("raw signing, ed25519-dalek", limit, "/s");
    report.add("envelope: build and sign", ours, "/s").ratio_to(limit, "of the raw rate");
    Ok(())
}
