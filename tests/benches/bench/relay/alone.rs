//! A relay between two ends that cost next to nothing: a feeder that has all its envelopes signed, and a recipient that says
//! "stored" to each. So everything waits for the relay, and its batches are as large as they get.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use qpq_schemas::MessageId;
use qpq_schemas::envelope::{Envelope, EnvelopeRef, LARGEST_PAYLOAD};
use qpq_schemas::link::{Answer, Frame, Verdict};
use qpq_schemas::signature::SigningKey;
use qpq_tests::raw_link::{Ear, Mouth, RawLink};
use qpq_tests::{Failure, Outcome, TestNode, ensure};
use tokio::sync::{Semaphore, mpsc};

use super::{PATIENCE, Run};

/// Envelopes that the feeder has under way at a time.
const WINDOW: usize = 8_192;
/// Envelopes in a frame at most.
const FRAME: usize = 64;
/// The seed of the recipient's key.
const RECIPIENT: [u8; 32] = [0x5c; 32];
/// Until the relay knows both ends.
const GREETING: Duration = Duration::from_millis(300);
/// Frames that wait to be said.
const SAYINGS: usize = 64;

type Sayings = mpsc::Sender<Frame>;

/// The recipient's key.
pub(super) fn recipient() -> qpq_schemas::PeerId {
    SigningKey::from_seed(&RECIPIENT).public()
}

/// Sends the envelopes over the relay to the [`recipient`], at `pace` a second or as fast as they are taken.
pub(super) async fn run(relay: &TestNode, envelopes: Vec<Envelope>, pace: Option<u64>) -> Outcome<Run> {
    let count = envelopes.len();
    let (mouth, taken) = RawLink::enter(&rand::random(), relay.address()).await?.split();
    let (answering, arriving) = RawLink::enter(&RECIPIENT, relay.address()).await?.split();
    tokio::time::sleep(GREETING).await;
    let window = Semaphore::new(WINDOW);
    let (feed, feeding) = mpsc::channel(SAYINGS);
    let (answer, answers) = mpsc::channel(SAYINGS);
    let began = Instant::now();
    let work = async {
        tokio::try_join!(
            send(envelopes, pace, &window, &feed),
            hear_answers(taken, count, &window, &feed),
            receive(arriving, count, &answer),
        )
    };
    let (departures, (), arrivals) = tokio::select! {
        done = work => done?,
        ended = speak(mouth, feeding) => return Err(ended),
        ended = speak(answering, answers) => return Err(ended),
        () = tokio::time::sleep(PATIENCE) => return Err(Failure::new("not all envelopes arrived")),
    };
    let late = arrivals.iter().filter_map(|(id, at)| Some(*at - *departures.get(id)?)).collect();
    Ok(Run { took: began.elapsed(), latencies: late })
}

/// Says what comes, until that fails.
async fn speak(mut mouth: Mouth, mut sayings: mpsc::Receiver<Frame>) -> Failure {
    while let Some(frame) = sayings.recv().await {
        if let Err(failure) = mouth.say(&[frame]).await {
            return failure;
        }
    }
    Failure::new("nobody has anything to say any more")
}

async fn send(
    envelopes: Vec<Envelope>,
    pace: Option<u64>,
    window: &Semaphore,
    feed: &Sayings,
) -> Outcome<HashMap<MessageId, Instant>> {
    let mut departures = HashMap::with_capacity(envelopes.len());
    let began = Instant::now();
    let mut envelopes = envelopes.into_iter().peekable();
    while envelopes.peek().is_some() {
        let due = pace.map_or(FRAME, |pace| {
            let due = began.elapsed().as_micros() * u128::from(pace) / 1_000_000;
            (due as usize).saturating_sub(departures.len()).min(FRAME)
        });
        if due == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let some: Vec<_> = envelopes.by_ref().take(due).collect();
        window.acquire_many(some.len() as u32).await?.forget();
        departures.extend(some.iter().map(|envelope| (envelope.id(), Instant::now())));
        feed.send(Frame::Envelopes(some.iter().map(|envelope| envelope.wire().clone()).collect())).await?;
    }
    Ok(departures)
}

/// Reads what became of the envelopes, until all have been taken.
async fn hear_answers(mut ear: Ear, count: usize, window: &Semaphore, feed: &Sayings) -> Outcome {
    let mut taken = 0;
    while taken < count {
        for frame in ear.hear().await? {
            match frame {
                Frame::Custody(answers) => {
                    let refused = answers.iter().find(|answer| answer.verdict != Verdict::Stored);
                    ensure!(refused.is_none(), "the relay answers {refused:?}");
                    taken += answers.len();
                    window.add_permits(answers.len());
                }
                Frame::Ping(number) => feed.send(Frame::Pong(number)).await?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// Takes envelopes and says so.
async fn receive(mut ear: Ear, count: usize, answer: &Sayings) -> Outcome<Vec<(MessageId, Instant)>> {
    let mut arrivals = Vec::with_capacity(count);
    while arrivals.len() < count {
        for frame in ear.hear().await? {
            match frame {
                Frame::Envelopes(wires) => {
                    let ids = wires.iter().map(|wire| Ok(EnvelopeRef::parse(wire, LARGEST_PAYLOAD)?.id()));
                    let ids: Vec<MessageId> = ids.collect::<Outcome<_>>()?;
                    let stored = |id: &MessageId| Answer { id: *id, verdict: Verdict::Stored, retry_after_secs: 0 };
                    answer.send(Frame::Custody(ids.iter().map(stored).collect())).await?;
                    let now = Instant::now();
                    arrivals.extend(ids.into_iter().map(|id| (id, now)));
                }
                Frame::Ping(number) => answer.send(Frame::Pong(number)).await?,
                _ => {}
            }
        }
    }
    Ok(arrivals)
}
